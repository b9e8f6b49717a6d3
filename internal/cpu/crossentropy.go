package cpu

import (
	"math"

	"github.com/mltrain/mltrain/internal/cpu/vec"
	"github.com/mltrain/mltrain/internal/tensor"
)

func (c *call) targets(s tensor.CESpec, t tensor.Tensor, rows, vocab int) []int32 {
	ids := c.i32("targets", t, rows)
	for i, id := range ids {
		if id != s.IgnoreIndex && (id < 0 || int(id) >= vocab) {
			c.fail("target %d is %d, want 0 to %d or %d to ignore it", i, id, vocab-1, s.IgnoreIndex)
			break
		}
	}
	return ids
}

// ceRow gathers what a row of logits is about, piece by piece. Sums are relative to the largest logit so far.
type ceRow struct {
	max    float32
	first  int     // where max was met first
	sum    float64 // Σ exp(z−max)
	sumDev float64 // Σ exp(z−max)·(z−max)
	sumZ   float64 // Σ z
	target float32
	label  int // index of the target; −1 if ignored
}

// add takes logits z from index j on; t is scratch as long as z.
func (r *ceRow) add(v *vec.Ops, z, t []float32, j int, mean bool) {
	if m := v.Max(z); m > r.max {
		if d := float64(r.max) - float64(m); r.sum > 0 {
			r.sumDev = (r.sumDev + r.sum*d) * math.Exp(d)
			r.sum *= math.Exp(d)
		}
		r.max = m
		for i, x := range z {
			if x == m {
				r.first = j + i
				break
			}
		}
	}
	if r.label >= j && r.label < j+len(z) {
		r.target = z[r.label-j]
	}
	if mean {
		r.sumZ += float64(v.Sum(z))
	}
	sum := float64(v.ExpSum(t, z, r.max))
	r.sum += sum
	r.sumDev += float64(v.Dot(t, z)) - float64(r.max)*sum
}

// CrossEntropy writes rows [R,CECols] for logits [R,V] and targets int32 [R].
func (b *Backend) CrossEntropy(s tensor.CESpec, rows, logits, targets tensor.Tensor) error {
	c := call{kernel: "cross entropy"}
	n, vocab := logits.Rows(), logits.Cols()
	c.length("rows", rows, n*tensor.CECols)
	out := c.f32("rows", rows, n*tensor.CECols, true)
	lf := c.in("logits", logits)
	ids := c.targets(s, targets, n, vocab)
	if c.err != nil {
		return c.err
	}
	rowParts(n, vocab, func(lo, hi int) {
		sc := b.borrow()
		defer b.giveBack(sc)
		t1, t2 := sc.floats(0, piece), sc.floats(1, piece)
		for i := lo; i < hi; i++ {
			r := ceRow{max: negInf, label: -1}
			if ids[i] != s.IgnoreIndex {
				r.label = int(ids[i])
			}
			pieces(0, vocab, func(j, m int) {
				z := lf.read(b.v, i*vocab+j, m, t1)
				if s.SoftCap > 0 {
					b.v.Softcap(t1[:m], z, s.SoftCap)
					z = t1[:m]
				}
				r.add(b.v, z, t2[:m], j, s.Smoothing != 0)
			})
			logSum := math.Log(r.sum)
			lse := float64(r.max) + logSum
			o := out[i*tensor.CECols:][:tensor.CECols]
			clear(o)
			o[tensor.CELSE] = float32(lse)
			if r.label < 0 {
				continue
			}
			eps := float64(s.Smoothing)
			logp := (float64(r.target) - float64(r.max)) - logSum
			if eps != 0 {
				logp = (1-eps)*logp + eps*(r.sumZ/float64(vocab)-lse)
			}
			o[tensor.CELogp] = float32(logp)
			if r.first == r.label {
				o[tensor.CECorrect] = 1
			}
			o[tensor.CEEntropy] = float32(logSum - r.sumDev/r.sum)
		}
	})
	return nil
}

// CrossEntropyBwd computes dlogits = drow·∂logp/∂logits; dlogits may be logits.
//
// With p the softmax of the capped logits z: ∂logp/∂z = (1−ε)·1[target] + ε/V − p, and ∂z/∂logit = 1 − (z/cap)².
func (b *Backend) CrossEntropyBwd(s tensor.CESpec, dlogits, logits, rows, targets, drow tensor.Tensor) error {
	c := call{kernel: "cross entropy backward"}
	n, vocab := logits.Rows(), logits.Cols()
	c.length("dlogits", dlogits, logits.Len())
	c.length("rows", rows, n*tensor.CECols)
	df, lf := c.out("dlogits", dlogits), c.in("logits", logits)
	rs := c.f32("rows", rows, n*tensor.CECols, false)
	ids := c.targets(s, targets, n, vocab)
	var weights []float32
	if !drow.IsZero() {
		c.length("drow", drow, n)
		weights = c.f32("drow", drow, n, false)
	}
	if c.err != nil {
		return c.err
	}
	rowParts(n, vocab, func(lo, hi int) {
		sc := b.borrow()
		defer b.giveBack(sc)
		t1, t2, t3 := sc.floats(0, piece), sc.floats(1, piece), sc.floats(2, piece)
		for i := lo; i < hi; i++ {
			if ids[i] == s.IgnoreIndex {
				df.zero(i*vocab, (i+1)*vocab)
				continue
			}
			w := float32(-1)
			if weights != nil {
				w = weights[i]
			}
			lse, target := rs[i*tensor.CECols+tensor.CELSE], int(ids[i])
			pieces(0, vocab, func(j, m int) {
				z := lf.read(b.v, i*vocab+j, m, t1)
				if s.SoftCap > 0 {
					b.v.Softcap(t2[:m], z, s.SoftCap)
					z = t2[:m]
				}
				d := df.dst(i*vocab+j, m, t3)
				b.v.ExpSum(d, z, lse)
				b.v.Scale(d, d, -w)
				if s.Smoothing != 0 {
					b.v.AddConst(d, d, w*s.Smoothing/float32(vocab))
				}
				if target >= j && target < j+m {
					d[target-j] += w * (1 - s.Smoothing)
				}
				if s.SoftCap > 0 {
					inv := 1 / s.SoftCap
					for k, x := range z {
						x *= inv
						d[k] *= 1 - x*x
					}
				}
				df.flush(b.v, i*vocab+j, d)
			})
		}
	})
	return nil
}
