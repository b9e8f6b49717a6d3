package train

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"github.com/mltrain/mltrain/internal/checkpoint"
	"github.com/mltrain/mltrain/internal/cpu"
	"github.com/mltrain/mltrain/internal/cpu/vec"
	"github.com/mltrain/mltrain/internal/tensor"
)

// Ten steps of adamw_8bit against those of bitsandbytes 0.50.2 (tools/goldens/optim8.py), with every instruction set and by the GPU's
// kernels: the codes of the states to the bit, parameters and scales within rounding. The small parameter has states in float32.
func TestAdamW8bitEqualsBitsandbytes(t *testing.T) {
	golden, err := checkpoint.OpenFile("../../testdata/quant/adamw8bit.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer golden.Close()
	backends := map[string]tensor.Backend{"emulator": emulator(t)}
	for level := vec.LevelPortable; level <= vec.Best(vec.LevelAVX512).Level; level++ {
		backends[level.String()] = cpu.New(cpu.WithLevel(level))
	}
	for name, b := range backends {
		for _, param := range []string{"large", "small"} {
			t.Run(name+"/"+param, func(t *testing.T) {
				want := func(what string) []byte {
					raw, err := golden.Bytes(param + "." + what)
					if err != nil {
						t.Fatal(err)
					}
					return raw
				}
				store := vectorStore(t, b, floats64(want("start")))
				opt, err := NewOptimizer(b, store, OptimOptions{Name: "adamw_8bit", Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.1})
				if err != nil {
					t.Fatal(err)
				}
				equal := func(step int, what string, got tensor.Tensor, floor float64) {
					t.Helper()
					have := download(t, b, got)
					for i, v := range floats64(want(fmt.Sprintf("%s.%d", what, step))) {
						if g := have[i]; !(math.Abs(g-v) <= 1e-6*max(floor, math.Abs(v))) {
							t.Fatalf("step %d: %s[%d] is %g, want %g", step, what, i, g, v)
						}
					}
				}
				for step := 1; step <= 10; step++ {
					if err := b.Upload(store.Grads, want(fmt.Sprintf("grad.%d", step))); err != nil {
						t.Fatal(err)
					}
					if _, err := opt.Step(step, 1e-2, 1); err != nil {
						t.Fatal(err)
					}
					if step != 1 && step != 4 && step != 10 {
						continue
					}
					equal(step, "param", store.Values, 0.5)
					for _, k := range []string{"1", "2"} {
						if param == "small" {
							equal(step, "state"+k, opt.States()["s"+k], 0.5)
							continue
						}
						equal(step, "absmax"+k, opt.States()["s"+k+".absmax"], 0)
						codes := opt.States()["s"+k+".codes"]
						raw := make([]byte, codes.Len())
						if err := b.Download(raw, codes); err != nil {
							t.Fatal(err)
						}
						if w := want(fmt.Sprintf("state%s.%d", k, step)); !bytes.Equal(raw[:len(w)], w) {
							t.Errorf("step %d: the codes of state %s differ", step, k)
						}
					}
				}
			})
		}
	}
}

func floats64(raw []byte) []float64 {
	out := make([]float64, len(raw)/4)
	for i := range out {
		out[i] = readF32(raw[4*i:])
	}
	return out
}
