package predictions

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/mltrain/mltrain/internal/eval/metric"
)

func (r *Report) scoreClasses(rows []row, o Options) error {
	var c collector
	truth := column(&c, rows, cell.class, labelKeys...)
	hasScores := rows[0].has(scoreKeys...)
	var predicted []string
	if rows[0].has(predictionKeys...) || !hasScores {
		predicted = column(&c, rows, cell.class, predictionKeys...)
	}
	numeric, err := numericClasses(rows)
	c.add(err)
	var scores []cell
	if hasScores {
		scores = column(&c, rows, func(v cell) (cell, error) { return v, nil }, scoreKeys...)
	}
	if err := c.err(); err != nil {
		return err
	}
	labels := metric.NewLabels(numeric, truth, predicted, namedClasses(scores))
	var matrix [][]float64
	single := false // whether there is one score a row, that of the positive class
	if hasScores {
		positive := -1
		if single = scores[0].isNumber; single {
			if positive, err = positiveClass(labels.Names, o.Positive); err != nil {
				return err
			}
		}
		for i, v := range scores {
			line, err := scoreLine(v, single, positive, labels)
			if err != nil {
				c.add(rows[i].errorf("score: %w", err))
			}
			matrix = append(matrix, line)
		}
		if err := c.err(); err != nil {
			return err
		}
	}
	if predicted == nil {
		predicted = mostProbable(matrix, labels.Names)
		r.note("the rows have no prediction; the class of the highest score was taken")
	}
	confusion, err := metric.NewConfusion(labels.Codes(truth), labels.Codes(predicted), labels.Names)
	if err != nil {
		return err
	}
	r.setConfusion(confusion, o)
	if numeric && len(labels.Names) > mostPrintedClasses && !hasScores {
		r.note("whole numbers were taken as %d classes; --type regression scores them as numbers", len(labels.Names))
	}
	if hasScores {
		return r.setScores(labels, labels.Codes(truth), matrix, single, o)
	}
	return nil
}

// numericClasses reports whether classes are numbers; a mixture of numbers and
// text is a fault.
func numericClasses(rows []row) (bool, error) {
	numeric, text := -1, -1
	for i, r := range rows {
		for _, keys := range [][]string{labelKeys, predictionKeys} {
			v, key, ok := r.get(keys...)
			switch {
			case !ok:
			case v.isNumber:
				numeric = max(numeric, i)
			default:
				text = max(text, i)
			}
			if numeric >= 0 && text >= 0 {
				return false, r.errorf("%s is %s, but elsewhere classes are of the other kind; write all as numbers or all as text", key, v.what())
			}
		}
	}
	return numeric >= 0, nil
}

// namedClasses are the classes that objects of scores name.
func namedClasses(scores []cell) []string {
	var out []string
	for _, v := range scores {
		for name := range v.byName {
			out = append(out, name)
		}
	}
	return out
}

// positiveClass is the number of the class that a single score belongs to.
func positiveClass(names []string, positive string) (int, error) {
	if len(names) > 2 {
		return 0, fmt.Errorf("%w: score is one number, but there are %d classes (%s …); give scores, one for each class", ErrRows, len(names), strings.Join(names[:3], ", "))
	}
	if positive == "" {
		return len(names) - 1, nil
	}
	if i := slices.Index(names, positive); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("%w: the positive class %q does not occur; the classes are %s", ErrRows, positive, strings.Join(names, ", "))
}

// scoreLine gives the scores of all classes in their order. A single score is
// that of the positive class, and the other class has 1 minus it.
func scoreLine(v cell, single bool, positive int, labels metric.Labels) ([]float64, error) {
	n := len(labels.Names)
	switch {
	case single:
		p, err := v.number()
		if err != nil {
			return nil, err
		}
		line := make([]float64, max(n, 2))
		for i := range line {
			line[i] = 1 - p
		}
		line[positive] = p
		return line, nil
	case v.byName != nil:
		line := make([]float64, n)
		for i, name := range labels.Names {
			s, ok := v.byName[name]
			if !ok {
				return nil, fmt.Errorf("there is none for the class %q", name)
			}
			line[i] = s
		}
		if len(v.byName) == 0 {
			return nil, fmt.Errorf("expected numbers by class, found %s", v.what())
		}
		return line, nil
	}
	line, err := v.numbers()
	if err != nil {
		return nil, err
	}
	if len(line) != n {
		return nil, fmt.Errorf("%d numbers, but labels and predictions name %d classes (%s); give an object {class: score} if some never occur",
			len(line), n, strings.Join(labels.Names[:min(n, 5)], ", "))
	}
	return line, nil
}

