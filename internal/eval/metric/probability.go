package metric

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
)

// ROCAUC is the area under the receiver operating characteristic: the chance
// that a positive row has a higher score than a negative one, equal scores
// counting half. NaN when one of the two kinds is missing. Source: scikit-learn's
// roc_auc_score; Fawcett 2006.
func ROCAUC(positive []bool, scores []float64) (float64, error) {
	groups, err := tiedGroups(positive, scores)
	if err != nil {
		return 0, err
	}
	var area, p, n float64 // area counts pairs, in whole and half ones, so that it is exact
	for _, g := range groups {
		area += g.negative * (p + g.positive/2)
		p += g.positive
		n += g.negative
	}
	return area / (p * n), nil
}

// AveragePrecision is Σ (Rₖ − Rₖ₋₁)·Pₖ over the thresholds, highest first, with
// P and R precision and recall of the rows at or above: the area under the
// precision-recall curve without interpolation. NaN when no row is positive (scikit-learn
// says 0 there, and warns).
func AveragePrecision(positive []bool, scores []float64) (float64, error) {
	groups, err := tiedGroups(positive, scores)
	if err != nil {
		return 0, err
	}
	all := 0.0
	for _, g := range groups {
		all += g.positive
	}
	var steps []float64
	var p, n float64
	for _, g := range groups {
		before := p / all
		p += g.positive
		n += g.negative
		steps = append(steps, (p/all-before)*(p/(p+n)))
	}
	return sum(steps), nil
}

// group counts the rows of one score.
type group struct{ positive, negative float64 }

// tiedGroups counts rows by score, highest first.
func tiedGroups(positive []bool, scores []float64) ([]group, error) {
	if err := sameLength(len(scores), len(positive)); err != nil {
		return nil, err
	}
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
		if math.IsNaN(scores[i]) {
			return nil, inputErrorf("row %d: the score is not a number", i+1)
		}
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
	var out []group
	for k, i := range order {
		if k == 0 || scores[i] != scores[order[k-1]] {
			out = append(out, group{})
		}
		if positive[i] {
			out[len(out)-1].positive++
		} else {
			out[len(out)-1].negative++
		}
	}
	return out, nil
}

// OneVsRest applies a binary metric to each class against all others.
type OneVsRest struct {
	Classes  []float64 `json:"classes"`  // of each class; NaN where it is undefined
	Macro    float64   `json:"macro"`    // mean; NaN if any is
	Weighted float64   `json:"weighted"` // weighted by support
}

// OneVsRestOf computes metric (ROCAUC or AveragePrecision) for every class.
// scores[i][c] is the score of class c in row i, truth[i] the class of the row.
func OneVsRestOf(metric func([]bool, []float64) (float64, error), truth []int, scores [][]float64) (OneVsRest, error) {
	var out OneVsRest
	classes, err := checkScores(truth, scores)
	if err != nil {
		return out, err
	}
	weighted, support := make([]float64, classes), make([]float64, classes)
	for c := range classes {
		positive, column := make([]bool, len(truth)), make([]float64, len(truth))
		for i, t := range truth {
			positive[i], column[i] = t == c, scores[i][c]
			if t == c {
				support[c]++
			}
		}
		v, err := metric(positive, column)
		if err != nil {
			return out, err
		}
		out.Classes = append(out.Classes, v)
		weighted[c] = v * support[c]
	}
	out.Macro = Mean(out.Classes)
	out.Weighted = sum(weighted) / sum(support)
	return out, nil
}

// checkScores holds that every row has a score for each class.
func checkScores(truth []int, scores [][]float64) (classes int, err error) {
	if err := sameLength(len(scores), len(truth)); err != nil {
		return 0, err
	}
	classes = len(scores[0])
	for i, row := range scores {
		if len(row) != classes {
			return 0, inputErrorf("row %d has %d scores, row 1 has %d", i+1, len(row), classes)
		}
		if truth[i] < 0 || truth[i] >= classes {
			return 0, inputErrorf("row %d: class %d, but there are scores for %d classes", i+1, truth[i], classes)
		}
	}
	return classes, nil
}

