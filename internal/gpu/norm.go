package gpu

import "github.com/mltrain/mltrain/internal/tensor"

// stageBytes is the most shared memory that a block takes for rows: less than the 48 KiB that it has without asking.
const stageBytes = 40 << 10

// stage tells whether a block can keep its part of n operands with rows of cols elements in shared memory, and what that takes.
func stage(dt tensor.DType, cols, n int, operands ...Ptr) (bool, int) {
	if room := n * cols * dt.Size(); room <= stageBytes && whole(dt, cols, operands...) {
		return true, room
	}
	return false, 0
}

// Norm normalises the rows of x [R,C]; stats [R,2] receives mean (0 for RMSNorm) and reciprocal deviation.
//
// In bfloat16, RMSNorm rounds the normalised row before it multiplies by the weight, as transformers does, except with
// PlusOne (Gemma), which stays in float32.
func (b *Backend) Norm(s tensor.NormSpec, y, stats, x, w, bias tensor.Tensor) error {
	c := call{b: b, kernel: "norm"}
	rows, cols, t := x.Rows(), x.Cols(), c.activation("x", x)
	c.require(s.Kind <= tensor.LayerNorm, "unknown kind %d", s.Kind)
	c.length("y", y, x.Len())
	c.length("stats", stats, 2*rows)
	c.length("w", w, cols)
	yp, xp := c.typed("y", y, x.DType, x.Len(), true), c.window("x", x, x.Len(), false)
	wp, sp := c.float("w", w, cols, false), c.f32("stats", stats, 2*rows, true)
	var bp Ptr
	if !bias.IsZero() {
		c.length("b", bias, cols)
		bp = c.float("b", bias, cols, false)
	}
	rounded := s.Kind == tensor.RMSNorm && !s.PlusOne && y.DType == tensor.BF16
	staged, room := stage(x.DType, cols, 1, yp, xp, wp, bp)
	c.launchShared("norm", "norm_"+t, [3]int{rows}, [3]int{rowThreads(cols)}, room, int32(s.Kind), s.Eps, flag(s.PlusOne), flag(rounded),
		yp, sp, xp, wp, bp, code(w), code(bias), c.i32of(cols), flag(staged))
	return c.err
}

// normParts is the largest number of row blocks whose partial weight gradients are summed in order.
const normParts = 64

// NormBwd computes dx (+= if acc), and adds to dw and db [C] unless they are absent. dx may be dy if acc is false.
func (b *Backend) NormBwd(s tensor.NormSpec, dx, dw, db, dy, stats, x, w tensor.Tensor, acc bool) error {
	c := call{b: b, kernel: "norm backward"}
	rows, cols, t := x.Rows(), x.Cols(), c.activation("x", x)
	c.require(s.Kind <= tensor.LayerNorm, "unknown kind %d", s.Kind)
	c.length("dx", dx, x.Len())
	c.length("dy", dy, x.Len())
	c.length("stats", stats, 2*rows)
	c.length("w", w, cols)
	dxp, dyp := c.typed("dx", dx, x.DType, x.Len(), true), c.typed("dy", dy, x.DType, x.Len(), false)
	xp, wp := c.window("x", x, x.Len(), false), c.float("w", w, cols, false)
	sp := c.f32("stats", stats, 2*rows, false)
	per := max(8, blocks(rows, normParts))
	parts := blocks(rows, per)
	var dwp, dbp, partW, partB Ptr
	if !dw.IsZero() {
		c.length("dw", dw, cols)
		dwp = c.f32("dw", dw, cols, true)
		partW = b.temp(&c, 8*int64(parts)*int64(cols))
	}
	if !db.IsZero() {
		c.length("db", db, cols)
		dbp = c.f32("db", db, cols, true)
		partB = b.temp(&c, 8*int64(parts)*int64(cols)) + Ptr(4*parts*cols)
	}
	// The gradients of the parameters come first: dx may be dy.
	if partW != 0 || partB != 0 {
		wide, columns := whole(x.DType, cols, dyp, xp), cols // that threads have
		if wide {
			columns /= pieceBytes / x.DType.Size()
		}
		threads := rowThreads(columns)
		c.launch("norm", "norm_bwd_params_"+t, [3]int{blocks(columns, threads), parts}, [3]int{threads}, partW, partB, dyp, sp, xp,
			c.i32of(rows), c.i32of(cols), int32(per), flag(wide))
	}
	for _, p := range [][2]Ptr{{dwp, partW}, {dbp, partB}} {
		if p[0] != 0 && parts > 0 {
			c.each("reduce", "add_parts", cols, p[0], p[1], int32(parts), c.i32of(cols))
		}
	}
	staged, room := stage(x.DType, cols, 2, dxp, dyp, xp, wp)
	c.launchShared("norm", "norm_bwd_"+t, [3]int{rows}, [3]int{rowThreads(cols)}, room, int32(s.Kind), flag(s.PlusOne), dxp, dyp, sp, xp, wp,
		code(w), c.i32of(cols), flag(acc), flag(staged))
	return c.err
}
