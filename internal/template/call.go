package template

import "strings"

// args are the evaluated arguments of one call.
type args struct {
	name  string // of what is called, for messages
	pos   []Value
	names []string
	named []Value
}

// missing marks a parameter that was not given.
type missing struct{}

// bind sorts the arguments into parameters. A trailing "?" marks a parameter that may be left out; it is then missing{}.
func (a *args) bind(params ...string) ([]Value, error) {
	if len(a.pos) > len(params) {
		return nil, failf("%s() takes at most %d arguments (%d given)", a.name, len(params), len(a.pos))
	}
	out := make([]Value, len(params))
	copy(out, a.pos)
	for i := len(a.pos); i < len(params); i++ {
		out[i] = missing{}
	}
named:
	for j, n := range a.names {
		for i, p := range params {
			if strings.TrimSuffix(p, "?") == n {
				if i < len(a.pos) {
					return nil, failf("%s() got two values for argument '%s'", a.name, n)
				}
				out[i] = a.named[j]
				continue named
			}
		}
		return nil, failf("%s() got an unexpected argument '%s'", a.name, n)
	}
	for i, p := range params {
		if _, gone := out[i].(missing); gone && !strings.HasSuffix(p, "?") {
			return nil, failf("%s() misses the argument '%s'", a.name, p)
		}
	}
	return out, nil
}

func given(v Value) bool {
	_, gone := v.(missing)
	return !gone
}

func (in *interp) evalArgs(c *callArgs, s *scope) (*args, error) {
	a := &args{}
	var err error
	if len(c.pos) > 0 {
		if a.pos, err = in.evalAll(c.pos, s); err != nil {
			return nil, err
		}
	}
	if len(c.named) > 0 {
		if a.named, err = in.evalAll(c.named, s); err != nil {
			return nil, err
		}
		a.names = c.names
	}
	if c.dynPos != nil {
		v, err := in.eval(c.dynPos, s)
		if err != nil {
			return nil, err
		}
		more, err := in.list(v)
		if err != nil {
			return nil, err
		}
		a.pos = append(a.pos, more...)
	}
	if c.dynNamed != nil {
		v, err := in.eval(c.dynNamed, s)
		if err != nil {
			return nil, err
		}
		d, ok := v.(*Dict)
		if !ok {
			return nil, in.located(failf("argument after ** must be a mapping, not %s", typeName(v)), c.dynNamed.at())
		}
		a.names = a.names[:len(a.names):len(a.names)]
		for i, k := range d.keys {
			name, ok := k.(string)
			if !ok {
				return nil, in.located(failf("keywords must be strings"), c.dynNamed.at())
			}
			for _, n := range a.names {
				if n == name {
					return nil, in.located(failf("argument '%s' is given twice", n), c.dynNamed.at())
				}
			}
			a.names, a.named = append(a.names, name), append(a.named, d.vals[i])
		}
	}
	return a, nil
}

// callWith evaluates a call; a caller, when there is one, is passed along.
func (in *interp) callWith(x *callExpr, s *scope, caller *macro) (Value, error) {
	f, err := in.eval(x.f, s)
	if err != nil {
		return nil, err
	}
	a, err := in.evalArgs(&x.args, s)
	if err != nil {
		return nil, err
	}
	if caller != nil {
		a.names = append(a.names[:len(a.names):len(a.names)], "caller")
		a.named = append(a.named, caller)
	}
	return in.call(f, a)
}

func (in *interp) call(f Value, a *args) (Value, error) {
	switch f := f.(type) {
	case *function:
		if f.unsafe {
			return nil, &fault{ErrUnsafe, f.name + " is not safely callable"}
		}
		a.name = f.name
		return f.call(in, a)
	case *macro:
		return in.callMacro(f, a)
	case undefined:
		return nil, undefinedError(f)
	case *loopContext:
		if f.recurse == nil {
			return nil, failf("the loop must be marked 'recursive' to be called")
		}
		a.name = "loop"
		v, err := a.bind("iterable")
		if err != nil {
			return nil, err
		}
		return f.recurse(v[0], f.depth0+1)
	case *joiner:
		if !f.used {
			f.used = true
			return "", nil
		}
		return f.sep, nil
	}
	return nil, failf("'%s' object is not callable", typeName(f))
}

// macro is a macro or a call block's body together with the scope that it was defined in.
type macro struct {
	def   *macroDef
	scope *scope
}

func (m *macro) attr(name string) (Value, bool) {
	switch name {
	case "name":
		return m.def.name, true
	case "arguments":
		out := make(Tuple, len(m.def.params))
		for i, p := range m.def.params {
			out[i] = p
		}
		return out, true
	case "catch_kwargs":
		return m.def.usesKwargs, true
	case "catch_varargs":
		return m.def.usesVarargs, true
	case "caller":
		return m.def.usesCaller, true
	}
	return nil, false
}

func (in *interp) callMacro(m *macro, a *args) (Value, error) {
	if err := in.push(); err != nil {
		return nil, err
	}
	defer in.pop()
	d := m.def
	s := &scope{parent: m.scope}
	used := make([]bool, len(a.names))
	take := func(name string) (Value, bool) {
		for i, n := range a.names {
			if n == name && !used[i] {
				used[i] = true
				return a.named[i], true
			}
		}
		return nil, false
	}
	vals := make([]Value, len(d.params))
	for i, p := range d.params {
		vals[i] = missing{}
		if i < len(a.pos) {
			vals[i] = a.pos[i]
		} else if v, ok := take(p); ok {
			vals[i] = v
		}
	}
	if d.usesCaller {
		c, ok := take("caller")
		if !ok || c == nil {
			c = undefined{msg: "no caller defined"}
		}
		s.set("caller", c)
	}
	rest := NewDict()
	for i, n := range a.names {
		if used[i] {
			continue
		}
		if !d.usesKwargs {
			return nil, failf("macro '%s' takes no keyword argument '%s'", d.name, n)
		}
		rest.Set(n, a.named[i])
	}
	if d.usesKwargs {
		s.set("kwargs", rest)
	}
	if d.usesVarargs {
		extra := Tuple{}
		if len(a.pos) > len(d.params) {
			extra = Tuple(a.pos[len(d.params):])
		}
		s.set("varargs", extra)
	} else if len(a.pos) > len(d.params) {
		return nil, failf("macro '%s' takes not more than %d argument(s)", d.name, len(d.params))
	}
	for i, p := range d.params {
		if !given(vals[i]) {
			j := i - (len(d.params) - len(d.defaults))
			if j < 0 {
				vals[i] = undefined{msg: "parameter '" + p + "' was not provided"}
			} else {
				v, err := in.eval(d.defaults[j], s)
				if err != nil {
					return nil, err
				}
				vals[i] = v
			}
		}
		s.set(p, vals[i])
	}
	return in.capture(d.body, s)
}
