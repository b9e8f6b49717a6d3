package autograd

import "github.com/mltrain/mltrain/internal/tensor"

// DoRA computes a linear layer whose weight is W + Scale·B·A with each row scaled to the length m (Liu et al., 2024, "DoRA:
// Weight-Decomposed Low-Rank Adaptation"), as PEFT does: with g = m/‖W + Scale·B·A‖ by row, the norm taken as a constant in
// the backward pass, and d = dropout(x),
//
//	y = x·Wᵀ + b − d·Wᵀ + g·(d·Wᵀ + Scale·B·A·d)
//
// which without dropout is g·(x·Wᵀ + Scale·B·A·x) + b. w is frozen; b may be nil; m is [out]. Kept for the backward pass are
// x, A·d, and the sum in brackets [R,out]. The weight is needed whole in float32 for its norm, as scratch.
func (t *Tape) DoRA(x *Var, w, b *Param, layout Layout, l *LowRank, m *Param) *Var {
	t.use("dora", x)
	in, out := t.linearShape(x, w, layout)
	if l.A.Shape[1] != in || l.B.Shape[0] != out || m.Shape[0] != out {
		t.failf("input %v, weight %v, A %v, B %v, magnitude %v", x.Value, w.Shape, l.A.Shape, l.B.Shape, m.Shape)
	}
	if w.Trainable() {
		t.failf("weight %s is trained itself", w.Name)
	}
	rows := x.Value.Rows()
	inv, gain := t.Alloc(tensor.F32, out), t.Alloc(tensor.F32, out)
	t.rowNorms(inv, w, layout, l)
	t.check(t.b.Unary(tensor.OpRsqrt, 0, inv, inv))
	t.check(t.b.Binary(tensor.OpMul, gain, m.Value, inv, false))

	drop := t.dropper(l.Dropout)
	h, z, y := t.Alloc(t.ActDType, rows, l.Rank()), t.Alloc(t.ActDType, rows, out), t.Alloc(t.ActDType, rows, out)
	drop.with(t, x.Value, func(xd tensor.Tensor) {
		t.mulT(h, xd, l.A.Value, 1, 0)
		t.weightMul(z, xd, w, nil, layout, 0)
	})
	if drop.p > 0 {
		t.weightMul(y, x.Value, w, nil, layout, 0)
		t.check(t.b.Binary(tensor.OpSub, y, y, z, false))
	}
	t.mulT(z, h, l.B.Value, l.Scale, 1)
	t.check(t.b.Binary(tensor.OpMul, y, z, gain, drop.p > 0))
	if b != nil {
		t.check(t.b.Binary(tensor.OpAdd, y, y, b.Value, false))
	}
	o := t.new(y, t.trains(l.A, l.B, m, b) || x.needs)
	t.record(o, func() {
		dy := o.take()
		if dy == nil {
			return
		}
		if b.Trainable() {
			t.check(t.b.Reduce(tensor.ReduceSum, t.sum(b), dy.t, 0, true))
		}
		if m.Trainable() {
			tmp, col := t.scratchLike(z), t.scratchLike(inv)
			t.check(t.b.Binary(tensor.OpMul, tmp.t, dy.t, z, false))
			t.check(t.b.Reduce(tensor.ReduceSum, col.t, tmp.t, 0, false))
			t.check(t.b.Binary(tensor.OpMul, t.sum(m), col.t, inv, true))
			t.pool.release(tmp)
			t.pool.release(col)
		}
		if x.needs && drop.p > 0 {
			g, acc := t.gradOut(x)
			t.weightMulBwd(g, dy.t, w, layout, b2f(acc))
		}
		// dz = g·dy, and through W the dropped-out input also gets −dy where there is dropout.
		dz := t.scratchLike(z)
		t.check(t.b.Binary(tensor.OpMul, dz.t, dy.t, gain, false))
		t.lowRankBwd(l, drop, x, h, dz.t, func(gd tensor.Tensor) {
			if drop.p > 0 {
				t.check(t.b.Binary(tensor.OpSub, dz.t, dz.t, dy.t, false))
			}
			t.weightMulBwd(gd, dz.t, w, layout, 1)
		})
		t.pool.release(dz)
		t.pool.release(dy)
	})
	return o
}

// rowNorms writes the squared length of each output's weights in W + Scale·B·A to sq [out].
func (t *Tape) rowNorms(sq tensor.Tensor, w *Param, layout Layout, l *LowRank) {
	v := t.scratch(tensor.F32, w.Shape...)
	t.correct(v.t, w, layout, l)
	axis := 1
	if layout == InOut {
		axis = 0
	}
	t.check(t.b.Reduce(tensor.ReduceSumSq, sq, v.t, axis, false))
	t.pool.release(v)
}

// correct writes W + Scale·B·A to v.
func (t *Tape) correct(v tensor.Tensor, w *Param, layout Layout, l *LowRank) {
	t.weightDense(v, w)
	out, in, r := l.B.Shape[0], l.A.Shape[1], l.Rank()
	s := tensor.GemmSpec{M: out, N: in, K: r, LDA: r, LDB: in, LDC: in, Alpha: l.Scale, Beta: 1}
	a, b := l.B.Value, l.A.Value
	if layout == InOut {
		s = tensor.GemmSpec{TransA: true, TransB: true, M: in, N: out, K: r, LDA: in, LDB: r, LDC: out, Alpha: l.Scale, Beta: 1}
		a, b = l.A.Value, l.B.Value
	}
	t.gemm(s, v, a, b, tensor.Tensor{})
}

// RowNorms writes ‖W + Scale·B·A‖ by row to norms [out] on the host: the magnitudes that a new DoRA adapter starts from.
func (t *Tape) RowNorms(w *Param, layout Layout, l *LowRank, norms []byte) error {
	return t.Run("row norms", func() {
		t.use("row norms")
		out := l.B.Shape[0]
		sq, inv := t.Alloc(tensor.F32, out), t.Alloc(tensor.F32, out)
		t.rowNorms(sq, w, layout, l)
		t.check(t.b.Unary(tensor.OpRsqrt, 0, inv, sq))
		t.check(t.b.Binary(tensor.OpMul, sq, sq, inv, false))
		t.check(t.b.Download(norms, sq))
	})
}
