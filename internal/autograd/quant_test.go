package autograd

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/mltrain/mltrain/internal/quant"
	"github.com/mltrain/mltrain/internal/tensor"
)

// quantised returns a frozen matrix in NF4, and the same matrix decoded.
func (w *world) quantised(name string, rows, cols int) (packed, dense *Param) {
	x := w.get(w.floats(1, rows, cols))
	codes, absmax := make([]byte, quant.PackedBytes(len(x))), make([]float32, quant.Blocks(len(x), quant.BlockSize))
	quant.EncodeNF4(codes, absmax, x)
	quant.DecodeNF4(x, codes, absmax, 0)
	q := &tensor.Quant4{
		Rows: rows, Cols: cols, Codes: w.upload(tensor.U8, codes, len(codes)), Absmax: w.upload(tensor.F32, bytesOf(absmax), len(absmax)),
	}
	return &Param{Name: name, Shape: []int{rows, cols}, Quant: q},
		&Param{Name: name, Shape: []int{rows, cols}, Value: w.upload(tensor.F32, bytesOf(x), rows, cols)}
}

// A layer whose weight is held in four bits gives what the layer gives with the decoded weight: values and gradients, with adapters
// and without, decoded at once or in parts.
func TestQuantisedLayersEqualDecodedOnes(t *testing.T) {
	for _, layout := range []Layout{OutIn, InOut} {
		for _, chunk := range []int{0, 30} {
			for kind, layer := range map[string]func(t *Tape, x *Var, w, b *Param, l *LowRank, m *Param) *Var{
				"linear": func(t *Tape, x *Var, w, b *Param, _ *LowRank, _ *Param) *Var { return t.Linear(x, w, b, layout) },
				"lora": func(t *Tape, x *Var, w, b *Param, l *LowRank, _ *Param) *Var {
					return t.Linears(x, LinearLayer{w, b, layout, l})[0]
				},
				"dora": func(t *Tape, x *Var, w, b *Param, l *LowRank, m *Param) *Var { return t.DoRA(x, w, b, layout, l, m) },
			} {
				t.Run(fmt.Sprintf("%s/layout %d/chunk %d", kind, layout, chunk), func(t *testing.T) {
					w := newWorld(t)
					rows, cols := 11, 13
					if layout == InOut {
						rows, cols = 13, 11
					}
					packed, dense := w.quantised("w", rows, cols)
					x, b, m := w.param("x", 0, 1, 5, 13), w.param("b", 0, 1, 11), w.param("m", 2, 0.3, 11)
					l := w.lowRank(3, 13, 11, 0)
					var want [][]float32
					for i, weight := range []*Param{dense, packed} {
						tape := NewTape(w.b)
						tape.chunkWeight = chunk
						for _, p := range w.params {
							p.Stale = true
						}
						var y []float32
						err := tape.Step("quantised", tensor.RNGKey{}, func() {
							o := layer(tape, w.input(tape, x), weight, b, l, m)
							y = w.get(o.Value)
							g, _ := tape.gradOut(o)
							if err := w.b.Upload(g, bytesOf(y)); err != nil {
								t.Fatal(err)
							}
						})
						if err != nil {
							t.Fatal(err)
						}
						got := [][]float32{y}
						for _, p := range w.params {
							if !p.Stale {
								got = append(got, w.get(p.Grad))
							}
						}
						if i == 0 {
							want = got
							continue
						}
						for k := range want {
							for j := range want[k] {
								if !(math.Abs(float64(got[k][j]-want[k][j])) <= 2e-5*math.Max(1, math.Abs(float64(want[k][j])))) {
									t.Fatalf("result %d, element %d: %g, with the decoded weight %g", k, j, got[k][j], want[k][j])
								}
							}
						}
					}
				})
			}
		}
	}
}

// While a tape drafts, layers compute with what their weights were rounded to, in either layout, with a bias and an adapter; others with
// their weights.
func TestDraftsEqualRoundedLayers(t *testing.T) {
	w := newWorld(t)
	d, ok := w.b.(tensor.Drafter)
	if !ok || d.DraftRows(false) == 0 {
		t.Skip("this CPU, or this build, has no products with weights in 8 bits")
	}
	x, b := w.param("x", 0, 1, 3, 13), w.param("b", 0, 1, 11)
	first, second, whole := w.frozen("first", 11, 13), w.frozen("second", 13, 5), w.frozen("whole", 4, 13)
	layers := []LinearLayer{{first, b, OutIn, w.lowRank(4, 13, 11, 0)}, {second, nil, InOut, nil}, {whole, nil, OutIn, nil}}
	rounded := slices.Clone(layers)
	for i := range 2 {
		p := layers[i].W
		rows, cols := p.Shape[0], p.Shape[1]
		if layers[i].Layout == InOut {
			rows, cols = cols, rows
		}
		codes := make([]byte, rows*cols)
		q := tensor.Int8Rows{Codes: w.upload(tensor.I8, codes, rows, cols), Scales: w.floats(1, rows)}
		if err := d.EncodeInt8(q, p.Value, layers[i].Layout == InOut); err != nil {
			t.Fatal(err)
		}
		p.Draft = &q
		if err := w.b.Download(codes, q.Codes); err != nil {
			t.Fatal(err)
		}
		scales, values := w.get(q.Scales), make([]float32, rows*cols)
		for j, c := range codes {
			values[j] = float32(int8(c)) * scales[j/cols]
		}
		rounded[i].W, rounded[i].Layout = &Param{Name: p.Name, Shape: []int{rows, cols}, Value: w.upload(tensor.F32, bytesOf(values), rows, cols)}, OutIn
	}
	run := func(drafting bool, layers []LinearLayer) (all []float32) {
		tape := NewTape(w.b)
		tape.Drafting = drafting
		if err := tape.Run("draft", func() {
			for _, y := range tape.Linears(w.input(tape, x), layers...) {
				all = append(all, w.get(y.Value)...)
			}
		}); err != nil {
			t.Fatal(err)
		}
		return all
	}
	want, plain := run(false, rounded), run(false, layers)
	differ := 0
	for i, got := range run(true, layers) {
		if !(math.Abs(float64(got-want[i])) <= 2e-5*math.Max(1, math.Abs(float64(want[i])))) {
			t.Fatalf("element %d: %g, want %g", i, got, want[i])
		}
		if got != plain[i] {
			differ++
		}
	}
	if most := 3 * (11 + 5); differ < most/2 || differ > most {
		t.Errorf("%d elements are not those of the weights themselves, at most %d can be, and most should", differ, most)
	}
}
