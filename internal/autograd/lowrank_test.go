package autograd

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"github.com/mltrain/mltrain/internal/tensor"
)

// lowRank makes trainable A and B for an [out,in] matrix.
func (w *world) lowRank(r, in, out int, dropout float32) *LowRank {
	return &LowRank{A: w.param("A", 0, 1, r, in), B: w.param("B", 0, 1, out, r), Scale: 0.7, Dropout: dropout}
}

// frozen makes a parameter without a gradient.
func (w *world) frozen(name string, shape ...int) *Param {
	return &Param{Name: name, Shape: shape, Value: w.floats(1, shape...)}
}

// lowRankCases are those of a linear layer with a correction, however it is made.
func lowRankCases(linear func(t *Tape, x *Var, w, b *Param, layout Layout, l *LowRank) *Var) (cases []gradCase) {
	for _, dropout := range []float32{0, 0.4} {
		cases = append(cases, gradCase{fmt.Sprintf("on a frozen layer, dropout %g", dropout), func(w *world) func(*Tape) ([]*Var, float64) {
			x, base, b := w.param("x", 0, 1, 5, 7), w.frozen("w", 3, 7), w.param("b", 0, 1, 3)
			l := w.lowRank(2, 7, 3, dropout)
			return func(t *Tape) ([]*Var, float64) {
				v := w.input(t, x)
				return one(linear(t, v, base, b, OutIn, l))
			}
		}})
	}
	return append(cases,
		gradCase{"followed by an operation that works in its memory", func(w *world) func(*Tape) ([]*Var, float64) {
			x, base := w.param("x", 0, 1, 5, 4), w.frozen("w", 4, 6)
			l, l2 := w.lowRank(2, 4, 6, 0.3), w.lowRank(3, 4, 6, 0)
			return func(t *Tape) ([]*Var, float64) {
				v := w.input(t, x)
				up := linear(t, v, base, nil, InOut, l2)
				return one(t.Gate(tensor.OpSiLU, linear(t, v, base, nil, InOut, l), up))
			}
		}},
		gradCase{"of an embedding", func(w *world) func(*Tape) ([]*Var, float64) {
			table, ids := w.frozen("table", 5, 3), w.ints(4, 0, 4, 2, 1, 3)
			table.LowRank = &LowRank{A: w.param("A", 0, 1, 5, 2), B: w.param("B", 0, 1, 3, 2), Scale: 0.7}
			return func(t *Tape) ([]*Var, float64) { return one(t.Embedding(table, ids, -1)) }
		}},
	)
}

// linearsCase is three layers of one input: trained, with an adapter, and frozen, of which one is used twice.
func linearsCase() gradCase {
	return gradCase{"three layers", func(w *world) func(*Tape) ([]*Var, float64) {
		x, trained, b := w.param("x", 0, 1, 5, 7), w.param("w", 0, 1, 3, 7), w.param("b", 0, 1, 3)
		first, second := w.frozen("w1", 7, 3), w.frozen("w2", 3, 7)
		l, dropped := w.lowRank(2, 7, 3, 0), w.lowRank(2, 7, 3, 0.4)
		return func(t *Tape) ([]*Var, float64) {
			y := t.Linears(w.input(t, x), LinearLayer{trained, b, OutIn, nil}, LinearLayer{first, nil, InOut, l}, LinearLayer{second, nil, OutIn, dropped})
			return one(t.Add(t.Mul(y[0], y[1]), t.Mul(y[1], y[2])))
		}
	}}
}

// The norm of DoRA's weight is a constant in the backward pass, so differences agree only where it is one: for the input, the
// bias and the magnitudes. A and B are compared with a reference in TestDoRAGradientOfAAndB.
func doraCases() (cases []gradCase) {
	for _, layout := range []Layout{OutIn, InOut} {
		for _, dropout := range []float32{0, 0.4} {
			cases = append(cases, gradCase{fmt.Sprintf("layout %d, dropout %g", layout, dropout), func(w *world) func(*Tape) ([]*Var, float64) {
				shape := []int{3, 7}
				if layout == InOut {
					shape = []int{7, 3}
				}
				x, base, b, m := w.param("x", 0, 1, 5, 7), w.frozen("w", shape...), w.param("b", 0, 1, 3), w.param("m", 2, 1, 3)
				l := &LowRank{A: w.frozen("A", 2, 7), B: w.frozen("B", 3, 2), Scale: 0.7, Dropout: dropout}
				return func(t *Tape) ([]*Var, float64) { return one(t.DoRA(w.input(t, x), base, b, layout, l, m)) }
			}})
		}
	}
	return cases
}

// With m at the length of the rows, g is 1 and the gradients of A and B are those of LoRA.
func TestDoRAGradientOfAAndB(t *testing.T) {
	w := newWorld(t)
	x, base := w.floats(1, 5, 7), w.frozen("w", 3, 7)
	l := w.lowRank(2, 7, 3, 0)
	m := &Param{Name: "m", Shape: []int{3}, Value: w.floats(0, 3), Grad: w.floats(0, 3)}
	tape := NewTape(w.b)
	raw := make([]byte, 12)
	if err := tape.RowNorms(base, OutIn, l, raw); err != nil {
		t.Fatal(err)
	}
	wv, av, bv := w.get(base.Value), w.get(l.A.Value), w.get(l.B.Value)
	for o := range 3 {
		var sum float64
		for i := range 7 {
			v := float64(wv[o*7+i])
			for k := range 2 {
				v += 0.7 * float64(bv[o*2+k]) * float64(av[k*7+i])
			}
			sum += v * v
		}
		if got := math.Float32frombits(binary.LittleEndian.Uint32(raw[4*o:])); math.Abs(float64(got)-math.Sqrt(sum)) > 1e-5*math.Sqrt(sum) {
			t.Errorf("row %d has length %g, want %g", o, got, math.Sqrt(sum))
		}
	}
	if err := w.b.Upload(m.Value, raw); err != nil {
		t.Fatal(err)
	}
	dy := bytesOf(w.get(w.floats(1, 5, 3)))
	grads := func(build func() *Var) (a, b []float32) {
		for _, p := range []*Param{l.A, l.B} {
			if err := w.b.Zero(p.Grad); err != nil {
				t.Fatal(err)
			}
		}
		err := tape.Step("dora", tensor.RNGKey{}, func() {
			g, _ := tape.gradOut(build())
			if err := w.b.Upload(g, dy); err != nil {
				t.Fatal(err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		return w.get(l.A.Grad), w.get(l.B.Grad)
	}
	a1, b1 := grads(func() *Var { return tape.DoRA(tape.Const(x), base, nil, OutIn, l, m) })
	a2, b2 := grads(func() *Var {
		v := tape.Const(x)
		return tape.Linears(v, LinearLayer{base, nil, OutIn, l})[0]
	})
	for name, pair := range map[string][2][]float32{"A": {a1, a2}, "B": {b1, b2}} {
		for i := range pair[0] {
			if d := pair[0][i] - pair[1][i]; math.Abs(float64(d)) > 1e-4 {
				t.Errorf("gradient of %s[%d] is %g with DoRA, %g with LoRA", name, i, pair[0][i], pair[1][i])
			}
		}
	}
}
