package ptxvm

import (
	"strconv"
	"strings"
)

// register is where a named register lives.
type register struct {
	pred bool
	i    int
}

// translator decodes the body of one kernel.
type translator struct {
	k      *Kernel
	scopes []map[string]register
	labels map[string]int
	tables map[string][]string // branch targets
	fixups []fixup
	line   int
	size   int // bytes of the numbers that the instruction at hand works on
}

// fixup is a branch whose labels are to be resolved.
type fixup struct {
	at     int
	line   int
	labels []string
	table  string
}

func (t *translator) bad(format string, args ...any) { bad(t.line, format, args...) }

func translate(k *Kernel, body []statement) {
	t := &translator{k: k, scopes: []map[string]register{{}}, labels: map[string]int{}, tables: map[string][]string{}}
	table := ""
	for _, s := range body {
		t.line = s.line
		switch text := s.text; {
		case text == "{":
			t.scopes = append(t.scopes, map[string]register{})
		case text == "}":
			if len(t.scopes) == 1 {
				t.bad("a brace closes nothing")
			}
			t.scopes = t.scopes[:len(t.scopes)-1]
		case strings.HasSuffix(text, ":"):
			name := strings.TrimSuffix(text, ":")
			if _, ok := t.labels[name]; ok {
				t.bad("label %s is defined twice", name)
			}
			t.labels[name] = len(k.code)
			table = name
		case strings.HasPrefix(text, ".reg "):
			t.declare(text)
		case strings.HasPrefix(text, ".branchtargets "):
			t.tables[table] = splitList(strings.TrimPrefix(text, ".branchtargets "))
		case strings.HasPrefix(text, ".pragma "):
		case strings.HasPrefix(text, "."):
			t.variable(s)
		default:
			t.instruction(text)
		}
	}
	k.code = append(k.code, instr{kind: kindExit, pred: -1, line: t.line, text: "ret", sync: noSync})
	for _, f := range t.fixups {
		t.line = f.line
		labels := f.labels
		if f.table != "" {
			if labels = t.tables[f.table]; len(labels) == 0 {
				t.bad("no branch targets %q", f.table)
			}
		}
		for _, l := range labels {
			at, ok := t.labels[l]
			if !ok {
				t.bad("no label %q", l)
			}
			k.code[f.at].table = append(k.code[f.at].table, at)
		}
		k.code[f.at].target = k.code[f.at].table[0]
	}
}

// declare handles ".reg .b32 %r<269>, %x".
func (t *translator) declare(text string) {
	fields := strings.SplitN(strings.TrimPrefix(text, ".reg ."), " ", 2)
	if len(fields) != 2 {
		t.bad("bad declaration %q", text)
	}
	pred := fields[0] == "pred"
	if n := typeSize(fields[0]); !pred && (n == 0 || n > 8) {
		t.bad("unknown register type %q", fields[0])
	}
	add := func(name string) {
		r := register{pred: pred}
		if pred {
			r.i = t.k.preds
			t.k.preds++
		} else {
			r.i = t.k.reg()
		}
		t.scopes[len(t.scopes)-1][name] = r
	}
	for _, name := range splitList(fields[1]) {
		base, n, many := strings.Cut(name, "<")
		if !many {
			add(name)
			continue
		}
		for i := range count(t.line, strings.TrimSuffix(n, ">")) {
			add(base + strconv.Itoa(i))
		}
	}
}

// reg reserves a register.
func (k *Kernel) reg() int {
	k.regs++
	return k.regs - 1
}

// variable declares shared or local memory of the kernel.
func (t *translator) variable(s statement) {
	v := parseVariable(s)
	size := v.elem * v.count
	switch v.space {
	case "shared":
		t.k.shared = align(t.k.shared, v.align)
		t.k.symbols[v.name] = int64(systemShared + t.k.shared)
		t.k.shared += size
	case "local":
		t.k.local = align(t.k.local, v.align)
		t.k.symbols[v.name] = int64(t.k.local)
		t.k.local = align(t.k.local+size, 16)
	default:
		t.bad("variable %s in a kernel must be shared or local", v.name)
	}
}

// operand is a decoded argument of an instruction.
type operand struct {
	reg    int // register that holds the value; −1 for the sink _
	pred   bool
	negate bool      // !%p
	vec    []operand // {a,b}
	offset uint64    // memory operands
	second *operand  // a|b
}

