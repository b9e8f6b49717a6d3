package cpu

import (
	"github.com/mltrain/mltrain/internal/cpu/vec"
	"github.com/mltrain/mltrain/internal/tensor"
)

// indices checks that ids lie in [0,n).
func (c *call) indices(what string, ids []int32, n int) {
	for i, id := range ids {
		if id < 0 || int(id) >= n {
			c.fail("%s %d is %d, want 0 to %d", what, i, id, n-1)
			return
		}
	}
}

// source is an operand of any floating-point type that is read by rows.
type source struct {
	floats
	f16 bool
}

// anyFloat returns n elements of an F32, BF16 or F16 operand.
func (c *call) anyFloat(name string, t tensor.Tensor, n int) source {
	if t.DType != tensor.F16 {
		return source{floats: c.float(name, t, n, false)}
	}
	if n < t.Len() {
		t = t.Slice(0, n)
	}
	return source{floats{h: c.half(name, t, false)}, true}
}

// load reads elements lo to lo+len(y) into y.
func (x source) load(v *vec.Ops, lo int, y []float32) {
	switch {
	case x.f16:
		for i, h := range x.h[lo : lo+len(y)] {
			y[i] = vec.FromF16Bits(h)
		}
	case x.h != nil:
		v.FromBF16(y, x.h[lo:lo+len(y)])
	default:
		copy(y, x.f[lo:lo+len(y)])
	}
}

// Gather copies rows of table [V,C] : y[i] = table[ids[i]].
func (b *Backend) Gather(y, table, ids tensor.Tensor) error {
	c := call{kernel: "gather"}
	rows, cols := ids.Len(), table.Cols()
	c.length("y", y, rows*cols)
	yf, tf := c.out("y", y), c.anyFloat("table", table, table.Len())
	id := c.i32("ids", ids, rows)
	c.indices("id", id, table.Rows())
	if c.err != nil {
		return c.err
	}
	rowParts(rows, cols, func(lo, hi int) {
		s := b.borrow()
		defer b.giveBack(s)
		t := s.floats(0, piece)
		for r := lo; r < hi; r++ {
			pieces(0, cols, func(j, n int) {
				d := yf.dst(r*cols+j, n, t)
				tf.load(b.v, int(id[r])*cols+j, d)
				yf.flush(b.v, r*cols+j, d)
			})
		}
	})
	return nil
}

// ScatterAdd adds rows : dtable[ids[i]] += dy[i], in order of i. Tasks own columns, so that no two meet.
func (b *Backend) ScatterAdd(dtable, dy, ids tensor.Tensor) error {
	c := call{kernel: "scatter add"}
	rows, cols := ids.Len(), dtable.Cols()
	c.length("dy", dy, rows*cols)
	tf, df := c.out("dtable", dtable), c.in("dy", dy)
	id := c.i32("ids", ids, rows)
	c.indices("id", id, dtable.Rows())
	if c.err != nil {
		return c.err
	}
	parts(cols, colBlock, func(lo, hi int) {
		s := b.borrow()
		defer b.giveBack(s)
		t1, t2 := s.floats(0, colBlock), s.floats(1, colBlock)
		for r, v := range id {
			tf.store(b.v, int(v)*cols+lo, df.read(b.v, r*cols+lo, hi-lo, t1), true, t2)
		}
	})
	return nil
}

// PutRows copies rows : dst[rows[i]] = src[i]. With equal rows the last wins.
func (b *Backend) PutRows(dst, src tensor.Tensor, srcStride int, rows tensor.Tensor) error {
	c := call{kernel: "put rows"}
	n, cols := rows.Len(), dst.Cols()
	df := c.out("dst", dst)
	sf := c.strided("src", src, n, cols, srcStride, false)
	to := c.i32("rows", rows, n)
	c.indices("row", to, dst.Rows())
	if c.err != nil {
		return c.err
	}
	parts(cols, colBlock, func(lo, hi int) {
		s := b.borrow()
		defer b.giveBack(s)
		t := s.floats(0, colBlock)
		for i, r := range to {
			df.store(b.v, int(r)*cols+lo, sf.read(b.v, i*srcStride+lo, hi-lo, t), false, nil)
		}
	})
	return nil
}
