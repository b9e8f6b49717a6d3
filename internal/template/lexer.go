package template

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind uint8

const (
	tokEOF tokenKind = iota
	tokData
	tokVarBegin
	tokVarEnd
	tokBlockBegin
	tokBlockEnd
	tokName
	tokString
	tokNumber
	tokOp
)

type token struct {
	kind tokenKind
	text string // data, name, operator, or the string's value
	num  Value  // of a number
	line int
}

func (t token) describe() string {
	switch t.kind {
	case tokEOF:
		return "end of template"
	case tokData:
		return "text"
	case tokVarBegin:
		return "'{{'"
	case tokVarEnd:
		return "'}}'"
	case tokBlockBegin:
		return "'{%'"
	case tokBlockEnd:
		return "'%}'"
	case tokString:
		return "a string"
	case tokNumber:
		return "a number"
	}
	return "'" + t.text + "'"
}

// lexer cuts a source into tokens and does the whitespace control: "-" strips all space on its side of a tag,
// trim_blocks drops one newline after a block or comment, lstrip_blocks the spaces before one at the start of a line.
type lexer struct {
	name      string
	src       string
	plain     bool // neither trim_blocks nor lstrip_blocks
	pos       int
	line      int
	linePos   int  // src[:linePos] has been counted into line
	lineStart bool // the last match ended with a newline (or nothing was matched yet)
	brackets  []byte
	toks      []token
}

func lex(name, src string, plain bool) ([]token, error) {
	src = strings.ReplaceAll(src, "\r\n", "\n")
	src = strings.ReplaceAll(src, "\r", "\n")
	if !plain {
		src = strings.TrimSuffix(src, "\n")
	}
	l := &lexer{name: name, src: src, plain: plain, line: 1, lineStart: true}
	for l.pos < len(l.src) {
		if err := l.root(); err != nil {
			return nil, err
		}
	}
	l.emit(token{kind: tokEOF}, len(l.src))
	return l.toks, nil
}

func (l *lexer) lineAt(pos int) int {
	l.line += strings.Count(l.src[l.linePos:pos], "\n")
	l.linePos = pos
	return l.line
}

func (l *lexer) emit(t token, pos int) {
	t.line = l.lineAt(pos)
	l.toks = append(l.toks, t)
}

func (l *lexer) errorf(pos int, format string, a ...any) error {
	return &Error{Name: l.name, Line: l.lineAt(max(pos, l.linePos)), Msg: fmt.Sprintf(format, a...), Kind: ErrSyntax}
}

// advance moves past a match and remembers whether it ended a line.
func (l *lexer) advance(to int) {
	if to > l.pos {
		l.lineStart = l.src[to-1] == '\n'
	}
	l.pos = to
}

// data emits text that stands before a tag, stripped as the tag's sign asks.
func (l *lexer) data(text string, sign byte, isVariable bool) {
	start := l.pos
	switch {
	case sign == '-':
		text = strings.TrimRightFunc(text, isSpace)
	case sign != '+' && !isVariable && !l.plain:
		nl := strings.LastIndexByte(text, '\n') + 1
		if (nl > 0 || l.lineStart) && strings.TrimLeftFunc(text[nl:], isSpace) == "" {
			text = text[:nl]
		}
	}
	if text != "" {
		l.emit(token{kind: tokData, text: text}, start)
	}
}

func (l *lexer) sign(at int) (byte, int) {
	if at < len(l.src) && (l.src[at] == '-' || l.src[at] == '+') {
		return l.src[at], at + 1
	}
	return 0, at
}

// root reads text up to the next tag, and that tag.
func (l *lexer) root() error {
	begin := l.pos
	for {
		i := strings.IndexByte(l.src[begin:], '{')
		if i < 0 || begin+i+1 >= len(l.src) {
			l.emit(token{kind: tokData, text: l.src[l.pos:]}, l.pos)
			l.pos = len(l.src)
			return nil
		}
		begin += i
		if c := l.src[begin+1]; c == '{' || c == '%' || c == '#' {
			break
		}
		begin++
	}
	text := l.src[l.pos:begin]
	sign, next := l.sign(begin + 2)
	switch l.src[begin+1] {
	case '{':
		l.data(text, sign, true)
		l.emit(token{kind: tokVarBegin}, begin)
		l.advance(next)
		return l.inside("}}", tokVarEnd)
	case '#':
		l.data(text, sign, false)
		l.advance(next)
		return l.comment(begin)
	}
	if end, ok := l.rawBegin(next); ok {
		l.data(text, sign, false)
		l.advance(end)
		return l.raw(begin)
	}
	l.data(text, sign, false)
	l.emit(token{kind: tokBlockBegin}, begin)
	l.advance(next)
	return l.inside("%}", tokBlockEnd)
}

func (l *lexer) skipSpace(at int) int {
	return len(l.src) - len(strings.TrimLeftFunc(l.src[at:], isSpace))
}

