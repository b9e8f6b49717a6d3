package cpu

import "github.com/mltrain/mltrain/internal/cpu/gemm"

// Attention in bfloat16 by packed matrices (gemm.Packed), where the CPU has AMX and a block has enough lanes: what meets several tiles is packed once.
// The softmax and its gradient are rounded to bfloat16 before they are multiplied with values, keys, queries and gradients, as FlashAttention does it
// (Dao et al., 2022) and PyTorch on the CPU; sums and the softmax itself are float32. All pairs of a tile are computed, also hidden ones. In float32,
// where each matrix would be packed as three, this is no faster.

// packedLanes is from how many lanes on it is faster.
const packedLanes = 32

// canPack reports whether queries, keys and values are bfloat16. Rows that must not depend on others (Alone) are computed in float32.
func (a *attn) canPack() bool {
	return gemm.HasPacked() && !a.Alone && a.q.h != nil && a.k.h != nil && a.v.h != nil
}

// packs reports whether a block's products are of packed matrices.
func (a *attn) packs(l *lanes) bool { return a.packed && l.n >= packedLanes }

// scales is what queries are multiplied with before and scores after the product: a query in bfloat16 stays as it is.
func (a *attn) scales(packed bool) (before, after float32) {
	if packed {
		return 1, a.Scale
	}
	return a.Scale, 1
}

// packLanes packs rows x [lanes, pad] as what keys are multiplied with: their transpose.
func (a *attn) packLanes(m *gemm.Packed, x []float32, lanes int) {
	m.PackB(gemm.ComputeBF16, gemm.Data{F32: x}, true, a.HeadDim, lanes, a.pad)
}

// keyAt is x from a key on.
func (a *attn) keyAt(l *lanes, x floats, stride, key int) gemm.Data {
	return x.from((l.key0+key)*stride + l.kvh*a.HeadDim)
}

// packKeys packs rows of x [n, HeadDim] for keys from j0 on as what lanes are multiplied with, and packKeyRows as what scores are.
func (a *attn) packKeys(l *lanes, m *gemm.Packed, x floats, stride, j0, n int) {
	m.PackA(gemm.ComputeBF16, a.keyAt(l, x, stride, j0), false, n, a.HeadDim, stride)
}

func (a *attn) packKeyRows(l *lanes, m *gemm.Packed, x floats, stride, j0, n int) {
	m.PackB(gemm.ComputeBF16, a.keyAt(l, x, stride, j0), false, n, a.HeadDim, stride)
}

// packedPairs computes s [n, padded] = scale · keys [n, HeadDim] · lanes [HeadDim, padded].
func (a *attn) packedPairs(l *lanes, s []float32, keys, lanes *gemm.Packed, n int, scale float32) {
	gemm.MulPacked(s, l.padded, keys, lanes, false)
	if scale != 1 {
		a.b.v.Scale(s[:n*l.padded], s[:n*l.padded], scale)
	}
}

// packedOverKeys computes o [n lanes, pad] += sᵀ · rows [n, HeadDim], or = if they are the first.
func (a *attn) packedOverKeys(l *lanes, o, s []float32, tmp, rows *gemm.Packed, n int, first bool) {
	tmp.PackA(gemm.ComputeBF16, gemm.Data{F32: s}, true, l.n, n, l.padded)
	gemm.MulPacked(o, a.pad, tmp, rows, !first)
}

// packRows packs rows x [n lanes, pad] as what scores are multiplied with.
func (a *attn) packRows(l *lanes, m *gemm.Packed, x []float32) {
	m.PackB(gemm.ComputeBF16, gemm.Data{F32: x}, false, l.n, a.HeadDim, a.pad)
}

// packedOverLanes computes y [n, HeadDim] += s [n, lanes] · rows [lanes, HeadDim].
func (a *attn) packedOverLanes(l *lanes, y []float32, stride int, s []float32, tmp, rows *gemm.Packed, n int) {
	tmp.PackA(gemm.ComputeBF16, gemm.Data{F32: s}, false, n, l.n, l.padded)
	gemm.MulPacked(y, stride, tmp, rows, true)
}
