package autograd

import "github.com/mltrain/mltrain/internal/tensor"

// Part is a window into the columns of a value: from column Off on. It lets query, key and value be parts of one fused
// projection.
type Part struct {
	Var *Var
	Off int
}

func (p Part) tensor() tensor.Tensor { return from(p.Var.Value, p.Off) }

// RopePart names heads to rotate: Heads heads from column Off on.
type RopePart struct{ Off, Heads int }

// Rope rotates parts of the rows of x by their positions, in place: x must have no other consumer. spec.Heads, Sign and
// the strides are set here.
func (t *Tape) Rope(spec tensor.RopeSpec, x *Var, table, pos tensor.Tensor, parts ...RopePart) *Var {
	t.takeOver("rope", x)
	spec.StrideX, spec.StrideY = x.Value.Cols(), x.Value.Cols()
	rotate := func(y tensor.Tensor, sign float32) {
		for _, p := range parts {
			spec.Heads, spec.Sign = p.Heads, sign
			part := from(y, p.Off)
			t.check(t.b.Rope(spec, part, part, table, pos))
		}
	}
	rotate(x.Value, 1)
	out := t.new(x.Value, x.needs)
	t.record(out, func() {
		dy := out.take()
		if dy == nil {
			return
		}
		if dy.refs > 1 {
			own := t.scratchLike(dy.t)
			t.check(t.b.Copy(own.t, dy.t))
			t.pool.release(dy)
			dy = own
		}
		rotate(dy.t, -1)
		t.give(x, dy)
	})
	return out
}

// Attention computes softmax attention: y [TotalQ, Heads·HeadDim]. The strides and, in training, the dropout key of spec
// are set here; outside of Step there is no dropout. bias (see AttnSpec) is nil for none.
func (t *Tape) Attention(spec tensor.AttnSpec, q, k, v Part, bias *Var) *Var {
	t.use("attention", q.Var, bias)
	for i, p := range []Part{k, v} {
		if p.Var != q.Var && (i == 0 || p.Var != k.Var) {
			t.use("attention", p.Var)
		}
	}
	rows, width := q.Var.Value.Rows(), spec.Heads*spec.HeadDim
	spec.StrideQ, spec.StrideK, spec.StrideV, spec.StrideO = q.Var.Value.Cols(), k.Var.Value.Cols(), v.Var.Value.Cols(), width
	if !t.training {
		spec.Dropout = 0
	}
	if spec.Dropout > 0 {
		spec.Key = t.nextKey()
	}
	o := t.Alloc(q.Var.Value.DType, rows, width)
	lse := t.Alloc(tensor.F32, spec.Heads, rows)
	var add tensor.Tensor
	if bias != nil {
		add = bias.Value
	}
	t.check(t.b.Attention(spec, o, lse, q.tensor(), k.tensor(), v.tensor(), add))
	out := t.new(o, anyNeeds(q.Var, k.Var, v.Var, bias))
	out.saved = true
	t.record(out, func() {
		do := out.take()
		if do == nil {
			return
		}
		grads := map[*Var]*block{}
		var order []*Var
		covered := map[*Var]int{} // columns that get a gradient
		for i, p := range []Part{q, k, v} {
			covered[p.Var] += spec.HeadDim * []int{spec.Heads, spec.KVHeads, spec.KVHeads}[i]
		}
		part := func(p Part) tensor.Tensor {
			if grads[p.Var] == nil {
				g := t.scratchLike(p.Var.Value)
				if covered[p.Var] < p.Var.Value.Cols() {
					t.check(t.b.Zero(g.t))
				}
				grads[p.Var] = g
				order = append(order, p.Var)
			}
			return from(grads[p.Var].t, p.Off)
		}
		dq, dk, dv := part(q), part(k), part(v)
		delta := t.scratch(tensor.F32, spec.Heads, rows)
		var dbias tensor.Tensor
		if anyNeeds(bias) {
			var acc bool
			if dbias, acc = t.gradOut(bias); !acc {
				t.check(t.b.Zero(dbias))
			}
		}
		t.check(t.b.AttentionBwd(spec, dq, dk, dv, dbias, do.t, o, lse, delta.t, q.tensor(), k.tensor(), v.tensor(), add))
		t.pool.release(delta)
		t.pool.release(do)
		for _, x := range order {
			t.giveOrDrop(x, grads[x])
		}
	})
	return out
}
