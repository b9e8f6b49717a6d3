package vec

import "math"

func maxAbs(x []float32) float32 {
	var m float32
	for _, v := range x {
		// The builtin max would carry NaN on, and take longer.
		if a := math.Float32frombits(math.Float32bits(v) &^ (1 << 31)); a > m {
			m = a
		}
	}
	return m
}

// toInt8 rounds by an addition after which a float32 has no digits behind the point.
func toInt8(y []int8, x []float32, k float32) {
	const magic = 3 << 22
	y = y[:len(x)]
	for i, v := range x {
		v = max(-127, min(127, float32(v*k)))
		y[i] = int8(math.Float32bits(v+magic) & 0xff)
	}
}
