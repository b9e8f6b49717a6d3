package ptxvm

// asyncCopy is a cp.async that has not arrived.
type asyncCopy struct {
	dst, src uint64
	size     int // bytes written; those beyond n are zeros
	n        int
	group    int
}

// asyncLane is what a thread has under way. Groups count from 0.
type asyncLane struct {
	copies []asyncCopy
	group  int // that copies join now
}

// copyAsync decodes cp.async and its groups. A copy happens when its thread waits for it and not before.
func (t *translator) copyAsync(op string, f []string, ops []operand) func(*warp, uint32) {
	if len(f) < 3 || f[1] != "async" {
		t.bad("unsupported instruction %q", op)
	}
	switch f[2] {
	case "commit_group":
		return func(w *warp, m uint32) {
			for ; m != 0; m &= m - 1 {
				w.async[lowest(m)].group++
			}
		}
	case "wait_group", "wait_all":
		keep := -1
		if f[2] == "wait_group" {
			keep = t.regs(op, ops, 1)[0]
		}
		return func(w *warp, m uint32) {
			for ; m != 0; m &= m - 1 {
				l := lowest(m)
				a := &w.async[l]
				done := a.group + 1 // wait_all includes what is not committed
				if keep >= 0 {
					done = a.group - int(uint32(w.r[keep][l]))
				}
				n := 0
				for n < len(a.copies) && a.copies[n].group < done {
					w.arrive(l, a.copies[n])
					n++
				}
				a.copies = append(a.copies[:0], a.copies[n:]...)
			}
		}
	case "ca", "cg":
	default:
		t.bad("unsupported instruction %q", op)
	}
	if len(ops) < 3 || len(ops) > 4 {
		t.bad("%s has %d operands, want 3 or 4", op, len(ops))
	}
	dst, src := ops[0], ops[1]
	r := t.regs(op, ops[2:], len(ops)-2)
	size := t.k.literalOf(r[0])
	if size != 4 && size != 8 && size != 16 || f[2] == "cg" && size != 16 {
		t.bad("%s copies 4, 8 or 16 bytes, and cg 16", op)
	}
	t.noteShared(sharedSpace, size)
	return func(w *warp, m uint32) {
		for ; m != 0; m &= m - 1 {
			l := lowest(m)
			c := asyncCopy{dst: w.r[dst.reg][l] + dst.offset, src: w.r[src.reg][l] + src.offset, size: size, n: size, group: w.async[l].group}
			if len(r) == 2 {
				if c.n = int(uint32(w.r[r[1]][l])); c.n > size {
					fail(l, "cp.async reads %d bytes to write %d", c.n, size)
				}
			}
			if c.src%uint64(size) != 0 {
				fail(l, "cp.async of %d bytes from %#x is not aligned", size, c.src)
			}
			w.source(l, c)
			w.b.shared.reserve(w, l, c.dst, size)
			w.async[l].copies = append(w.async[l].copies, c)
		}
	}
}

// literalOf returns the number that a register holds, or −1 if it is no literal.
func (k *Kernel) literalOf(reg int) int {
	for v, r := range k.constants {
		if r == reg {
			return int(v)
		}
	}
	return -1
}

// source returns the bytes that a copy reads, after all checks.
func (w *warp) source(lane int, c asyncCopy) []byte {
	if c.n == 0 {
		return nil
	}
	g := w.b.mem.find(c.src)
	if g == nil || c.src+uint64(c.n) > g.end() {
		fail(lane, "cp.async of %d bytes from %#x: %s", c.n, c.src, w.b.mem.describe(c.src))
	}
	at := c.src - g.base
	if !g.initialised(at, c.n) {
		fail(lane, "cp.async of %d bytes from %#x, which nothing has written", c.n, c.src)
	}
	return g.mem[at : at+uint64(c.n)]
}

func (w *warp) arrive(lane int, c asyncCopy) {
	b := w.b.shared.arrive(w, lane, c.dst, c.size)
	clear(b[copy(b, w.source(lane, c)):])
}
