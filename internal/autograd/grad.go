package autograd

import "github.com/mltrain/mltrain/internal/tensor"

// Gradients of forward values. A gradient is a block of the pool with the shape and type of its value; Vars may share a
// block until one of them has to add to it.

// scratch returns pool memory of a shape.
func (t *Tape) scratch(dt tensor.DType, shape ...int) *block {
	x := tensor.New(nil, 0, dt, shape...)
	b, err := t.pool.alloc(x.Bytes())
	t.check(err)
	b.t = tensor.New(b.t.Buf, b.t.Off, dt, shape...)
	return b
}

func (t *Tape) scratchLike(x tensor.Tensor) *block {
	b, err := t.pool.alloc(x.Bytes())
	t.check(err)
	x.Buf, x.Off = b.t.Buf, b.t.Off
	b.t = x
	return b
}

// gradOut returns where to put a contribution to v's gradient, and whether it must be added to what is there.
func (t *Tape) gradOut(v *Var) (g tensor.Tensor, acc bool) {
	switch {
	case v.grad == nil:
		v.grad = t.scratchLike(v.Value)
		return v.grad.t, false
	case v.grad.refs > 1:
		shared := v.grad
		v.grad = t.scratchLike(v.Value)
		t.check(t.b.Copy(v.grad.t, shared.t))
		t.pool.release(shared)
	}
	return v.grad.t, true
}

// give hands a block over as a contribution to v's gradient.
func (t *Tape) give(v *Var, b *block) {
	if v.grad == nil {
		v.grad = b
		return
	}
	g, _ := t.gradOut(v)
	t.check(t.b.Binary(tensor.OpAdd, g, g, b.t, false))
	t.pool.release(b)
}

// take returns v's gradient for its last use and forgets it. It is nil if nothing flowed into v.
func (v *Var) take() *block {
	g := v.grad
	v.grad = nil
	return g
}

// sum returns p's gradient for a kernel that adds to it.
func (t *Tape) sum(p *Param) tensor.Tensor {
	if p.Stale {
		p.Stale = false
		t.check(t.b.Zero(p.Grad))
	}
	return p.Grad
}

// sumBeta returns what a matrix product must multiply p's gradient by: 0 if it is the first to write it, else 1.
func (p *Param) sumBeta() float32 {
	if p.Stale {
		p.Stale = false
		return 0
	}
	return 1
}

func anyNeeds(vars ...*Var) bool {
	for _, v := range vars {
		if v != nil && v.needs {
			return true
		}
	}
	return false
}
