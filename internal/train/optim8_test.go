package train

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/mltrain/mltrain/internal/cpu"
	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/quant"
	"github.com/mltrain/mltrain/internal/tensor"
)

// Twenty steps with states in 8 bits against the rule written out in float64, on a large parameter with a short last block and on a small
// one, whose states stay float32; on the CPU and by the GPU's kernels.
func TestAdamW8bit(t *testing.T) {
	for _, device := range []tensor.Backend{cpu.New(), emulator(t)} {
		bd := nn.NewBuilder(nn.Options{})
		bd.Param("big.weight", nn.Init{Std: 0.02}, 70, 73)
		bd.Param("small.weight", nn.Init{Std: 0.02}, 20)
		store, err := bd.Load(device, 1)
		if err != nil {
			t.Fatal(err)
		}
		opt, err := NewOptimizer(device, store, OptimOptions{Name: "adamw_8bit", Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.1})
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(1, 2))
		type ref struct{ p, m, v []float64 }
		refs := map[*nn.Weight]*ref{}
		for _, w := range store.Trainable {
			refs[w] = &ref{download(t, device, w.Master), make([]float64, w.Master.Len()), make([]float64, w.Master.Len())}
		}
		const lr, b1, b2, eps = 1e-2, 0.9, 0.999, 1e-8
		for step := 1; step <= 20; step++ {
			for _, w := range store.Trainable {
				g := make([]float32, w.Grad.Len())
				for i := range g {
					g[i] = float32(rng.NormFloat64() * math.Pow(10, float64(i%5-3)))
				}
				raw := make([]byte, 4*len(g))
				for i, v := range g {
					binary.LittleEndian.PutUint32(raw[4*i:], math.Float32bits(v))
				}
				if err := device.Upload(w.Grad, raw); err != nil {
					t.Fatal(err)
				}
				r, wd := refs[w], 0.0
				if w.Decay {
					wd = 0.1
				}
				for i, v := range g {
					r.p[i] -= lr * wd * r.p[i]
					r.m[i] = b1*r.m[i] + (1-b1)*float64(v)
					r.v[i] = b2*r.v[i] + (1-b2)*float64(v)*float64(v)
					r.p[i] -= lr / (1 - math.Pow(b1, float64(step))) * r.m[i] / (math.Sqrt(r.v[i])/math.Sqrt(1-math.Pow(b2, float64(step))) + eps)
				}
				if len(g) >= 4096 {
					throughBits(r.m, true)
					throughBits(r.v, false)
				}
			}
			if _, err := opt.Step(step, lr, 1); err != nil {
				t.Fatal(err)
			}
		}
		for _, w := range store.Trainable {
			got, want := download(t, device, w.Master), refs[w].p
			off := 0
			for i := range got {
				if !(math.Abs(got[i]-want[i]) <= 1e-4) {
					off++
				}
			}
			// A state next to the middle of two codes may be rounded to the other one, which changes a step of one element.
			if off > len(got)/200 {
				t.Errorf("%s: %s: %d of %d parameters differ", device.Name(), w.Name, off, len(got))
			}
		}
		if n := device.Allocated()[tensor.UseOptimizer]; n > 4*70*73+64*1024 {
			t.Errorf("%s: %d bytes of states", device.Name(), n)
		}
	}
}

// throughBits rounds a state as 8 bits hold it.
func throughBits(x []float64, signed bool) {
	f := make([]float32, len(x))
	for i, v := range x {
		f[i] = float32(v)
	}
	table := quant.States(signed)
	codes, absmax := make([]byte, len(f)), make([]float32, quant.Blocks(len(f), quant.StateBlock))
	table.EncodeState(codes, absmax, f)
	table.DecodeState(f, codes, absmax)
	for i, v := range f {
		x[i] = float64(v)
	}
}

// A step whose gradient is not finite changes neither parameters nor states.
func TestAdamW8bitSkipsNonFinite(t *testing.T) {
	for _, b := range []tensor.Backend{cpu.New(), emulator(t)} {
		t.Run(b.Name(), func(t *testing.T) { skipsNonFinite(t, b) })
	}
}

func skipsNonFinite(t *testing.T, b tensor.Backend) {
	bd := nn.NewBuilder(nn.Options{})
	bd.Param("w", nn.Init{Std: 1}, 64, 64)
	store, err := bd.Load(b, 1)
	if err != nil {
		t.Fatal(err)
	}
	opt, err := NewOptimizer(b, store, OptimOptions{Name: "adamw_8bit", Beta1: 0.9, Beta2: 0.999, Eps: 1e-8})
	if err != nil {
		t.Fatal(err)
	}
	upload := func(first float32) {
		raw := make([]byte, store.Grads.Bytes())
		for i := range store.Grads.Len() {
			binary.LittleEndian.PutUint32(raw[4*i:], math.Float32bits(-1))
		}
		binary.LittleEndian.PutUint32(raw, math.Float32bits(first))
		if err := b.Upload(store.Grads, raw); err != nil {
			t.Fatal(err)
		}
	}
	upload(-1)
	if _, err := opt.Step(1, 0.1, 1); err != nil {
		t.Fatal(err)
	}
	before := download(t, b, opt.States()["s1.absmax"])
	params := download(t, b, store.Values)
	upload(float32(math.Inf(1)))
	norm, err := opt.Step(2, 0.1, 1)
	if err != nil || !math.IsNaN(norm) {
		t.Fatalf("norm %v, %v", norm, err)
	}
	for i, v := range download(t, b, opt.States()["s1.absmax"]) {
		if v != before[i] {
			t.Fatalf("scale %d changed from %g to %g", i, before[i], v)
		}
	}
	for i, v := range download(t, b, store.Values) {
		if v != params[i] {
			t.Fatalf("parameter %d changed", i)
		}
	}
}
