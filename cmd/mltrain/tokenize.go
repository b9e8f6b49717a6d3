package main

import (
	"bufio"
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/mltrain/mltrain/internal/eval"
	"github.com/mltrain/mltrain/internal/tokenizer"
)

// TokenizeOptions are the flags of tokenize.
type TokenizeOptions struct {
	Model, Text, JSONL string
	NoSpecial, JSON    bool
	textGiven          bool
}

func newTokenizeCommand(app *App) *cobra.Command {
	o := &TokenizeOptions{}
	cmd := &cobra.Command{
		Use:   "tokenize",
		Short: "Show the tokens of texts",
		Long: `Tokenise a text, or the "text" of each row of a JSONL file, and print a JSON object
with ids and tokens per text, one a line. The directory needs only tokenizer files.`,
		Example: `  mltrain tokenize --model ./SmolLM2-135M --text "Hello, world"
  mltrain tokenize --model ./SmolLM2-135M --jsonl rows.jsonl --no-special-tokens`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.textGiven = cmd.Flags().Changed("text")
			return runTokenize(cmd.Context(), app, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Model, "model", "", "directory with tokenizer files, or org/name on the hub")
	f.StringVar(&o.Text, "text", "", "text to tokenise")
	f.StringVar(&o.JSONL, "jsonl", "", "file with one {\"text\": …} a line")
	f.BoolVar(&o.NoSpecial, "no-special-tokens", false, "do not add the tokenizer's special tokens")
	f.BoolVar(&o.JSON, "json", false, "print JSON; it always is")
	return cmd
}

// tokenized is a line of tokenize.
type tokenized struct {
	IDs    []int32  `json:"ids"`
	Tokens []string `json:"tokens"`
}

func runTokenize(ctx context.Context, app *App, o *TokenizeOptions) error {
	switch {
	case o.Model == "":
		return usageErrorf("--model is not given")
	case o.textGiven == (o.JSONL != ""):
		return usageErrorf("give either --text or --jsonl")
	}
	dir, err := resolveModel(ctx, app, o.Model)
	if err != nil {
		return err
	}
	tok, err := tokenizer.Load(dir)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(app.Out, 1<<16)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	one := func(text string) error {
		e, err := tok.Encode(text, tokenizer.EncodeOptions{AddSpecialTokens: !o.NoSpecial})
		if err != nil {
			return err
		}
		line := tokenized{IDs: append([]int32{}, e.IDs...), Tokens: make([]string, len(e.IDs))}
		for i, id := range e.IDs {
			line.Tokens[i], _ = tok.IDToToken(id)
		}
		return enc.Encode(line)
	}
	if o.JSONL == "" {
		err = one(o.Text)
	} else {
		err = eval.EachText(o.JSONL, func(t eval.Text) error { return one(t.Text) })
	}
	if err != nil {
		return err
	}
	return out.Flush()
}
