package gpu

import (
	"fmt"
	"strconv"

	"github.com/mltrain/mltrain/internal/tensor"
)

// The numbers of rows and columns of C that a block computes, in plain arithmetic and on tensor cores.
const (
	gemmTile = 64
	mmaTile  = 128
)

// tensorCores tells whether operands are such that tensor cores can multiply them: bfloat16, with rows that begin at
// multiples of 16 bytes.
func tensorCores(s tensor.GemmSpec, a, b tensor.Tensor, ap, bp Ptr) bool {
	const align = 16
	return a.DType == tensor.BF16 && b.DType == tensor.BF16 && s.K > 0 && ap%align == 0 && bp%align == 0 &&
		(s.LDA|s.LDB|s.StrideA|s.StrideB)*tensor.BF16.Size()%align == 0
}

// Gemm multiplies matrices as GemmSpec says, of float32 and bfloat16 in any mixture; sums are float32 always.
func (b *Backend) Gemm(s tensor.GemmSpec, c, a, x, bias tensor.Tensor) error {
	batch := max(1, s.Batch)
	k := call{b: b, kernel: "gemm"}
	k.require(s.M >= 0 && s.N >= 0 && s.K >= 0, "negative size")
	k.require(batch == 1 || s.StrideA >= 0 && s.StrideB >= 0 && s.StrideC >= (s.M-1)*s.LDC+s.N || s.M == 0,
		"products of a batch overlap: strides %d, %d, %d", s.StrideA, s.StrideB, s.StrideC)
	cp := k.matrix("c", c, s.M, s.N, s.LDC, batch, s.StrideC, false, true)
	ap := k.matrix("a", a, s.M, s.K, s.LDA, batch, s.StrideA, s.TransA, false)
	bp := k.matrix("b", x, s.K, s.N, s.LDB, batch, s.StrideB, s.TransB, false)
	var biasP Ptr
	if !bias.IsZero() {
		k.length("bias", bias, s.N)
		biasP = k.float("bias", bias, s.N, false)
	}
	tc, ta, tb := k.activation("c", c), k.activation("a", a), k.activation("b", x)
	switch {
	case k.err != nil || s.M == 0 || s.N == 0:
	case tensorCores(s, a, x, ap, bp) && k.handOver(Product{s, cp, ap, bp, biasP, c.DType}, bias):
	case !s.TransA && s.TransB && s.M <= fewRows:
		kernel := "gemm_few_" + ta + "_" + tb + "_" + strconv.Itoa(forRows(s.M, 1, 4, fewRows))
		k.launch("gemm_few", kernel, [3]int{blocks(s.N, fewRowsColumns*maxThreads/32), 1, batch}, [3]int{maxThreads},
			cp, code(c), ap, bp, biasP, code(bias), k.i32of(s.M), k.i32of(s.N), k.i32of(s.K), int64(s.LDA), int64(s.LDB), int64(s.LDC),
			s.Alpha, s.Beta, int64(s.StrideA), int64(s.StrideB), int64(s.StrideC))
	case tensorCores(s, a, x, ap, bp):
		kernel := "gemm_mma_" + tc + "_" + map[bool]string{false: "n", true: "t"}[s.TransA] + map[bool]string{false: "n", true: "t"}[s.TransB]
		k.launch("gemm_mma", kernel, [3]int{blocks(s.N, mmaTile), blocks(s.M, mmaTile), batch}, [3]int{256},
			cp, ap, bp, biasP, code(bias), k.i32of(s.M), k.i32of(s.N), k.i32of(s.K), int64(s.LDA), int64(s.LDB), int64(s.LDC),
			s.Alpha, s.Beta, int64(s.StrideA), int64(s.StrideB), int64(s.StrideC))
	default:
		k.launch("gemm", "gemm_"+tc+"_"+ta+"_"+tb, [3]int{blocks(s.N, gemmTile), blocks(s.M, gemmTile), batch}, [3]int{256},
			cp, ap, bp, biasP, code(bias), flag(s.TransA), flag(s.TransB), k.i32of(s.M), k.i32of(s.N), k.i32of(s.K),
			int64(s.LDA), int64(s.LDB), int64(s.LDC), s.Alpha, s.Beta, int64(s.StrideA), int64(s.StrideB), int64(s.StrideC))
	}
	if k.err != nil {
		return fmt.Errorf("%w (c %v = a %v · b %v, %+v)", k.err, c, a, x, s)
	}
	return nil
}

// handOver leaves a product to the driver's library, if there is one that does it. It tells whether nothing is left to do.
func (c *call) handOver(p Product, bias tensor.Tensor) bool {
	m, ok := c.b.driver.(Multiplier)
	if !ok || !bias.IsZero() && bias.DType != p.CType {
		return false
	}
	done, err := m.Multiply(p)
	c.err = c.wrap(err)
	return done || err != nil
}

// matrix returns the address of batch matrices op(X) [rows,cols].
func (c *call) matrix(name string, t tensor.Tensor, rows, cols, ld, batch, stride int, trans, write bool) Ptr {
	if trans {
		rows, cols = cols, rows
	}
	c.require(ld >= cols || rows == 0, "%s has rows of %d elements and leading dimension %d", name, cols, ld)
	n := c.extent(name, rows, cols, ld)
	if n > 0 && batch > 1 {
		n += (batch - 1) * stride
	}
	return c.float(name, t, n, write)
}
