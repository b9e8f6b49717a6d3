package main

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/mltrain/mltrain/internal/eval"
)

// perplexityTask is the task that no file defines.
const perplexityTask = "perplexity"

// EvalOptions are the flags of eval.
type EvalOptions struct {
	Model, Adapter, Device string
	Tasks                  []string
	Data                   []string
	Limit                  float64
	Stride                 int
	JSON                   bool
	PredictionFlags
	TaskFlags
}

func newEvalCommand(app *App) *cobra.Command {
	o := &EvalOptions{}
	var list []string
	cmd := &cobra.Command{
		Use:   "eval",
		Short: "Measure a model",
		Long: `Measure a model on tasks: built-in ones (--list-tasks), or files in the format of
lm-evaluation-harness, given by their path or found by name below --include-path. Results have
the keys of the harness, and equal its numbers.

The task perplexity reads rows with "text" and gives the mean negative log-likelihood per token
(natural log), its exponential, and the number of tokens; also per word and byte.

--predictions scores a file without a model: rows with label and prediction (and score or
scores), reference(s) and prediction, tags and prediction, relevance and scores, task_id
and passed (or completion, with --allow-code-execution), or logprobs. Every metric that applies is computed.`,
		Example: `  mltrain eval --model runs/chat --task perplexity --data held-out.jsonl --json
  mltrain eval --model runs/chat --tasks gsm8k --data train=train.jsonl --data test=test.jsonl --limit 100 --output runs/gsm8k
  mltrain eval --model runs/chat --tasks my_task.yaml,other --include-path tasks --num-fewshot 3 --apply-chat-template
  mltrain eval compare runs/gsm8k runs/gsm8k-before
  mltrain eval --predictions predictions.jsonl`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Tasks = append(o.Tasks, list...)
			return runEval(cmd.Context(), app, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Model, "model", "", "directory of a Hugging Face checkpoint, or org/name on the hub")
	f.StringVar(&o.Adapter, "adapter", "", "directory of a PEFT adapter to use with the model")
	f.StringArrayVar(&o.Tasks, "task", nil, "what to measure: a task's name or file; may be given several times")
	f.StringSliceVar(&list, "tasks", nil, "what to measure: names or files, with commas between them")
	f.StringArrayVar(&o.Data, "data", nil, "rows to measure on, in place of the task's own; SPLIT=FILE is for one split")
	f.Float64Var(&o.Limit, "limit", 0, "rows to use of each task; 0 is all, below 1 a share")
	f.IntVar(&o.Stride, "stride", 0, "perplexity: tokens between the windows over texts that are longer than the model's input; 0 is half of it")
	f.StringVar(&o.Device, "device", "auto", "auto, cpu, cuda or emulator")
	f.BoolVar(&o.JSON, "json", false, "print JSON")
	o.TaskFlags.register(cmd)
	o.PredictionFlags.register(cmd)
	cmd.AddCommand(newEvalJudgeCommand(app))
	cmd.AddCommand(newEvalCompareCommand(app))
	return cmd
}

func runEval(ctx context.Context, app *App, o *EvalOptions) error {
	switch {
	case o.ListTasks:
		return listTasks(app, &o.TaskFlags, o.JSON)
	case o.File != "" && (o.Model != "" || len(o.Tasks) > 0):
		return usageErrorf("--predictions is scored without a model: leave out --model and --task")
	case o.File != "":
		return runPredictions(ctx, app, &o.PredictionFlags, o.JSON)
	case o.Model == "":
		return usageErrorf("--model is not given")
	case len(o.Tasks) == 0:
		return usageErrorf("--task is not given; there is perplexity, and 'mltrain eval --list-tasks' lists others")
	case o.Limit < 0:
		return usageErrorf("--limit %g: needed is 0 (all) or more", o.Limit)
	case o.LogSamples && o.Output == "":
		return usageErrorf("--log-samples needs --output DIR to write them to")
	}
	names := slices.DeleteFunc(slices.Clone(o.Tasks), func(t string) bool { return t == perplexityTask })
	if _, err := selectTasks(&o.TaskFlags, names); err != nil { // before the model is loaded
		return err
	}
	wanted := len(names) < len(o.Tasks)
	if wanted && len(o.Data) == 0 {
		return usageErrorf("--data is not given")
	}
	lm, tok, closeModel, err := openLM(ctx, app, o)
	if err != nil {
		return err
	}
	defer closeModel()
	var p *eval.PerplexityResult
	if wanted {
		if p, err = runPerplexity(ctx, app, o, lm); err != nil {
			return err
		}
	}
	if len(names) == 0 {
		return printPerplexity(app, o, p)
	}
	res, err := runTasks(ctx, app, o, names, lm, tok)
	if err != nil {
		return err
	}
	if o.Output != "" {
		if err := writeResults(o, res); err != nil {
			return err
		}
	}
	if o.JSON {
		if p == nil {
			return app.PrintJSON(res)
		}
		merged := map[string]any{perplexityTask: p}
		for task, m := range maps.All(res.Results) {
			merged[task] = m
		}
		return app.PrintJSON(map[string]any{"results": merged})
	}
	if p != nil {
		if err := printPerplexity(app, o, p); err != nil {
			return err
		}
	}
	return printTable(app.Out, res)
}

// runPerplexity measures the texts of one file.
func runPerplexity(ctx context.Context, app *App, o *EvalOptions, lm *eval.LM) (*eval.PerplexityResult, error) {
	if len(o.Data) > 1 {
		return nil, usageErrorf("--task perplexity reads one file, found %d", len(o.Data))
	}
	if o.Limit != float64(int(o.Limit)) {
		return nil, usageErrorf("--limit %g: for perplexity a whole number of rows", o.Limit)
	}
	path, err := resolveData(ctx, app, o.Data[0])
	if err != nil {
		return nil, err
	}
	texts, err := eval.ReadTexts(path, int(o.Limit))
	if err != nil {
		return nil, err
	}
	p, err := lm.Perplexity(ctx, texts, o.Stride)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Data[0], err)
	}
	return &p, nil
}

func printPerplexity(app *App, o *EvalOptions, p *eval.PerplexityResult) error {
	if o.JSON {
		return app.PrintJSON(map[string]any{"results": map[string]any{perplexityTask: p}})
	}
	_, err := fmt.Fprintf(app.Out, "perplexity: %.4f (nll %.6f over %d tokens, %d rows; per word %.4f, per byte %.4f)\n",
		p.Perplexity, p.NLL, p.Tokens, p.Rows, p.WordPerplexity, p.BytePerplexity)
	return err
}