// literal returns the register that holds a number.
func (t *translator) literal(x uint64) operand {
	x = trim(x, t.size)
	r, ok := t.k.constants[x]
	if !ok {
		r = t.k.reg()
		t.k.constants[x] = r
	}
	return operand{reg: r}
}

func (t *translator) lookup(name string) (register, bool) {
	for i := len(t.scopes) - 1; i >= 0; i-- {
		if r, ok := t.scopes[i][name]; ok {
			return r, true
		}
	}
	return register{}, false
}

// symbol returns the address of a name in its own state space.
func (t *translator) symbol(name string) (uint64, bool) {
	if a, ok := t.k.symbols[name]; ok {
		return uint64(a), true
	}
	if a, ok := t.k.params[name]; ok {
		return paramBase + a, true
	}
	a, ok := t.k.module.symbols[name]
	return a, ok
}

// operand decodes a register, a number, a special register, a symbol, a vector or a memory operand.
func (t *translator) operand(s string) operand {
	s = strings.TrimSpace(s)
	if s == "" {
		t.bad("an operand is missing")
	}
	switch {
	case s == "_":
		return operand{reg: -1}
	case s[0] == '{':
		var o operand
		for _, e := range splitList(strings.Trim(s, "{}")) {
			o.vec = append(o.vec, t.operand(e))
		}
		return o
	case s[0] == '[':
		base, off, found := strings.Cut(strings.Trim(s, "[] "), "+")
		var x uint64
		if found {
			x = number(t.line, strings.TrimSpace(off))
		}
		base = strings.TrimSpace(base)
		t.size = 8
		if r, ok := t.lookup(base); ok && !r.pred {
			return operand{reg: r.i, offset: x}
		}
		if base != "" && base[0] >= '0' && base[0] <= '9' {
			o := t.literal(number(t.line, base))
			o.offset = x
			return o
		}
		o := t.operand(base)
		o.offset = x
		return o
	case s[0] == '!':
		o := t.operand(s[1:])
		if !o.pred {
			t.bad("%s is no predicate", s)
		}
		o.negate = !o.negate
		return o
	}
	if a, b, ok := strings.Cut(s, "|"); ok {
		o, second := t.operand(a), t.operand(b)
		o.second = &second
		return o
	}
	if r, ok := t.lookup(s); ok {
		return operand{reg: r.i, pred: r.pred}
	}
	if t.k.module.extern[s] {
		return operand{reg: t.k.special("dynamic")}
	}
	if a, ok := t.symbol(s); ok {
		return t.literal(a)
	}
	if s[0] == '%' || s == "WARP_SZ" {
		if !specialNames(s) {
			t.bad("unknown register %s", s)
		}
		return operand{reg: t.k.special(s)}
	}
	if s[0] == '-' || s[0] >= '0' && s[0] <= '9' {
		return t.literal(number(t.line, s))
	}
	t.bad("unknown name %q", s)
	return operand{}
}

// special returns the register that holds a special register.
func (k *Kernel) special(name string) int {
	r, ok := k.specials[name]
	if !ok {
		r = k.reg()
		k.specials[name] = r
	}
	return r
}

// instruction decodes one.
func (t *translator) instruction(text string) {
	in := instr{pred: -1, line: t.line, text: text, sync: noSync}
	if text[0] == '@' {
		guard, rest, ok := strings.Cut(text, " ")
		if !ok {
			t.bad("a guard without an instruction")
		}
		g := t.operand(guard[1:])
		if !g.pred {
			t.bad("%s is no predicate", guard)
		}
		in.pred, in.negate, text = g.reg, g.negate, rest
	}
	op, rest, _ := strings.Cut(text, " ")
	if i := strings.IndexByte(op, '{'); i > 0 {
		op, rest = op[:i], text[i:]
	}
	f := strings.Split(op, ".")
	args := splitList(rest)
	t.size = 8
	need := func(n int) {
		if len(args) != n {
			t.bad("%s has %d operands, want %d", op, len(args), n)
		}
	}
	switch f[0] {
	case "bra":
		need(1)
		in.kind = kindBranch
		t.fixups = append(t.fixups, fixup{at: len(t.k.code), line: t.line, labels: args})
	case "brx":
		need(2)
		in.kind, in.arg = kindTable, t.operand(args[0]).reg
		t.fixups = append(t.fixups, fixup{at: len(t.k.code), line: t.line, table: args[1]})
	case "ret", "exit":
		in.kind = kindExit
	case "bar", "barrier":
		switch {
		case op == "bar.warp.sync":
			need(1)
			in.kind, in.sync = kindWarpBarrier, t.operand(args[0]).reg
		case (op == "bar.sync" || op == "barrier.sync" || op == "barrier.sync.aligned" || op == "bar.cta.sync") && len(args) == 1 && args[0] == "0":
			in.kind = kindBarrier
		default:
			t.bad("unsupported barrier %q", text)
		}
	default:
		t.size = typeSize(f[len(f)-1])
		if t.size == 0 || t.size > 8 || has(f, "wide") && len(args) > 3 {
			t.size = 8
		}
		var ops []operand
		for _, a := range args {
			ops = append(ops, t.operand(a))
		}
		in.do = t.decode(op, f, ops)
		switch {
		case f[0] == "ldmatrix" || f[0] == "mma":
			in.sync = allSync
		case f[0] == "shfl" || f[0] == "vote":
			in.sync = ops[len(ops)-1].reg
		}
	}
	t.k.code = append(t.k.code, in)
}

