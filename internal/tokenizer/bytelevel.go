package tokenizer

import (
	"unicode/utf8"
)

// byteLevel is GPT-2's pre-tokenizer: it splits at a pattern, then writes every byte as a printable rune, so that a
// model over runes is a model over bytes.
type byteLevel struct {
	addPrefixSpace bool
	useRegex       bool
}

func parseByteLevel(o *object) byteLevel {
	o.boolean("trim_offsets")
	return byteLevel{o.boolean("add_prefix_space"), o.boolOr("use_regex", true)}
}

func (b byteLevel) split(dst []piece, p piece) ([]piece, error) {
	b.prefix(&p.text)
	if !b.useRegex {
		p.toByteLevel()
		return append(dst, p), nil
	}
	for i := 0; i < len(p.s); {
		j := scanGPT2(p.s, i)
		part := piece{text: p.slice(i, j), added: notAdded}
		part.toByteLevel()
		dst = append(dst, part)
		i = j
	}
	return dst, nil
}

func (b byteLevel) prefix(t *text) {
	if b.addPrefixSpace && t.s != "" && t.s[0] != ' ' {
		t.prepend(" ")
	}
}

// toByteLevel writes every byte of t as the rune that stands for it.
func (t *text) toByteLevel() {
	plain := true
	for i := 0; i < len(t.s); i++ {
		if c := t.s[i]; c <= ' ' || c >= 0x7F {
			plain = false
			break
		}
	}
	if plain {
		return
	}
	t.materialise()
	out := make([]byte, 0, len(t.s)+len(t.s)/2)
	var align []span
	if t.track {
		align = make([]span, 0, cap(out))
	}
	for i := 0; i < len(t.s); i++ {
		before := len(out)
		out = utf8.AppendRune(out, byteRune(t.s[i]))
		if t.track {
			for range len(out) - before {
				align = append(align, t.align[i])
			}
		}
	}
	t.s, t.align = string(out), align
}

// byteRune is GPT-2's printable rune for a byte: itself where that is printable, else one from U+0100 on.
func byteRune(b byte) rune {
	switch {
	case b >= '!' && b <= '~', b >= 0xA1 && b <= 0xAC, b >= 0xAE:
		return rune(b)
	case b <= ' ':
		return 0x100 + rune(b)
	case b <= 0xA0:
		return 0x121 + rune(b-0x7F)
	}
	return 0x143 // soft hyphen, 0xAD
}

// runeByte undoes byteRune.
func runeByte(r rune) (byte, bool) {
	switch {
	case r >= '!' && r <= '~', r >= 0xA1 && r <= 0xAC, r >= 0xAE && r <= 0xFF:
		return byte(r), true
	case r >= 0x100 && r <= 0x120:
		return byte(r - 0x100), true
	case r >= 0x121 && r <= 0x142:
		return byte(r - 0x121 + 0x7F), true
	case r == 0x143:
		return 0xAD, true
	}
	return 0, false
}

// appendBytes appends the bytes that a token in byte-level notation stands for; a token with any rune outside that
// notation stands for itself.
func appendBytes(dst []byte, token string) []byte {
	n := len(dst)
	for _, r := range token {
		b, ok := runeByte(r)
		if !ok {
			return append(dst[:n], token...)
		}
		dst = append(dst, b)
	}
	return dst
}
