package cpu

import (
	"fmt"
	"math"

	"github.com/mltrain/mltrain/internal/cpu/par"
	"github.com/mltrain/mltrain/internal/tensor"
)

// Attention works on tiles of lanes × keyTile scores, stored with the keys down and the lanes across: a lane is a query
// of one head, and a row of a tile is one key against all lanes. So keys and values are used where they lie, row by row,
// and softmax never reduces within a vector. The query heads that share a key head share its tiles: lane r of a group
// of G heads is head r%G of query r/G, which serves training and decoding with the same code.
const (
	maxLanes = 64
	keyTile  = 64
	lane     = 16 // lanes come in multiples of this
)

// attn is the checked form of an attention call.
type attn struct {
	tensor.AttnSpec
	b                *Backend
	totalQ, group    int
	cuQ, cuK, used   []int32
	pad              int // HeadDim rounded up to a multiple of 16
	q, k, v          floats
	bias             bias
	threshold        uint32
	keepScale        float32
	lanesPer, blocks int // lanes of a block of queries, and the most blocks that a sequence has
}

func roundUp(n, m int) int { return (n + m - 1) / m * m }

// attnCall checks what forward and backward have in common.
func (b *Backend) attnCall(c *call, s tensor.AttnSpec, lse, q, k, v, bias tensor.Tensor) *attn {
	a := &attn{AttnSpec: s, b: b, pad: roundUp(s.HeadDim, 16)}
	c.require(s.Heads > 0 && s.KVHeads > 0 && s.HeadDim > 0 && s.Heads%max(1, s.KVHeads) == 0,
		"%d heads on %d key heads of %d elements: want a positive multiple", s.Heads, s.KVHeads, s.HeadDim)
	c.require(s.Seqs >= 0 && s.Window >= 0, "%d sequences, window %d: want none negative", s.Seqs, s.Window)
	c.require(s.SoftCap >= 0 && s.Dropout >= 0 && s.Dropout < 1, "softcap %v, dropout %v: want 0 or more, dropout below 1", s.SoftCap, s.Dropout)
	c.require(!lse.IsZero() && (c.err != nil || lse.Len()%s.Heads == 0), "lse is %v, want rows for %d heads", lse, s.Heads)
	if c.err != nil {
		return a
	}
	a.totalQ, a.group = lse.Len()/s.Heads, s.Heads/s.KVHeads
	a.cuQ, a.cuK = c.i32("CuQ", s.CuQ, s.Seqs+1), c.i32("CuK", s.CuK, s.Seqs+1)
	if !s.UsedK.IsZero() {
		a.used = c.i32("UsedK", s.UsedK, s.Seqs)
	}
	if c.err != nil {
		return a
	}
	a.lanesPer = max(1, maxLanes/a.group) * a.group
	keys := 0
	c.require(a.cuQ[0] >= 0 && a.cuK[0] >= 0 && int(a.cuQ[s.Seqs]) <= a.totalQ, "sequences begin at %d and %d and end at query %d of %d",
		a.cuQ[0], a.cuK[0], a.cuQ[s.Seqs], a.totalQ)
	for i := range s.Seqs {
		nq, nk := int(a.cuQ[i+1]-a.cuQ[i]), a.keys(i)
		room := int(a.cuK[i+1] - a.cuK[i])
		if nq < 0 || nq > s.MaxQ {
			c.fail("sequence %d has %d queries, want 0 to MaxQ = %d", i, nq, s.MaxQ)
		}
		if nk < 0 || nk > s.MaxK || nk > room {
			c.fail("sequence %d has %d keys in room for %d, want 0 to MaxK = %d", i, nk, room, s.MaxK)
		}
		keys = max(keys, int(a.cuK[i])+nk)
		a.blocks = max(a.blocks, (nq*a.group+a.lanesPer-1)/a.lanesPer)
	}
	a.q = c.strided("q", q, a.totalQ, s.Heads*s.HeadDim, s.StrideQ, false)
	a.k = c.strided("k", k, keys, s.KVHeads*s.HeadDim, s.StrideK, false)
	a.v = c.strided("v", v, keys, s.KVHeads*s.HeadDim, s.StrideV, false)
	a.bias = a.biasOf(c, "bias", bias, false)
	if s.Dropout > 0 {
		a.threshold, a.keepScale = tensor.DropThreshold(s.Dropout), 1/(1-s.Dropout)
	}
	return a
}

func (a *attn) keys(seq int) int {
	if a.used != nil {
		return int(a.used[seq])
	}
	return int(a.cuK[seq+1] - a.cuK[seq])
}

