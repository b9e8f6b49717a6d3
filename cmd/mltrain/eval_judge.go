package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/mltrain/mltrain/internal/eval/judge"
	"github.com/mltrain/mltrain/internal/ui"
)

// EvalJudgeOptions are the flags of eval judge.
type EvalJudgeOptions struct {
	Data, Endpoint, Model, KeyEnv, RubricFile string
	Limit, Attempts, MaxTokens                int
	Timeout                                   time.Duration
	JSON                                      bool
	judge.Options
}

func newEvalJudgeCommand(app *App) *cobra.Command {
	o := &EvalJudgeOptions{}
	cmd := &cobra.Command{
		Use:   "judge",
		Short: "Let a model behind an OpenAI-compatible endpoint judge answers",
		Long: `Let a model behind an OpenAI-compatible endpoint judge answers. Rows with prompt and
response get a score by a rubric; of rows with prompt, response_a and response_b (or
chosen and rejected) the better one is asked for, in both orders. A row may have a
reference, the right answer.

Each judgement is written to --output when it comes. When the endpoint goes down, or on
Ctrl-C, run the same command again: it goes on where it stopped. The API key is read
from the environment only.`,
		Example: `  mltrain eval judge --data answers.jsonl --endpoint http://localhost:8000/v1 --model judge-70b
  OPENAI_API_KEY=… mltrain eval judge --data pairs.jsonl --endpoint https://api.example.com/v1 --model large \
    --price-in 2.5 --price-out 10 --output judged.jsonl --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runEvalJudge(cmd.Context(), app, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.Data, "data", "", "rows to judge (JSONL, JSON, CSV, Parquet)")
	f.StringVar(&o.Endpoint, "endpoint", "", "base address of the endpoint, e.g. http://localhost:8000/v1")
	f.StringVar(&o.Model, "model", "", "name of the judge there")
	f.StringVar(&o.KeyEnv, "api-key-env", "OPENAI_API_KEY", "environment variable that holds the API key")
	f.StringVar(&o.RubricFile, "rubric", "", "text file with what to judge by")
	f.IntVar(&o.Scale, "scale", 10, "best score of a rubric; the worst is 1")
	f.StringVar(&o.Output, "output", "judged.jsonl", "file that keeps the judgements")
	f.IntVar(&o.Limit, "limit", 0, "rows to judge; 0 is all")
	f.IntVar(&o.Concurrency, "concurrency", 8, "requests at a time")
	f.IntVar(&o.Attempts, "attempts", 6, "tries of a request, with growing pauses, or those that Retry-After asks for")
	f.DurationVar(&o.Timeout, "timeout", 2*time.Minute, "how long one try may take")
	f.IntVar(&o.MaxTokens, "max-tokens", 1024, "longest reply")
	f.Float64Var(&o.PriceIn, "price-in", 0, "US dollars for a million tokens of prompts")
	f.Float64Var(&o.PriceOut, "price-out", 0, "US dollars for a million tokens of replies")
	f.BoolVar(&o.JSON, "json", false, "print JSON")
	return cmd
}

func runEvalJudge(ctx context.Context, app *App, o *EvalJudgeOptions) error {
	switch {
	case o.Data == "":
		return usageErrorf("--data is not given")
	case o.Endpoint == "":
		return usageErrorf("--endpoint is not given")
	case o.Model == "":
		return usageErrorf("--model is not given")
	case o.Output == "":
		return usageErrorf("--output is empty; judgements need a file to be kept in")
	case o.Scale < 2:
		return usageErrorf("--scale: expected at least 2, found %d", o.Scale)
	case o.Limit < 0 || o.Concurrency < 1 || o.Attempts < 1 || o.MaxTokens < 1 || o.Timeout <= 0:
		return usageErrorf("--concurrency, --attempts, --max-tokens and --timeout must be positive, and --limit not negative")
	}
	if o.RubricFile != "" {
		text, err := os.ReadFile(o.RubricFile)
		if err != nil {
			return fmt.Errorf("--rubric: %w", err)
		}
		o.Rubric = string(text)
	}
	path, err := resolveData(ctx, app, o.Data)
	if err != nil {
		return err
	}
	rows, pairs, err := judge.ReadRows(path, o.Limit)
	if err != nil {
		return err
	}
	client := &judge.Client{
		Endpoint: o.Endpoint, Model: o.Model, Key: os.Getenv(o.KeyEnv), Attempts: o.Attempts, Timeout: o.Timeout, MaxTokens: o.MaxTokens,
	}
	w, tty := app.Err, ui.IsTerminal(app.Err)
	if app.Quiet {
		w, tty = io.Discard, false
	}
	counter := ui.NewCounter(w, tty, "judgements")
	o.Progress = counter.Set
	sum, err := judge.Run(ctx, client, rows, pairs, o.Options)
	counter.Finish()
	if errors.Is(err, judge.ErrRefused) && client.Key == "" {
		err = fmt.Errorf("%w (%s is not set)", err, o.KeyEnv)
	}
	if err != nil {
		return err
	}
	if o.JSON {
		return app.PrintJSON(sum)
	}
	return writeJudged(app.Out, sum, o)
}

// writeJudged prints a summary for a person.
func writeJudged(w io.Writer, s *judge.Summary, o *EvalJudgeOptions) error {
	text := fmt.Sprintf("%s judged %d rows", s.Model, s.Rows)
	if s.Resumed > 0 {
		text += fmt.Sprintf(" (%d judgements were there already)", s.Resumed)
	}
	text += "\n"
	if s.Score != nil {
		text += fmt.Sprintf("score: %.3f ± %.3f of %d\n", s.Score.Mean, s.Score.Stderr, s.Score.Scale)
	}
	if p := s.Pairs; p != nil {
		text += fmt.Sprintf("response_a wins %d, response_b %d, ties %d: win rate of a %.3f ± %.3f\n", p.WinsA, p.WinsB, p.Ties, p.WinRateA, p.Stderr)
		text += fmt.Sprintf("same verdict in both orders: %.1f %%\n", 100*p.Consistency)
	}
	text += fmt.Sprintf("tokens: %d of prompts, %d of replies", s.Usage.PromptTokens, s.Usage.CompletionTokens)
	if o.PriceIn > 0 || o.PriceOut > 0 {
		text += fmt.Sprintf("; $%.4f", s.Cost)
	}
	text += "\n"
	if s.Failed > 0 {
		text += fmt.Sprintf("%d rows have no verdict and are left out:\n", s.Failed)
		for _, e := range s.Errors {
			text += "  " + e + "\n"
		}
	}
	_, err := io.WriteString(w, text)
	return err
}