// ErrNotProbabilities is wrapped where scores are no probabilities: beyond 0…1, or not adding up to 1.
var ErrNotProbabilities = errors.New("scores are not probabilities")

// CheckProbabilities holds that every row is a distribution over the classes,
// to within 1e-3 (printed digits).
func CheckProbabilities(scores [][]float64) error {
	for i, row := range scores {
		for _, p := range row {
			if !(p >= 0 && p <= 1) {
				return fmt.Errorf("%w: row %d has %g", ErrNotProbabilities, i+1, p)
			}
		}
		if s := sum(row); math.Abs(s-1) > 1e-3 {
			return fmt.Errorf("%w: those of row %d add up to %g", ErrNotProbabilities, i+1, s)
		}
	}
	return nil
}

// LogLoss is the mean of −ln of the probability of the true class, which is
// kept 2⁻⁵² away from 0 and 1, as scikit-learn does.
func LogLoss(truth []int, probs [][]float64) (float64, error) {
	if _, err := checkScores(truth, probs); err != nil {
		return 0, err
	}
	const eps = 0x1p-52
	losses := make([]float64, len(truth))
	for i, t := range truth {
		losses[i] = -math.Log(min(max(probs[i][t], eps), 1-eps))
	}
	return Mean(losses), nil
}

// Brier is the mean squared distance between the probabilities and the one-hot
// truth: Σ over classes, halved when there are two (so that it lies in 0…1, as
// is the custom), else in 0…2. Source: Brier 1950; scikit-learn's brier_score_loss.
func Brier(truth []int, probs [][]float64) (float64, error) {
	classes, err := checkScores(truth, probs)
	if err != nil {
		return 0, err
	}
	rows := make([]float64, len(truth))
	for i, t := range truth {
		squares := make([]float64, classes)
		for c, p := range probs[i] {
			if c == t {
				p = 1 - p
			}
			squares[c] = p * p
		}
		rows[i] = sum(squares)
	}
	if classes == 2 {
		return Mean(rows) / 2, nil
	}
	return Mean(rows), nil
}

// ECE is the expected calibration error: rows are put into bins of equal width
// by the probability of the predicted (most probable) class, ((b−1)/B, b/B], and
// the gaps between mean probability and accuracy are averaged, weighted by the
// rows in each. Source: Guo et al. 2017, "On Calibration of Modern Neural Networks"
// (with 15 bins).
func ECE(truth []int, probs [][]float64, bins int) (float64, error) {
	if _, err := checkScores(truth, probs); err != nil {
		return 0, err
	}
	if bins < 1 {
		return 0, inputErrorf("calibration error over %d bins", bins)
	}
	confidence, right, count := make([]float64, bins), make([]float64, bins), make([]float64, bins)
	for i, t := range truth {
		best := 0
		for c, p := range probs[i] {
			if p > probs[i][best] {
				best = c
			}
		}
		p := probs[i][best]
		b := min(max(int(math.Ceil(p*float64(bins)))-1, 0), bins-1)
		confidence[b] += p
		count[b]++
		if best == t {
			right[b]++
		}
	}
	gap := 0.0
	for b := range count {
		gap += math.Abs(confidence[b] - right[b])
	}
	return gap / float64(len(truth)), nil
}

// Perplexity is e to the mean of the negative log-probabilities (natural log).
func Perplexity(logprobs []float64) (float64, error) {
	if len(logprobs) == 0 {
		return 0, inputErrorf("no log-probabilities")
	}
	for i, lp := range logprobs {
		if math.IsNaN(lp) || lp > 0 {
			return 0, inputErrorf("log-probability %d is %g; it must not exceed 0", i+1, lp)
		}
	}
	return math.Exp(-Mean(logprobs)), nil
}
