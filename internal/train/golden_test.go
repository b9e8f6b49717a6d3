package train

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
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

// golden is what transformers and PyTorch computed for a tiny model: see tools/goldens/README.md.
type golden struct {
	InputIDs       [][]int32 `json:"input_ids"`
	Labels         [][]int32
	Lengths        []int
	NumLabelTokens float64 `json:"num_label_tokens"`
	Loss           float64
	GradNorm       float64 `json:"grad_norm"`
	LabelSmoothing struct {
		Epsilon, Loss float64
		GradNorm      float64 `json:"grad_norm"`
	} `json:"label_smoothing"`
	AdamW struct {
		LR          float64
		Betas       [2]float64
		Eps         float64
		WeightDecay float64 `json:"weight_decay"`
		MaxGradNorm float64 `json:"max_grad_norm"`
		Losses      []float64
		GradNorms   []float64 `json:"grad_norms"`
	}
	Packed *struct {
		InputIDs    []int32 `json:"input_ids"`
		Labels      []int32
		PositionIDs []int32 `json:"position_ids"`
		CuSeqlens   []int32 `json:"cu_seqlens"`
		Loss        float64
	}
}

const modelsDir = "../../testdata/models"

func readGolden(t testing.TB, dir string) golden {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(raw, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// rows turns the golden's padded rows into one batch.
func (g golden) rows(padded bool) nn.HostBatch {
	b := nn.HostBatch{Cu: []int32{0}, Ignore: data.IgnoreIndex}
	for r, n := range g.Lengths {
		width := n
		if padded {
			width = len(g.InputIDs[r])
		}
		for i := range width {
			b.Tokens = append(b.Tokens, g.InputIDs[r][i])
			b.Positions = append(b.Positions, int32(i))
			target := int32(data.IgnoreIndex)
			if i+1 < n {
				target = g.Labels[r][i+1]
			}
			b.Targets = append(b.Targets, target)
		}
		b.Cu = append(b.Cu, int32(len(b.Tokens)))
		b.MaxLen = max(b.MaxLen, width)
	}
	return b
}

func goldenEngine(t testing.TB, dir string, g golden, obj Objective, recompute bool) *Engine {
	t.Helper()
	width := len(g.InputIDs[0])
	return goldenEngineOn(t, cpu.New(), dir, g, obj, recompute, data.Limits{Tokens: 3 * width, Sequences: 3, SeqLen: width})
}

func goldenEngineOn(t testing.TB, b tensor.Backend, dir string, g golden, obj Objective, recompute bool, limits data.Limits, change ...func(*EngineSpec)) *Engine {
	t.Helper()
	configJSON, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	spec := EngineSpec{
		ConfigJSON: configJSON, Source: Source{r}, Model: model.Options{Positions: limits.SeqLen, Dropout: model.NoDropout()}, Objective: obj,
		Recompute: recompute,
		Train:     limits,
		Optim: OptimOptions{
			Name: "adamw", Beta1: g.AdamW.Betas[0], Beta2: g.AdamW.Betas[1], Eps: g.AdamW.Eps,
			WeightDecay: g.AdamW.WeightDecay, MaxGradNorm: g.AdamW.MaxGradNorm,
		},
	}
	for _, fn := range change {
		fn(&spec)
	}
	e, planned, err := NewEngine(b, spec)
	if err != nil {
		t.Fatal(err)
	}
	got := e.Backend.Allocated()
	for use, n := range planned {
		if got[use] != n {
			t.Errorf("%s: %d bytes planned, %d allocated", use, n, got[use])
		}
	}
	return e
}

func eachGolden(t *testing.T, fn func(t *testing.T, dir string, g golden)) {
	dirs, err := filepath.Glob(filepath.Join(modelsDir, "*", "golden.json"))
	if err != nil || len(dirs) < 15 {
		t.Fatalf("found %d goldens (%v)", len(dirs), err)
	}
	for _, d := range dirs {
		dir := filepath.Dir(d)
		t.Run(filepath.Base(dir), func(t *testing.T) { fn(t, dir, readGolden(t, dir)) })
	}
}

func floats(t testing.TB, r *checkpoint.Reader, name string) []float64 {
	t.Helper()
	b, err := r.Bytes(name)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float64, len(b)/4)
	for i := range out {
		out[i] = readF32(b[4*i:])
	}
	return out
}

func download(t testing.TB, b tensor.Backend, x tensor.Tensor) []float64 {
	t.Helper()
	raw := make([]byte, x.Bytes())
	if err := b.Download(raw, x); err != nil {
		t.Fatal(err)
	}
	out := make([]float64, x.Len())
	for i := range out {
		out[i] = readF32(raw[4*i:])
	}
	return out
}

func maxDiff(a, b []float64) (diff, scale float64) {
	for i := range a {
		diff = max(diff, math.Abs(a[i]-b[i]))
		scale = max(scale, math.Abs(b[i]))
	}
	return diff, max(1, scale)
}

func logits(t *testing.T, e *Engine, b *nn.Batch) []float64 {
	t.Helper()
	tape := autograd.NewTape(e.Backend)
	var out []float64
	err := tape.Run("logits", func() {
		head := e.Model.Head()
		y := tape.Linear(e.Model.Forward(tape, b), head.W, nil, autograd.OutIn)
		if head.SoftCap > 0 {
			y = tape.Unary(tensor.OpSoftcap, head.SoftCap, y)
		}
		out = download(t, e.Backend, y.Value)
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestLogitsEqualTransformers(t *testing.T) {
	eachGolden(t, func(t *testing.T, dir string, g golden) {
		e := goldenEngine(t, dir, g, SFT{}, false)
		want, err := checkpoint.OpenFile(filepath.Join(dir, "golden.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		defer want.Close()
		for _, padded := range []bool{false, true} {
			h := g.rows(padded)
			b, err := e.feeder.Load(h)
			if err != nil {
				t.Fatal(err)
			}
			got := logits(t, e, b)
			v := e.Model.Info().VocabSize
			for r, n := range g.Lengths {
				row := got[int(h.Cu[r])*v:][:n*v]
				if d, s := maxDiff(row, floats(t, want, fmt.Sprintf("logits.%d", r))); !(d <= 1e-5*s) {
					t.Errorf("padded %v: row %d: logits differ by %g (largest %g)", padded, r, d, s)
				}
			}
		}
		if g.Packed == nil {
			return
		}
		b, err := e.feeder.Load(nn.HostBatch{
			Tokens: g.Packed.InputIDs, Positions: g.Packed.PositionIDs, Cu: g.Packed.CuSeqlens, MaxLen: len(g.InputIDs[0]), Ignore: data.IgnoreIndex,
		})
		if err != nil {
			t.Fatal(err)
		}
		if d, s := maxDiff(logits(t, e, b), floats(t, want, "packed.logits")); !(d <= 1e-5*s) {
			t.Errorf("packed: logits differ by %g (largest %g)", d, s)
		}
	})
}

// lossOf runs one micro-batch with gradients and returns the mean loss.
func lossOf(t *testing.T, e *Engine, h nn.HostBatch, count float64) float64 {
	t.Helper()
	b, err := e.feeder.Load(h)
	if err != nil {
		t.Fatal(err)
	}
	e.Opt.ZeroGrad()
	for _, err := range []error{e.resetSums(), e.trainMicro(&Micro{Batch: b}, tensor.RNGKey{})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	sums, err := e.sums()
	if err != nil {
		t.Fatal(err)
	}
	return e.spec.Objective.Metrics(sums, count)["loss"]
}

func TestGradientsEqualPyTorch(t *testing.T) {
	eachGolden(t, func(t *testing.T, dir string, g golden) {
		want, err := checkpoint.OpenFile(filepath.Join(dir, "golden.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		defer want.Close()
		for _, recompute := range []bool{false, true} {
			e := goldenEngine(t, dir, g, SFT{}, recompute)
			if loss := lossOf(t, e, g.rows(recompute), g.NumLabelTokens); !(math.Abs(loss-g.Loss) <= 1e-5*max(1, g.Loss)) {
				t.Errorf("loss %.7f, want %.7f", loss, g.Loss)
			}
			largest := 0.0
			for _, w := range e.Store.Trainable {
				largest = max(largest, norm(floats(t, want, "grad."+w.Stored)))
			}
			for _, w := range e.Store.Trainable {
				ref := floats(t, want, "grad."+w.Stored)
				got := download(t, e.Backend, w.Grad)
				diff := make([]float64, len(ref))
				for i := range ref {
					diff[i] = got[i]/g.NumLabelTokens - ref[i]
				}
				if err := norm(diff) / max(norm(ref), 1e-6*largest); !(err <= 1e-4) {
					t.Errorf("recompute %v: gradient of %s: error %g", recompute, w.Name, err)
				}
			}
		}
	})
}

func norm(x []float64) float64 {
	var s float64
	for _, v := range x {
		s += v * v
	}
	return math.Sqrt(s)
}

func TestTenAdamWStepsEqualPyTorch(t *testing.T) {
	eachGolden(t, func(t *testing.T, dir string, g golden) {
		e := goldenEngine(t, dir, g, SFT{}, false)
		for i, want := range g.AdamW.Losses {
			loss := lossOf(t, e, g.rows(false), g.NumLabelTokens)
			if !(math.Abs(loss-want) <= 1e-4*max(1, want)) {
				t.Errorf("step %d: loss %.6f, want %.6f", i, loss, want)
			}
			norm, err := e.Opt.Step(i+1, g.AdamW.LR, g.NumLabelTokens)
			if err != nil {
				t.Fatal(err)
			}
			if want := g.AdamW.GradNorms[i]; !(math.Abs(norm-want) <= 1e-3*want) {
				t.Errorf("step %d: gradient norm %.6f, want %.6f", i, norm, want)
			}
		}
	})
}

func TestLabelSmoothingEqualsPyTorch(t *testing.T) {
	eachGolden(t, func(t *testing.T, dir string, g golden) {
		e := goldenEngine(t, dir, g, SFT{LabelSmoothing: float32(g.LabelSmoothing.Epsilon)}, false)
		if loss := lossOf(t, e, g.rows(false), g.NumLabelTokens); !(math.Abs(loss-g.LabelSmoothing.Loss) <= 1e-5*g.LabelSmoothing.Loss) {
			t.Errorf("loss %.7f, want %.7f", loss, g.LabelSmoothing.Loss)
		}
		norm, err := e.Opt.Step(1, 0, g.NumLabelTokens)
		if err != nil {
			t.Fatal(err)
		}
		if want := g.LabelSmoothing.GradNorm; !(math.Abs(norm-want) <= 1e-4*want) {
			t.Errorf("gradient norm %.7f, want %.7f", norm, want)
		}
	})
}

func TestUnsupportedArchitectureIsNamed(t *testing.T) {
	_, err := model.New([]byte(`{"model_type": "mamba2"}`), nn.NewBuilder(nn.Options{}), model.Options{})
	if err == nil || !strings.Contains(err.Error(), `"mamba2"`) || !strings.Contains(err.Error(), "llama") {
		t.Errorf("got %v", err)
	}
}
