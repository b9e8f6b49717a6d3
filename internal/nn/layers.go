package nn

import (
	"github.com/mltrain/mltrain/internal/autograd"
	"github.com/mltrain/mltrain/internal/tensor"
)

// Linear is y = x·Wᵀ + b in whatever form the weight has: dense, quantised, with an adapter. It is the only seam for
// adapters; no model knows which it got.
type Linear interface {
	Forward(t *autograd.Tape, x *autograd.Var) *autograd.Var
}

// Dense is a Linear with a plain weight.
type Dense struct {
	W, B   *autograd.Param // B may be nil
	Layout autograd.Layout
}

// Forward computes x [R,in] → [R,out].
func (d *Dense) Forward(t *autograd.Tape, x *autograd.Var) *autograd.Var {
	return t.Linear(x, d.W, d.B, d.Layout)
}

func (d *Dense) layer(*autograd.Tape) autograd.LinearLayer {
	return autograd.LinearLayer{W: d.W, B: d.B, Layout: d.Layout}
}

// Forward computes several layers of one input, together where they are of a form that can be.
func Forward(t *autograd.Tape, x *autograd.Var, linears ...Linear) []*autograd.Var {
	var layers []autograd.LinearLayer
	for _, l := range linears {
		if l, ok := l.(interface {
			layer(t *autograd.Tape) autograd.LinearLayer
		}); ok {
			layers = append(layers, l.layer(t))
		}
	}
	if len(layers) == len(linears) {
		return t.Linears(x, layers...)
	}
	outs := make([]*autograd.Var, len(linears))
	for i, l := range linears {
		outs[i] = l.Forward(t, x)
	}
	return outs
}

// Linear asks for name.weight [out,in], and name.bias [out] if bias.
func (b *Builder) Linear(name string, in, out int, bias bool, std float32) Linear {
	return b.linear(name, autograd.OutIn, []int{out, in}, out, bias, std)
}

// Conv1D asks for a linear layer that is stored transposed, name.weight [in,out], with a bias: GPT-2's.
func (b *Builder) Conv1D(name string, in, out int, std float32) Linear {
	return b.linear(name, autograd.InOut, []int{in, out}, out, true, std)
}

func (b *Builder) linear(name string, layout autograd.Layout, shape []int, out int, bias bool, std float32) Linear {
	at := b.At(name)
	module := b.path + name
	if a := b.adapter; a != nil {
		peft := b.peftName(module)
		a.linears = append(a.linears, peft)
		if a.targets(peft, true) {
			a.adapted[module] = true
		}
	}
	w, layout := b.linearWeight(at, layout, shape, std)
	w.linear, w.inOut = true, layout == autograd.InOut
	d := &Dense{W: &w.Param, Layout: layout}
	if bias {
		d.B = &at.Param("bias", Init{}, out).Param
	}
	if b.adapter != nil && b.adapter.adapted[module] {
		return b.adaptLinear(module, d, shape[0]+shape[1]-out, out)
	}
	return d
}

// linearWeight asks for a linear layer's weight in the form that it is held in, and returns the layout that it then has.
func (b *Builder) linearWeight(at *Builder, layout autograd.Layout, shape []int, std float32) (*Weight, autograd.Layout) {
	turned := []int{shape[1], shape[0]}
	src, ok := b.opts.Source.(PackedSource)
	if !ok {
		w := at.Param("weight", Init{Std: std}, shape...)
		if w.quantised = b.opts.Quantise != nil && w.Frozen; w.quantised && layout == autograd.InOut {
			// Blocks run over [out,in], as bitsandbytes has them.
			w.flipped, layout, w.Shape = true, autograd.OutIn, turned
		}
		return w, layout
	}
	packed, ok := src.Packed(b.stored(at.path + "weight"))
	switch {
	case !ok: // what a quantised checkpoint leaves as it is, stays so
		return at.Param("weight", Init{Std: std}, shape...), layout
	case layout == autograd.InOut && b.opts.Decode:
		w := at.Param("weight", Init{Std: std}, turned...)
		w.flipped, w.Shape = true, shape
		return w, layout
	case layout == autograd.InOut:
		shape, layout = turned, autograd.OutIn
	}
	w := at.Param("weight", Init{Std: std}, shape...)
	if b.opts.Decode {
		return w, layout
	}
	if !w.Frozen {
		b.Fault("%s: the checkpoint has it in 4 bits, which cannot be trained; train an adapter, or freeze it", w.Stored)
	}
	w.quantised, w.packed = true, packed
	return w, layout
}

// Norm is RMSNorm or LayerNorm.
type Norm struct {
	Spec tensor.NormSpec
	W, B *autograd.Param // B is nil for RMSNorm
}

// RMSNorm asks for name.weight [dim].
func (b *Builder) RMSNorm(name string, dim int, eps float32) *Norm {
	return &Norm{tensor.NormSpec{Kind: tensor.RMSNorm, Eps: eps}, &b.At(name).Param("weight", Init{Const: 1}, dim).Param, nil}
}

// RMSNorm1p asks for the weight [dim] of a norm that multiplies by 1 + weight.
func (b *Builder) RMSNorm1p(name string, dim int, eps float32) *Norm {
	return &Norm{tensor.NormSpec{Kind: tensor.RMSNorm, Eps: eps, PlusOne: true}, &b.At(name).Param("weight", Init{}, dim).Param, nil}
}

// LayerNorm asks for name.weight and name.bias [dim].
func (b *Builder) LayerNorm(name string, dim int, eps float32) *Norm {
	at := b.At(name)
	return &Norm{tensor.NormSpec{Kind: tensor.LayerNorm, Eps: eps}, &at.Param("weight", Init{Const: 1}, dim).Param, &at.Param("bias", Init{}, dim).Param}
}

// Forward normalises runs of dim elements.
func (n *Norm) Forward(t *autograd.Tape, x *autograd.Var) *autograd.Var {
	return t.Norm(n.Spec, x, n.W, n.B)
}

// Embedding asks for name.weight [rows,dim].
func (b *Builder) Embedding(name string, rows, dim int, std float32) *autograd.Param {
	module := b.path + name
	adapted := b.adapter != nil && b.adapter.targets(b.peftName(module), false)
	if adapted {
		b.adapter.adapted[module] = true
	}
	w := b.At(name).Param("weight", Init{Std: std}, rows, dim)
	if adapted {
		w.LowRank = b.lowRank(module, rows, dim, true)
		b.adapter.merges[&w.Param] = Adapted{LowRank: w.LowRank}
		b.frozenTable(w, module)
	}
	if b.adapter != nil {
		b.trainTokens(w, module, rows, dim)
	}
	return &w.Param
}
