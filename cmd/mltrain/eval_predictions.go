package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mltrain/mltrain/internal/config"
	"github.com/mltrain/mltrain/internal/eval/metric"
	"github.com/mltrain/mltrain/internal/eval/predictions"
	"github.com/mltrain/mltrain/internal/eval/sandbox"
)

// PredictionFlags are the flags of eval that score a file without a model.
type PredictionFlags struct {
	File, Type         string
	AllowCodeExecution bool
	CodeTimeout        time.Duration
	predictions.Options
}

// register adds the flags to eval.
func (p *PredictionFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&p.File, "predictions", "", "score a file of predictions (JSONL, JSON, CSV, Parquet); no model is needed")
	f.StringVar(&p.Type, "type", "", "what the rows of --predictions are: "+kindNames()+"; recognised by their keys if not given")
	f.StringVar(&p.Positive, "positive", "", "class that score is of; the last one in order if not given")
	f.Float64Var(&p.ZeroDivision, "zero-division", 0, "what 0/0 in precision, recall and F1 counts as: 0, 1 or nan (left out of averages)")
	f.IntVar(&p.Bins, "bins", 15, "bins of the calibration error")
	f.StringVar(&p.Tokenizer, "bleu-tokenize", "13a", "tokenizer of BLEU: 13a, intl, zh, char or none")
	f.BoolVar(&p.Lowercase, "lowercase", false, "ignore case in BLEU and chrF")
	f.BoolVar(&p.Stemmer, "rouge-stemmer", false, "compare the stems of words in ROUGE")
	f.StringVar(&p.Scheme, "scheme", "", "read tags strictly by IOB2 or IOBES; leniently if not given")
	f.IntSliceVar(&p.K, "k", nil, "the k of pass@k (1, 10 and 100 if not given) and of recall@k and the like (1, 3, 5, 10)")
	f.StringVar(&p.Problems, "problems", "", "file with task_id, prompt, test and entry_point, for completions without them (HumanEval's)")
	f.BoolVar(&p.AllowCodeExecution, "allow-code-execution", false, "run programs that a model wrote, in a sandbox")
	f.DurationVar(&p.CodeTimeout, "code-timeout", sandbox.DefaultLimits().Wall, "how long a program may run")
	complete(cmd, "type", strings.Split(kindNames(), ", "), cobra.ShellCompDirectiveNoFileComp)
}

func kindNames() string {
	var names []string
	for _, k := range predictions.Kinds() {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

// runPredictions scores a file and prints what it found.
func runPredictions(ctx context.Context, app *App, p *PredictionFlags, asJSON bool) error {
	p.Kind = predictions.Kind(p.Type)
	if p.Type != "" && !slices.Contains(predictions.Kinds(), p.Kind) {
		hint := ""
		if near := config.Closest(p.Type, strings.Split(kindNames(), ", ")); near != "" {
			hint = " (did you mean " + near + "?)"
		}
		return usageErrorf("--type: expected one of %s, found %q%s", kindNames(), p.Type, hint)
	}
	for _, k := range p.K {
		if k < 1 {
			return usageErrorf("--k: expected ranks from 1 on, found %d", k)
		}
	}
	if p.CodeTimeout <= 0 {
		return usageErrorf("--code-timeout: expected a positive time such as 10s, found %s", p.CodeTimeout)
	}
	if p.Bins < 1 {
		return usageErrorf("--bins: expected at least 1, found %d", p.Bins)
	}
	path, err := resolveData(ctx, app, p.File)
	if err != nil {
		return err
	}
	if p.AllowCodeExecution {
		p.RunCode = func(ctx context.Context, programs []string, done func(int, sandbox.Verdict) error) error {
			return runPrograms(ctx, app, programs, p.CodeTimeout, done)
		}
	}
	report, err := predictions.Score(ctx, path, p.Options)
	if errors.Is(err, metric.ErrInput) {
		return usageErrorf("--predictions %s: %w", p.File, err)
	}
	if err != nil {
		return err
	}
	if asJSON {
		return app.PrintJSON(report)
	}
	return report.Write(app.Out)
}
