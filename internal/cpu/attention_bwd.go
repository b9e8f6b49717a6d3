package cpu

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/mltrain/mltrain/internal/cpu/par"
	"github.com/mltrain/mltrain/internal/tensor"
)

// AttentionBwd computes dq, dk and dv. delta is not needed: Σ do·o of a block of queries lives in scratch.
//
// With P the softmax, D dropout's factors and S the scores: dV = (P·D)ᵀ dO; dP = (dO Vᵀ)·D; dS = P·(dP − Σ do·o), times
// 1−(S/cap)²; dQ = scale·dS K; dK = scale·dSᵀ Q. Tasks are blocks of queries, which own their dQ. Several add to the
// same rows of dK and dV, in float32: a task adds its part of a tile of keys only after the block of queries before it
// did, so that the order of the sum is fixed. Tasks start in that order, so the first unfinished one never waits. What
// adds to the same elements of dbias waits for each other in the same way: block by block, sequence by sequence.
func (b *Backend) AttentionBwd(s tensor.AttnSpec, dq, dk, dv, dbias, do, o, lse, delta, q, k, v, bias tensor.Tensor) error {
	c := call{kernel: "attention backward"}
	a := b.attnCall(&c, s, lse, q, k, v, bias)
	g := gradients{attn: a, pairs: s.Seqs * s.KVHeads}
	g.behind = g.pairs
	if g.dbias = a.biasOf(&c, "dbias", dbias, true); g.dbias.x != nil {
		g.behind = min(s.KVHeads, g.dbias.heads)
	}
	c.require(g.dbias.x == nil || g.dbias.heads == a.bias.heads && g.dbias.n == a.bias.n, "dbias is %v for the bias %v", dbias, bias)
	g.dq = c.strided("dq", dq, a.totalQ, s.Heads*s.HeadDim, s.StrideQ, true)
	g.do = c.strided("do", do, a.totalQ, s.Heads*s.HeadDim, s.StrideO, false)
	g.o = c.strided("o", o, a.totalQ, s.Heads*s.HeadDim, s.StrideO, false)
	g.lse = c.f32("lse", lse, lse.Len(), false)
	width := s.KVHeads * s.HeadDim
	krows, vrows := 0, 0
	if c.err == nil {
		krows, vrows = a.keyRows(dk, s.StrideK, width), a.keyRows(dv, s.StrideV, width)
	}
	dkf := c.strided("dk", dk, krows, width, s.StrideK, true)
	dvf := c.strided("dv", dv, vrows, width, s.StrideV, true)
	if c.err != nil {
		return fmt.Errorf("%w (dq %v, dk %v, dv %v, do %v)", c.err, dq, dk, dv, do)
	}
	a.outside(func(row int) { g.dq.zero(row*s.StrideQ, row*s.StrideQ+s.Heads*s.HeadDim) })
	shared := b.borrow()
	defer b.giveBack(shared)
	// In float32 and with whole vectors, sums form in place; otherwise in scratch.
	inPlace := dkf.f != nil && dvf.f != nil && a.pad == s.HeadDim
	if inPlace {
		g.dk, g.strideK, g.dv, g.strideV = dkf.f, s.StrideK, dvf.f, s.StrideV
	} else {
		g.strideK, g.strideV = s.KVHeads*a.pad, s.KVHeads*a.pad
		g.dk, g.dv = shared.floats(0, krows*g.strideK), shared.floats(1, vrows*g.strideV)
	}
	g.zeroUnseen(krows, vrows)
	g.done = shared.counters(line * g.pairs * a.blocks)
	for i := range g.done {
		g.done[i].Store(0)
	}
	if g.dbias.x != nil { // the order of tasks is that of sums: a worker takes one block at a time
		par.Do(g.pairs*a.blocks, func(task int) { g.some(task%g.pairs, task/g.pairs, 1) })
	} else {
		a.share((a.blocks+gradBlocks-1)/gradBlocks, func(pair, at int) { g.some(pair, at, gradBlocks) })
	}
	if !inPlace {
		g.collect(dkf, s.StrideK, g.dk, g.strideK, krows)
		g.collect(dvf, s.StrideV, g.dv, g.strideV, vrows)
	}
	return nil
}