func mostProbable(matrix [][]float64, names []string) []string {
	out := make([]string, len(matrix))
	for i, line := range matrix {
		best := 0
		for j, p := range line {
			if p > line[best] {
				best = j
			}
		}
		out[i] = names[min(best, len(names)-1)]
	}
	return out
}

func (r *Report) setConfusion(c *metric.Confusion, o Options) {
	r.Confusion = c
	r.Results.set("accuracy", c.Accuracy())
	r.Results.set("balanced_accuracy", c.BalancedAccuracy())
	scores := make([]metric.ClassScore, len(c.Labels))
	for i := range scores {
		scores[i] = c.Class(i, o.ZeroDivision)
	}
	r.setClasses(c.Labels, scores)
	if len(c.Labels) == 2 {
		if positive, err := positiveClass(c.Labels, o.Positive); err == nil {
			s := scores[positive]
			r.Results.set("precision", s.Precision)
			r.Results.set("recall", s.Recall)
			r.Results.set("f1", s.F1)
			r.note("precision, recall and f1 are those of the class %s", c.Labels[positive])
		}
	}
	r.setAverages(c.Average(o.ZeroDivision))
	r.Results.set("mcc", c.MCC())
	kappa := c.Kappa(metric.KappaPlain)
	r.Results.set("cohen_kappa", kappa)
	if math.IsNaN(kappa) {
		r.note("cohen_kappa is not defined: there is one class only")
	}
	r.table = c.Report(2, o.ZeroDivision)
}

// setScores computes what needs scores: areas under curves, and what needs
// them to be probabilities.
func (r *Report) setScores(labels metric.Labels, truth []int, matrix [][]float64, single bool, o Options) error {
	if len(labels.Names) <= 2 {
		positive, err := positiveClass(labels.Names, o.Positive)
		if err != nil {
			return err
		}
		yes, column := make([]bool, len(truth)), make([]float64, len(truth))
		for i, t := range truth {
			yes[i], column[i] = t == positive, matrix[i][positive]
		}
		auc, err := metric.ROCAUC(yes, column)
		if err != nil {
			return err
		}
		ap, err := metric.AveragePrecision(yes, column)
		if err != nil {
			return err
		}
		r.Results.set("roc_auc", auc)
		r.Results.set("average_precision", ap)
		if math.IsNaN(auc) {
			r.note("roc_auc is not defined: all rows are of one class")
		}
		if math.IsNaN(ap) {
			r.note("average_precision is not defined: no row is of the class %s", labels.Names[positive])
		}
	} else {
		for _, m := range []struct {
			name string
			f    func([]bool, []float64) (float64, error)
		}{{"roc_auc_ovr", metric.ROCAUC}, {"average_precision", metric.AveragePrecision}} {
			v, err := metric.OneVsRestOf(m.f, truth, matrix)
			if err != nil {
				return err
			}
			r.Results.set(m.name+"_macro", v.Macro)
			r.Results.set(m.name+"_weighted", v.Weighted)
			for i, x := range v.Classes {
				if math.IsNaN(x) {
					r.note("%s is not defined: no row is, or all are, of the class %s", m.name, labels.Names[i])
				}
			}
		}
	}
	if err := metric.CheckProbabilities(matrix); err != nil {
		r.note("log_loss, brier and ece are left out: %v", err)
		return nil
	}
	bins := o.Bins
	if bins == 0 {
		bins = 15
	}
	for _, m := range []struct {
		name string
		f    func([]int, [][]float64) (float64, error)
	}{
		{"log_loss", metric.LogLoss}, {"brier", metric.Brier},
		{"ece", func(t []int, p [][]float64) (float64, error) { return metric.ECE(t, p, bins) }},
	} {
		v, err := m.f(truth, matrix)
		if err != nil {
			return err
		}
		r.Results.set(m.name, v)
	}
	return nil
}
