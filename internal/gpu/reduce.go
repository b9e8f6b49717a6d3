package gpu

import (
	"fmt"

	"github.com/mltrain/mltrain/internal/tensor"
)

// columnPieces are the neighbouring pieces of a row that a block of reduce_cols folds.
const columnPieces = 8

// Reduce folds x seen as a matrix [R,C] along axis 0 (y is [C]) or 1 (y is [R]).
func (b *Backend) Reduce(op tensor.ReduceOp, y, x tensor.Tensor, axis int, acc bool) error {
	c := call{b: b, kernel: fmt.Sprintf("reduce axis %d", axis)}
	c.require(op < tensor.NumReduceOps, "unknown reduction %d", op)
	c.require(axis == 0 || axis == 1, "axis must be 0 or 1")
	rows, cols := x.Rows(), x.Cols()
	n := rows
	if axis == 0 {
		n = cols
	}
	c.length("y", y, n)
	t := c.activation("x", x)
	yp, xp := c.float("y", y, n, true), c.window("x", x, x.Len(), false)
	if axis == 1 {
		c.launch("reduce", "reduce_rows_"+t, [3]int{rows}, [3]int{pieceThreads(cols, x.DType)}, int32(op), yp, xp, c.i32of(cols), code(y), flag(acc))
	} else {
		c.launch("reduce", "reduce_cols_"+t, [3]int{blocks(cols, columnPieces*pieceBytes/max(1, x.DType.Size()))}, [3]int{256}, int32(op), yp, xp, int64(rows), c.i32of(cols), code(y), flag(acc))
	}
	return c.err
}

// sumParts is the largest number of partial sums of SumSq.
const sumParts = 512

// SumSq computes out[0] = Σ x² (+= if acc).
func (b *Backend) SumSq(out, x tensor.Tensor, acc bool) error {
	c := call{b: b, kernel: "sumsq"}
	n, t := x.Len(), c.activation("x", x)
	o, xp := c.f32("out", out, 1, true), c.window("x", x, n, false)
	parts := max(1, min(sumParts, blocks(n, 4*maxThreads)))
	part := b.temp(&c, 4*sumParts)
	c.launch("reduce", "sumsq_"+t, [3]int{parts}, [3]int{maxThreads}, part, xp, int64(n))
	c.launch("reduce", "sum_parts", [3]int{1}, [3]int{maxThreads}, o, part, int32(parts), flag(acc))
	return c.err
}

// ClipScale turns the squared norm of the unscaled gradient into what Optim needs.
func (b *Backend) ClipScale(out, sumsq tensor.Tensor, inv, maxNorm float32) error {
	c := call{b: b, kernel: "clip scale"}
	c.launch("reduce", "clip_scale", [3]int{1}, [3]int{1}, c.f32("out", out, 2, true), c.f32("sumsq", sumsq, 1, false), inv, maxNorm)
	return c.err
}