// keyRows returns how many rows of an output with the layout of k there are: those of the tensor, and at least those
// that belong to sequences.
func (a *attn) keyRows(t tensor.Tensor, stride, width int) int {
	n := 0
	for i := range a.Seqs {
		n = max(n, int(a.cuK[i])+a.keys(i))
	}
	if stride > 0 && t.Len() >= width {
		n = max(n, (t.Len()-width)/stride+1)
	}
	return n
}

// gradients is an attention backward pass.
type gradients struct {
	*attn
	pairs            int
	dq, do, o        floats
	lse              []float32
	dk, dv           []float32 // rows of heads of pad elements
	strideK, strideV int
	dbias            bias
	behind           int            // how far before a block the one is that adds to the same sums before it, in the order of tasks with dbias
	done             []atomic.Int32 // keys up to which a block of queries has added its part, by block and pair, a cache line each
}

// zeroUnseen clears what no query adds to: rows of dk and dv of keys that are hidden from all, or in no sequence.
func (g *gradients) zeroUnseen(krows, vrows int) {
	clearRows := func(lo, hi int) {
		for row := lo; row < hi; row++ {
			if row < krows {
				clear(g.dk[row*g.strideK:][:g.KVHeads*g.pad])
			}
			if row < vrows {
				clear(g.dv[row*g.strideV:][:g.KVHeads*g.pad])
			}
		}
	}
	row := 0
	for i := range g.Seqs {
		l := lanes{seq: i, row0: int(g.cuQ[i]), key0: int(g.cuK[i]), nk: g.keys(i)}
		if l.nq = int(g.cuQ[i+1]) - l.row0; l.nq == 0 {
			continue
		}
		lo, _ := g.sees(&l, 0)
		if _, hi := g.sees(&l, l.nq*g.group-1); lo < hi {
			clearRows(row, l.key0+lo)
			row = l.key0 + hi
		}
	}
	clearRows(row, max(krows, vrows))
}

// zeroNew clears the rows of dk and dv of those keys from j0 to j0+n that no earlier block sees.
func (g *gradients) zeroNew(l *lanes, j0, n int) {
	from := l.lo
	if l.first > 0 {
		_, hi := g.sees(l, -1)
		from = max(from, hi)
	}
	for row := l.key0 + max(from, j0); row < l.key0+j0+n; row++ {
		clear(g.dk[row*g.strideK+l.kvh*g.pad:][:g.pad])
		clear(g.dv[row*g.strideV+l.kvh*g.pad:][:g.pad])
	}
}

// collect writes sums formed in scratch to their output.
func (g *gradients) collect(y floats, stride int, sums []float32, from, rows int) {
	rowParts(rows, g.KVHeads*g.HeadDim, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			for h := range g.KVHeads {
				y.store(g.b.v, r*stride+h*g.HeadDim, sums[r*from+h*g.pad:][:g.HeadDim], false, nil)
			}
		}
	})
}

// await returns once the block before has added its part for the keys below hi. That takes some tens of microseconds at most, unless the
// system gave its core to another program: then sleeping, too, leaves this core to it. Sooner it would cost more than the wait, and who
// wakes may find itself on another core.
func (g *gradients) await(task, hi int) {
	if task < g.behind {
		return
	}
	for spin := 1; int(g.done[line*(task-g.behind)].Load()) < hi; spin++ {
		if spin%(1<<20) == 0 { // about a millisecond
			time.Sleep(20 * time.Microsecond)
		}
	}
}

// gradBlock is a block of queries at work. Slices 0 and 2 and the first four packed matrices of its scratch are its own between tiles.
type gradBlock struct {
	lanes
	task          int
	sc            *scratch
	packed        bool
	before, after float32
	// The lanes' rows of q, scaled, and do [padded,pad], both transposed [pad,padded], and the sum for dq [padded,pad].
	qr, dor, qt, dot, dqr []float32
	lse, delta, factor    []float32
}

const (
	qByKeys = iota
	doByKeys
	qByScores
	doByScores
)

// gradBlocks is the most blocks of queries that a worker takes at a time: it adds to a tile's dk and dv for one after the other, so that these
// stay in its core's caches.
const gradBlocks = 2

