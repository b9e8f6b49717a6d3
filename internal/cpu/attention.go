package cpu

import (
	"fmt"
	"math"

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
	b              *Backend
	totalQ, group  int
	cuQ, cuK, used []int32
	pad            int // HeadDim rounded up to a multiple of 16
	q, k, v        floats
	bias           bias
	threshold      uint32
	keepScale      float32
	blocks         int  // the most blocks of queries that a sequence has
	packed         bool // products are of packed matrices where blocks have enough lanes
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
		a.blocks = max(a.blocks, a.blocksOf(nq))
	}
	a.q = c.strided("q", q, a.totalQ, s.Heads*s.HeadDim, s.StrideQ, false)
	a.k = c.strided("k", k, keys, s.KVHeads*s.HeadDim, s.StrideK, false)
	a.v = c.strided("v", v, keys, s.KVHeads*s.HeadDim, s.StrideV, false)
	a.bias = a.biasOf(c, "bias", bias, false)
	a.packed = a.canPack()
	if s.Dropout > 0 {
		a.threshold, a.keepScale = tensor.DropThreshold(s.Dropout), 1/(1-s.Dropout)
	}
	return a
}

// blocksOf returns how many blocks a sequence of nq queries has: one for each if they are computed alone.
func (a *attn) blocksOf(nq int) int {
	if a.Alone {
		return nq
	}
	per := max(1, maxLanes/a.group)
	return (nq + per - 1) / per
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

// block returns lanes of the given block, or false if the sequence has fewer blocks. Blocks are of whole queries, about equally many.
func (a *attn) block(seq, kvh, block int) (lanes, bool) {
	l := lanes{seq: seq, kvh: kvh, row0: int(a.cuQ[seq]), key0: int(a.cuK[seq])}
	l.nq, l.nk = int(a.cuQ[seq+1])-l.row0, a.keys(seq)
	blocks := a.blocksOf(l.nq)
	if block >= blocks {
		return l, false
	}
	per := (l.nq + blocks - 1) / blocks * a.group
	l.first = block * per
	l.n = min(per, l.nq*a.group-l.first)
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

// seen returns the lanes that see a key of the sequence: from ≤ r < to. Both grow with the key.
func (a *attn) seen(l *lanes, key int) (from, to int) {
	from, to = 0, l.n
	query := key + l.nq - l.nk // the one that stands at the key
	if a.Causal {
		from = min(max(query*a.group-l.first, 0), l.n)
	}
	if a.Window > 0 {
		to = min(max((query+a.Window)*a.group-l.first, 0), l.n)
	}
	return from, max(from, to)
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
	if x.h != nil && a.pad == a.HeadDim {
		a.b.v.FromBF16Rows(tmp, a.pad, x.h[at:], stride, n, a.pad)
		return tmp, a.pad
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

// A tile of n keys from j0 on is cut by its mask where lanes see different keys of it. What is computed of it then are
// the parts that some lane sees, to the width of a micro-kernel: strips of keyStrip keys, groups of laneGroup lanes for
// what has lanes across, and of laneStrip lanes for what has them down. Elements of hidden pairs outside of these parts
// are undefined, and never read: strips lie in groups.
const (
	keyStrip  = 8
	laneGroup = 32
	laneStrip = 8
)

// cut returns whether some lanes do not see all of n keys from j0 on.
func (a *attn) cut(l *lanes, j0, n int) bool {
	lo, _ := a.sees(l, l.n-1)
	_, hi := a.sees(l, 0)
	return lo > j0 || hi < j0+n
}

// window returns which of n keys from j0 on the lanes r0 to r1 see, from the first to the last; 0, 0 for none.
func (a *attn) window(l *lanes, r0, r1, j0, n int) (lo, hi int) {
	lo, _ = a.sees(l, r0)
	_, hi = a.sees(l, min(r1, l.n)-1)
	if lo, hi = max(lo-j0, 0), min(hi-j0, n); lo >= hi {
		return 0, 0
	}
	return lo, hi
}

// pairs computes s [n, padded] = keys [n, HeadDim] · qt [pad, padded] for keys from j0 on.
func (a *attn) pairs(l *lanes, s, keys []float32, stride int, qt []float32, j0, n int, cut bool) {
	if !cut {
		a.b.v.Tile(s, l.padded, keys, stride, 1, qt, l.padded, n, l.padded, a.HeadDim, false)
		return
	}
	for r := 0; r < l.n; r += laneGroup {
		lo, hi := a.window(l, r, r+laneGroup, j0, n)
		lo, hi = lo/keyStrip*keyStrip, min(roundUp(hi, keyStrip), n)
		if lo < hi {
			a.b.v.Tile(s[lo*l.padded+r:], l.padded, keys[lo*stride:], stride, 1, qt[r:], l.padded, hi-lo, min(laneGroup, l.padded-r), a.HeadDim, false)
		}
	}
}

// overKeys computes o [padded, pad] += sᵀ [padded, n] · rows [n, pad] for keys from j0 on, or = if they are the first.
func (a *attn) overKeys(l *lanes, o, s, rows []float32, stride, j0, n int, cut, first bool) {
	if !cut {
		a.b.v.Tile(o, a.pad, s, 1, l.padded, rows, stride, l.n, a.pad, n, !first)
		return
	}
	for r := 0; r < l.n; r += laneStrip {
		lo, hi := a.window(l, r, r+laneStrip, j0, n)
		a.b.v.Tile(o[r*a.pad:], a.pad, s[lo*l.padded+r:], 1, l.padded, rows[lo*stride:], stride, min(laneStrip, l.n-r), a.pad, hi-lo, !first)
	}
}

// overLanes computes y [n, pad] += s [n, padded] · rows [padded, pad] for keys from j0 on.
func (a *attn) overLanes(l *lanes, y []float32, stride int, s, rows []float32, j0, n int, cut bool) {
	if !cut {
		a.b.v.Tile(y, stride, s, l.padded, 1, rows, a.pad, n, a.pad, l.n, true)
		return
	}
	for j := 0; j < n; j += keyStrip {
		keys := min(keyStrip, n-j)
		from, _ := a.seen(l, j0+j)
		_, to := a.seen(l, j0+j+keys-1)
		if from < to {
			a.b.v.Tile(y[j*stride:], stride, s[j*l.padded+from:], l.padded, 1, rows[from*a.pad:], a.pad, keys, a.pad, to-from, true)
		}
	}
}

// mask sets scores s of keys j0 to j0+n that lanes do not see to −∞.
func (a *attn) mask(l *lanes, s []float32, j0, n int) {
	for j := range n {
		from, to := a.seen(l, j0+j)
		row := s[j*l.padded:][:l.n]
		for r := range row[:from] {
			row[r] = negInf
		}
		for r := to; r < len(row); r++ {
			row[r] = negInf
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

// hide adds the bias to scores s of keys j0 to j0+n and sets those that lanes do not see to −∞. tmp is biasRoom long.
func (a *attn) hide(l *lanes, s []float32, j0, n int, cut bool, tmp []float32) {
	a.addBias(l, s, j0, n, tmp)
	if cut {
		a.mask(l, s, j0, n)
	}
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
	a.share(a.blocks, func(pair, block int) {
		// With a causal mask late blocks are long: they come first, so that cores finish together.
		l, ok := a.block(pair/s.KVHeads, pair%s.KVHeads, a.blocks-1-block)
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
	packed := a.packs(l)
	before, after := a.scales(packed)
	a.loadRows(l, a.q, a.StrideQ, before, o) // o is free until the first tile is done
	if packed {
		a.packLanes(&sc.packed[0], o, l.padded)
	} else {
		v.Transpose(qt, n, o, pad, n, pad)
	}
	clear(sum)
	for i := range m {
		m[i] = negInf
	}
	for j := l.lo; j < l.hi; j += keyTile {
		keys := min(keyTile, l.hi-j)
		cut := a.cut(l, j, keys)
		if packed {
			a.packKeys(l, &sc.packed[1], a.k, a.StrideK, j, keys)
			a.packedPairs(l, s, &sc.packed[1], &sc.packed[0], keys, after)
		} else {
			ks, stride := a.rows(l, a.k, a.StrideK, j, keys, tmp)
			a.pairs(l, s, ks, stride, qt, j, keys, cut)
		}
		if a.SoftCap > 0 {
			v.Softcap(s[:keys*n], s[:keys*n], a.SoftCap)
		}
		a.hide(l, s, j, keys, cut, sc.floats(7, a.biasRoom(n)))
		v.SoftmaxTile(s, keys, n, m, sum, alpha)
		if a.Dropout > 0 {
			drop := sc.floats(5, keyTile*n)
			a.dropMask(l, drop, j, keys, sc.floats(6, keyTile))
			v.Mul(s[:keys*n], s[:keys*n], drop)
		}
		if j > l.lo {
			v.ScaleRows(o, pad, alpha, l.n, pad)
		}
		if packed {
			a.packKeyRows(l, &sc.packed[2], a.v, a.StrideV, j, keys)
			a.packedOverKeys(l, o, s, &sc.packed[1], &sc.packed[2], keys, j == l.lo)
			continue
		}
		vs, stride := a.rows(l, a.v, a.StrideV, j, keys, tmp)
		a.overKeys(l, o, s, vs, stride, j, keys, cut, j == l.lo)
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
