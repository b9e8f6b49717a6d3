package template

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// spec is a parsed format: of "%-8.3f" as well as of "{:>8,.3f}".
type spec struct {
	fill  string
	align byte // '<', '>', '^', '=' or 0
	sign  byte // '-', '+' or ' '
	alt   bool
	width int
	group string // "", "," or "_"
	prec  int    // -1 when absent
	verb  byte   // 0 when absent
}

// maxFormatWidth bounds width and precision.
const maxFormatWidth = 1 << 16

// pad aligns a text; the sign of a number stays left of the fill where align is '='.
func (f *spec) pad(sign, body string, defaultAlign byte) string {
	n := f.width - utf8.RuneCountInString(sign) - utf8.RuneCountInString(body)
	if n <= 0 {
		return sign + body
	}
	align, fill := f.align, f.fill
	if align == 0 {
		align = defaultAlign
	}
	if fill == "" {
		fill = " "
	}
	switch align {
	case '<':
		return sign + body + strings.Repeat(fill, n)
	case '^':
		return strings.Repeat(fill, n/2) + sign + body + strings.Repeat(fill, n-n/2)
	case '=':
		return sign + strings.Repeat(fill, n) + body
	}
	return strings.Repeat(fill, n) + sign + body
}

func (f *spec) signOf(negative bool) string {
	switch {
	case negative:
		return "-"
	case f.sign == '+' || f.sign == ' ':
		return string(f.sign)
	}
	return ""
}

// grouped puts a separator between groups of digits before the point. With zero padding the padding is grouped too.
func (f *spec) grouped(digits string, every int, reserve int) string {
	if f.group == "" {
		return digits
	}
	whole, rest := digits, ""
	if i := strings.IndexAny(digits, ".e"); i >= 0 {
		whole, rest = digits[:i], digits[i:]
	}
	if f.align == '=' && f.fill == "0" {
		for len(whole)+(len(whole)-1)/every+len(rest)+reserve < f.width {
			whole = "0" + whole
		}
	}
	var b strings.Builder
	for i, c := range whole {
		if i > 0 && (len(whole)-i)%every == 0 {
			b.WriteString(f.group)
		}
		b.WriteRune(c)
	}
	return b.String() + rest
}

func (f *spec) formatStr(s string) string {
	if f.prec >= 0 {
		r := []rune(s)
		s = string(r[:min(f.prec, len(r))])
	}
	return f.pad("", s, '<')
}

func (f *spec) formatInt(v Value) (string, error) {
	n := toBig(v)
	base, prefix, every := 10, "", 3
	switch f.verb {
	case 0, 'd', 'n', 'i', 'u':
	case 'x', 'X':
		base, prefix, every = 16, "0"+string(f.verb), 4
	case 'o':
		base, prefix, every = 8, "0o", 4
	case 'b':
		base, prefix, every = 2, "0b", 4
	case 'c':
		if !n.IsInt64() || n.Int64() < 0 || n.Int64() > utf8.MaxRune {
			return "", failf("character code is out of range")
		}
		return f.pad("", string(rune(n.Int64())), '<'), nil
	default:
		return "", failf("unknown format code '%c' for an integer", f.verb)
	}
	digits := new(big.Int).Abs(n).Text(base)
	if f.verb == 'X' {
		digits = strings.ToUpper(digits)
	}
	if f.prec > len(digits) {
		digits = strings.Repeat("0", f.prec-len(digits)) + digits
	}
	sign := f.signOf(n.Sign() < 0)
	if f.alt {
		sign += prefix
	}
	return f.pad(sign, f.grouped(digits, every, len(sign)), '>'), nil
}

