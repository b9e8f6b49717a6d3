package autograd

import "github.com/mltrain/mltrain/internal/tensor"

// Merged calls fn with the float32 weight that a layer and its correction come to: W + Scale·B·A, with rows scaled to the
// length m if that is not nil (DoRA). The tensor is valid inside fn only.
func (t *Tape) Merged(w *Param, layout Layout, l *LowRank, m *Param, fn func(v tensor.Tensor) error) error {
	return t.Run("merge", func() {
		t.use("merge")
		v := t.scratch(tensor.F32, w.Shape...)
		if w.LowRank == l {
			t.weightDense(v.t, w)
			t.mulT(v.t, l.A.Value, l.B.Value, l.Scale, 1)
		} else {
			t.correct(v.t, w, layout, l)
		}
		if m != nil {
			out, axis := l.B.Shape[0], 1
			if layout == InOut {
				axis = 0
			}
			gain := t.Alloc(tensor.F32, out)
			t.check(t.b.Reduce(tensor.ReduceSumSq, gain, v.t, axis, false))
			t.check(t.b.Unary(tensor.OpRsqrt, 0, gain, gain))
			t.check(t.b.Binary(tensor.OpMul, gain, gain, m.Value, false))
			if layout == OutIn {
				gain = gain.View(out, 1)
			}
			t.check(t.b.Binary(tensor.OpMul, v.t, v.t, gain, false))
		}
		t.check(fn(v.t))
		t.pool.release(v)
	})
}
