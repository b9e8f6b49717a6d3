package train

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// Ten losses under LoRA+ are those of PEFT's optimiser, with adapters of linear layers and of an embedding, and with biases.
func TestLoRAPlusEqualsPEFT(t *testing.T) {
	raw, err := os.ReadFile("../../testdata/peft/loraplus.json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		LR          float64
		LoraPlus    float64 `json:"loraplus_lr_ratio"`
		WeightDecay float64 `json:"weight_decay"`
		MaxGradNorm float64 `json:"max_grad_norm"`
		Losses      map[string][]float64
	}
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	for name, losses := range want.Losses {
		dir := filepath.Join(loraDir, name)
		g := readLoraGolden(t, dir)
		run := func(ratio float64) (worst float64) {
			spec := loraSpec(t, dir, g)
			spec.Optim.WeightDecay, spec.Optim.MaxGradNorm = want.WeightDecay, want.MaxGradNorm
			if ratio > 0 {
				spec.Optim.LRScale = loraPlus(ratio, want.LR)
			}
			e := loraEngine(t, spec)
			for i, ref := range losses {
				loss := lossOf(t, e, g.rows(false), g.NumLabelTokens)
				if _, err := e.Opt.Step(i+1, want.LR, g.NumLabelTokens); err != nil {
					t.Fatal(err)
				}
				worst = max(worst, math.Abs(loss-ref)/max(1, ref))
			}
			return worst
		}
		if d := run(want.LoraPlus); !(d <= 1e-4) {
			t.Errorf("%s: losses differ by %g", name, d)
		}
		if d := run(0); d <= 1e-2 {
			t.Errorf("%s: without LoRA+ the losses are the same within %g: the test proves nothing", name, d)
		}
	}
}
