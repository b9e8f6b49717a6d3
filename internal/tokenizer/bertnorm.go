package tokenizer

import (
	"unicode/utf8"
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
	if !t.track && isASCII(t.s) {
		t.s = n.ascii(t.s)
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

// ascii is normalize for text in which only clean-up and case can change anything.
func (n bertNormalizer) ascii(s string) string {
	c := classes()
	same := true
	for i := range len(s) {
		b := s[i]
		if n.cleanText && (c.ascii[b]&classControl != 0 || c.ascii[b]&classSpace != 0 && b != ' ') ||
			n.lowercase && b >= 'A' && b <= 'Z' {
			same = false
			break
		}
	}
	if same {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := range len(s) {
		b := s[i]
		if n.cleanText {
			if c.ascii[b]&classControl != 0 {
				continue
			}
			if c.ascii[b]&classSpace != 0 {
				b = ' '
			}
		}
		if n.lowercase && b >= 'A' && b <= 'Z' {
			b += 'a' - 'A'
		}
		out = append(out, b)
	}
	return string(out)
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
	if !t.track {
		out := make([]byte, 0, len(t.s)+2*count)
		for _, r := range t.s {
			if c.of(r)&classChinese != 0 {
				out = append(utf8.AppendRune(append(out, ' '), r), ' ')
			} else {
				out = utf8.AppendRune(out, r)
			}
		}
		t.s = string(out)
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
