package gpu

import (
	"strconv"

	"github.com/mltrain/mltrain/internal/quant"
	"github.com/mltrain/mltrain/internal/tensor"
)

// decodeBlocks bounds the blocks of a launch that decodes: each fills a table first.
const decodeBlocks = 1024

// quantised checks a matrix in NF4 and returns the kernels' arguments for it.
func (c *call) quantised(q tensor.Quant4) []any {
	n := q.Rows * q.Cols
	blocks := quant.Blocks(n, quant.BlockSize)
	c.require(q.Rows >= 0 && q.Cols > 0, "impossible shape [%d,%d]", q.Rows, q.Cols)
	c.length("codes", q.Codes, quant.PackedBytes(n))
	codes := c.typed("codes", q.Codes, tensor.U8, q.Codes.Len(), false)
	var absmax, absCodes, absScales, values Ptr
	if q.AbsCodes.IsZero() {
		c.length("absmax", q.Absmax, blocks)
		absmax = c.f32("absmax", q.Absmax, blocks, false)
	} else {
		c.length("absmax codes", q.AbsCodes, blocks)
		absCodes = c.typed("absmax codes", q.AbsCodes, tensor.U8, blocks, false)
		absScales = c.f32("absmax scales", q.AbsScales, quant.Blocks(blocks, quant.NestedBlock), false)
		values = c.f32("map", q.Map, 256, false)
	}
	return []any{codes, absmax, absCodes, absScales, values, q.Offset}
}

// Dequant writes rows row … of q to w.
func (b *Backend) Dequant(w tensor.Tensor, q tensor.Quant4, row int) error {
	c := call{b: b, kernel: "dequant"}
	t := c.activation("w", w)
	c.require(w.Cols() == q.Cols && row >= 0 && row+w.Rows() <= q.Rows, "rows %d … of [%d,%d] do not fit %v", row, q.Rows, q.Cols, w)
	wp, matrix := c.window("w", w, w.Len(), true), c.quantised(q)
	n := w.Len()
	args := append(append([]any{wp}, matrix...), int64(row*q.Cols), int64(n))
	c.launch("nf4", "dequant_"+t, [3]int{min(decodeBlocks, blocks(n, 8*maxThreads))}, [3]int{min(maxThreads, roundUp(n, 32))}, args...)
	return c.err
}

// The most rows of x that there are kernels for which decode as they multiply, and the columns of y that a warp of them makes.
const (
	fewRows        = 16
	fewRowsColumns = 2
)

// forRows returns the number of rows that the kernel for m rows is made for.
func forRows(m int) int {
	switch {
	case m <= 1:
		return 1
	case m <= 4:
		return 4
	}
	return fewRows
}

// MulQuant4Rows is the most rows that MulQuant4 takes.
func (b *Backend) MulQuant4Rows() int { return fewRows }

// MulQuant4 computes y = x·qᵀ + bias + beta·y for few rows of x.
func (b *Backend) MulQuant4(y, x tensor.Tensor, q tensor.Quant4, bias tensor.Tensor, beta float32) error {
	c := call{b: b, kernel: "nf4 product"}
	m, n, k := x.Rows(), q.Rows, q.Cols
	t := c.activation("x", x)
	c.require(m <= fewRows, "%d rows, want at most %d", m, fewRows)
	c.require(x.Cols() == k, "x is %v, the matrix [%d,%d]", x, n, k)
	c.length("y", y, m*n)
	yp, xp, matrix := c.float("y", y, m*n, true), c.window("x", x, m*k, false), c.quantised(q)
	var biasP Ptr
	if !bias.IsZero() {
		c.length("bias", bias, n)
		biasP = c.float("bias", bias, n, false)
	}
	if m == 0 {
		return c.err
	}
	args := append(append([]any{yp, code(y), xp}, matrix...), biasP, code(bias), c.i32of(m), c.i32of(n), c.i32of(k), beta)
	c.launch("nf4", "nf4_multiply_"+t+"_"+strconv.Itoa(forRows(m)), [3]int{blocks(n, fewRowsColumns*maxThreads/32)}, [3]int{maxThreads}, args...)
	return c.err
}
