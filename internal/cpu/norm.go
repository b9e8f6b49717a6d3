package cpu

import (
	"math"

	"github.com/mltrain/mltrain/internal/cpu/par"
	"github.com/mltrain/mltrain/internal/tensor"
)

// rowSum returns Σ of the elements of a long row, piece by piece.
func (b *Backend) rowSum(x []float32) float64 {
	s := 0.0
	pieces(0, len(x), func(j, n int) { s += float64(b.v.Sum(x[j : j+n])) })
	return s
}

// loadWeight reads a norm's weight [C] in float32, plus one if asked, into s's slice i unless it can be used in place.
func (b *Backend) loadWeight(w floats, cols int, plusOne bool, t []float32) []float32 {
	if !plusOne {
		return w.read(b.v, 0, cols, t)
	}
	b.v.AddConst(t, w.read(b.v, 0, cols, t), 1)
	return t
}

// Norm normalises the rows of x [R,C]; stats [R,2] receives mean (0 for RMSNorm) and reciprocal deviation.
//
// In bfloat16, RMSNorm rounds the normalised row before it multiplies by the weight, as transformers does, except with
// PlusOne (Gemma), which stays in float32.
func (b *Backend) Norm(s tensor.NormSpec, y, stats, x, w, bias tensor.Tensor) error {
	c := call{kernel: "norm"}
	rows, cols := x.Rows(), x.Cols()
	c.require(s.Kind <= tensor.LayerNorm, "unknown kind %d", s.Kind)
	c.length("y", y, x.Len())
	c.length("stats", stats, 2*rows)
	c.length("w", w, cols)
	yf, xf, wf := c.out("y", y), c.in("x", x), c.in("w", w)
	st := c.f32("stats", stats, 2*rows, true)
	var bf floats
	if !bias.IsZero() {
		c.length("b", bias, cols)
		bf = c.in("b", bias)
	}
	if c.err != nil {
		return c.err
	}
	rounded := s.Kind == tensor.RMSNorm && !s.PlusOne && y.DType == tensor.BF16
	rowParts(rows, cols, func(lo, hi int) {
		sc := b.borrow()
		defer b.giveBack(sc)
		t1, t2 := sc.floats(0, cols), sc.floats(1, cols)
		ws := b.loadWeight(wf, cols, s.PlusOne, sc.floats(2, cols))
		var bs []float32
		if !bias.IsZero() {
			bs = bf.read(b.v, 0, cols, sc.floats(3, cols))
		}
		half := sc.halves(cols)
		for r := lo; r < hi; r++ {
			xs := xf.read(b.v, r*cols, cols, t1)
			var mean float32
			var ss float64
			if s.Kind == tensor.LayerNorm {
				mean = float32(b.rowSum(xs) / float64(cols))
				pieces(0, cols, func(j, n int) { ss += float64(b.v.SumSqDev(xs[j:j+n], mean)) })
			} else {
				pieces(0, cols, func(j, n int) { ss += float64(b.v.SumSq(xs[j : j+n])) })
			}
			rstd := float32(1 / math.Sqrt(ss/float64(cols)+float64(s.Eps)))
			st[2*r], st[2*r+1] = mean, rstd
			d := yf.dst(r*cols, cols, t2)
			if rounded {
				b.v.Scale(d, xs, rstd)
				b.v.ToBF16(half, d)
				b.v.FromBF16(d, half)
				b.v.Mul(d, d, ws)
			} else {
				b.v.Norm(d, xs, ws, mean, rstd)
			}
			if bs != nil {
				b.v.Add(d, d, bs)
			}
			yf.flush(b.v, r*cols, d)
		}
	})
	return nil
}

// normBlocks is the largest number of row blocks whose partial weight gradients are summed in order.
const normBlocks = 32

// NormBwd computes dx (+= if acc), and adds to dw and db [C] unless they are absent. dx may be dy if acc is false.
//
// With x̂ = (x−mean)·rstd and g = dy·w: dx = rstd·(g − mean(g) − x̂·mean(g·x̂)), without mean(g) for RMSNorm;
// dw = Σ dy·x̂ and db = Σ dy over rows.
func (b *Backend) NormBwd(s tensor.NormSpec, dx, dw, db, dy, stats, x, w tensor.Tensor, acc bool) error {
	c := call{kernel: "norm backward"}
	rows, cols := x.Rows(), x.Cols()
	c.require(s.Kind <= tensor.LayerNorm, "unknown kind %d", s.Kind)
	c.length("dx", dx, x.Len())
	c.length("dy", dy, x.Len())
	c.length("stats", stats, 2*rows)
	c.length("w", w, cols)
	dxf, dyf, xf, wf := c.out("dx", dx), c.in("dy", dy), c.in("x", x), c.in("w", w)
	st := c.f32("stats", stats, 2*rows, false)
	var dws, dbs []float32
	if !dw.IsZero() {
		c.length("dw", dw, cols)
		dws = c.f32("dw", dw, cols, true)
	}
	if !db.IsZero() {
		c.length("db", db, cols)
		dbs = c.f32("db", db, cols, true)
	}
	if c.err != nil {
		return c.err
	}
	block := max(8, grain/max(1, cols), (rows+normBlocks-1)/normBlocks)
	blocks := (rows + block - 1) / block
	partial := b.borrow()
	defer b.giveBack(partial)
	sums := partial.floats(7, 2*blocks*cols)
	par.Do(blocks, func(i int) {
		sc := b.borrow()
		defer b.giveBack(sc)
		t1, t2, t3 := sc.floats(0, cols), sc.floats(1, cols), sc.floats(2, cols)
		ws := b.loadWeight(wf, cols, s.PlusOne, sc.floats(3, cols))
		pw, pb := sums[2*i*cols:(2*i+1)*cols], sums[(2*i+1)*cols:(2*i+2)*cols]
		clear(pw)
		clear(pb)
		for r := i * block; r < min(rows, (i+1)*block); r++ {
			g, xs := dyf.read(b.v, r*cols, cols, t1), xf.read(b.v, r*cols, cols, t2)
			mean, rstd := st[2*r], st[2*r+1]
			if dws != nil {
				b.v.NormBwdW(pw, g, xs, mean, rstd)
			}
			if dbs != nil {
				b.v.Add(pb, pb, g)
			}
			var s1, s2 float64
			pieces(0, cols, func(j, n int) {
				a, p := b.v.NormDots(g[j:j+n], xs[j:j+n], ws[j:j+n], mean, rstd)
				s1 += float64(a)
				s2 += float64(p)
			})
			c1, c2 := float32(s1/float64(cols)), float32(s2/float64(cols))
			if s.Kind == tensor.RMSNorm {
				c1 = 0
			}
			if acc {
				b.v.NormBwd(t3, g, xs, ws, mean, rstd, c1, c2)
				dxf.store(b.v, r*cols, t3, true, t1)
				continue
			}
			d := dxf.dst(r*cols, cols, t3)
			b.v.NormBwd(d, g, xs, ws, mean, rstd, c1, c2)
			dxf.flush(b.v, r*cols, d)
		}
	})
	for i := range blocks {
		if dws != nil {
			b.v.Add(dws, dws, sums[2*i*cols:(2*i+1)*cols])
		}
		if dbs != nil {
			b.v.Add(dbs, dbs, sums[(2*i+1)*cols:(2*i+2)*cols])
		}
	}
	return nil
}
