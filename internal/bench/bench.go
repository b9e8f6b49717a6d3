// Package bench measures whole steps of training, generation and matrix products on models of common shapes with random
// weights, so that a figure needs no download and another program can be measured on the same work.
package bench

import (
	"context"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mltrain/mltrain/internal/data"
	"github.com/mltrain/mltrain/internal/infer"
	"github.com/mltrain/mltrain/internal/model"
	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/profile"
	"github.com/mltrain/mltrain/internal/tensor"
	"github.com/mltrain/mltrain/internal/train"
)

//go:embed shapes/*.json
var shapes embed.FS

// Shapes names the models that Config knows.
func Shapes() []string {
	files, err := shapes.ReadDir("shapes")
	if err != nil {
		panic(err) // embedded
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(f.Name(), ".json"))
	}
	return names
}

// Config returns the config.json of a shape, or of a model's directory.
func Config(shape string) ([]byte, error) {
	if slices.Contains(Shapes(), shape) {
		return shapes.ReadFile("shapes/" + shape + ".json")
	}
	raw, err := os.ReadFile(filepath.Join(shape, "config.json"))
	if err != nil {
		return nil, fmt.Errorf("shape %q: neither one of %s, nor a directory with a config.json: %w", shape, strings.Join(Shapes(), ", "), err)
	}
	return raw, nil
}

// Step says which step to measure.
type Step struct {
	ConfigJSON []byte
	LoRARank   int  // 0 trains the whole model
	LoadIn4bit bool // holds the frozen weights in NF4
	BF16       bool
	Recompute  bool
	Batch, Seq int // rows, and tokens a row; every token but the first of a row is trained
	Warm, N    int // steps not counted, and steps counted
}

// StepResult is what a measured step took.
type StepResult struct {
	Times []time.Duration `json:"ns"`
	// Tokens is the number of tokens of a step.
	Tokens int `json:"tokens_per_step"`
	// Kernels says where the time went, over all counted steps; Other is what they took outside of kernels.
	Kernels []profile.Entry `json:"kernels,omitempty"`
	// Bytes is the memory planned and allocated for the step, but for weights that are used where they lie.
	Bytes int64 `json:"allocated_bytes"`
}

// Median returns the middle time of a step.
func (r StepResult) Median() time.Duration { return Median(r.Times) }

// Median returns the middle one of times.
func Median(times []time.Duration) time.Duration {
	t := slices.Sorted(slices.Values(times))
	return t[len(t)/2]
}

// Run measures the step on b; with profiled, each kernel of it.
func (s Step) Run(b tensor.Backend, profiled bool) (StepResult, error) {
	n := s.Batch * s.Seq
	h := &data.Batch{MaxLen: s.Seq}
	for r := range s.Batch {
		h.Cu = append(h.Cu, int32(r*s.Seq))
		for i := range s.Seq {
			h.Tokens = append(h.Tokens, token(r*s.Seq+i))
			h.Positions = append(h.Positions, int32(i))
			target := int32(data.IgnoreIndex)
			if i+1 < s.Seq {
				target = token(r*s.Seq + i + 1)
			}
			h.Targets = append(h.Targets, target)
		}
		h.Trained += s.Seq - 1
		h.Lens = append(h.Lens, int32(s.Seq))
	}
	h.Cu = append(h.Cu, int32(n))
	spec := train.EngineSpec{
		ConfigJSON: s.ConfigJSON, Model: model.Options{Positions: s.Seq, Dropout: model.NoDropout()}, Seed: 1,
		Optim:     train.OptimOptions{Name: "adamw", Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, MaxGradNorm: 1},
		Objective: train.SFT{}, Recompute: s.Recompute, BF16: s.BF16, ReducedSums: true,
		Train: data.Limits{Tokens: n, Sequences: s.Batch, SeqLen: s.Seq},
	}
	if s.LoRARank > 0 {
		spec.Adapter = &nn.Adapter{R: s.LoRARank, Alpha: float64(2 * s.LoRARank), Target: nn.Target{AllLinear: true}, Bias: "none", Init: "true"}
	}
	if s.LoadIn4bit {
		spec.Quantise = &nn.Quantise{Nested: true}
	}
	res := StepResult{Tokens: n}
	var timer *profile.Timer
	if profiled {
		timer, b = profile.New(b)
	}
	var err error
	res.Times, err = train.Measure(b, spec, h, s.Warm, s.N, func(step int) {
		if step == 0 {
			for _, n := range b.Allocated() {
				res.Bytes += n
			}
			if timer != nil {
				timer.Reset()
			}
		}
	})
	if timer != nil {
		res.Kernels = timer.Entries()
	}
	return res, err
}

// token makes up the i-th token of a text; ids stay below every shape's vocabulary.
func token(i int) int32 { return int32(uint32(i)*2654435761>>23) % 500 }

// GenerateOptions say what Generate measures.
type GenerateOptions struct {
	BF16            bool // matrices in bfloat16, as checkpoints have them; activations are float32 always
	LoadIn4bit      bool // weights of linear layers in NF4
	Prompt, Tokens  int
	AssistantTokens int // see infer.Options
}

// Generated is how long generation took: the prompt with the first token, and the other tokens; and how many tokens were drafted in that
// time, and how many of those were right.
type Generated struct {
	First, Rest           time.Duration
	Drafted, DraftedRight int
}

// Generate measures greedy generation after a prompt.
func Generate(ctx context.Context, b tensor.Backend, configJSON []byte, o GenerateOptions) (Generated, error) {
	opt := nn.Options{Frozen: func(string) bool { return true }, Ignore: model.Ignored, BF16: o.BF16}
	if o.LoadIn4bit {
		opt.Quantise = &nn.Quantise{Nested: true}
	}
	builder := nn.NewBuilder(opt)
	m, err := model.New(configJSON, builder, model.Options{Positions: o.Prompt + o.Tokens, Dropout: model.NoDropout()})
	if err != nil {
		return Generated{}, err
	}
	store, err := builder.Load(b, 0)
	if err != nil {
		return Generated{}, err
	}
	e := infer.Of(b, m, store)
	defer e.Close()
	ids := make([]int32, o.Prompt)
	for i := range ids {
		ids[i] = token(i)
	}
	var start, mid time.Time
	how := infer.Options{MaxNewTokens: o.Tokens, AssistantTokens: o.AssistantTokens, OnToken: func(int, int32) bool {
		if mid.IsZero() {
			mid = time.Now()
		}
		return true
	}}
	var drafted, right int
	for range 2 { // the first time is for warming up
		drafted, right = e.Drafted()
		start, mid = time.Now(), time.Time{}
		if _, err := e.Generate(ctx, [][]int32{ids}, how); err != nil {
			return Generated{}, err
		}
	}
	g := Generated{First: mid.Sub(start), Rest: time.Since(mid)}
	g.Drafted, g.DraftedRight = e.Drafted()
	g.Drafted, g.DraftedRight = g.Drafted-drafted, g.DraftedRight-right
	return g, nil
}
