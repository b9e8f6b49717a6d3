// Package verify checks a device on the machine where it is: its kernels against the CPU's, gradients against finite
// differences, that packing and accumulation change nothing, and a short run on both.
package verify

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/mltrain/mltrain/internal/data"
	"github.com/mltrain/mltrain/internal/model"
	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/tensor"
	"github.com/mltrain/mltrain/internal/train"
)

// ErrFailed is the cause when a check did not hold.
var ErrFailed = errors.New("the device computes wrongly")

// Check is a line of the table.
type Check struct {
	Group string        `json:"group"`
	Name  string        `json:"name"`
	Calls int           `json:"calls,omitempty"`
	Error float64       `json:"error"` // relative
	Limit float64       `json:"limit"`
	Time  time.Duration `json:"ns"`             // on the device
	CPU   time.Duration `json:"cpu_ns"`         // 0: not run there
	Note  string        `json:"note,omitempty"` // which operand was worst
	OK    bool          `json:"ok"`
}

// The largest relative errors: of a kernel's output, by number format, and of what the other checks compare.
const (
	limitF32    = 1e-4
	limitBF16   = 1e-2
	limitFinite = 1e-2
	limitBatch  = 1e-4
	limitRunF32 = 1e-4
	limitRun16  = 1e-2
)

// The models that run: between them they use every kernel of training.
const (
	llama = `{"model_type":"llama","architectures":["LlamaForCausalLM"],"hidden_size":48,"intermediate_size":80,"num_hidden_layers":2,` +
		`"num_attention_heads":6,"num_key_value_heads":2,"head_dim":8,"vocab_size":97,"max_position_embeddings":32,"rms_norm_eps":1e-5,"hidden_act":"silu",` +
		`"rope_theta":10000.0,"tie_word_embeddings":false}`
	gpt2 = `{"model_type":"gpt2","architectures":["GPT2LMHeadModel"],"n_embd":48,"n_layer":2,"n_head":4,"n_inner":96,"vocab_size":97,"n_positions":32,` +
		`"layer_norm_epsilon":1e-5,"activation_function":"gelu_new","resid_pdrop":0.1,"embd_pdrop":0.1,"attn_pdrop":0.1,"tie_word_embeddings":true}`
)

// The rows of tokens that the models are trained on, and what bounds them.
func rows() [][]int32 {
	var out [][]int32
	for r, n := range []int{9, 16, 5, 12} {
		row := make([]int32, n)
		for i := range row {
			row[i] = int32(uint32(r*100+i)*2654435761>>20) % 97
		}
		out = append(out, row)
	}
	return out
}

// pack makes one batch of rows; padded to the longest if asked.
func pack(rows [][]int32, padded bool) *data.Batch {
	h := &data.Batch{Cu: []int32{0}}
	for _, row := range rows {
		h.MaxLen = max(h.MaxLen, len(row))
	}
	for _, row := range rows {
		n := len(row)
		if padded {
			n = h.MaxLen
		}
		for i := range n {
			token, target := int32(0), int32(data.IgnoreIndex)
			if i < len(row) {
				token = row[i]
			}
			if i+1 < len(row) {
				target = row[i+1]
				h.Trained++
			}
			h.Tokens, h.Positions, h.Targets = append(h.Tokens, token), append(h.Positions, int32(i)), append(h.Targets, target)
		}
		h.Cu, h.Lens = append(h.Cu, int32(len(h.Tokens))), append(h.Lens, int32(len(row)))
	}
	return h
}

func spec(config string, bf16, dropout bool) train.EngineSpec {
	opt := model.Options{Positions: 32}
	if !dropout {
		opt.Dropout = model.NoDropout()
	}
	return train.EngineSpec{
		ConfigJSON: []byte(config), Model: opt, Seed: 1, BF16: bf16, Objective: train.SFT{},
		Optim: train.OptimOptions{Name: "adamw", Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.01, MaxGradNorm: 1},
		Train: data.Limits{Tokens: 64, Sequences: 4, SeqLen: 16},
	}
}

// verifier collects checks.
type verifier struct {
	ctx    context.Context
	b, ref tensor.Backend
	each   func(Check)
	out    []Check
}

