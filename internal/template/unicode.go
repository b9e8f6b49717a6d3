package template

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// isSpace is Python's str.isspace for one character: Unicode's white space and the four ASCII separators.
func isSpace(r rune) bool { return unicode.IsSpace(r) || (r >= 0x1c && r <= 0x1f) }

// splitLines is Python's str.splitlines.
func splitLines(s string, keepEnds bool) []string {
	var out []string
	start := 0
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		end := i
		i += n
		switch r {
		case '\r':
			if i < len(s) && s[i] == '\n' {
				i++
			}
		case '\n', '\v', '\f', 0x1c, 0x1d, 0x1e, 0x85, 0x2028, 0x2029:
		default:
			continue
		}
		if keepEnds {
			end = i
		}
		out = append(out, s[start:end])
		start = i
	}
	if start < len(s) {
		out = append(out, s[start:])
	}
	return out
}

// upperPairs lists the characters whose upper case is more than one character (Unicode's SpecialCasing), which Go's
// unicode package leaves out: "character=upper case", separated by spaces.
const upperPairs = "\u00df=SS \u0149=\u02bcN \u01f0=J\u030c \u0390=\u0399\u0308\u0301 \u03b0=\u03a5\u0308\u0301 " +
	"\u0587=\u0535\u0552 \u1e96=H\u0331 \u1e97=T\u0308 \u1e98=W\u030a \u1e99=Y\u030a \u1e9a=A\u02be " +
	"\u1f50=\u03a5\u0313 \u1f52=\u03a5\u0313\u0300 \u1f54=\u03a5\u0313\u0301 \u1f56=\u03a5\u0313\u0342 " +
	"\u1f80=\u1f08\u0399 \u1f81=\u1f09\u0399 \u1f82=\u1f0a\u0399 \u1f83=\u1f0b\u0399 \u1f84=\u1f0c\u0399 " +
	"\u1f85=\u1f0d\u0399 \u1f86=\u1f0e\u0399 \u1f87=\u1f0f\u0399 \u1f88=\u1f08\u0399 \u1f89=\u1f09\u0399 " +
	"\u1f8a=\u1f0a\u0399 \u1f8b=\u1f0b\u0399 \u1f8c=\u1f0c\u0399 \u1f8d=\u1f0d\u0399 \u1f8e=\u1f0e\u0399 " +
	"\u1f8f=\u1f0f\u0399 \u1f90=\u1f28\u0399 \u1f91=\u1f29\u0399 \u1f92=\u1f2a\u0399 \u1f93=\u1f2b\u0399 " +
	"\u1f94=\u1f2c\u0399 \u1f95=\u1f2d\u0399 \u1f96=\u1f2e\u0399 \u1f97=\u1f2f\u0399 \u1f98=\u1f28\u0399 " +
	"\u1f99=\u1f29\u0399 \u1f9a=\u1f2a\u0399 \u1f9b=\u1f2b\u0399 \u1f9c=\u1f2c\u0399 \u1f9d=\u1f2d\u0399 " +
	"\u1f9e=\u1f2e\u0399 \u1f9f=\u1f2f\u0399 \u1fa0=\u1f68\u0399 \u1fa1=\u1f69\u0399 \u1fa2=\u1f6a\u0399 " +
	"\u1fa3=\u1f6b\u0399 \u1fa4=\u1f6c\u0399 \u1fa5=\u1f6d\u0399 \u1fa6=\u1f6e\u0399 \u1fa7=\u1f6f\u0399 " +
	"\u1fa8=\u1f68\u0399 \u1fa9=\u1f69\u0399 \u1faa=\u1f6a\u0399 \u1fab=\u1f6b\u0399 \u1fac=\u1f6c\u0399 " +
	"\u1fad=\u1f6d\u0399 \u1fae=\u1f6e\u0399 \u1faf=\u1f6f\u0399 \u1fb2=\u1fba\u0399 \u1fb3=\u0391\u0399 " +
	"\u1fb4=\u0386\u0399 \u1fb6=\u0391\u0342 \u1fb7=\u0391\u0342\u0399 \u1fbc=\u0391\u0399 " +
	"\u1fc2=\u1fca\u0399 \u1fc3=\u0397\u0399 \u1fc4=\u0389\u0399 \u1fc6=\u0397\u0342 " +
	"\u1fc7=\u0397\u0342\u0399 \u1fcc=\u0397\u0399 \u1fd2=\u0399\u0308\u0300 \u1fd3=\u0399\u0308\u0301 " +
	"\u1fd6=\u0399\u0342 \u1fd7=\u0399\u0308\u0342 \u1fe2=\u03a5\u0308\u0300 \u1fe3=\u03a5\u0308\u0301 " +
	"\u1fe4=\u03a1\u0313 \u1fe6=\u03a5\u0342 \u1fe7=\u03a5\u0308\u0342 \u1ff2=\u1ffa\u0399 " +
	"\u1ff3=\u03a9\u0399 \u1ff4=\u038f\u0399 \u1ff6=\u03a9\u0342 \u1ff7=\u03a9\u0342\u0399 " +
	"\u1ffc=\u03a9\u0399 \ufb00=FF \ufb01=FI \ufb02=FL \ufb03=FFI \ufb04=FFL \ufb05=ST \ufb06=ST " +
	"\ufb13=\u0544\u0546 \ufb14=\u0544\u0535 \ufb15=\u0544\u053b \ufb16=\u054e\u0546 \ufb17=\u0544\u053d"

