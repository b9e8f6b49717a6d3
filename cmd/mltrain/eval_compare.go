package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/mltrain/mltrain/internal/eval"
)

func newEvalCompareCommand(app *App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "compare A B",
		Short: "Test whether two evaluations differ",
		Long: `Compare two evaluations of the same tasks row by row. A and B are output directories of
'mltrain eval' with --log-samples, or single samples_TASK.jsonl files, also those of
lm-evaluation-harness. Rows are matched by their number and what they hold; a metric
of 0 and 1 is tested with McNemar's exact test, others with the paired bootstrap.`,
		Example: "  mltrain eval compare runs/before runs/after",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usageErrorf("expected two evaluations, found %d arguments\nsee '%s --help'", len(args), cmd.CommandPath())
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return runEvalCompare(app, args[0], args[1], asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func runEvalCompare(app *App, a, b string, asJSON bool) error {
	runA, errA := readRun(a)
	runB, errB := readRun(b)
	if err := errors.Join(errA, errB); err != nil {
		return err
	}
	var out []eval.Difference
	for _, key := range runA.order {
		rowsB, ok := runB.rows[key]
		if !ok {
			app.Log.Warn("only in one of the evaluations", "task", key.task, "metric", key.metric, "in", a)
			continue
		}
		d, err := eval.Compare(key.task, key.metric, runA.rows[key], rowsB)
		if err != nil {
			return err
		}
		if n := max(len(runA.rows[key]), len(rowsB)); d.Rows < n {
			app.Log.Warn("compared are the rows that both have", "task", key.task, "metric", key.metric, "rows", d.Rows, "of", n)
		}
		out = append(out, d)
	}
	if len(out) == 0 {
		return fmt.Errorf("%s and %s have no task and metric in common", a, b)
	}
	if asJSON {
		return app.PrintJSON(map[string]any{"comparison": out})
	}
	tw := tabwriter.NewWriter(app.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "task\tmetric\trows\tA\tB\tB − A\t95 %\tp\ttest")
	for _, d := range out {
		fmt.Fprintf(tw, "%s\t%s\t%d\t%.4f\t%.4f\t%+.4f\t%+.4f … %+.4f\t%.4g\t%s\n", d.Task, d.Metric, d.Rows, d.A, d.B, d.Diff, d.CI95[0], d.CI95[1], d.P, d.Test)
	}
	return tw.Flush()
}

// metricKey names a metric of a task, with its filter.
type metricKey struct{ task, metric string }

// evalRun holds what an evaluation logged of each row.
type evalRun struct {
	rows  map[metricKey]eval.Paired
	order []metricKey
}

// readRun reads the samples of a directory or a file.
func readRun(path string) (*evalRun, error) {
	run := &evalRun{rows: map[metricKey]eval.Paired{}}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	files := []string{path}
	if info.IsDir() {
		if files, err = filepath.Glob(filepath.Join(path, "samples_*.jsonl")); err != nil {
			return nil, err
		}
		if len(files) == 0 {
			return nil, fmt.Errorf("%s holds no samples_TASK.jsonl: evaluate with --log-samples", path)
		}
	}
	for _, f := range files {
		if err := run.read(f, taskOfSamples(f)); err != nil {
			return nil, err
		}
	}
	return run, nil
}

// taskOfSamples is the task that a file of samples is named after; the harness adds a date.
func taskOfSamples(path string) string {
	name := strings.TrimPrefix(strings.TrimSuffix(filepath.Base(path), ".jsonl"), "samples_")
	if i := strings.LastIndex(name, "_20"); i > 0 && strings.Count(name[i:], "-") >= 2 {
		name = name[:i]
	}
	return name
}

func (r *evalRun) read(path, task string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	br := bufio.NewReader(f)
	for line := 1; ; line++ {
		raw, readErr := br.ReadBytes('\n')
		if readErr != nil && readErr != io.EOF {
			return fmt.Errorf("%s: %w", path, readErr)
		}
		if strings.TrimSpace(string(raw)) != "" {
			if err := r.add(raw, task); err != nil {
				return fmt.Errorf("%s:%d: %w", path, line, err)
			}
		}
		if readErr == io.EOF {
			return nil
		}
	}
}

// add takes the numbers that a sample's metrics gave; values that are several numbers belong to metrics of whole tasks.
func (r *evalRun) add(raw []byte, task string) error {
	var s map[string]json.RawMessage
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	var meta struct {
		DocID   *int     `json:"doc_id"`
		DocHash string   `json:"doc_hash"`
		Filter  string   `json:"filter"`
		Metrics []string `json:"metrics"`
	}
	if err := json.Unmarshal(raw, &meta); err != nil {
		return err
	}
	if meta.DocID == nil || meta.Metrics == nil {
		return errors.New("is no sample of an evaluation: doc_id or metrics is missing")
	}
	id := fmt.Sprintf("%d %s", *meta.DocID, meta.DocHash)
	for _, m := range meta.Metrics {
		var x float64
		if err := json.Unmarshal(s[m], &x); err != nil {
			var b bool
			if json.Unmarshal(s[m], &b) != nil {
				continue
			}
			if b {
				x = 1
			}
		}
		key := metricKey{task, m + "," + meta.Filter}
		if r.rows[key] == nil {
			r.rows[key] = eval.Paired{}
			r.order = append(r.order, key)
			slices.SortFunc(r.order, func(a, b metricKey) int { return strings.Compare(a.task+a.metric, b.task+b.metric) })
		}
		r.rows[key][id] = x
	}
	return nil
}