// endTag matches a closing delimiter at a place, with its sign, and returns where the text goes on.
func (l *lexer) endTag(at int, delim string, trim bool) (int, bool) {
	rest := l.src[at:]
	switch {
	case strings.HasPrefix(rest, "-"+delim):
		return l.skipSpace(at + 1 + len(delim)), true
	case delim != "}}" && strings.HasPrefix(rest, "+"+delim):
		return at + 1 + len(delim), true
	case strings.HasPrefix(rest, delim):
		at += len(delim)
		if trim && !l.plain && at < len(l.src) && l.src[at] == '\n' {
			at++
		}
		return at, true
	}
	return at, false
}

func (l *lexer) comment(begin int) error {
	i := strings.Index(l.src[l.pos:], "#}")
	if l.pos == len(l.src) {
		return nil // Jinja lets a template end in "{#"
	}
	if i < 0 {
		return l.errorf(begin, "the comment that starts here has no end '#}'")
	}
	at := l.pos + i
	if i > 0 && (l.src[at-1] == '-' || l.src[at-1] == '+') {
		at--
	}
	end, _ := l.endTag(at, "#}", true)
	l.advance(end)
	return nil
}

func (l *lexer) rawBegin(at int) (int, bool) {
	at = l.skipSpace(at)
	if !strings.HasPrefix(l.src[at:], "raw") {
		return 0, false
	}
	at = l.skipSpace(at + 3)
	if strings.HasPrefix(l.src[at:], "+") {
		return 0, false
	}
	return l.endTag(at, "%}", false)
}

func (l *lexer) raw(begin int) error {
	if l.pos == len(l.src) {
		return nil // Jinja lets a template end in "{% raw %}"
	}
	for from := l.pos; ; {
		i := strings.Index(l.src[from:], "{%")
		if i < 0 {
			return l.errorf(begin, "the raw block that starts here has no '{%% endraw %%}'")
		}
		open := from + i
		sign, at := l.sign(open + 2)
		at = l.skipSpace(at)
		if strings.HasPrefix(l.src[at:], "endraw") {
			if end, ok := l.endTag(l.skipSpace(at+6), "%}", true); ok {
				l.data(l.src[l.pos:open], sign, false)
				l.advance(end)
				return nil
			}
		}
		from = open + 2
	}
}

// operators, longest first.
var operators = [...]string{"//", "**", "==", "!=", ">=", "<=",
	"+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";"}

// inside reads the tokens of one tag up to and including its end.
func (l *lexer) inside(delim string, endKind tokenKind) error {
	begin := l.pos
	l.brackets = l.brackets[:0]
	for l.pos < len(l.src) {
		if len(l.brackets) == 0 {
			if end, ok := l.endTag(l.pos, delim, endKind == tokBlockEnd); ok {
				l.emit(token{kind: endKind}, l.pos)
				l.advance(end)
				return nil
			}
		}
		if sp := l.skipSpace(l.pos); sp > l.pos {
			l.advance(sp)
			continue
		}
		if err := l.one(); err != nil {
			return err
		}
	}
	return l.errorf(begin, "the tag that starts here has no end '%s'", delim)
}

func (l *lexer) one() error {
	c := l.src[l.pos]
	r, _ := utf8.DecodeRuneInString(l.src[l.pos:])
	switch {
	case c >= '0' && c <= '9':
		return l.number()
	case c == '\'' || c == '"':
		return l.str(c)
	case r == '_' || unicode.IsLetter(r):
		end := l.pos
		for end < len(l.src) {
			r, n := utf8.DecodeRuneInString(l.src[end:])
			if r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) {
				break
			}
			end += n
		}
		l.emit(token{kind: tokName, text: l.src[l.pos:end]}, l.pos)
		l.advance(end)
		return nil
	}
	for _, op := range operators {
		if !strings.HasPrefix(l.src[l.pos:], op) {
			continue
		}
		if err := l.balance(op[0]); err != nil {
			return err
		}
		l.emit(token{kind: tokOp, text: op}, l.pos)
		l.advance(l.pos + len(op))
		return nil
	}
	return l.errorf(l.pos, "unexpected character %q", r)
}

func (l *lexer) balance(c byte) error {
	switch c {
	case '(':
		l.brackets = append(l.brackets, ')')
	case '[':
		l.brackets = append(l.brackets, ']')
	case '{':
		l.brackets = append(l.brackets, '}')
	case ')', ']', '}':
		n := len(l.brackets)
		if n == 0 {
			return l.errorf(l.pos, "unexpected '%c'", c)
		}
		if l.brackets[n-1] != c {
			return l.errorf(l.pos, "unexpected '%c', expected '%c'", c, l.brackets[n-1])
		}
		l.brackets = l.brackets[:n-1]
	}
	return nil
}