// lanes is a block of lanes of one sequence and key head.
type lanes struct {
	seq, kvh   int
	first, n   int // lane r of the block is lane first+r of the sequence, r < n
	padded     int // n rounded up to whole vectors
	nq, nk     int
	row0, key0 int // rows of the sequence's first query and first key
	lo, hi     int // keys that some lane sees
}

// block returns lanes of the given block, or false if the sequence has fewer blocks.
func (a *attn) block(seq, kvh, block int) (lanes, bool) {
	l := lanes{seq: seq, kvh: kvh, first: block * a.lanesPer, row0: int(a.cuQ[seq]), key0: int(a.cuK[seq])}
	l.nq, l.nk = int(a.cuQ[seq+1])-l.row0, a.keys(seq)
	l.n = min(a.lanesPer, l.nq*a.group-l.first)
	if l.n <= 0 {
		return l, false
	}
	l.padded = roundUp(l.n, lane)
	l.lo, _ = a.sees(&l, 0)
	_, l.hi = a.sees(&l, l.n-1)
	return l, true
}

// sees returns the keys that lane r sees: lo ≤ key < hi. Both grow with r.
func (a *attn) sees(l *lanes, r int) (lo, hi int) {
	pos := (l.first+r)/a.group + l.nk - l.nq
	hi = l.nk
	if a.Causal {
		hi = min(hi, pos+1)
	}
	if a.Window > 0 {
		lo = max(0, pos-a.Window+1)
	}
	return lo, max(hi, 0)
}

// at returns the row and the first column of lane r in q and o.
func (a *attn) at(l *lanes, r int) (row, col int) {
	r += l.first
	return l.row0 + r/a.group, (l.kvh*a.group + r%a.group) * a.HeadDim
}

// stat returns the index of lane r in lse and delta.
func (a *attn) stat(l *lanes, r int) int {
	r += l.first
	return (l.kvh*a.group+r%a.group)*a.totalQ + l.row0 + r/a.group
}

// loadRows writes k times the rows of x at the lanes to y [padded, pad]; what lies beyond n and HeadDim is zero.
func (a *attn) loadRows(l *lanes, x floats, stride int, k float32, y []float32) {
	for r := range l.n {
		row, col := a.at(l, r)
		d := y[r*a.pad : (r+1)*a.pad]
		a.b.v.Scale(d[:a.HeadDim], x.read(a.b.v, row*stride+col, a.HeadDim, d), k)
		clear(d[a.HeadDim:])
	}
	clear(y[l.n*a.pad : l.padded*a.pad])
}

// storeRows writes x [padded, pad], each lane multiplied by its factor, to the rows of y at the lanes.
func (a *attn) storeRows(l *lanes, y floats, stride int, factor, x, tmp []float32) {
	for r := range l.n {
		row, col := a.at(l, r)
		d := y.dst(row*stride+col, a.HeadDim, tmp)
		a.b.v.Scale(d, x[r*a.pad:], factor[r])
		y.flush(a.b.v, row*stride+col, d)
	}
}

// rows returns n rows of pad elements of x from the given key on, and their stride: in place, or in tmp if they must be converted or
// end in zeros.
func (a *attn) rows(l *lanes, x floats, stride, key, n int, tmp []float32) ([]float32, int) {
	at := (l.key0+key)*stride + l.kvh*a.HeadDim
	if x.f != nil && a.pad == a.HeadDim {
		return x.f[at : at+(n-1)*stride+a.HeadDim], stride
	}
	for j := range n {
		d := tmp[j*a.pad : (j+1)*a.pad]
		if x.f != nil {
			copy(d, x.f[at+j*stride:][:a.HeadDim])
		} else {
			x.read(a.b.v, at+j*stride, a.HeadDim, d)
		}
		clear(d[a.HeadDim:])
	}
	return tmp, a.pad
}

// mask sets scores s of keys j0 to j0+n that lanes do not see to −∞.
func (a *attn) mask(l *lanes, s []float32, j0, n int) {
	if lo, _ := a.sees(l, l.n-1); lo <= j0 {
		if _, hi := a.sees(l, 0); hi >= j0+n {
			return
		}
	}
	for r := range l.n {
		lo, hi := a.sees(l, r)
		for j := j0; j < min(lo, j0+n); j++ {
			s[(j-j0)*l.padded+r] = negInf
		}
		for j := max(hi, j0); j < j0+n; j++ {
			s[(j-j0)*l.padded+r] = negInf
		}
	}
}

// dropMask fills m [n, padded] with the factors of dropout for keys j0 to j0+n.
func (a *attn) dropMask(l *lanes, m []float32, j0, n int, tmp []float32) {
	for r := range l.n {
		first := uint64(a.stat(l, r))*uint64(a.MaxK) + uint64(j0)
		a.b.v.Keep(tmp[:n], a.Key, first, a.threshold, a.keepScale)
		for j, k := range tmp[:n] {
			m[j*l.padded+r] = k
		}
	}
	for r := l.n; r < l.padded; r++ {
		for j := range n {
			m[j*l.padded+r] = 0
		}
	}
}

