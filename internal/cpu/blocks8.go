package cpu

import (
	"github.com/mltrain/mltrain/internal/quant"
	"github.com/mltrain/mltrain/internal/tensor"
)

// stateGrain is the number of elements below which splitting 8-bit blocks is not worth a task: a multiple of a block.
const stateGrain = 64 * quant.StateBlock

// Decode8 computes x = map[code]·absmax.
func (b *Backend) Decode8(x tensor.Tensor, q tensor.Blocks8) error {
	c := call{kernel: "decode8"}
	codes, absmax := c.blocks8(q, x.Len(), false)
	xf := c.f32("x", x, x.Len(), true)
	if c.err != nil {
		return c.err
	}
	t := quant.States(q.Signed)
	parts(len(xf), stateGrain, func(lo, hi int) { t.DecodeState(xf[lo:hi], codes[lo:hi], absmax[lo/quant.StateBlock:]) })
	return nil
}

// Encode8 quantises x to the nearest values of the map, block by block.
func (b *Backend) Encode8(q tensor.Blocks8, x tensor.Tensor) error {
	c := call{kernel: "encode8"}
	codes, absmax := c.blocks8(q, x.Len(), true)
	xf := c.f32("x", x, x.Len(), false)
	if c.err != nil {
		return c.err
	}
	t := quant.States(q.Signed)
	parts(len(xf), stateGrain, func(lo, hi int) { t.EncodeState(codes[lo:hi], absmax[lo/quant.StateBlock:], xf[lo:hi]) })
	return nil
}

// blocks8 returns the memory of a vector of n elements in 8 bits.
func (c *call) blocks8(q tensor.Blocks8, n int, write bool) (codes []byte, absmax []float32) {
	c.length("codes", q.Codes, n)
	c.length("absmax", q.Absmax, quant.Blocks(n, quant.StateBlock))
	c.require(q.Codes.DType == tensor.U8, "codes are %v, want uint8", q.Codes)
	return c.bytes("codes", q.Codes, write), c.f32("absmax", q.Absmax, q.Absmax.Len(), write)
}
