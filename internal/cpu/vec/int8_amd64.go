//go:build !noasm

package vec

// maxAbsx512 returns the largest |x| of n numbers, n a multiple of 16 above 0.
//
//go:noescape
func maxAbsx512(x *float32, n int) float32

// toInt8x512 rounds n numbers, n a multiple of 16 above 0.
//
//go:noescape
func toInt8x512(y *int8, x *float32, n int, k float32)

func maxAbs512(x []float32) float32 {
	whole := len(x) &^ 15
	m := maxAbs(x[whole:])
	if whole > 0 {
		m = max(m, maxAbsx512(&x[0], whole))
	}
	return m
}

func toInt8AVX512(y []int8, x []float32, k float32) {
	whole := len(x) &^ 15
	_ = y[:len(x)]
	if whole > 0 {
		toInt8x512(&y[0], &x[0], whole, k)
	}
	toInt8(y[whole:], x[whole:], k)
}
