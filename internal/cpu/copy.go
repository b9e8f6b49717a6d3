package cpu

import (
	"math"

	"github.com/mltrain/mltrain/internal/cpu/vec"
	"github.com/mltrain/mltrain/internal/tensor"
)

// Copy copies element by element; types may differ, rounding to nearest even. Integers saturate, and NaN becomes 0.
func (b *Backend) Copy(dst, src tensor.Tensor) error {
	c := call{kernel: "copy"}
	c.require(dst.Len() == src.Len(), "dst %v and src %v differ in length", dst, src)
	if dst.DType == src.DType {
		d, s := c.bytes("dst", dst, true), c.bytes("src", src, false)
		if c.err == nil {
			parts(len(d), 4*grain, func(lo, hi int) { copy(d[lo:hi], s[lo:hi]) })
		}
		return c.err
	}
	load, store := c.loader(src), c.storer(dst)
	if c.err != nil {
		return c.err
	}
	parts(src.Len(), grain, func(lo, hi int) {
		s := b.borrow()
		defer b.giveBack(s)
		t := s.floats(0, piece)
		pieces(lo, hi, func(lo, n int) {
			load(b.v, lo, t[:n])
			store(b.v, lo, t[:n])
		})
	})
	return nil
}

// loader returns a function that reads elements from lo on as float32.
func (c *call) loader(t tensor.Tensor) func(v *vec.Ops, lo int, y []float32) {
	switch t.DType {
	case tensor.F32, tensor.BF16, tensor.F16:
		return c.anyFloat("src", t, t.Len()).load
	case tensor.I32:
		x := c.i32("src", t, t.Len())
		return func(_ *vec.Ops, lo int, y []float32) {
			for i, n := range x[lo : lo+len(y)] {
				y[i] = float32(n)
			}
		}
	}
	c.fail("cannot convert src %v", t)
	return nil
}

// storer returns a function that writes float32 values to the elements from lo on.
func (c *call) storer(t tensor.Tensor) func(v *vec.Ops, lo int, x []float32) {
	switch t.DType {
	case tensor.F32, tensor.BF16:
		y := c.out("dst", t)
		return func(v *vec.Ops, lo int, x []float32) { y.store(v, lo, x, false, nil) }
	case tensor.F16:
		y := c.half("dst", t, true)
		return func(_ *vec.Ops, lo int, x []float32) {
			for i, f := range x {
				y[lo+i] = vec.F16(f)
			}
		}
	case tensor.I32:
		y := c.i32Out("dst", t)
		return func(_ *vec.Ops, lo int, x []float32) {
			for i, f := range x {
				y[lo+i] = toInt32(f)
			}
		}
	}
	c.fail("cannot convert to dst %v", t)
	return nil
}

func toInt32(f float32) int32 {
	r := math.RoundToEven(float64(f))
	switch {
	case r != r:
		return 0
	case r >= math.MaxInt32:
		return math.MaxInt32
	case r <= math.MinInt32:
		return math.MinInt32
	}
	return int32(r)
}
