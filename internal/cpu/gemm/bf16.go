package gemm

import "math"

// widen returns the value of a bfloat16.
func widen(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// round returns the bfloat16 nearest to f, ties to even. NaNs stay NaNs.
func round(f float32) uint16 {
	u := math.Float32bits(f)
	if f != f {
		return uint16(u>>16) | 0x40
	}
	return uint16((u + 0x7fff + u>>16&1) >> 16)
}
