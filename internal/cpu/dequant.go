package cpu

import (
	"github.com/mltrain/mltrain/internal/quant"
	"github.com/mltrain/mltrain/internal/tensor"
)

// Dequant writes rows row … of q to w: code·scale, in float32, rounded once where w is bfloat16.
func (b *Backend) Dequant(w tensor.Tensor, q tensor.Quant4, row int) error {
	c := call{kernel: "dequant"}
	n := q.Rows * q.Cols
	blocks := quant.Blocks(n, quant.BlockSize)
	c.require(q.Rows >= 0 && q.Cols > 0 && w.Cols() == q.Cols && row >= 0 && row+w.Rows() <= q.Rows, "rows %d … of [%d,%d] do not fit %v", row, q.Rows, q.Cols, w)
	wf := c.out("w", w)
	codes := c.bytes("codes", q.Codes, false)
	c.require(c.err != nil || q.Codes.DType == tensor.U8 && len(codes) == quant.PackedBytes(n), "codes are %v, want %d bytes", q.Codes, quant.PackedBytes(n))
	scale := b.scales(&c, q, blocks)
	if c.err != nil {
		return c.err
	}
	lo := row * q.Cols
	parts(w.Len(), grain, func(from, to int) {
		s := b.borrow()
		defer b.giveBack(s)
		t := s.floats(0, piece)
		for i := from; i < to; {
			at := lo + i
			// At most a block, from an even element on where there is one.
			m := min(quant.BlockSize-at%quant.BlockSize, to-i)
			d := wf.dst(i, m, t)
			k := scale(at / quant.BlockSize)
			j := 0
			if at%2 == 1 {
				d[0] = quant.NF4[codes[at/2]&15] * k
				j = 1
			}
			pairs := (m - j) / 2 * 2
			b.v.NF4(d[j:j+pairs], codes[(at+j)/2:], k)
			if j += pairs; j < m {
				d[j] = quant.NF4[codes[(at+j)/2]>>4] * k
			}
			wf.flush(b.v, i, d)
			i += m
		}
	})
	return nil
}

// scales returns how to get the scale of a block.
func (b *Backend) scales(c *call, q tensor.Quant4, blocks int) func(block int) float32 {
	if q.AbsCodes.IsZero() {
		c.length("absmax", q.Absmax, blocks)
		absmax := c.f32("absmax", q.Absmax, blocks, false)
		return func(i int) float32 { return absmax[i] }
	}
	nested := quant.Blocks(blocks, quant.NestedBlock)
	c.length("absmax codes", q.AbsCodes, blocks)
	codes := c.bytes("absmax codes", q.AbsCodes, false)
	c.require(c.err != nil || q.AbsCodes.DType == tensor.U8, "absmax codes are %v, want uint8", q.AbsCodes)
	c.length("absmax scales", q.AbsScales, nested)
	scales, values := c.f32("absmax scales", q.AbsScales, nested, false), c.f32("map", q.Map, 256, false)
	return func(i int) float32 { return float32(values[codes[i]]*scales[i/quant.NestedBlock]) + q.Offset }
}