func (v *verifier) add(c Check) {
	c.OK = c.Error <= c.Limit
	v.out = append(v.out, c)
	v.each(c)
}

// Options say how much is checked.
type Options struct {
	// Quick checks the kernels and the gradient, and leaves out batching and the runs of five steps.
	Quick bool
}

// Run checks b; ref is the CPU, or nil where b is the CPU itself and has nothing to be compared with. Each check is given to
// each as soon as it is made. The error wraps ErrFailed if one did not hold.
func Run(ctx context.Context, b, ref tensor.Backend, o Options, each func(Check)) ([]Check, error) {
	v := &verifier{ctx: ctx, b: b, ref: ref, each: each}
	var steps []func() error
	if ref != nil {
		steps = append(steps, func() error { return v.kernels(false) }, func() error { return v.kernels(true) })
	}
	steps = append(steps, v.finite)
	if !o.Quick {
		steps = append(steps, v.batches, func() error { return v.shortRun(false) }, func() error { return v.shortRun(true) })
	}
	for _, step := range steps {
		if err := ctx.Err(); err != nil {
			return v.out, err
		}
		if err := step(); err != nil {
			return v.out, fmt.Errorf("verify: %w", err)
		}
	}
	failed := 0
	for _, c := range v.out {
		if !c.OK {
			failed++
		}
	}
	if failed > 0 {
		return v.out, fmt.Errorf("%d of %d checks: %w", failed, len(v.out), ErrFailed)
	}
	return v.out, nil
}

func formatName(bf16 bool) string {
	if bf16 {
		return "bfloat16"
	}
	return "float32"
}

// kernels trains both models for a step and a LoRA on four bits, every kernel on both devices.
func (v *verifier) kernels(bf16 bool) error {
	s := newShadow(v.b, v.ref)
	quantised := spec(llama, bf16, false)
	quantised.Adapter = &nn.Adapter{R: 4, Alpha: 8, Target: nn.Target{AllLinear: true}, Bias: "none", Init: "true"}
	quantised.Quantise = &nn.Quantise{Nested: true}
	for _, sp := range []train.EngineSpec{spec(llama, bf16, false), spec(gpt2, bf16, true), quantised} {
		if err := v.steps(s, sp, 1, nil); err != nil {
			return err
		}
	}
	if err := fewRows(s, bf16); err != nil {
		return err
	}
	limit := limitF32
	if bf16 {
		limit = limitBF16
	}
	for _, name := range slices.Sorted(maps.Keys(s.kernels)) {
		k := s.kernels[name]
		v.add(Check{Group: "kernels in " + formatName(bf16), Name: k.Name, Calls: k.Calls, Error: k.Error, Limit: limit, Time: k.Time, CPU: k.Reference, Note: k.Worst})
	}
	return nil
}

// steps trains on the rows in one batch; loss, if given, receives each step's loss.
func (v *verifier) steps(b tensor.Backend, sp train.EngineSpec, n int, loss func(float64)) error {
	e, _, err := train.NewEngine(b, sp)
	if err != nil {
		return err
	}
	defer e.Close()
	h := pack(rows(), false)
	for i := range n {
		if err := v.ctx.Err(); err != nil {
			return err
		}
		l, err := e.Accumulate(h)
		if err != nil {
			return err
		}
		if loss != nil {
			loss(l)
		}
		if _, err := e.Opt.Step(i+1, 1e-2, sp.Objective.Count(h)); err != nil {
			return err
		}
	}
	return nil
}

// gradients reads the gradients of all parameters, divided by the number of targets.
func gradients(e *train.Engine, count float64) ([][]float64, error) {
	var out [][]float64
	for _, w := range e.Store.Trainable {
		g, err := values(e.Backend, w.Grad)
		if err != nil {
			return nil, err
		}
		for i := range g {
			g[i] /= count
		}
		out = append(out, g)
	}
	return out, nil
}

func norm(g [][]float64) float64 {
	n := 0.0
	for _, p := range g {
		for _, x := range p {
			n += x * x
		}
	}
	return math.Sqrt(n)
}

