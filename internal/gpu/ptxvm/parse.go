package ptxvm

import (
	"fmt"
	"strings"
)

// ParseError is a fault of a PTX text.
type ParseError struct {
	Line int
	Why  string
}

// Error names the line.
func (e *ParseError) Error() string { return fmt.Sprintf("ptxvm: line %d: %s", e.Line, e.Why) }

// bad ends parsing; Load recovers it.
func bad(line int, format string, args ...any) {
	panic(&ParseError{line, fmt.Sprintf(format, args...)})
}

// statement is one directive, label, instruction, or brace that opens or closes a scope.
type statement struct {
	line int
	text string // "{", "}", "name:" or the statement without its semicolon, blanks squeezed
}

// statements cuts a PTX text. It knows nothing of the meaning but where statements end.
func statements(src string) []statement {
	var out []statement
	var cur strings.Builder
	line, start := 1, 0
	parens, vector := 0, 0
	flush := func() {
		if s := strings.TrimSpace(cur.String()); s != "" {
			out = append(out, statement{start, s})
		}
		cur.Reset()
		start = 0
	}
	blank := func() {
		if s := cur.String(); s != "" && !strings.HasSuffix(s, " ") {
			cur.WriteByte(' ')
		}
	}
	for i := 0; i < len(src); i++ {
		c := src[i]
		switch {
		case c == '/' && strings.HasPrefix(src[i:], "//"):
			for i < len(src) && src[i] != '\n' {
				i++
			}
			i--
			continue
		case c == '/' && strings.HasPrefix(src[i:], "/*"):
			end := strings.Index(src[i+2:], "*/")
			if end < 0 {
				bad(line, "comment without end")
			}
			line += strings.Count(src[i:i+2+end], "\n")
			i += end + 3
			continue
		case c == '\n':
			line++
			// Lines end the directives that have no semicolon.
			if s := strings.TrimSpace(cur.String()); parens == 0 && vector == 0 && directive(s) {
				flush()
			}
			blank()
			continue
		case c == ' ' || c == '\t' || c == '\r':
			blank()
			continue
		}
		if start == 0 {
			start = line
		}
		switch c {
		case '(':
			parens++
		case ')':
			parens--
		case '{':
			if vector == 0 && scope(cur.String()) {
				flush()
				out = append(out, statement{line, "{"})
				continue
			}
			vector++
		case '}':
			if vector == 0 {
				flush()
				out = append(out, statement{line, "}"})
				continue
			}
			vector--
		case ';':
			if vector > 0 || parens > 0 {
				bad(line, "bracket without end")
			}
			flush()
			continue
		case ':':
			cur.WriteByte(':')
			flush()
			continue
		}
		cur.WriteByte(c)
	}
	if vector > 0 || parens > 0 {
		bad(line, "bracket without end")
	}
	flush()
	return out
}

// directive tells whether s is a directive that ends with its line.
func directive(s string) bool {
	for _, d := range []string{".version", ".target", ".address_size"} {
		if strings.HasPrefix(s, d) {
			return true
		}
	}
	return false
}

// scope tells whether a brace after this text opens a scope (a function's body or a block) and not a vector.
func scope(before string) bool {
	s := strings.TrimSpace(before)
	return s == "" || strings.Contains(s, ".entry") || strings.Contains(s, ".func")
}

// splitList cuts at the commas that are in no bracket.
func splitList(s string) []string {
	var out []string
	depth, start := 0, 0
	for i := range len(s) {
		switch s[i] {
		case '{', '[', '(':
			depth++
		case '}', ']', ')':
			depth--
		case ',':
			if depth == 0 {
				out = append(out, strings.TrimSpace(s[start:i]))
				start = i + 1
			}
		}
	}
	if rest := strings.TrimSpace(s[start:]); rest != "" {
		out = append(out, rest)
	}
	return out
}

// typeSize returns the bytes of a PTX type like "f32", or 0 if it is none.
func typeSize(t string) int {
	switch t {
	case "b8", "u8", "s8":
		return 1
	case "b16", "u16", "s16", "f16", "bf16":
		return 2
	case "b32", "u32", "s32", "f32", "bf16x2", "f16x2":
		return 4
	case "b64", "u64", "s64", "f64":
		return 8
	case "b128":
		return 16
	}
	return 0
}
