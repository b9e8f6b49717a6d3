package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// Encoding is a tokenized text. All slices have the length of IDs.
type Encoding struct {
	IDs     []int32
	Tokens  []string // as the vocabulary spells them; for added tokens the text that was found
	Offsets [][2]int // bytes [start, end) of the given text; {0, 0} for tokens that do not come from it
	TypeIDs []int32  // which segment a token belongs to, for models that tell segments apart
	// SequenceIDs is 0 for tokens of the first text, 1 for the second, and -1 for tokens that come from neither.
	SequenceIDs []int32
	SpecialMask []bool // tokens that the post-processor or padding put in
	Attention   []bool // false only for padding

	source string // the text, while there is just one
}

// Len returns the number of tokens.
func (e *Encoding) Len() int { return len(e.IDs) }

func (e *Encoding) add(id int32, value string, offsets [2]int, typeID, sequence int32, special, attention bool) {
	e.IDs = append(e.IDs, id)
	e.Tokens = append(e.Tokens, value)
	e.Offsets = append(e.Offsets, offsets)
	e.TypeIDs = append(e.TypeIDs, typeID)
	e.SequenceIDs = append(e.SequenceIDs, sequence)
	e.SpecialMask = append(e.SpecialMask, special)
	e.Attention = append(e.Attention, attention)
}

// window keeps the tokens [i, j).
func (e *Encoding) window(i, j int) {
	e.IDs, e.Tokens, e.Offsets, e.TypeIDs = e.IDs[i:j], e.Tokens[i:j], e.Offsets[i:j], e.TypeIDs[i:j]
	e.SequenceIDs, e.SpecialMask, e.Attention = e.SequenceIDs[i:j], e.SpecialMask[i:j], e.Attention[i:j]
}

// extend appends all tokens of x.
func (e *Encoding) extend(x *Encoding) {
	e.IDs = append(e.IDs, x.IDs...)
	e.Tokens = append(e.Tokens, x.Tokens...)
	e.Offsets = append(e.Offsets, x.Offsets...)
	e.TypeIDs = append(e.TypeIDs, x.TypeIDs...)
	e.SequenceIDs = append(e.SequenceIDs, x.SequenceIDs...)
	e.SpecialMask = append(e.SpecialMask, x.SpecialMask...)
	e.Attention = append(e.Attention, x.Attention...)
}

// trimOffsets takes the white space that byte-level tokens carry out of the offsets into source. With prefixSpace, the
// one space at the very start stays, because it is not in the text. A space counts as one rune of the text, whatever
// stands there: so it is in the reference.
func (e *Encoding) trimOffsets(source string, prefixSpace bool) {
	space := func(r rune) bool { return r == byteRune(' ') || isSpace(r) }
	for i, value := range e.Tokens {
		o := &e.Offsets[i]
		if o[1] > len(source) {
			continue // a token with a suffix that is not in the text
		}
		n := utf8.RuneCountInString(value)
		left := n - utf8.RuneCountInString(strings.TrimLeftFunc(value, space))
		right := n - utf8.RuneCountInString(strings.TrimRightFunc(value, space))
		if prefixSpace && left == 1 && (i == 0 || o[0] == 0) {
			left = 0
		}
		for ; left > 0 && o[0] < o[1]; left-- {
			_, width := utf8.DecodeRuneInString(source[o[0]:])
			o[0] = min(o[0]+width, o[1])
		}
		if o[1] < right*utf8.UTFMax && utf8.RuneCountInString(source[:o[1]]) < right {
			continue
		}
		for ; right > 0 && o[0] < o[1]; right-- {
			_, width := utf8.DecodeLastRuneInString(source[:o[1]])
			o[1] = max(o[1]-width, o[0])
		}
	}
}
