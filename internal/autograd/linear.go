package autograd

import "github.com/mltrain/mltrain/internal/tensor"

// LinearLayer is y = x·Wᵀ + b for x [R,in], or x·W + b under InOut, plus Scale·B·A·dropout(x) of a LowRank.
type LinearLayer struct {
	W, B    *Param // B may be nil
	Layout  Layout
	LowRank *LowRank // or nil
}

// Linear computes one layer without a LowRank.
func (t *Tape) Linear(x *Var, w, b *Param, layout Layout) *Var {
	return t.Linears(x, LinearLayer{W: w, B: b, Layout: layout})[0]
}

// Linears computes several layers of one input. What multiplies x, every W and A, does so together where the backend can, and in the
// backward pass what multiplies the gradient of each output: W and B.
func (t *Tape) Linears(x *Var, layers ...LinearLayer) []*Var {
	outs := make([]*Var, len(layers))
	products := make([]tensor.GemmPart, 0, 2*len(layers))
	rows := x.Value.Rows()
	for i, l := range layers {
		t.use("linear", x)
		in, out := t.linearShape(x, l.W, l.Layout)
		y := t.Alloc(t.ActDType, rows, out)
		outs[i] = t.new(y, t.trains(l.W, l.B) || x.needs)
		if l.W.Quant != nil { // W is decoded in parts
			t.weightMul(y, x.Value, l.W, l.B, l.Layout, 0)
			continue
		}
		s := tensor.GemmSpec{M: rows, N: out, K: in, LDA: in, LDB: l.W.Shape[1], LDC: out, TransB: l.Layout == OutIn, Alpha: 1}
		p := tensor.GemmPart{GemmSpec: s, C: y, B: l.W.Value}
		if l.B != nil {
			p.Bias = l.B.Value
		}
		products = append(products, p)
	}
	hidden := make([]tensor.Tensor, len(layers)) // A·x
	for i, l := range layers {
		if l.LowRank == nil || t.drops(l.LowRank) {
			continue
		}
		t.checkLowRank(l.LowRank, x.Value, outs[i].Value)
		hidden[i] = t.Alloc(t.ActDType, rows, l.LowRank.Rank())
		products = append(products, l.LowRank.down(x.Value, hidden[i]))
		outs[i].needs = outs[i].needs || t.trains(l.LowRank.A, l.LowRank.B)
	}
	t.gemmShared(x.Value, products...)
	for i, l := range layers {
		y, h := outs[i], hidden[i]
		if !h.IsZero() {
			t.mulT(y.Value, h, l.LowRank.B.Value, l.LowRank.Scale, 1)
		}
		t.record(y, func() { t.linearBwd(x, y, l, h) })
		if l.LowRank != nil && h.IsZero() {
			outs[i] = t.LowRank(y, x, l.LowRank)
		}
	}
	return outs
}

// linearBwd is the backward pass of one layer, whose correction made h of x if h is not absent.
func (t *Tape) linearBwd(x, y *Var, l LinearLayer, h tensor.Tensor) {
	dy := y.take()
	if dy == nil {
		return
	}
	if l.B.Trainable() {
		t.check(t.b.Reduce(tensor.ReduceSum, t.sum(l.B), dy.t, 0, true))
	}
	if l.W.Trainable() {
		t.weightGrad(l.W, dy.t, x.Value, l.Layout)
	}
	low := l.LowRank
	if h.IsZero() {
		low = nil
	}
	var dh *block
	products := make([]tensor.GemmPart, 0, 2)
	if low != nil {
		if low.B.Trainable() {
			t.mulAcc(low.B, dy.t, h, low.Scale)
		}
		if x.needs || low.A.Trainable() {
			dh = t.scratchLike(h)
		}
	}
	var g tensor.Tensor
	if x.needs {
		var acc bool
		g, acc = t.gradOut(x)
		if l.W.Quant != nil {
			t.weightMulBwd(g, dy.t, l.W, l.Layout, b2f(acc))
		} else {
			s := tensor.GemmSpec{M: g.Rows(), N: g.Cols(), K: dy.t.Cols(), LDA: dy.t.Cols(), LDB: l.W.Shape[1], LDC: g.Cols(), TransB: l.Layout == InOut, Alpha: 1, Beta: b2f(acc)}
			products = append(products, tensor.GemmPart{GemmSpec: s, C: g, B: l.W.Value})
		}
	}
	if dh != nil {
		r, out := low.Rank(), dy.t.Cols()
		s := tensor.GemmSpec{M: dy.t.Rows(), N: r, K: out, LDA: out, LDB: r, LDC: r, Alpha: low.Scale}
		products = append(products, tensor.GemmPart{GemmSpec: s, C: dh.t, B: low.B.Value})
	}
	if len(products) > 0 {
		t.gemmShared(dy.t, products...)
	}
	if dh != nil {
		if x.needs {
			t.mul(g, dh.t, low.A.Value, 1, 1)
		}
		if low.A.Trainable() {
			t.mulAcc(low.A, dh.t, x.Value, 1)
		}
		t.pool.release(dh)
	}
	t.pool.release(dy)
}
