package template

// maxRange is the sandbox's bound on range(), in items.
const maxRange = 100_000

// lookupGlobal finds the functions that every template sees; nil when there is none.
func lookupGlobal(name string) func(in *interp, a *args) (Value, error) {
	switch name {
	case "range":
		return globalRange
	case "dict":
		return func(in *interp, a *args) (Value, error) { return makeDict(in, a) }
	case "namespace":
		return func(in *interp, a *args) (Value, error) {
			d, err := makeDict(in, a)
			return &namespace{d}, err
		}
	case "cycler":
		return func(in *interp, a *args) (Value, error) {
			if len(a.pos) == 0 || len(a.names) > 0 {
				return nil, failf("cycler() wants at least one item")
			}
			return &cycler{items: a.pos}, nil
		}
	case "joiner":
		return func(in *interp, a *args) (Value, error) {
			p, err := a.bind("sep?")
			if err != nil {
				return nil, err
			}
			if !given(p[0]) {
				p[0] = ", "
			}
			return &joiner{sep: p[0]}, nil
		}
	case "raise_exception":
		return func(in *interp, a *args) (Value, error) {
			p, err := a.bind("message")
			if err != nil {
				return nil, err
			}
			s, err := in.str(p[0])
			if err != nil {
				return nil, err
			}
			return nil, &fault{ErrRaised, s}
		}
	case "strftime_now":
		return func(in *interp, a *args) (Value, error) {
			p, err := a.bind("format")
			if err != nil {
				return nil, err
			}
			s, err := strArg(a, "format", p[0])
			if err != nil {
				return nil, err
			}
			out := strftime(in.now, s)
			return out, in.chargeBytes(len(out))
		}
	}
	return nil
}

func globalRange(in *interp, a *args) (Value, error) {
	p, err := a.bind("start", "stop?", "step?")
	if err != nil || len(a.names) > 0 {
		return nil, failf("range() wants one to three positional integers")
	}
	var n [3]int64
	for i, v := range p {
		if n[i], err = intArg(a, "argument", v, 1); err != nil {
			return nil, err
		}
		if n[i] > 1<<40 || n[i] < -1<<40 {
			return nil, limitError("range() over more than %d items", maxRange)
		}
	}
	r := rangeVal{n[0], n[1], n[2]}
	if !given(p[1]) {
		r = rangeVal{0, n[0], 1}
	}
	if r.step == 0 {
		return nil, failf("range() arg 3 must not be zero")
	}
	if r.len() > maxRange {
		return nil, limitError("range() over more than %d items", maxRange)
	}
	return r, nil
}

// makeDict is Python's dict(): from a mapping or from pairs, then from keyword arguments.
func makeDict(in *interp, a *args) (*Dict, error) {
	d := NewDict()
	if len(a.pos) > 1 {
		return nil, failf("%s() takes at most one positional argument", a.name)
	}
	if len(a.pos) == 1 {
		if from, ok := a.pos[0].(*Dict); ok {
			d = from.clone()
		} else if err := addPairs(in, d, a.pos[0]); err != nil {
			return nil, err
		}
	}
	for i, n := range a.names {
		d.Set(n, a.named[i])
	}
	return d, in.charge(int64(d.Len()))
}

func addPairs(in *interp, d *Dict, v Value) error {
	items, err := in.list(v)
	if err != nil {
		return err
	}
	for _, x := range items {
		pair, err := in.list(x)
		if err != nil {
			return err
		}
		if len(pair) != 2 {
			return failf("a mapping needs pairs, got %d items", len(pair))
		}
		h, err := hashKey(pair[0])
		if err != nil {
			return err
		}
		d.set(pair[0], h, pair[1])
	}
	return nil
}

// cycler goes round its items.
type cycler struct {
	items []Value
	at    int
}

func (c *cycler) attr(name string) (Value, bool) {
	switch name {
	case "items":
		return Tuple(c.items), true
	case "pos":
		return int64(c.at), true
	case "current":
		return c.items[c.at], true
	case "next":
		return &function{name: name, call: func(in *interp, a *args) (Value, error) {
			v := c.items[c.at]
			c.at = (c.at + 1) % len(c.items)
			return v, nil
		}}, true
	case "reset":
		return &function{name: name, call: func(in *interp, a *args) (Value, error) {
			c.at = 0
			return nil, nil
		}}, true
	}
	return nil, false
}

// joiner gives nothing when first called and its separator ever after.
type joiner struct {
	sep  Value
	used bool
}
