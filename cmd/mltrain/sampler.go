package main

import (
	"context"
	"fmt"
	"time"

	"github.com/mltrain/mltrain/internal/config"
	"github.com/mltrain/mltrain/internal/data"
	"github.com/mltrain/mltrain/internal/infer"
	"github.com/mltrain/mltrain/internal/tokenizer"
	"github.com/mltrain/mltrain/internal/train"
)

// newSampler returns what answers sample_prompts while a model trains, or nil without prompts. It uses the weights in training where
// they lie. Prompts are turns of a chat if the training rows are chats, else texts to continue; answers are greedy.
func newSampler(cfg *config.Config, modelDir string, d *train.Data) (train.Answerer, error) {
	if len(cfg.SamplePrompts) == 0 {
		return nil, nil
	}
	tok, err := tokenizer.Load(modelDir)
	if err != nil {
		return nil, err
	}
	stop := train.StopTokens(modelDir, tok)
	tok = tok.WithoutLimits()
	var tmpl data.Template
	if d.UsesTemplate() {
		if tmpl, _, err = data.ResolveTemplate(cfg.ChatTemplate, tok, time.Time{}); err != nil {
			return nil, err
		}
	}
	var prompts [][]int32
	longest := 0
	for i, text := range cfg.SamplePrompts {
		if tmpl != nil {
			if text, err = tmpl.Render(data.Conversation{Messages: []data.Message{{Role: "user", Content: text}}}, true); err != nil {
				return nil, fmt.Errorf("sample_prompts: %q: %w", cfg.SamplePrompts[i], err)
			}
		}
		ids, err := tok.AppendIDs(nil, text, tmpl == nil)
		if err != nil {
			return nil, fmt.Errorf("sample_prompts: %q: %w", cfg.SamplePrompts[i], err)
		}
		if len(ids) == 0 {
			return nil, fmt.Errorf("sample_prompts: prompt %d is empty: there is nothing to continue", i+1)
		}
		if len(ids) >= cfg.MaxLength {
			return nil, fmt.Errorf("sample_prompts: %q has %d tokens, and with max_length %d there is no room for an answer", cfg.SamplePrompts[i], len(ids), cfg.MaxLength)
		}
		prompts = append(prompts, ids)
		longest = max(longest, len(ids))
	}
	// The model in training has positions for max_length tokens.
	opt := infer.Options{MaxNewTokens: min(cfg.SampleMaxNewTokens, cfg.MaxLength-longest), Stop: stop}
	return func(ctx context.Context, e *train.Engine, _ []string) ([]string, error) {
		engine := infer.Of(e.Backend, e.Model, e.Store)
		defer engine.Release()
		out, err := engine.Generate(ctx, prompts, opt)
		if err != nil {
			return nil, err
		}
		texts := make([]string, len(out))
		for i, s := range out {
			texts[i] = tok.Decode(s.IDs, true)
		}
		return texts, nil
	}, nil
}
