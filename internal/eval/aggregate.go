package eval

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"

	"github.com/mltrain/mltrain/internal/eval/metric"
)

// aggregation makes a number of the values that the rows gave. sampled says that its standard error is that of the means of
// samples drawn with replacement, as lm-evaluation-harness has it; analytic that it is the sample's deviation by √n; of all
// others none is known.
type aggregation struct {
	of       func([]any) (float64, error)
	sampled  bool
	analytic bool
	slow     bool // at most slowIterations samples
}

// slowIterations bounds the bootstrap of metrics on texts, as the harness does.
const slowIterations = 100

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
		"bleu": {sampled: true, slow: true, of: corpus(func(h []string, r [][]string) (float64, error) {
			s, err := metric.BLEU{}.Corpus(h, r)
			return s.Score, err
		})},
		"ter": {sampled: true, slow: true, of: corpus(func(h []string, r [][]string) (float64, error) {
			s, err := metric.TER{}.Corpus(h, r)
			return s.Score, err
		})},
		"chrf":     {of: chrf(0), sampled: true, slow: true},
		"chrf++":   {of: chrf(2), sampled: true, slow: true},
		"pearson":  {of: pairs(metric.Pearson)},
		"spearman": {of: pairs(metric.Spearman)},
		"mae":      {of: pairs(metric.MAE)},
		"bypass":   {of: func([]any) (float64, error) { return 999, nil }},
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

// binaryF1 is the F1 of choice 1 against choice 0.
func binaryF1(items []any) (float64, error) {
	gold, pred, err := labels(items)
	if err != nil {
		return 0, err
	}
	c, err := metric.NewConfusion(gold, pred, make([]string, 2))
	if err != nil {
		return 0, errors.New("f1 is for tasks with two choices; for more there are acc and mcc")
	}
	return c.Class(1, 0).F1, nil
}

// matthews is Matthews' correlation coefficient; a target that is none of the choices is a class of its own.
func matthews(items []any) (float64, error) {
	gold, pred, err := labels(items)
	if err != nil {
		return 0, err
	}
	for i := range gold {
		gold[i]++
		pred[i]++
	}
	c, err := metric.NewConfusion(gold, pred, make([]string, max(slices.Max(gold), slices.Max(pred))+1))
	if err != nil {
		return 0, err
	}
	return c.MCC(), nil
}

// corpus applies a metric of whole corpora.
func corpus(score func(hypotheses []string, references [][]string) (float64, error)) func([]any) (float64, error) {
	return func(items []any) (float64, error) {
		hypotheses, references := make([]string, len(items)), make([][]string, len(items))
		for i, v := range items {
			t, ok := v.(texts)
			if !ok {
				return 0, fmt.Errorf("cannot aggregate a %T", v)
			}
			hypotheses[i], references[i] = t.Text, t.References
		}
		return score(hypotheses, references)
	}
}

func chrf(wordOrder int) func([]any) (float64, error) {
	return corpus(func(h []string, r [][]string) (float64, error) {
		s, err := metric.CHRF{WordOrder: wordOrder}.Corpus(h, r)
		return s.Score, err
	})
}

// pairs applies a metric of right and given numbers.
func pairs(score func(truth, predicted []float64) (float64, error)) func([]any) (float64, error) {
	return func(items []any) (float64, error) {
		gold, pred := make([]float64, len(items)), make([]float64, len(items))
		for i, v := range items {
			p, ok := v.(pair)
			if !ok {
				return 0, fmt.Errorf("cannot aggregate a %T", v)
			}
			gold[i], pred[i] = p.Gold, p.Pred
		}
		return score(gold, pred)
	}
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
	if a.slow {
		iterations = min(iterations, slowIterations)
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
