package cpu

import (
	"fmt"

	"github.com/mltrain/mltrain/internal/tensor"
)

const (
	colBlock = 128 // columns that a task folds at a time
	rowBlock = 64  // rows whose sum is formed before it joins the total: keeps long sums accurate
)

// Reduce folds x seen as a matrix [R,C] along axis 0 (y is [C]) or 1 (y is [R]).
func (b *Backend) Reduce(op tensor.ReduceOp, y, x tensor.Tensor, axis int, acc bool) error {
	c := call{kernel: fmt.Sprintf("reduce axis %d", axis)}
	c.require(op < tensor.NumReduceOps, "unknown reduction %d", op)
	c.require(axis == 0 || axis == 1, "axis must be 0 or 1")
	rows, cols := x.Rows(), x.Cols()
	if axis == 0 {
		c.length("y", y, cols)
	} else {
		c.length("y", y, rows)
	}
	yf, xf := c.out("y", y), c.in("x", x)
	if c.err != nil {
		return c.err
	}
	if axis == 1 {
		rowParts(rows, cols, func(lo, hi int) {
			s := b.borrow()
			defer b.giveBack(s)
			t, one := s.floats(0, piece), s.floats(1, 1)
			for r := lo; r < hi; r++ {
				total := 0.0
				best := negInf
				pieces(0, cols, func(j, n int) {
					v := xf.read(b.v, r*cols+j, n, t)
					switch op {
					case tensor.ReduceSum:
						total += float64(b.v.Sum(v))
					case tensor.ReduceSumSq:
						total += float64(b.v.SumSq(v))
					default:
						best = max(best, b.v.Max(v))
					}
				})
				if op != tensor.ReduceMax {
					best = float32(total)
				}
				one[0] = best
				yf.store(b.v, r, one, acc, t)
			}
		})
		return nil
	}
	parts(cols, colBlock, func(lo, hi int) {
		s := b.borrow()
		defer b.giveBack(s)
		n := hi - lo
		t, part, total := s.floats(0, n), s.floats(1, n), s.floats(2, n)
		clear(total)
		for r0 := 0; r0 < rows; r0 += rowBlock {
			clear(part)
			for r := r0; r < min(rows, r0+rowBlock); r++ {
				v := xf.read(b.v, r*cols+lo, n, t)
				switch {
				case op == tensor.ReduceSum:
					b.v.Add(part, part, v)
				case op == tensor.ReduceSumSq:
					b.v.MulAdd(part, v, v)
				case r == 0:
					copy(total, v)
				default:
					for i := range total {
						total[i] = max(total[i], v[i])
					}
				}
			}
			if op != tensor.ReduceMax {
				b.v.Add(total, total, part)
			}
		}
		yf.store(b.v, lo, total, acc, t)
	})
	return nil
}
