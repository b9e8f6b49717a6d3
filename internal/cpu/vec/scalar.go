package vec

import "math"

// Coefficients of minimax polynomials, fitted with the Lawson iteration on Chebyshev points:
// exp r = 1 + r + r²·P(r) on |r| ≤ ln2/2, relative error 3e-9.
const (
	log2e  = 1.44269504
	ln2Hi  = 0.693359375 // few bits, so that n·ln2Hi is exact
	ln2Lo  = -2.12194440e-4
	expP0  = 0.5
	expP1  = 0.166665181517601
	expP2  = 0.04166620224714279
	expP3  = 0.008369024842977524
	expP4  = 0.0013950724387541413
	expMax = 88.72284  // larger arguments overflow
	expMin = -87.33654 // smaller arguments give 0: the logarithm of the smallest normal number
	magic  = 12582912  // 1.5·2²³: adding it rounds to an integer
)

// tanh x = x + x³·Q(x²) on |x| ≤ 0.65, relative error 6e-9.
const (
	tanhQ0    = -0.3333326280117035
	tanhQ1    = 0.1333089917898178
	tanhQ2    = -0.05369296297430992
	tanhQ3    = 0.02048330195248127
	tanhQ4    = -0.005528620444238186
	tanhSmall = 0.65
)

// erf x = x + x·R(x²) on |x| ≤ 1, absolute error 1e-9; 1 − exp(x·S(x)) on 0.98 ≤ x ≤ 4, absolute error 2e-10.
const (
	erfR0 = 0.12837916612625122
	erfR1 = -0.3761262595653534
	erfR2 = 0.11283600330352783
	erfR3 = -0.026854444295167923
	erfR4 = 0.005189535208046436
	erfR5 = -0.0008020841632969677
	erfR6 = 7.889120024628937e-05
	erfS0 = -1.128584861755371
	erfS1 = -0.6354754567146301
	erfS2 = -0.10554734617471695
	erfS3 = 0.02296822890639305
	erfS4 = -0.003108497941866517
	erfS5 = 0.00011303170322207734
	erfS6 = 3.332531559863128e-05
	erfS7 = -3.9467427086492535e-06
)

// Exp returns eˣ within two units in the last place, and 0 instead of the smallest normal and of denormal numbers: they
// would cost a hundred times as much.
func Exp(x float32) float32 {
	switch {
	case x != x:
		return x
	case x > expMax:
		return float32(math.Inf(1))
	case x < expMin:
		return 0
	}
	n := (x*log2e + magic) - magic
	r := x - n*ln2Hi - n*ln2Lo
	p := ((((expP4*r+expP3)*r+expP2)*r+expP1)*r+expP0)*r*r + r + 1
	// 2·2ⁿ⁻¹, since n may be 128. n = −126 gives the bits of 0.
	return (p + p) * math.Float32frombits(uint32(int32(n)+126)<<23)
}

func sigmoid1(x float32) float32 { return 1 / (1 + Exp(-x)) }

func tanh1(x float32) float32 {
	if z := x * x; z < tanhSmall*tanhSmall {
		return x + x*z*((((tanhQ4*z+tanhQ3)*z+tanhQ2)*z+tanhQ1)*z+tanhQ0)
	}
	if x < 0 {
		return 2/(1+Exp(-2*x)) - 1
	}
	return 1 - 2/(1+Exp(2*x))
}

func erf1(x float32) float32 {
	t := x
	if t < 0 {
		t = -t
	}
	if t <= 1 {
		z := x * x
		return x + x*((((((erfR6*z+erfR5)*z+erfR4)*z+erfR3)*z+erfR2)*z+erfR1)*z+erfR0)
	}
	if t > 4 {
		t = 4
	}
	e := 1 - Exp(t*(((((((erfS7*t+erfS6)*t+erfS5)*t+erfS4)*t+erfS3)*t+erfS2)*t+erfS1)*t+erfS0))
	if x < 0 {
		return -e
	}
	return e
}

const (
	sqrtHalf   = 0.70710678118654752 // 1/√2
	invSqrt2Pi = 0.39894228040143268 // 1/√(2π)
	geluC      = 0.7978845608028654  // √(2/π)
	geluA      = 0.044715
)

// geluTanh1 uses ½(1+tanh u) = σ(2u).
func geluTanh1(x float32) float32 { return x * sigmoid1(2*geluC*x*(1+geluA*x*x)) }

func geluTanhD1(x float32) float32 {
	s := sigmoid1(2 * geluC * x * (1 + geluA*x*x))
	return s + x*s*(1-s)*(2*geluC)*(1+3*geluA*x*x)
}

func siLUD1(x float32) float32 {
	s := sigmoid1(x)
	return s + x*s*(1-s)
}

func geluD1(x float32) float32 {
	return 0.5*(1+erf1(x*sqrtHalf)) + x*invSqrt2Pi*Exp(-0.5*x*x)
}

// BF16 rounds x to bfloat16, to nearest even. NaNs stay NaNs.
func BF16(x float32) uint16 {
	b := math.Float32bits(x)
	if x != x {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// FromBF16Bits returns the value of a bfloat16.
func FromBF16Bits(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// F16 rounds x to IEEE half precision, to nearest even, with denormals and overflow to infinity.
func F16(x float32) uint16 {
	b := math.Float32bits(x)
	sign := uint16(b >> 16 & 0x8000)
	abs := b & 0x7fffffff
	switch {
	case abs > 0x7f800000: // NaN
		return sign | 0x7e00 | uint16(abs>>13&0x1ff)
	case abs >= 0x477ff000: // rounds to 65536 or more
		return sign | 0x7c00
	case abs < 0x38800000: // denormal: adding 2^-1 aligns the last bit with 2^-24
		return sign | uint16(math.Float32bits(math.Float32frombits(abs)+0.5)-0x3f000000)
	}
	abs += 0xfff + abs>>13&1
	return sign | uint16((abs-0x38000000)>>13)
}

// FromF16Bits returns the value of an IEEE half.
func FromF16Bits(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	e, m := uint32(h>>10&31), uint32(h&0x3ff)
	switch e {
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | m<<13)
	case 0:
		f := float32(m) * (1.0 / (1 << 24))
		return math.Float32frombits(sign | math.Float32bits(f))
	}
	return math.Float32frombits(sign | (e+112)<<23 | m<<13)
}
