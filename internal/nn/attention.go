package nn

import (
	"github.com/mltrain/mltrain/internal/autograd"
	"github.com/mltrain/mltrain/internal/tensor"
)

// Rotary is rotary position embedding with a table of cosines and sines by position.
type Rotary struct {
	Dim         int // leading elements of a head that are rotated
	Interleaved bool
	Table       *Table
}

// SelfAttention is the attention block of a decoder or encoder: projections, optional norms of q and k, rotary
// embedding, attention over the sequences of the batch or of a cache, output projection.
type SelfAttention struct {
	Heads, KVHeads, HeadDim int
	Causal                  bool
	Window                  int
	Scale, SoftCap          float32
	Dropout                 float32

	QKV          Linear // fused, or nil
	Q, K, V, Out Linear
	QNorm, KNorm *Norm   // over each head, or over all heads; nil for none
	Rotary       *Rotary // nil for none
}

// Forward computes x [T,C] → [T,C]. layer is the index of the block, for its place in the batch's cache.
func (a *SelfAttention) Forward(t *autograd.Tape, x *autograd.Var, b *Batch, layer int) *autograd.Var {
	q, k, v := a.project(t, x, b)
	s := tensor.AttnSpec{
		CuQ: b.CuSeqs, CuK: b.CuSeqs, Seqs: b.Seqs, MaxQ: b.MaxLen, MaxK: b.MaxLen,
		Heads: a.Heads, KVHeads: a.KVHeads, HeadDim: a.HeadDim,
		Causal: a.Causal, Window: a.Window, Scale: a.Scale, SoftCap: a.SoftCap, Dropout: a.Dropout,
	}
	if s2 := b.Shared; s2 != nil {
		s.CuQ, s.CuK, s.Seqs, s.MaxQ, s.MaxK = s2.CuQ, s2.CuK, s2.Seqs, s2.MaxQ, s2.MaxK
		k, v = shareKeys(t, s2.Rows, k, v)
	}
	if b.Cache != nil {
		ck, cv, err := b.Cache.put(t.Backend(), layer, k, v)
		if err != nil {
			t.Fail("kv cache", err)
		}
		s.CuK, s.UsedK, s.MaxK, s.Alone = b.Cache.CuSlots, b.Cache.Used, b.Cache.MaxUsed, b.Cache.Alone
		k, v = autograd.Part{Var: t.Const(ck)}, autograd.Part{Var: t.Const(cv)}
	}
	return a.Out.Forward(t, t.Attention(s, q, k, v, nil))
}

// shareKeys gathers keys and values, in one go where they are parts of one value.
func shareKeys(t *autograd.Tape, rows tensor.Tensor, k, v autograd.Part) (autograd.Part, autograd.Part) {
	gathered := t.Rows(k.Var, rows)
	if k.Var == v.Var {
		return autograd.Part{Var: gathered, Off: k.Off}, autograd.Part{Var: gathered, Off: v.Off}
	}
	return autograd.Part{Var: gathered, Off: k.Off}, autograd.Part{Var: t.Rows(v.Var, rows), Off: v.Off}
}

func (a *SelfAttention) project(t *autograd.Tape, x *autograd.Var, b *Batch) (q, k, v autograd.Part) {
	nq, nkv := a.Heads*a.HeadDim, a.KVHeads*a.HeadDim
	if a.QKV != nil {
		f := a.QKV.Forward(t, x)
		if a.Rotary != nil {
			f = a.rotate(t, f, b, autograd.RopePart{Off: 0, Heads: a.Heads}, autograd.RopePart{Off: nq, Heads: a.KVHeads})
		}
		return autograd.Part{Var: f}, autograd.Part{Var: f, Off: nq}, autograd.Part{Var: f, Off: nq + nkv}
	}
	projected := Forward(t, x, a.Q, a.K, a.V)
	one := func(y *autograd.Var, norm *Norm, heads int) autograd.Part {
		if norm != nil {
			y = norm.Forward(t, y)
		}
		if a.Rotary != nil {
			y = a.rotate(t, y, b, autograd.RopePart{Heads: heads})
		}
		return autograd.Part{Var: y}
	}
	return one(projected[0], a.QNorm, a.Heads), one(projected[1], a.KNorm, a.KVHeads), autograd.Part{Var: projected[2]}
}

func (a *SelfAttention) rotate(t *autograd.Tape, x *autograd.Var, b *Batch, parts ...autograd.RopePart) *autograd.Var {
	s := tensor.RopeSpec{HeadDim: a.HeadDim, RotaryDim: a.Rotary.Dim, Interleaved: a.Rotary.Interleaved}
	return t.Rope(s, x, a.Rotary.Table.Value, b.Positions, parts...)
}

// Cache keeps the keys and values of sequences that grow: K and V per layer [Slots·Capacity, KVHeads·HeadDim], the rows
// of slot s starting at s·Capacity.
type Cache struct {
	K, V []tensor.Tensor
	// CuSlots [Slots+1] and Used [Slots] say where the keys of the batch's sequences begin and how many there are,
	// those of the batch's own tokens included; Rows [T] where its tokens go.
	CuSlots, Used, Rows tensor.Tensor
	MaxUsed             int
	Alone               bool // see tensor.AttnSpec
}

func (c *Cache) put(b tensor.Backend, layer int, k, v autograd.Part) (ck, cv tensor.Tensor, err error) {
	ck, cv = c.K[layer], c.V[layer]
	for _, m := range []struct {
		dst tensor.Tensor
		src autograd.Part
	}{{ck, k}, {cv, v}} {
		x := m.src.Var.Value
		if err := b.PutRows(m.dst, x.Slice(m.src.Off, x.Len()), x.Cols(), c.Rows); err != nil {
			return ck, cv, err
		}
	}
	return ck, cv, nil
}
