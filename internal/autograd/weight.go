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

// chunkWeight bounds the elements of a quantised weight that exist decoded at one time.
const chunkWeight = 8 << 20

// weightRows calls fn with the rows lo … hi−1 of W: once with all of them, or chunk by chunk, decoded to dt, if it is quantised.
func (t *Tape) weightRows(w *Param, dt tensor.DType, fn func(lo, hi int, rows tensor.Tensor)) {
	if w.Quant == nil {
		fn(0, w.Shape[0], w.Value)
		return
	}
	b := t.weightScratch(w, dt)
	rows, n := w.Shape[0], b.t.Rows()
	for lo := 0; lo < rows; lo += n {
		hi := min(lo+n, rows)
		part := b.t.RowRange(0, hi-lo)
		t.check(t.b.Dequant(part, *w.Quant, lo))
		fn(lo, hi, part)
	}
	t.pool.release(b)
}

// weightScratch returns room for a chunk of decoded rows of W: the fewest chunks that are equally long and not too large.
func (t *Tape) weightScratch(w *Param, dt tensor.DType) *block {
	rows, cols := w.Shape[0], w.Shape[1]
	limit := chunkWeight
	if t.chunkWeight > 0 {
		limit = t.chunkWeight
	}
	most := max(1, limit/cols)
	n := (rows + (rows+most-1)/most - 1) / ((rows + most - 1) / most)
	return t.scratch(dt, n, cols)
}

// weightMulFew computes y = x·Wᵀ + bias + beta·y without decoding W, where the backend can and x has few rows.
func (t *Tape) weightMulFew(y, x tensor.Tensor, w *Param, bias tensor.Tensor, beta float32) bool {
	m, ok := t.b.(tensor.Quant4Multiplier)
	if !ok || w.Quant == nil || x.Rows() > m.MulQuant4Rows(x.DType) {
		return false
	}
	t.check(m.MulQuant4(y, x, *w.Quant, bias, beta))
	// A program takes the same memory whatever the number of rows.
	t.pool.release(t.weightScratch(w, x.DType))
	return true
}

// weightSpec is the product of an [m,k] matrix with W or its transpose, or with rows of it.
func weightSpec(m, n, k int, w *Param, transB bool, beta float32) tensor.GemmSpec {
	return tensor.GemmSpec{M: m, N: n, K: k, LDA: k, LDB: w.Shape[1], LDC: n, TransB: transB, Alpha: 1, Beta: beta}
}

// weightMul computes y = x·Wᵀ + b + beta·y; b may be nil.
func (t *Tape) weightMul(y, x tensor.Tensor, w, b *Param, layout Layout, beta float32) {
	var bias tensor.Tensor
	if b != nil {
		bias = b.Value
	}
	if layout == OutIn && t.weightMulFew(y, x, w, bias, beta) {
		return
	}
	m, k, n := x.Rows(), x.Cols(), y.Cols()
	t.weightRows(w, x.DType, func(lo, hi int, rows tensor.Tensor) {
		s := weightSpec(m, n, k, w, layout == OutIn, beta)
		if layout == OutIn { // rows of W are columns of y
			part := bias
			if b != nil {
				part = bias.Slice(lo, hi)
			}
			s.N = hi - lo
			t.gemm(s, from(y, lo), x, rows, part)
			return
		}
		s.K = hi - lo
		t.gemm(s, y, from(x, lo), rows, bias)
		beta, bias = 1, tensor.Tensor{}
	})
}

// weightMulBwd computes g = dy·W + beta·g.
func (t *Tape) weightMulBwd(g, dy tensor.Tensor, w *Param, layout Layout, beta float32) {
	m, k, n := dy.Rows(), dy.Cols(), g.Cols()
	t.weightRows(w, dy.DType, func(lo, hi int, rows tensor.Tensor) {
		s := weightSpec(m, n, k, w, layout == InOut, beta)
		if layout == InOut {
			s.N = hi - lo
			t.gemm(s, from(g, lo), dy, rows, tensor.Tensor{})
			return
		}
		s.K = hi - lo
		t.gemm(s, g, from(dy, lo), rows, tensor.Tensor{})
		beta = 1
	})
}

// weightDense writes W to v.
func (t *Tape) weightDense(v tensor.Tensor, w *Param) {
	if w.Quant != nil {
		t.check(t.b.Dequant(v, *w.Quant, 0))
		return
	}
	t.check(t.b.Copy(v, w.Value))
}
