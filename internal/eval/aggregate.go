package eval

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
)

// aggregation makes a number of the values that the rows gave. sampled says that its standard error is that of the means of
// samples drawn with replacement, as lm-evaluation-harness has it; analytic that it is the sample's deviation by √n; of all
// others none is known.
type aggregation struct {
	of       func([]any) (float64, error)
	sampled  bool
	analytic bool
}

// maxTextIterations bounds the bootstrap of metrics on texts, which take long.
const maxTextIterations = 100

func aggregations() map[string]aggregation {
	return map[string]aggregation{
		"mean":                {of: numbers(mean), analytic: true},
		"nanmean":             {of: numbers(nanMean), sampled: true},
		"median":              {of: numbers(median), sampled: true},
		"perplexity":          {of: numbers(func(x []float64) float64 { return math.Exp(-mean(x)) }), sampled: true},
		"weighted_perplexity": {of: ratios(func(x float64) float64 { return math.Exp(-x) })},
		"bits_per_byte":       {of: ratios(func(x float64) float64 { return -x / math.Ln2 })},
		"brier_score":         {of: brier},
		"f1":                  {of: binaryF1, sampled: true},
		"matthews_corrcoef":   {of: matthews, sampled: true},
		"bypass":              {of: func([]any) (float64, error) { return 999, nil }},
	}
}

func aggregationNames() []string {
	var out []string
	for name := range aggregations() {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func numbers(f func([]float64) float64) func([]any) (float64, error) {
	return func(items []any) (float64, error) {
		x := make([]float64, len(items))
		for i, v := range items {
			var ok bool
			if x[i], ok = v.(float64); !ok {
				return 0, fmt.Errorf("cannot aggregate a %T", v)
			}
		}
		return f(x), nil
	}
}

func ratios(f func(float64) float64) func([]any) (float64, error) {
	return func(items []any) (float64, error) {
		var sum, n float64
		for _, v := range items {
			w, ok := v.(weighted)
			if !ok {
				return 0, fmt.Errorf("cannot aggregate a %T", v)
			}
			sum += w.Sum
			n += w.N
		}
		return f(sum / n), nil
	}
}

func mean(x []float64) float64 {
	var sum float64
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

func nanMean(x []float64) float64 {
	return mean(slices.DeleteFunc(slices.Clone(x), math.IsNaN))
}

// median is the upper one of the two in the middle.
func median(x []float64) float64 {
	return slices.Sorted(slices.Values(x))[len(x)/2]
}

// brier is the mean over rows of Σ (p − right)² over choices (Brier 1950).
func brier(items []any) (float64, error) {
	var sum float64
	for _, v := range items {
		p, ok := v.(probabilities)
		if !ok || p.Gold < 0 {
			return 0, errors.New("brier_score: a row's target is none of its choices")
		}
		for i, x := range p.P {
			d := x - truth(i == p.Gold)
			sum += d * d
		}
	}
	return sum / float64(len(items)), nil
}

func labels(items []any) (gold, pred []int, err error) {
	for _, v := range items {
		l, ok := v.(labelled)
		if !ok {
			return nil, nil, fmt.Errorf("cannot aggregate a %T", v)
		}
		gold, pred = append(gold, l.Gold), append(pred, l.Pred)
	}
	return gold, pred, nil
}

// binaryF1 is the F1 of choice 1 against choice 0: 2·tp / (2·tp + fp + fn), 0 where neither occurs.
func binaryF1(items []any) (float64, error) {
	gold, pred, err := labels(items)
	if err != nil {
		return 0, err
	}
	var tp, wrong float64
	for i, g := range gold {
		p := pred[i]
		if g < 0 || g > 1 || p > 1 {
			return 0, errors.New("f1 is for tasks with two choices; for more there are acc and mcc")
		}
		switch {
		case g == 1 && p == 1:
			tp++
		case g != p:
			wrong++
		}
	}
	if 2*tp+wrong == 0 {
		return 0, nil
	}
	return 2 * tp / (2*tp + wrong), nil
}

// matthews is Matthews' correlation coefficient for any number of classes (Gorodkin 2004), 0 where it is undefined.
func matthews(items []any) (float64, error) {
	gold, pred, err := labels(items)
	if err != nil {
		return 0, err
	}
	classes := max(slices.Max(gold), slices.Max(pred)) + 2 // −1, for none of the choices, is one
	golds, preds := make([]float64, classes), make([]float64, classes)
	var right float64
	for i, g := range gold {
		golds[g+1]++
		preds[pred[i]+1]++
		right += truth(g == pred[i])
	}
	total := float64(len(gold))
	cov, varGold, varPred := right*total, total*total, total*total
	for i, n := range golds {
		cov -= n * preds[i]
		varGold -= n * n
		varPred -= preds[i] * preds[i]
	}
	if varGold*varPred == 0 {
		return 0, nil
	}
	return cov / math.Sqrt(varGold*varPred), nil
}

// deviation is the sample standard deviation, with n − 1.
func deviation(x []float64) float64 {
	mu := mean(x)
	var sum float64
	for _, v := range x {
		sum += (v - mu) * (v - mu)
	}
	return math.Sqrt(sum / float64(len(x)-1))
}

// stderr is the standard error of an aggregation of items, NaN where none is known. The bootstrap draws the samples that
// lm-evaluation-harness draws: thousands of them from generators seeded with 0, 1, 2 ….
func stderr(a aggregation, items []any, iterations int) (float64, error) {
	if len(items) < 2 || iterations <= 0 {
		return math.NaN(), nil
	}
	if a.analytic {
		x := make([]float64, len(items))
		for i, v := range items {
			x[i], _ = v.(float64)
		}
		return deviation(x) / math.Sqrt(float64(len(x))), nil
	}
	if !a.sampled {
		return math.NaN(), nil
	}
	chunk := min(1000, iterations)
	values := make([]float64, iterations/chunk*chunk)
	errs := make([]error, iterations/chunk)
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(runtime.GOMAXPROCS(0), len(errs)) {
		wg.Go(func() {
			at, drawn := make([]int, len(items)), make([]any, len(items))
			for i := range next {
				rng := newPyRandom(uint64(i))
				for k := range chunk {
					rng.choices(at, len(items))
					for j, from := range at {
						drawn[j] = items[from]
					}
					if values[i*chunk+k], errs[i] = a.of(drawn); errs[i] != nil {
						break
					}
				}
			}
		})
	}
	for i := range errs {
		next <- i
	}
	close(next)
	wg.Wait()
	return deviation(values), errors.Join(errs...)
}
