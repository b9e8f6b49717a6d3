// Package gemm multiplies matrices on the CPU: float32 and bfloat16 storage in any mixture, float32 accumulation.
//
// It follows BLIS (Van Zee and van de Geijn, "BLIS: A Framework for Rapidly Instantiating BLAS Functionality", 2015):
// blocks of the operands are copied ("packed") into the order in which a register-tiled micro-kernel reads them, which
// makes all transpositions and leading dimensions alike and hides them behind the arithmetic. There is one engine (a
// micro-kernel with its packing) per instruction set: AVX-512, with AMX or without (see amx.go), AVX2 with FMA, and portable Go, the last always
// and the only one with the build tag noasm. The assembly is written by _generate.
//
// Products with few rows or columns, as in generation and in LoRA, take paths that read the large operand in place.
//
// Every element of C is a sum over k in one order, which depends on the shape alone; threads divide elements and never
// a sum, so results are the same bits with any number of threads. Different engines round differently.
package gemm

import (
	"fmt"
	"unsafe"
)

//go:generate go -C _generate run . -out ..

// Spec is the shape of a product of row-major matrices:
//
//	C[M,N] = Alpha · op(A)[M,K] · op(B)[K,N] + Beta · C[M,N] + bias[N]
//
// where op(X) is X, or its transpose if Trans is set: A is stored [M,K] or, with TransA, [K,M]; B is stored [K,N] or,
// with TransB, [N,K]. LDA, LDB and LDC are the elements from one stored row to the next, at least the row's length.
// With Beta 0 C is not read, with Alpha 0 A and B are not. C must not overlap A, B or the bias.
type Spec struct {
	TransA, TransB bool
	M, N, K        int
	LDA, LDB, LDC  int
	Alpha, Beta    float32
}

// Data is the storage of a matrix: float32, bfloat16 (the upper half of a float32) or int8, only one of them.
type Data struct {
	F32  []float32
	BF16 []uint16
	// I8 is for a B that is stored [N,K], N at least 4, in products of few rows (RowsAlone) in ComputeF32, if HasInt8. Row n is multiplied
	// by Scales[n].
	I8     []int8
	Scales []float32
}

// HasInt8 tells whether this CPU's engine has products with a B in int8.
func HasInt8() bool { return engines[0].int8 }

// RowsAlone is up to how many rows of a product, in ComputeF32 and with N at least 4, are to the bit what each is alone, where B is stored
// [N,K] (transB), or [K,N]; 1 if this CPU's engine has no routines for few rows.
func RowsAlone(transB bool) int {
	switch {
	case engines[0].dots == nil:
		return 1
	case transB:
		return moreRows
	}
	return vectorRows
}

// Precision says how products of elements are computed. Sums are float32 always.
type Precision uint8

const (
	// ComputeF32 multiplies in float32; bfloat16 operands are widened, which is exact. With AMX, a float32 may be multiplied as three bfloat16,
	// which is as precise, but makes NaN of infinities (see amx.go).
	ComputeF32 Precision = iota
	// ComputeBF16 multiplies bfloat16 values; float32 operands are rounded to nearest even first. Where the CPU has
	// AMX or VDPBF16PS (AVX512_BF16) that is used, which treats denormal numbers as zero; elsewhere the rounded operands are
	// multiplied in float32, about half as fast.
	ComputeBF16
	// ComputeBF16Reduced is ComputeBF16 that may sum up to 64 products in float16 before they are added in float32, where that is faster
	// (see half.go): large products of two matrices stored in bfloat16, on Intel's CPUs with AVX512-FP16 and without AMX.
	ComputeBF16Reduced
)

// F32 computes the product s of float32 matrices. bias may be nil.
func F32(s Spec, c, a, b, bias []float32) {
	Mul(s, ComputeF32, Data{F32: c}, Data{F32: a}, Data{F32: b}, Data{F32: bias})
}

// Mul computes the product s of matrices in any storage; a bfloat16 C is rounded to nearest even, once. bias may be
// empty. It allocates nothing once its pooled buffers (see PackBytes) have grown to the shapes in use, and panics if
// the shape contradicts itself or the slices.
func Mul(s Spec, p Precision, c, a, b, bias Data) { mul(&engines[0], s, p, c, a, b, bias) }

