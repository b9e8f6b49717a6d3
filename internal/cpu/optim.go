package cpu

import (
	"math"
	"strconv"

	"github.com/mltrain/mltrain/internal/cpu/par"
	"github.com/mltrain/mltrain/internal/cpu/vec"
	"github.com/mltrain/mltrain/internal/tensor"
)

// ClipScale turns the squared norm of the unscaled gradient into what Optim needs.
func (b *Backend) ClipScale(out, sumsq tensor.Tensor, inv, maxNorm float32) error {
	c := call{kernel: "clip scale"}
	o, s := c.f32("out", out, 2, true), c.f32("sumsq", sumsq, 1, false)
	if c.err != nil {
		return c.err
	}
	norm := math.Sqrt(float64(s[0])) * float64(inv)
	scale := float64(inv)
	if maxNorm > 0 {
		scale *= min(1, float64(maxNorm)/(norm+1e-6))
	}
	if math.IsNaN(norm) || math.IsInf(norm, 0) {
		scale = math.NaN()
	}
	o[0], o[1] = float32(scale), float32(norm)
	return nil
}

// decimal returns the decimal number that f was rounded from: 0.999 and not 0.99900001287, whose difference from one
// would be wrong in its fifth digit.
func decimal(f float32) float64 {
	d, err := strconv.ParseFloat(strconv.FormatFloat(float64(f), 'g', -1, 32), 64)
	if err != nil { // NaN and Inf
		return float64(f)
	}
	return d
}

// optChunk is the number of parameters that a task updates.
const optChunk = 4 * grain

// Optim updates the segments of the flat vectors master and its states from gradient g multiplied by scale[0], and
// writes w, the rounded copy, unless absent. A scale that is not finite changes nothing.
//
// The order of operations is PyTorch's (torch.optim, single tensor); Lion's is that of Chen et al., 2023.
func (b *Backend) Optim(s tensor.OptSpec, segs []tensor.Segment, w, master, s1, s2, g, scale tensor.Tensor) error {
	c := call{kernel: "optim"}
	n := master.Len()
	c.require(s.Kind <= tensor.Lion, "unknown optimiser %d", s.Kind)
	c.require(s.Step >= 1, "step %d, want 1 or more", s.Step)
	m := c.f32("master", master, n, true)
	c.length("g", g, n)
	gf := c.in("g", g)
	sc := c.f32("scale", scale, 1, false)
	var m1, m2 []float32
	if s.Kind != tensor.SGD || s.Momentum != 0 {
		c.length("s1", s1, n)
		m1 = c.f32("s1", s1, n, true)
	}
	if s.Kind == tensor.Adam || s.Kind == tensor.AdamW {
		c.length("s2", s2, n)
		m2 = c.f32("s2", s2, n, true)
	}
	var wf floats
	if !w.IsZero() {
		c.length("w", w, n)
		wf = c.out("w", w)
	}
	end := 0
	for i, seg := range segs {
		if seg.Off < 0 || seg.Len < 0 || seg.Off > n-seg.Len {
			c.fail("segment %d covers %d elements from %d of %d", i, seg.Len, seg.Off, n)
		}
		end = max(end, seg.Off+seg.Len)
	}
	if c.err != nil {
		return c.err
	}
	if v := float64(sc[0]); math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	direct := m2 != nil && b.v.AdamWBF16 != nil && halves(wf) && gf.h == nil
	par.Do((end+optChunk-1)/optChunk, func(task int) {
		tmp := b.borrow()
		defer b.giveBack(tmp)
		t1, t2 := tmp.floats(0, piece), tmp.floats(1, piece)
		for _, seg := range segs {
			lo, hi := max(seg.Off, task*optChunk), min(seg.Off+seg.Len, (task+1)*optChunk)
			if lo >= hi {
				continue
			}
			u := updateOf(s, seg, sc[0])
			if direct {
				b.v.AdamWBF16(m[lo:hi], m1[lo:], m2[lo:], wf.h[lo:], gf.f[lo:], u.adam)
				continue
			}
			pieces(lo, hi, func(lo, n int) {
				var a1, a2 []float32
				if m1 != nil {
					a1 = m1[lo : lo+n]
				}
				if m2 != nil {
					a2 = m2[lo : lo+n]
				}
				p := m[lo : lo+n]
				u.apply(b.v, p, a1, a2, gf.read(b.v, lo, n, t1), t2[:n])
				if !w.IsZero() {
					wf.store(b.v, lo, p, false, nil)
				}
			})
		}
	})
	return nil
}

// update is the rule for one segment.
type update struct {
	tensor.OptSpec
	tensor.Segment
	scale         float32
	adam          vec.AdamArgs
	c1, c2, decay float32 // Lion: 1−β1, 1−β2 and lr·wd
}

func updateOf(s tensor.OptSpec, seg tensor.Segment, scale float32) update {
	u := update{OptSpec: s, Segment: seg, scale: scale}
	lr, wd := decimal(seg.LR), decimal(seg.WeightDecay)
	b1, b2 := decimal(s.Beta1), decimal(s.Beta2)
	u.c1, u.c2, u.decay = float32(1-b1), float32(1-b2), float32(lr*wd)
	u.adam = vec.AdamArgs{
		GScale: scale, B1: s.Beta1, C1: u.c1, B2: s.Beta2, C2: u.c2, Eps: s.Eps,
		LR:   float32(lr / (1 - math.Pow(b1, float64(s.Step)))),
		Root: float32(math.Sqrt(1 - math.Pow(b2, float64(s.Step)))),
	}
	if s.Kind == tensor.AdamW {
		u.adam.Decay = u.decay
	} else {
		u.adam.L2 = seg.WeightDecay
	}
	return u
}

// apply updates a run of parameters p with states m1 and m2 from gradient g; t is scratch.
func (u *update) apply(v *vec.Ops, p, m1, m2, g, t []float32) {
	switch u.Kind {
	case tensor.Adam, tensor.AdamW:
		v.AdamW(p, m1, m2, g, u.adam)
	case tensor.Lion:
		v.Scale(t, g, u.scale)
		for i, d := range t {
			x := p[i] - u.decay*p[i]
			switch c := u.Beta1*m1[i] + u.c1*d; {
			case c > 0:
				x -= u.LR
			case c < 0:
				x += u.LR
			}
			p[i] = x
			m1[i] = u.Beta2*m1[i] + u.c2*d
		}
	default:
		v.Scale(t, g, u.scale)
		if u.WeightDecay != 0 {
			v.Axpy(t, p, u.WeightDecay)
		}
		if u.Momentum != 0 {
			v.Scale(m1, m1, u.Momentum)
			v.Add(m1, m1, t)
			if u.Nesterov {
				v.Axpy(t, m1, u.Momentum)
			} else {
				copy(t, m1)
			}
		}
		v.Axpy(p, t, -u.LR)
	}
}
