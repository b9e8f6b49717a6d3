package cpu

import (
	"math"

	"github.com/mltrain/mltrain/internal/cpu/gemm"
)

// fewLanes is up to how many lanes a block is computed with the lanes down and the keys across: in generation a sequence has one query,
// whose heads would fill a fraction of a tile's lanes.
const fewLanes = 4

// forwardFew is forward for few lanes: S = scale·q·Kᵀ over all keys at once, softmax by rows, o = P·V.
func (a *attn) forwardFew(l *lanes, of floats, lse []float32) {
	v := a.b.v
	sc := a.b.borrow()
	defer a.b.giveBack(sc)
	hd, keys := a.HeadDim, max(0, l.hi-l.lo)
	rows, s, tmp := sc.floats(0, 2*l.n*hd), sc.floats(1, l.n*keys), sc.floats(2, max(hd, keys))
	q, o := rows[:l.n*hd], rows[l.n*hd:]
	for r := range l.n {
		row, col := a.at(l, r)
		v.Scale(q[r*hd:(r+1)*hd], a.q.read(v, row*a.StrideQ+col, hd, tmp), a.Scale)
	}
	of0 := l.kvh * hd
	first := l.key0 + l.lo
	if keys > 0 {
		gemm.Mul(gemm.Spec{TransB: true, M: l.n, N: keys, K: hd, LDA: hd, LDB: a.StrideK, LDC: keys, Alpha: 1}, gemm.ComputeF32,
			gemm.Data{F32: s}, gemm.Data{F32: q}, a.k.from(first*a.StrideK+of0), gemm.Data{})
		if a.SoftCap > 0 {
			v.Softcap(s, s, a.SoftCap)
		}
	}
	for r := range l.n {
		lo, hi := a.sees(l, r)
		x := s[r*keys : (r+1)*keys]
		if b := a.bias.row(a.query(l, r)); b != nil {
			v.Add(x, x, b[l.lo:l.lo+keys])
		}
		for j := range min(lo-l.lo, keys) {
			x[j] = negInf
		}
		for j := max(0, hi-l.lo); j < keys; j++ {
			x[j] = negInf
		}
		top, at := negInf, a.stat(l, r)
		if keys > 0 {
			top = v.Max(x)
		}
		if lse[at] = negInf; top == negInf {
			clear(x)
			continue
		}
		sum := v.ExpSum(x, x, top)
		lse[at] = top + float32(math.Log(float64(sum)))
		v.Scale(x, x, 1/sum)
		if a.Dropout > 0 {
			a.b.v.Keep(tmp[:keys], a.Key, uint64(at)*uint64(a.MaxK)+uint64(l.lo), a.threshold, a.keepScale)
			v.Mul(x, x, tmp[:keys])
		}
	}
	gemm.Mul(gemm.Spec{M: l.n, N: hd, K: keys, LDA: keys, LDB: a.StrideV, LDC: hd, Alpha: 1}, gemm.ComputeF32,
		gemm.Data{F32: o}, gemm.Data{F32: s}, a.v.from(first*a.StrideV+of0), gemm.Data{})
	for r := range l.n {
		row, col := a.at(l, r)
		d := of.dst(row*a.StrideO+col, hd, tmp)
		copy(d, o[r*hd:(r+1)*hd])
		of.flush(v, row*a.StrideO+col, d)
	}
}
