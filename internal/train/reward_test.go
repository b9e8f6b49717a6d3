package train

import (
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/mltrain/mltrain/internal/checkpoint"
	"github.com/mltrain/mltrain/internal/cpu"
	"github.com/mltrain/mltrain/internal/data"
	"github.com/mltrain/mltrain/internal/model"
	"github.com/mltrain/mltrain/internal/tensor"
)

// withScore is a checkpoint with the score.weight of another file.
type withScore struct {
	Source
	score Source
}

func (s withScore) Names() []string { return append(slices.Clone(s.Source.Names()), "score.weight") }

func (s withScore) Lookup(name string) (tensor.DType, string, []int, bool) {
	if name == "score.weight" {
		return s.score.Lookup(name)
	}
	return s.Source.Lookup(name)
}

func (s withScore) Bytes(name string) ([]byte, error) {
	if name == "score.weight" {
		return s.score.Bytes(name)
	}
	return s.Source.Bytes(name)
}

// Loss, metrics, gradients and ten steps of training are those of TRL's RewardTrainer, with prompts computed twice or once.
func TestRewardEqualsTRL(t *testing.T) {
	for _, base := range []string{"llama", "qwen2"} {
		g := readPrefGolden(t, base)
		full, err := checkpoint.OpenFile(filepath.Join(prefDir, base+".safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		defer full.Close()
		ran := 0
		for _, c := range g.Cases {
			if c.Trainer != "reward" {
				continue
			}
			ran++
			check := func(t *testing.T, on tensor.Backend, b *data.Batch) {
				src, raw := open(t, filepath.Join("../..", g.Base))
				b.TargetLast(0)
				if c.Options["margin"] == true {
					b.Margins = g.Margins
				}
				spec := EngineSpec{
					ConfigJSON: raw, Source: withScore{src, Source{full}}, Model: model.Options{Positions: b.MaxLen, Dropout: model.NoDropout(), Score: true},
					Objective: &Reward{Center: c.number("center_rewards_coefficient", 0)}, Optim: OptimOptions{Name: "adamw", Beta1: 0.9, Beta2: 0.999, Eps: 1e-8},
					Train: data.Limits{Tokens: len(b.Tokens), Sequences: b.Sequences(), SeqLen: b.MaxLen},
				}
				if s := b.Shared; s != nil {
					spec.Train.Keys, spec.Train.MaxK, spec.Model.Positions = len(s.KeyRows), s.MaxK, s.MaxK
				}
				if a := c.AdamW; a != nil {
					spec.Optim = OptimOptions{Name: "adamw", Beta1: a.Betas[0], Beta2: a.Betas[1], Eps: a.Eps, WeightDecay: a.WeightDecay, MaxGradNorm: a.MaxGradNorm}
				}
				e, planned, err := NewEngine(on, spec)
				if err != nil {
					t.Fatal(err)
				}
				for use, n := range e.Backend.Allocated() {
					if planned[use] != n {
						t.Errorf("%s: %d bytes planned, %d allocated", use, planned[use], n)
					}
				}
				m := microStep(t, e, b)
				c.Metrics["loss"] = c.Loss
				for name, want := range c.Metrics {
					if got, ok := m[name]; !ok || !(math.Abs(got-want) <= 1e-5*max(1, math.Abs(want))) {
						t.Errorf("%s %.7f (there: %t), want %.7f", name, got, ok, want)
					}
				}
				checkPrefGradients(t, e, c, full, e.spec.Objective.Count(b))
				if c.AdamW == nil {
					return
				}
				for i, want := range c.AdamW.Losses {
					if i > 0 {
						m = microStep(t, e, b)
					}
					if !(math.Abs(m["loss"]-want) <= 1e-4*max(1e-2, want)) {
						t.Errorf("step %d: loss %.7f, want %.7f", i, m["loss"], want)
					}
					if _, err := e.Opt.Step(i+1, c.AdamW.LR, e.spec.Objective.Count(b)); err != nil {
						t.Fatal(err)
					}
				}
			}
			t.Run(base+"/"+c.Name, func(t *testing.T) { check(t, cpu.New(), g.pairs(c)) })
			t.Run(base+"/"+c.Name+"/shared", func(t *testing.T) { check(t, cpu.New(), g.sharedPairs()) })
			if base == "llama" && c.Options["margin"] == true { // one, for the interpreter is slow
				t.Run(base+"/"+c.Name+"/emulator", func(t *testing.T) { check(t, emulator(t), g.pairs(c)) })
			}
		}
		if ran != 3 {
			t.Errorf("%s: %d cases ran, want 3", base, ran)
		}
	}
}
