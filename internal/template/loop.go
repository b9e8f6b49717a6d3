package template

// loopContext is the variable "loop".
type loopContext struct {
	next     func() (Value, bool, error)
	total    int // -1 when not known yet
	index0   int
	depth0   int
	cur      Value
	prev     Value
	after    Value // peeked
	hasAfter bool
	err      error // of a peek, to be reported by the loop
	changed  []Value
	called   bool // changed() was called
	recurse  func(items Value, depth int) (Value, error)
}

// step moves on; ok is false at the end.
func (l *loopContext) step() (ok bool, err error) {
	if l.err != nil {
		return false, l.err
	}
	var v Value
	if l.hasAfter {
		v, l.after, l.hasAfter = l.after, nil, false
	} else if v, ok, err = l.next(); err != nil || !ok {
		return false, err
	}
	l.index0++
	l.prev, l.cur = l.cur, v
	return true, nil
}

func (l *loopContext) peek() (Value, bool) {
	if !l.hasAfter && l.err == nil {
		var ok bool
		if l.after, ok, l.err = l.next(); !ok || l.err != nil {
			return nil, false
		}
		l.hasAfter = true
	}
	return l.after, l.hasAfter
}

// length counts the rest of an iterator that does not know its length, and keeps what it read.
func (l *loopContext) length() int {
	if l.total >= 0 {
		return l.total
	}
	var rest []Value
	for l.err == nil {
		v, ok, err := l.next()
		if err != nil {
			l.err = err
		}
		if !ok || err != nil {
			break
		}
		rest = append(rest, v)
	}
	l.total = l.index0 + 1 + len(rest)
	if l.hasAfter {
		l.total++
	}
	l.next = sliceIter(rest)
	return l.total
}

func (l *loopContext) attr(name string) (Value, bool) {
	switch name {
	case "index":
		return int64(l.index0 + 1), true
	case "index0":
		return int64(l.index0), true
	case "first":
		return l.index0 == 0, true
	case "last":
		_, more := l.peek()
		return !more, true
	case "length":
		return int64(l.length()), true
	case "revindex":
		return int64(l.length() - l.index0), true
	case "revindex0":
		return int64(l.length() - l.index0 - 1), true
	case "depth":
		return int64(l.depth0 + 1), true
	case "depth0":
		return int64(l.depth0), true
	case "previtem":
		if l.index0 == 0 {
			return undefined{msg: "there is no previous item"}, true
		}
		return l.prev, true
	case "nextitem":
		if v, ok := l.peek(); ok {
			return v, true
		}
		return undefined{msg: "there is no next item"}, true
	case "cycle":
		return &function{name: "cycle", call: func(in *interp, a *args) (Value, error) {
			if len(a.pos) == 0 {
				return nil, failf("no items for cycling given")
			}
			return a.pos[l.index0%len(a.pos)], nil
		}}, true
	case "changed":
		return &function{name: "changed", call: func(in *interp, a *args) (Value, error) {
			same := false
			if l.called {
				var err error
				if same, err = in.equal(l.changed, a.pos); err != nil {
					return nil, err
				}
			}
			l.called, l.changed = true, a.pos
			return !same, nil
		}}, true
	}
	return nil, false
}

func (in *interp) forLoop(st *forStmt, s *scope, out *buffer) (flow, error) {
	v, err := in.eval(st.iter, s)
	if err != nil {
		return 0, err
	}
	if !st.recursive {
		return in.runLoop(st, v, s, out, 0, nil)
	}
	var recurse func(items Value, depth int) (Value, error)
	recurse = func(items Value, depth int) (Value, error) {
		if err := in.push(); err != nil {
			return nil, err
		}
		defer in.pop()
		var b buffer
		_, err := in.runLoop(st, items, s, &b, depth, recurse)
		return b.text.String(), err
	}
	text, err := recurse(v, 0)
	if err != nil {
		return 0, err
	}
	return 0, in.print(out, text)
}

func (in *interp) runLoop(st *forStmt, items Value, s *scope, out *buffer, depth int, recurse func(Value, int) (Value, error)) (flow, error) {
	it, err := in.iterate(items)
	if err != nil {
		return 0, err
	}
	l := &loopContext{next: it, total: -1, index0: -1, depth0: depth, recurse: recurse}
	if n, ok := length(items); ok {
		l.total = n
	}
	if st.filter != nil {
		l.total = -1
		l.next = func() (Value, bool, error) {
			for {
				v, ok, err := it()
				if err != nil || !ok {
					return nil, false, err
				}
				inner := &scope{parent: s}
				if err := in.assign(st.target, v, inner); err != nil {
					return nil, false, err
				}
				keep, err := in.eval(st.filter, inner)
				if err != nil {
					return nil, false, err
				}
				if truth(keep) {
					return v, true, nil
				}
			}
		}
	}
	// As in Jinja, a pass that ends by break or continue does not count against the else branch.
	completed := false
	for {
		if err := in.charge(1); err != nil {
			return 0, err
		}
		ok, err := l.step()
		if err != nil {
			return 0, err
		}
		if !ok {
			break
		}
		inner := &scope{parent: s}
		inner.set("loop", l)
		if err := in.assign(st.target, l.cur, inner); err != nil {
			return 0, err
		}
		f, err := in.block(st.body, inner, out)
		if err != nil {
			return 0, err
		}
		if f == flowBreak {
			break
		}
		if f == flowNormal {
			completed = true
		}
	}
	if completed || len(st.other) == 0 {
		return 0, nil
	}
	// break and continue in the else branch belong to the loop around this one.
	return in.block(st.other, &scope{parent: s}, out)
}
