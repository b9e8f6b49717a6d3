package cpu

import "math"

// rsqrt computes y = 1/√(|x|+k). It runs over a row norm per output of a layer at most, so the portable loop is enough.
func rsqrt(y, x []float32, k float32) {
	for i, v := range x {
		y[i] = float32(1 / math.Sqrt(math.Abs(float64(v))+float64(k)))
	}
}

// rsqrtBwd computes dx = −½·dy·sign(x)/(|x|+k)^(3/2).
func rsqrtBwd(dx, dy, x []float32, k float32) {
	for i, v := range x {
		a := math.Abs(float64(v)) + float64(k)
		dx[i] = float32(-0.5 * float64(dy[i]) * math.Copysign(1, float64(v)) / (a * math.Sqrt(a)))
	}
}
