package template

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// strFormat is Python's str.format inside the sandbox: fields reach attributes by the sandbox's rules.
func strFormat(in *interp, recv Value, a *args) (Value, error) {
	s, _ := strOf(recv)
	_, safe := recv.(markup)
	named := NewDict()
	for i, n := range a.names {
		named.Set(n, a.named[i])
	}
	f := &braceFormatter{in: in, pos: a.pos, named: named, safe: safe}
	out, err := f.run(s, 0)
	return sameKind(recv, out), err
}

func strFormatMap(in *interp, recv Value, a *args) (Value, error) {
	p, err := a.bind("mapping")
	if err != nil {
		return nil, err
	}
	d, ok := p[0].(*Dict)
	if !ok {
		return nil, failf("format_map() wants a mapping, not %s", typeName(p[0]))
	}
	s, _ := strOf(recv)
	f := &braceFormatter{in: in, named: d}
	out, err := f.run(s, 0)
	return sameKind(recv, out), err
}

type braceFormatter struct {
	in     *interp
	pos    []Value
	named  *Dict
	auto   int
	manual bool
	safe   bool
}

func (f *braceFormatter) run(s string, depth int) (string, error) {
	if depth > 2 {
		return "", failf("format spec nested too deeply")
	}
	var b strings.Builder
	for s != "" {
		i := strings.IndexAny(s, "{}")
		if i < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:i])
		if i+1 < len(s) && s[i+1] == s[i] {
			b.WriteByte(s[i])
			s = s[i+2:]
			continue
		}
		if s[i] == '}' {
			return "", failf("single '}' in a format string")
		}
		end := fieldEnd(s, i+1)
		if end < 0 {
			return "", failf("expected '}' before the end of the format string")
		}
		text, err := f.field(s[i+1:end], depth)
		if err != nil {
			return "", err
		}
		b.WriteString(text)
		if err := f.in.chargeBytes(b.Len()); err != nil {
			return "", err
		}
		s = s[end+1:]
	}
	return b.String(), f.in.chargeBytes(b.Len())
}

// fieldEnd finds the brace that closes a field, fields within its format spec included.
func fieldEnd(s string, from int) int {
	level := 1
	for i := from; i < len(s); i++ {
		switch s[i] {
		case '{':
			level++
		case '}':
			if level--; level == 0 {
				return i
			}
		}
	}
	return -1
}

func (f *braceFormatter) field(s string, depth int) (string, error) {
	name, format := s, ""
	if i := strings.IndexAny(s, "!:"); i >= 0 {
		name, format = s[:i], s[i:]
	}
	v, err := f.lookup(name)
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(format, "!") {
		if len(format) < 2 || (len(format) > 2 && format[2] != ':') {
			return "", failf("expected ':' after the conversion in a format string")
		}
		switch format[1] {
		case 's':
			v, err = f.in.str(v)
		case 'r', 'a':
			v, err = f.in.repr(v)
		default:
			return "", failf("unknown conversion '%c' in a format string", format[1])
		}
		if err != nil {
			return "", err
		}
		format = format[2:]
	}
	format = strings.TrimPrefix(format, ":")
	if strings.Contains(format, "{") {
		if format, err = f.run(format, depth+1); err != nil {
			return "", err
		}
	}
	text, err := f.in.format(v, format)
	if _, ok := v.(markup); f.safe && !ok {
		text = escapeHTML(text)
	}
	return text, err
}

