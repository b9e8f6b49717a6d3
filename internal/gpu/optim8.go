package gpu

import (
	"github.com/mltrain/mltrain/internal/quant"
	"github.com/mltrain/mltrain/internal/tensor"
)

// Optim8 updates parameters whose states are in 8 bits, and those with float32 states beside them, in one launch: a thread block for
// each block of 256.
func (b *Backend) Optim8(s tensor.OptSpec, regions []tensor.Region8, w, master, s1, s2 tensor.Tensor, q1, q2 tensor.Blocks8, g, scale tensor.Tensor) error {
	c := call{b: b, kernel: "optim8"}
	n := master.Len()
	c.require(s.Kind == tensor.Adam || s.Kind == tensor.AdamW, "optimiser %d has no states in 8 bits", s.Kind)
	c.require(s.Step >= 1, "step %d, want 1 or more", s.Step)
	mp := c.f32("master", master, n, true)
	c.length("g", g, n)
	gp, sp := c.float("g", g, n, false), c.f32("scale", scale, 1, false)
	var wp Ptr
	if !w.IsZero() {
		c.length("w", w, n)
		wp = c.float("w", w, n, true)
	}
	var table []byte
	total, plain, coded := 0, 0, 0
	for i, r := range regions {
		c.require(r.Off >= 0 && r.Len > 0 && r.Off <= n-r.Len && r.At >= 0, "region %d covers %d elements from %d of %d, states from %d", i, r.Len, r.Off, n, r.At)
		c.require(r.Plain || r.At%quant.StateBlock == 0, "the states of region %d begin at %d, inside of a block", i, r.At)
		if r.Plain {
			plain = max(plain, r.At+r.Len)
		} else {
			coded = max(coded, r.At+r.Len)
		}
		table = pack(packSegment(&c, table, s, r.Segment, total), []any{int64(r.At), flag(r.Plain), int32(0)})
		total += blocks(r.Len, quant.StateBlock)
	}
	var m1, m2 Ptr
	if plain > 0 {
		m1, m2 = c.f32("s1", s1, plain, true), c.f32("s2", s2, plain, true)
	}
	var states []any
	for _, q := range []tensor.Blocks8{q1, q2} {
		var codes, absmax, values Ptr
		if coded > 0 {
			codes, absmax = c.typed("codes", q.Codes, tensor.U8, coded, true), c.f32("absmax", q.Absmax, quant.Blocks(coded, quant.StateBlock), true)
			values = c.f32("map", q.Map, 256, false)
		}
		states = append(states, codes, absmax, values)
	}
	if c.err != nil || total == 0 {
		return c.err
	}
	regionp := b.temp(&c, int64(len(table)))
	if c.err == nil {
		c.err = c.wrap(b.driver.Upload(regionp, table))
	}
	args := append(moments(s), regionp, c.i32of(len(regions)), wp, code(w), mp, m1, m2)
	args = append(append(args, states...), gp, code(g), sp)
	c.launch("optim8", "optim8", [3]int{total}, [3]int{quant.StateBlock}, args...)
	return c.err
}