func specialUpper(r rune) (string, bool) {
	if r < 0xdf {
		return "", false
	}
	_, after, ok := strings.Cut(upperPairs, string(r)+"=")
	if !ok {
		return "", false
	}
	up, _, _ := strings.Cut(after, " ")
	return up, true
}

func upper(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for _, r := range s {
		if up, ok := specialUpper(r); ok {
			b.WriteString(up)
		} else {
			b.WriteRune(unicode.ToUpper(r))
		}
	}
	return b.String()
}

// isCased reports whether a character has a case.
func isCased(r rune) bool {
	return unicode.IsUpper(r) || unicode.IsLower(r) || unicode.IsTitle(r) || unicode.Is(unicode.Other_Lowercase, r) || unicode.Is(unicode.Other_Uppercase, r)
}

// lowerRune writes the lower case of a character. A capital sigma that ends a word has a form of its own.
func lowerRune(b *strings.Builder, s string, i int, r rune) {
	switch {
	case r == 0x130:
		b.WriteString("i\u0307")
	case r == 0x3a3:
		before, _ := utf8.DecodeLastRuneInString(s[:i])
		after, _ := utf8.DecodeRuneInString(s[i+2:])
		if isCased(before) && !isCased(after) {
			b.WriteRune(0x3c2)
		} else {
			b.WriteRune(0x3c3)
		}
	default:
		b.WriteRune(unicode.ToLower(r))
	}
}

func lower(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for i, r := range s {
		lowerRune(&b, s, i, r)
	}
	return b.String()
}

func titleRune(b *strings.Builder, r rune) {
	if t := unicode.ToTitle(r); t != r {
		b.WriteRune(t)
		return
	}
	up, ok := specialUpper(r)
	if !ok || unicode.IsTitle(r) {
		b.WriteRune(r)
		return
	}
	first, n := utf8.DecodeRuneInString(up)
	if !isCased(first) {
		b.WriteString(up)
		return
	}
	b.WriteString(up[:n] + lower(up[n:]))
}

// casefold is lower case for comparing: characters with a long upper case are spelt out.
func casefold(s string) string {
	var b strings.Builder
	for _, r := range s {
		if up, ok := specialUpper(r); ok {
			b.WriteString(strings.ToLower(up))
		} else {
			b.WriteRune(unicode.ToLower(unicode.ToUpper(r)))
		}
	}
	return b.String()
}

func capitalize(s string) string {
	var b strings.Builder
	for i, r := range s {
		if i == 0 {
			titleRune(&b, r)
		} else {
			lowerRune(&b, s, i, r)
		}
	}
	return b.String()
}

// pyTitle is str.title: a letter after a letter is lower case, any other title case.
func pyTitle(s string) string {
	var b strings.Builder
	inWord := false
	for i, r := range s {
		if inWord {
			lowerRune(&b, s, i, r)
		} else {
			titleRune(&b, r)
		}
		inWord = isCased(r)
	}
	return b.String()
}

func swapcase(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case unicode.IsUpper(r):
			lowerRune(&b, s, i, r)
		case unicode.IsLower(r):
			b.WriteString(upper(string(r)))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// onlyCase reports whether a string has a character of one case and none of the other.
func onlyCase(s string, is, isNot func(rune) bool) bool {
	found := false
	for _, r := range s {
		if isNot(r) || unicode.IsTitle(r) {
			return false
		}
		found = found || is(r)
	}
	return found
}

func isUpperRune(r rune) bool { return unicode.IsUpper(r) || unicode.Is(unicode.Other_Uppercase, r) }
func isLowerRune(r rune) bool { return unicode.IsLower(r) || unicode.Is(unicode.Other_Lowercase, r) }
func isUpper(s string) bool   { return onlyCase(s, isUpperRune, isLowerRune) }
func isLower(s string) bool   { return onlyCase(s, isLowerRune, isUpperRune) }

func isTitle(s string) bool {
	found, inWord := false, false
	for _, r := range s {
		switch {
		case isUpperRune(r) || unicode.IsTitle(r):
			if inWord {
				return false
			}
			found, inWord = true, true
		case isLowerRune(r):
			if !inWord {
				return false
			}
		default:
			inWord = false
		}
	}
	return found
}

func isIdentifier(s string) bool {
	for i, r := range s {
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r) && !unicode.IsMark(r)) {
			return false
		}
	}
	return s != ""
}

// isDigit is Python's isdigit for one character: decimal digits and other characters with a digit value.
func isDigit(r rune) bool { return unicode.IsDigit(r) || (r >= 0xb2 && unicode.Is(otherDigits(), r)) }

func otherDigits() *unicode.RangeTable {
	return &unicode.RangeTable{
		R16:         []unicode.Range16{{0xb2, 0xb3, 1}, {0xb9, 0xb9, 1}, {0x1369, 0x1371, 1}, {0x19da, 0x19da, 1}, {0x2070, 0x2070, 1}, {0x2074, 0x2079, 1}, {0x2080, 0x2089, 1}, {0x2460, 0x2468, 1}, {0x2474, 0x247c, 1}, {0x2488, 0x2490, 1}, {0x24ea, 0x24ea, 1}, {0x24f5, 0x24fd, 1}, {0x24ff, 0x24ff, 1}, {0x2776, 0x277e, 1}, {0x2780, 0x2788, 1}, {0x278a, 0x2792, 1}},
		R32:         []unicode.Range32{{0x10a40, 0x10a43, 1}, {0x10e60, 0x10e68, 1}, {0x11052, 0x1105a, 1}, {0x1f100, 0x1f10a, 1}},
		LatinOffset: 2,
	}
}