func (f *spec) formatFloat(x float64) (string, error) {
	verb, prec := f.verb, f.prec
	suffix := ""
	if verb == '%' {
		x, verb, suffix = x*100, 'f', "%"
	}
	negative := math.Signbit(x) && !math.IsNaN(x)
	abs := math.Abs(x)
	var s string
	switch {
	case math.IsInf(x, 0):
		s = "inf"
	case math.IsNaN(x):
		s = "nan"
	case verb == 0 && prec < 0:
		s = floatRepr(abs)
	default:
		if prec < 0 {
			prec = 6
		}
		switch verb {
		case 'f', 'F', 'e', 'E':
			s = strconv.FormatFloat(abs, verb|0x20, prec, 64)
			if f.alt && prec == 0 {
				s += "."
			}
		case 'g', 'G', 'n', 0:
			s = formatG(abs, max(prec, 1), f.alt)
			if verb == 0 && !strings.ContainsAny(s, ".e") {
				s += ".0"
			}
		default:
			return "", failf("unknown format code '%c' for a float", f.verb)
		}
	}
	if verb == 'E' || verb == 'G' || verb == 'F' {
		s = strings.ToUpper(s)
	}
	sign := f.signOf(negative)
	return f.pad(sign, f.grouped(s, 3, len(sign)+len(suffix))+suffix, '>'), nil
}

// formatG is C's %g, which keeps trailing zeros only in its alternate form.
func formatG(x float64, prec int, alt bool) string {
	if !alt {
		return strconv.FormatFloat(x, 'g', prec, 64)
	}
	e := strconv.FormatFloat(x, 'e', prec-1, 64)
	exp, _ := strconv.Atoi(e[strings.IndexByte(e, 'e')+1:])
	if exp < -4 || exp >= prec {
		if prec == 1 {
			return strings.Replace(e, "e", ".e", 1)
		}
		return e
	}
	s := strconv.FormatFloat(x, 'f', prec-1-exp, 64)
	if !strings.Contains(s, ".") {
		s += "."
	}
	return s
}

// percent is Python's "format % values".
func (in *interp) percent(like Value, format string, v Value) (Value, error) {
	_, safe := like.(markup)
	p := &percentFormatter{in: in, safe: safe}
	switch v := v.(type) {
	case Tuple:
		p.args = v
	case *Dict:
		p.args, p.mapping = []Value{v}, v
	default:
		p.args = []Value{v}
	}
	if err := p.run(format); err != nil {
		return nil, err
	}
	_, isList := v.([]Value)
	if p.used < len(p.args) && p.mapping == nil && !isList {
		return nil, failf("not all arguments converted during string formatting")
	}
	return sameKind(like, p.b.String()), nil
}

type percentFormatter struct {
	in      *interp
	b       strings.Builder
	args    []Value
	used    int
	mapping *Dict
	safe    bool
}

func (p *percentFormatter) next() (Value, error) {
	if p.used >= len(p.args) {
		return nil, failf("not enough arguments for format string")
	}
	p.used++
	return p.args[p.used-1], nil
}

func (p *percentFormatter) run(s string) error {
	for {
		i := strings.IndexByte(s, '%')
		if i < 0 {
			p.b.WriteString(s)
			return p.in.chargeBytes(p.b.Len())
		}
		p.b.WriteString(s[:i])
		rest, err := p.directive(s[i+1:])
		if err != nil {
			return err
		}
		if err := p.in.chargeBytes(p.b.Len()); err != nil {
			return err
		}
		s = rest
	}
}

// number reads digits or "*".
func (p *percentFormatter) number(s string) (n int, rest string, err error) {
	if strings.HasPrefix(s, "*") {
		v, err := p.next()
		if err != nil {
			return 0, s, err
		}
		w, ok := v.(int64)
		if !ok || w < -maxFormatWidth || w > maxFormatWidth {
			return 0, s, failf("* wants an integer of at most %d", maxFormatWidth)
		}
		return int(w), s[1:], nil
	}
	return leadingInt(s)
}

