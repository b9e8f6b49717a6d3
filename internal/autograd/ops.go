package autograd

import "github.com/mltrain/mltrain/internal/tensor"

// Layout says how a linear layer's weight is stored.
type Layout uint8

// Weight layouts.
const (
	OutIn Layout = iota // [out, in], as torch.nn.Linear
	InOut               // [in, out], as GPT-2's Conv1D
)

// Embedding looks rows up: y[i] = table[ids[i]], table [V,C], ids int32 [R], y [R,C]. The row padding gets no gradient, as
// with padding_idx of torch.nn.Embedding; a negative padding stands for none. The table's LowRank is added, if it has one.
func (t *Tape) Embedding(table *Param, ids tensor.Tensor, padding int) *Var {
	t.use("embedding")
	y := t.Alloc(t.ActDType, ids.Len(), table.Shape[1])
	t.check(t.b.Gather(y, table.Value, ids))
	needs := t.trains(table)
	lowRankBwd := func(tensor.Tensor) {}
	if l := table.LowRank; l != nil && !t.unadapted {
		needs = t.trains(l.A, l.B) || needs
		lowRankBwd = t.embedLowRank(y, l, ids, padding)
	}
	out := t.new(y, needs)
	t.record(out, func() {
		dy := out.take()
		if dy == nil {
			return
		}
		lowRankBwd(dy.t)
		if table.Trainable() {
			t.scatterRows(t.sum(table), dy.t, ids, padding)
		}
		if table.Tokens.trainable() {
			table.Tokens.lookupGrad(t, dy.t, ids, padding)
		}
		t.pool.release(dy)
	})
	return out
}

// scatterRows adds the rows of dy to those of grad that ids name, but for the row padding unless that is negative.
func (t *Tape) scatterRows(grad, dy, ids tensor.Tensor, padding int) {
	if padding < 0 {
		t.check(t.b.ScatterAdd(grad, dy, ids))
		return
	}
	row := grad.RowRange(padding, padding+1)
	kept := t.scratchLike(row)
	t.check(t.b.Copy(kept.t, row))
	t.check(t.b.ScatterAdd(grad, dy, ids))
	t.check(t.b.Copy(row, kept.t))
	t.pool.release(kept)
}

// Rows picks rows: y[i] = x[ids[i]].
func (t *Tape) Rows(x *Var, ids tensor.Tensor) *Var {
	t.use("rows", x)
	y := t.Alloc(x.Value.DType, ids.Len(), x.Value.Cols())
	t.check(t.b.Gather(y, x.Value, ids))
	out := t.new(y, x.needs)
	t.record(out, func() {
		dy := out.take()
		if dy == nil {
			return
		}
		g, acc := t.gradOut(x)
		if !acc {
			t.check(t.b.Zero(g))
		}
		t.check(t.b.ScatterAdd(g, dy.t, ids))
		t.pool.release(dy)
	})
	return out
}

// trains tells whether p is trainable, and remembers that the program met a trainable parameter.
func (t *Tape) trains(params ...*Param) bool {
	for _, p := range params {
		if p.Trainable() || p != nil && p.Tokens.trainable() {
			t.touched = true
			return true
		}
	}
	return false
}

// weightGrad adds dyᵀ·x (OutIn) or xᵀ·dy (InOut) to the weight's gradient.
func (t *Tape) weightGrad(w *Param, dy, x tensor.Tensor, layout Layout) {
	if layout == InOut {
		dy, x = x, dy
	}
	m, n := dy.Cols(), x.Cols()
	s := tensor.GemmSpec{TransA: true, M: m, N: n, K: dy.Rows(), LDA: m, LDB: n, LDC: n, Alpha: 1, Beta: w.sumBeta()}
	t.gemm(s, w.Grad, dy, x, tensor.Tensor{})
}

func b2f(b bool) float32 {
	if b {
		return 1
	}
	return 0
}

