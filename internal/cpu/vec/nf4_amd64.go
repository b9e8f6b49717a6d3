//go:build !noasm

package vec

import (
	"unsafe"

	"github.com/mltrain/mltrain/internal/quant"
)

// nf4x512 decodes n pairs of codes, n a multiple of 16.
//
//go:noescape
func nf4x512(y *float32, codes *byte, n int, k float32, values *[16]float32)

// nf4x256 decodes n pairs of codes, n a multiple of 8.
//
//go:noescape
func nf4x256(y *float32, codes *byte, n int, k float32, values *[16]float32)

func nf4AVX512(y []float32, codes []byte, k float32) {
	n := len(y) / 2
	whole := n &^ 15
	_, _ = y[:2*n], codes[:n]
	if whole > 0 {
		nf4x512(&y[0], &codes[0], whole, k, &quant.NF4)
	}
	nf4(y[2*whole:2*n], codes[whole:n], k)
}

func nf4AVX2(y []float32, codes []byte, k float32) {
	n := len(y) / 2
	whole := n &^ 7
	_, _ = y[:2*n], codes[:n]
	if whole > 0 {
		nf4x256(&y[0], &codes[0], whole, k, &quant.NF4)
	}
	nf4(y[2*whole:2*n], codes[whole:n], k)
}

// nf4Args is the argument of the routines for few rows: see Ops.DotsNF4. Distances are in bytes; each of columns rows of the matrix has
// so many blocks.
type nf4Args struct {
	y               unsafe.Pointer
	ldy             int
	x               unsafe.Pointer
	ldx             int
	codes, scales   unsafe.Pointer
	columns, blocks int
	values          *[16]float32
}

// dotsNF4 makes Ops.DotsNF4 of routines that take at most so many rows.
func dotsNF4(most int, routine func(rows int, a *nf4Args)) func(y []float32, ldy int, x []float32, rows, k int, codes []byte, scales []float32) {
	return func(y []float32, ldy int, x []float32, rows, k int, codes []byte, scales []float32) {
		blocks := k / quant.BlockSize
		n := len(scales) / blocks
		if n == 0 || rows == 0 {
			return
		}
		_, _, _ = y[(rows-1)*ldy+n-1], x[rows*k-1], codes[n*k/2-1]
		a := nf4Args{
			ldy: 4 * ldy, ldx: 4 * k, codes: unsafe.Pointer(&codes[0]), scales: unsafe.Pointer(&scales[0]), columns: n, blocks: blocks, values: &quant.NF4,
		}
		for row := 0; row < rows; row += most {
			a.y, a.x = unsafe.Pointer(&y[row*ldy]), unsafe.Pointer(&x[row*k])
			routine(min(most, rows-row), &a)
		}
	}
}
