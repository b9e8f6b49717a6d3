package cpu

import (
	"fmt"

	"github.com/mltrain/mltrain/internal/cpu/gemm"
	"github.com/mltrain/mltrain/internal/cpu/par"
	"github.com/mltrain/mltrain/internal/tensor"
)

// Gemm multiplies matrices as GemmSpec says, of float32 and bfloat16 in any mixture. Two bfloat16 matrices are
// multiplied by the instructions for them where the CPU has any. Sums are float32, but for what s.Reduced allows (see package gemm).
func (b *Backend) Gemm(s tensor.GemmSpec, c, a, x, bias tensor.Tensor) error {
	batch := max(1, s.Batch)
	k := call{kernel: "gemm"}
	k.require(s.M >= 0 && s.N >= 0 && s.K >= 0, "negative size")
	k.require(batch == 1 || s.StrideA >= 0 && s.StrideB >= 0 && s.StrideC >= (s.M-1)*s.LDC+s.N || s.M == 0,
		"products of a batch overlap: strides %d, %d, %d", s.StrideA, s.StrideB, s.StrideC)
	cf := k.matrix("c", c, s.M, s.N, s.LDC, batch, s.StrideC, false, true)
	af := k.matrix("a", a, s.M, s.K, s.LDA, batch, s.StrideA, s.TransA, false)
	bf := k.matrix("b", x, s.K, s.N, s.LDB, batch, s.StrideB, s.TransB, false)
	var bias1 floats
	if !bias.IsZero() {
		k.length("bias", bias, s.N)
		bias1 = k.in("bias", bias)
	}
	if k.err != nil {
		return fmt.Errorf("%w (c %v = a %v · b %v, %+v)", k.err, c, a, x, s)
	}
	spec := gemm.Spec{TransA: s.TransA, TransB: s.TransB, M: s.M, N: s.N, K: s.K, LDA: s.LDA, LDB: s.LDB, LDC: s.LDC, Alpha: s.Alpha, Beta: s.Beta}
	precision := gemm.ComputeF32
	if a.DType == tensor.BF16 && x.DType == tensor.BF16 {
		precision = gemm.ComputeBF16
		if s.Reduced {
			precision = gemm.ComputeBF16Reduced
		}
	}
	mul := func(i int) {
		gemm.Mul(spec, precision, cf.from(i*s.StrideC), af.from(i*s.StrideA), bf.from(i*s.StrideB), bias1.from(0))
	}
	if batch == 1 {
		mul(0)
	} else {
		par.Do(batch, mul)
	}
	return nil
}

// matrix returns the memory of batch matrices op(X) [rows,cols].
func (c *call) matrix(name string, t tensor.Tensor, rows, cols, ld, batch, stride int, trans, write bool) floats {
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

// from returns the operand from element n on.
func (x floats) from(n int) gemm.Data {
	if x.h != nil {
		return gemm.Data{BF16: x.h[min(n, len(x.h)):]}
	}
	return gemm.Data{F32: x.f[min(n, len(x.f)):]}
}