// Add computes x + y for values of one shape.
func (t *Tape) Add(x, y *Var) *Var {
	t.use("add", x, y)
	z := like(t, x.Value, x.Value.DType)
	t.check(t.b.Binary(tensor.OpAdd, z, x.Value, y.Value, false))
	out := t.new(z, anyNeeds(x, y))
	t.record(out, func() {
		dz := out.take()
		if dz == nil {
			return
		}
		for _, v := range []*Var{x, y} {
			if v.needs {
				dz.refs++
				t.give(v, dz)
			}
		}
		t.pool.release(dz)
	})
	return out
}

// Mul computes x·y element by element.
func (t *Tape) Mul(x, y *Var) *Var {
	t.use("mul", x, y)
	z := like(t, x.Value, x.Value.DType)
	t.check(t.b.Binary(tensor.OpMul, z, x.Value, y.Value, false))
	out := t.new(z, anyNeeds(x, y))
	t.record(out, func() {
		dz := out.take()
		if dz == nil {
			return
		}
		for _, v := range [][2]*Var{{x, y}, {y, x}} {
			if v[0].needs {
				g, acc := t.gradOut(v[0])
				t.check(t.b.Binary(tensor.OpMul, g, dz.t, v[1].Value, acc))
			}
		}
		t.pool.release(dz)
	})
	return out
}

// Unary computes op(x); k is the constant of OpScale and OpSoftcap.
func (t *Tape) Unary(op tensor.UnaryOp, k float32, x *Var) *Var {
	t.use(op.String(), x)
	y := like(t, x.Value, x.Value.DType)
	t.check(t.b.Unary(op, k, y, x.Value))
	out := t.new(y, x.needs)
	t.record(out, func() {
		dy := out.take()
		if dy == nil {
			return
		}
		if x.grad == nil && dy.refs == 1 {
			t.check(t.b.UnaryBwd(op, k, dy.t, dy.t, x.Value, false))
			x.grad = dy
			return
		}
		g, acc := t.gradOut(x)
		t.check(t.b.UnaryBwd(op, k, g, dy.t, x.Value, acc))
		t.pool.release(dy)
	})
	return out
}

// Scale computes k·x.
func (t *Tape) Scale(k float32, x *Var) *Var { return t.Unary(tensor.OpScale, k, x) }

// Gate computes op(gate)·up: SwiGLU with OpSiLU, GeGLU with OpGELUTanh.
func (t *Tape) Gate(op tensor.UnaryOp, gate, up *Var) *Var {
	t.use("gate", gate, up)
	r, c := gate.Value.Rows(), gate.Value.Cols()
	s := tensor.GateSpec{Op: op, Rows: r, Cols: c, StrideGate: c, StrideUp: c, StrideY: c}
	y := like(t, gate.Value, gate.Value.DType)
	t.check(t.b.Gate(s, y, gate.Value, up.Value))
	out := t.new(y, anyNeeds(gate, up))
	t.record(out, func() {
		dy := out.take()
		if dy == nil {
			return
		}
		dg, du := t.reuse(gate), t.reuse(up)
		t.check(t.b.GateBwd(s, dg.t, du.t, dy.t, gate.Value, up.Value))
		t.pool.release(dy)
		t.giveOrDrop(gate, dg)
		t.giveOrDrop(up, du)
	})
	return out
}

// GateSplit computes op(x[:, :C])·x[:, C:] for x [R,2C]: a fused gate and up projection.
func (t *Tape) GateSplit(op tensor.UnaryOp, x *Var) *Var {
	t.use("gate", x)
	r, c := x.Value.Rows(), x.Value.Cols()/2
	s := tensor.GateSpec{Op: op, Rows: r, Cols: c, StrideGate: 2 * c, StrideUp: 2 * c, StrideY: c}
	y := t.Alloc(x.Value.DType, r, c)
	t.check(t.b.Gate(s, y, x.Value, from(x.Value, c)))
	out := t.new(y, x.needs)
	t.record(out, func() {
		dy := out.take()
		if dy == nil {
			return
		}
		dx := t.reuse(x)
		t.check(t.b.GateBwd(s, dx.t, from(dx.t, c), dy.t, x.Value, from(x.Value, c)))
		t.pool.release(dy)
		t.giveOrDrop(x, dx)
	})
	return out
}

