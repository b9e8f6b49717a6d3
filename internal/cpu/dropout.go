package cpu

import "github.com/mltrain/mltrain/internal/tensor"

// Dropout computes y = x/(1−p) where key keeps an element and 0 elsewhere (+= if acc); y may be x.
func (b *Backend) Dropout(y, x tensor.Tensor, p float32, key tensor.RNGKey, acc bool) error {
	c := call{kernel: "dropout"}
	c.require(p >= 0 && p < 1, "probability %v, want 0 ≤ p < 1", p)
	c.length("y", y, x.Len())
	yf, xf := c.out("y", y), c.in("x", x)
	if c.err != nil {
		return c.err
	}
	threshold, scale := tensor.DropThreshold(p), 1/(1-p)
	parts(x.Len(), grain, func(lo, hi int) {
		s := b.borrow()
		defer b.giveBack(s)
		t, m := s.floats(0, piece), s.floats(1, piece)
		pieces(lo, hi, func(lo, n int) {
			b.v.Keep(m[:n], key, uint64(lo), threshold, scale)
			b.v.Mul(m[:n], m[:n], xf.read(b.v, lo, n, t))
			yf.store(b.v, lo, m[:n], acc, t)
		})
	})
	return nil
}
