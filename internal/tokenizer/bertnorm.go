package tokenizer

import (
	"unicode"
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
	if n.cleanText {
		t.filter(func(r rune) bool { return r != 0 && r != 0xFFFD && !isControl(r) })
		t.mapRunes(func(r rune) rune {
			if unicode.IsSpace(r) {
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
		t.filter(func(r rune) bool { return !isNonspacingMark(r) })
	}
	if n.lowercase {
		return lowercase{}.normalize(t)
	}
	return nil
}

// spaceChinese puts a space on either side of every CJK ideograph.
func spaceChinese(t *text) {
	count := 0
	for _, r := range t.s {
		if isChinese(r) {
			count++
		}
	}
	if count == 0 {
		return
	}
	changes := make([]change, 0, len(t.s)+2*count)
	for _, r := range t.s {
		if isChinese(r) {
			changes = append(changes, change{' ', 0}, change{r, 1}, change{' ', 1})
		} else {
			changes = append(changes, change{r, 0})
		}
	}
	t.transform(changes, 0)
}

func isChinese(r rune) bool {
	switch {
	case r < 0x3400:
		return false
	case r >= 0x4E00 && r <= 0x9FFF, r >= 0x3400 && r <= 0x4DBF, r >= 0x20000 && r <= 0x2A6DF,
		r >= 0x2A700 && r <= 0x2B73F, r >= 0x2B740 && r <= 0x2B81F, r >= 0x2B920 && r <= 0x2CEAF,
		r >= 0xF900 && r <= 0xFAFF, r >= 0x2F800 && r <= 0x2FA1F:
		return true
	}
	return false
}

// isControl is category C except for tab, newline and carriage return.
func isControl(r rune) bool {
	if r < 0x80 {
		return r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0x7F
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co)
}

func isNonspacingMark(r rune) bool { return unicode.Is(unicode.Mn, r) }
