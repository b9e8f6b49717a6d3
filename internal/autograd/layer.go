package autograd

import "github.com/mltrain/mltrain/internal/tensor"

// Layer runs fn on in. When nothing is recorded, the values inside are discarded once the outputs are known. With
// Recompute they are discarded too, and fn runs once more in the backward pass (gradient checkpointing: Chen et al.,
// 2016), with the same random numbers. So fn must depend on its inputs, on Params and on tensors of the batch only: a
// Var from outside that is not among in fails the program.
func (t *Tape) Layer(fn func(in []*Var) []*Var, in ...*Var) []*Var {
	t.use("layer", in...)
	if !t.noGrad && !t.Recompute {
		return t.scopedPlain(fn, in)
	}
	recorded := !t.noGrad
	start, key, touched := t.arena.mark(), t.key, t.touched
	t.noGrad, t.touched = true, false
	outs := t.keep(start, t.scopedDetached(fn, in))
	t.noGrad = !recorded
	needs := t.touched || anyNeeds(in...)
	t.touched = t.touched || touched
	for _, o := range outs {
		o.needs = needs && recorded
	}
	if recorded && needs {
		t.backward = append(t.backward, func() { t.recompute(fn, in, outs, key) })
	}
	return outs
}

// scopedPlain runs fn with in visible only inside.
func (t *Tape) scopedPlain(fn func([]*Var) []*Var, in []*Var) []*Var {
	outer := t.enter()
	for _, v := range in {
		v.scope = t.scope
		v.uses-- // passing a value to Layer is not yet a use of its memory
	}
	outs := fn(in)
	t.scope = outer
	for _, v := range in {
		v.scope = outer
	}
	for _, v := range outs {
		v.scope = outer
	}
	return outs
}

// scopedDetached runs fn on copies of in that share its values.
func (t *Tape) scopedDetached(fn func([]*Var) []*Var, in []*Var) []*Var {
	outer := t.enter()
	leaves := make([]*Var, len(in))
	for i, v := range in {
		leaves[i] = t.leaf(v, false)
	}
	outs := fn(leaves)
	t.scope = outer
	return outs
}

// leaf returns an input of the scope with the value of v. The value belongs to the caller, so it counts as used once
// already: nothing inside may take its memory over.
func (t *Tape) leaf(v *Var, needs bool) *Var {
	return &Var{Value: v.Value, needs: needs, scope: t.scope, uses: 1}
}

func (t *Tape) enter() (outer int) {
	outer = t.scope
	t.scopes++
	t.scope = t.scopes
	return outer
}

// keep moves outs to the place where the arena stood at start and frees all that was allocated since.
func (t *Tape) keep(start mark, outs []*Var) []*Var {
	tmp := make([]*block, len(outs))
	for i, o := range outs {
		tmp[i] = t.scratchLike(o.Value)
		t.check(t.b.Copy(tmp[i].t, o.Value))
	}
	t.arena.reset(start)
	kept := make([]*Var, len(outs))
	for i, b := range tmp {
		x := like(t, b.t, b.t.DType)
		t.check(t.b.Copy(x, b.t))
		kept[i] = &Var{Value: x, scope: t.scope}
		t.pool.release(b)
	}
	return kept
}

// recompute is the backward pass of a discarded layer.
func (t *Tape) recompute(fn func([]*Var) []*Var, in, outs []*Var, key tensor.RNGKey) {
	start, outer, after := t.arena.mark(), t.backward, t.key
	t.backward, t.key = nil, key
	scope := t.enter()
	leaves := make([]*Var, len(in))
	for i, v := range in {
		leaves[i] = t.leaf(v, v.needs)
	}
	again := fn(leaves)
	for i, o := range outs {
		if g := o.take(); g != nil {
			t.giveOrDrop(again[i], g)
		}
	}
	for i := len(t.backward) - 1; i >= 0; i-- {
		t.backward[i]()
	}
	t.backward, t.key, t.scope = outer, after, scope
	for i, l := range leaves {
		if g := l.take(); g != nil {
			t.give(in[i], g)
		}
	}
	t.arena.reset(start)
}
