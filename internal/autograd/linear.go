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
	var drafts []tensor.Int8Part
	rows := x.Value.Rows()
	for i, l := range layers {
		t.use("linear", x)
		in, out := t.linearShape(x, l.W, l.Layout)
		y := t.Alloc(t.ActDType, rows, out)
		outs[i] = t.new(y, t.trains(l.W, l.B) || x.needs)
		if t.Drafting && l.W.Draft != nil {
			p := tensor.Int8Part{Y: y, W: *l.W.Draft}
			if l.B != nil {
				p.Bias = l.B.Value
			}
			drafts = append(drafts, p)
			continue
		}
		if l.W.Quant != nil { // W is decoded in parts
			t.weightMul(y, x.Value, l.W, l.B, l.Layout, 0)
			continue
		}
		p := tensor.GemmPart{GemmSpec: weightSpec(rows, out, in, l.W, l.Layout == OutIn, 0), C: y, B: l.W.Value}
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
		products = append(products, timesT(hidden[i], x.Value, l.LowRank.A.Value, 1, 0))
		outs[i].needs = outs[i].needs || t.trains(l.LowRank.A, l.LowRank.B)
	}
	if len(drafts) > 0 {
		d, ok := t.b.(tensor.Drafter)
		if !ok {
			t.failf("%s does not multiply by rounded weights", t.b.Name())
		}
		t.check(d.MulInt8(x.Value, drafts))
	}
	if len(products) > 0 {
		t.gemmShared(x.Value, products...)
	}
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
	var dh *block
	if low := l.LowRank; !h.IsZero() {
		if low.B.Trainable() {
			t.mulAcc(low.B, dy.t, h, low.Scale)
		}
		if x.needs || low.A.Trainable() {
			dh = t.scratchLike(h)
		}
	}
	products := make([]tensor.GemmPart, 0, 2)
	if x.needs {
		g, acc := t.gradOut(x)
		if l.W.Quant != nil {
			t.weightMulBwd(g, dy.t, l.W, l.Layout, b2f(acc))
		} else {
			s := weightSpec(g.Rows(), g.Cols(), dy.t.Cols(), l.W, l.Layout == InOut, b2f(acc))
			products = append(products, tensor.GemmPart{GemmSpec: s, C: g, B: l.W.Value})
		}
	}
	if dh != nil {
		products = append(products, times(dh.t, dy.t, l.LowRank.B.Value, l.LowRank.Scale, 0))
	}
	if len(products) > 0 {
		t.gemmShared(dy.t, products...)
	}
	if dh != nil {
		t.downBwd(l.LowRank, dropper{}, x, dh, nil)
	}
	t.pool.release(dy)
}
