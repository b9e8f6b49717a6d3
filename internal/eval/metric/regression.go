package metric

import (
	"cmp"
	"math"
	"slices"
)

// paired checks two columns of numbers and applies f to each pair.
func paired(truth, predicted []float64, f func(y, p float64) float64) ([]float64, error) {
	if err := sameLength(len(predicted), len(truth)); err != nil {
		return nil, err
	}
	out := make([]float64, len(truth))
	for i := range truth {
		if math.IsNaN(truth[i]) || math.IsNaN(predicted[i]) || math.IsInf(truth[i], 0) || math.IsInf(predicted[i], 0) {
			return nil, inputErrorf("row %d: %g predicted for %g; both must be finite", i+1, predicted[i], truth[i])
		}
		out[i] = f(truth[i], predicted[i])
	}
	return out, nil
}

func meanOf(truth, predicted []float64, f func(y, p float64) float64) (float64, error) {
	x, err := paired(truth, predicted, f)
	if err != nil {
		return 0, err
	}
	return Mean(x), nil
}

// MSE is the mean squared error.
func MSE(truth, predicted []float64) (float64, error) {
	return meanOf(truth, predicted, func(y, p float64) float64 { return (y - p) * (y - p) })
}

// MAE is the mean absolute error.
func MAE(truth, predicted []float64) (float64, error) {
	return meanOf(truth, predicted, func(y, p float64) float64 { return math.Abs(y - p) })
}

// Huber is the mean of ½e² for errors up to delta and delta·(|e| − ½delta)
// beyond, as in PyTorch's huber_loss.
func Huber(truth, predicted []float64, delta float64) (float64, error) {
	if !(delta > 0) {
		return 0, inputErrorf("huber: delta is %g; it must be positive", delta)
	}
	return meanOf(truth, predicted, func(y, p float64) float64 {
		e := math.Abs(y - p)
		if e <= delta {
			return e * e / 2
		}
		return delta * (e - delta/2)
	})
}

// R2 is the share of the variance that is explained: 1 − Σ(y−p)²/Σ(y−ȳ)². For
// constant truth it is 1 if all is right and 0 otherwise; NaN for a single row.
// Source: scikit-learn's r2_score.
func R2(truth, predicted []float64) (float64, error) {
	rest, err := paired(truth, predicted, func(y, p float64) float64 { return (y - p) * (y - p) })
	if err != nil {
		return 0, err
	}
	if len(truth) < 2 {
		return math.NaN(), nil
	}
	mean := Mean(truth)
	all := make([]float64, len(truth))
	for i, y := range truth {
		all[i] = (y - mean) * (y - mean)
	}
	unexplained, total := sum(rest), sum(all)
	switch {
	case total != 0:
		return 1 - unexplained/total, nil
	case unexplained == 0:
		return 1, nil
	}
	return 0, nil
}

// Pearson is the linear correlation, NaN if either column is constant or there
// are fewer than two rows.
func Pearson(x, y []float64) (float64, error) {
	if _, err := paired(x, y, func(_, _ float64) float64 { return 0 }); err != nil {
		return 0, err
	}
	if len(x) < 2 || constant(x) || constant(y) {
		return math.NaN(), nil
	}
	dx, dy := unit(x), unit(y)
	products := make([]float64, len(x))
	for i := range dx {
		products[i] = dx[i] * dy[i]
	}
	return min(1, max(-1, sum(products))), nil
}

func constant(x []float64) bool {
	for _, v := range x {
		if v != x[0] {
			return false
		}
	}
	return true
}

// unit centres a column and scales it to length 1, by its largest entry first
// so that nothing overflows.
func unit(x []float64) []float64 {
	mean := Mean(x)
	largest := 0.0
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = v - mean
		largest = max(largest, math.Abs(out[i]))
	}
	squares := make([]float64, len(x))
	for i, v := range out {
		squares[i] = (v / largest) * (v / largest)
	}
	norm := largest * math.Sqrt(sum(squares))
	for i := range out {
		out[i] /= norm
	}
	return out
}

// Ranks are the ranks of the values from 1, equal ones sharing their mean.
func Ranks(x []float64) []float64 {
	order := make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(x[a], x[b]) })
	out := make([]float64, len(x))
	for from := 0; from < len(order); {
		to := from
		for to < len(order) && x[order[to]] == x[order[from]] {
			to++
		}
		for _, i := range order[from:to] {
			out[i] = float64(from+to+1) / 2
		}
		from = to
	}
	return out
}

// Spearman is the correlation of the ranks.
func Spearman(x, y []float64) (float64, error) {
	if _, err := paired(x, y, func(_, _ float64) float64 { return 0 }); err != nil {
		return 0, err
	}
	return Pearson(Ranks(x), Ranks(y))
}

// Kendall is τ-b: (concordant − discordant pairs) / √(pairs not tied in x ·
// pairs not tied in y); NaN if either column is constant. Source: scipy's
// kendalltau; Knight 1966 for counting in n log n.
func Kendall(x, y []float64) (float64, error) {
	if _, err := paired(x, y, func(_, _ float64) float64 { return 0 }); err != nil {
		return 0, err
	}
	n := len(x)
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(x[a], x[b]), cmp.Compare(y[a], y[b])) })
	sorted := make([]float64, n)
	for k, i := range order {
		sorted[k] = y[i]
	}
	tiedX := tiedPairs(order, func(a, b int) bool { return x[a] == x[b] })
	tiedBoth := tiedPairs(order, func(a, b int) bool { return x[a] == x[b] && y[a] == y[b] })
	discordant := inversions(sorted, make([]float64, n))
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(y[a], y[b]) })
	tiedY := tiedPairs(order, func(a, b int) bool { return y[a] == y[b] })
	pairs := n * (n - 1) / 2
	if tiedX == pairs || tiedY == pairs {
		return math.NaN(), nil
	}
	excess := float64(pairs - tiedX - tiedY + tiedBoth - 2*discordant)
	tau := excess / math.Sqrt(float64(pairs-tiedX)) / math.Sqrt(float64(pairs-tiedY))
	return min(1, max(-1, tau)), nil
}

// tiedPairs counts the pairs within runs of equal rows of a sorted order.
func tiedPairs(order []int, equal func(a, b int) bool) int {
	pairs, run := 0, 0
	for k := 1; k < len(order); k++ {
		if equal(order[k-1], order[k]) {
			run++
			pairs += run
		} else {
			run = 0
		}
	}
	return pairs
}

// inversions counts the pairs of x that are out of order, and sorts it.
func inversions(x, spare []float64) int {
	if len(x) < 2 {
		return 0
	}
	half := len(x) / 2
	count := inversions(x[:half], spare[:half]) + inversions(x[half:], spare[half:])
	i, j := 0, half
	for k := range spare {
		if j == len(x) || i < half && x[i] <= x[j] {
			spare[k] = x[i]
			i++
		} else {
			spare[k] = x[j]
			count += half - i
			j++
		}
	}
	copy(x, spare)
	return count
}
