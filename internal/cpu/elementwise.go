package cpu

import (
	"fmt"

	"github.com/mltrain/mltrain/internal/cpu/par"
	"github.com/mltrain/mltrain/internal/cpu/vec"
	"github.com/mltrain/mltrain/internal/tensor"
)

// unary returns the loop of op, or nil.
func unary(v *vec.Ops, op tensor.UnaryOp) func(y, x []float32, k float32) {
	switch op {
	case tensor.OpScale:
		return v.Scale
	case tensor.OpSiLU:
		return v.SiLU
	case tensor.OpGELU:
		return v.GELU
	case tensor.OpGELUTanh:
		return v.GELUTanh
	case tensor.OpReLU:
		return v.ReLU
	case tensor.OpTanh:
		return v.Tanh
	case tensor.OpSigmoid:
		return v.Sigmoid
	case tensor.OpSoftcap:
		return v.Softcap
	case tensor.OpRsqrt:
		return rsqrt
	}
	return nil
}

// unaryBwd returns the loop of op's derivative, or nil.
func unaryBwd(v *vec.Ops, op tensor.UnaryOp) func(dx, dy, x []float32, k float32) {
	switch op {
	case tensor.OpScale:
		return func(dx, dy, _ []float32, k float32) { v.Scale(dx, dy, k) }
	case tensor.OpSiLU:
		return v.SiLUBwd
	case tensor.OpGELU:
		return v.GELUBwd
	case tensor.OpGELUTanh:
		return v.GELUTanhBwd
	case tensor.OpReLU:
		return v.ReLUBwd
	case tensor.OpTanh:
		return v.TanhBwd
	case tensor.OpSigmoid:
		return v.SigmoidBwd
	case tensor.OpSoftcap:
		return v.SoftcapBwd
	case tensor.OpRsqrt:
		return rsqrtBwd
	}
	return nil
}

func (c *call) unaryOp(op tensor.UnaryOp, k float32) {
	c.require(op < tensor.NumUnaryOps, "unknown function %v", op)
	c.require(op != tensor.OpSoftcap || k > 0, "softcap %v, want a positive one", k)
	c.require(op != tensor.OpRsqrt || k >= 0, "rsqrt with %v, want 0 or more", k)
}

// Unary computes y = op(x); y may be x.
func (b *Backend) Unary(op tensor.UnaryOp, k float32, y, x tensor.Tensor) error {
	c := call{kernel: fmt.Sprintf("unary %v", op)}
	c.unaryOp(op, k)
	c.length("y", y, x.Len())
	yf, xf := c.out("y", y), c.in("x", x)
	if c.err != nil {
		return c.err
	}
	f := unary(b.v, op)
	parts(x.Len(), grain, func(lo, hi int) {
		s := b.borrow()
		defer b.giveBack(s)
		t1, t2 := s.floats(0, piece), s.floats(1, piece)
		pieces(lo, hi, func(lo, n int) {
			d := yf.dst(lo, n, t2)
			f(d, xf.read(b.v, lo, n, t1), k)
			yf.flush(b.v, lo, d)
		})
	})
	return nil
}

// UnaryBwd computes dx = dy·op'(x); dx may be dy.
func (b *Backend) UnaryBwd(op tensor.UnaryOp, k float32, dx, dy, x tensor.Tensor, acc bool) error {
	c := call{kernel: fmt.Sprintf("unary backward %v", op)}
	c.unaryOp(op, k)
	c.length("dx", dx, x.Len())
	c.length("dy", dy, x.Len())
	dxf, dyf, xf := c.out("dx", dx), c.in("dy", dy), c.in("x", x)
	if c.err != nil {
		return c.err
	}
	f := unaryBwd(b.v, op)
	parts(x.Len(), grain, func(lo, hi int) {
		s := b.borrow()
		defer b.giveBack(s)
		t1, t2, t3 := s.floats(0, piece), s.floats(1, piece), s.floats(2, piece)
		pieces(lo, hi, func(lo, n int) {
			g, xs := dyf.read(b.v, lo, n, t1), xf.read(b.v, lo, n, t2)
			if acc {
				f(t3[:n], g, xs, k)
				dxf.store(b.v, lo, t3[:n], true, t1)
				return
			}
			d := dxf.dst(lo, n, t3)
			f(d, g, xs, k)
			dxf.flush(b.v, lo, d)
		})
	})
	return nil
}

