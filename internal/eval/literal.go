package eval

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/mltrain/mltrain/internal/template"
)

// literal reads what Python's ast.literal_eval reads of the kinds that tasks use: strings, numbers, None, True, False, and lists
// and tuples of them.
func literal(src string) (template.Value, error) {
	p := &literalParser{src: src}
	v, err := p.value(0)
	if err == nil {
		if p.space(); p.at < len(p.src) {
			err = fmt.Errorf("unexpected %q", p.src[p.at:min(len(p.src), p.at+10)])
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%.80q is no Python list or value (at byte %d): %w", src, p.at, err)
	}
	return v, nil
}

type literalParser struct {
	src string
	at  int
}

const literalDepth = 50

func (p *literalParser) space() {
	for p.at < len(p.src) && strings.IndexByte(" \t\r\n", p.src[p.at]) >= 0 {
		p.at++
	}
}

func (p *literalParser) value(depth int) (template.Value, error) {
	p.space()
	if depth > literalDepth {
		return nil, errors.New("nested too deeply")
	}
	if p.at == len(p.src) {
		return nil, errors.New("it ends here")
	}
	switch c := p.src[p.at]; {
	case c == '[':
		items, _, err := p.items(']', depth)
		return items, err
	case c == '(':
		items, comma, err := p.items(')', depth)
		if err == nil && len(items) == 1 && !comma {
			return items[0], nil // parentheses, no tuple
		}
		return template.Tuple(items), err
	case c == '"' || c == '\'' || (c == 'r' || c == 'u') && p.at+1 < len(p.src) && strings.IndexByte(`"'`, p.src[p.at+1]) >= 0:
		return p.strings()
	}
	end := p.at
	for end < len(p.src) && strings.IndexByte(" \t\r\n,])", p.src[end]) < 0 {
		end++
	}
	word := p.src[p.at:end]
	p.at = end
	switch word {
	case "None":
		return nil, nil
	case "True":
		return true, nil
	case "False":
		return false, nil
	}
	if i, err := strconv.ParseInt(word, 10, 64); err == nil {
		return i, nil
	}
	if f, err := strconv.ParseFloat(word, 64); err == nil && strings.IndexByte("0123456789.+-", word[0]) >= 0 {
		return f, nil
	}
	return nil, fmt.Errorf("unexpected %.20q", word)
}

// items reads a list up to its closing bracket, and whether its last item is followed by a comma.
func (p *literalParser) items(closing byte, depth int) (items []template.Value, comma bool, err error) {
	items = []template.Value{}
	p.at++
	for {
		p.space()
		if p.at < len(p.src) && p.src[p.at] == closing && (len(items) == 0 || comma) {
			p.at++
			return items, comma, nil
		}
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, false, err
		}
		items = append(items, v)
		p.space()
		switch {
		case p.at == len(p.src):
			return nil, false, fmt.Errorf("the closing %q is missing", closing)
		case p.src[p.at] == closing:
			p.at++
			return items, false, nil
		case p.src[p.at] != ',':
			return nil, false, fmt.Errorf("found %q, want a comma or %q", p.src[p.at], closing)
		}
		comma = true
		p.at++
	}
}

// strings reads one string or several beside each other, which are one.
func (p *literalParser) strings() (template.Value, error) {
	var b strings.Builder
	for {
		p.space()
		raw := p.at+1 < len(p.src) && p.src[p.at] == 'r' && strings.IndexByte(`"'`, p.src[p.at+1]) >= 0
		if raw || p.at+1 < len(p.src) && p.src[p.at] == 'u' && strings.IndexByte(`"'`, p.src[p.at+1]) >= 0 {
			p.at++
		}
		if p.at == len(p.src) || p.src[p.at] != '"' && p.src[p.at] != '\'' {
			return b.String(), nil
		}
		if err := p.string(&b, raw); err != nil {
			return nil, err
		}
	}
}

func (p *literalParser) string(b *strings.Builder, raw bool) error {
	quote := p.src[p.at : p.at+1]
	if strings.HasPrefix(p.src[p.at:], strings.Repeat(quote, 3)) {
		quote = strings.Repeat(quote, 3)
	}
	p.at += len(quote)
	for p.at < len(p.src) {
		rest := p.src[p.at:]
		switch {
		case strings.HasPrefix(rest, quote):
			p.at += len(quote)
			return nil
		case rest[0] == '\n' && len(quote) == 1:
			return errors.New("a string ends with its line")
		case rest[0] == '\\' && !raw:
			n, err := unescape(b, rest)
			if err != nil {
				return err
			}
			p.at += n
		case rest[0] == '\\' && len(rest) > 1:
			b.WriteString(rest[:2])
			p.at += 2
		default:
			b.WriteByte(rest[0])
			p.at++
		}
	}
	return errors.New("a string has no end")
}

// unescape writes the character that an escape sequence at the start of s stands for, and returns the sequence's length.
func unescape(b *strings.Builder, s string) (int, error) {
	if len(s) < 2 {
		return 0, errors.New("a string ends in a backslash")
	}
	if i := strings.IndexByte(`nrtabfv\'"`, s[1]); i >= 0 {
		b.WriteByte("\n\r\t\a\b\f\v\\'\""[i])
		return 2, nil
	}
	switch c := s[1]; {
	case c == '\n':
		return 2, nil
	case c >= '0' && c <= '7':
		n := 2
		for n < 4 && n < len(s) && s[n] >= '0' && s[n] <= '7' {
			n++
		}
		v, err := strconv.ParseUint(s[1:n], 8, 16)
		b.WriteRune(rune(v))
		return n, err
	case c == 'x' || c == 'u' || c == 'U':
		n := map[byte]int{'x': 4, 'u': 6, 'U': 10}[c]
		if len(s) < n {
			return 0, errors.New("an escape sequence is cut off")
		}
		v, err := strconv.ParseUint(s[2:n], 16, 32)
		if err != nil || v > utf8.MaxRune {
			return 0, fmt.Errorf("bad escape sequence %q", s[:n])
		}
		b.WriteRune(rune(v))
		return n, nil
	}
	b.WriteString(s[:1]) // Python keeps what it does not know
	return 1, nil
}
