package ptxvm

import "math/bits"

// members checks that the lanes which a warp-wide instruction names are those that execute it.
func members(w *warp, op string, mask, m uint32) {
	if m == 0 {
		return
	}
	if missing := mask &^ m; missing != 0 {
		fail(lowest(m), "%s names lanes %#x, of which %#x do not take part", op, mask, missing)
	}
	if extra := m &^ mask; extra != 0 {
		fail(lowest(extra), "%s is executed by lanes %#x that its mask %#x does not name", op, extra, mask)
	}
}

// exchange decodes shfl.sync, vote.sync and activemask.
func (t *translator) exchange(op string, f []string, ops []operand) func(*warp, uint32) {
	switch {
	case f[0] == "activemask":
		d := t.regs(op, ops, 1)[0]
		return func(w *warp, m uint32) {
			for n := m; n != 0; n &= n - 1 {
				w.r[d][lowest(n)] = uint64(m)
			}
		}
	case f[0] == "vote" && has(f, "sync") && len(ops) == 3 && ops[1].pred:
		return t.vote(op, f, ops)
	case f[0] == "shfl" && len(f) > 2 && has(f, "sync") && len(ops) == 5:
	default:
		t.bad("unsupported instruction %q", op)
	}
	mode := f[2]
	switch mode {
	case "bfly", "down", "up", "idx":
	default:
		t.bad("unsupported instruction %q", op)
	}
	valid := -1
	if ops[0].second != nil {
		if !ops[0].second.pred {
			t.bad("%s: the second result must be a predicate", op)
		}
		valid = ops[0].second.reg
	}
	d := ops[0].reg
	r := t.regs(op, ops[1:], 4)
	return func(w *warp, m uint32) {
		if m == 0 {
			return
		}
		members(w, op, uint32(w.r[r[3]][lowest(m)]), m)
		from := w.r[r[0]]
		for n := m; n != 0; n &= n - 1 {
			l := lowest(n)
			x, c := int(w.r[r[1]][l]&31), int(w.r[r[2]][l])
			clamp, seg := c&31, c>>8&31
			lo, hi := l&seg, l&seg|clamp&^seg
			src, ok := 0, false
			switch mode {
			case "up":
				src = l - x
				ok = src >= hi
			case "down":
				src = l + x
				ok = src <= hi
			case "bfly":
				src = l ^ x
				ok = src <= hi
			default:
				src = lo | x&^seg
				ok = src <= hi
			}
			if !ok {
				src = l
			}
			if m>>src&1 == 0 {
				fail(l, "%s reads lane %d, which does not take part", op, src)
			}
			w.r[d][l] = from[src]
			if valid >= 0 {
				w.p[valid] = w.p[valid]&^(1<<l) | bit(ok)<<l
			}
		}
	}
}

func (t *translator) vote(op string, f []string, ops []operand) func(*warp, uint32) {
	p, d := ops[1], ops[0]
	mask := t.regs(op, ops[2:], 1)[0]
	if d.vec != nil || d.second != nil || d.pred == has(f, "ballot") {
		t.bad("%s: unsupported operands", op)
	}
	return func(w *warp, m uint32) {
		if m == 0 {
			return
		}
		members(w, op, uint32(w.r[mask][lowest(m)]), m)
		v := p.value(w) & m
		var all uint32
		switch {
		case has(f, "ballot"):
			for n := m; n != 0; n &= n - 1 {
				w.r[d.reg][lowest(n)] = uint64(v)
			}
			return
		case has(f, "any"):
			all = -bit(v != 0)
		case has(f, "all"):
			all = -bit(v == m)
		default: // uni
			all = -bit(v == 0 || bits.OnesCount32(v) == bits.OnesCount32(m))
		}
		w.p[d.reg] = w.p[d.reg]&^m | all&m
	}
}
