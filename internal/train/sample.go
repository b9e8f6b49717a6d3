package train

import (
	"context"
	"fmt"
	"time"

	"github.com/mltrain/mltrain/internal/checkpoint"
)

// SamplesFile holds what the model made of sample_prompts while it trained, one JSON object a line.
const SamplesFile = "samples.jsonl"

// Sample is a prompt with what the model makes of it at a step.
type Sample struct {
	Step   int
	Prompt string
	Text   string
}

// Answerer continues prompts with the model in training, whose weights it must not change.
type Answerer func(ctx context.Context, e *Engine, prompts []string) ([]string, error)

func (r *run) sampleDue() bool {
	cfg := &r.cfg.Config
	if len(cfg.SamplePrompts) == 0 || r.Answer == nil {
		return false
	}
	if every, ok := cfg.SampleSteps.Get(); ok {
		return r.step%every.Of(r.total) == 0 || r.step == r.total
	}
	return r.evalDue() || r.step == r.total
}

// sample lets the model answer and shows, logs and records the answers.
func (r *run) sample() error {
	began := time.Now()
	prompts := r.cfg.Config.SamplePrompts
	texts, err := r.Answer(r.ctx, r.e, prompts)
	if r.ctx.Err() != nil {
		return nil // the run is being interrupted, and will save
	}
	if err != nil {
		return fmt.Errorf("sample_prompts: %w", err)
	}
	var samples []Sample
	for i, text := range texts {
		s := Sample{r.step, prompts[i], text}
		samples = append(samples, s)
		if err := r.samples.write(checkpoint.LogEntry{"step": s.Step, "prompt": s.Prompt, "text": s.Text}); err != nil {
			return err
		}
		if b := r.watchers.board; b != nil {
			if err := b.Text(int64(r.step), fmt.Sprintf("samples/%d", i+1), fmt.Sprintf("**%s**\n\n%s", s.Prompt, s.Text)); err != nil {
				return err
			}
		}
	}
	r.report.Samples(samples)
	r.pause(time.Since(began))
	return nil
}

// pause leaves time that did not go into training out of the throughput that is logged next.
func (r *run) pause(d time.Duration) { r.logTime = r.logTime.Add(d) }