// finite compares the slope of the loss along its gradient with the gradient's length.
func (v *verifier) finite() error {
	start := time.Now()
	e, _, err := train.NewEngine(v.b, spec(llama, false, false))
	if err != nil {
		return err
	}
	defer e.Close()
	h := pack(rows(), false)
	if _, err := e.Accumulate(h); err != nil {
		return err
	}
	g, err := gradients(e, float64(h.Trained))
	if err != nil {
		return err
	}
	var at [][]float64
	for _, w := range e.Store.Trainable {
		x, err := values(e.Backend, w.Master)
		if err != nil {
			return err
		}
		at = append(at, x)
	}
	length := norm(g)
	const h0 = 0.01
	var f [2]float64
	for i, step := range []float64{-h0, h0} {
		for j, w := range e.Store.Trainable {
			var moved []byte
			for k, x := range at[j] {
				moved = binary.LittleEndian.AppendUint32(moved, math.Float32bits(float32(x+step*g[j][k]/length)))
			}
			if err := e.Backend.Upload(w.Master, moved); err != nil {
				return err
			}
		}
		if f[i], err = e.Accumulate(h); err != nil {
			return err
		}
	}
	slope := (f[1] - f[0]) / (2 * h0)
	v.add(Check{Group: "gradients", Name: "finite differences", Error: math.Abs(slope-length) / length, Limit: limitFinite, Time: time.Since(start)})
	return nil
}

// batches compares losses and gradients of the same rows in different batches.
func (v *verifier) batches() error {
	e, _, err := train.NewEngine(v.b, spec(llama, false, false))
	if err != nil {
		return err
	}
	defer e.Close()
	r := rows()
	whole := pack(r, false)
	count := float64(whole.Trained)
	want, err := e.Accumulate(whole)
	if err != nil {
		return err
	}
	wantGrads, err := gradients(e, count)
	if err != nil {
		return err
	}
	for _, c := range []struct {
		name    string
		batches []*data.Batch
	}{
		{"packed = padded", []*data.Batch{pack(r, true)}},
		{"packed = row by row", []*data.Batch{pack(r[:1], false), pack(r[1:2], false), pack(r[2:3], false), pack(r[3:], false)}},
		{"accumulated 2 × 2", []*data.Batch{pack(r[:2], false), pack(r[2:], false)}},
	} {
		start := time.Now()
		loss, err := e.Accumulate(c.batches...)
		if err != nil {
			return err
		}
		grads, err := gradients(e, count)
		if err != nil {
			return err
		}
		took := time.Since(start)
		for i := range grads {
			for j := range grads[i] {
				grads[i][j] -= wantGrads[i][j]
			}
		}
		v.add(Check{Group: "batching", Name: c.name, Error: max(math.Abs(loss-want)/want, norm(grads)/norm(wantGrads)), Limit: limitBatch, Time: took})
	}
	return nil
}

// shortRun trains for five steps on both, and on the device once more: that must be equal to the bit.
func (v *verifier) shortRun(bf16 bool) error {
	losses := func(b tensor.Backend) (l []float64, took time.Duration, err error) {
		start := time.Now()
		err = v.steps(b, spec(llama, bf16, false), 5, func(x float64) { l = append(l, x) })
		return l, time.Since(start), err
	}
	first, took, err := losses(v.b)
	if err != nil {
		return err
	}
	group := "five steps in " + formatName(bf16)
	if v.ref != nil {
		ref, cpu, err := losses(v.ref)
		if err != nil {
			return err
		}
		limit := limitRunF32
		if bf16 {
			limit = limitRun16
		}
		worst := 0.0
		for i := range ref {
			worst = max(worst, math.Abs(first[i]-ref[i])/ref[i])
		}
		v.add(Check{Group: group, Name: "losses against the CPU", Error: worst, Limit: limit, Time: took, CPU: cpu})
	}
	second, took, err := losses(v.b)
	if err != nil {
		return err
	}
	differ := 0.0
	for i := range first {
		if first[i] != second[i] {
			differ = max(differ, math.Abs(first[i]-second[i]))
		}
	}
	v.add(Check{Group: group, Name: "the same again, to the bit", Error: differ, Limit: 0, Time: took})
	if !(first[4] < first[0]) {
		v.add(Check{Group: group, Name: "the loss falls", Error: first[4] / first[0], Limit: 1})
	}
	return nil
}