// from returns the flattened tensor from element off on.
func from(x tensor.Tensor, off int) tensor.Tensor { return x.Slice(off, x.Len()) }

// reuse returns room for a gradient of v: the memory of its value if the operation asking is its only consumer, so that
// nothing reads the value afterwards, else new memory.
func (t *Tape) reuse(v *Var) *block {
	if v.uses == 1 && v.grad == nil && v.needs && !v.saved {
		return &block{t: v.Value, refs: 1, borrowed: true}
	}
	return t.scratchLike(v.Value)
}

func (t *Tape) giveOrDrop(v *Var, b *block) {
	if v.needs {
		t.give(v, b)
		return
	}
	t.pool.release(b)
}

// Norm normalises runs of len(w) elements: RMSNorm or LayerNorm as spec says. b may be nil.
func (t *Tape) Norm(spec tensor.NormSpec, x *Var, w, b *Param) *Var {
	t.use("norm", x)
	c := w.Shape[0]
	if x.Value.Len()%c != 0 {
		t.failf("input %v, weight %s %v", x.Value, w.Name, w.Shape)
	}
	xm := x.Value.View(x.Value.Len()/c, c)
	y := like(t, x.Value, t.ActDType)
	stats := t.Alloc(tensor.F32, xm.Rows(), 2)
	var bias tensor.Tensor
	if b != nil {
		bias = b.Value
	}
	t.check(t.b.Norm(spec, y.View(xm.Rows(), c), stats, xm, w.Value, bias))
	out := t.new(y, t.trains(w, b) || x.needs)
	t.record(out, func() {
		dy := out.take()
		if dy == nil {
			return
		}
		var dw, db tensor.Tensor
		if w.Trainable() {
			dw = t.sum(w)
		}
		if b.Trainable() {
			db = t.sum(b)
		}
		dym := dy.t.View(xm.Rows(), c)
		if x.grad == nil && dy.refs == 1 {
			t.check(t.b.NormBwd(spec, dym, dw, db, dym, stats, xm, w.Value, false))
			t.giveOrDrop(x, dy)
			return
		}
		var g tensor.Tensor
		var acc bool
		var tmp *block
		if x.needs {
			g, acc = t.gradOut(x)
		} else {
			tmp = t.scratchLike(x.Value)
			g = tmp.t
		}
		t.check(t.b.NormBwd(spec, g.View(xm.Rows(), c), dw, db, dym, stats, xm, w.Value, acc))
		if tmp != nil {
			t.pool.release(tmp)
		}
		t.pool.release(dy)
	})
	return out
}

// Dropout zeroes elements with probability p and scales the others by 1/(1−p); outside of Step it returns x.
func (t *Tape) Dropout(p float32, x *Var) *Var {
	if p == 0 || !t.training {
		return x
	}
	t.use("dropout", x)
	key := t.nextKey()
	y := like(t, x.Value, x.Value.DType)
	t.check(t.b.Dropout(y, x.Value, p, key, false))
	out := t.new(y, x.needs)
	t.record(out, func() {
		dy := out.take()
		if dy == nil {
			return
		}
		if x.grad == nil && dy.refs == 1 {
			t.check(t.b.Dropout(dy.t, dy.t, p, key, false))
			x.grad = dy
			return
		}
		g, acc := t.gradOut(x)
		t.check(t.b.Dropout(g, dy.t, p, key, acc))
		t.pool.release(dy)
	})
	return out
}

// nextKey returns the key of the next random operation.
func (t *Tape) nextKey() tensor.RNGKey {
	k := t.key
	t.key.Op++
	return k
}
