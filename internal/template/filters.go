package template

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type filter func(in *interp, v Value, a *args) (Value, error)

// lookupFilter finds a filter; nil when there is none.
func lookupFilter(name string) filter {
	switch name {
	case "trim":
		return filterTrim
	case "upper":
		return textFilter(upper)
	case "lower":
		return textFilter(lower)
	case "capitalize":
		return textFilter(capitalize)
	case "title":
		return textFilter(filterTitle)
	case "string":
		return filterString
	case "safe":
		return markFilter(func(s string, safe bool) string { return s })
	case "escape", "e":
		return markFilter(func(s string, safe bool) string {
			if safe {
				return s
			}
			return escapeHTML(s)
		})
	case "forceescape":
		return markFilter(func(s string, safe bool) string { return escapeHTML(s) })
	case "replace":
		return filterReplace
	case "indent":
		return filterIndent
	case "center":
		return filterCenter
	case "truncate":
		return filterTruncate
	case "wordcount":
		return filterWordcount
	case "format":
		return filterFormat
	case "urlencode":
		return filterURLEncode
	case "int":
		return filterInt
	case "float":
		return filterFloat
	case "abs":
		return filterAbs
	case "round":
		return filterRound
	case "default", "d":
		return filterDefault
	case "attr":
		return filterAttr
	case "tojson":
		return filterToJSON
	}
	return lookupSeqFilter(name)
}

// text is what filters on text see of any value.
func (in *interp) text(v Value) (s string, like Value, err error) {
	if s, ok := strOf(v); ok {
		return s, v, in.chargeBytes(len(s))
	}
	s, err = in.str(v)
	return s, s, err
}

func textFilter(f func(string) string) filter {
	return func(in *interp, v Value, a *args) (Value, error) {
		if _, err := a.bind(); err != nil {
			return nil, err
		}
		s, like, err := in.text(v)
		if err != nil {
			return nil, err
		}
		return sameKind(like, f(s)), nil
	}
}

func markFilter(f func(s string, safe bool) string) filter {
	return func(in *interp, v Value, a *args) (Value, error) {
		if _, err := a.bind(); err != nil {
			return nil, err
		}
		s, like, err := in.text(v)
		_, safe := like.(markup)
		return markup(f(s, safe)), err
	}
}

func filterString(in *interp, v Value, a *args) (Value, error) {
	if _, err := a.bind(); err != nil {
		return nil, err
	}
	_, like, err := in.text(v)
	return like, err
}

func filterTrim(in *interp, v Value, a *args) (Value, error) {
	_, like, err := in.text(v)
	if err != nil {
		return nil, err
	}
	b := &args{name: "strip", pos: a.pos, names: a.names, named: a.named}
	return strStrip(in, like, b)
}

// filterTitle capitalises after spaces, hyphens and opening brackets only, unlike str.title.
func filterTitle(s string) string {
	var b strings.Builder
	start := true
	for i, r := range s {
		switch {
		case isSpace(r) || strings.ContainsRune("-({[<", r):
			start = true
			b.WriteRune(r)
		case start:
			b.WriteString(upper(string(r)))
			start = false
		default:
			lowerRune(&b, s, i, r)
		}
	}
	return b.String()
}

func filterReplace(in *interp, v Value, a *args) (Value, error) {
	p, err := a.bind("old", "new", "count?")
	if err != nil {
		return nil, err
	}
	s, err := in.str(v)
	if err != nil {
		return nil, err
	}
	old, err := in.str(p[0])
	if err != nil {
		return nil, err
	}
	repl, err := in.str(p[1])
	if err != nil {
		return nil, err
	}
	n := int64(-1)
	if p[2] != nil {
		if n, err = intArg(a, "count", p[2], -1); err != nil {
			return nil, err
		}
	}
	return in.replaceN(s, old, repl, int(n))
}

