package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mltrain/mltrain/internal/checkpoint"
	"github.com/mltrain/mltrain/internal/data"
	"github.com/mltrain/mltrain/internal/infer"
	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/tokenizer"
	"github.com/mltrain/mltrain/internal/train"
)

// GenerateOptions are the flags of generate.
type GenerateOptions struct {
	Model, Adapter, Prompt, Messages, Device, Template string
	MaxNewTokens, TopK, AssistantTokens                int
	Temperature, TopP                                  float64
	Seed                                               uint64
	JSON                                               bool
	promptGiven                                        bool
}

func newGenerateCommand(app *App) *cobra.Command {
	o := &GenerateOptions{}
	cmd := &cobra.Command{
		Use:   "generate",
		Short: "Continue a prompt or answer a chat",
		Long: `Continue a prompt, or answer the chat in a file (one JSON object with "messages",
or a list of messages), with a model. Temperature 0 takes the most likely token
each time. The new text goes to stdout as it comes.`,
		Example: `  mltrain generate --model runs/chat --prompt "Once upon a time"
  mltrain generate --model runs/chat --messages chat.json --temperature 0.7 --top-p 0.9 --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.promptGiven = cmd.Flags().Changed("prompt")
			return runGenerate(cmd.Context(), app, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Model, "model", "", "directory of a Hugging Face checkpoint, or org/name on the hub")
	f.StringVar(&o.Adapter, "adapter", "", "directory of a PEFT adapter to use with the model")
	f.StringVar(&o.Prompt, "prompt", "", "text to continue")
	f.StringVar(&o.Messages, "messages", "", "file with a chat to answer")
	f.StringVar(&o.Template, "chat-template", "auto", "chat layout: auto, a built-in name or a file")
	f.IntVar(&o.MaxNewTokens, "max-new-tokens", 128, "most tokens to generate")
	f.Float64Var(&o.Temperature, "temperature", 0, "0 is greedy")
	f.Float64Var(&o.TopP, "top-p", 1, "draw from the smallest set of tokens with this probability")
	f.IntVar(&o.TopK, "top-k", 0, "draw from this many most likely tokens; 0 is all")
	f.Uint64Var(&o.Seed, "seed", 42, "seed of the draws")
	assistantFlag(f, &o.AssistantTokens)
	f.StringVar(&o.Device, "device", "auto", "auto, cpu, cuda or emulator")
	f.BoolVar(&o.JSON, "json", false, "print token ids and text as JSON")
	return cmd
}

// assistantFlag adds the flag for drafts.
func assistantFlag(f *pflag.FlagSet, n *int) {
	f.IntVar(n, "num-assistant-tokens", 7, "most tokens that the model drafts at once, with weights rounded to 8 bits, before\nit checks them: the same text, sooner, for more memory; 0 is none")
}

func checkAssistant(n int) error {
	if n < 0 {
		return usageErrorf("--num-assistant-tokens %d: needed is 0 (no drafts) or more", n)
	}
	return nil
}

// assistantTokens is n, or 0 if there is no memory for the rounded weights. Half of what is available stays for others.
func assistantTokens(app *App, e *infer.Engine, n int) int {
	if need, have := e.DraftBytes(), app.memory(); n > 0 && have > 0 && need > have/2 {
		app.Log.Info("no drafts: there is too little memory for weights in 8 bits", "needed", need, "available", have)
		return 0
	}
	return n
}

// generated is what generate prints with --json.
type generated struct {
	TokenIDs []int32 `json:"token_ids"`
	Text     string  `json:"text"`
}

func runGenerate(ctx context.Context, app *App, o *GenerateOptions) error {
	switch {
	case o.Model == "":
		return usageErrorf("--model is not given")
	case o.promptGiven == (o.Messages != ""):
		return usageErrorf("give either --prompt or --messages")
	case o.MaxNewTokens < 1:
		return usageErrorf("--max-new-tokens %d: needed is 1 or more", o.MaxNewTokens)
	}
	if err := checkAssistant(o.AssistantTokens); err != nil {
		return err
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
	ids, err := promptIDs(tok, o)
	if err != nil {
		return err
	}
	engine, closeEngine, err := openEngine(app.Log, o.Model, o.Adapter, o.Device, len(ids)+o.MaxNewTokens)
	if err != nil {
		return err
	}
	defer closeEngine()
	stream := tok.NewDecodeStream(true)
	var writeErr error
	opt := infer.Options{
		MaxNewTokens: o.MaxNewTokens, AssistantTokens: assistantTokens(app, engine, o.AssistantTokens),
		Sampling: infer.Sampling{Temperature: o.Temperature, TopK: o.TopK, TopP: o.TopP, Seed: o.Seed},
		Stop:     train.StopTokens(o.Model, tok),
		OnToken: func(_ int, id int32) bool {
			if !o.JSON {
				_, writeErr = fmt.Fprint(app.Out, stream.Next(id))
			}
			return writeErr == nil
		},
	}
	out, err := engine.Generate(ctx, [][]int32{ids}, opt)
	if err := errors.Join(err, writeErr); err != nil {
		return err
	}
	if o.JSON {
		err = app.PrintJSON(generated{out[0].IDs, tok.Decode(out[0].IDs, true)})
	} else {
		_, err = fmt.Fprintln(app.Out, stream.Flush())
	}
	if all, right := engine.Drafted(); all > 0 {
		app.Log.Debug("tokens were drafted", "drafted", all, "right", right)
	}
	return err
}

// promptIDs tokenises the prompt, or the chat as the template renders it.
func promptIDs(tok *tokenizer.Tokenizer, o *GenerateOptions) ([]int32, error) {
	tok = tok.WithoutLimits()
	if o.Messages == "" {
		ids, err := tok.AppendIDs(nil, o.Prompt, true)
		if err == nil && len(ids) == 0 {
			err = fmt.Errorf("the prompt is empty and the tokenizer adds no BOS token: there is nothing to continue")
		}
		return ids, err
	}
	raw, err := os.ReadFile(o.Messages)
	if err != nil {
		return nil, err
	}
	chat, err := data.ParseConversation(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Messages, err)
	}
	tmpl, _, err := data.ResolveTemplate(o.Template, tok, time.Time{})
	if err != nil {
		return nil, err
	}
	text, err := tmpl.Render(chat, true)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Messages, err)
	}
	return tok.AppendIDs(nil, text, false)
}

// openEngine loads a model for inference, with an adapter unless adapterDir is empty.
func openEngine(log *slog.Logger, modelDir, adapterDir, device string, positions int) (*infer.Engine, func(), error) {
	if _, err := train.Describe(modelDir, ""); err != nil {
		return nil, nil, err
	}
	backend, err := newBackend(log, device)
	if err != nil {
		return nil, nil, err
	}
	configJSON, err := os.ReadFile(filepath.Join(modelDir, checkpoint.ConfigFile))
	if err != nil {
		return nil, nil, err
	}
	reader, err := checkpoint.Open(modelDir)
	if err != nil {
		return nil, nil, err
	}
	closeFiles := reader.Close
	var adapter *nn.Adapter
	if adapterDir != "" {
		a, files, err := train.Adapter(adapterDir)
		if err != nil {
			return nil, nil, errors.Join(err, reader.Close())
		}
		adapter, closeFiles = a, func() error { return errors.Join(reader.Close(), files.Close()) }
	}
	source, err := train.ModelSource(reader, configJSON)
	if err != nil {
		return nil, nil, errors.Join(err, closeFiles())
	}
	e, err := infer.NewAdapted(backend, configJSON, source, adapter, positions)
	if err != nil {
		return nil, nil, errors.Join(err, closeFiles())
	}
	return e, func() {
		e.Close()
		_ = closeFiles() // the files were only read
	}, nil
}
