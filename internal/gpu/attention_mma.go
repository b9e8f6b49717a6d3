package gpu

import (
	"fmt"

	"github.com/mltrain/mltrain/internal/tensor"
)

// passing is a kernel of attention_mma.cu, in whose blocks `rows` rows stay and tiles of `tile` rows pass by.
type passing struct{ rows, tile int }

// flash holds the kernels for heads that are padded to dim elements; the numbers are those of attention_mma.cu.
type flash struct {
	dim             int
	forward, dq, kv passing
}

// flashFor returns the kernels for heads of dim elements.
func flashFor(dim int) flash {
	switch {
	case dim <= 32:
		return flash{32, passing{128, 64}, passing{128, 32}, passing{128, 32}}
	case dim <= 64:
		return flash{64, passing{128, 64}, passing{128, 32}, passing{64, 64}}
	case dim <= 128:
		return flash{128, passing{128, 32}, passing{64, 32}, passing{64, 32}}
	}
	return flash{256, passing{64, 32}, passing{64, 16}, passing{64, 16}}
}

// tensorCores tells whether the kernels on tensor cores can do it: bfloat16, and every row and head of q, k, v, o and
// their like begins at a multiple of 16 bytes.
func (a *attn) tensorCores(more ...Ptr) bool {
	at := a.q | a.k | a.v
	for _, p := range more {
		at |= p
	}
	elements := a.HeadDim | a.StrideQ | a.StrideK | a.StrideV | a.StrideO
	return a.dt == tensor.BF16 && a.Scale > 0 && at%pieceBytes == 0 && elements*tensor.BF16.Size()%pieceBytes == 0
}

// flashThreads is the number of threads of a block.
const flashThreads = 128

// passBy launches a kernel over all rows, which belong to sequences as part_of in attention_mma.cu says, and heads. It
// keeps `still` tensors of rows and two stages, each with tiles of two tensors and `numbers` per row of a tile.
func (a *attn) passBy(c *call, kernel string, p passing, rows, heads, still, numbers int, args ...any) {
	if rows == 0 {
		return
	}
	f := flashFor(a.HeadDim)
	shared := (still*p.rows+2*2*p.tile)*f.dim*tensor.BF16.Size() + 2*p.tile*numbers*tensor.F32.Size()
	grid := [3]int{rows/p.rows + a.Seqs + 2, heads}
	c.launchShared("attention_mma", fmt.Sprintf("attention_mma_%s%d", kernel, f.dim), grid, [3]int{flashThreads}, shared,
		append([]any{a.params}, args...)...)
}

// forwardMMA keeps q; k and v pass by.
func (a *attn) forwardMMA(c *call, o, lse Ptr) {
	a.passBy(c, "", flashFor(a.HeadDim).forward, a.totalQ, a.Heads, 1, 0, o, lse, a.q, a.k, a.v)
}

// backwardMMA keeps q and do for dq, and k and v for dk and dv; the others pass by, with the log-sum-exp and delta of
// queries.
func (a *attn) backwardMMA(c *call, dq, dk, dv Ptr, rowsK, rowsV int, do, lse, delta Ptr) {
	f := flashFor(a.HeadDim)
	a.passBy(c, "dq_", f.dq, a.totalQ, a.Heads, 2, 0, dq, do, lse, delta, a.q, a.k, a.v)
	kernels := []string{"dkv_"}
	if f.dim > 128 {
		kernels = []string{"dk_", "dv_"}
	}
	for _, kernel := range kernels {
		a.passBy(c, kernel, f.kv, max(rowsK, rowsV), a.KVHeads, 2, 2, dk, dv, c.i32of(rowsK), c.i32of(rowsV), do, lse, delta, a.q, a.k, a.v)
	}
}