// filterIndent is indent(width=4, first=False, blank=False).
func filterIndent(in *interp, v Value, a *args) (Value, error) {
	p, err := a.bind("width?", "first?", "blank?")
	if err != nil {
		return nil, err
	}
	s, ok := strOf(v)
	if !ok {
		if u, ok := v.(undefined); ok {
			return nil, undefinedError(u)
		}
		return nil, failf("indent: expected str, got %s", typeName(v))
	}
	pad, ok := "", false
	if given(p[0]) {
		pad, ok = strOf(p[0])
	}
	if !ok {
		n, err := intArg(a, "width", p[0], 4)
		if err != nil {
			return nil, err
		}
		if n > maxFormatWidth {
			return nil, limitError("indent by %d", n)
		}
		pad = strings.Repeat(" ", int(max(n, 0)))
	}
	first := given(p[1]) && truth(p[1])
	blank := given(p[2]) && truth(p[2])
	lines := splitLines(s+"\n", false)
	if err := in.chargeBytes(len(s) + len(lines)*(len(pad)+1)); err != nil {
		return nil, err
	}
	for i := range lines {
		if i > 0 && (blank || lines[i] != "") {
			lines[i] = pad + lines[i]
		}
	}
	out := strings.Join(lines, "\n")
	if first {
		out = pad + out
	}
	return sameKind(v, out), nil
}

func filterCenter(in *interp, v Value, a *args) (Value, error) {
	p, err := a.bind("width?")
	if err != nil {
		return nil, err
	}
	width, err := intArg(a, "width", p[0], 80)
	if err != nil {
		return nil, err
	}
	s, like, err := in.text(v)
	if err != nil {
		return nil, err
	}
	out, err := in.pad(s, "center", width, " ")
	return sameKind(like, out), err
}

// filterTruncate is truncate(length=255, killwords=False, end="...", leeway=5).
func filterTruncate(in *interp, v Value, a *args) (Value, error) {
	p, err := a.bind("length?", "killwords?", "end?", "leeway?")
	if err != nil {
		return nil, err
	}
	s, err := strArg(a, "value", v)
	if err != nil {
		return nil, err
	}
	length, err := intArg(a, "length", p[0], 255)
	if err != nil {
		return nil, err
	}
	end := "..."
	if given(p[2]) {
		if end, err = strArg(a, "end", p[2]); err != nil {
			return nil, err
		}
	}
	leeway := int64(5)
	if p[3] != nil {
		if leeway, err = intArg(a, "leeway", p[3], 5); err != nil {
			return nil, err
		}
	}
	keep := length - int64(utf8.RuneCountInString(end))
	if keep < 0 || leeway < 0 {
		return nil, failf("truncate: the length must be at least that of the end, and the leeway not negative")
	}
	if int64(utf8.RuneCountInString(s)) <= length+leeway {
		return v, nil
	}
	s = runeSlice(s, 0, int(keep))
	if !(given(p[1]) && truth(p[1])) {
		if i := strings.LastIndexByte(s, ' '); i >= 0 {
			s = s[:i]
		}
	}
	return sameKind(v, s+end), nil
}

func filterWordcount(in *interp, v Value, a *args) (Value, error) {
	if _, err := a.bind(); err != nil {
		return nil, err
	}
	s, _, err := in.text(v)
	words := strings.FieldsFunc(s, func(r rune) bool {
		return r != '_' && !unicode.IsLetter(r) && !unicode.IsNumber(r)
	})
	return int64(len(words)), err
}

func filterFormat(in *interp, v Value, a *args) (Value, error) {
	if len(a.pos) > 0 && len(a.names) > 0 {
		return nil, failf("format: positional and keyword arguments cannot be mixed")
	}
	s, like, err := in.text(v)
	if err != nil {
		return nil, err
	}
	if len(a.names) > 0 {
		d := NewDict()
		for i, n := range a.names {
			d.Set(n, a.named[i])
		}
		return in.percent(like, s, d)
	}
	return in.percent(like, s, Tuple(a.pos))
}

