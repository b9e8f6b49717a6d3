package cpu

import (
	"fmt"
	"unsafe"

	"github.com/mltrain/mltrain/internal/cpu/gemm"
	"github.com/mltrain/mltrain/internal/tensor"
)

// DraftRows is 0 if the CPU has no instructions for products with rounded weights.
func (b *Backend) DraftRows(inOut bool) int {
	if !gemm.HasInt8() {
		return 0
	}
	return gemm.RowsAlone(!inOut)
}

// MulInt8 computes products of one matrix x with rounded matrices, together.
func (b *Backend) MulInt8(x tensor.Tensor, parts []tensor.Int8Part) error {
	c := call{kernel: "int8 product"}
	w := b.borrow()
	defer b.giveBack(w)
	w.products = w.products[:0]
	defer func() { clear(w.products) }()
	m, k := x.Rows(), x.Cols()
	c.require(m <= b.DraftRows(false), "%d rows, want at most %d", m, b.DraftRows(false))
	xs := c.f32("x", x, x.Len(), false)
	for i, p := range parts {
		codes, scales := c.int8Rows(p.W, k, false)
		c.require(c.err != nil || p.Y.Rows() == m && p.Y.Cols() == len(scales), "y of part %d is %v, want [%d %d]", i, p.Y, m, len(scales))
		d := gemm.Data{F32: c.f32("y", p.Y, p.Y.Len(), true)}
		var bias floats
		if !p.Bias.IsZero() {
			c.length("bias", p.Bias, len(scales))
			bias = c.in("bias", p.Bias)
		}
		if c.err != nil {
			return fmt.Errorf("%w (part %d: y %v = x %v · w %v)", c.err, i, p.Y, x, p.W.Codes)
		}
		s := gemm.Spec{TransB: true, M: m, N: len(scales), K: k, LDA: k, LDB: k, LDC: len(scales), Alpha: 1}
		w.products = append(w.products, gemm.Product{Spec: s, C: d, B: gemm.Data{I8: codes, Scales: scales}, Bias: bias.from(0)})
	}
	if c.err != nil {
		return c.err
	}
	if len(w.products) > 0 {
		gemm.MulShared(gemm.ComputeF32, gemm.Data{F32: xs}, w.products)
	}
	return nil
}

// int8Rows returns the memory of a rounded matrix of cols columns.
func (c *call) int8Rows(q tensor.Int8Rows, cols int, write bool) (codes []int8, scales []float32) {
	rows := q.Codes.Rows()
	c.require(q.Codes.IsZero() || q.Codes.DType == tensor.I8 && q.Codes.Cols() == cols && rows >= 4, "codes are %v, want int8 [4 or more, %d]", q.Codes, cols)
	p := c.window("codes", q.Codes, rows*cols, write)
	c.length("scales", q.Scales, rows)
	scales = c.f32("scales", q.Scales, rows, write)
	if c.err != nil {
		return nil, nil
	}
	return unsafe.Slice((*int8)(p), rows*cols), scales
}

// encodeColumns is how many rows of a matrix that is stored transposed are rounded together: a cache line's worth.
const encodeColumns = 64

// EncodeInt8 rounds rows to whole numbers from −127 to 127, to nearest even. What a row with an infinite or no number becomes is not
// defined.
func (b *Backend) EncodeInt8(q tensor.Int8Rows, w tensor.Tensor, transposed bool) error {
	c := call{kernel: "int8 encode"}
	rows, cols := w.Rows(), w.Cols()
	if transposed {
		rows, cols = cols, rows
	}
	codes, scales := c.int8Rows(q, cols, true)
	c.require(c.err != nil || len(scales) == rows, "codes are %v for w %v", q.Codes, w)
	ws := c.in("w", w)
	if c.err != nil {
		return c.err
	}
	if !transposed {
		parts(rows, max(1, grain/max(1, cols)), func(lo, hi int) {
			s := b.borrow()
			defer b.giveBack(s)
			tmp := s.floats(0, cols)
			for i := lo; i < hi; i++ {
				x := ws.read(b.v, i*cols, cols, tmp)
				scales[i] = b.v.MaxAbs(x) / 127
				b.v.ToInt8(codes[i*cols:][:cols], x, inverse(scales[i]))
			}
		})
		return nil
	}
	parts((rows+encodeColumns-1)/encodeColumns, 1, func(lo, hi int) {
		s := b.borrow()
		defer b.giveBack(s)
		lo, hi = lo*encodeColumns, min(hi*encodeColumns, rows)
		for first := lo; first < hi; first += encodeColumns {
			n := min(encodeColumns, hi-first)
			turned, tmp := s.floats(0, n*cols), s.floats(1, n)
			for k := range cols {
				for i, v := range ws.read(b.v, k*rows+first, n, tmp) {
					turned[i*cols+k] = v
				}
			}
			for i := range n {
				x, at := turned[i*cols:][:cols], first+i
				scales[at] = b.v.MaxAbs(x) / 127
				b.v.ToInt8(codes[at*cols:][:cols], x, inverse(scales[at]))
			}
		}
	})
	return nil
}

// inverse is 1/x, or 0 for 0.
func inverse(x float32) float32 {
	if x == 0 {
		return 0
	}
	return 1 / x
}
