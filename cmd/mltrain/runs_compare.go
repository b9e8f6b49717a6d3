package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/mltrain/mltrain/internal/train"
)

// settingDiff is a key of the run config that is not the same in all runs.
type settingDiff struct {
	Key    string   `json:"key"`
	Values []string `json:"values"` // by run
}

// placeKeys are keys that differ between any two runs and say nothing.
var placeKeys = []string{"output_dir", "overwrite_output_dir", "resume_from_checkpoint"}

// settingDiffs compares the configs of runs. A run without one has empty values.
func settingDiffs(runs []*train.Record) []settingDiff {
	keys := map[string]bool{}
	for _, r := range runs {
		for k := range r.Config {
			keys[k] = true
		}
	}
	out := []settingDiff{}
	for k := range keys {
		d := settingDiff{Key: k}
		same := true
		for _, r := range runs {
			d.Values = append(d.Values, r.Config[k])
			same = same && r.Config[k] == runs[0].Config[k]
		}
		if !same && !slices.Contains(placeKeys, k) {
			out = append(out, d)
		}
	}
	slices.SortFunc(out, func(a, b settingDiff) int { return strings.Compare(a.Key, b.Key) })
	return out
}

func runRunsCompare(app *App, o *RunsOptions) error {
	runs, err := readRuns(o.Dirs)
	if err != nil {
		return err
	}
	diffs := settingDiffs(runs)
	list := make([]runSummary, len(runs))
	for i, r := range runs {
		list[i] = summarise(r)
	}
	if o.JSON {
		return app.PrintJSON(map[string]any{"runs": list, "settings": diffs})
	}
	err = table(app.Out, func(w io.Writer) {
		row := func(name string, value func(runSummary) string) {
			fmt.Fprint(w, name)
			for _, s := range list {
				fmt.Fprintf(w, "\t%s", value(s))
			}
			fmt.Fprintln(w)
		}
		row("run", func(s runSummary) string { return s.Dir })
		row("steps", runSummary.progress)
		row("loss", func(s runSummary) string { return orDash(s.Loss, "%.4f") })
		row("eval_loss", func(s runSummary) string { return orDash(s.EvalLoss, "%.4f") })
		row("best eval_loss", func(s runSummary) string { return orDash(s.BestEval, "%.4f") })
		row("tokens", func(s runSummary) string { return orDash(s.Tokens, "%.0f") })
		row("tokens/s", func(s runSummary) string { return orDash(s.TokensPerS, "%.0f") })
		row("findings", func(s runSummary) string {
			if len(s.Findings) == 0 {
				return "–"
			}
			return strings.Join(s.Findings, " ")
		})
		for _, d := range diffs {
			fmt.Fprintf(w, "%s\t%s\n", d.Key, strings.Join(d.Values, "\t"))
		}
	})
	if err != nil {
		return err
	}
	metrics := o.Metrics
	if len(metrics) == 0 {
		for _, m := range []string{"loss", "eval_loss"} {
			if slices.ContainsFunc(runs, func(r *train.Record) bool { return len(r.Series(m)) > 0 }) {
				metrics = append(metrics, m)
			}
		}
	}
	for _, m := range metrics {
		var curves []curve
		for _, r := range runs {
			curves = append(curves, curve{r.Dir, r.Series(m)})
		}
		text, err := plot(o, curves)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(app.Out, "\n%s\n%s\n", m, text); err != nil {
			return err
		}
	}
	return nil
}