func filterURLEncode(in *interp, v Value, a *args) (Value, error) {
	if _, err := a.bind(); err != nil {
		return nil, err
	}
	enc := func(v Value, query bool) (string, error) {
		s, _, err := in.text(v)
		var b strings.Builder
		for i := 0; i < len(s); i++ {
			c := s[i]
			switch {
			case isDecimal(c) || c|0x20 >= 'a' && c|0x20 <= 'z' || strings.IndexByte("_.-~", c) >= 0 || c == '/' && !query:
				b.WriteByte(c)
			case c == ' ' && query:
				b.WriteByte('+')
			default:
				b.WriteString("%" + strings.ToUpper(strconv.FormatUint(uint64(c)+0x100, 16)[1:]))
			}
		}
		return b.String(), err
	}
	if d, ok := v.(*Dict); ok {
		v = dictView{d, "dict_items"}
	}
	it, err := in.iterate(v)
	if _, isStr := strOf(v); isStr || err != nil {
		return enc(v, false)
	}
	var parts []string
	n := 0
	for {
		x, ok, err := it()
		if err != nil {
			return nil, err
		}
		if !ok {
			return in.joinStrings(parts, "&", n)
		}
		pair, ok := seqOf(x)
		if !ok || len(pair) != 2 {
			return nil, failf("urlencode: expected pairs")
		}
		k, err := enc(pair[0], true)
		if err != nil {
			return nil, err
		}
		val, err := enc(pair[1], true)
		if err != nil {
			return nil, err
		}
		parts = append(parts, k+"="+val)
		n += len(k) + len(val) + 1
	}
}

// parsePyInt reads what Python's int(text, base) accepts.
func parsePyInt(s string, base int) (Value, bool) {
	s = strings.TrimFunc(s, isSpace)
	sign := ""
	if s != "" && (s[0] == '-' || s[0] == '+') {
		sign, s = s[:1], s[1:]
	}
	prefix := map[int]string{2: "0b", 8: "0o", 16: "0x"}[base]
	if prefix != "" && len(s) > 2 && strings.EqualFold(s[:2], prefix) {
		s = strings.TrimPrefix(s[2:], "_")
	}
	if s == "" || s[0] == '_' || s[len(s)-1] == '_' || strings.Contains(s, "__") || s[0] == '-' || s[0] == '+' || len(s) > maxIntBits/3 {
		return nil, false
	}
	n, ok := new(big.Int).SetString(sign+strings.ReplaceAll(s, "_", ""), base)
	if !ok || n.BitLen() > maxIntBits {
		return nil, false
	}
	return normInt(n), true
}

