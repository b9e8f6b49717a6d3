package template

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// lookupStrMethod finds a method of Python's str. Methods that return text keep a safe string safe.
func lookupStrMethod(name string) method {
	if f := simpleStrMethod(name); f != nil {
		return func(in *interp, recv Value, a *args) (Value, error) {
			if _, err := a.bind(); err != nil {
				return nil, err
			}
			s, _ := strOf(recv)
			v := f(s)
			if out, ok := v.(string); ok {
				v = sameKind(recv, out)
			}
			return v, in.chargeBytes(len(s))
		}
	}
	switch name {
	case "strip", "lstrip", "rstrip":
		return strStrip
	case "split", "rsplit":
		return strSplit
	case "splitlines":
		return strSplitlines
	case "startswith", "endswith":
		return strStartsEnds
	case "replace":
		return strReplace
	case "join":
		return strJoin
	case "find", "rfind", "index", "rindex", "count":
		return strFind
	case "removeprefix", "removesuffix":
		return strRemove
	case "partition", "rpartition":
		return strPartition
	case "center", "ljust", "rjust", "zfill":
		return strPad
	case "expandtabs":
		return strExpandtabs
	case "format":
		return strFormat
	case "format_map":
		return strFormatMap
	}
	return nil
}

// simpleStrMethod finds a method without arguments.
func simpleStrMethod(name string) func(string) Value {
	text := func(f func(string) string) func(string) Value { return func(s string) Value { return f(s) } }
	test := func(f func(string) bool) func(string) Value { return func(s string) Value { return f(s) } }
	every := func(f func(rune) bool) func(string) Value {
		return func(s string) Value { return s != "" && strings.IndexFunc(s, func(r rune) bool { return !f(r) }) < 0 }
	}
	switch name {
	case "upper":
		return text(upper)
	case "lower":
		return text(lower)
	case "casefold":
		return text(casefold)
	case "title":
		return text(pyTitle)
	case "capitalize":
		return text(capitalize)
	case "swapcase":
		return text(swapcase)
	case "isalpha":
		return every(unicode.IsLetter)
	case "isdigit":
		return every(isDigit)
	case "isdecimal":
		return every(unicode.IsDigit)
	case "isnumeric":
		return every(unicode.IsNumber)
	case "isalnum":
		return every(func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) })
	case "isspace":
		return every(isSpace)
	case "isupper":
		return test(isUpper)
	case "islower":
		return test(isLower)
	case "istitle":
		return test(isTitle)
	case "isascii":
		return test(func(s string) bool { return strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) < 0 })
	case "isprintable":
		return test(func(s string) bool { return strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 })
	case "isidentifier":
		return test(isIdentifier)
	}
	return nil
}

func strStrip(in *interp, recv Value, a *args) (Value, error) {
	p, err := a.bind("chars?")
	if err != nil {
		return nil, err
	}
	chars, ok, err := optStr(a, "chars", p[0])
	if err != nil {
		return nil, err
	}
	drop := isSpace
	if ok {
		drop = func(r rune) bool { return strings.ContainsRune(chars, r) }
	}
	s, _ := strOf(recv)
	if a.name != "rstrip" {
		s = strings.TrimLeftFunc(s, drop)
	}
	if a.name != "lstrip" {
		s = strings.TrimRightFunc(s, drop)
	}
	return sameKind(recv, s), in.charge(int64(len(s) / 32))
}

func strSplit(in *interp, recv Value, a *args) (Value, error) {
	p, err := a.bind("sep?", "maxsplit?")
	if err != nil {
		return nil, err
	}
	sep, hasSep, err := optStr(a, "sep", p[0])
	if err != nil {
		return nil, err
	}
	n, err := intArg(a, "maxsplit", p[1], -1)
	if err != nil {
		return nil, err
	}
	s, _ := strOf(recv)
	if err := in.chargeBytes(len(s)); err != nil {
		return nil, err
	}
	right := a.name == "rsplit"
	var parts []string
	switch {
	case hasSep && sep == "":
		return nil, failf("%s(): empty separator", a.name)
	case hasSep:
		parts = splitSep(s, sep, n, right)
	default:
		parts = splitSpace(s, n, right)
	}
	return strs(recv, parts), in.charge(int64(len(parts)))
}

func splitSep(s, sep string, n int64, right bool) []string {
	if n < 0 || n >= int64(len(s)) {
		return strings.Split(s, sep)
	}
	if !right {
		return strings.SplitN(s, sep, int(n)+1)
	}
	var out []string
	for ; n > 0; n-- {
		i := strings.LastIndex(s, sep)
		if i < 0 {
			break
		}
		out = append(out, s[i+len(sep):])
		s = s[:i]
	}
	out = append(out, s)
	reverse(out)
	return out
}