// digits returns the end of a run of digits of a base, possibly with single underscores between them.
func (l *lexer) digits(at int, isDigit func(byte) bool) int {
	for at < len(l.src) {
		switch {
		case isDigit(l.src[at]):
			at++
		case l.src[at] == '_' && at+1 < len(l.src) && isDigit(l.src[at+1]):
			at += 2
		default:
			return at
		}
	}
	return at
}

func isDecimal(c byte) bool { return c >= '0' && c <= '9' }

func (l *lexer) number() error {
	start := l.pos
	end := l.digits(start, isDecimal)
	isFloat := false
	if start == 0 || l.src[start-1] != '.' {
		if end+1 < len(l.src) && l.src[end] == '.' && isDecimal(l.src[end+1]) {
			end, isFloat = l.digits(end+1, isDecimal), true
		}
		if end < len(l.src) && (l.src[end] == 'e' || l.src[end] == 'E') {
			at := end + 1
			if at < len(l.src) && (l.src[at] == '+' || l.src[at] == '-') {
				at++
			}
			if at < len(l.src) && isDecimal(l.src[at]) {
				end, isFloat = l.digits(at, isDecimal), true
			}
		}
	}
	t := token{kind: tokNumber}
	if isFloat {
		f, err := strconv.ParseFloat(strings.ReplaceAll(l.src[start:end], "_", ""), 64)
		if err != nil && f == 0 {
			return l.errorf(start, "bad number %q", l.src[start:end])
		}
		t.num = f
	} else {
		base := 10
		if l.src[start] == '0' {
			if b, e := l.prefixed(start); e > 0 {
				base, end = b, e
			} else if strings.Trim(l.src[start:end], "0_") != "" {
				end = start + 1
			}
		}
		digits := strings.ReplaceAll(l.src[start:end], "_", "")
		if base != 10 {
			digits = digits[2:]
		}
		n, ok := new(big.Int).SetString(digits, base)
		if !ok || n.BitLen() > maxIntBits {
			return l.errorf(start, "bad or too long number %q", l.src[start:end])
		}
		t.num = normInt(n)
	}
	l.emit(t, start)
	l.advance(end)
	return nil
}

// prefixed recognises 0b, 0o and 0x; end is 0 when there is none.
func (l *lexer) prefixed(start int) (base, end int) {
	if start+2 >= len(l.src) {
		return 0, 0
	}
	var isDigit func(byte) bool
	switch l.src[start+1] | 0x20 {
	case 'b':
		base, isDigit = 2, func(c byte) bool { return c == '0' || c == '1' }
	case 'o':
		base, isDigit = 8, func(c byte) bool { return c >= '0' && c <= '7' }
	case 'x':
		base, isDigit = 16, func(c byte) bool { return isDecimal(c) || (c|0x20 >= 'a' && c|0x20 <= 'f') }
	default:
		return 0, 0
	}
	if end = l.digits(start+2, isDigit); end == start+2 {
		return 0, 0
	}
	return base, end
}

func (l *lexer) str(quote byte) error {
	start := l.pos
	var b strings.Builder
	for at := start + 1; at < len(l.src); {
		c := l.src[at]
		switch {
		case c == quote:
			l.emit(token{kind: tokString, text: b.String()}, start)
			l.advance(at + 1)
			return nil
		case c != '\\' || at+1 >= len(l.src):
			b.WriteByte(c)
			at++
		default:
			n, err := l.escape(&b, at)
			if err != nil {
				return err
			}
			at += n
		}
	}
	return l.errorf(start, "the string that starts here has no end %c", quote)
}

// escape decodes the escape sequence at a place and returns its length. Unknown ones stay as they are, as in Python.
func (l *lexer) escape(b *strings.Builder, at int) (int, error) {
	c := l.src[at+1]
	if i := strings.IndexByte(`\'"abfnrtv`, c); i >= 0 {
		b.WriteByte("\\'\"\a\b\f\n\r\t\v"[i])
		return 2, nil
	}
	switch {
	case c == '\n':
		return 2, nil
	case c >= '0' && c <= '7':
		end := at + 1
		v := rune(0)
		for end < len(l.src) && end < at+4 && l.src[end] >= '0' && l.src[end] <= '7' {
			v = v*8 + rune(l.src[end]-'0')
			end++
		}
		b.WriteRune(v)
		return end - at, nil
	case c == 'x' || c == 'u' || c == 'U':
		n := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
		if at+2+n > len(l.src) {
			return 0, l.errorf(at, "truncated \\%c escape", c)
		}
		v, err := strconv.ParseUint(l.src[at+2:at+2+n], 16, 32)
		if err != nil || v > unicode.MaxRune {
			return 0, l.errorf(at, "bad \\%c escape %q", c, l.src[at:at+2+n])
		}
		b.WriteRune(rune(v))
		return 2 + n, nil
	case c == 'N':
		return 0, l.errorf(at, "\\N{…} escapes are not supported: write the character itself")
	}
	b.WriteByte('\\')
	return 1, nil
}
