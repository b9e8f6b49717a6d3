package train

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/mltrain/mltrain/internal/cpu"
	"github.com/mltrain/mltrain/internal/data"
	"github.com/mltrain/mltrain/internal/gpu"
	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/tensor"
)

// TestEmulatorEqualsCPU trains on the GPU's kernels in the PTX interpreter and on the CPU: one step of every family, and
// its gradients, must agree.
func TestEmulatorEqualsCPU(t *testing.T) {
	for _, name := range []string{"llama", "llama-tied", "gpt2", "qwen2", "qwen3", "gemma2", "gemma3-text", "mistral", "phi3", "olmo2"} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && name != "llama" {
				t.Skip("the interpreter is slow: -short runs one family")
			}
			dir := filepath.Join(modelsDir, name)
			g := readGolden(t, dir)
			steps := 1
			if name == "llama" {
				steps = 3
			}
			width := len(g.InputIDs[0])
			limits := data.Limits{Tokens: 3 * width, Sequences: 3, SeqLen: width}
			want, got := goldenEngineOn(t, cpu.New(), dir, g, SFT{}, false, limits), goldenEngineOn(t, emulator(t), dir, g, SFT{}, false, limits)
			for step := range steps {
				a, b := lossOf(t, want, g.rows(false), g.NumLabelTokens), lossOf(t, got, g.rows(false), g.NumLabelTokens)
				if !(math.Abs(a-b) <= 1e-5*max(1, a)) {
					t.Errorf("step %d: loss %.7f, the CPU's is %.7f", step, b, a)
				}
				if step == 0 {
					compareGradients(t, want, got)
				}
				na, err := want.Opt.Step(step+1, g.AdamW.LR, g.NumLabelTokens)
				if err != nil {
					t.Fatal(err)
				}
				nb, err := got.Opt.Step(step+1, g.AdamW.LR, g.NumLabelTokens)
				if err != nil {
					t.Fatal(err)
				}
				if !(math.Abs(na-nb) <= 1e-4*na) {
					t.Errorf("step %d: gradient norm %.7f, the CPU's is %.7f", step, nb, na)
				}
			}
		})
	}
}

func emulator(t *testing.T) tensor.Backend {
	t.Helper()
	b, err := gpu.NewEmulator()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// compareGradients holds each gradient to the CPU's: ‖g−g*‖ ≤ 10⁻⁴·max(‖g*‖, 10⁻⁶·the largest norm).
func compareGradients(t *testing.T, want, got *Engine) {
	t.Helper()
	largest := 0.0
	for _, w := range want.Store.Trainable {
		largest = max(largest, norm(download(t, want.Backend, w.Grad)))
	}
	for i, w := range want.Store.Trainable {
		ref, have := download(t, want.Backend, w.Grad), download(t, got.Backend, got.Store.Trainable[i].Grad)
		diff := make([]float64, len(ref))
		for j := range ref {
			diff[j] = have[j] - ref[j]
		}
		if err := norm(diff) / max(norm(ref), 1e-6*largest); !(err <= 1e-4) {
			t.Errorf("gradient of %s: error %g against the CPU's", w.Name, err)
		}
	}
}

// fewRows counts the products that decode four bits as they multiply.
type fewRows struct {
	tensor.Backend
	products int
}

func (f *fewRows) MulQuant4Rows(x tensor.DType) int {
	return f.Backend.(tensor.Quant4Multiplier).MulQuant4Rows(x)
}

func (f *fewRows) MulQuant4(y, x tensor.Tensor, q tensor.Quant4, bias tensor.Tensor, beta float32) error {
	f.products++
	return f.Backend.(tensor.Quant4Multiplier).MulQuant4(y, x, q, bias, beta)
}

// Batches with few tokens are multiplied by weights in four bits without decoding those, on the memory that was planned for the
// largest batch, and give the CPU's losses; larger ones in the same run decode first.
func TestFewRowsOfFourBits(t *testing.T) {
	dir := filepath.Join(modelsDir, "llama")
	g := readGolden(t, dir)
	device := &fewRows{Backend: emulator(t)}
	quantised := func(s *EngineSpec) { s.Quantise = &nn.Quantise{Nested: true} }
	limits := data.Limits{Tokens: 20, Sequences: 1, SeqLen: 20}
	want := goldenEngineOn(t, cpu.New(), dir, g, SFT{}, false, limits, adapted, quantised)
	got := goldenEngineOn(t, device, dir, g, SFT{}, false, limits, adapted, quantised)
	for _, n := range []int{1, 3, 16, 17, 20, 5} {
		h := &data.Batch{Cu: []int32{0, int32(n)}, Lens: []int32{int32(n)}, MaxLen: n, Trained: n}
		for i := range n {
			h.Tokens, h.Positions, h.Targets = append(h.Tokens, int32(3+7*i)%50), append(h.Positions, int32(i)), append(h.Targets, int32(5+i))
		}
		device.products = 0
		a, err := want.Accumulate(h)
		if err != nil {
			t.Fatal(err)
		}
		b, err := got.Accumulate(h)
		if err != nil {
			t.Fatal(err)
		}
		if !(math.Abs(a-b) <= 1e-5*a) {
			t.Errorf("%d tokens: loss %.7f, the CPU's is %.7f", n, b, a)
		}
		gradientsWithin(t, want, got, 1e-4)
		if few := n <= device.MulQuant4Rows(tensor.F32); (device.products > 0) != few {
			t.Errorf("%d tokens: %d products without decoding", n, device.products)
		}
	}
}
