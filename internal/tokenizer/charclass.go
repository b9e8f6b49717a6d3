package tokenizer

import (
	"sort"
	"sync"
	"unicode"
)

// Bits of a rune's class.
const (
	classLetter     uint8 = 1 << iota // \p{L}
	classNumber                       // \p{N}
	classSpace                        // \s, White_Space
	classNewline                      // \r or \n
	classPunct                        // punctuation as BERT sees it
	classControl                      // what BERT's clean-up drops
	classNonspacing                   // what BERT takes for accents
	classChinese                      // what BERT sets apart as Chinese
)

// runeSet is a sorted list of ranges: first, last, first, last, …
type runeSet []rune

func (s runeSet) has(r rune) bool {
	// The number of range ends below r is even exactly when r is outside or begins a range.
	i := sort.Search(len(s), func(i int) bool { return s[i] >= r })
	return i < len(s) && (i%2 == 1 || s[i] == r)
}

// classTable holds the class of every rune, in pages of 256.
type classTable struct {
	ascii [128]uint8
	index [(unicode.MaxRune + 1) / 256]uint16
	pages [][256]uint8
}

// classes builds the table once; it never changes afterwards.
var classes = sync.OnceValue(func() *classTable {
	flat := make([]uint8, unicode.MaxRune+1)
	mark := func(s runeSet, bit uint8) {
		for i := 0; i < len(s); i += 2 {
			for c := s[i]; c <= s[i+1]; c++ {
				flat[c] |= bit
			}
		}
	}
	mark(setLetter, classLetter)
	mark(setNumber, classNumber)
	mark(setPunctuation, classPunct)
	mark(setControl, classControl)
	mark(setNonspacing, classNonspacing)
	mark(setChinese, classChinese)
	for _, r := range unicode.White_Space.R16 {
		for c := r.Lo; c <= r.Hi; c += r.Stride {
			flat[c] |= classSpace
		}
	}
	flat['\r'] |= classNewline
	flat['\n'] |= classNewline
	t := &classTable{}
	copy(t.ascii[:], flat)
	seen := map[[256]uint8]uint16{}
	for i := range t.index {
		page := [256]uint8(flat[i*256:])
		id, ok := seen[page]
		if !ok {
			id = uint16(len(t.pages))
			seen[page] = id
			t.pages = append(t.pages, page)
		}
		t.index[i] = id
	}
	return t
})

func (t *classTable) of(r rune) uint8 {
	if r < 0 || r > unicode.MaxRune {
		return 0
	}
	return t.pages[t.index[r>>8]][r&0xFF]
}

// setChinese is BERT's idea of Chinese characters: the blocks of CJK ideographs.
var setChinese = runeSet{
	0x3400, 0x4DBF, 0x4E00, 0x9FFF, 0xF900, 0xFAFF, 0x20000, 0x2A6DF, 0x2A700, 0x2B73F, 0x2B740, 0x2B81F,
	0x2B920, 0x2CEAF, 0x2F800, 0x2FA1F,
}

func isWord(r rune) bool {
	if r < 0x80 {
		return r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	}
	return setWord.has(r)
}

// isSpace is Unicode's White_Space, as \s and Rust's char::is_whitespace have it.
func isSpace(r rune) bool {
	if r < 0x80 {
		return r == ' ' || r >= '\t' && r <= '\r'
	}
	return unicode.Is(unicode.White_Space, r)
}

func isPunctuation(r rune) bool { return classes().of(r)&classPunct != 0 }

func isNumeric(r rune) bool { return setNumeric.has(r) }

func isCombiningMark(r rune) bool { return r >= 0x300 && setMark.has(r) }

// dottedI is the one rune whose unconditional lower case is two runes (i and a combining dot).
const dottedI = '\u0130'

// toLower maps a rune to lower case as Unicode 17 does, whatever version Go is at.
func toLower(r rune) rune {
	if r < 0x80 {
		if r >= 'A' && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}
	switch {
	case r >= 0x10D50 && r <= 0x10D65:
		return r + 0x20
	case r >= 0x16EA0 && r <= 0x16EB8:
		return r + 0x1B
	}
	switch r {
	case 0xA7CB:
		return 0x264
	case 0xA7DC:
		return 0x19B
	case 0x1C89, 0xA7CC, 0xA7CE, 0xA7D2, 0xA7D4, 0xA7DA:
		return r + 1
	}
	return unicode.ToLower(r)
}
