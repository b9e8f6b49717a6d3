package tokenizer

import (
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// bertNormalizer is the clean-up of the original BERT: control characters, Chinese characters, accents, case.
type bertNormalizer struct {
	cleanText, chinese, stripAccents, lowercase bool
}

func parseBertNormalizer(o *object) normalizer {
	n := bertNormalizer{
		cleanText: o.boolean("clean_text"),
		chinese:   o.boolean("handle_chinese_chars"),
		lowercase: o.boolean("lowercase"),
	}
	n.stripAccents = o.boolOr("strip_accents", n.lowercase)
	return n
}

func (n bertNormalizer) normalize(t *text) error {
	if !t.track {
		t.s = n.rewrite(t.s)
		return nil
	}
	c := classes()
	if n.cleanText {
		t.filter(func(r rune) bool { return c.of(r)&classControl == 0 })
		t.mapRunes(func(r rune) rune {
			if c.of(r)&classSpace != 0 {
				return ' '
			}
			return r
		})
	}
	if n.chinese {
		spaceChinese(t)
	}
	if n.stripAccents {
		if err := nfd.normalize(t); err != nil {
			return err
		}
		t.filter(func(r rune) bool { return c.of(r)&classNonspacing == 0 })
	}
	if n.lowercase {
		return lowercase{}.normalize(t)
	}
	return nil
}

// rewrite is normalize without alignment, in two passes: before and after the decomposition.
func (n bertNormalizer) rewrite(s string) string {
	c := classes()
	out := make([]byte, 0, len(s)+len(s)/8)
	ascii := true
	for i := 0; i < len(s); {
		class, width := classAt(c, s, i)
		r := s[i : i+width]
		i += width
		ascii = ascii && width == 1
		switch {
		case n.cleanText && class&classControl != 0:
		case n.cleanText && class&classSpace != 0:
			out = append(out, ' ')
		case n.chinese && class&classChinese != 0:
			out = append(append(append(out, ' '), r...), ' ')
		default:
			out = append(out, r...)
		}
	}
	if ascii {
		if n.lowercase {
			for i, b := range out {
				if b >= 'A' && b <= 'Z' {
					out[i] = b + 'a' - 'A'
				}
			}
		}
		return string(out)
	}
	s = string(out)
	if n.stripAccents && !norm.NFD.IsNormalString(s) {
		s = nfd.normalizeString(s)
	}
	out = out[:0]
	for i := 0; i < len(s); {
		class, width := classAt(c, s, i)
		if !n.stripAccents || class&classNonspacing == 0 {
			out = appendLower(out, s[i:i+width], n.lowercase)
		}
		i += width
	}
	return string(out)
}

// appendLower appends one rune, in lower case if asked.
func appendLower(out []byte, s string, lower bool) []byte {
	switch {
	case !lower:
		return append(out, s...)
	case len(s) == 1:
		return append(out, byte(toLower(rune(s[0]))))
	}
	r, _ := utf8.DecodeRuneInString(s)
	if r == dottedI {
		return append(out, "i\u0307"...)
	}
	return utf8.AppendRune(out, toLower(r))
}

// spaceChinese puts a space on either side of every CJK ideograph.
func spaceChinese(t *text) {
	c := classes()
	count := 0
	for _, r := range t.s {
		if c.of(r)&classChinese != 0 {
			count++
		}
	}
	if count == 0 {
		return
	}
	changes := make([]change, 0, len(t.s)+2*count)
	for _, r := range t.s {
		if c.of(r)&classChinese != 0 {
			changes = append(changes, change{' ', 0}, change{r, 1}, change{' ', 1})
		} else {
			changes = append(changes, change{r, 0})
		}
	}
	t.transform(changes, 0)
}
