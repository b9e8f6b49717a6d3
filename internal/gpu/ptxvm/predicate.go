package ptxvm

// compare returns the lanes in which a relation holds.
type compare func(a, b *lanes) uint32

func bit(ok bool) uint32 {
	if ok {
		return 1
	}
	return 0
}

// comparison returns the relation of a setp of the given operator and type, or nil.
func comparison(op, t string) compare {
	size := typeSize(t)
	switch {
	case t == "f32":
		f := map[string]func(x, y float32) bool{
			"lt": func(x, y float32) bool { return x < y }, "le": func(x, y float32) bool { return x <= y },
			"gt": func(x, y float32) bool { return x > y }, "ge": func(x, y float32) bool { return x >= y },
			"eq": func(x, y float32) bool { return x == y }, "ne": func(x, y float32) bool { return x != y && x == x && y == y },
			"ltu": func(x, y float32) bool { return !(x >= y) }, "leu": func(x, y float32) bool { return !(x > y) },
			"gtu": func(x, y float32) bool { return !(x <= y) }, "geu": func(x, y float32) bool { return !(x < y) },
			"equ": func(x, y float32) bool { return !(x < y) && !(x > y) }, "neu": func(x, y float32) bool { return x != y },
			"num": func(x, y float32) bool { return x == x && y == y }, "nan": func(x, y float32) bool { return x != x || y != y },
		}[op]
		if f == nil {
			return nil
		}
		return func(a, b *lanes) (m uint32) {
			for l := range a {
				m |= bit(f(float(a[l]), float(b[l]))) << l
			}
			return m
		}
	case size > 0 && t[0] == 's':
		f := map[string]func(x, y int64) bool{
			"lt": func(x, y int64) bool { return x < y }, "le": func(x, y int64) bool { return x <= y },
			"gt": func(x, y int64) bool { return x > y }, "ge": func(x, y int64) bool { return x >= y },
			"eq": func(x, y int64) bool { return x == y }, "ne": func(x, y int64) bool { return x != y },
		}[op]
		if f == nil {
			return nil
		}
		if size == 4 { // the common case
			less, equal, greater := f(0, 1), f(0, 0), f(1, 0)
			return func(a, b *lanes) (m uint32) {
				for l := range a {
					x, y := int32(a[l]), int32(b[l])
					if x < y && less || x == y && equal || x > y && greater {
						m |= 1 << l
					}
				}
				return m
			}
		}
		return func(a, b *lanes) (m uint32) {
			for l := range a {
				m |= bit(f(signed(a[l], size), signed(b[l], size))) << l
			}
			return m
		}
	case size > 0 && (t[0] == 'u' || t[0] == 'b'):
		f := map[string]func(x, y uint64) bool{
			"lt": func(x, y uint64) bool { return x < y }, "le": func(x, y uint64) bool { return x <= y },
			"lo": func(x, y uint64) bool { return x < y }, "ls": func(x, y uint64) bool { return x <= y },
			"gt": func(x, y uint64) bool { return x > y }, "ge": func(x, y uint64) bool { return x >= y },
			"hi": func(x, y uint64) bool { return x > y }, "hs": func(x, y uint64) bool { return x >= y },
			"eq": func(x, y uint64) bool { return x == y }, "ne": func(x, y uint64) bool { return x != y },
		}[op]
		if f == nil {
			return nil
		}
		// Literals are sign-extended: compare what the type holds.
		return func(a, b *lanes) (m uint32) {
			for l := range a {
				m |= bit(f(trim(a[l], size), trim(b[l], size))) << l
			}
			return m
		}
	}
	return nil
}

// value returns the lanes in which a predicate operand holds.
func (o *operand) value(w *warp) uint32 {
	if o.negate {
		return ^w.p[o.reg]
	}
	return w.p[o.reg]
}

// predicates decodes instructions that read or write predicates; nil if op is not one of them.
func (t *translator) predicates(op string, f []string, ops []operand) func(*warp, uint32) {
	set := func(d int, f func(w *warp) uint32) func(*warp, uint32) {
		return func(w *warp, m uint32) { w.p[d] = w.p[d]&^m | f(w)&m }
	}
	preds := func(n int) {
		if len(ops) != n {
			t.bad("%s has %d operands, want %d", op, len(ops), n)
		}
		for _, o := range ops {
			if !o.pred {
				t.bad("%s: operands must be predicates", op)
			}
		}
	}
	d := ops[0].reg
	switch f[0] {
	case "setp":
		if len(f) < 3 || len(ops) < 3 || len(ops) > 4 || !ops[0].pred || ops[0].second != nil {
			t.bad("%s: unsupported operands", op)
		}
		r := t.regs(op, ops[1:3], 2)
		c := comparison(f[1], f[len(f)-1])
		if c == nil {
			t.bad("unsupported comparison %q", op)
		}
		if len(ops) == 3 {
			return set(d, func(w *warp) uint32 { return c(&w.r[r[0]], &w.r[r[1]]) })
		}
		p := ops[3]
		if !p.pred {
			t.bad("%s: the last operand must be a predicate", op)
		}
		switch f[2] {
		case "and":
			return set(d, func(w *warp) uint32 { return c(&w.r[r[0]], &w.r[r[1]]) & p.value(w) })
		case "or":
			return set(d, func(w *warp) uint32 { return c(&w.r[r[0]], &w.r[r[1]]) | p.value(w) })
		}
		t.bad("unsupported comparison %q", op)
	case "selp":
		p := ops[len(ops)-1]
		if len(ops) != 4 || !p.pred {
			t.bad("%s: unsupported operands", op)
		}
		r := t.regs(op, ops[:3], 3)
		return func(w *warp, m uint32) {
			v := p.value(w)
			a, b, d := &w.r[r[1]], &w.r[r[2]], &w.r[r[0]]
			for ; m != 0; m &= m - 1 {
				l := lowest(m)
				x := b[l&31]
				if v>>l&1 != 0 {
					x = a[l&31]
				}
				d[l&31] = x
			}
		}
	case "mov":
		if len(ops) == 2 && !ops[1].pred { // from a literal
			r := t.regs(op, ops[1:], 1)[0]
			return set(d, func(w *warp) uint32 { return -uint32(w.r[r][0] & 1) })
		}
		preds(2)
		return set(d, ops[1].value)
	case "not":
		preds(2)
		return set(d, func(w *warp) uint32 { return ^ops[1].value(w) })
	case "and":
		preds(3)
		return set(d, func(w *warp) uint32 { return ops[1].value(w) & ops[2].value(w) })
	case "or":
		preds(3)
		return set(d, func(w *warp) uint32 { return ops[1].value(w) | ops[2].value(w) })
	case "xor":
		preds(3)
		return set(d, func(w *warp) uint32 { return ops[1].value(w) ^ ops[2].value(w) })
	}
	return nil
}
