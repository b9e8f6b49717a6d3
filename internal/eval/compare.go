package eval

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Difference is how two runs differ in a metric of the rows that both have.
type Difference struct {
	Task   string  `json:"task"`
	Metric string  `json:"metric"` // with its filter: "acc,none"
	Rows   int     `json:"rows"`
	A      float64 `json:"a"` // means
	B      float64 `json:"b"`
	Diff   float64 `json:"difference"` // B − A
	Stderr float64 `json:"stderr"`     // of the difference, from the rows' differences
	CI95   Range   `json:"ci_95"`
	// Test is "mcnemar" where every row counts 0 or 1, else "paired bootstrap"; P the probability of a difference this
	// large, either way, where there is none.
	Test string  `json:"test"`
	P    float64 `json:"p_value"`
	// OnlyA and OnlyB are the rows that one run alone has right (McNemar).
	OnlyA int `json:"only_a,omitempty"`
	OnlyB int `json:"only_b,omitempty"`
}

// Paired is a metric's value of each row, by the row's identity.
type Paired map[string]float64

// compareIterations are the samples of the paired bootstrap.
const compareIterations = 10000

// ErrNothingCommon is wrapped where two runs share no rows.
var ErrNothingCommon = errors.New("the runs have no rows in common")

// Compare tests whether a metric differs between two runs over the same rows. Shares are tested with McNemar's exact test (1947):
// of the rows that one run alone has right, is the split that of a fair coin? All else by the paired bootstrap (Efron and
// Tibshirani 1993, section 16.4): rows' differences, shifted to mean 0, are drawn with replacement, and P is the share of
// means at least as far from 0 as the one that was found.
func Compare(task, metric string, a, b Paired) (Difference, error) {
	var keys []string
	for k := range a {
		if _, ok := b[k]; ok {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return Difference{}, fmt.Errorf("%s, %s: %w", task, metric, ErrNothingCommon)
	}
	slices.Sort(keys)
	d := Difference{Task: task, Metric: metric, Rows: len(keys), Test: "mcnemar"}
	x, y, diff := make([]float64, len(keys)), make([]float64, len(keys)), make([]float64, len(keys))
	for i, k := range keys {
		x[i], y[i], diff[i] = a[k], b[k], b[k]-a[k]
		if x[i] != 0 && x[i] != 1 || y[i] != 0 && y[i] != 1 {
			d.Test = "paired bootstrap"
		}
		switch diff[i] {
		case -1:
			d.OnlyA++
		case 1:
			d.OnlyB++
		}
	}
	d.A, d.B, d.Diff = mean(x), mean(y), mean(diff)
	if len(keys) > 1 {
		d.Stderr = deviation(diff) / math.Sqrt(float64(len(keys)))
	}
	const z = 1.959963984540054
	d.CI95 = Range{d.Diff - z*d.Stderr, d.Diff + z*d.Stderr}
	if d.Test == "mcnemar" {
		d.P = fairCoin(d.OnlyA, d.OnlyB)
		return d, nil
	}
	d.OnlyA, d.OnlyB = 0, 0
	d.P = pairedBootstrap(diff, d.Diff)
	return d, nil
}

// fairCoin is the probability that n = heads + tails throws of a fair coin are split at least as unevenly, two-sided.
func fairCoin(heads, tails int) float64 {
	n, k := heads+tails, min(heads, tails)
	if n == 0 || 2*k == n {
		return 1
	}
	var p float64
	ln := func(m int) float64 { v, _ := math.Lgamma(float64(m) + 1); return v }
	for i := range k + 1 {
		p += math.Exp(ln(n) - ln(i) - ln(n-i) - float64(n)*math.Ln2)
	}
	return min(1, 2*p)
}

func pairedBootstrap(diff []float64, observed float64) float64 {
	rng := newPyRandom(0)
	at := make([]int, len(diff))
	extreme := 0
	for range compareIterations {
		rng.choices(at, len(diff))
		var sum float64
		for _, i := range at {
			sum += diff[i] - observed
		}
		// Rounding must not make a difference of nothing extreme or not.
		if math.Abs(sum/float64(len(diff))) >= math.Abs(observed)*(1-1e-12) {
			extreme++
		}
	}
	return float64(extreme+1) / (compareIterations + 1)
}