// parsePyFloat reads what Python's float(text) accepts.
func parsePyFloat(s string) (float64, bool) {
	s = strings.TrimFunc(s, isSpace)
	if strings.ContainsAny(s, "xXpP") || strings.HasPrefix(s, "_") || strings.HasSuffix(s, "_") || strings.Contains(s, "__") {
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
	if err != nil && !math.IsInf(f, 0) {
		return 0, false
	}
	return f, true
}

// filterInt is int(default=0, base=10): "42.9" gives 42, what cannot be converted gives the default.
func filterInt(in *interp, v Value, a *args) (Value, error) {
	p, err := a.bind("default?", "base?")
	if err != nil {
		return nil, err
	}
	base, err := intArg(a, "base", p[1], 10)
	if err != nil {
		return nil, err
	}
	if base < 2 || base > 36 {
		return nil, failf("int: the base must be between 2 and 36")
	}
	if u, ok := v.(undefined); ok {
		return nil, undefinedError(u)
	}
	if s, ok := strOf(v); ok {
		if n, ok := parsePyInt(s, int(base)); ok {
			return n, nil
		}
		if f, ok := parsePyFloat(s); ok {
			if n, err := floatToInt(f); err == nil {
				return n, nil
			}
		}
	} else if n, ok := number(v); ok {
		f, isFloat := n.(float64)
		if !isFloat {
			return n, nil
		}
		if n, err := floatToInt(f); err == nil {
			return n, nil
		}
	}
	if given(p[0]) {
		return p[0], nil
	}
	return int64(0), nil
}

func filterFloat(in *interp, v Value, a *args) (Value, error) {
	p, err := a.bind("default?")
	if err != nil {
		return nil, err
	}
	if u, ok := v.(undefined); ok {
		return nil, undefinedError(u)
	}
	if s, ok := strOf(v); ok {
		if f, ok := parsePyFloat(s); ok {
			return f, nil
		}
	} else if n, ok := number(v); ok {
		return toFloat(n), nil
	}
	if given(p[0]) {
		return p[0], nil
	}
	return 0.0, nil
}

// numberArg wants a number.
func numberArg(a *args, v Value) (Value, error) {
	if u, ok := v.(undefined); ok {
		return nil, undefinedError(u)
	}
	n, ok := number(v)
	if !ok {
		return nil, failf("%s: expected a number, got %s", a.name, typeName(v))
	}
	return n, nil
}

func filterAbs(in *interp, v Value, a *args) (Value, error) {
	if _, err := a.bind(); err != nil {
		return nil, err
	}
	n, err := numberArg(a, v)
	if err != nil {
		return nil, err
	}
	if f, ok := n.(float64); ok {
		return math.Abs(f), nil
	}
	return normInt(new(big.Int).Abs(toBig(n))), nil
}

// filterRound is round(precision=0, method="common"), where common rounds halves to even on the exact binary value.
func filterRound(in *interp, v Value, a *args) (Value, error) {
	p, err := a.bind("precision?", "method?")
	if err != nil {
		return nil, err
	}
	prec, err := intArg(a, "precision", p[0], 0)
	if err != nil {
		return nil, err
	}
	if prec > 1000 || prec < -1000 {
		return nil, limitError("round to %d places", prec)
	}
	n, err := numberArg(a, v)
	if err != nil {
		return nil, err
	}
	method := "common"
	if given(p[1]) {
		method, _ = strOf(p[1])
	}
	switch method {
	case "common":
		if f, ok := n.(float64); ok {
			return roundFloat(f, int(prec)), nil
		}
		return roundInt(n, int(prec)), nil
	case "ceil", "floor":
		scale, err := power(int64(10), prec, false)
		if err != nil {
			return nil, err
		}
		x, err := arith("*", n, scale)
		if err != nil {
			return nil, err
		}
		if f, ok := x.(float64); ok {
			if method == "ceil" {
				f = math.Ceil(f)
			} else {
				f = math.Floor(f)
			}
			if x, err = floatToInt(f); err != nil {
				return nil, err
			}
		}
		return arith("/", x, scale)
	}
	return nil, failf("round: the method must be common, ceil or floor")
}

func roundFloat(f float64, prec int) Value {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return f
	}
	if prec >= 0 {
		r, _ := strconv.ParseFloat(strconv.FormatFloat(f, 'f', prec, 64), 64)
		return r
	}
	scale := math.Pow(10, float64(-prec))
	if math.IsInf(scale, 0) {
		return math.Copysign(0, f)
	}
	return math.RoundToEven(f/scale) * scale
}

func roundInt(n Value, prec int) Value {
	if prec >= 0 {
		return n
	}
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(-prec)), nil)
	q, r := new(big.Int).DivMod(toBig(n), scale, new(big.Int))
	switch c := new(big.Int).Lsh(r, 1).Cmp(scale); {
	case c > 0, c == 0 && q.Bit(0) == 1:
		q.Add(q, big.NewInt(1))
	}
	return normInt(q.Mul(q, scale))
}

// filterDefault is default(default_value="", boolean=False).
func filterDefault(in *interp, v Value, a *args) (Value, error) {
	p, err := a.bind("default_value?", "boolean?")
	if err != nil {
		return nil, err
	}
	if _, undef := v.(undefined); !undef && !(given(p[1]) && truth(p[1]) && !truth(v)) {
		return v, nil
	}
	if given(p[0]) {
		return p[0], nil
	}
	return "", nil
}

func filterAttr(in *interp, v Value, a *args) (Value, error) {
	p, err := a.bind("name")
	if err != nil {
		return nil, err
	}
	name, err := strArg(a, "name", p[0])
	if err != nil {
		return nil, err
	}
	if u, ok := v.(undefined); ok {
		return nil, undefinedError(u)
	}
	if x, ok := attribute(v, name); ok {
		return x, nil
	}
	return noAttr(v, name), nil
}
