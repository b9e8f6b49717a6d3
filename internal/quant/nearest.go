package quant

import (
	"math"
	"sync"
)

// StateBlock is the number of consecutive elements of an optimiser's state that share a scale.
const StateBlock = 256

// Table finds the value of a map nearest to a number: exactly, unlike Encoder, which is as coarse as bitsandbytes' CPU code.
type Table struct {
	Code [256]float32
	mid  [255]float32 // above which the next code is nearer
	// first is the code of the smallest number whose upper 16 bits are the index.
	first [1 << 16]byte
}

// NewTable returns the table of a map.
func NewTable(code [256]float32) *Table {
	t := &Table{Code: code}
	for i := range t.mid {
		t.mid[i] = float32((float64(code[i]) + float64(code[i+1])) / 2)
	}
	for hi := range t.first {
		bits := uint32(hi) << 16
		if hi >= 1<<15 { // negative: the bits that follow make it smaller
			bits |= 1<<16 - 1
		}
		v := math.Float32frombits(bits)
		c := 0
		for c < 255 && v > t.mid[c] {
			c++
		}
		t.first[hi] = byte(c)
	}
	return t
}

// Nearest returns the code nearest to v; of two equally near the lower.
func (t *Table) Nearest(v float32) byte {
	c := int(t.first[math.Float32bits(v)>>16])
	for c < 255 && v > t.mid[c] {
		c++
	}
	return byte(c)
}

// signed and unsigned are the tables of the two dynamic maps.
var (
	signed   = sync.OnceValue(func() *Table { return NewTable(DynamicMap(true)) })
	unsigned = sync.OnceValue(func() *Table { return NewTable(DynamicMap(false)) })
)

// States returns the table for an optimiser's state: signed for a mean of gradients, unsigned for a mean of their squares.
func States(isSigned bool) *Table {
	if isSigned {
		return signed()
	}
	return unsigned()
}

// EncodeState quantises a run of whole blocks, and perhaps a last short one: codes [n] and absmax [⌈n/StateBlock⌉].
func (t *Table) EncodeState(codes []byte, absmax, x []float32) {
	for b := 0; b*StateBlock < len(x); b++ {
		lo, hi := b*StateBlock, min((b+1)*StateBlock, len(x))
		var top float32
		for _, v := range x[lo:hi] {
			top = max(top, abs(v))
		}
		absmax[b] = top
		if top == 0 {
			zero := t.Nearest(0)
			for i := lo; i < hi; i++ {
				codes[i] = zero
			}
			continue
		}
		for i := lo; i < hi; i++ {
			codes[i] = t.Nearest(x[i] / top)
		}
	}
}

// DecodeState writes code·absmax.
func (t *Table) DecodeState(x []float32, codes []byte, absmax []float32) {
	for i := range x {
		x[i] = t.Code[codes[i]] * absmax[i/StateBlock]
	}
}