func splitSpace(s string, n int64, right bool) []string {
	if n < 0 {
		return strings.FieldsFunc(s, isSpace)
	}
	var out []string
	if !right {
		for s = strings.TrimLeftFunc(s, isSpace); s != ""; s = strings.TrimLeftFunc(s, isSpace) {
			i := strings.IndexFunc(s, isSpace)
			if n == 0 || i < 0 {
				return append(out, strings.TrimRightFunc(s, func(r rune) bool { return n != 0 && isSpace(r) }))
			}
			out = append(out, s[:i])
			s = s[i:]
			n--
		}
		return out
	}
	for s = strings.TrimRightFunc(s, isSpace); s != ""; s = strings.TrimRightFunc(s, isSpace) {
		i := strings.LastIndexFunc(s, isSpace)
		if n == 0 || i < 0 {
			out = append(out, s)
			break
		}
		_, w := utf8.DecodeRuneInString(s[i:])
		out = append(out, s[i+w:])
		s = s[:i]
		n--
	}
	reverse(out)
	return out
}

func reverse[T any](s []T) {
	for i, j := 0, len(s)-1; i < j; i, j = i+1, j-1 {
		s[i], s[j] = s[j], s[i]
	}
}

func strSplitlines(in *interp, recv Value, a *args) (Value, error) {
	p, err := a.bind("keepends?")
	if err != nil {
		return nil, err
	}
	s, _ := strOf(recv)
	lines := splitLines(s, given(p[0]) && truth(p[0]))
	return strs(recv, lines), in.charge(int64(len(lines) + len(s)/32))
}

func strStartsEnds(in *interp, recv Value, a *args) (Value, error) {
	p, err := a.bind("prefix", "start?", "end?")
	if err != nil {
		return nil, err
	}
	s, _ := strOf(recv)
	if given(p[1]) || given(p[2]) {
		n := int64(utf8.RuneCountInString(s))
		from, to, err := bounds(n, p[1], p[2])
		if err != nil {
			return nil, err
		}
		if start, ok := p[1].(int64); ok && start > n || from > to {
			return false, nil
		}
		s = runeSlice(s, int(from), int(to))
	}
	match := strings.HasPrefix
	if a.name == "endswith" {
		match = strings.HasSuffix
	}
	if alts, ok := p[0].(Tuple); ok {
		for _, alt := range alts {
			x, err := strArg(a, "each element", alt)
			if err != nil {
				return nil, err
			}
			if match(s, x) {
				return true, nil
			}
		}
		return false, nil
	}
	x, err := strArg(a, "first argument", p[0])
	return match(s, x), err
}

func strReplace(in *interp, recv Value, a *args) (Value, error) {
	p, err := a.bind("old", "new", "count?")
	if err != nil {
		return nil, err
	}
	old, err := strArg(a, "first argument", p[0])
	if err != nil {
		return nil, err
	}
	repl, err := strArg(a, "second argument", p[1])
	if err != nil {
		return nil, err
	}
	n, err := intArg(a, "count", p[2], -1)
	if err != nil {
		return nil, err
	}
	if _, safe := recv.(markup); safe {
		if _, ok := p[1].(markup); !ok {
			repl = escapeHTML(repl)
		}
	}
	s, _ := strOf(recv)
	out, err := in.replaceN(s, old, repl, int(n))
	return sameKind(recv, out), err
}

func strJoin(in *interp, recv Value, a *args) (Value, error) {
	p, err := a.bind("iterable")
	if err != nil {
		return nil, err
	}
	if u, ok := p[0].(undefined); ok && u.unsafe {
		return nil, undefinedError(u)
	}
	items, err := in.list(p[0])
	if err != nil {
		return nil, err
	}
	_, safe := recv.(markup)
	parts := make([]string, len(items))
	n := 0
	for i, x := range items {
		if safe {
			if parts[i], err = in.str(x); err != nil {
				return nil, err
			}
			if _, ok := x.(markup); !ok {
				parts[i] = escapeHTML(parts[i])
			}
		} else {
			s, ok := strOf(x)
			if !ok {
				return nil, failf("sequence item %d: expected str instance, %s found", i, typeName(x))
			}
			parts[i] = s
		}
		n += len(parts[i])
	}
	sep, _ := strOf(recv)
	out, err := in.joinStrings(parts, sep, n)
	return sameKind(recv, out), err
}

