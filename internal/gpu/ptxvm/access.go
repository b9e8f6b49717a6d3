package ptxvm

import (
	"encoding/binary"
	"slices"
)

// space is a state space of memory.
type space uint8

const (
	generic space = iota
	global
	sharedSpace
	local
	constant
	param
)

func spaceOf(f []string) space {
	for _, m := range f {
		switch m {
		case "global":
			return global
		case "shared":
			return sharedSpace
		case "local":
			return local
		case "const":
			return constant
		case "param":
			return param
		}
	}
	return generic
}

// locate returns the state space and the address in it of a generic address.
func locate(s space, addr uint64) (space, uint64) {
	if s != generic && s != param && s != constant {
		return s, addr
	}
	switch {
	case addr >= sharedBase && addr < sharedBase+windowSize:
		return sharedSpace, addr - sharedBase
	case addr >= localBase && addr < localBase+windowSize:
		return local, addr - localBase
	case addr >= constBase && addr < constBase+windowSize:
		return constant, addr - constBase
	case addr >= paramBase && addr < paramBase+windowSize:
		return param, addr - paramBase
	}
	return global, addr
}

// bytes returns the n bytes at addr that a lane reads or writes, after all checks.
func (w *warp) bytes(s space, lane int, addr uint64, n int, write bool) []byte {
	if s == global && addr < sharedBase { // the common case
		g := w.segment
		if g == nil || addr < g.base || addr+uint64(n) > g.end() {
			g = w.b.mem.find(addr)
			if g == nil || addr+uint64(n) > g.end() {
				fail(lane, "%s of %d bytes at %#x: %s", accessName(write), n, addr, w.b.mem.describe(addr))
			}
			w.segment = g
		}
		if addr&uint64(n-1) != 0 {
			fail(lane, "%s of %d bytes at %#x is not aligned", accessName(write), n, addr)
		}
		at := addr - g.base
		if g.written != nil {
			if write {
				g.mark(at, n)
			} else if !g.initialised(at, n) {
				fail(lane, "read of %d bytes at %#x, which nothing has written: %s", n, addr, w.b.mem.describe(addr))
			}
		}
		return g.mem[at : at+uint64(n) : at+uint64(n)]
	}
	s, addr = locate(s, addr)
	var mem []byte
	switch s {
	case global:
		if addr >= sharedBase {
			// Constants of the module live in the global window too.
			s, addr = locate(generic, addr)
			if s != constant {
				fail(lane, "%s of global memory at %#x, which is not global", accessName(write), addr)
			}
			mem = w.b.kernel.module.consts
			break
		}
		return w.bytes(global, lane, addr, n, write)
	case sharedSpace:
		if write {
			return w.b.shared.write(w, lane, addr, n)
		}
		return w.b.shared.read(w, lane, addr, n)
	case local:
		mem = w.local[lane*w.b.kernel.local:][:w.b.kernel.local]
	case constant:
		mem = w.b.kernel.module.consts
	case param:
		mem = w.b.params
	}
	if write && s != local {
		fail(lane, "write to constant memory at %d", addr)
	}
	if addr%uint64(n) != 0 {
		fail(lane, "%s of %d bytes at %d is not aligned", accessName(write), n, addr)
	}
	if addr > uint64(len(mem)) || uint64(n) > uint64(len(mem))-addr {
		fail(lane, "%s of %d bytes at %d is outside of the %d bytes there", accessName(write), n, addr, len(mem))
	}
	return mem[addr : addr+uint64(n)]
}

func accessName(write bool) string {
	if write {
		return "write"
	}
	return "read"
}

// shape returns the element size and count of a load or store.
func (t *translator) shape(op string, f []string) (size, n int) {
	size, n = typeSize(f[len(f)-1]), 1
	if has(f, "v2") {
		n = 2
	} else if has(f, "v4") {
		n = 4
	}
	if size == 0 || size*n > 16 {
		t.bad("unsupported access %q", op)
	}
	return size, n
}

// noteShared keeps the size of the smallest access to shared memory.
func (t *translator) noteShared(s space, bytes int) {
	if s == sharedSpace || s == generic {
		t.k.granule = min(t.k.granule, bytes)
	}
}

func (t *translator) load(op string, f []string, ops []operand) func(*warp, uint32) {
	size, n := t.shape(op, f)
	if len(ops) != 2 {
		t.bad("%s has %d operands, want 2", op, len(ops))
	}
	s, addr := spaceOf(f), ops[1]
	regs := []operand{ops[0]}
	if n > 1 {
		regs = ops[0].vec
	}
	if len(regs) != n || addr.vec != nil || addr.pred || slices.ContainsFunc(regs, func(o operand) bool { return o.pred || o.vec != nil }) {
		t.bad("%s: unsupported operands", op)
	}
	t.noteShared(s, size*n)
	extend := 0
	if f[len(f)-1][0] == 's' && size < 4 {
		extend = size
	}
	total := size * n
	if size == 4 && n == 1 && regs[0].reg >= 0 { // the common case
		d := regs[0].reg
		return func(w *warp, m uint32) {
			a, r := &w.r[addr.reg], &w.r[d]
			for ; m != 0; m &= m - 1 {
				l := lowest(m) & 31
				r[l] = uint64(binary.LittleEndian.Uint32(w.bytes(s, l, a[l]+addr.offset, 4, false)))
			}
		}
	}
	return func(w *warp, m uint32) {
		for ; m != 0; m &= m - 1 {
			l := lowest(m) & 31
			b := w.bytes(s, l, w.r[addr.reg][l]+addr.offset, total, false)
			for i, r := range regs {
				v := get(b[i*size:], size)
				if extend > 0 {
					v = uint64(uint32(signed(v, extend)))
				}
				if r.reg >= 0 {
					w.r[r.reg][l] = v
				}
			}
		}
	}
}

