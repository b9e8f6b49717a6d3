package predictions

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/mltrain/mltrain/internal/eval/metric"
)

// Score reads a file of predictions and computes every metric that applies to
// its rows. Faulty rows are an error, which names several of them.
func Score(ctx context.Context, path string, o Options) (*Report, error) {
	rows, err := readRows(path)
	if err != nil {
		return nil, err
	}
	kind := o.Kind
	if kind == "" {
		if kind, err = recognise(rows); err != nil {
			return nil, err
		}
	}
	r := &Report{Kind: kind, Rows: len(rows)}
	switch kind {
	case KindClasses:
		err = r.scoreClasses(rows, o)
	case KindTexts:
		err = r.scoreTexts(rows, o)
	case KindNumbers:
		err = r.scoreNumbers(rows, o)
	case KindSequences:
		err = r.scoreSequences(rows, o)
	case KindRanking:
		err = r.scoreRanking(rows, o)
	case KindPasses:
		err = r.scorePasses(rows, o)
	case KindCode:
		err = r.scoreCode(ctx, rows, o)
	case KindLikelihood:
		err = r.scoreLikelihood(rows)
	default:
		err = fmt.Errorf("%w: there is no type %q", ErrRows, kind)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// column reads one value from every row; faults are collected.
func column[T any](c *collector, rows []row, read func(cell) (T, error), keys ...string) []T {
	out := make([]T, len(rows))
	for i, r := range rows {
		v, key, ok := r.get(keys...)
		if !ok {
			c.add(r.errorf("the key %s is missing; the row has %s", keys[0], orNone(r.keys())))
			continue
		}
		var err error
		if out[i], err = read(v); err != nil {
			c.add(r.errorf("%s: %w", key, err))
		}
	}
	return out
}

func (r *Report) scoreTexts(rows []row, o Options) error {
	var c collector
	predictions := column(&c, rows, cell.words, predictionKeys...)
	references := column(&c, rows, func(v cell) ([]string, error) {
		if !v.isList {
			one, err := v.words()
			return []string{one}, err
		}
		if len(v.list) == 0 {
			return nil, fmt.Errorf("expected at least one reference, found none")
		}
		return v.texts()
	}, append(slices.Clone(referenceKeys), labelKeys...)...)
	if err := c.err(); err != nil {
		return err
	}
	exact, f1 := make([]float64, len(rows)), make([]float64, len(rows))
	for i, p := range predictions {
		exact[i], f1[i] = metric.ExactMatch(p, references[i]), metric.TokenF1(p, references[i])
	}
	r.Results.set("exact_match", metric.Mean(exact))
	r.Results.set("f1", metric.Mean(f1))
	r.Signatures = map[string]string{}
	bleu := metric.BLEU{Tokenizer: o.Tokenizer, Lowercase: o.Lowercase}
	b, err := bleu.Corpus(predictions, references)
	if err != nil {
		return err
	}
	r.Results.set("bleu", b.Score)
	if r.Signatures["bleu"], err = bleu.Signature(references); err != nil {
		return err
	}
	r.lines = append(r.lines, b.String(), "  "+r.Signatures["bleu"])
	for _, v := range []struct {
		name string
		chrf metric.CHRF
	}{{"chrf", metric.CHRF{Lowercase: o.Lowercase}}, {"chrf++", metric.CHRF{Lowercase: o.Lowercase, WordOrder: 2}}} {
		s, err := v.chrf.Corpus(predictions, references)
		if err != nil {
			return err
		}
		r.Results.set(v.name, s.Score)
		if r.Signatures[v.name], err = v.chrf.Signature(references); err != nil {
			return err
		}
		r.lines = append(r.lines, s.String(), "  "+r.Signatures[v.name])
	}
	var ter metric.TER
	edits, err := ter.Corpus(predictions, references)
	if err != nil {
		return err
	}
	r.Results.set("ter", edits.Score)
	r.Signatures["ter"] = ter.Signature(references)
	r.lines = append(r.lines, edits.String(), "  "+r.Signatures["ter"])
	rouge, err := metric.ROUGE{Stemmer: o.Stemmer}.Corpus(predictions, references)
	if err != nil {
		return err
	}
	r.Results.set("rouge1", rouge.ROUGE1.F)
	r.Results.set("rouge2", rouge.ROUGE2.F)
	r.Results.set("rougeL", rouge.ROUGEL.F)
	r.Results.set("rougeLsum", rouge.ROUGELsum.F)
	return nil
}

func (r *Report) scoreNumbers(rows []row, o Options) error {
	var c collector
	truth := column(&c, rows, cell.number, labelKeys...)
	predicted := column(&c, rows, cell.number, predictionKeys...)
	if err := c.err(); err != nil {
		return err
	}
	delta := o.HuberDelta
	if delta == 0 {
		delta = 1
	}
	for _, m := range []struct {
		name string
		f    func(a, b []float64) (float64, error)
	}{
		{"mse", metric.MSE}, {"mae", metric.MAE},
		{"huber", func(a, b []float64) (float64, error) { return metric.Huber(a, b, delta) }},
		{"r2", metric.R2}, {"pearson", metric.Pearson}, {"spearman", metric.Spearman}, {"kendall", metric.Kendall},
	} {
		v, err := m.f(truth, predicted)
		if err != nil {
			return err
		}
		r.Results.set(m.name, v)
		if m.name == "mse" {
			r.Results.set("rmse", math.Sqrt(v))
		}
		if math.IsNaN(v) {
			r.note("%s is not defined: labels or predictions are all the same, or there is one row only", m.name)
		}
	}
	return nil
}

func (r *Report) scoreSequences(rows []row, o Options) error {
	var c collector
	truth := column(&c, rows, cell.texts, tagKeys...)
	predicted := column(&c, rows, cell.texts, predictionKeys...)
	for i := range rows {
		if truth[i] != nil && predicted[i] != nil && len(truth[i]) != len(predicted[i]) {
			c.add(rows[i].errorf("%d predicted tags for %d true ones", len(predicted[i]), len(truth[i])))
		}
	}
	if err := c.err(); err != nil {
		return err
	}
	s, err := metric.ScoreSequences(truth, predicted, metric.Scheme(o.Scheme), o.ZeroDivision)
	if err != nil {
		return err
	}
	r.setAverages(s.Averages)
	r.Results.set("accuracy", s.Accuracy)
	r.setClasses(s.Types, s.Scores)
	if len(s.Types) == 0 {
		r.note("there are no entities, true or predicted")
	} else {
		r.table = s.Report(4)
	}
	return nil
}

// setAverages sets precision_macro and so on.
func (r *Report) setAverages(a metric.Averages) {
	for _, v := range []struct {
		name  string
		score metric.ClassScore
	}{{"micro", a.Micro}, {"macro", a.Macro}, {"weighted", a.Weighted}} {
		r.Results.set("precision_"+v.name, v.score.Precision)
		r.Results.set("recall_"+v.name, v.score.Recall)
		r.Results.set("f1_"+v.name, v.score.F1)
	}
}

func (r *Report) setClasses(names []string, scores []metric.ClassScore) {
	r.Classes = make(map[string]metric.ClassScore, len(names))
	for i, name := range names {
		r.Classes[name] = scores[i]
	}
}

func (r *Report) scoreLikelihood(rows []row) error {
	var c collector
	lists := column(&c, rows, cell.numbers, "logprobs")
	for i, l := range lists {
		for j, v := range l {
			if v > 0 {
				c.add(rows[i].errorf("logprobs: item %d is %g; a log-probability must not exceed 0", j+1, v))
			}
		}
	}
	if err := c.err(); err != nil {
		return err
	}
	all := slices.Concat(lists...)
	p, err := metric.Perplexity(all)
	if err != nil {
		return err
	}
	r.Results.set("perplexity", p)
	r.Results.set("nll", -metric.Mean(all))
	r.Results.set("tokens", float64(len(all)))
	return nil
}

// scorePasses estimates pass@k from rows {"task_id", "passed"}, one a sample.
func (r *Report) scorePasses(rows []row, o Options) error {
	var c collector
	tasks := column(&c, rows, cell.class, "task_id")
	passed := column(&c, rows, func(v cell) (bool, error) {
		switch {
		case v.text == "true" || v.text == "True" || v.isNumber && v.text == "1":
			return true, nil
		case v.text == "false" || v.text == "False" || v.isNumber && v.text == "0":
			return false, nil
		}
		return false, fmt.Errorf("expected true or false, found %s", v.what())
	}, "passed")
	if err := c.err(); err != nil {
		return err
	}
	return r.setPasses(tasks, passed, o)
}

// setPasses estimates pass@k from samples of tasks.
func (r *Report) setPasses(tasks []string, passed []bool, o Options) error {
	samples, right := map[string]int{}, map[string]int{}
	var order []string
	for i, task := range tasks {
		if samples[task] == 0 {
			order = append(order, task)
		}
		samples[task]++
		if passed[i] {
			right[task]++
		}
	}
	r.Results.set("tasks", float64(len(order)))
	ks := o.K
	if ks == nil {
		ks = []int{1, 10, 100}
	}
	for _, k := range ks {
		var each []float64
		for _, task := range order {
			if samples[task] < k {
				each = nil
				break
			}
			p, err := metric.PassAtK(samples[task], right[task], k)
			if err != nil {
				return err
			}
			each = append(each, p)
		}
		if each == nil {
			if o.K != nil {
				r.note("pass@%d is left out: some task has fewer samples", k)
			}
			continue
		}
		r.Results.set(fmt.Sprintf("pass@%d", k), metric.Mean(each))
	}
	return nil
}
