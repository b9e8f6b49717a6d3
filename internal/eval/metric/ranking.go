package metric

import (
	"cmp"
	"math"
	"slices"
)

// Query is one question of a ranking task: Gains says how relevant each item is
// (0 not at all) and Scores how high the system puts it. An item of score −∞ was
// not found by the system: it has no rank, but counts among the relevant ones.
type Query struct {
	Gains, Scores []float64
}

func (q Query) check() error {
	if len(q.Gains) != len(q.Scores) || len(q.Gains) == 0 {
		return inputErrorf("a query has %d scores for %d items", len(q.Scores), len(q.Gains))
	}
	for i := range q.Gains {
		if g := q.Gains[i]; math.IsNaN(g) || math.IsInf(g, 0) || g < 0 || math.IsNaN(q.Scores[i]) {
			return inputErrorf("item %d: gain %g and score %g; gains are finite and not negative, scores are numbers", i+1, g, q.Scores[i])
		}
	}
	return nil
}

// order ranks the items that were found, best first; equal scores keep the order of the list.
func (q Query) order() []int {
	out := make([]int, 0, len(q.Scores))
	for i, s := range q.Scores {
		if !math.IsInf(s, -1) {
			out = append(out, i)
		}
	}
	slices.SortStableFunc(out, func(a, b int) int { return cmp.Compare(q.Scores[b], q.Scores[a]) })
	return out
}

// NDCG is the discounted gain of the first k items (0: of all), over the best
// that is possible: DCG = Σ gain/log₂(rank+1). Items of equal score share their
// gains, which averages over their orders. 0 when no item is relevant. Source:
// Järvelin and Kekäläinen 2002; McSherry and Najork 2008 for ties; scikit-learn's ndcg_score.
func (q Query) NDCG(k int) (float64, error) {
	if err := q.check(); err != nil {
		return 0, err
	}
	if k <= 0 || k > len(q.Gains) {
		k = len(q.Gains)
	}
	ideal := slices.SortedFunc(slices.Values(q.Gains), func(a, b float64) int { return cmp.Compare(b, a) })
	best := 0.0
	for i, g := range ideal[:k] {
		best += g * discount(i)
	}
	if best == 0 {
		return 0, nil
	}
	order := q.order()
	got := 0.0
	for from := 0; from < min(k, len(order)); {
		to, gains, discounts := from, 0.0, 0.0
		for ; to < len(order) && q.Scores[order[to]] == q.Scores[order[from]]; to++ {
			gains += q.Gains[order[to]]
			if to < k {
				discounts += discount(to)
			}
		}
		got += gains / float64(to-from) * discounts
		from = to
	}
	return got / best, nil
}

func discount(i int) float64 { return 1 / math.Log2(float64(i)+2) }

// ReciprocalRank is 1 over the rank of the first relevant item, 0 without any;
// its mean over queries is the MRR.
func (q Query) ReciprocalRank() (float64, error) {
	if err := q.check(); err != nil {
		return 0, err
	}
	for rank, i := range q.order() {
		if q.Gains[i] > 0 {
			return 1 / float64(rank+1), nil
		}
	}
	return 0, nil
}

// RecallAt is the share of the relevant items among the first k; NaN when
// nothing is relevant.
func (q Query) RecallAt(k int) (float64, error) {
	found, relevant, err := q.found(k)
	return found / relevant, err
}

// PrecisionAt is the share of the first k that are relevant.
func (q Query) PrecisionAt(k int) (float64, error) {
	found, _, err := q.found(k)
	return found / float64(k), err
}

// relevant counts the items that are.
func (q Query) relevant() float64 {
	n := 0.0
	for _, g := range q.Gains {
		if g > 0 {
			n++
		}
	}
	return n
}

func (q Query) found(k int) (found, relevant float64, err error) {
	if err := q.check(); err != nil {
		return 0, 0, err
	}
	if k < 1 {
		return 0, 0, inputErrorf("recall and precision at %d; the rank must be at least 1", k)
	}
	order := q.order()
	for _, i := range order[:min(k, len(order))] {
		if q.Gains[i] > 0 {
			found++
		}
	}
	return found, q.relevant(), nil
}

// AveragePrecision is the mean of the precisions at the ranks of the relevant
// items; its mean over queries is the MAP. NaN when nothing is relevant.
func (q Query) AveragePrecision() (float64, error) {
	if err := q.check(); err != nil {
		return 0, err
	}
	found, total := 0.0, 0.0
	for rank, i := range q.order() {
		if q.Gains[i] > 0 {
			found++
			total += found / float64(rank+1)
		}
	}
	return total / q.relevant(), nil
}
