package gpu

import (
	"fmt"

	"github.com/mltrain/mltrain/internal/tensor"
)

// The limits and block size of the attention kernels.
const (
	attnMaxDim = 256
	attnWarps  = 4
)

// attn is the checked form of an attention call.
type attn struct {
	tensor.AttnSpec
	totalQ  int
	dt      tensor.DType
	suffix  string
	params  []byte
	keys    int      // key rows that belong to sequences
	lengths [][2]int // queries and keys of sequences
	q, k, v Ptr
	bias    attnBias
}

// attnBias is what is added to scores, or its gradient: [heads, n, n]. The zero value stands for none.
type attnBias struct {
	at       Ptr
	heads, n int
}

// attnCall checks what forward and backward have in common.
func (b *Backend) attnCall(c *call, s tensor.AttnSpec, lse, q, k, v, bias tensor.Tensor) *attn {
	a := &attn{AttnSpec: s, dt: q.DType}
	a.suffix = c.activation("q", q)
	c.require(s.Heads > 0 && s.KVHeads > 0 && s.HeadDim > 0 && s.Heads%max(1, s.KVHeads) == 0,
		"%d heads on %d key heads of %d elements: want a positive multiple", s.Heads, s.KVHeads, s.HeadDim)
	c.require(s.HeadDim <= attnMaxDim, "heads of %d elements: at most %d are supported", s.HeadDim, attnMaxDim)
	c.require(!s.Alone, "queries alone are for the CPU")
	c.require(s.Seqs >= 0 && s.Window >= 0, "%d sequences, window %d: want none negative", s.Seqs, s.Window)
	c.require(s.SoftCap >= 0 && s.Dropout >= 0 && s.Dropout < 1, "softcap %v, dropout %v: want 0 or more, dropout below 1", s.SoftCap, s.Dropout)
	c.require(!lse.IsZero() && (c.err != nil || lse.Len()%s.Heads == 0), "lse is %v, want rows for %d heads", lse, s.Heads)
	if c.err != nil {
		return a
	}
	a.totalQ = lse.Len() / s.Heads
	cuQ, cuK := c.i32("CuQ", s.CuQ, s.Seqs+1), c.i32("CuK", s.CuK, s.Seqs+1)
	var usedK Ptr
	if !s.UsedK.IsZero() {
		usedK = c.i32("UsedK", s.UsedK, s.Seqs)
	}
	a.sequences(c)
	a.q = c.strided("q", q, a.dt, a.totalQ, s.Heads*s.HeadDim, s.StrideQ, false)
	a.k = c.strided("k", k, a.dt, a.keys, s.KVHeads*s.HeadDim, s.StrideK, false)
	a.v = c.strided("v", v, a.dt, a.keys, s.KVHeads*s.HeadDim, s.StrideV, false)
	a.bias = a.biasOf(c, "bias", bias, false)
	perHead := int64(0)
	if a.bias.heads > 1 {
		perHead = int64(a.bias.n) * int64(a.bias.n)
	}
	var threshold uint32
	keep := float32(1)
	if s.Dropout > 0 {
		threshold, keep = tensor.DropThreshold(s.Dropout), 1/(1-s.Dropout)
	}
	a.params = pack(nil, []any{cuQ, cuK, usedK, a.bias.at, c.i32of(s.Seqs), c.i32of(a.totalQ), c.i32of(s.Heads), c.i32of(s.KVHeads), c.i32of(s.HeadDim),
		c.i32of(s.MaxK), int64(s.StrideQ), int64(s.StrideK), int64(s.StrideV), int64(s.StrideO), perHead, c.i32of(a.bias.n), flag(s.Causal),
		c.i32of(s.Window), s.Scale, s.SoftCap, keep, threshold, s.Key.Seed, s.Key.Micro, s.Key.Op})
	return a
}

// sequences checks the sequences on the host.
func (a *attn) sequences(c *call) {
	cuQ, cuK := c.hostInts("CuQ", a.CuQ), c.hostInts("CuK", a.CuK)
	var used []int32
	if !a.UsedK.IsZero() {
		used = c.hostInts("UsedK", a.UsedK)
	}
	if c.err != nil {
		return
	}
	c.require(cuQ[0] >= 0 && cuK[0] >= 0 && int(cuQ[a.Seqs]) <= a.totalQ, "sequences begin at %d and %d and end at query %d of %d",
		cuQ[0], cuK[0], cuQ[a.Seqs], a.totalQ)
	for i := range a.Seqs {
		nq, room := int(cuQ[i+1]-cuQ[i]), int(cuK[i+1]-cuK[i])
		nk := room
		if used != nil {
			nk = int(used[i])
		}
		c.require(nq >= 0 && nq <= a.MaxQ, "sequence %d has %d queries, want 0 to MaxQ = %d", i, nq, a.MaxQ)
		c.require(nk >= 0 && nk <= a.MaxK && nk <= room, "sequence %d has %d keys in room for %d, want 0 to MaxK = %d", i, nk, room, a.MaxK)
		a.keys = max(a.keys, int(cuK[i])+nk)
		a.lengths = append(a.lengths, [2]int{nq, nk})
	}
}

