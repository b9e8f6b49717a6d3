package train

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/mltrain/mltrain/internal/checkpoint"
	"github.com/mltrain/mltrain/internal/cpu"
	"github.com/mltrain/mltrain/internal/data"
	"github.com/mltrain/mltrain/internal/model"
)

// loraGolden is what PEFT computed for an adapter on one of the tiny models: see tools/goldens/README.md.
type loraGolden struct {
	golden
	Base         string
	NumTrainable int `json:"num_trainable"`
}

const loraDir = "../../testdata/lora"

func readLoraGolden(t testing.TB, dir string) loraGolden {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var g loraGolden
	if err := json.Unmarshal(raw, &g); err != nil {
		t.Fatal(err)
	}
	base := readGolden(t, filepath.Join(modelsDir, g.Base))
	g.InputIDs, g.Labels, g.Lengths, g.NumLabelTokens = base.InputIDs, base.Labels, base.Lengths, base.NumLabelTokens
	return g
}

func loraSpec(t testing.TB, dir string, g loraGolden) EngineSpec {
	t.Helper()
	base := filepath.Join(modelsDir, g.Base)
	configJSON, err := os.ReadFile(filepath.Join(base, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := checkpoint.Open(base)
	if err != nil {
		t.Fatal(err)
	}
	a, files, err := Adapter(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); files.Close() })
	width := len(g.InputIDs[0])
	return EngineSpec{
		ConfigJSON: configJSON, Source: Source{r}, Adapter: a, AdapterFiles: files, Objective: SFT{},
		Model: model.Options{Positions: width, Dropout: model.NoDropout()},
		Train: data.Limits{Tokens: 3 * width, Sequences: 3, SeqLen: width},
		Optim: OptimOptions{
			Name: "adamw", Beta1: g.AdamW.Betas[0], Beta2: g.AdamW.Betas[1], Eps: g.AdamW.Eps,
			WeightDecay: g.AdamW.WeightDecay, MaxGradNorm: g.AdamW.MaxGradNorm,
		},
	}
}

func loraEngine(t testing.TB, spec EngineSpec) *Engine {
	t.Helper()
	e, planned, err := NewEngine(cpu.New(), spec)
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

func eachLora(t *testing.T, fn func(t *testing.T, dir string, g loraGolden)) {
	dirs, err := filepath.Glob(filepath.Join(loraDir, "*", "golden.json"))
	if err != nil || len(dirs) != 37 {
		t.Fatalf("found %d goldens (%v)", len(dirs), err)
	}
	for _, d := range dirs {
		dir := filepath.Dir(d)
		t.Run(filepath.Base(dir), func(t *testing.T) { fn(t, dir, readLoraGolden(t, dir)) })
	}
}

func TestAdaptersEqualPEFT(t *testing.T) {
	var worst struct{ logits, grad, loss float64 }
	eachLora(t, func(t *testing.T, dir string, g loraGolden) {
		want, err := checkpoint.OpenFile(filepath.Join(dir, "golden.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		defer want.Close()
		for _, recompute := range []bool{false, true} {
			spec := loraSpec(t, dir, g)
			spec.Recompute = recompute
			e := loraEngine(t, spec)
			if n := e.Store.TrainableCount(); n != g.NumTrainable {
				t.Errorf("%d trainable parameters, want %d", n, g.NumTrainable)
			}
			h := g.rows(recompute)
			b, err := e.feeder.Load(h)
			if err != nil {
				t.Fatal(err)
			}
			got, v := logits(t, e, b), e.Model.Info().VocabSize
			for r, n := range g.Lengths {
				d, s := maxDiff(got[int(h.Cu[r])*v:][:n*v], floats(t, want, "logits."+string(rune('0'+r))))
				worst.logits = max(worst.logits, d/s)
				if !(d <= 1e-5*s) {
					t.Errorf("row %d: logits differ by %g (largest %g)", r, d, s)
				}
			}
			if loss := lossOf(t, e, h, g.NumLabelTokens); !(math.Abs(loss-g.Loss) <= 1e-5*max(1, g.Loss)) {
				t.Errorf("loss %.7f, want %.7f", loss, g.Loss)
			}
			largest := 0.0
			for _, w := range e.Store.Trainable {
				largest = max(largest, norm(floats(t, want, "grad."+w.AdapterName)))
			}
			for _, w := range e.Store.Trainable {
				ref, got := floats(t, want, "grad."+w.AdapterName), download(t, e.Backend, w.Grad)
				diff := make([]float64, len(ref))
				for i := range ref {
					j := i
					if w.Transposed { // stored [r,V], held [V,r]
						rows, cols := w.Shape[0], w.Shape[1]
						j = i%rows*cols + i/rows
					}
					diff[i] = got[j]/g.NumLabelTokens - ref[i]
				}
				err := norm(diff) / max(norm(ref), 1e-6*largest)
				worst.grad = max(worst.grad, err)
				if !(err <= 1e-4) {
					t.Errorf("recompute %v: gradient of %s: error %g", recompute, w.AdapterName, err)
				}
			}
		}
	})
	eachLora(t, func(t *testing.T, dir string, g loraGolden) {
		e := loraEngine(t, loraSpec(t, dir, g))
		for i, want := range g.AdamW.Losses {
			loss := lossOf(t, e, g.rows(false), g.NumLabelTokens)
			worst.loss = max(worst.loss, math.Abs(loss-want)/max(1, want))
			if !(math.Abs(loss-want) <= 1e-4*max(1, want)) {
				t.Errorf("step %d: loss %.6f, want %.6f", i, loss, want)
			}
			if _, err := e.Opt.Step(i+1, g.AdamW.LR, g.NumLabelTokens); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Logf("largest error of logits %.2g, of a gradient %.2g, of ten losses %.2g", worst.logits, worst.grad, worst.loss)
}