func leadingInt(s string) (n int, rest string, err error) {
	i := 0
	for i < len(s) && isDecimal(s[i]) {
		if n = n*10 + int(s[i]-'0'); n > maxFormatWidth {
			return 0, s, limitError("a format width of more than %d", maxFormatWidth)
		}
		i++
	}
	return n, s[i:], nil
}

// directive formats one value; s begins after the percent sign.
func (p *percentFormatter) directive(s string) (rest string, err error) {
	f := spec{prec: -1, sign: '-'}
	var v Value
	have := false
	if strings.HasPrefix(s, "(") {
		end := strings.IndexByte(s, ')')
		if end < 0 {
			return "", failf("incomplete format key")
		}
		if p.mapping == nil {
			return "", failf("format requires a mapping")
		}
		var ok bool
		if v, ok = p.mapping.Get(s[1:end]); !ok {
			return "", failf("the mapping has no key '%s'", s[1:end])
		}
		have = true
		s = s[end+1:]
	}
	zero := false
flags:
	for ; s != ""; s = s[1:] {
		switch s[0] {
		case '-':
			f.align = '<'
		case '+':
			f.sign = '+'
		case ' ':
			if f.sign != '+' {
				f.sign = ' '
			}
		case '#':
			f.alt = true
		case '0':
			zero = true
		default:
			break flags
		}
	}
	if f.width, s, err = p.number(s); err != nil {
		return "", err
	}
	if f.width < 0 {
		f.align, f.width = '<', -f.width
	}
	if strings.HasPrefix(s, ".") {
		if f.prec, s, err = p.number(s[1:]); err != nil {
			return "", err
		}
		f.prec = max(f.prec, 0)
	}
	s = strings.TrimLeft(s, "hlL")
	if s == "" {
		return "", failf("incomplete format")
	}
	verb := s[0]
	s = s[1:]
	if verb == '%' {
		p.b.WriteByte('%')
		return s, nil
	}
	if !have {
		if v, err = p.next(); err != nil {
			return "", err
		}
	}
	if zero && f.align == 0 && strings.IndexByte("diouxXeEfFgG", verb) >= 0 {
		f.align, f.fill = '=', "0"
	}
	text, err := p.convert(&f, verb, v)
	p.b.WriteString(text)
	return s, err
}

func (p *percentFormatter) convert(f *spec, verb byte, v Value) (string, error) {
	if f.align == 0 {
		f.align = '>'
	}
	switch verb {
	case 's', 'r', 'a':
		show := p.in.str
		if verb != 's' {
			show = p.in.repr
		}
		s, err := show(v)
		if _, ok := v.(markup); p.safe && !ok {
			s = escapeHTML(s)
		}
		return f.formatStr(s), err
	case 'c':
		if s, ok := strOf(v); ok && utf8.RuneCountInString(s) == 1 {
			return f.pad("", s, '>'), nil
		}
	}
	if u, ok := v.(undefined); ok {
		return "", undefinedError(u)
	}
	n, ok := number(v)
	if !ok {
		return "", failf("%%%c format: a real number is required, not %s", verb, typeName(v))
	}
	f.verb = verb
	x, isFloat := n.(float64)
	switch verb {
	case 'd', 'i', 'u':
		if isFloat {
			var err error
			if n, err = floatToInt(x); err != nil {
				return "", err
			}
		}
		return f.formatInt(n)
	case 'o', 'x', 'X', 'c':
		if isFloat {
			return "", failf("%%%c format: an integer is required, not float", verb)
		}
		return f.formatInt(n)
	case 'e', 'E', 'f', 'F', 'g', 'G':
		return f.formatFloat(toFloat(n))
	}
	return "", failf("unsupported format character '%c'", verb)
}

// floatToInt truncates, as Python's int() does.
func floatToInt(x float64) (Value, error) {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil, failf("cannot convert float %s to integer", floatRepr(x))
	}
	n, _ := new(big.Float).SetFloat64(x).Int(nil)
	return normInt(n), nil
}
