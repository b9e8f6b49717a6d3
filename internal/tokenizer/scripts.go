package tokenizer

import (
	"sync"
	"unicode"
)

// unicodeScripts cuts where the script changes, the way SentencePiece keeps scripts apart: the Japanese syllabaries
// count as Han, and a space fits any script.
type unicodeScripts struct{}

// scriptAny is the script of what fits any other: spaces.
const scriptAny = -1

// scriptTables is the list of Unicode's scripts, in no particular order.
var scriptTables = sync.OnceValue(func() []*unicode.RangeTable {
	tables := make([]*unicode.RangeTable, 0, len(unicode.Scripts))
	for name, t := range unicode.Scripts {
		if name != "Han" && name != "Hiragana" && name != "Katakana" && name != "Common" && name != "Inherited" {
			tables = append(tables, t)
		}
	}
	return tables
})

// scriptOf numbers the script of a rune: 0 Han and kana, 1 Common, 2 Inherited, the others as in scriptTables, -2 none.
func scriptOf(r rune) int {
	switch {
	case r == ' ':
		return scriptAny
	case r == 0x30FC, unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana):
		return 0
	case unicode.Is(unicode.Common, r):
		return 1
	case unicode.Is(unicode.Inherited, r):
		return 2
	}
	for i, t := range scriptTables() {
		if unicode.Is(t, r) {
			return i + 3
		}
	}
	return -2
}

func (unicodeScripts) split(dst []piece, p piece) ([]piece, error) {
	const none = -3
	start, last := -1, none
	for i, r := range p.s {
		s := scriptOf(r)
		if s != scriptAny && s != last {
			if start >= 0 {
				dst = append(dst, piece{text: p.slice(start, i), added: notAdded})
			}
			start = i
		}
		if s != scriptAny {
			last = s
		}
	}
	// Spaces before the first script are dropped, as in the reference.
	if start >= 0 && start < len(p.s) {
		dst = append(dst, piece{text: p.slice(start, len(p.s)), added: notAdded})
	}
	return dst, nil
}
