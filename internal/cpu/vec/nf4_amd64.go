//go:build !noasm

package vec

import "github.com/mltrain/mltrain/internal/quant"

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
