package quant

import (
	"math"
	"slices"
)

// DynamicMap returns the 256 values of bitsandbytes' dynamic 8-bit type in ascending order: a sign (if signed), a unary exponent
// from 10⁰ to 10⁻⁶, and a linear fraction in the bits that are left (create_dynamic_map).
func DynamicMap(signed bool) [256]float32 {
	const exponents = 7
	var values []float32
	for i := range exponents {
		items := 1<<i + 1
		if !signed {
			items = 1<<(i+1) + 1
		}
		scale := float32(math.Pow(10, float64(i-(exponents-1))))
		bounds := linspace(0.1, 1, items)
		for k := range items - 1 {
			v := scale * ((bounds[k] + bounds[k+1]) / 2)
			values = append(values, v)
			if signed {
				values = append(values, -v)
			}
		}
	}
	values = append(values, 0, 1)
	slices.Sort(values)
	return [256]float32(values)
}

// linspace returns n evenly spaced numbers as torch.linspace computes them: from either end towards the middle.
func linspace(lo, hi float32, n int) []float32 {
	out := make([]float32, n)
	step := (hi - lo) / float32(n-1)
	for i := range out {
		if i < n/2 {
			out[i] = float32(float64(lo) + float64(step)*float64(i)) // rounded once
		} else {
			out[i] = float32(float64(hi) - float64(step)*float64(n-1-i))
		}
	}
	return out
}

// encodeSteps is how finely an Encoder tells values apart: x is rounded to one of so many steps from −1 to 1, as bitsandbytes' CPU code
// does, before the nearest code is looked up.
const encodeSteps = 1<<16 - 1

// Encoder quantises to a map's codes.
type Encoder struct {
	Code [256]float32
	near [encodeSteps + 1]byte // the code nearest to each step
}

// NewEncoder returns the encoder of a map.
func NewEncoder(code [256]float32) *Encoder {
	e := &Encoder{Code: code}
	for i := range e.near {
		e.near[i] = Nearest(&e.Code, float32(2*float64(i)/encodeSteps-1))
	}
	return e
}

// Encode quantises x in blocks: codes [n] get the index of a value of the map near x/absmax of the block, absmax [⌈n/block⌉] the
// largest magnitude of each block.
func (e *Encoder) Encode(codes []byte, absmax, x []float32, block int) {
	for b := 0; b*block < len(x); b++ {
		lo, hi := b*block, min((b+1)*block, len(x))
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
			step := int((x[i]*inv+1)*0.5*encodeSteps + 0.5)
			codes[i] = e.near[min(max(step, 0), encodeSteps)]
		}
	}
}

// Nearest returns the index of the map's value nearest to v; of two equally near the lower.
func Nearest(code *[256]float32, v float32) byte {
	i, found := slices.BinarySearch(code[:], v)
	switch {
	case found:
		return byte(i)
	case i == 0:
		return 0
	case i == len(code):
		return 255
	}
	if code[i]-v < v-code[i-1] {
		return byte(i)
	}
	return byte(i - 1)
}

// Decode8 writes elements lo … lo+len(dst)−1: code[c]·absmax[block].
func Decode8(dst []float32, codes []byte, absmax []float32, code *[256]float32, block, lo int) {
	for i := range dst {
		at := lo + i
		dst[i] = code[codes[at]] * absmax[at/block]
	}
}

// Nested are the scales of a tensor, quantised themselves: absmax = map[Codes]·Scales + Offset, in blocks of NestedBlock.
type Nested struct {
	Codes  []byte
	Scales []float32
	Offset float32
}

// EncodeNested quantises scales: their mean is taken off, the rest is 8-bit blockwise with the signed map.
func EncodeNested(absmax []float32) Nested {
	var sum float64
	for _, v := range absmax {
		sum += float64(v)
	}
	n := Nested{Codes: make([]byte, len(absmax)), Scales: make([]float32, Blocks(len(absmax), NestedBlock))}
	n.Offset = float32(sum / float64(max(1, len(absmax))))
	rest := make([]float32, len(absmax))
	for i, v := range absmax {
		rest[i] = v - n.Offset
	}
	NewEncoder(DynamicMap(true)).Encode(n.Codes, n.Scales, rest, NestedBlock)
	return n
}

// Decode returns the scales.
func (n Nested) Decode() []float32 {
	out := make([]float32, len(n.Codes))
	code := DynamicMap(true)
	Decode8(out, n.Codes, n.Scales, &code, NestedBlock, 0)
	for i := range out {
		out[i] += n.Offset
	}
	return out
}