func get(b []byte, size int) uint64 {
	switch size {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.LittleEndian.Uint16(b))
	case 4:
		return uint64(binary.LittleEndian.Uint32(b))
	}
	return binary.LittleEndian.Uint64(b)
}

func put(b []byte, v uint64, size int) {
	switch size {
	case 1:
		b[0] = byte(v)
	case 2:
		binary.LittleEndian.PutUint16(b, uint16(v))
	case 4:
		binary.LittleEndian.PutUint32(b, uint32(v))
	default:
		binary.LittleEndian.PutUint64(b, v)
	}
}

func (t *translator) store(op string, f []string, ops []operand) func(*warp, uint32) {
	size, n := t.shape(op, f)
	if len(ops) != 2 {
		t.bad("%s has %d operands, want 2", op, len(ops))
	}
	s, addr := spaceOf(f), ops[0]
	regs := ops[1].vec
	if n == 1 {
		regs = ops[1:]
	}
	r := t.regs(op, regs, n)
	if addr.vec != nil || addr.pred {
		t.bad("%s: unsupported operands", op)
	}
	t.noteShared(s, size*n)
	return func(w *warp, m uint32) {
		for ; m != 0; m &= m - 1 {
			l := lowest(m) & 31
			b := w.bytes(s, l, w.r[addr.reg][l]+addr.offset, size*n, true)
			for i, r := range r {
				put(b[i*size:], w.r[r][l], size)
			}
		}
	}
}

// atomic decodes red and atom. Lanes act in order.
func (t *translator) atomic(op string, f []string, ops []operand) func(*warp, uint32) {
	kind := ""
	for _, m := range f[1:] {
		switch m {
		case "add", "max", "min", "exch", "cas", "and", "or", "xor", "inc":
			kind = m
		}
	}
	typ := f[len(f)-1]
	size := typeSize(typ)
	var combine func(old, x uint64) uint64
	switch {
	case kind == "add" && typ == "f32":
		combine = func(old, x uint64) uint64 { return raw(float(old) + float(x)) }
	case kind == "add" && typ[0] != 'f' && size >= 4:
		combine = func(old, x uint64) uint64 { return old + x }
	case kind == "exch":
		combine = func(_, x uint64) uint64 { return x }
	case kind == "cas":
	case kind == "max" && typ[0] == 'u':
		combine = func(old, x uint64) uint64 { return max(old, x) }
	case kind == "max" && typ[0] == 's':
		combine = func(old, x uint64) uint64 { return uint64(max(signed(old, size), signed(x, size))) }
	case kind == "min" && typ[0] == 'u':
		combine = func(old, x uint64) uint64 { return min(old, x) }
	case kind == "min" && typ[0] == 's':
		combine = func(old, x uint64) uint64 { return uint64(min(signed(old, size), signed(x, size))) }
	case kind == "and":
		combine = func(old, x uint64) uint64 { return old & x }
	case kind == "or":
		combine = func(old, x uint64) uint64 { return old | x }
	default:
		t.bad("unsupported instruction %q", op)
	}
	d := -1
	if f[0] == "atom" {
		if len(ops) == 0 {
			t.bad("%s: operands are missing", op)
		}
		d, ops = ops[0].reg, ops[1:]
	}
	want := 2
	if kind == "cas" {
		want = 3
	}
	if len(ops) != want {
		t.bad("%s: unsupported operands", op)
	}
	addr, s := ops[0], spaceOf(f)
	r := t.regs(op, ops[1:], want-1)
	t.noteShared(s, size)
	if s != sharedSpace {
		t.k.ordered = true
	}
	return func(w *warp, m uint32) {
		for ; m != 0; m &= m - 1 {
			l := lowest(m)
			b := w.atomicBytes(s, l, w.r[addr.reg][l]+addr.offset, size)
			old, x := get(b, size), w.r[r[0]][l]
			switch {
			case kind != "cas":
				put(b, combine(old, x), size)
			case old == x:
				put(b, w.r[r[1]][l], size)
			}
			if d >= 0 {
				w.r[d][l] = old
			}
		}
	}
}

// atomicBytes is bytes for an atomic operation, which may meet those of other threads.
func (w *warp) atomicBytes(s space, lane int, addr uint64, n int) []byte {
	at, inSpace := locate(s, addr)
	if at != sharedSpace {
		w.bytes(s, lane, addr, n, false)
		return w.bytes(s, lane, addr, n, true)
	}
	sh := w.b.shared
	sh.check("atomic access", lane, inSpace, n)
	for g := inSpace / sh.granule; g*sh.granule < inSpace+uint64(n); g++ {
		if u := &sh.use[g]; u.writeEpoch < sh.born || u.writer == 0 {
			fail(lane, "atomic access to shared memory at %d, which nothing has written", inSpace)
		}
	}
	return sh.mem[inSpace : inSpace+uint64(n)]
}

// convertAddress decodes cvta.
func (t *translator) convertAddress(op string, f []string, ops []operand) func(*warp, uint32) {
	r := t.regs(op, ops, 2)
	var base uint64
	switch spaceOf(f) {
	case sharedSpace:
		base = sharedBase
	case local:
		base = localBase
	case global, constant, param: // these have generic addresses everywhere
	default:
		t.bad("unsupported instruction %q", op)
	}
	if has(f, "to") {
		base = -base
	}
	return func(w *warp, m uint32) {
		for ; m != 0; m &= m - 1 {
			l := lowest(m)
			w.r[r[0]][l] = w.r[r[1]][l] + base
		}
	}
}