// biasOf checks a bias against the lengths of the sequences.
func (a *attn) biasOf(c *call, name string, t tensor.Tensor, write bool) attnBias {
	if t.IsZero() || c.err != nil {
		return attnBias{}
	}
	shape := t.Shape()
	if len(shape) != 3 || shape[0] != 1 && shape[0] != a.Heads || shape[1] != shape[2] {
		c.fail("%s is %v, want [%d or 1, n, n]", name, t, a.Heads)
		return attnBias{}
	}
	x := attnBias{heads: shape[0], n: shape[1]}
	for i, l := range a.lengths {
		c.require(l[0] <= l[1] && l[1] <= x.n, "sequence %d has %d queries and %d keys: want no more queries than keys, nor keys than the %d of the bias", i, l[0], l[1], x.n)
	}
	x.at = c.f32(name, t, t.Len(), write)
	return x
}

// warps launches a kernel with a warp per row and head.
func (a *attn) warps(c *call, kernel string, rows, heads int, args ...any) {
	c.launch("attention", kernel+"_"+a.suffix, [3]int{blocks(rows*heads, attnWarps)}, [3]int{32 * attnWarps}, append([]any{a.params}, args...)...)
}

// Attention computes o and the log-sum-exp of the scores lse [Heads, TotalQ]. A query that sees no key gets zeros and
// −∞; so do rows of o that belong to no sequence.
func (b *Backend) Attention(s tensor.AttnSpec, o, lse, q, k, v, bias tensor.Tensor) error {
	c := call{b: b, kernel: "attention"}
	a := b.attnCall(&c, s, lse, q, k, v, bias)
	op := c.strided("o", o, a.dt, a.totalQ, s.Heads*s.HeadDim, s.StrideO, true)
	ls := c.f32("lse", lse, lse.Len(), true)
	if a.tensorCores(op) {
		a.forwardMMA(&c, op, ls)
	} else {
		a.warps(&c, "attention", a.totalQ, s.Heads, op, ls, a.q, a.k, a.v)
	}
	if c.err != nil {
		return fmt.Errorf("%w (q %v, k %v, v %v, o %v)", c.err, q, k, v, o)
	}
	return nil
}

// AttentionBwd computes dq, dk and dv, laid out with the strides of q, k and v, and adds to dbias, in float32 arithmetic. delta [Heads, TotalQ] is scratch.
func (b *Backend) AttentionBwd(s tensor.AttnSpec, dq, dk, dv, dbias, do, o, lse, delta, q, k, v, bias tensor.Tensor) error {
	c := call{b: b, kernel: "attention backward"}
	a := b.attnCall(&c, s, lse, q, k, v, bias)
	width, kvWidth := s.Heads*s.HeadDim, s.KVHeads*s.HeadDim
	dqp := c.strided("dq", dq, a.dt, a.totalQ, width, s.StrideQ, true)
	dop := c.strided("do", do, a.dt, a.totalQ, width, s.StrideO, false)
	op := c.strided("o", o, a.dt, a.totalQ, width, s.StrideO, false)
	lp, dp := c.f32("lse", lse, lse.Len(), false), c.f32("delta", delta, lse.Len(), true)
	db := a.biasOf(&c, "dbias", dbias, true)
	c.require(db.at == 0 || db.heads == a.bias.heads && db.n == a.bias.n, "dbias is %v for the bias %v", dbias, bias)
	rowsK, rowsV := a.keyRows(dk, s.StrideK, kvWidth), a.keyRows(dv, s.StrideV, kvWidth)
	dkp := c.strided("dk", dk, a.dt, rowsK, kvWidth, s.StrideK, true)
	dvp := c.strided("dv", dv, a.dt, rowsV, kvWidth, s.StrideV, true)
	a.warps(&c, "attention_delta", a.totalQ, s.Heads, dp, dop, op)
	if a.tensorCores(dqp, dkp, dvp, dop) {
		a.backwardMMA(&c, dqp, dkp, dvp, rowsK, rowsV, dop, lp, dp)
	} else {
		a.warps(&c, "attention_dq", a.totalQ, s.Heads, dqp, dop, lp, dp, a.q, a.k, a.v)
		a.warps(&c, "attention_dkv", max(rowsK, rowsV), s.KVHeads, dkp, dvp, c.i32of(rowsK), c.i32of(rowsV), dop, lp, dp, a.q, a.k, a.v)
	}
	if db.at != 0 {
		grid := [3]int{blocks(db.n*blocks(db.n, 32), attnWarps), db.heads}
		c.launch("attention", "attention_dbias_"+a.suffix, grid, [3]int{32 * attnWarps}, a.params, db.at, dop, lp, dp, a.q, a.k, a.v)
	}
	if c.err != nil {
		return fmt.Errorf("%w (dq %v, dk %v, dv %v, do %v)", c.err, dq, dk, dv, do)
	}
	return nil
}

// keyRows returns how many rows of an output with the layout of k there are: those of the tensor, and at least those
// that belong to sequences.
func (a *attn) keyRows(t tensor.Tensor, stride, width int) int {
	n := a.keys
	if stride > 0 && t.Len() >= width && width > 0 {
		n = max(n, (t.Len()-width)/stride+1)
	}
	return n
}
