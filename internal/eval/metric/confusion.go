package metric

import (
	"encoding/json"
	"math"
)

// Confusion counts for every class how often each class was predicted in its
// place: Counts[true][predicted]. Everything that follows from labels and
// predictions alone is a method of it. Source of all: scikit-learn's metrics.
type Confusion struct {
	Labels []string `json:"labels"`
	Counts [][]int  `json:"counts"`
}

// NewConfusion counts labels and predictions, given by the numbers of their
// classes; names are those of the classes.
func NewConfusion(truth, predicted []int, names []string) (*Confusion, error) {
	if err := sameLength(len(predicted), len(truth)); err != nil {
		return nil, err
	}
	c := &Confusion{Labels: names, Counts: make([][]int, len(names))}
	for i := range c.Counts {
		c.Counts[i] = make([]int, len(names))
	}
	for i, t := range truth {
		if p := predicted[i]; t < 0 || p < 0 || t >= len(names) || p >= len(names) {
			return nil, inputErrorf("row %d: class %d predicted for class %d; there are %d classes", i+1, p, t, len(names))
		}
		c.Counts[t][predicted[i]]++
	}
	return c, nil
}

// rows and columns sum the counts: how often each class is true and predicted.
func (c *Confusion) sums() (rows, columns []float64, right, all float64) {
	rows, columns = make([]float64, len(c.Counts)), make([]float64, len(c.Counts))
	for t, row := range c.Counts {
		for p, n := range row {
			rows[t] += float64(n)
			columns[p] += float64(n)
			all += float64(n)
		}
		right += float64(row[t])
	}
	return rows, columns, right, all
}

// Accuracy is the share of rows that are right.
func (c *Confusion) Accuracy() float64 {
	_, _, right, all := c.sums()
	return right / all
}

// BalancedAccuracy is the mean recall of the classes that occur.
func (c *Confusion) BalancedAccuracy() float64 {
	rows, _, _, _ := c.sums()
	var recalls []float64
	for t, n := range rows {
		if n > 0 {
			recalls = append(recalls, float64(c.Counts[t][t])/n)
		}
	}
	return Mean(recalls)
}

// MCC is Matthews' correlation coefficient, for any number of classes: the
// correlation of the one-hot matrices of labels and predictions. It is 0 when
// either has one class only. Source: Gorodkin 2004.
func (c *Confusion) MCC() float64 {
	rows, columns, right, all := c.sums()
	both, predicted, truth := right*all, all*all, all*all
	for i := range rows {
		both -= rows[i] * columns[i]
		predicted -= columns[i] * columns[i]
		truth -= rows[i] * rows[i]
	}
	if predicted*truth == 0 {
		return 0
	}
	return both / math.Sqrt(predicted*truth)
}

// KappaWeights says how much a confusion of two classes counts.
type KappaWeights string

// The weights of Cohen's kappa.
const (
	KappaPlain     KappaWeights = ""          // every confusion 1
	KappaLinear    KappaWeights = "linear"    // the distance of the classes in their order
	KappaQuadratic KappaWeights = "quadratic" // its square
)

// Kappa is Cohen's kappa: 1 − observed/expected weighted disagreement. NaN when
// there is one class only.
func (c *Confusion) Kappa(w KappaWeights) float64 {
	rows, columns, _, all := c.sums()
	var observed, expected []float64
	for t, row := range c.Counts {
		for p, n := range row {
			weight := math.Abs(float64(t - p))
			switch w {
			case KappaQuadratic:
				weight *= weight
			case KappaPlain:
				weight = min(weight, 1)
			}
			observed = append(observed, weight*float64(n))
			expected = append(expected, weight*(columns[t]*rows[p]/all))
		}
	}
	if sum(expected) == 0 {
		return math.NaN()
	}
	return 1 - sum(observed)/sum(expected)
}

// ClassScore is what a report says about a class, or about all of them.
type ClassScore struct {
	Precision float64 // of what was predicted so, the share that is
	Recall    float64 // of what is so, the share that was predicted
	F1        float64 // 2·right / (true + predicted)
	Support   int     // rows of the class
}

// MarshalJSON writes what is not defined as null.
func (s ClassScore) MarshalJSON() ([]byte, error) {
	defined := func(x float64) *float64 {
		if math.IsNaN(x) {
			return nil
		}
		return &x
	}
	return json.Marshal(struct {
		Precision *float64 `json:"precision"`
		Recall    *float64 `json:"recall"`
		F1        *float64 `json:"f1-score"`
		Support   int      `json:"support"`
	}{defined(s.Precision), defined(s.Recall), defined(s.F1), s.Support})
}

// classScore divides; zero stands for 0/0 (scikit-learn's zero_division).
func classScore(right, truth, predicted, zero float64) ClassScore {
	divide := func(a, b float64) float64 {
		if b == 0 {
			return zero
		}
		return a / b
	}
	return ClassScore{divide(right, predicted), divide(right, truth), divide(2*right, truth+predicted), int(truth)}
}

// Class scores class i. zeroDivision is the value of what is undefined because
// a class is never predicted, or never true: 0 (the usual), 1, or NaN, which
// averages leave out.
func (c *Confusion) Class(i int, zeroDivision float64) ClassScore {
	rows, columns, _, _ := c.sums()
	return classScore(float64(c.Counts[i][i]), rows[i], columns[i], zeroDivision)
}

// Averages are the ways of making one score of those of the classes.
type Averages struct {
	Micro    ClassScore `json:"micro"`    // of all rows together
	Macro    ClassScore `json:"macro"`    // mean over classes
	Weighted ClassScore `json:"weighted"` // mean over classes, weighted by support
}

// Average scores all classes together.
func (c *Confusion) Average(zeroDivision float64) Averages {
	rows, columns, right, _ := c.sums()
	scores := make([]ClassScore, len(rows))
	for i := range scores {
		scores[i] = classScore(float64(c.Counts[i][i]), rows[i], columns[i], zeroDivision)
	}
	return averageScores(scores, right, sum(rows), sum(columns), zeroDivision)
}

// averageScores averages the scores of classes; right, truth and predicted are
// the totals.
func averageScores(scores []ClassScore, right, truth, predicted, zero float64) Averages {
	var p, r, f, weights []float64
	for _, s := range scores {
		p, r, f = append(p, s.Precision), append(r, s.Recall), append(f, s.F1)
		weights = append(weights, float64(s.Support))
	}
	n := int(truth)
	return Averages{
		Micro:    classScore(right, truth, predicted, zero),
		Macro:    ClassScore{average(p, nil), average(r, nil), average(f, nil), n},
		Weighted: ClassScore{average(p, weights), average(r, weights), average(f, weights), n},
	}
}