func strFind(in *interp, recv Value, a *args) (Value, error) {
	p, err := a.bind("sub", "start?", "end?")
	if err != nil {
		return nil, err
	}
	sub, err := strArg(a, "first argument", p[0])
	if err != nil {
		return nil, err
	}
	s, _ := strOf(recv)
	if err := in.chargeBytes(len(s)); err != nil {
		return nil, err
	}
	n := int64(utf8.RuneCountInString(s))
	from, to, err := bounds(n, p[1], p[2])
	if err != nil {
		return nil, err
	}
	start, _ := p[1].(int64)
	inside := from <= to && start <= n
	part := ""
	if inside {
		part = runeSlice(s, int(from), int(to))
	}
	if a.name == "count" {
		if !inside {
			return int64(0), nil
		}
		return int64(strings.Count(part, sub)), nil
	}
	find := strings.Index
	if strings.HasPrefix(a.name, "r") {
		find = strings.LastIndex
	}
	i := -1
	if inside {
		i = find(part, sub)
	}
	if i >= 0 {
		return from + int64(utf8.RuneCountInString(part[:i])), nil
	}
	if strings.HasSuffix(a.name, "index") {
		return nil, failf("substring not found")
	}
	return int64(-1), nil
}

func strRemove(in *interp, recv Value, a *args) (Value, error) {
	p, err := a.bind("affix")
	if err != nil {
		return nil, err
	}
	x, err := strArg(a, "argument", p[0])
	if err != nil {
		return nil, err
	}
	s, _ := strOf(recv)
	if a.name == "removeprefix" {
		return sameKind(recv, strings.TrimPrefix(s, x)), nil
	}
	return sameKind(recv, strings.TrimSuffix(s, x)), nil
}

func strPartition(in *interp, recv Value, a *args) (Value, error) {
	p, err := a.bind("sep")
	if err != nil {
		return nil, err
	}
	sep, err := strArg(a, "separator", p[0])
	if err != nil {
		return nil, err
	}
	if sep == "" {
		return nil, failf("%s(): empty separator", a.name)
	}
	s, _ := strOf(recv)
	parts := []string{s, "", ""}
	i := strings.Index(s, sep)
	if a.name == "rpartition" {
		parts = []string{"", "", s}
		i = strings.LastIndex(s, sep)
	}
	if i >= 0 {
		parts = []string{s[:i], sep, s[i+len(sep):]}
	}
	return Tuple(strs(recv, parts)), in.chargeBytes(len(s))
}

func strPad(in *interp, recv Value, a *args) (Value, error) {
	params := []string{"width", "fillchar?"}
	if a.name == "zfill" {
		params = params[:1]
	}
	p, err := a.bind(params...)
	if err != nil {
		return nil, err
	}
	width, err := intArg(a, "width", p[0], 0)
	if err != nil {
		return nil, err
	}
	fill := " "
	if len(p) > 1 && given(p[1]) {
		if fill, err = strArg(a, "fill character", p[1]); err != nil {
			return nil, err
		}
		if utf8.RuneCountInString(fill) != 1 {
			return nil, failf("%s(): the fill character must be exactly one character long", a.name)
		}
	}
	s, _ := strOf(recv)
	out, err := in.pad(s, a.name, width, fill)
	return sameKind(recv, out), err
}

// pad widens a string as str.center, ljust, rjust and zfill do.
func (in *interp) pad(s, how string, width int64, fill string) (string, error) {
	missing := width - int64(utf8.RuneCountInString(s))
	if missing <= 0 {
		return s, nil
	}
	if missing > int64(in.maxOutput) {
		return "", limitError("the template makes more than %d bytes of text", in.maxOutput)
	}
	if err := in.chargeBytes(len(s) + int(missing)*len(fill)); err != nil {
		return "", err
	}
	n := int(missing)
	switch how {
	case "ljust":
		return s + strings.Repeat(fill, n), nil
	case "rjust":
		return strings.Repeat(fill, n) + s, nil
	case "zfill":
		sign := ""
		if s != "" && (s[0] == '-' || s[0] == '+') {
			sign, s = s[:1], s[1:]
		}
		return sign + strings.Repeat("0", n) + s, nil
	}
	// Python puts the odd one on the left when the width is odd.
	left := n/2 + n&int(width)&1
	return strings.Repeat(fill, left) + s + strings.Repeat(fill, n-left), nil
}

func strExpandtabs(in *interp, recv Value, a *args) (Value, error) {
	p, err := a.bind("tabsize?")
	if err != nil {
		return nil, err
	}
	size, err := intArg(a, "tabsize", p[0], 8)
	if err != nil {
		return nil, err
	}
	s, _ := strOf(recv)
	if size > 1000 {
		return nil, limitError("expandtabs with a tab size of %d", size)
	}
	if err := in.chargeBytes(len(s) + strings.Count(s, "\t")*int(max(size, 0))); err != nil {
		return nil, err
	}
	var b strings.Builder
	col := int64(0)
	for _, r := range s {
		switch {
		case r == '\t':
			if size > 0 {
				n := size - col%size
				b.WriteString(strings.Repeat(" ", int(n)))
				col += n
			}
			continue
		case r == '\n' || r == '\r':
			col = 0
		default:
			col++
		}
		b.WriteRune(r)
	}
	return sameKind(recv, b.String()), nil
}
