package autograd

import "github.com/mltrain/mltrain/internal/tensor"

// Scores computes y = x·Wᵀ for x [R,C], w [N,C] in float32, whatever the type of activations: for heads so narrow that a loss is
// computed from their values on the host, which hands its gradient to Seed.
func (t *Tape) Scores(x *Var, w *Param) *Var {
	t.use("scores", x)
	rows, c := x.Value.Rows(), x.Value.Cols()
	if len(w.Shape) != 2 || w.Shape[1] != c {
		t.failf("input %v, weight %s %v", x.Value, w.Name, w.Shape)
	}
	n := w.Shape[0]
	y := t.Alloc(tensor.F32, rows, n)
	t.gemm(tensor.GemmSpec{M: rows, N: n, K: c, LDA: c, LDB: c, LDC: n, TransB: true, Alpha: 1}, y, x.Value, w.Value, tensor.Tensor{})
	out := t.new(y, t.trains(w) || x.needs)
	t.record(out, func() {
		dy := out.take()
		if dy == nil {
			return
		}
		if x.Value.DType != tensor.F32 { // so that the products are of one type
			rounded := t.scratch(x.Value.DType, rows, n)
			t.check(t.b.Copy(rounded.t, dy.t))
			t.pool.release(dy)
			dy = rounded
		}
		if w.Trainable() {
			t.weightGrad(w, dy.t, x.Value, OutIn)
		}
		if x.needs {
			g, acc := t.gradOut(x)
			s := tensor.GemmSpec{M: rows, N: c, K: n, LDA: n, LDB: c, LDC: c, Alpha: 1, Beta: b2f(acc)}
			t.gemm(s, g, dy.t, w.Value, tensor.Tensor{})
		}
		t.pool.release(dy)
	})
	return out
}

// Seed adds dy, of y's shape and type, to the gradient of the loss by y, where the loss is computed outside of the tape. In a
// program that records no gradient it does nothing.
func (t *Tape) Seed(y *Var, dy tensor.Tensor) {
	t.use("seed", y)
	if dy.Len() != y.Value.Len() || dy.DType != y.Value.DType {
		t.failf("value %v, gradient %v", y.Value, dy)
	}
	if !y.needs {
		return
	}
	g, acc := t.gradOut(y)
	if acc {
		t.check(t.b.Binary(tensor.OpAdd, g, g, dy, false))
		return
	}
	t.check(t.b.Copy(g, dy))
}
