package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/mltrain/mltrain/internal/train"
)

// RunsOptions are the flags of the commands about runs.
type RunsOptions struct {
	Dirs          []string
	Metrics       []string
	Width, Height int
	JSON          bool
}

func newRunsCommand(app *App) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "runs",
		Short:   "List, show and compare runs",
		Long:    "List, show and compare runs by what they left in their directories, finished or not.",
		Example: "  mltrain runs ls\n  mltrain runs show runs/chat\n  mltrain runs compare runs/chat runs/chat-lora",
	}
	add := func(use, short, example string, args cobra.PositionalArgs, plots bool, run func(*App, *RunsOptions) error) {
		o := &RunsOptions{}
		sub := &cobra.Command{Use: use, Short: short, Example: example, Args: args, RunE: func(_ *cobra.Command, args []string) error {
			o.Dirs = args
			return run(app, o)
		}}
		f := sub.Flags()
		f.BoolVar(&o.JSON, "json", false, "print as JSON")
		if plots {
			f.StringArrayVar(&o.Metrics, "metric", nil, "metric to plot, a key of metrics.jsonl (repeatable)")
			f.IntVar(&o.Width, "width", 72, "columns of a plot")
			f.IntVar(&o.Height, "height", 10, "lines of a plot")
		}
		cmd.AddCommand(sub)
	}
	add("ls [DIR…]", "List runs: those below each directory, runs/ unless given", "  mltrain runs ls\n  mltrain runs ls runs /data/runs --json", nil, false, runRunsLs)
	add("show DIR…", "Show runs with plots of what they logged", "  mltrain runs show runs/chat\n  mltrain runs show runs/chat --metric mean_token_accuracy", someDirs(1), true, runRunsShow)
	add("compare DIR DIR…", "Compare runs: what differs in their configs, what came of it, and their losses in one plot",
		"  mltrain runs compare runs/chat runs/chat-lora\n  mltrain runs compare runs/a runs/b --metric grad_norm", someDirs(2), true, runRunsCompare)
	asGroup(cmd)
	return cmd
}

func someDirs(least int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least {
			return usageErrorf("%q takes %d or more directories of runs, found %d\nsee '%s --help'", cmd.CommandPath(), least, len(args), cmd.CommandPath())
		}
		return nil
	}
}

// runSummary is a run in a few numbers.
type runSummary struct {
	Dir        string    `json:"dir"`
	Command    string    `json:"command,omitempty"`
	Model      string    `json:"model,omitempty"`
	Steps      int       `json:"steps"`
	Total      int       `json:"max_steps,omitempty"`
	Finished   bool      `json:"finished"`
	Loss       *float64  `json:"loss,omitempty"`
	EvalLoss   *float64  `json:"eval_loss,omitempty"`
	BestEval   *float64  `json:"best_eval_loss,omitempty"`
	BestStep   int       `json:"best_step,omitempty"`
	Tokens     *float64  `json:"num_tokens,omitempty"`
	TokensPerS *float64  `json:"tokens_per_second,omitempty"`
	Findings   []string  `json:"findings"`
	Modified   time.Time `json:"modified"`
}

func summarise(r *train.Record) runSummary {
	s := runSummary{Dir: r.Dir, Command: r.Command, Model: r.Config["model_name_or_path"], Modified: r.Modified, Findings: []string{}, Finished: r.State != nil}
	s.Steps, s.Total = r.Steps()
	for metric, to := range map[string]**float64{"loss": &s.Loss, "eval_loss": &s.EvalLoss, "num_tokens": &s.Tokens, "tokens_per_second": &s.TokensPerS} {
		if p, ok := r.Last(metric); ok {
			*to = &p.Value
		}
	}
	if p, ok := r.Best("eval_loss"); ok {
		s.BestEval, s.BestStep = &p.Value, p.Step
	}
	for _, f := range r.Findings() {
		s.Findings = append(s.Findings, string(f.Kind))
	}
	return s
}

func orDash(v *float64, format string) string {
	if v == nil {
		return "–"
	}
	return fmt.Sprintf(format, *v)
}