// some computes what the at-th n blocks of queries contribute, tile by tile of keys.
func (g *gradients) some(pair, at, n int) {
	tile := gradTile{gradients: g, sc: g.b.borrow()}
	defer g.b.giveBack(tile.sc)
	var own [gradBlocks]gradBlock
	blocks := own[:0]
	end := 0
	for block := at * n; block < min(g.blocks, (at+1)*n); block++ {
		task := block*g.pairs + pair
		l, ok := g.attn.block(pair/g.KVHeads, pair%g.KVHeads, block)
		if !ok {
			g.finish(task)
			continue
		}
		blocks = append(blocks, gradBlock{lanes: l, task: task, sc: g.b.borrow()})
		g.begin(&blocks[len(blocks)-1], tile.sc)
		if l.lo >= l.hi { // others finish with their last tile
			g.finish(task)
		}
		end = max(end, l.hi)
	}
	if len(blocks) > 0 {
		// Tiles begin at multiples of keyTile, so that blocks meet at the same keys.
		for j := blocks[0].lo / keyTile * keyTile; j < end; j += keyTile {
			for i := range blocks {
				if b := &blocks[i]; b.lo < b.hi && j < b.hi && j+keyTile > b.lo {
					tile.add(b, j)
				}
			}
		}
	}
	for i := range blocks {
		b := &blocks[i]
		g.storeRows(&b.lanes, g.dq, g.StrideQ, b.factor, b.dqr, tile.sc.floats(3, 2*keyTile*g.pad))
		g.b.giveBack(b.sc)
	}
}

// finish says that a block has added all that it has to add.
func (g *gradients) finish(task int) {
	if g.dbias.x != nil { // other sequences have other keys: those behind must not pass those ahead
		g.await(task, math.MaxInt32)
	}
	g.done[line*task].Store(math.MaxInt32)
}

// begin reads the block's rows.
func (g *gradients) begin(b *gradBlock, shared *scratch) {
	v, l, sc := g.b.v, &b.lanes, b.sc
	n, hd, pad := l.padded, g.HeadDim, g.pad
	forms := sc.floats(0, 5*n*pad)
	b.qr, b.dor, b.qt, b.dot, b.dqr = forms[:n*pad], forms[n*pad:2*n*pad], forms[2*n*pad:3*n*pad], forms[3*n*pad:4*n*pad], forms[4*n*pad:]
	stats := sc.floats(2, 3*n)
	b.lse, b.delta, b.factor = stats[:n], stats[n:2*n], stats[2*n:]
	b.packed = g.packs(l)
	b.before, b.after = g.scales(b.packed)
	g.loadRows(l, g.q, g.StrideQ, b.before, b.qr)
	g.loadRows(l, g.do, g.StrideO, 1, b.dor)
	if b.packed {
		g.packLanes(&sc.packed[qByKeys], b.qr, n)
		g.packLanes(&sc.packed[doByKeys], b.dor, n)
		g.packRows(l, &sc.packed[qByScores], b.qr)
		g.packRows(l, &sc.packed[doByScores], b.dor)
	} else {
		v.Transpose(b.qt, n, b.qr, pad, n, pad)
		v.Transpose(b.dot, n, b.dor, pad, n, pad)
	}
	for r := range n {
		b.lse[r], b.delta[r], b.factor[r] = 0, 0, b.before
		if r >= l.n {
			continue
		}
		row, col := g.at(l, r)
		b.delta[r] = v.Dot(b.dor[r*pad:r*pad+hd], g.o.read(v, row*g.StrideO+col, hd, shared.floats(3, 2*keyTile*pad)))
		if x := g.lse[g.stat(l, r)]; x != negInf {
			b.lse[r] = x
		}
	}
	if l.lo >= l.hi {
		clear(b.dqr)
	}
}

// gradTile is a tile of keys, for the blocks that meet it one after the other, which share scratch.
type gradTile struct {
	*gradients
	sc      *scratch
	j, keys int // that are packed
}

const (
	keysByLanes = iota
	valuesByLanes
	keysByScores
	scoresPacked
)

