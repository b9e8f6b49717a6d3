package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mltrain/mltrain/internal/eval"
	"github.com/mltrain/mltrain/internal/tokenizer"
)

// EvalOptions are the flags of eval.
type EvalOptions struct {
	Model, Adapter, Device string
	Tasks                  []string
	Data                   string
	Limit                  int
	JSON                   bool
	PredictionFlags
}

func newEvalCommand(app *App) *cobra.Command {
	o := &EvalOptions{}
	cmd := &cobra.Command{
		Use:   "eval",
		Short: "Measure a model",
		Long: `Measure a model on data. The task perplexity reads rows with "text" and gives the
mean negative log-likelihood per token (natural log), its exponential, and the number of tokens.

--predictions scores a file without a model: rows with label and prediction (and score or
scores), reference(s) and prediction, tags and prediction, relevance and scores, task_id
and passed, or logprobs. Every metric that applies is computed.`,
		Example: `  mltrain eval --model runs/chat --task perplexity --data held-out.jsonl --json
  mltrain eval --predictions predictions.jsonl`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runEval(cmd.Context(), app, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.Model, "model", "", "directory of a Hugging Face checkpoint, or org/name on the hub")
	f.StringVar(&o.Adapter, "adapter", "", "directory of a PEFT adapter to use with the model")
	f.StringArrayVar(&o.Tasks, "task", nil, "what to measure: perplexity")
	f.StringVar(&o.Data, "data", "", "rows to measure on")
	f.IntVar(&o.Limit, "limit", 0, "rows to use; 0 is all")
	f.StringVar(&o.Device, "device", "auto", "auto or cpu")
	f.BoolVar(&o.JSON, "json", false, "print JSON")
	o.PredictionFlags.register(cmd)
	return cmd
}

func runEval(ctx context.Context, app *App, o *EvalOptions) error {
	switch {
	case o.File != "" && (o.Model != "" || len(o.Tasks) > 0):
		return usageErrorf("--predictions is scored without a model: leave out --model and --task")
	case o.File != "":
		return runPredictions(ctx, app, &o.PredictionFlags, o.JSON)
	case o.Model == "":
		return usageErrorf("--model is not given")
	case len(o.Tasks) == 0:
		return usageErrorf("--task is not given; there is perplexity")
	case o.Data == "":
		return usageErrorf("--data is not given")
	}
	for _, t := range o.Tasks {
		if t != "perplexity" {
			return usageErrorf("--task %s is not available in this version; there is perplexity", t)
		}
	}
	var err error
	if o.Model, err = resolveModel(ctx, app, o.Model); err != nil {
		return err
	}
	if o.Adapter != "" {
		if o.Adapter, err = resolveModel(ctx, app, o.Adapter); err != nil {
			return err
		}
	}
	tok, err := tokenizer.Load(o.Model)
	if err != nil {
		return err
	}
	engine, closeEngine, err := openEngine(o.Model, o.Adapter, o.Device, 0)
	if err != nil {
		return err
	}
	defer closeEngine()
	path, err := resolveData(ctx, app, o.Data)
	if err != nil {
		return err
	}
	texts, err := eval.ReadTexts(path, o.Limit)
	if err != nil {
		return err
	}
	p, err := eval.Perplexity(ctx, engine, tok.WithoutLimits(), texts)
	if err != nil {
		return fmt.Errorf("%s: %w", o.Data, err)
	}
	if o.JSON {
		return app.PrintJSON(map[string]any{"results": map[string]any{"perplexity": p}})
	}
	_, err = fmt.Fprintf(app.Out, "perplexity: %.4f (nll %.6f over %d tokens, %d rows)\n", p.Perplexity, p.NLL, p.Tokens, p.Rows)
	return err
}
