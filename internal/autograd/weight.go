package autograd

import "github.com/mltrain/mltrain/internal/tensor"

// What a linear layer does with its weight, in whatever form that is stored.

// linearShape returns the sides of a linear layer's weight after checking them against x.
func (t *Tape) linearShape(x *Var, w *Param, layout Layout) (in, out int) {
	in, out = x.Value.Cols(), w.Shape[0]
	if layout == InOut {
		out = w.Shape[1]
	}
	if len(w.Shape) != 2 || w.Shape[0]+w.Shape[1] != in+out {
		t.failf("input %v, weight %s %v", x.Value, w.Name, w.Shape)
	}
	return in, out
}

// weightMul computes y = x·Wᵀ + b + beta·y; b may be nil.
func (t *Tape) weightMul(y, x tensor.Tensor, w, b *Param, layout Layout, beta float32) {
	var bias tensor.Tensor
	if b != nil {
		bias = b.Value
	}
	m, k, n := x.Rows(), x.Cols(), y.Cols()
	s := tensor.GemmSpec{M: m, N: n, K: k, LDA: k, LDB: w.Shape[1], LDC: n, TransB: layout == OutIn, Alpha: 1, Beta: beta}
	t.check(t.b.Gemm(s, y, x, w.Value, bias))
}

// weightMulBwd computes g = dy·W + beta·g.
func (t *Tape) weightMulBwd(g, dy tensor.Tensor, w *Param, layout Layout, beta float32) {
	m, k, n := dy.Rows(), dy.Cols(), g.Cols()
	s := tensor.GemmSpec{M: m, N: n, K: k, LDA: k, LDB: w.Shape[1], LDC: n, TransB: layout == InOut, Alpha: 1, Beta: beta}
	t.check(t.b.Gemm(s, g, dy, w.Value, tensor.Tensor{}))
}

// weightDense writes W to v.
func (t *Tape) weightDense(v tensor.Tensor, w *Param) { t.check(t.b.Copy(v, w.Value)) }