// pack packs keys and values from j on, unless the block before had the same.
func (t *gradTile) pack(l *lanes, j, keys int) {
	if t.keys == keys && t.j == j {
		return
	}
	t.packKeys(l, &t.sc.packed[keysByLanes], t.k, t.StrideK, j, keys)
	t.packKeys(l, &t.sc.packed[valuesByLanes], t.v, t.StrideV, j, keys)
	t.packKeyRows(l, &t.sc.packed[keysByScores], t.k, t.StrideK, j, keys)
	t.j, t.keys = j, keys
}

// add computes the tile of the keys from j on, and adds what it contributes.
func (t *gradTile) add(b *gradBlock, j int) {
	g, v, l, sc := t.gradients, t.b.v, &b.lanes, t.sc
	n, pad := l.padded, g.pad
	tiles := sc.floats(4, 3*keyTile*n)
	p, dp, w := tiles[:keyTile*n], tiles[keyTile*n:2*keyTile*n], tiles[2*keyTile*n:]
	keys := min(keyTile, l.hi-j)
	var ks, vs []float32
	var strideK, strideV int
	cut := g.cut(l, j, keys)
	if b.packed {
		t.pack(l, j, keys)
		g.packedPairs(l, p, &sc.packed[keysByLanes], &b.sc.packed[qByKeys], keys, b.after)
		g.packedPairs(l, dp, &sc.packed[valuesByLanes], &b.sc.packed[doByKeys], keys, 1)
	} else {
		tmp := sc.floats(3, 2*keyTile*pad)
		ks, strideK = g.rows(l, g.k, g.StrideK, j, keys, tmp)
		vs, strideV = g.rows(l, g.v, g.StrideV, j, keys, tmp[keyTile*pad:])
		g.attn.pairs(l, p, ks, strideK, b.qt, j, keys, cut)
		g.attn.pairs(l, dp, vs, strideV, b.dot, j, keys, cut)
	}
	if g.SoftCap > 0 { // w = 1 − (S/cap)²
		v.Softcap(p[:keys*n], p[:keys*n], g.SoftCap)
		inv := 1 / g.SoftCap
		for i, x := range p[:keys*n] {
			w[i] = 1 - x*inv*(x*inv)
		}
	}
	g.hide(l, p, j, keys, cut, sc.floats(7, g.biasRoom(n)))
	v.ExpTile(p, keys, n, b.lse)
	pd := p
	if g.Dropout > 0 {
		drop := sc.floats(6, 2*keyTile*n)
		g.dropMask(l, drop, j, keys, sc.floats(5, keyTile))
		pd = drop[keyTile*n:]
		v.Mul(pd[:keys*n], p, drop)
		v.Mul(dp[:keys*n], dp, drop)
	}
	v.ScoreGradTile(dp, p, keys, n, b.delta)
	if g.dbias.x != nil {
		g.await(b.task, j+keys)
		g.addBiasGrad(l, dp, j, keys, sc.floats(7, g.biasRoom(n)))
	}
	if g.SoftCap > 0 {
		v.Mul(dp[:keys*n], dp, w)
	}
	first := j <= l.lo
	dk, dv := g.dk[(l.key0+j)*g.strideK+l.kvh*pad:], g.dv[(l.key0+j)*g.strideV+l.kvh*pad:]
	if b.packed {
		if b.after != 1 {
			v.Scale(dp[:keys*n], dp[:keys*n], b.after)
		}
		tmp := &sc.packed[scoresPacked]
		g.packedOverKeys(l, b.dqr, dp, tmp, &sc.packed[keysByScores], keys, first)
		g.await(b.task, j+keys)
		g.zeroNew(l, j, keys)
		g.packedOverLanes(l, dv, g.strideV, pd, tmp, &b.sc.packed[doByScores], keys)
		g.packedOverLanes(l, dk, g.strideK, dp, tmp, &b.sc.packed[qByScores], keys)
	} else {
		g.overKeys(l, b.dqr, dp, ks, strideK, j, keys, cut, first)
		g.await(b.task, j+keys)
		g.zeroNew(l, j, keys)
		g.overLanes(l, dv, g.strideV, pd, b.dor, j, keys, cut)
		g.overLanes(l, dk, g.strideK, dp, b.qr, j, keys, cut)
	}
	if j += keys; j < l.hi {
		g.done[line*b.task].Store(int32(j))
	} else {
		g.finish(b.task)
	}
}
