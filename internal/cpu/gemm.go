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
	p, k := checkGemm(s, c, a, x, bias)
	if k.err != nil {
		return fmt.Errorf("%w (c %v = a %v · b %v, %+v)", k.err, c, a, x, s)
	}
	mul := func(i int) {
		gemm.Mul(p.spec, p.precision, p.c.from(i*s.StrideC), p.a.from(i*s.StrideA), p.b.from(i*s.StrideB), p.bias.from(0))
	}
	if batch == 1 {
		mul(0)
	} else {
		par.Do(batch, mul)
	}
	return nil
}

// GemmShared computes products of one matrix, together where package gemm can.
func (b *Backend) GemmShared(a tensor.Tensor, parts []tensor.GemmPart) error {
	w := b.borrow()
	defer b.giveBack(w)
	w.products = w.products[:0]
	var first checkedGemm
	for i, part := range parts {
		p, k := checkGemm(part.GemmSpec, part.C, a, part.B, part.Bias)
		f, s := parts[0].GemmSpec, part.GemmSpec
		k.require(s.Batch <= 1 && s.TransA == f.TransA && s.M == f.M && s.K == f.K && s.LDA == f.LDA, "part %d has another a than the first: %+v", i, f)
		if k.err != nil {
			return fmt.Errorf("%w (c %v = a %v · b %v, %+v)", k.err, part.C, a, part.B, s)
		}
		if i == 0 {
			first = p
		}
		if p.precision != first.precision { // b has another type than the first
			gemm.Mul(p.spec, p.precision, p.c.from(0), p.a.from(0), p.b.from(0), p.bias.from(0))
			continue
		}
		w.products = append(w.products, gemm.Product{Spec: p.spec, C: p.c.from(0), B: p.b.from(0), Bias: p.bias.from(0)})
	}
	if len(w.products) > 0 {
		gemm.MulShared(first.precision, first.a.from(0), w.products)
	}
	clear(w.products)
	return nil
}

// checkedGemm is a product whose operands are as they should be.
type checkedGemm struct {
	spec          gemm.Spec
	precision     gemm.Precision
	c, a, b, bias floats
}

func checkGemm(s tensor.GemmSpec, c, a, x, bias tensor.Tensor) (p checkedGemm, k call) {
	batch := max(1, s.Batch)
	k.kernel = "gemm"
	k.require(s.M >= 0 && s.N >= 0 && s.K >= 0, "negative size")
	k.require(batch == 1 || s.StrideA >= 0 && s.StrideB >= 0 && s.StrideC >= (s.M-1)*s.LDC+s.N || s.M == 0,
		"products of a batch overlap: strides %d, %d, %d", s.StrideA, s.StrideB, s.StrideC)
	p.c = k.matrix("c", c, s.M, s.N, s.LDC, batch, s.StrideC, false, true)
	p.a = k.matrix("a", a, s.M, s.K, s.LDA, batch, s.StrideA, s.TransA, false)
	p.b = k.matrix("b", x, s.K, s.N, s.LDB, batch, s.StrideB, s.TransB, false)
	if !bias.IsZero() {
		k.length("bias", bias, s.N)
		p.bias = k.in("bias", bias)
	}
	p.spec = gemm.Spec{TransA: s.TransA, TransB: s.TransB, M: s.M, N: s.N, K: s.K, LDA: s.LDA, LDB: s.LDB, LDC: s.LDC, Alpha: s.Alpha, Beta: s.Beta}
	if a.DType == tensor.BF16 && x.DType == tensor.BF16 {
		p.precision = gemm.ComputeBF16
		if s.Reduced {
			p.precision = gemm.ComputeBF16Reduced
		}
	}
	return p, k
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
