package train

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mltrain/mltrain/internal/checkpoint"
	"github.com/mltrain/mltrain/internal/config"
	"github.com/mltrain/mltrain/internal/cpu"
	"github.com/mltrain/mltrain/internal/data"
	"github.com/mltrain/mltrain/internal/model"
	"github.com/mltrain/mltrain/internal/nn"
)

type pissaGolden struct {
	R      int
	Alpha  float64 `json:"lora_alpha"`
	LR     float64
	Losses map[string][]float64
}

func pissaSpec(t *testing.T, base string, g golden, a *nn.Adapter) EngineSpec {
	t.Helper()
	dir := filepath.Join(modelsDir, base)
	configJSON, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	width := len(g.InputIDs[0])
	return EngineSpec{
		ConfigJSON: configJSON, Source: Source{r}, Adapter: a, Objective: SFT{},
		Model: model.Options{Positions: width, Dropout: model.NoDropout()},
		Train: data.Limits{Tokens: 3 * width, Sequences: 3, SeqLen: width},
		Optim: OptimOptions{Name: "adamw", Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, MaxGradNorm: 1},
	}
}

// PiSSA takes from each weight what PEFT's takes, leaves the model's logits as they are, and trains as PEFT's does. What is saved
// is a plain adapter to the model as it is, from which the run can go on to the bit.
func TestPiSSAEqualsPEFT(t *testing.T) {
	raw, err := os.ReadFile("../../testdata/peft/pissa.json")
	if err != nil {
		t.Fatal(err)
	}
	var want pissaGolden
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	products, err := checkpoint.OpenFile("../../testdata/peft/pissa.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer products.Close()
	for base, losses := range want.Losses {
		t.Run(base, func(t *testing.T) {
			g := readGolden(t, filepath.Join(modelsDir, base))
			logitsOf, err := checkpoint.OpenFile(filepath.Join(modelsDir, base, "golden.safetensors"))
			if err != nil {
				t.Fatal(err)
			}
			defer logitsOf.Close()
			adapter := func() *nn.Adapter {
				return &nn.Adapter{R: want.R, Alpha: want.Alpha, Target: nn.Target{AllLinear: true}, Bias: "none", Init: nn.PiSSA}
			}
			spec := pissaSpec(t, base, g, adapter())
			e := loraEngine(t, spec)
			checkLogits := func(e *Engine, what string) {
				t.Helper()
				h := g.rows(false)
				b, err := e.feeder.Load(h)
				if err != nil {
					t.Fatal(err)
				}
				got, v := logits(t, e, b), e.Model.Info().VocabSize
				d, s := maxDiff(got[:g.Lengths[0]*v], floats(t, logitsOf, "logits.0"))
				if !(d <= 1e-5*s) {
					t.Errorf("%s: logits differ from the model's by %g (largest %g)", what, d, s)
				}
			}
			checkLogits(e, "at the start")
			checked := 0
			for _, name := range products.Names() {
				module, ok := strings.CutPrefix(name, base+".")
				if !ok {
					continue
				}
				checked++
				var a, b *nn.Weight
				for _, w := range e.Store.Trainable {
					switch w.Name {
					case module + ".lora_A.weight":
						a = w
					case module + ".lora_B.weight":
						b = w
					}
				}
				av, bv, ref := download(t, e.Backend, a.Value), download(t, e.Backend, b.Value), floats(t, products, name)
				diff, in, r := make([]float64, len(ref)), a.Shape[1], want.R
				for i := range ref {
					for k := range r {
						diff[i] += bv[i/in*r+k] * av[k*in+i%in]
					}
					diff[i] -= ref[i]
				}
				if err := norm(diff) / norm(ref); !(err <= 1e-4) {
					t.Errorf("%s: B·A differs by %g", module, err)
				}
			}
			if checked < 4 {
				t.Fatalf("%d modules were compared", checked)
			}
			for i, ref := range losses {
				if loss := lossOf(t, e, g.rows(false), g.NumLabelTokens); !(math.Abs(loss-ref) <= 1e-4*max(1, ref)) {
					t.Errorf("step %d: loss %.6f, want %.6f", i, loss, ref)
				}
				if _, err := e.Opt.Step(i+1, want.LR, g.NumLabelTokens); err != nil {
					t.Fatal(err)
				}
			}
			after := lossOf(t, e, g.rows(false), g.NumLabelTokens)
			dir := t.TempDir()
			if err := saveAdapter(dir, e, &config.Config{}, filepath.Join(modelsDir, base)); err != nil {
				t.Fatal(err)
			}
			plain, files, err := Adapter(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer files.Close()
			if plain.IsPiSSA() || plain.R != 2*want.R {
				t.Errorf("saved with init_lora_weights %s and rank %d", plain.Init, plain.R)
			}
			spec.Adapter = plain
			if loss := lossOf(t, loraEngine(t, spec), g.rows(false), g.NumLabelTokens); !(math.Abs(loss-after) <= 1e-5*after) {
				t.Errorf("with the saved adapter the loss is %.7f, in training it was %.7f", loss, after)
			}
			again := adapter()
			again.Source = pissaHalves{plain.Source}
			spec.Adapter = again
			resumed, _, err := NewEngine(cpu.New(), spec)
			if err != nil {
				t.Fatal(err)
			}
			if loss := lossOf(t, resumed, g.rows(false), g.NumLabelTokens); loss != after {
				t.Errorf("resumed, the loss is %v, it was %v", loss, after)
			}
		})
	}
}
