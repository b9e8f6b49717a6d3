package cpu

import (
	"fmt"
	"math"
	"runtime"
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
	if g.dbias.x != nil {
		par.Do(g.pairs*a.blocks, func(task int) { g.block(task%g.pairs, task/g.pairs) })
	} else {
		a.share(g.block)
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

// await returns once the block before has added its part for the keys below hi. It is rarely long in coming, unless the
// system gave its core to another program: then sleeping, too, leaves this core to it.
func (g *gradients) await(task, hi int) {
	if task < g.behind {
		return
	}
	for spin := 1; int(g.done[line*(task-g.behind)].Load()) < hi; spin++ {
		switch {
		case spin%4096 == 0:
			time.Sleep(20 * time.Microsecond)
		case spin%1024 == 0:
			runtime.Gosched()
		}
	}
}

// block computes what one block of queries contributes.
func (g *gradients) block(pair, block int) {
	task := block*g.pairs + pair
	defer func() {
		if g.dbias.x != nil { // other sequences have other keys: those behind must not pass those ahead
			g.await(task, math.MaxInt32)
		}
		g.done[line*task].Store(math.MaxInt32)
	}()
	l, ok := g.attn.block(pair/g.KVHeads, pair%g.KVHeads, block)
	if !ok {
		return
	}
	v := g.b.v
	sc := g.b.borrow()
	defer g.b.giveBack(sc)
	n, hd, pad := l.padded, g.HeadDim, g.pad
	// The lanes' rows of q, scaled, and do [n,pad], both transposed [pad,n], and the sum for dq [n,pad].
	forms := sc.floats(0, 5*n*pad)
	qr, dor, qt, dot, dqr := forms[:n*pad], forms[n*pad:2*n*pad], forms[2*n*pad:3*n*pad], forms[3*n*pad:4*n*pad], forms[4*n*pad:]
	stats, tmp := sc.floats(2, 3*n), sc.floats(3, 2*keyTile*pad)
	lse, delta, factor := stats[:n], stats[n:2*n], stats[2*n:]
	tiles := sc.floats(4, 3*keyTile*n)
	p, dp, w := tiles[:keyTile*n], tiles[keyTile*n:2*keyTile*n], tiles[2*keyTile*n:]

	packed := g.packs(&l)
	before, after := g.scales(packed)
	g.loadRows(&l, g.q, g.StrideQ, before, qr)
	g.loadRows(&l, g.do, g.StrideO, 1, dor)
	qByKeys, doByKeys, qByScores, doByScores, tmp1, tmp2 := &sc.packed[0], &sc.packed[1], &sc.packed[2], &sc.packed[3], &sc.packed[4], &sc.packed[5]
	if packed {
		g.packLanes(qByKeys, qr, n)
		g.packLanes(doByKeys, dor, n)
		g.packRows(&l, qByScores, qr)
		g.packRows(&l, doByScores, dor)
	} else {
		v.Transpose(qt, n, qr, pad, n, pad)
		v.Transpose(dot, n, dor, pad, n, pad)
	}
	for r := range n {
		lse[r], delta[r], factor[r] = 0, 0, before
		if r >= l.n {
			continue
		}
		row, col := g.at(&l, r)
		delta[r] = v.Dot(dor[r*pad:r*pad+hd], g.o.read(v, row*g.StrideO+col, hd, tmp))
		if x := g.lse[g.stat(&l, r)]; x != negInf {
			lse[r] = x
		}
	}
	if l.lo >= l.hi {
		clear(dqr)
	}
	// Tiles begin at multiples of keyTile, so that blocks meet at the same keys.
	first := l.lo / keyTile * keyTile
	for j := first; j < l.hi; j += keyTile {
		keys := min(keyTile, l.hi-j)
		var ks, vs []float32
		var strideK, strideV int
		cut := g.cut(&l, j, keys)
		if packed {
			g.packedPairs(&l, p, g.k, g.StrideK, qByKeys, tmp1, j, keys, after)
			g.packedPairs(&l, dp, g.v, g.StrideV, doByKeys, tmp1, j, keys, 1)
		} else {
			ks, strideK = g.rows(&l, g.k, g.StrideK, j, keys, tmp)
			vs, strideV = g.rows(&l, g.v, g.StrideV, j, keys, tmp[keyTile*pad:])
			g.attn.pairs(&l, p, ks, strideK, qt, j, keys, cut)
			g.attn.pairs(&l, dp, vs, strideV, dot, j, keys, cut)
		}
		if g.SoftCap > 0 { // w = 1 − (S/cap)²
			v.Softcap(p[:keys*n], p[:keys*n], g.SoftCap)
			inv := 1 / g.SoftCap
			for i, x := range p[:keys*n] {
				w[i] = 1 - x*inv*(x*inv)
			}
		}
		g.hide(&l, p, j, keys, cut, sc.floats(7, g.biasRoom(n)))
		v.ExpTile(p, keys, n, lse)
		pd := p
		if g.Dropout > 0 {
			drop := sc.floats(6, 2*keyTile*n)
			g.dropMask(&l, drop, j, keys, sc.floats(5, keyTile))
			pd = drop[keyTile*n:]
			v.Mul(pd[:keys*n], p, drop)
			v.Mul(dp[:keys*n], dp, drop)
		}
		v.ScoreGradTile(dp, p, keys, n, delta)
		if g.dbias.x != nil {
			g.await(task, j+keys)
			g.addBiasGrad(&l, dp, j, keys, sc.floats(7, g.biasRoom(n)))
		}
		if g.SoftCap > 0 {
			v.Mul(dp[:keys*n], dp, w)
		}
		if packed {
			if after != 1 {
				v.Scale(dp[:keys*n], dp[:keys*n], after)
			}
			g.packedOverKeys(&l, dqr, dp, g.k, g.StrideK, tmp1, tmp2, j, keys, j == first)
			g.await(task, j+keys)
			g.zeroNew(&l, j, keys)
			g.packedOverLanes(&l, g.dv[(l.key0+j)*g.strideV+l.kvh*pad:], g.strideV, pd, tmp1, doByScores, keys)
			g.packedOverLanes(&l, g.dk[(l.key0+j)*g.strideK+l.kvh*pad:], g.strideK, dp, tmp1, qByScores, keys)
			g.done[line*task].Store(int32(j + keys))
			continue
		}
		g.overKeys(&l, dqr, dp, ks, strideK, j, keys, cut, j == first)
		g.await(task, j+keys)
		g.zeroNew(&l, j, keys)
		g.overLanes(&l, g.dv[(l.key0+j)*g.strideV+l.kvh*pad:], g.strideV, pd, dor, j, keys, cut)
		g.overLanes(&l, g.dk[(l.key0+j)*g.strideK+l.kvh*pad:], g.strideK, dp, qr, j, keys, cut)
		g.done[line*task].Store(int32(j + keys))
	}
	g.storeRows(&l, g.dq, g.StrideQ, factor, dqr, tmp)
}
