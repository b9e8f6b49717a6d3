package gpu

import (
	"github.com/mltrain/mltrain/internal/quant"
	"github.com/mltrain/mltrain/internal/tensor"
)

// Decode8 computes x = map[code]·absmax.
func (b *Backend) Decode8(x tensor.Tensor, q tensor.Blocks8) error {
	c := call{b: b, kernel: "decode8"}
	n := x.Len()
	codes, absmax, values := c.blocks8(q, n, false)
	xp := c.f32("x", x, n, true)
	c.each("blocks8", "decode8", n, xp, codes, absmax, values, int64(n))
	return c.err
}

// Encode8 quantises x to the nearest values of the map, a thread block for each block.
func (b *Backend) Encode8(q tensor.Blocks8, x tensor.Tensor) error {
	c := call{b: b, kernel: "encode8"}
	n := x.Len()
	codes, absmax, values := c.blocks8(q, n, true)
	xp := c.f32("x", x, n, false)
	c.launch("blocks8", "encode8", [3]int{quant.Blocks(n, quant.StateBlock)}, [3]int{quant.StateBlock}, codes, absmax, values, xp, int64(n))
	return c.err
}

func (c *call) blocks8(q tensor.Blocks8, n int, write bool) (codes, absmax, values Ptr) {
	c.length("codes", q.Codes, n)
	c.length("absmax", q.Absmax, quant.Blocks(n, quant.StateBlock))
	return c.typed("codes", q.Codes, tensor.U8, n, write), c.f32("absmax", q.Absmax, q.Absmax.Len(), write), c.f32("map", q.Map, 256, false)
}
