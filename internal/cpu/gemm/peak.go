package gemm

import "time"

// PeakF32 measures the float32 GFLOP/s that one core reaches at most: independent multiply-adds on registers with the
// instructions of the engine in use, the best of some runs of less than a millisecond. It is the yardstick for benchmarks.
func PeakF32() float64 { return peak(engines[0].peakF32) }

// PeakBF16 is PeakF32 for products of bfloat16 (ComputeBF16). Without an instruction for them it is the float32 peak.
func PeakBF16() float64 { return peak(engines[0].peakBF16) }

// peakLoop runs about n floating-point operations and returns how many it ran.
type peakLoop func(n int) int

func peak(loop peakLoop) float64 {
	best := 0.0
	for range 40 {
		start := time.Now()
		n := loop(50e6)
		best = max(best, float64(n)/float64(time.Since(start).Nanoseconds()))
	}
	return best
}

// peakPortable multiplies and adds eight independent numbers.
func peakPortable(n int) int {
	var s0, s1, s2, s3, s4, s5, s6, s7 float32
	x := float32(n)
	steps := n / 16
	for range steps {
		s0 += x * x
		s1 += x * x
		s2 += x * x
		s3 += x * x
		s4 += x * x
		s5 += x * x
		s6 += x * x
		s7 += x * x
	}
	if s0+s1+s2+s3+s4+s5+s6+s7 < 0 { // never: squares; but the compiler must keep the sums
		return 0
	}
	return 16 * steps
}