// lookup resolves "0", "name", "0.attr" and "name[key]".
func (f *braceFormatter) lookup(field string) (Value, error) {
	end := strings.IndexAny(field, ".[")
	if end < 0 {
		end = len(field)
	}
	first, rest := field[:end], field[end:]
	var v Value
	n, err := strconv.Atoi(first)
	switch {
	case first == "" || err == nil && isDecimal(first[0]):
		if (first == "" && f.manual) || (first != "" && f.auto > 0) {
			return nil, failf("cannot mix automatic and manual field numbering")
		}
		if first == "" {
			n = f.auto
			f.auto++
		} else {
			f.manual = true
		}
		if n >= len(f.pos) {
			return nil, failf("format() has no argument at position %d", n)
		}
		v = f.pos[n]
	default:
		var ok bool
		if v, ok = f.named.Get(first); !ok {
			return nil, failf("format() has no argument '%s'", first)
		}
	}
	for rest != "" {
		if rest[0] == '.' {
			end := strings.IndexAny(rest[1:], ".[") + 1
			if end == 0 {
				end = len(rest)
			}
			if v, err = f.in.getattr(v, rest[1:end]); err != nil {
				return nil, err
			}
			rest = rest[end:]
			continue
		}
		end := strings.IndexByte(rest, ']')
		if rest[0] != '[' || end < 0 {
			return nil, failf("bad field '%s' in a format string", field)
		}
		var key Value = rest[1:end]
		if n, err := strconv.Atoi(rest[1:end]); err == nil {
			key = int64(n)
		}
		if v, err = f.in.getitem(v, key); err != nil {
			return nil, err
		}
		rest = rest[end+1:]
	}
	return v, nil
}

// format is Python's format(value, spec).
func (in *interp) format(v Value, text string) (string, error) {
	if text == "" {
		return in.str(v)
	}
	f, err := parseSpec(text)
	if err != nil {
		return "", err
	}
	if s, ok := strOf(v); ok {
		if f.verb != 0 && f.verb != 's' {
			return "", failf("unknown format code '%c' for a str", f.verb)
		}
		if f.align == '=' {
			if f.fill != "0" {
				return "", failf("'=' alignment is not allowed for a str")
			}
			f.align = '<'
		}
		return f.formatStr(s), nil
	}
	n, ok := number(v)
	if !ok {
		return "", failf("unsupported format string for %s", typeName(v))
	}
	if x, ok := n.(float64); ok {
		return f.formatFloat(x)
	}
	if strings.IndexByte("eEfFgG%", f.verb) >= 0 && f.verb != 0 {
		return f.formatFloat(toFloat(n))
	}
	if f.prec >= 0 {
		return "", failf("precision is not allowed in an integer's format")
	}
	return f.formatInt(n)
}

// parseSpec reads [[fill]align][sign][#][0][width][group][.precision][type].
func parseSpec(s string) (*spec, error) {
	all := s
	f := &spec{prec: -1, sign: '-'}
	isAlign := func(c byte) bool { return strings.IndexByte("<>=^", c) >= 0 }
	_, n := utf8.DecodeRuneInString(s)
	if len(s) > n && isAlign(s[n]) {
		f.fill, f.align, s = s[:n], s[n], s[n+1:]
	} else if s != "" && isAlign(s[0]) {
		f.align, s = s[0], s[1:]
	}
	if s != "" && strings.IndexByte("+- ", s[0]) >= 0 {
		f.sign, s = s[0], s[1:]
	}
	if strings.HasPrefix(s, "#") {
		f.alt, s = true, s[1:]
	}
	if strings.HasPrefix(s, "0") {
		if f.align == 0 {
			f.fill, f.align = "0", '='
		}
		s = s[1:]
	}
	var err error
	if f.width, s, err = leadingInt(s); err != nil {
		return nil, err
	}
	if s != "" && (s[0] == ',' || s[0] == '_') {
		f.group, s = s[:1], s[1:]
	}
	if strings.HasPrefix(s, ".") {
		if len(s) < 2 || !isDecimal(s[1]) {
			return nil, failf("format '%s' misses its precision", all)
		}
		if f.prec, s, err = leadingInt(s[1:]); err != nil {
			return nil, err
		}
	}
	if len(s) > 1 {
		return nil, failf("invalid format specifier '%s'", all)
	}
	if s != "" {
		f.verb = s[0]
	}
	return f, nil
}
