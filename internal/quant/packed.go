package quant

import "math"

// Packed is a tensor in NF4.
type Packed struct {
	Shape  []int
	DType  string // that it had: float32, bfloat16, float16
	Codes  []byte
	Absmax []float32 // scales by block; nil if Nested has them
	Nested *Nested
}

// Pack quantises a tensor of n elements, of which read gives lo … hi−1, a part at a time. With nested the scales are quantised too.
// Beside the tensor it returns what that loses: the largest difference of an element, and the root of the sum of squares of the
// differences over that of the elements.
func Pack(n int, nested bool, read func(lo, hi int) []float32) (*Packed, Loss) {
	const part = 1 << 20 // a multiple of a block
	p := &Packed{Codes: make([]byte, PackedBytes(n)), Absmax: make([]float32, Blocks(n, BlockSize))}
	for lo := 0; lo < n; lo += part {
		hi := min(lo+part, n)
		EncodeNF4(p.Codes[lo/2:PackedBytes(hi)], p.Absmax[lo/BlockSize:], read(lo, hi))
	}
	if nested {
		x := EncodeNested(p.Absmax)
		p.Absmax, p.Nested = nil, &x
	}
	var l Loss
	var lost, all float64
	scales, back := p.Scales(), make([]float32, min(n, part))
	for lo := 0; lo < n; lo += part {
		hi := min(lo+part, n)
		x, y := read(lo, hi), back[:hi-lo]
		DecodeNF4(y, p.Codes, scales, lo)
		for i, v := range x {
			d := math.Abs(float64(v - y[i]))
			l.Max, lost, all = max(l.Max, d), lost+d*d, all+float64(v)*float64(v)
		}
	}
	if all > 0 {
		l.Relative = math.Sqrt(lost / all)
	}
	return p, l
}

// Loss is what quantisation takes from a tensor.
type Loss struct {
	Max      float64 `json:"max_error"`
	Relative float64 `json:"relative_error"`
}

// Scales returns the scale of each block.
func (p *Packed) Scales() []float32 {
	if p.Nested != nil {
		return p.Nested.Decode()
	}
	return p.Absmax
}

// Len returns the number of elements.
func (p *Packed) Len() int {
	n := 1
	for _, d := range p.Shape {
		n *= d
	}
	return n
}
