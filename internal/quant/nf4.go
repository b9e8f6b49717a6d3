// Package quant holds the codecs of quantised weights and optimiser states, equal to those of bitsandbytes: NF4 (Dettmers et al., 2023,
// "QLoRA"), 8-bit blockwise with dynamic maps (Dettmers et al., 2022), and NF4's double quantisation of the scales.
package quant

import "math"

// BlockSize is the number of consecutive elements that share a scale in NF4. Blocks run over the flattened tensor, row after row,
// whatever the rows' length; the last one may be short.
const BlockSize = 64

// NestedBlock is the number of scales that share a scale in double quantisation.
const NestedBlock = 256

// NF4 are the values of the sixteen codes: quantiles of the normal distribution, scaled to [−1, 1].
var NF4 = [16]float32{
	-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
	-0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
	0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
}

// zeroCode is the code of 0.
const zeroCode = 7

// nf4Above are the values above which each code but the first begins: the midpoints, rounded to float64 and then to float32.
var nf4Above = [15]float32{
	-0.8480964, -0.6106329, -0.45999527, -0.33967942, -0.2346074, -0.13791174, -0.045525018,
	0.03979015, 0.12025525, 0.20352125, 0.29201376, 0.38931254, 0.50166345, 0.6427869, 0.86147845,
}

// Blocks returns the number of blocks of size elements that n elements make.
func Blocks(n, size int) int { return (n + size - 1) / size }

// PackedBytes returns the bytes of n four-bit codes.
func PackedBytes(n int) int { return (n + 1) / 2 }

// EncodeNF4 quantises x: packed [(n+1)/2] gets the codes, the even element in the high half of a byte, and absmax [⌈n/64⌉] the
// largest magnitude of each block. A block of zeros has scale 0 and the code of 0.
func EncodeNF4(packed []byte, absmax, x []float32) {
	if len(x)%2 == 1 {
		packed[len(x)/2] = zeroCode // in the half that no element takes
	}
	for b := 0; b*BlockSize < len(x); b++ {
		lo, hi := b*BlockSize, min((b+1)*BlockSize, len(x))
		var top float32
		for _, v := range x[lo:hi] {
			top = max(top, abs(v))
		}
		absmax[b] = top
		inv := float32(0)
		if top > 0 {
			inv = 1 / top
		}
		for i := lo; i < hi; i++ {
			c := nf4Code(x[i] * inv)
			if i%2 == 1 {
				packed[i/2] |= c
			} else if i+1 < len(x) {
				packed[i/2] = c << 4
			} else {
				packed[i/2] |= c << 4
			}
		}
	}
}

func abs(v float32) float32 { return math.Float32frombits(math.Float32bits(v) &^ (1 << 31)) }

// nf4Code finds the code by bisection: four comparisons.
func nf4Code(v float32) byte {
	c := 0
	for step := 8; step > 0; step /= 2 {
		if v > nf4Above[c+step-1] {
			c += step
		}
	}
	return byte(c)
}

// DecodeNF4 writes elements lo … lo+len(dst)−1 of a quantised tensor: NF4[code]·absmax[block], in float32.
func DecodeNF4(dst []float32, packed []byte, absmax []float32, lo int) {
	for i := 0; i < len(dst); {
		at := lo + i
		n := min(BlockSize-at%BlockSize, len(dst)-i)
		scale := absmax[at/BlockSize]
		for j := range n {
			e := at + j
			c := packed[e/2]
			if e%2 == 0 {
				c >>= 4
			}
			dst[i+j] = NF4[c&15] * scale
		}
		i += n
	}
}
