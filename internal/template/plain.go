package template

// ParsePlain reads a template as evaluation tasks use them, in jinja2's default environment but for these: names that are not
// there are errors wherever they are used (StrictUndefined), a newline at the end is kept, and there is a filter
// regex_replace(pattern, repl, count=0), Python's re.sub. So no newline is dropped after a tag and no space before one.
// Errors are those of [Parse].
func ParsePlain(name, src string) (*Template, error) { return parse(name, src, true) }

// lookupPlainFilter finds a filter of plain templates.
func lookupPlainFilter(name string) filter {
	switch name {
	case "regex_replace":
		return filterRegexReplace
	case "tojson":
		return filterPlainToJSON
	}
	return lookupFilter(name)
}

// defined reports the use of something that is not there, where that is an error.
func (in *interp) defined(v Value) error {
	if u, ok := v.(undefined); ok && in.t.plain && !u.lax {
		return undefinedError(u)
	}
	return nil
}

// filterPlainToJSON is jinja2's own tojson(indent=None): sorted keys, ASCII, and safe inside HTML.
func filterPlainToJSON(in *interp, v Value, a *args) (Value, error) {
	p, err := a.bind("indent?")
	if err != nil {
		return nil, err
	}
	if err := in.defined(v); err != nil {
		return nil, err
	}
	b := &args{name: a.name, names: []string{"ensure_ascii", "sort_keys"}, named: []Value{true, true}}
	if given(p[0]) {
		b.names, b.named = append(b.names, "indent"), append(b.named, p[0])
	}
	out, err := filterToJSON(in, v, b)
	if err != nil {
		return nil, err
	}
	s, _ := strOf(out)
	for _, c := range []struct{ old, new string }{{"<", `\u003c`}, {">", `\u003e`}, {"&", `\u0026`}, {"'", `\u0027`}} {
		if s, err = in.replaceN(s, c.old, c.new, -1); err != nil {
			return nil, err
		}
	}
	return markup(s), nil
}

func filterRegexReplace(in *interp, v Value, a *args) (Value, error) {
	p, err := a.bind("pattern", "repl", "count?")
	if err != nil {
		return nil, err
	}
	s, ok := strOf(v)
	if !ok {
		return nil, failf("regex_replace: expected a string, found %s", typeName(v))
	}
	pattern, err := strArg(a, "pattern", p[0])
	if err != nil {
		return nil, err
	}
	repl, err := strArg(a, "repl", p[1])
	if err != nil {
		return nil, err
	}
	count := int64(0)
	if given(p[2]) {
		if count, err = intArg(a, "count", p[2], 0); err != nil {
			return nil, err
		}
	}
	re, err := CompileRegexp(pattern)
	if err != nil {
		return nil, failf("regex_replace: %v", err)
	}
	out, err := re.Replace(s, repl, int(count))
	if err != nil {
		return nil, failf("regex_replace: %v", err)
	}
	return out, in.chargeBytes(len(s) + len(out))
}

// String is Python's str() of a value.
func String(v Value) (string, error) {
	if s, ok := strOf(v); ok {
		return s, nil
	}
	return newInterp(&Template{}, nil, Options{}).str(v)
}

// JSON writes a value as Python's json.dumps(v, ensure_ascii=False, indent=indent); 0 is one line.
func JSON(v Value, indent int) (string, error) {
	d := &dumper{in: newInterp(&Template{}, nil, Options{}), itemSep: ", ", keySep: ": "}
	if indent > 0 {
		d.pretty, d.itemSep = true, ","
		for range indent {
			d.indent += " "
		}
	}
	err := d.value(v, 0)
	return d.b.String(), err
}