// has tells whether an instruction has a modifier.
func has(f []string, modifier string) bool {
	for _, x := range f[1:] {
		if x == modifier {
			return true
		}
	}
	return false
}

// regs checks that operands are plain registers and returns their numbers.
func (t *translator) regs(op string, ops []operand, n int) []int {
	if len(ops) != n {
		t.bad("%s has %d operands, want %d", op, len(ops), n)
	}
	out := make([]int, n)
	for i, o := range ops {
		if o.pred || o.vec != nil || o.second != nil || o.reg < 0 || o.offset != 0 {
			t.bad("%s: operand %d must be a register or a number", op, i+1)
		}
		out[i] = o.reg
	}
	return out
}

// vector returns the registers of a vector operand of n elements.
func (t *translator) vector(op string, o operand, n int) []int {
	if len(o.vec) != n {
		t.bad("%s: want a vector of %d registers", op, n)
	}
	return t.regs(op, o.vec, n)
}

// decode returns what an instruction does.
func (t *translator) decode(op string, f []string, ops []operand) func(*warp, uint32) {
	if len(ops) > 0 && (ops[0].pred || ops[len(ops)-1].pred) {
		if do := t.predicates(op, f, ops); do != nil {
			return do
		}
	}
	switch f[0] {
	case "ld", "ldu":
		return t.load(op, f, ops)
	case "st":
		return t.store(op, f, ops)
	case "red", "atom":
		return t.atomic(op, f, ops)
	case "cp":
		return t.copyAsync(op, f, ops)
	case "shfl", "vote", "activemask", "redux":
		return t.exchange(op, f, ops)
	case "ldmatrix":
		return t.loadMatrix(op, f, ops)
	case "mma":
		return t.multiply(op, ops)
	case "membar", "fence":
		return func(*warp, uint32) {}
	case "trap":
		return func(w *warp, m uint32) {
			if m != 0 {
				fail(lowest(m), "trap")
			}
		}
	case "mov":
		if len(ops) == 2 && (ops[0].vec != nil || ops[1].vec != nil) {
			return t.pack(op, f, ops)
		}
	case "cvta":
		return t.convertAddress(op, f, ops)
	case "bfi":
		r, size := t.regs(op, ops, 5), typeSize(f[len(f)-1])
		d := r[0]
		return func(w *warp, m uint32) {
			for ; m != 0; m &= m - 1 {
				l := lowest(m)
				pos, n := w.r[r[3]][l]&255, w.r[r[4]][l]&255
				mask := uint64(1<<n-1) << pos
				v := w.r[r[2]][l]&^mask | w.r[r[1]][l]<<pos&mask
				w.r[d][l] = trim(v, size)
			}
		}
	}
	fn, n := t.k.module.arithmetic(f)
	if fn == nil {
		t.bad("unsupported instruction %q", op)
	}
	r := t.regs(op, ops, n+1)
	for len(r) < 4 {
		r = append(r, r[0])
	}
	return compute(fn, r[0], r[1], r[2], r[3])
}

// compute wraps a function of whole registers: lanes that are not active keep what they had.
func compute(fn alu, d, a, b, c int) func(*warp, uint32) {
	return func(w *warp, m uint32) {
		r := w.r
		if m == allLanes {
			fn(&r[d], &r[a], &r[b], &r[c])
			return
		}
		fn(&w.scratch, &r[a], &r[b], &r[c])
		for ; m != 0; m &= m - 1 {
			l := lowest(m)
			r[d][l] = w.scratch[l]
		}
	}
}