// findRuns reads the runs that dirs are, or that lie in them.
func findRuns(app *App, dirs []string) ([]*train.Record, error) {
	var runs []*train.Record
	for _, dir := range dirs {
		r, err := train.ReadRun(dir)
		if err == nil {
			runs = append(runs, r)
			continue
		}
		if !errors.Is(err, train.ErrNoRun) {
			return nil, err
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, fmt.Errorf("%w; give the directory of a run, or one that holds runs", err)
		}
		for _, e := range entries {
			if !e.IsDir() {
				continue
			}
			r, err := train.ReadRun(filepath.Join(dir, e.Name()))
			if err == nil {
				runs = append(runs, r)
			} else if !errors.Is(err, train.ErrNoRun) {
				app.Log.Warn(err.Error())
			}
		}
	}
	return runs, nil
}

func runRunsLs(app *App, o *RunsOptions) error {
	if len(o.Dirs) == 0 {
		o.Dirs = []string{"runs"}
	}
	runs, err := findRuns(app, o.Dirs)
	if err != nil {
		return err
	}
	list := []runSummary{}
	for _, r := range runs {
		list = append(list, summarise(r))
	}
	slices.SortStableFunc(list, func(a, b runSummary) int { return b.Modified.Compare(a.Modified) })
	if o.JSON {
		return app.PrintJSON(list)
	}
	if len(list) == 0 {
		app.Log.Info("no runs in " + strings.Join(o.Dirs, ", "))
		return nil
	}
	return table(app.Out, func(w io.Writer) {
		fmt.Fprintln(w, "run\tcommand\tmodel\tsteps\tloss\teval_loss\tbest\tlast log\tfindings")
		for _, s := range list {
			best := "–"
			if s.BestEval != nil {
				best = fmt.Sprintf("%.4f @%d", *s.BestEval, s.BestStep)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Dir, s.Command, s.Model, s.progress(), orDash(s.Loss, "%.4f"), orDash(s.EvalLoss, "%.4f"), best,
				s.Modified.Format("2006-01-02 15:04"), strings.Join(s.Findings, " "))
		}
	})
}

// progress says how far a run is: 300, or 120/300 when it has not ended.
func (s runSummary) progress() string {
	if s.Finished || s.Total == 0 {
		return fmt.Sprint(s.Steps)
	}
	return fmt.Sprintf("%d/%d", s.Steps, s.Total)
}

func table(out io.Writer, fill func(io.Writer)) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fill(w)
	return w.Flush()
}

func readRuns(dirs []string) ([]*train.Record, error) {
	var runs []*train.Record
	var faults []error
	for _, dir := range dirs {
		r, err := train.ReadRun(dir)
		runs, faults = append(runs, r), append(faults, err)
	}
	return runs, errors.Join(faults...)
}

func runRunsShow(app *App, o *RunsOptions) error {
	runs, err := readRuns(o.Dirs)
	if err != nil {
		return err
	}
	if o.JSON {
		list := make([]runSummary, len(runs))
		for i, r := range runs {
			list[i] = summarise(r)
		}
		return app.PrintJSON(list)
	}
	for _, r := range runs {
		s := summarise(r)
		err := table(app.Out, func(w io.Writer) {
			fmt.Fprintf(w, "run\t%s\n", s.Dir)
			if s.Command != "" {
				fmt.Fprintf(w, "command\t%s of %s\n", s.Command, s.Model)
			}
			fmt.Fprintf(w, "steps\t%s\n", s.progress())
			fmt.Fprintf(w, "loss\t%s\n", orDash(s.Loss, "%.4f"))
			if s.BestEval != nil {
				fmt.Fprintf(w, "eval_loss\t%s (best %.4f at step %d)\n", orDash(s.EvalLoss, "%.4f"), *s.BestEval, s.BestStep)
			}
			fmt.Fprintf(w, "tokens\t%s, %s a second\n", orDash(s.Tokens, "%.0f"), orDash(s.TokensPerS, "%.0f"))
		})
		if err != nil {
			return err
		}
		for _, p := range plotsOf(r, o.Metrics) {
			text, err := plot(o, p)
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(app.Out, "\n%s\n", text); err != nil {
				return err
			}
		}
		for _, f := range r.Findings() {
			if _, err := fmt.Fprintf(app.Out, "\n%s\n", f); err != nil {
				return err
			}
		}
	}
	return nil
}
