package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// normalizer rewrites a text before it is split.
type normalizer interface {
	normalize(t *text) error
}

// parseNormalizer reads the `normalizer` of a tokenizer.json; null gives nil.
func parseNormalizer(raw json.RawMessage, path string) (normalizer, error) {
	if isNull(raw) {
		return nil, nil
	}
	o, err := newObject(raw, path)
	if err != nil {
		return nil, err
	}
	var n normalizer
	switch kind := o.str("type"); kind {
	case "NFC":
		n = nfc
	case "NFD":
		n = nfd
	case "NFKC":
		n = nfkc
	case "NFKD":
		n = nfkd
	case "Lowercase":
		n = lowercase{}
	case "Strip":
		n = strip{o.boolean("strip_left"), o.boolean("strip_right")}
	case "StripAccents":
		n = stripAccents{}
	case "Nmt":
		n = nmt{}
	case "Replace":
		n = replace{parsePattern(o, "pattern"), o.str("content")}
	case "Prepend":
		n = prepend(o.str("prepend"))
	case "ByteLevel":
		n = byteLevelNormalizer{}
	case "BertNormalizer", "Bert":
		n = parseBertNormalizer(o)
	case "Precompiled":
		n = parsePrecompiled(o)
	case "Sequence":
		var s normalizerSequence
		for i, raw := range o.list("normalizers") {
			sub, err := parseNormalizer(raw, fmt.Sprintf("%s[%d]", o.at("normalizers"), i))
			if err != nil {
				return nil, err
			}
			if sub != nil {
				s = append(s, sub)
			}
		}
		n = s
	default:
		o.fail("type", "%w: normalizer %q", ErrUnsupported, kind)
	}
	return n, o.close()
}

// normalizerSequence applies its normalizers one after the other.
type normalizerSequence []normalizer

func (s normalizerSequence) normalize(t *text) error {
	for _, n := range s {
		if err := n.normalize(t); err != nil {
			return err
		}
	}
	return nil
}

// prepend puts a string before a text that is not empty.
type prepend string

func (p prepend) normalize(t *text) error {
	t.prepend(string(p))
	return nil
}

// replace puts content in place of whatever the pattern matches.
type replace struct {
	pattern pattern
	content string
}

func (r replace) normalize(t *text) error {
	if p, ok := r.pattern.(literal); ok && !t.track && p != "" {
		t.s = strings.ReplaceAll(t.s, string(p), r.content)
		return nil
	}
	ms, err := r.pattern.find(nil, t.s)
	if err != nil {
		return err
	}
	t.replace(ms, r.content)
	return nil
}

// strip removes white space at the ends.
type strip struct{ left, right bool }

func (s strip) normalize(t *text) error {
	i, j := 0, len(t.s)
	if s.left {
		i = len(t.s) - len(strings.TrimLeftFunc(t.s, isSpace))
	}
	if s.right && i < j {
		j = i + len(strings.TrimRightFunc(t.s[i:], isSpace))
	}
	if i == 0 && j == len(t.s) {
		return nil
	}
	t.materialise()
	t.s = t.s[i:j]
	if t.track {
		t.align = t.align[i:j]
	}
	return nil
}

// stripAccents removes all combining marks (general category M).
type stripAccents struct{}

func (stripAccents) normalize(t *text) error {
	t.filter(func(r rune) bool { return !isCombiningMark(r) })
	return nil
}

// lowercase maps every rune to lower case, whatever its surroundings.
type lowercase struct{}

func (lowercase) normalize(t *text) error {
	changed := false
	for _, r := range t.s {
		if toLower(r) != r || r == dottedI {
			changed = true
			break
		}
	}
	if !changed {
		return nil
	}
	if !t.track {
		out := make([]byte, 0, len(t.s)+8)
		for i, r := range t.s {
			out = appendLower(out, t.s[i:i+utf8.RuneLen(r)], true)
		}
		t.s = string(out)
		return nil
	}
	changes := make([]change, 0, len(t.s))
	for _, r := range t.s {
		if r == dottedI {
			changes = append(changes, change{'i', 0}, change{'\u0307', 1})
			continue
		}
		changes = append(changes, change{toLower(r), 0})
	}
	t.transform(changes, 0)
	return nil
}

// nmt is SentencePiece's clean-up for machine translation: control characters go, unusual white space becomes a space.
type nmt struct{}

func (nmt) normalize(t *text) error {
	t.filter(func(r rune) bool {
		switch {
		case r >= 0x01 && r <= 0x08, r == 0x0B, r >= 0x0E && r <= 0x1F, r == 0x7F, r == 0x8F, r == 0x9F:
			return false
		}
		return true
	})
	t.mapRunes(func(r rune) rune {
		switch {
		case r == 0x09, r == 0x0A, r == 0x0C, r == 0x0D, r == 0x1680, r >= 0x200B && r <= 0x200F, r == 0x2028,
			r == 0x2029, r == 0x2581, r == 0xFEFF, r == 0xFFFD:
			return ' '
		}
		return r
	})
	return nil
}

// byteLevelNormalizer writes every byte as the printable rune that stands for it.
type byteLevelNormalizer struct{}

func (byteLevelNormalizer) normalize(t *text) error {
	t.toByteLevel()
	return nil
}
