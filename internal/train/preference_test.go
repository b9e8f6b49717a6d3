package train

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mltrain/mltrain/internal/autograd"
	"github.com/mltrain/mltrain/internal/checkpoint"
	"github.com/mltrain/mltrain/internal/cpu"
	"github.com/mltrain/mltrain/internal/data"
	"github.com/mltrain/mltrain/internal/model"
	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/tensor"
)

// prefGolden is what TRL computed: see tools/goldens/README.md.
type prefGolden struct {
	Base             string
	ReferenceAdapter string `json:"reference_adapter"`
	Pairs            []struct{ Prompt, Chosen, Rejected []int32 }
	Unpaired         []struct {
		Prompt, Completion []int32
		Label              bool
	}
	Margins []float64
	Logps   struct {
		Policy, Reference struct {
			Chosen, Rejected, Completion []float64
			KLCompletion                 []float64 `json:"kl_completion"`
		}
	}
	Cases []prefCase
}

type prefCase struct {
	Name, Trainer string
	Options       map[string]any
	Loss          float64
	Metrics       map[string]float64
	GradNorm      float64            `json:"grad_norm"`
	GradNorms     map[string]float64 `json:"grad_norms"`
	AdamW         *struct {
		LR          float64
		Betas       [2]float64
		Eps         float64
		WeightDecay float64 `json:"weight_decay"`
		MaxGradNorm float64 `json:"max_grad_norm"`
		Losses      []float64
	}
}

const prefDir = "../../testdata/preference"