// Binary computes y = a op b; b has a's shape, or is a row or a column of a seen as a matrix. y may be a.
func (b *Backend) Binary(op tensor.BinaryOp, y, a, x tensor.Tensor, acc bool) error {
	c := call{kernel: "binary"}
	c.require(op < tensor.NumBinaryOps, "unknown function %d", op)
	rows, cols := a.Rows(), a.Cols()
	row, col := false, false
	switch n := x.Len(); {
	case n == a.Len():
	case n == cols && x.Rows() == 1:
		row = true
	case n == rows && x.Cols() == 1:
		col = true
	default:
		c.fail("b is %v, want the shape of a %v, a row of %d or a column of %d", x, a, cols, rows)
	}
	c.length("y", y, a.Len())
	yf, af, bf := c.out("y", y), c.in("a", a), c.in("b", x)
	if c.err != nil {
		return c.err
	}
	if op == tensor.OpAdd && !row && !col && !acc && b.v.AddBF16 != nil && halves(yf, af, bf) {
		parts(a.Len(), grain, func(lo, hi int) { b.v.AddBF16(yf.h[lo:hi], af.h[lo:hi], bf.h[lo:hi]) })
		return nil
	}
	f := [...]func(y, a, b []float32){b.v.Add, b.v.Sub, b.v.Mul}[op]
	if !row && !col {
		rows, cols = 1, a.Len()
	}
	// Tasks cover whole rows, or parts of the only one.
	body := func(r, lo, hi int, s *scratch) {
		ta, tb, td := s.floats(0, piece), s.floats(1, piece), s.floats(2, piece)
		pieces(lo, hi, func(lo, n int) {
			at := r*cols + lo
			as := af.read(b.v, at, n, ta)
			d := td[:n]
			if !acc {
				d = yf.dst(at, n, td)
			}
			switch {
			case col:
				k := bf.read(b.v, r, 1, tb)[0]
				switch op {
				case tensor.OpAdd:
					b.v.AddConst(d, as, k)
				case tensor.OpSub:
					b.v.AddConst(d, as, -k)
				default:
					b.v.Scale(d, as, k)
				}
			case row:
				f(d, as, bf.read(b.v, lo, n, tb))
			default:
				f(d, as, bf.read(b.v, at, n, tb))
			}
			if acc {
				yf.store(b.v, at, d, true, ta)
			} else {
				yf.flush(b.v, at, d)
			}
		})
	}
	if rows == 1 {
		parts(cols, grain, func(lo, hi int) {
			s := b.borrow()
			defer b.giveBack(s)
			body(0, lo, hi, s)
		})
		return nil
	}
	rowParts(rows, cols, func(lo, hi int) {
		s := b.borrow()
		defer b.giveBack(s)
		for r := lo; r < hi; r++ {
			body(r, 0, cols, s)
		}
	})
	return nil
}

// Gate computes y = op(gate)·up.
func (b *Backend) Gate(s tensor.GateSpec, y, gate, up tensor.Tensor) error {
	c := call{kernel: fmt.Sprintf("gate %v", s.Op)}
	c.gateOp(s.Op)
	yf := c.strided("y", y, s.Rows, s.Cols, s.StrideY, true)
	gf := c.strided("gate", gate, s.Rows, s.Cols, s.StrideGate, false)
	uf := c.strided("up", up, s.Rows, s.Cols, s.StrideUp, false)
	if c.err != nil {
		return c.err
	}
	f := unary(b.v, s.Op)
	direct := s.Op == tensor.OpSiLU && b.v.SwiGLUBF16 != nil && halves(yf, gf, uf)
	rowParts(s.Rows, s.Cols, func(lo, hi int) {
		if direct {
			for r := lo; r < hi; r++ {
				b.v.SwiGLUBF16(yf.h[r*s.StrideY:][:s.Cols], gf.h[r*s.StrideGate:], uf.h[r*s.StrideUp:])
			}
			return
		}
		sc := b.borrow()
		defer b.giveBack(sc)
		t1, t2, t3 := sc.floats(0, piece), sc.floats(1, piece), sc.floats(2, piece)
		for r := lo; r < hi; r++ {
			pieces(0, s.Cols, func(j, n int) {
				g := gf.read(b.v, r*s.StrideGate+j, n, t1)
				u := uf.read(b.v, r*s.StrideUp+j, n, t2)
				d := yf.dst(r*s.StrideY+j, n, t3)
				if s.Op == tensor.OpSiLU {
					b.v.SwiGLU(d, g, u)
				} else {
					f(d, g, 1)
					b.v.Mul(d, d, u)
				}
				yf.flush(b.v, r*s.StrideY+j, d)
			})
		}
	})
	return nil
}

