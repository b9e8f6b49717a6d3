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

// The most rows that there are kernels for which read a matrix once for all of them, in float32 and on tensor cores, and the columns
// of the result that a warp of the first makes, and a block of the second.
const (
	fewRows        = 16
	fewRowsMMA     = 64
	fewRowsColumns = 2
	mmaColumns     = 16
)

// forRows returns the smallest of the numbers of rows that kernels are made for which is not less than m.
func forRows(m int, kernels ...int) int {
	for _, rows := range kernels {
		if m <= rows {
			return rows
		}
	}
	return kernels[len(kernels)-1]
}

// MulQuant4Rows is the most rows that MulQuant4 takes.
func (b *Backend) MulQuant4Rows(x tensor.DType) int {
	if x == tensor.BF16 {
		return fewRowsMMA
	}
	return fewRows
}

// MulQuant4 computes y = x·qᵀ + bias + beta·y for few rows of x: on tensor cores if x and y are bfloat16 and 32 elements of x and of q
// begin at multiples of 16 bytes; else, and for a single row, in float32, up to 16 rows at a time.
func (b *Backend) MulQuant4(y, x tensor.Tensor, q tensor.Quant4, bias tensor.Tensor, beta float32) error {
	c := call{b: b, kernel: "nf4 product"}
	m, n, k := x.Rows(), q.Rows, q.Cols
	t := c.activation("x", x)
	c.require(m <= b.MulQuant4Rows(x.DType), "%d rows of %v, want at most %d", m, x.DType, b.MulQuant4Rows(x.DType))
	c.require(x.Cols() == k, "x is %v, the matrix [%d,%d]", x, n, k)
	c.length("y", y, m*n)
	yp, xp, matrix := c.float("y", y, m*n, true), c.window("x", x, m*k, false), c.quantised(q)
	codes, _ := matrix[0].(Ptr)
	var biasP Ptr
	if !bias.IsZero() {
		c.length("bias", bias, n)
		biasP = c.float("bias", bias, n, false)
	}
	if c.err != nil {
		return c.err
	}
	args := func(yx []any, rows int) []any {
		return append(append(yx, matrix...), biasP, code(bias), c.i32of(rows), c.i32of(n), c.i32of(k), beta)
	}
	if m > 1 && x.DType == tensor.BF16 && y.DType == tensor.BF16 && k%32 == 0 && xp%pieceBytes == 0 && codes%pieceBytes == 0 {
		kernel := "nf4_multiply_mma_" + strconv.Itoa(forRows(m, 8, 16, 32, fewRowsMMA))
		c.launch("nf4_mma", kernel, [3]int{blocks(n, mmaColumns)}, [3]int{maxThreads}, args([]any{yp, xp}, m)...)
		return c.err
	}
	for lo := 0; lo < m; lo += fewRows {
		rows := min(fewRows, m-lo)
		at := []any{yp + Ptr(lo*n*y.DType.Size()), code(y), xp + Ptr(lo*k*x.DType.Size())}
		kernel := "nf4_multiply_" + t + "_" + strconv.Itoa(forRows(rows, 1, 4, fewRows))
		c.launch("nf4", kernel, [3]int{blocks(n, fewRowsColumns*maxThreads/32)}, [3]int{maxThreads}, args(at, rows)...)
	}
	return c.err
}