// Product is one of several products of one A. Its Spec has the TransA, M, K and LDA of the others.
type Product struct {
	Spec
	C, B, Bias Data
}

// MulShared is Mul for each of the products, which it computes in turn or together: then A is packed once, and threads wait for each other
// once. It panics where Mul would, and if the products do not agree on A. The way that is taken depends on the shapes alone.
func MulShared(p Precision, a Data, products []Product) { mulShared(&engines[0], p, a, products) }

func mulShared(e *engine, p Precision, a Data, products []Product) {
	var first *job
	for i := range products {
		s := &products[i]
		if f := &products[0]; s.TransA != f.TransA || s.M != f.M || s.K != f.K || s.LDA != f.LDA {
			panic(fmt.Sprintf("gemm: A is %v %d×%d (%d apart) in product %d, but %v %d×%d (%d apart) in the first",
				s.TransA, s.M, s.K, s.LDA, i, f.TransA, f.M, f.K, f.LDA))
		}
		j := prepare(e, s.Spec, p, s.C, a, s.B, s.Bias)
		switch {
		case j == nil:
		case first == nil:
			first = j
		default:
			j.slabs = first.slabs
			first.others = append(first.others, j)
		}
	}
	if first != nil {
		first.run()
		first.done()
	}
}

// mul is Mul with a given engine.
func mul(e *engine, s Spec, p Precision, c, a, b, bias Data) {
	if j := prepare(e, s, p, c, a, b, bias); j != nil {
		j.run()
		j.done()
	}
}

// prepare checks a product and returns its job, or nil if there is nothing to do.
func prepare(e *engine, s Spec, p Precision, c, a, b, bias Data) *job {
	if s.M < 0 || s.N < 0 || s.K < 0 {
		panic(fmt.Sprintf("gemm: negative size in M=%d N=%d K=%d", s.M, s.N, s.K))
	}
	if b.I8 != nil && (!e.int8 || !s.TransB || s.M > moreRows || s.N < 4 || p != ComputeF32 || len(b.Scales) < s.N) || a.I8 != nil || c.I8 != nil {
		panic(fmt.Sprintf("gemm: int8 is for B, stored [N,K], with N scales: %+v, precision %d, %d scales", s, p, len(b.Scales)))
	}
	check("A", a, s.TransA, s.M, s.K, s.LDA)
	check("B", b, s.TransB, s.K, s.N, s.LDB)
	check("C", c, false, s.M, s.N, s.LDC)
	if bias.length() > 0 {
		check("the bias", bias, false, 1, s.N, s.N)
	}
	if s.M == 0 || s.N == 0 {
		return nil
	}
	if s.Alpha == 0 {
		s.K = 0
	}
	j := jobs.get()
	j.set(e, s, p, c, a, b, bias)
	return j
}

func (d Data) length() int { return max(len(d.F32), len(d.BF16), len(d.I8)) }

func (d Data) pointer() unsafe.Pointer {
	switch {
	case d.BF16 != nil:
		return unsafe.Pointer(unsafe.SliceData(d.BF16))
	case d.I8 != nil:
		return unsafe.Pointer(unsafe.SliceData(d.I8))
	}
	return unsafe.Pointer(unsafe.SliceData(d.F32))
}

// check panics unless d holds the matrix op(X)[rows,cols]: the kernels trust the shape.
func check(name string, d Data, trans bool, rows, cols, ld int) {
	if d.F32 != nil && d.BF16 != nil || d.I8 != nil && d.F32 != nil || d.I8 != nil && d.BF16 != nil {
		panic(fmt.Sprintf("gemm: %s has storage of more than one type", name))
	}
	if trans {
		rows, cols = cols, rows
	}
	if rows == 0 || cols == 0 {
		return
	}
	if ld < cols {
		panic(fmt.Sprintf("gemm: leading dimension %d of %s is less than its row length %d", ld, name, cols))
	}
	if need := (rows-1)*ld + cols; d.length() < need {
		panic(fmt.Sprintf("gemm: %s is stored as %d×%d with leading dimension %d, which takes %d elements, but the slice has %d",
			name, rows, cols, ld, need, d.length()))
	}
}