func readPrefGolden(t testing.TB, base string) prefGolden {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(prefDir, base+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var g prefGolden
	if err := json.Unmarshal(raw, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

func (c prefCase) number(key string, def float64) float64 {
	if v, ok := c.Options[key].(float64); ok {
		return v
	}
	return def
}

// options turns TRL's options into ours; ok is false for what is not built.
func (c prefCase) options() (o PreferenceOptions, ok bool) {
	for key := range c.Options {
		if key == "ld_alpha" || strings.HasPrefix(key, "f_") {
			return o, false
		}
	}
	o = PreferenceOptions{
		Beta: c.number("beta", 0.1), Smoothing: c.number("label_smoothing", 0), SimpoGamma: c.number("simpo_gamma", 0.5), DiscopopTau: 0.05,
		Desirable: c.number("desirable_weight", 1), Undesirable: c.number("undesirable_weight", 1), Weighted: c.Options["use_weighting"] == true,
	}
	switch v := c.Options["loss_type"].(type) {
	case string:
		o.LossTypes = []string{v}
	case []any:
		for i, name := range v {
			o.LossTypes = append(o.LossTypes, name.(string))
			o.LossWeights = append(o.LossWeights, c.Options["loss_weights"].([]any)[i].(float64))
		}
	}
	switch c.Trainer {
	case "orpo":
		o.LossTypes = []string{"orpo"}
	case "cpo":
		if o.CPOAlpha = c.number("cpo_alpha", 1); o.LossTypes[0] == "sigmoid" {
			o.LossTypes = []string{"cpo"}
		}
		if n := o.LossTypes[0]; n == "hinge" || n == "ipo" { // CPO with another loss, which we do not offer
			return o, false
		}
	case "reward":
		return o, false
	}
	return o, true
}

// batchOf lays out prompts and answers as the loader does, with padding.
func batchOf(rows [][2][]int32, limit int, keepEnd bool) *data.Batch {
	b := &data.Batch{Cu: []int32{0}}
	width := 0
	for _, r := range rows {
		width = max(width, len(r[0])+len(r[1]))
	}
	if limit > 0 {
		width = min(width, limit)
	}
	for _, r := range rows {
		ids := append(slices.Clone(r[0]), r[1]...)
		answer := make([]bool, len(ids))
		for i := len(r[0]); i < len(ids); i++ {
			answer[i] = true
		}
		if n := len(ids) - limit; limit > 0 && n > 0 {
			if keepEnd {
				ids, answer = ids[n:], answer[n:]
			} else {
				ids, answer = ids[:limit], answer[:limit]
			}
		}
		for i := range width {
			b.Positions = append(b.Positions, int32(i))
			if i >= len(ids) {
				b.Tokens, b.Targets = append(b.Tokens, 0), append(b.Targets, data.IgnoreIndex)
				continue
			}
			b.Tokens = append(b.Tokens, ids[i])
			target := int32(data.IgnoreIndex)
			if i+1 < len(ids) && answer[i+1] {
				target = ids[i+1]
			}
			b.Targets = append(b.Targets, target)
		}
		b.Cu, b.Lens = append(b.Cu, int32(len(b.Tokens))), append(b.Lens, int32(len(ids)))
	}
	b.MaxLen = width
	return b
}

func (g prefGolden) pairs(c prefCase) *data.Batch {
	var rows [][2][]int32
	for _, p := range g.Pairs {
		rows = append(rows, [2][]int32{p.Prompt, p.Chosen})
	}
	for _, p := range g.Pairs {
		rows = append(rows, [2][]int32{p.Prompt, p.Rejected})
	}
	return batchOf(rows, int(c.number("max_length", 0)), c.Options["truncation_mode"] == "keep_end")
}

// sharedPairs lays the pairs out with each prompt once.
func (g prefGolden) sharedPairs() *data.Batch {
	s := &data.SharedPrompts{CuK: []int32{0}}
	b := &data.Batch{Cu: []int32{0}, Shared: s}
	add := func(ids []int32, position int) (start int) {
		start = len(b.Tokens)
		for i, id := range ids {
			b.Tokens, b.Positions, b.Targets = append(b.Tokens, id), append(b.Positions, int32(position+i)), append(b.Targets, data.IgnoreIndex)
			s.KeyRows = append(s.KeyRows, int32(start+i))
		}
		b.Cu, b.Lens, b.MaxLen = append(b.Cu, int32(len(b.Tokens))), append(b.Lens, int32(len(ids))), max(b.MaxLen, len(ids))
		s.CuK = append(s.CuK, int32(len(s.KeyRows)))
		return start
	}
	for i, p := range g.Pairs {
		prompt := add(p.Prompt, 0)
		for side, answer := range [][]int32{p.Chosen, p.Rejected} {
			for j := range p.Prompt {
				s.KeyRows = append(s.KeyRows, int32(prompt+j))
			}
			start := add(answer, len(p.Prompt))
			s.MaxK = max(s.MaxK, len(p.Prompt)+len(answer))
			at := prompt + len(p.Prompt) - 1
			for j, id := range answer {
				s.LossRows, s.LossTargets, s.LossAnswers = append(s.LossRows, int32(at)), append(s.LossTargets, id), append(s.LossAnswers, int32(i+side*len(g.Pairs)))
				at = start + j
			}
		}
	}
	return b
}

func (g prefGolden) single() *data.Batch {
	var rows, other [][2][]int32
	var labels []bool
	for i, u := range g.Unpaired {
		rows = append(rows, [2][]int32{u.Prompt, u.Completion})
		other = append(other, [2][]int32{u.Prompt, g.Unpaired[(i+len(g.Unpaired)-1)%len(g.Unpaired)].Completion})
		labels = append(labels, u.Label)
	}
	b := batchOf(rows, 0, false)
	b.Desirable, b.Mismatched = labels, batchOf(other, 0, false)
	return b
}

// open opens a checkpoint for the length of the test.
func open(t testing.TB, dir string) (Source, []byte) {
	t.Helper()
	r, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	raw, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	return Source{r}, raw
}

// merged returns the directory of the base with the adapter in it.
func merged(t testing.TB, g prefGolden) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "merged")
	if _, err := Merge(cpu.New(), filepath.Join("../..", g.Base), filepath.Join("../..", g.ReferenceAdapter), dir, []int32{1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// prefEngine makes the engine of a case. reference is the directory of the frozen model; "" trains the adapter and switches it
// off for the reference.
func prefEngine(t testing.TB, g prefGolden, c prefCase, o PreferenceOptions, policy, reference string, b *data.Batch) *Engine {
	t.Helper()
	src, raw := open(t, policy)
	limits := data.Limits{Tokens: len(b.Tokens), Sequences: b.Sequences(), SeqLen: b.MaxLen}
	if s := b.Shared; s != nil {
		limits.Keys, limits.MaxK = len(s.KeyRows), s.MaxK
	}
	if m := b.Mismatched; m != nil {
		limits = union(limits, data.Limits{Tokens: len(m.Tokens), Sequences: m.Sequences(), SeqLen: m.MaxLen})
	}
	spec := EngineSpec{
		ConfigJSON: raw, Source: src, Model: model.Options{Positions: max(limits.SeqLen, limits.MaxK), Dropout: model.NoDropout()}, Objective: &Preference{PreferenceOptions: o},
		Train: limits, Optim: OptimOptions{Name: "adamw", Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, MaxGradNorm: 1},
	}
	if a := c.AdamW; a != nil {
		spec.Optim = OptimOptions{Name: "adamw", Beta1: a.Betas[0], Beta2: a.Betas[1], Eps: a.Eps, WeightDecay: a.WeightDecay, MaxGradNorm: a.MaxGradNorm}
	}
	switch {
	case o.ReferenceFree():
	case reference == "":
		a, files, err := Adapter(filepath.Join("../..", g.ReferenceAdapter))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { files.Close() })
		a.Dropout = 0
		spec.Adapter, spec.AdapterFiles = a, files
	default:
		refSrc, refRaw := open(t, reference)
		spec.Reference = &ReferenceSpec{ConfigJSON: refRaw, Source: refSrc}
	}
	e, planned, err := NewEngine(cpu.New(), spec)
	if err != nil {
		t.Fatal(err)
	}
	for use, n := range e.Backend.Allocated() {
		if planned[use] != n {
			t.Errorf("%s: %d bytes planned, %d allocated", use, planned[use], n)
		}
	}
	return e
}

// microStep runs one micro-batch and returns its metrics.
func microStep(t testing.TB, e *Engine, h *data.Batch) map[string]float64 {
	t.Helper()
	b, err := e.load(h)
	if err != nil {
		t.Fatal(err)
	}
	e.Opt.ZeroGrad()
	if err := e.resetSums(); err != nil {
		t.Fatal(err)
	}
	if err := e.trainMicro(b, tensor.RNGKey{}); err != nil {
		t.Fatal(err)
	}
	sums, err := e.sums()
	if err != nil {
		t.Fatal(err)
	}
	return e.spec.Objective.Metrics(sums, e.spec.Objective.Count(h))
}

func TestPreferenceEqualsTRL(t *testing.T) {
	for _, base := range []string{"llama", "qwen2"} {
		g := readPrefGolden(t, base)
		policy, reference := filepath.Join("../..", g.Base), merged(t, g)
		full, err := checkpoint.OpenFile(filepath.Join(prefDir, base+".safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		defer full.Close()
		ran := 0
		for _, c := range g.Cases {
			o, ok := c.options()
			if !ok {
				continue
			}
			ran++
			for _, layout := range []string{"", "/shared"} {
				if layout != "" && (c.Trainer == "kto" || c.Trainer == "orpo" || c.Options["max_length"] != nil) {
					continue
				}
				t.Run(base+"/"+c.Name+layout, func(t *testing.T) {
					if err := o.Check(); err != nil {
						t.Fatal(err)
					}
					b := g.pairs(c)
					if c.Trainer == "kto" {
						b = g.single()
					}
					if layout != "" {
						b = g.sharedPairs()
					}
					if c.Trainer == "orpo" {
						b.TargetPrompts(b.Pairs())
					}
					policy, reference := policy, reference
					switch c.Name {
					case "dpo-lora-sigmoid":
						reference = ""
					case "kto-exchanged":
						policy, reference = reference, policy
					}
					e := prefEngine(t, g, c, o, policy, reference, b)
					m := microStep(t, e, b)
					if !(math.Abs(m["loss"]-c.Loss) <= 1e-4*max(1, math.Abs(c.Loss))) {
						t.Errorf("loss %.7f, want %.7f", m["loss"], c.Loss)
					}
					for name, want := range c.Metrics {
						got, ok := m[name]
						if !ok && name == "nll_loss" && want == 0 {
							continue
						}
						if !ok {
							if !strings.HasPrefix(name, "logits/") && name != "mean_token_accuracy" && !strings.HasPrefix(name, "log_odds") {
								t.Errorf("metric %s is missing", name)
							}
							continue
						}
						if !(math.Abs(got-want) <= 1e-4*max(1, math.Abs(want))) {
							t.Errorf("%s %.7f, want %.7f", name, got, want)
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
						if !(math.Abs(m["loss"]-want) <= 1e-4*max(1, want)) {
							t.Errorf("step %d: loss %.6f, want %.6f", i, m["loss"], want)
						}
						if _, err := e.Opt.Step(i+1, c.AdamW.LR, e.spec.Objective.Count(b)); err != nil {
							t.Fatal(err)
						}
					}
				})
			}
		}
		if ran < 30 {
			t.Errorf("%s: only %d cases ran", base, ran)
		}
	}
}

// checkPrefGradients holds the gradients to TRL's: their norms, and some of them whole.
func checkPrefGradients(t *testing.T, e *Engine, c prefCase, full *checkpoint.Reader, count float64) {
	t.Helper()
	var total, largest float64
	for _, n := range c.GradNorms {
		largest = max(largest, n)
	}
	found := 0
	for _, w := range e.Store.Trainable {
		g := download(t, e.Backend, w.Grad)
		for i := range g {
			g[i] /= count
		}
		n := norm(g)
		total += n * n
		name := w.Stored
		if w.AdapterName != "" {
			name = w.AdapterName
		}
		for _, key := range []string{name, strings.Replace(name, ".weight", ".default.weight", 1)} {
			if want, ok := c.GradNorms[key]; ok {
				found++
				if !(math.Abs(n-want) <= 1e-4*max(want, 1e-6*largest)+1e-9) {
					t.Errorf("gradient of %s: norm %.7g, want %.7g", name, n, want)
				}
				break
			}
		}
		key := fmt.Sprintf("grad.%s.%s", c.Name, name)
		if _, ok := full.Info(key); ok {
			want := floats(t, full, key)
			for i := range g {
				g[i] -= want[i]
			}
			if err := norm(g) / max(norm(want), 1e-6*largest); !(err <= 1e-4) {
				t.Errorf("gradient of %s: error %g", name, err)
			}
		}
	}
	if found != len(c.GradNorms) {
		t.Errorf("%d of %d gradients were compared", found, len(c.GradNorms))
	}
	if !(math.Abs(math.Sqrt(total)-c.GradNorm) <= 1e-4*max(1e-6, c.GradNorm)) {
		t.Errorf("gradient norm %.7g, want %.7g", math.Sqrt(total), c.GradNorm)
	}
}

// The log-likelihoods of each answer, by policy and reference, are TRL's.
func TestAnswerLogProbsEqualTRL(t *testing.T) {
	for _, base := range []string{"llama", "qwen2"} {
		g := readPrefGolden(t, base)
		b := g.single()
		c := prefCase{}
		e := prefEngine(t, g, c, PreferenceOptions{LossTypes: []string{"kto"}, Beta: 0.1, Desirable: 1, Undesirable: 1}, filepath.Join("../..", g.Base), merged(t, g), b)
		pairs := g.pairs(c)
		for _, x := range []struct {
			what string
			b    *data.Batch
			ref  bool
			want []float64
		}{
			{"policy", b, false, g.Logps.Policy.Completion}, {"reference", b, true, g.Logps.Reference.Completion},
			{"policy, mismatched", b.Mismatched, false, g.Logps.Policy.KLCompletion}, {"reference, mismatched", b.Mismatched, true, g.Logps.Reference.KLCompletion},
			{"policy, pairs", pairs, false, append(slices.Clone(g.Logps.Policy.Chosen), g.Logps.Policy.Rejected...)},
			{"reference, pairs", pairs, true, append(slices.Clone(g.Logps.Reference.Chosen), g.Logps.Reference.Rejected...)},
		} {
			h := *x.b
			h.Mismatched = x.b
			got := logpsOf(t, e, &h, x.ref)
			for i := range x.want {
				if !(math.Abs(got[i]-x.want[i]) <= 1e-5*max(1, math.Abs(x.want[i]))) {
					t.Errorf("%s: %s: answer %d: %.6f, want %.6f", base, x.what, i, got[i], x.want[i])
				}
			}
		}
	}
}

// logpsOf runs a batch of any size without gradients.
func logpsOf(t *testing.T, e *Engine, h *data.Batch, ref bool) (out []float64) {
	t.Helper()
	feeder, err := nn.NewFeeder(e.Backend, len(h.Tokens), h.Sequences(), 0)
	if err != nil {
		t.Fatal(err)
	}
	b, err := feeder.Load(hostBatch(h))
	if err != nil {
		t.Fatal(err)
	}
	m := e.Model
	if ref {
		m = e.ref
	}
	tape := autograd.NewTape(e.Backend)
	if err := tape.Run("logps", func() { out = modelLogps(tape, m, b, h) }); err != nil {
		t.Fatal(err)
	}
	return out
}

// Sharing the prompts changes neither losses nor gradients, whatever the attention: fused projections, windows, soft caps,
// learned positions.
func TestSharedPromptsChangeNothing(t *testing.T) {
	g := readPrefGolden(t, "llama")
	small := func(ids []int32) {
		for i := range ids {
			ids[i] = 3 + ids[i]%50
		}
	}
	for _, p := range g.Pairs {
		small(p.Prompt)
		small(p.Chosen)
		small(p.Rejected)
	}
	o := PreferenceOptions{LossTypes: []string{"cpo"}, Beta: 0.1, CPOAlpha: 0.5}
	for _, name := range []string{"phi3", "gemma2", "gpt2", "mistral", "qwen3", "olmo2"} {
		var engines []*Engine
		var losses []float64
		for _, b := range []*data.Batch{g.pairs(prefCase{}), g.sharedPairs()} {
			e := prefEngine(t, g, prefCase{}, o, filepath.Join(modelsDir, name), "", b)
			losses = append(losses, microStep(t, e, b)["loss"])
			engines = append(engines, e)
		}
		if !(math.Abs(losses[0]-losses[1]) <= 1e-5*max(1, losses[0])) {
			t.Errorf("%s: loss %.7f with shared prompts, %.7f without", name, losses[1], losses[0])
		}
		gradientsWithin(t, engines[0], engines[1], 1e-5)
	}
}
