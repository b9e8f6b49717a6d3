package tokenizer

import (
	"encoding/json"
	"fmt"
	"sync"
	"unicode/utf8"
)

// notAdded marks a piece that is ordinary text.
const notAdded int32 = -1

// piece is a part of the text that goes to the model as a whole, or an added token that was found in the text.
type piece struct {
	text
	added int32 // id of the added token, or notAdded
}

// preTokenizer cuts a piece of ordinary text into smaller ones. Parts without text may be among them.
type preTokenizer interface {
	split(dst []piece, p piece) ([]piece, error)
}

// parsePreTokenizer reads the `pre_tokenizer` of a tokenizer.json; null gives nil.
func parsePreTokenizer(raw json.RawMessage, path string) (preTokenizer, error) {
	if isNull(raw) {
		return nil, nil
	}
	o, err := newObject(raw, path)
	if err != nil {
		return nil, err
	}
	var p preTokenizer
	switch kind := o.str("type"); kind {
	case "ByteLevel":
		p = parseByteLevel(o)
	case "Split":
		p = parseSplit(o)
	case "Whitespace":
		p = wordsAndSymbols{}
	case "WhitespaceSplit":
		p = splitter{pattern: runeFunc(isSpace), behavior: removed}
	case "BertPreTokenizer":
		p = bertPreTokenizer{}
	case "Punctuation":
		b := isolated
		if o.has("behavior") {
			b = parseBehavior(o, "behavior")
		}
		p = splitter{pattern: runeFunc(isPunctuation), behavior: b}
	case "Digits":
		b := contiguous
		if o.boolean("individual_digits") {
			b = isolated
		}
		p = splitter{pattern: runeFunc(isNumeric), behavior: b}
	case "CharDelimiterSplit", "Delimiter":
		p = splitter{pattern: literal(string(o.char("delimiter"))), behavior: removed}
	case "Metaspace":
		p = parseMetaspace(o)
	case "UnicodeScripts":
		p = unicodeScripts{}
	case "FixedLength":
		n := o.countOr("length", 5)
		if n == 0 {
			o.fail("length", "must be at least 1")
		}
		p = fixedLength(n)
	case "Sequence":
		var s preTokenizerSequence
		for i, raw := range o.list("pretokenizers") {
			sub, err := parsePreTokenizer(raw, fmt.Sprintf("%s[%d]", o.at("pretokenizers"), i))
			if err != nil {
				return nil, err
			}
			if sub != nil {
				s = append(s, sub)
			}
		}
		p = s
	default:
		o.fail("type", "%w: pre-tokenizer %q", ErrUnsupported, kind)
	}
	return p, o.close()
}

// preTokenizerSequence applies its members one after the other, each to all pieces the one before it made.
type preTokenizerSequence []preTokenizer

func (s preTokenizerSequence) split(dst []piece, p piece) ([]piece, error) {
	a, b := pieceBuffers.Get().(*[]piece), pieceBuffers.Get().(*[]piece)
	defer recycle(a)
	defer recycle(b)
	*a = append((*a)[:0], p)
	for i, sub := range s {
		next := (*b)[:0]
		last := i == len(s)-1
		if last {
			next = dst
		}
		for _, part := range *a {
			if part.s == "" {
				continue
			}
			var err error
			if next, err = sub.split(next, part); err != nil {
				return nil, err
			}
		}
		if last {
			return next, nil
		}
		*b = next
		a, b = b, a
	}
	return append(dst, *a...), nil
}

// Buffers that splitting needs for a moment.
var (
	pieceBuffers = sync.Pool{New: func() any { return new([]piece) }}
	matchBuffers = sync.Pool{New: func() any { return new([]match) }}
)

// recycle gives a buffer back, without the texts that it held. A large one is not worth clearing again and again.
func recycle(b *[]piece) {
	const limit = 1 << 12
	if cap(*b) <= limit {
		clear((*b)[:cap(*b)])
		pieceBuffers.Put(b)
	}
}

// splitter cuts at the hits of a pattern.
type splitter struct {
	pattern  pattern
	invert   bool // hits are gaps and gaps are hits
	behavior behavior
}

func parseSplit(o *object) preTokenizer {
	s := splitter{invert: o.boolean("invert"), behavior: parseBehavior(o, "behavior"), pattern: parsePattern(o, "pattern")}
	if re, ok := s.pattern.(regex); ok && re.re != nil {
		if scan := scannerFor(re.re.String()); scan != nil {
			s.pattern = scannerPattern{scan}
		}
	}
	return s
}

func (s splitter) split(dst []piece, p piece) ([]piece, error) {
	buf := matchBuffers.Get().(*[]match)
	defer matchBuffers.Put(buf)
	ms, err := s.pattern.find((*buf)[:0], p.s)
	if err != nil {
		return nil, err
	}
	*buf = ms
	if s.invert {
		for i := range ms {
			ms[i].hit = !ms[i].hit
		}
	}
	for _, m := range s.behavior.arrange(ms) {
		dst = append(dst, piece{text: p.slice(m.start, m.end), added: notAdded})
	}
	return dst, nil
}

// wordsAndSymbols keeps the matches of \w+|[^\w\s]+ and drops the rest.
type wordsAndSymbols struct{}

func (wordsAndSymbols) split(dst []piece, p piece) ([]piece, error) {
	kind := func(r rune) int {
		switch {
		case isWord(r):
			return 1
		case isSpace(r):
			return 0
		}
		return 2
	}
	start, current := 0, 0
	for i, r := range p.s {
		k := kind(r)
		if k == current {
			continue
		}
		if current != 0 {
			dst = append(dst, piece{text: p.slice(start, i), added: notAdded})
		}
		start, current = i, k
	}
	if current != 0 {
		dst = append(dst, piece{text: p.slice(start, len(p.s)), added: notAdded})
	}
	return dst, nil
}

// bertPreTokenizer drops white space and sets every punctuation mark apart.
type bertPreTokenizer struct{}

func (bertPreTokenizer) split(dst []piece, p piece) ([]piece, error) {
	start := 0
	for i, r := range p.s {
		space := isSpace(r)
		if !space && !isPunctuation(r) {
			continue
		}
		n := utf8.RuneLen(r)
		if i > start {
			dst = append(dst, piece{text: p.slice(start, i), added: notAdded})
		}
		if !space {
			dst = append(dst, piece{text: p.slice(i, i+n), added: notAdded})
		}
		start = i + n
	}
	if start < len(p.s) {
		dst = append(dst, piece{text: p.slice(start, len(p.s)), added: notAdded})
	}
	return dst, nil
}

// fixedLength cuts into pieces of so many runes.
type fixedLength int

func (f fixedLength) split(dst []piece, p piece) ([]piece, error) {
	start, count := 0, 0
	for i := range p.s {
		if count == int(f) {
			dst = append(dst, piece{text: p.slice(start, i), added: notAdded})
			start, count = i, 0
		}
		count++
	}
	return append(dst, piece{text: p.slice(start, len(p.s)), added: notAdded}), nil
}
