package gpu

import (
	"github.com/mltrain/mltrain/internal/quant"
	"github.com/mltrain/mltrain/internal/tensor"
)

// Dequant writes rows row … of q to w.
func (b *Backend) Dequant(w tensor.Tensor, q tensor.Quant4, row int) error {
	c := call{b: b, kernel: "dequant"}
	n, t := q.Rows*q.Cols, c.activation("w", w)
	blocks := quant.Blocks(n, quant.BlockSize)
	c.require(q.Rows >= 0 && q.Cols > 0 && w.Cols() == q.Cols && row >= 0 && row+w.Rows() <= q.Rows, "rows %d … of [%d,%d] do not fit %v", row, q.Rows, q.Cols, w)
	c.length("codes", q.Codes, quant.PackedBytes(n))
	wp, codes := c.window("w", w, w.Len(), true), c.typed("codes", q.Codes, tensor.U8, q.Codes.Len(), false)
	var absmax, absCodes, absScales, values Ptr
	if q.AbsCodes.IsZero() {
		c.length("absmax", q.Absmax, blocks)
		absmax = c.f32("absmax", q.Absmax, blocks, false)
	} else {
		c.length("absmax codes", q.AbsCodes, blocks)
		absCodes = c.typed("absmax codes", q.AbsCodes, tensor.U8, blocks, false)
		absScales = c.f32("absmax scales", q.AbsScales, quant.Blocks(blocks, quant.NestedBlock), false)
		values = c.f32("map", q.Map, 256, false)
	}
	c.each("nf4", "dequant_"+t, w.Len(), wp, codes, absmax, absCodes, absScales, values, q.Offset, int64(row*q.Cols), int64(w.Len()))
	return c.err
}
