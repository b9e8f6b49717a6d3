package cpu

import "github.com/mltrain/mltrain/internal/tensor"

// Rope rotates the rows of x by their positions; y may be x.
func (b *Backend) Rope(s tensor.RopeSpec, y, x, table, pos tensor.Tensor) error {
	c := call{kernel: "rope"}
	rows, width := pos.Len(), s.Heads*s.HeadDim
	c.require(s.Heads > 0 && s.RotaryDim > 0 && s.RotaryDim%2 == 0 && s.RotaryDim <= s.HeadDim,
		"%d heads of %d elements of which %d turn: want an even rotary dimension of at most the head's", s.Heads, s.HeadDim, s.RotaryDim)
	c.require(s.Sign == 1 || s.Sign == -1, "sign %v, want 1 or -1", s.Sign)
	c.require(table.IsZero() || table.Cols() == s.RotaryDim, "table is %v, want rows of %d", table, s.RotaryDim)
	yf := c.strided("y", y, rows, width, s.StrideY, true)
	xf := c.strided("x", x, rows, width, s.StrideX, false)
	tab := c.f32("table", table, table.Len(), false)
	ps := c.i32("pos", pos, rows)
	for i, p := range ps {
		if p < 0 || int(p) >= table.Rows() {
			c.require(false, "row %d has position %d, the table has %d", i, p, table.Rows())
		}
	}
	if c.err != nil {
		return c.err
	}
	h := s.RotaryDim / 2
	direct := !s.Interleaved && s.RotaryDim == s.HeadDim && b.v.RotateBF16 != nil && halves(yf, xf)
	rowParts(rows, width, func(lo, hi int) {
		sc := b.borrow()
		defer b.giveBack(sc)
		in, out := sc.floats(0, s.HeadDim), sc.floats(1, s.HeadDim)
		pairs := sc.floats(2, s.RotaryDim)
		for r := lo; r < hi; r++ {
			cos := tab[int(ps[r])*s.RotaryDim:][:s.RotaryDim]
			cos, sin := cos[:h], cos[h:]
			if direct {
				b.v.RotateBF16(yf.h[r*s.StrideY:], xf.h[r*s.StrideX:], cos, sin, s.Sign, s.Heads, s.HeadDim)
				continue
			}
			for head := range s.Heads {
				from, to := r*s.StrideX+head*s.HeadDim, r*s.StrideY+head*s.HeadDim
				xs := xf.read(b.v, from, s.HeadDim, in)
				d := yf.dst(to, s.HeadDim, out)
				if s.Interleaved {
					for i := range h {
						pairs[i], pairs[h+i] = xs[2*i], xs[2*i+1]
					}
					b.v.Rotate(pairs[:h], pairs[h:], pairs[:h], pairs[h:], cos, sin, s.Sign)
					for i := range h {
						d[2*i], d[2*i+1] = pairs[i], pairs[h+i]
					}
				} else {
					b.v.Rotate(d[:h], d[h:2*h], xs[:h], xs[h:2*h], cos, sin, s.Sign)
				}
				copy(d[s.RotaryDim:], xs[s.RotaryDim:])
				yf.flush(b.v, to, d)
			}
		}
	})
	return nil
}
