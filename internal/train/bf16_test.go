package train

import (
	"bytes"
	"math"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/mltrain/mltrain/internal/cpu"
	"github.com/mltrain/mltrain/internal/data"
	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/tensor"
)

func inBF16(s *EngineSpec) { s.BF16 = true }

func adapted(s *EngineSpec) {
	s.Adapter = &nn.Adapter{R: 4, Alpha: 8, Target: nn.Target{AllLinear: true}, Bias: "none", Init: "false"}
}

func doraAdapted(s *EngineSpec) {
	adapted(s)
	s.Adapter.DoRA = true
}

// goldenLimits is what the golden's rows need.
func goldenLimits(g golden) data.Limits {
	width := len(g.InputIDs[0])
	return data.Limits{Tokens: 3 * width, Sequences: 3, SeqLen: width}
}

// TestBF16FollowsFloat32 trains ten steps of every family in bfloat16: losses must stay near those of PyTorch in float32, and
// the first gradients near float32's, as far as eight bits of mantissa allow.
func TestBF16FollowsFloat32(t *testing.T) {
	eachGolden(t, func(t *testing.T, dir string, g golden) {
		want := goldenEngine(t, dir, g, SFT{}, false)
		lossOf(t, want, g.rows(false), g.NumLabelTokens)
		for _, recompute := range []bool{false, true} {
			e := goldenEngineOn(t, cpu.New(), dir, g, SFT{}, recompute, goldenLimits(g), inBF16)
			for i, ref := range g.AdamW.Losses {
				loss := lossOf(t, e, g.rows(false), g.NumLabelTokens)
				if !(math.Abs(loss-ref) <= 0.02*max(1, ref)) {
					t.Errorf("recompute %v: step %d: loss %.5f, in float32 %.5f", recompute, i, loss, ref)
				}
				if i == 0 {
					gradientsWithin(t, want, e, 0.08)
				}
				if _, err := e.Opt.Step(i+1, g.AdamW.LR, g.NumLabelTokens); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// gradientsWithin holds each gradient to another engine's: ‖g−g*‖ ≤ tol·max(‖g*‖, a tenth of the largest norm), since what
// is rounded flows from the large ones into the small ones.
func gradientsWithin(t *testing.T, want, got *Engine, tol float64) {
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
		if err := norm(diff) / max(norm(ref), 0.1*largest); !(err <= tol) {
			t.Errorf("gradient of %s: error %g", w.Name, err)
		}
	}
}

// TestBF16Adapters does the same for adapters on frozen matrices that are held in bfloat16.
func TestBF16Adapters(t *testing.T) {
	for _, name := range []string{"llama", "gpt2", "phi3"} {
		for kind, adapt := range map[string]func(*EngineSpec){"lora": adapted, "dora": doraAdapted} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				dir := filepath.Join(modelsDir, name)
				g := readGolden(t, dir)
				want := goldenEngineOn(t, cpu.New(), dir, g, SFT{}, false, goldenLimits(g), adapt)
				got := goldenEngineOn(t, cpu.New(), dir, g, SFT{}, false, goldenLimits(g), adapt, inBF16)
				for i := range 10 {
					a, b := lossOf(t, want, g.rows(false), g.NumLabelTokens), lossOf(t, got, g.rows(false), g.NumLabelTokens)
					if !(math.Abs(a-b) <= 0.02*max(1, a)) {
						t.Errorf("step %d: loss %.5f, in float32 %.5f", i, b, a)
					}
					if i == 0 {
						gradientsWithin(t, want, got, 0.08)
					}
					for _, e := range []*Engine{want, got} {
						if _, err := e.Opt.Step(i+1, g.AdamW.LR, g.NumLabelTokens); err != nil {
							t.Fatal(err)
						}
					}
				}
			})
		}
	}
}

// TestBF16ComputeCopy holds the copy that the model computes with to the rounded parameters after an update, and vectors to
// float32.
func TestBF16ComputeCopy(t *testing.T) {
	dir := filepath.Join(modelsDir, "llama")
	g := readGolden(t, dir)
	e := goldenEngineOn(t, cpu.New(), dir, g, SFT{}, false, goldenLimits(g), inBF16)
	lossOf(t, e, g.rows(false), g.NumLabelTokens)
	if _, err := e.Opt.Step(1, 1e-2, g.NumLabelTokens); err != nil {
		t.Fatal(err)
	}
	for _, w := range e.Store.Trainable {
		if wantType := map[bool]tensor.DType{true: tensor.BF16, false: tensor.F32}[len(w.Shape) > 1]; w.Value.DType != wantType {
			t.Errorf("%s: computed with in %v, want %v", w.Name, w.Value.DType, wantType)
			continue
		}
		if len(w.Shape) < 2 {
			continue
		}
		raw := make([]byte, w.Value.Bytes())
		if err := e.Backend.Download(raw, w.Value); err != nil {
			t.Fatal(err)
		}
		for i, v := range download(t, e.Backend, w.Master) {
			if have := uint16(raw[2*i]) | uint16(raw[2*i+1])<<8; have != tensor.ToBF16(float32(v)) {
				t.Fatalf("%s[%d]: the copy is %g, the parameter %g", w.Name, i, tensor.FromBF16(have), v)
			}
		}
	}
}

// TestBF16AtAnyGOMAXPROCS compares the parameters after three steps bit by bit.
func TestBF16AtAnyGOMAXPROCS(t *testing.T) {
	dir := filepath.Join(modelsDir, "qwen2")
	g := readGolden(t, dir)
	var first []byte
	for _, procs := range []int{1, 2, 3} {
		old := runtime.GOMAXPROCS(procs)
		e := goldenEngineOn(t, cpu.New(), dir, g, SFT{}, true, goldenLimits(g), inBF16)
		for i := range 3 {
			lossOf(t, e, g.rows(false), g.NumLabelTokens)
			if _, err := e.Opt.Step(i+1, g.AdamW.LR, g.NumLabelTokens); err != nil {
				t.Fatal(err)
			}
		}
		runtime.GOMAXPROCS(old)
		raw := make([]byte, e.Store.Values.Bytes())
		if err := e.Backend.Download(raw, e.Store.Values); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = raw
		} else if !bytes.Equal(first, raw) {
			t.Errorf("parameters differ with GOMAXPROCS %d", procs)
		}
	}
}

// TestBF16OnTheEmulator trains in bfloat16 by the GPU's kernels.
func TestBF16OnTheEmulator(t *testing.T) {
	for _, name := range []string{"llama", "gpt2", "gemma2"} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && name != "llama" {
				t.Skip("the interpreter is slow: -short runs one family")
			}
			dir := filepath.Join(modelsDir, name)
			g := readGolden(t, dir)
			for kind, change := range map[string][]func(*EngineSpec){"full": {inBF16}, "lora": {inBF16, adapted}} {
				want := goldenEngineOn(t, cpu.New(), dir, g, SFT{}, false, goldenLimits(g), change...)
				got := goldenEngineOn(t, emulator(t), dir, g, SFT{}, false, goldenLimits(g), change...)
				a, b := lossOf(t, want, g.rows(false), g.NumLabelTokens), lossOf(t, got, g.rows(false), g.NumLabelTokens)
				if !(math.Abs(a-b) <= 0.01*max(1, a)) {
					t.Errorf("%s: loss %.7f, the CPU's is %.7f", kind, b, a)
				}
				gradientsWithin(t, want, got, 0.05)
				for _, e := range []*Engine{want, got} {
					if _, err := e.Opt.Step(1, g.AdamW.LR, g.NumLabelTokens); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}
