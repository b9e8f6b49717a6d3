package tokenizer

import (
	"sync"
	"unicode"
)

// dottedI is the one rune whose unconditional lower case is two runes (i and a combining dot).
const dottedI = '\u0130'

// Bits of a rune's class, as the split patterns of GPT-2 and its successors see it.
const (
	classLetter  uint8 = 1 << iota // \p{L}
	classNumber                    // \p{N}
	classSpace                     // \s
	classNewline                   // \r or \n
)

// classTable holds the class of every rune, in pages of 256.
type classTable struct {
	ascii [128]uint8
	index [(unicode.MaxRune + 1) / 256]uint16
	pages [][256]uint8
}

// classes builds the table once; it never changes afterwards.
var classes = sync.OnceValue(func() *classTable {
	flat := make([]uint8, unicode.MaxRune+1)
	mark := func(t *unicode.RangeTable, bit uint8) {
		for _, r := range t.R16 {
			for c := uint32(r.Lo); c <= uint32(r.Hi); c += uint32(r.Stride) {
				flat[c] |= bit
			}
		}
		for _, r := range t.R32 {
			for c := r.Lo; c <= r.Hi; c += r.Stride {
				flat[c] |= bit
			}
		}
	}
	mark(unicode.L, classLetter)
	mark(unicode.N, classNumber)
	mark(unicode.White_Space, classSpace)
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
	return t.pages[t.index[r>>8]][r&0xFF]
}

// isWord is \w of Rust's regex crate: Alphabetic, M, Nd, Pc and Join_Control.
func isWord(r rune) bool {
	if r < 0x80 {
		return r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	}
	return unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Nl, unicode.Pc, unicode.Other_Alphabetic,
		unicode.Join_Control)
}

func isCombiningMark(r rune) bool { return unicode.Is(unicode.M, r) }

func isPunctuation(r rune) bool {
	if r < 0x80 {
		return r >= '!' && r <= '/' || r >= ':' && r <= '@' || r >= '[' && r <= '`' || r >= '{' && r <= '~'
	}
	return unicode.Is(unicode.P, r)
}

func toLower(r rune) rune { return unicode.ToLower(r) }
