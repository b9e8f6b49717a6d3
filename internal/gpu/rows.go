package gpu

import "github.com/mltrain/mltrain/internal/tensor"

// none is no valid index: ids has no exception.
const none = -1 << 31

// Rope rotates the rows of x by their positions; y may be x.
func (b *Backend) Rope(s tensor.RopeSpec, y, x, table, pos tensor.Tensor) error {
	c := call{b: b, kernel: "rope"}
	rows, width, t := pos.Len(), s.Heads*s.HeadDim, c.activation("x", x)
	c.require(s.Heads > 0 && s.RotaryDim > 0 && s.RotaryDim%2 == 0 && s.RotaryDim <= s.HeadDim,
		"%d heads of %d elements of which %d turn: want an even rotary dimension of at most the head's", s.Heads, s.HeadDim, s.RotaryDim)
	c.require(s.Sign == 1 || s.Sign == -1, "sign %v, want 1 or -1", s.Sign)
	c.require(table.IsZero() || table.Cols() == s.RotaryDim, "table is %v, want rows of %d", table, s.RotaryDim)
	yp := c.strided("y", y, x.DType, rows, width, s.StrideY, true)
	xp := c.strided("x", x, x.DType, rows, width, s.StrideX, false)
	tp := c.f32("table", table, table.Len(), false)
	pp := c.ids("position of row", pos, rows, table.Rows(), none)
	n := rows * s.Heads * (s.HeadDim - s.RotaryDim/2)
	c.pieces("rows", "rope_"+t, n, x.DType, yp, xp, tp, pp, int64(rows), c.i32of(s.Heads), c.i32of(s.HeadDim), c.i32of(s.RotaryDim),
		flag(s.Interleaved), s.Sign, int64(s.StrideX), int64(s.StrideY))
	return c.err
}

// Gather copies rows of table [V,C] : y[i] = table[ids[i]].
func (b *Backend) Gather(y, table, ids tensor.Tensor) error {
	c := call{b: b, kernel: "gather"}
	rows, cols, t := ids.Len(), table.Cols(), c.activation("y", y)
	c.length("y", y, rows*cols)
	if table.DType != tensor.F16 {
		c.float("table", table, table.Len(), false)
	}
	yp, tp := c.window("y", y, y.Len(), true), c.window("table", table, table.Len(), false)
	id := c.ids("id", ids, rows, table.Rows(), none)
	c.pieces("rows", "gather_"+t, rows*cols, smaller(y.DType, table.DType), yp, tp, id, int64(rows), c.i32of(cols), code(table))
	return c.err
}

// ScatterAdd adds rows : dtable[ids[i]] += dy[i], in order of i.
func (b *Backend) ScatterAdd(dtable, dy, ids tensor.Tensor) error {
	c := call{b: b, kernel: "scatter add"}
	rows, cols, t, tt := ids.Len(), dtable.Cols(), c.activation("dy", dy), c.activation("dtable", dtable)
	c.length("dy", dy, rows*cols)
	tp, dp := c.window("dtable", dtable, dtable.Len(), true), c.window("dy", dy, dy.Len(), false)
	id := c.ids("id", ids, rows, dtable.Rows(), none)
	c.launch("rows", "scatter_add_"+tt+"_"+t, [3]int{rows}, [3]int{pieceThreads(cols, smaller(dtable.DType, dy.DType))}, tp, dp, id, c.i32of(rows), c.i32of(cols))
	return c.err
}

// PutRows copies rows : dst[rows[i]] = src[i]. With equal rows the last wins.
func (b *Backend) PutRows(dst, src tensor.Tensor, srcStride int, rows tensor.Tensor) error {
	c := call{b: b, kernel: "put rows"}
	n, cols, t, td := rows.Len(), dst.Cols(), c.activation("src", src), c.activation("dst", dst)
	dp := c.window("dst", dst, dst.Len(), true)
	sp := c.strided("src", src, src.DType, n, cols, srcStride, false)
	to := c.ids("row", rows, n, dst.Rows(), none)
	c.launch("rows", "put_rows_"+td+"_"+t, [3]int{n}, [3]int{pieceThreads(cols, smaller(dst.DType, src.DType))}, dp, sp, to, c.i32of(n), c.i32of(cols), int64(srcStride))
	return c.err
}
