package train

import (
	"math"
	"slices"
	"testing"

	"github.com/mltrain/mltrain/internal/autograd"
	"github.com/mltrain/mltrain/internal/config"
	"github.com/mltrain/mltrain/internal/cpu"
	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/tensor"
)

// The rates are those of transformers' EarlyStoppingCallback: improvement is measured against the best of all evaluations before,
// even where that was too small to count.
func TestPatience(t *testing.T) {
	for _, c := range []struct {
		name      string
		limit     int
		threshold float64
		greater   bool
		values    []float64
		want      int // evaluations until the run stops; 0 for never
	}{
		{"improves", 1, 0, false, []float64{5, 4, 3, 2, 1}, 0},
		{"equal is no improvement", 2, 0, false, []float64{5, 5, 5}, 3},
		{"a pause is forgiven", 2, 0, false, []float64{5, 6, 4, 6, 7}, 5},
		{"greater is better", 1, 0, true, []float64{1, 2, 1.5}, 3},
		{"creeping below the threshold", 3, 0.5, false, []float64{5, 4.6, 4.2, 3.8}, 4},
		{"off", 0, 0, false, []float64{1, 2, 3, 4}, 0},
	} {
		p, b, got := patience{limit: c.limit, threshold: c.threshold}, best{}, 0
		for i, v := range c.values {
			p.see(v, b, c.greater)
			if !b.ok || c.greater && v > b.value || !c.greater && v < b.value {
				b = best{int64(i), v, true}
			}
			if p.out() {
				got = i + 1
				break
			}
		}
		if got != c.want {
			t.Errorf("%s: stopped after %d evaluations, want %d", c.name, got, c.want)
		}
	}
}

func TestLayerDecay(t *testing.T) {
	cfg := config.Default("sft")
	cfg.LayerLRDecay = 0.5
	f, err := lrScales(&cfg, []byte(`{"model_type": "gpt2", "vocab_size": 8, "n_positions": 4, "n_embd": 4, "n_layer": 3, "n_head": 2}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{
		"lm_head.weight": 1, "model.norm.weight": 1, "ln_f.bias": 1, "score.weight": 1,
		"model.layers.2.mlp.up_proj.weight": 0.5, "h.2.attn.c_attn.bias": 0.5, "transformer.h.0.ln_1.weight": 0.125,
		"base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight": 0.25,
		"model.embed_tokens.weight":                                      0.0625, "wpe.weight": 0.0625, "model.embed_tokens.lora_embedding_A": 0.0625,
	} {
		if got := f(&nn.Weight{Param: autograd.Param{Name: name}}); got != want {
			t.Errorf("%s: %g, want %g", name, got, want)
		}
	}
	cfg.LayerLRDecay = 1
	if f, err := lrScales(&cfg, nil); f != nil || err != nil {
		t.Error("without a decay all parameters learn at the same rate")
	}
}

// Noise is uniform with the scale of the token's sequence, the same for the same key, and absent outside of training.
func TestNeftune(t *testing.T) {
	const alpha, hidden = 5.0, 64
	scales := neftune(alpha, hidden, []int32{0, 16, 20}, 20)
	want := []float64{alpha / math.Sqrt(16*hidden), alpha / math.Sqrt(4*hidden)}
	if scales[0] != float32(want[0]) || scales[15] != scales[0] || scales[16] != float32(want[1]) {
		t.Errorf("scales %v, want %v", scales, want)
	}
	b := cpu.New()
	buf, err := b.Alloc(20*hidden*4, tensor.UseBatch)
	if err != nil {
		t.Fatal(err)
	}
	zero := tensor.New(buf, 0, tensor.F32, 20, hidden)
	noise := func(micro uint32) (out []float64) {
		tape := autograd.NewTape(b)
		if err := tape.Step("noise", tensor.RNGKey{Seed: 9, Micro: micro}, func() {
			out = download(t, b, tape.Noise(scales, tape.Const(zero)).Value)
		}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	x := noise(1)
	for i, lo := range []int{0, 16 * hidden} {
		part := x[lo:min(len(x), lo+16*hidden)]
		var sum, sq float64
		for _, v := range part {
			sum, sq = sum+v, sq+v*v
		}
		n := float64(len(part))
		if top := slices.Max(part); top > want[i] || top < 0.98*want[i] {
			t.Errorf("sequence %d: largest %g, want just under %g", i, top, want[i])
		}
		// Six standard errors of the mean and of the mean square of uniform numbers.
		if math.Abs(sum/n) > 6*want[i]/math.Sqrt(3*n) || math.Abs(sq/n-want[i]*want[i]/3) > 6*want[i]*want[i]*0.3/math.Sqrt(n) {
			t.Errorf("sequence %d: mean %g, mean square %g of noise of scale %g", i, sum/n, sq/n, want[i])
		}
	}
	if again := noise(1); !slices.Equal(x, again) {
		t.Error("the same key gives other noise")
	}
	if other := noise(2); slices.Equal(x, other) {
		t.Error("another micro-batch gets the same noise")
	}
	tape := autograd.NewTape(b)
	if err := tape.Run("eval", func() {
		if v := tape.Const(zero); tape.Noise(scales, v) != v {
			t.Error("noise outside of training")
		}
	}); err != nil {
		t.Fatal(err)
	}
}
