package autograd

import "github.com/mltrain/mltrain/internal/tensor"

// LowRank is a trainable correction of a frozen matrix W: Scale·B·A (Hu et al., 2021, "LoRA").
type LowRank struct {
	A, B    *Param // [r, in] and [out, r], whatever W's layout
	Scale   float32
	Dropout float32 // on the input of A, in training
}

// Rank returns r.
func (l *LowRank) Rank() int { return l.B.Shape[1] }

// LowRank adds the correction to the layer's result: y + Scale·B·A·dropout(x), for x [R,in] and y [R,out]. It works in the
// memory of y, which must have no other consumer. Kept for the backward pass are x and A·x [R,r]; the dropped-out input is
// made again from its random key.
func (t *Tape) LowRank(y, x *Var, l *LowRank) *Var {
	t.takeOver("lora", y)
	t.use("lora", x)
	t.checkLowRank(l, x.Value, y.Value)
	drop := t.dropper(l.Dropout)
	h := t.Alloc(t.ActDType, x.Value.Rows(), l.Rank())
	drop.with(t, x.Value, func(xd tensor.Tensor) { t.mulT(h, xd, l.A.Value, 1, 0) })
	t.mulT(y.Value, h, l.B.Value, l.Scale, 1)
	o := t.new(y.Value, t.trains(l.A, l.B) || anyNeeds(x, y))
	t.record(o, func() {
		dy := o.take()
		if dy == nil {
			return
		}
		t.lowRankBwd(l, drop, x, h, dy.t, nil)
		t.giveOrDrop(y, dy)
	})
	return o
}

// drops tells whether dropout applies to the input of A, which then is another matrix than the layer's input.
func (t *Tape) drops(l *LowRank) bool { return t.training && l.Dropout > 0 }

func (t *Tape) checkLowRank(l *LowRank, x, y tensor.Tensor) {
	if l.A.Shape[0] != l.Rank() || l.A.Shape[1] != x.Cols() || l.B.Shape[0] != y.Cols() {
		t.failf("input %v, output %v, A %v, B %v", x, y, l.A.Shape, l.B.Shape)
	}
}

// lowRankBwd adds the gradients of A and B, and of x, for y = Scale·B·A·dropout(x). extra adds another contribution to the
// gradient of the dropped-out input.
func (t *Tape) lowRankBwd(l *LowRank, drop dropper, x *Var, h, dy tensor.Tensor, extra func(g tensor.Tensor)) {
	if l.B.Trainable() {
		t.mulAcc(l.B, dy, h, l.Scale)
	}
	if !l.A.Trainable() && !x.needs {
		return
	}
	dh := t.scratchLike(h)
	t.mul(dh.t, dy, l.B.Value, l.Scale, 0)
	t.downBwd(l, drop, x, dh, extra)
}

// downBwd adds the gradients of A, and of x, for h = A·dropout(x) from that of h, which it releases. extra is lowRankBwd's.
func (t *Tape) downBwd(l *LowRank, drop dropper, x *Var, dh *block, extra func(g tensor.Tensor)) {
	if l.A.Trainable() {
		drop.with(t, x.Value, func(xd tensor.Tensor) { t.mulAcc(l.A, dh.t, xd, 1) })
	}
	if x.needs {
		drop.back(t, x, func(g tensor.Tensor, beta float32) {
			t.mul(g, dh.t, l.A.Value, 1, beta)
			if extra != nil {
				extra(g)
			}
		})
	}
	t.pool.release(dh)
}

// dropper is one use of dropout whose result is not kept.
type dropper struct {
	p   float32
	key tensor.RNGKey
}

// dropper takes the next random key, in training.
func (t *Tape) dropper(p float32) dropper {
	if p == 0 || !t.training {
		return dropper{}
	}
	return dropper{p, t.nextKey()}
}

// with calls fn with dropout(x).
func (d dropper) with(t *Tape, x tensor.Tensor, fn func(xd tensor.Tensor)) {
	if d.p == 0 {
		fn(x)
		return
	}
	tmp := t.scratchLike(x)
	t.check(t.b.Dropout(tmp.t, x, d.p, d.key, false))
	fn(tmp.t)
	t.pool.release(tmp)
}

// back adds to x's gradient what fn computes of the gradient of dropout(x): fn writes g = … + beta·g.
func (d dropper) back(t *Tape, x *Var, fn func(g tensor.Tensor, beta float32)) {
	g, acc := t.gradOut(x)
	if d.p == 0 {
		fn(g, b2f(acc))
		return
	}
	tmp := t.scratchLike(x.Value)
	fn(tmp.t, 0)
	t.check(t.b.Dropout(g, tmp.t, d.p, d.key, acc))
	t.pool.release(tmp)
}

// mulT computes y = alpha·x·Wᵀ + beta·y for x [R,in], w [out,in].
func (t *Tape) mulT(y, x, w tensor.Tensor, alpha, beta float32) {
	p := timesT(y, x, w, alpha, beta)
	t.gemm(p.GemmSpec, p.C, x, p.B, p.Bias)
}

// timesT is the product of mulT.
func timesT(y, x, w tensor.Tensor, alpha, beta float32) tensor.GemmPart {
	m, k, n := x.Rows(), x.Cols(), w.Dim(0)
	s := tensor.GemmSpec{M: m, N: n, K: k, LDA: k, LDB: k, LDC: n, TransB: true, Alpha: alpha, Beta: beta}
	return tensor.GemmPart{GemmSpec: s, C: y, B: w}
}

// mul computes y = alpha·x·W + beta·y for x [R,k], w [k,n].
func (t *Tape) mul(y, x, w tensor.Tensor, alpha, beta float32) {
	p := times(y, x, w, alpha, beta)
	t.gemm(p.GemmSpec, p.C, x, p.B, p.Bias)
}

// times is the product of mul.
func times(y, x, w tensor.Tensor, alpha, beta float32) tensor.GemmPart {
	m, k, n := x.Rows(), x.Cols(), w.Dim(1)
	s := tensor.GemmSpec{M: m, N: n, K: k, LDA: k, LDB: n, LDC: n, Alpha: alpha, Beta: beta}
	return tensor.GemmPart{GemmSpec: s, C: y, B: w}
}

// mulAcc adds alpha·aᵀ·b to p's gradient, for a [R,m] and b [R,n].
func (t *Tape) mulAcc(p *Param, a, b tensor.Tensor, alpha float32) {
	m, n := a.Cols(), b.Cols()
	s := tensor.GemmSpec{TransA: true, M: m, N: n, K: a.Rows(), LDA: m, LDB: n, LDC: n, Alpha: alpha, Beta: p.sumBeta()}
	t.gemm(s, p.Grad, a, b, tensor.Tensor{})
}

// embedLowRank adds Scale·B·A[:,ids] to the rows y of an embedding and returns how to run the backward pass. A is held
// transposed, [V,r].
func (t *Tape) embedLowRank(y tensor.Tensor, l *LowRank, ids tensor.Tensor, padding int) (backward func(dy tensor.Tensor)) {
	h := t.Alloc(t.ActDType, ids.Len(), l.Rank())
	t.check(t.b.Gather(h, l.A.Value, ids))
	t.mulT(y, h, l.B.Value, l.Scale, 1)
	return func(dy tensor.Tensor) {
		if l.B.Trainable() {
			t.mulAcc(l.B, dy, h, l.Scale)
		}
		if l.A.Trainable() {
			dh := t.scratchLike(h)
			t.mul(dh.t, dy, l.B.Value, l.Scale, 0)
			t.scatterRows(t.sum(l.A), dh.t, ids, padding)
			t.pool.release(dh)
		}
	}
}
