package template

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dlclark/regexp2/v2"
)

// regexpTimeout bounds one search: patterns come from outside, and some take exponential time.
const regexpTimeout = 10 * time.Second

// Regexp is a regular expression of Python's re module.
type Regexp struct {
	re     *regexp2.Regexp
	groups int
	names  map[string]int
}

// CompileRegexp reads a pattern in the syntax of Python's re. Patterns run on a backtracking engine with .NET's syntax, so
// what differs there is translated: named groups, which Python numbers like all others, \Z and {,n}.
func CompileRegexp(pattern string) (*Regexp, error) {
	t := &regexpTranslator{src: pattern, names: map[string]int{}}
	translated, err := t.run()
	if err != nil {
		return nil, fmt.Errorf("regular expression %q: %w", pattern, err)
	}
	re, err := regexp2.Compile(translated, regexp2.None)
	if err != nil {
		return nil, fmt.Errorf("regular expression %q: %w", pattern, err)
	}
	re.MatchTimeout = regexpTimeout
	return &Regexp{re: re, groups: t.groups, names: t.names}, nil
}

type regexpTranslator struct {
	src    string
	out    strings.Builder
	groups int
	names  map[string]int
}

func (t *regexpTranslator) run() (string, error) {
	inClass := false
	for i := 0; i < len(t.src); {
		rest := t.src[i:]
		n := 1
		switch {
		case rest[0] == '\\' && len(rest) > 1:
			_, size := utf8.DecodeRuneInString(rest[1:])
			n = 1 + size
			if rest[1] == 'Z' && !inClass {
				t.out.WriteString(`\z`)
			} else {
				t.out.WriteString(rest[:n])
			}
		case inClass:
			inClass = rest[0] != ']'
			if rest[0] == '[' { // an ordinary character in Python, a nested class in .NET
				t.out.WriteByte('\\')
			}
			t.out.WriteByte(rest[0])
		case rest[0] == '[':
			inClass = true
			for _, open := range []string{"[^]", "[]", "[^"} { // a ] that comes first is one of the class
				if strings.HasPrefix(rest, open) {
					n = len(open)
					break
				}
			}
			t.out.WriteString(strings.Replace(rest[:n], "]", `\]`, 1))
		case strings.HasPrefix(rest, "(?P<"):
			end := strings.IndexByte(rest, '>')
			if end < 0 {
				return "", fmt.Errorf("the name of a group at position %d has no end", i)
			}
			t.groups++
			t.names[rest[4:end]] = t.groups
			n = end + 1
			t.out.WriteByte('(')
		case strings.HasPrefix(rest, "(?P="):
			end := strings.IndexByte(rest, ')')
			if end < 0 || t.names[rest[4:end]] == 0 {
				return "", fmt.Errorf("reference to an unknown group at position %d", i)
			}
			n = end + 1
			fmt.Fprintf(&t.out, "(?:\\%d)", t.names[rest[4:end]])
		case rest[0] == '(':
			if len(rest) < 2 || rest[1] != '?' {
				t.groups++
			}
			t.out.WriteByte('(')
		case strings.HasPrefix(rest, "{,"):
			n = 2
			t.out.WriteString("{0,")
		default:
			t.out.WriteByte(rest[0])
		}
		i += n
	}
	return t.out.String(), nil
}

// FindAll is re.findall: for each match the text of its groups, or of the whole match where there are none. A group that
// took no part is empty.
func (r *Regexp) FindAll(s string) ([][]string, error) {
	var out [][]string
	m, err := r.re.FindStringMatch(s)
	for ; m != nil && err == nil; m, err = r.re.FindNextMatch(m) {
		if r.groups == 0 {
			out = append(out, []string{m.String()})
			continue
		}
		texts := make([]string, r.groups)
		for i := range texts {
			texts[i] = r.group(m, i+1)
		}
		out = append(out, texts)
	}
	return out, err
}

func (r *Regexp) group(m *regexp2.Match, n int) string {
	if g := m.GroupByNumber(n); g != nil && len(g.Captures) > 0 {
		return g.String()
	}
	return ""
}

// Replace is re.sub: repl may name groups as \1, \g<1> and \g<name>. At most count matches are replaced; 0 is all.
func (r *Regexp) Replace(s, repl string, count int) (string, error) {
	parts, err := r.replacement(repl)
	if err != nil {
		return "", err
	}
	if count <= 0 {
		count = -1
	}
	return r.re.ReplaceFunc(s, func(m regexp2.Match) string {
		var b strings.Builder
		for _, p := range parts {
			if p.group >= 0 {
				b.WriteString(r.group(&m, p.group))
			}
			b.WriteString(p.text)
		}
		return b.String()
	}, -1, count)
}

// replacementPart is the text of a group (none if negative), then a text.
type replacementPart struct {
	group int
	text  string
}

func (r *Regexp) replacement(repl string) ([]replacementPart, error) {
	parts := []replacementPart{{group: -1}}
	add := func(s string) { parts[len(parts)-1].text += s }
	for i := 0; i < len(repl); {
		if repl[i] != '\\' || i+1 == len(repl) {
			add(repl[i : i+1])
			i++
			continue
		}
		c := repl[i+1]
		i += 2
		switch {
		case c >= '1' && c <= '9':
			n := int(c - '0')
			if i < len(repl) && repl[i] >= '0' && repl[i] <= '9' {
				n = 10*n + int(repl[i]-'0')
				i++
			}
			parts = append(parts, replacementPart{group: n})
		case c == 'g' && i < len(repl) && repl[i] == '<':
			end := strings.IndexByte(repl[i:], '>')
			if end < 0 {
				return nil, fmt.Errorf("replacement %q: \\g< has no >", repl)
			}
			name := repl[i+1 : i+end]
			n, err := strconv.Atoi(name)
			if err != nil {
				n = r.names[name]
				if n == 0 {
					return nil, fmt.Errorf("replacement %q: there is no group %q", repl, name)
				}
			}
			parts = append(parts, replacementPart{group: n})
			i += end + 1
		default:
			known := strings.IndexByte(`nrtvfa\0`, c)
			if known < 0 {
				if c >= 'A' && c <= 'z' {
					return nil, fmt.Errorf("replacement %q: bad escape \\%c", repl, c)
				}
				add(`\` + string(rune(c)))
				continue
			}
			add("\n\r\t\v\f\a\\\x00"[known : known+1])
		}
	}
	for _, p := range parts {
		if p.group > r.groups {
			return nil, fmt.Errorf("replacement %q: there is no group %d", repl, p.group)
		}
	}
	return parts, nil
}
