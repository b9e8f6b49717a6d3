package train

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/mltrain/mltrain/internal/cpu"
	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/quant"
)

// decoded is a source whose linear layers were quantised and decoded.
type decoded struct {
	Source
	linear  func(name string) (flipped, ok bool)
	nested  bool
	changed int
}

func (d *decoded) Bytes(name string) ([]byte, error) {
	raw, err := d.Source.Bytes(name)
	flipped, ok := d.linear(name)
	if err != nil || !ok {
		return raw, err
	}
	d.changed++
	_, _, shape, _ := d.Lookup(name)
	x := make([]float32, len(raw)/4)
	for i := range x {
		x[i] = float32(readF32(raw[4*i:]))
	}
	turn := func(rows, cols int) {
		y := make([]float32, len(x))
		for r := range rows {
			for c := range cols {
				y[c*rows+r] = x[r*cols+c]
			}
		}
		x = y
	}
	if flipped {
		turn(shape[0], shape[1])
	}
	codes, absmax := make([]byte, quant.PackedBytes(len(x))), make([]float32, quant.Blocks(len(x), quant.BlockSize))
	quant.EncodeNF4(codes, absmax, x)
	if d.nested {
		absmax = quant.EncodeNested(absmax).Decode()
	}
	quant.DecodeNF4(x, codes, absmax, 0)
	if flipped {
		turn(shape[1], shape[0])
	}
	out := make([]byte, len(raw))
	for i, v := range x {
		b := math.Float32bits(v)
		out[4*i], out[4*i+1], out[4*i+2], out[4*i+3] = byte(b), byte(b>>8), byte(b>>16), byte(b>>24)
	}
	return out, nil
}

// A base in NF4 gives what a base of the decoded weights gives: losses of ten steps and the first gradients, for LoRA and DoRA, in
// float32 and bfloat16, with double quantisation and without; and takes the memory that was planned.
func TestQuantisedBaseEqualsDecodedBase(t *testing.T) {
	for _, name := range []string{"llama", "gpt2", "phi3", "gemma2"} {
		for _, nested := range []bool{false, true} {
			for kind, change := range map[string][]func(*EngineSpec){"lora": {adapted}, "dora": {doraAdapted}, "bf16": {adapted, inBF16}} {
				t.Run(name+"/"+kind, func(t *testing.T) {
					dir := filepath.Join(modelsDir, name)
					g := readGolden(t, dir)
					linears := map[string]bool{}
					probe := goldenEngineOn(t, cpu.New(), dir, g, SFT{}, false, goldenLimits(g), append(change, func(s *EngineSpec) { s.Quantise = &nn.Quantise{Nested: nested} })...)
					for _, w := range probe.Store.Weights {
						if w.Quant != nil {
							linears[w.Stored] = true
						}
					}
					d := &decoded{nested: nested, linear: func(n string) (bool, bool) { return name == "gpt2", linears[n] }}
					want := goldenEngineOn(t, cpu.New(), dir, g, SFT{}, false, goldenLimits(g), append(change, func(s *EngineSpec) {
						d.Source = s.Source.(Source)
						s.Source = d
					})...)
					if d.changed == 0 || d.changed%len(linears) != 0 { // the plan asks for them too
						t.Fatalf("%d layers quantised, %d decoded", len(linears), d.changed)
					}
					tol := 1e-5
					if kind == "bf16" {
						tol = 1e-3
					}
					for i := range 10 {
						a, b := lossOf(t, want, g.rows(false), g.NumLabelTokens), lossOf(t, probe, g.rows(false), g.NumLabelTokens)
						if !(math.Abs(a-b) <= tol*max(1, a)) {
							t.Errorf("step %d: loss %.7f, with decoded weights %.7f", i, b, a)
						}
						if i == 0 {
							gradientsWithin(t, want, probe, 10*tol)
						}
						for _, e := range []*Engine{want, probe} {
							if _, err := e.Opt.Step(i+1, g.AdamW.LR, g.NumLabelTokens); err != nil {
								t.Fatal(err)
							}
						}
					}
				})
			}
		}
	}
}

// The same step by the GPU's kernels.
func TestQLoRAOnTheEmulator(t *testing.T) {
	dir := filepath.Join(modelsDir, "llama")
	g := readGolden(t, dir)
	quantised := func(s *EngineSpec) { s.Quantise = &nn.Quantise{Nested: true} }
	for kind, c := range map[string]struct {
		change []func(*EngineSpec)
		tol    float64
	}{"float32": {[]func(*EngineSpec){adapted, quantised}, 1e-4}, "bfloat16": {[]func(*EngineSpec){adapted, quantised, inBF16}, 0.05}} {
		want := goldenEngineOn(t, cpu.New(), dir, g, SFT{}, false, goldenLimits(g), c.change...)
		got := goldenEngineOn(t, emulator(t), dir, g, SFT{}, false, goldenLimits(g), c.change...)
		a, b := lossOf(t, want, g.rows(false), g.NumLabelTokens), lossOf(t, got, g.rows(false), g.NumLabelTokens)
		if !(math.Abs(a-b) <= min(0.01, c.tol)*max(1, a)) {
			t.Errorf("%s: loss %.7f, the CPU's is %.7f", kind, b, a)
		}
		gradientsWithin(t, want, got, c.tol)
	}
}
