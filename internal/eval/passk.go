package eval

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/mltrain/mltrain/internal/eval/metric"
)

// ErrCodeExecution is wrapped where a task's metric runs what the model wrote, and that is not allowed.
var ErrCodeExecution = errors.New("running code that a model wrote is not allowed")

// passAtK reads the metric pass@k of a task: the chance that one of k answers is right, where an answer is right if the program
// question + answer + newline + target runs to its end. It becomes a metric pass@N for each N of its argument k.
func (t *Task) passAtK(c metricConfig) ([]metricSpec, error) {
	if t.OutputType != generateUntil {
		return nil, fmt.Errorf("pass@k is a metric of %s, and output_type is %s", generateUntil, t.OutputType)
	}
	if !t.UnsafeCode {
		return nil, errors.New("pass@k runs what the model writes: the task must say unsafe_code: true")
	}
	ks := []int{1}
	for name, v := range c.Args {
		if name != "k" {
			return nil, fmt.Errorf("pass@k has no argument %s", name)
		}
		list, ok := v.([]any)
		if !ok {
			list = []any{v}
		}
		ks = nil
		for _, x := range list {
			k, ok := x.(int)
			if !ok || k < 1 {
				return nil, fmt.Errorf("pass@k: k is %v, want whole numbers from 1", v)
			}
			ks = append(ks, k)
		}
	}
	var out []metricSpec
	for _, k := range ks {
		out = append(out, metricSpec{name: fmt.Sprintf("pass@%d", k), aggregation: "mean", higherIsBetter: true, k: k})
	}
	return out, nil
}

// runsCode reports whether a task has a metric that runs programs, and the largest k of them.
func (t *Task) runsCode() (k int, ok bool) {
	for _, m := range t.metrics {
		k = max(k, m.k)
	}
	return k, k > 0
}

// checkRepeats finds out before the model is asked whether there will be answers enough.
func (t *Task) checkRepeats() error {
	n := t.Repeats
	if !t.gen.DoSample {
		n = 1 // all would be the same
	}
	if k, ok := t.runsCode(); ok && k > n {
		return fmt.Errorf("pass@%d needs as many answers to each question: set repeats: %d and generation_kwargs: {do_sample: true, temperature: …}", k, k)
	}
	return nil
}

// program is what is run for an answer.
func (t *Task) program(d doc, answer string) (string, error) {
	question, err := t.text.text(d)
	if err != nil {
		return "", err
	}
	references, err := t.references(d)
	if err != nil {
		return "", err
	}
	return question + answer + "\n" + references[0], nil
}

// execute runs the programs of all tasks that have any; what the journal knows is not run again.
func (e *evaluation) execute(ctx context.Context) error {
	var programs, keys []string
	for i, t := range e.tasks {
		if _, ok := t.runsCode(); !ok {
			continue
		}
		for _, row := range e.rows[i] {
			for _, f := range t.filters {
				answers, err := row.texts(f)
				if err != nil {
					return err
				}
				for _, a := range answers {
					p, err := t.program(row.doc, a)
					if err != nil {
						return err
					}
					key, err := requestKey("execute", p)
					if err != nil {
						return err
					}
					if _, seen := e.passed[p]; seen {
						continue
					}
					r, known := e.journal.get(key)
					if e.passed[p] = r.Greedy; !known {
						programs, keys = append(programs, p), append(keys, key)
					}
				}
			}
		}
	}
	if len(programs) == 0 {
		return nil
	}
	return e.o.Execute(ctx, programs, func(i int, passed bool) error {
		e.passed[programs[i]] = passed
		return e.journal.add([]response{{Key: keys[i], Greedy: passed}})
	})
}

// scorePassed is the unbiased estimate of pass@k from the answers to a question.
func (t *Task) scorePassed(d doc, answers []string, k int, passed map[string]bool) (float64, error) {
	right := 0
	for _, a := range answers {
		p, err := t.program(d, a)
		if err != nil {
			return 0, err
		}
		if passed[p] {
			right++
		}
	}
	return metric.PassAtK(len(answers), right, k)
}

// texts are the answers to a row's only request after a filter.
func (row rowRequests) texts(f filterChain) ([]string, error) {
	var raw []string
	for _, r := range row.requests[0] {
		raw = append(raw, *r.response.Text)
	}
	return f.apply(raw, row.doc)
}

// needsAll reports whether all answers to a question are scored together.
func (t *Task) needsAll() bool {
	return !slices.ContainsFunc(t.metrics, func(m metricSpec) bool { return m.k == 0 })
}