// gateOp refuses functions with a constant: a GateSpec has none.
func (c *call) gateOp(op tensor.UnaryOp) {
	c.unaryOp(op, 1)
	c.require(op != tensor.OpSoftcap && op != tensor.OpScale && op != tensor.OpRsqrt, "function %v needs a constant", op)
}

// GateBwd computes dgate = dy·up·op'(gate) and dup = dy·op(gate); dgate may be gate and dup may be up.
func (b *Backend) GateBwd(s tensor.GateSpec, dgate, dup, dy, gate, up tensor.Tensor) error {
	c := call{kernel: fmt.Sprintf("gate backward %v", s.Op)}
	c.gateOp(s.Op)
	dgf := c.strided("dgate", dgate, s.Rows, s.Cols, s.StrideGate, true)
	duf := c.strided("dup", dup, s.Rows, s.Cols, s.StrideUp, true)
	dyf := c.strided("dy", dy, s.Rows, s.Cols, s.StrideY, false)
	gf := c.strided("gate", gate, s.Rows, s.Cols, s.StrideGate, false)
	uf := c.strided("up", up, s.Rows, s.Cols, s.StrideUp, false)
	if c.err != nil {
		return c.err
	}
	f, df := unary(b.v, s.Op), unaryBwd(b.v, s.Op)
	direct := s.Op == tensor.OpSiLU && b.v.SwiGLUBwdBF16 != nil && halves(dgf, duf, dyf, gf, uf)
	rowParts(s.Rows, s.Cols, func(lo, hi int) {
		if direct {
			for r := lo; r < hi; r++ {
				at, up := r*s.StrideGate, r*s.StrideUp
				b.v.SwiGLUBwdBF16(dgf.h[at:][:s.Cols], duf.h[up:], dyf.h[r*s.StrideY:], gf.h[at:], uf.h[up:])
			}
			return
		}
		sc := b.borrow()
		defer b.giveBack(sc)
		t1, t2, t3 := sc.floats(0, piece), sc.floats(1, piece), sc.floats(2, piece)
		t4, t5 := sc.floats(3, piece), sc.floats(4, piece)
		for r := lo; r < hi; r++ {
			pieces(0, s.Cols, func(j, n int) {
				d := dyf.read(b.v, r*s.StrideY+j, n, t1)
				g := gf.read(b.v, r*s.StrideGate+j, n, t2)
				u := uf.read(b.v, r*s.StrideUp+j, n, t3)
				dg, du := dgf.dst(r*s.StrideGate+j, n, t4), duf.dst(r*s.StrideUp+j, n, t5)
				if s.Op == tensor.OpSiLU {
					b.v.SwiGLUBwd(dg, du, d, g, u)
				} else {
					p, q := t4[:n], t5[:n]
					b.v.Mul(p, d, u)
					f(q, g, 1)
					df(dg, p, g, 1)
					b.v.Mul(du, q, d)
				}
				dgf.flush(b.v, r*s.StrideGate+j, dg)
				duf.flush(b.v, r*s.StrideUp+j, du)
			})
		}
	})
	return nil
}

// SumSq computes out[0] = Σ x² (+= if acc).
func (b *Backend) SumSq(out, x tensor.Tensor, acc bool) error {
	c := call{kernel: "sumsq"}
	o, xf := c.f32("out", out, 1, true), c.in("x", x)
	if c.err != nil {
		return c.err
	}
	n := x.Len()
	// At most 256 partial sums, whatever the length.
	size := max(grain, (n+255)/256)
	partial := b.borrow()
	defer b.giveBack(partial)
	sums := partial.doubles((n + size - 1) / size)
	par.Do(len(sums), func(i int) {
		s := b.borrow()
		defer b.giveBack(s)
		t := s.floats(0, piece)
		sums[i] = 0
		pieces(i*size, min(n, (i+1)*size), func(lo, n int) {
			sums[i] += float64(b.v.SumSq(xf.read(b.v, lo, n, t)))
		})
	})
	total := 0.0
	for _, p := range sums {
		total += p
	}
	if acc {
		total += float64(o[0])
	}
	o[0] = float32(total)
	return nil
}