// scores computes s [n, padded], soft-capped, from rows of n keys and scaled queries qt [pad, padded].
func (a *attn) scores(l *lanes, s, qt, keys []float32, stride, n int) {
	a.b.v.Tile(s, l.padded, keys, stride, 1, qt, l.padded, n, l.padded, a.HeadDim, false)
	if a.SoftCap > 0 {
		a.b.v.Softcap(s[:n*l.padded], s[:n*l.padded], a.SoftCap)
	}
}

// hide adds the bias to scores s of keys j0 to j0+n and sets those that lanes do not see to −∞.
func (a *attn) hide(l *lanes, s []float32, j0, n int) {
	a.addBias(l, s, j0, n)
	a.mask(l, s, j0, n)
}

// Attention computes o and the log-sum-exp of the scores lse [Heads, TotalQ]. A query that sees no key gets zeros and
// −∞; so do rows of o that belong to no sequence.
func (b *Backend) Attention(s tensor.AttnSpec, o, lse, q, k, v, bias tensor.Tensor) error {
	c := call{kernel: "attention"}
	a := b.attnCall(&c, s, lse, q, k, v, bias)
	of := c.strided("o", o, a.totalQ, s.Heads*s.HeadDim, s.StrideO, true)
	ls := c.f32("lse", lse, lse.Len(), true)
	if c.err != nil {
		return fmt.Errorf("%w (q %v, k %v, v %v, o %v)", c.err, q, k, v, o)
	}
	a.outside(func(row int) {
		of.zero(row*s.StrideO, row*s.StrideO+s.Heads*s.HeadDim)
		for h := range s.Heads {
			ls[h*a.totalQ+row] = negInf
		}
	})
	pairs := s.Seqs * s.KVHeads
	// With a causal mask late blocks are long: they come first, so that cores finish together.
	par.Do(pairs*a.blocks, func(task int) {
		l, ok := a.block(task%pairs/s.KVHeads, task%s.KVHeads, a.blocks-1-task/pairs)
		switch {
		case ok && l.n <= fewLanes:
			a.forwardFew(&l, of, ls)
		case ok:
			a.forward(&l, of, ls)
		}
	})
	return nil
}

// outside calls f for the rows of q that belong to no sequence.
func (a *attn) outside(f func(row int)) {
	for row := range int(a.cuQ[0]) {
		f(row)
	}
	for row := int(a.cuQ[a.Seqs]); row < a.totalQ; row++ {
		f(row)
	}
}

func (a *attn) forward(l *lanes, of floats, lse []float32) {
	v := a.b.v
	sc := a.b.borrow()
	defer a.b.giveBack(sc)
	n, pad := l.padded, a.pad
	qt, o, s := sc.floats(0, pad*n), sc.floats(1, n*pad), sc.floats(2, keyTile*n)
	stats, tmp := sc.floats(3, 3*n), sc.floats(4, keyTile*pad)
	m, sum, alpha := stats[:n], stats[n:2*n], stats[2*n:]
	a.loadRows(l, a.q, a.StrideQ, a.Scale, o) // o is free until the first tile is done
	v.Transpose(qt, n, o, pad, n, pad)
	clear(sum)
	for i := range m {
		m[i] = negInf
	}
	for j := l.lo; j < l.hi; j += keyTile {
		keys := min(keyTile, l.hi-j)
		ks, stride := a.rows(l, a.k, a.StrideK, j, keys, tmp)
		a.scores(l, s, qt, ks, stride, keys)
		a.hide(l, s, j, keys)
		v.SoftmaxTile(s, keys, n, m, sum, alpha)
		if a.Dropout > 0 {
			drop := sc.floats(5, keyTile*n)
			a.dropMask(l, drop, j, keys, sc.floats(6, keyTile))
			v.Mul(s[:keys*n], s[:keys*n], drop)
		}
		if j > l.lo {
			v.ScaleRows(o, pad, alpha, l.n, pad)
		}
		vs, stride := a.rows(l, a.v, a.StrideV, j, keys, tmp)
		v.Tile(o, pad, s, 1, n, vs, stride, l.n, pad, keys, j > l.lo)
	}
	for r := range l.n {
		lse[a.stat(l, r)] = m[r] + float32(math.Log(float64(sum[r])))
		alpha[r] = 0
		if sum[r] > 0 {
			alpha[r] = 1 / sum[r]
		} else if m[r] == negInf {
			lse[a.stat(l, r)] = negInf
		}
	}
	a.storeRows(l, of, a.StrideO, alpha, o, tmp)
}
