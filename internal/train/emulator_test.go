package train

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/mltrain/mltrain/internal/cpu"
	"github.com/mltrain/mltrain/internal/data"
	"github.com/mltrain/mltrain/internal/gpu"
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
