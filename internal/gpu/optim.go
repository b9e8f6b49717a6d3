package gpu

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"github.com/mltrain/mltrain/internal/tensor"
)

// decimal returns the decimal number that f was rounded from: 0.999 and not 0.99900001287, whose difference from one
// would be wrong in its fifth digit.
func decimal(f float32) float64 {
	d, err := strconv.ParseFloat(strconv.FormatFloat(float64(f), 'g', -1, 32), 64)
	if err != nil { // NaN and Inf
		return float64(f)
	}
	return d
}

// optChunk is the number of parameters that a block of the update kernel works on.
const optChunk = 1024

// Optim updates the segments of the flat vectors master and its states from gradient g multiplied by scale[0], and
// writes w, the rounded copy, unless absent. A scale that is not finite changes nothing. It is one launch.
func (b *Backend) Optim(s tensor.OptSpec, segs []tensor.Segment, w, master, s1, s2, g, scale tensor.Tensor) error {
	c := call{b: b, kernel: "optim"}
	n := master.Len()
	c.require(s.Kind <= tensor.Lion, "unknown optimiser %d", s.Kind)
	c.require(s.Step >= 1, "step %d, want 1 or more", s.Step)
	mp := c.f32("master", master, n, true)
	c.length("g", g, n)
	gp, sp := c.float("g", g, n, false), c.f32("scale", scale, 1, false)
	var m1, m2, wp Ptr
	if s.Kind != tensor.SGD || s.Momentum != 0 {
		c.length("s1", s1, n)
		m1 = c.f32("s1", s1, n, true)
	}
	if s.Kind == tensor.Adam || s.Kind == tensor.AdamW {
		c.length("s2", s2, n)
		m2 = c.f32("s2", s2, n, true)
	}
	if !w.IsZero() {
		c.length("w", w, n)
		wp = c.float("w", w, n, true)
	}
	for i, seg := range segs {
		c.require(seg.Off >= 0 && seg.Len >= 0 && seg.Off <= n-seg.Len, "segment %d covers %d elements from %d of %d", i, seg.Len, seg.Off, n)
	}
	if c.err != nil {
		return c.err
	}
	table, count, total := segmentTable(&c, s, segs)
	if total == 0 {
		return c.err
	}
	segp := b.temp(&c, int64(len(table)))
	if c.err == nil {
		c.err = c.wrap(b.driver.Upload(segp, table))
	}
	c.launch("optim", "optim", [3]int{total}, [3]int{maxThreads}, append(moments(s), s.Momentum, flag(s.Nesterov), segp, c.i32of(count), wp, code(w), mp, m1, m2, gp, code(g), sp)...)
	return c.err
}

// moments are the kernels' arguments for an update rule.
func moments(s tensor.OptSpec) []any {
	b1, b2 := decimal(s.Beta1), decimal(s.Beta2)
	root := math.Sqrt(1 - math.Pow(b2, float64(s.Step)))
	return []any{int32(s.Kind), float32(b1), float32(1 - b1), float32(b2), float32(1 - b2), s.Eps, float32(root)}
}

// segmentTable lays out the segments that are not empty for the kernel, and returns their number and that of the blocks.
func segmentTable(c *call, s tensor.OptSpec, segs []tensor.Segment) (table []byte, count, total int) {
	segs = slices.DeleteFunc(slices.Clone(segs), func(s tensor.Segment) bool { return s.Len == 0 })
	slices.SortFunc(segs, func(a, b tensor.Segment) int { return cmp.Compare(a.Off, b.Off) })
	for _, seg := range segs {
		table = packSegment(c, table, s, seg, total)
		total += blocks(seg.Len, optChunk)
	}
	return table, len(segs), total
}

// packSegment appends a segment that begins with a block.
func packSegment(c *call, table []byte, s tensor.OptSpec, seg tensor.Segment, block int) []byte {
	lr, wd := decimal(seg.LR), decimal(seg.WeightDecay)
	step, decay, l2 := lr, 0.0, wd
	switch s.Kind {
	case tensor.Adam:
		step = lr / (1 - math.Pow(decimal(s.Beta1), float64(s.Step)))
	case tensor.AdamW:
		step = lr / (1 - math.Pow(decimal(s.Beta1), float64(s.Step)))
		decay, l2 = lr*wd, 0
	case tensor.Lion:
		decay, l2 = lr*wd, 0
	}
	return pack(table, []any{int64(seg.Off), int64(seg.Len), c.i32of(block), int32(0), float32(step), float32(decay), float32(l2), int32(0)})
}
