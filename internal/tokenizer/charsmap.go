package tokenizer

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// charsMap is SentencePiece's precompiled normalisation: a double-array trie from strings to their replacements.
type charsMap struct {
	units        []uint32
	replacements string // NUL-terminated
	ascii        [128]string
	hasASCII     [128]bool
}

func parsePrecompiled(o *object) normalizer {
	raw, err := base64.StdEncoding.DecodeString(o.str("precompiled_charsmap"))
	if err != nil {
		o.fail("precompiled_charsmap", "expected base64: %w", err)
		return nil
	}
	m, err := newCharsMap(raw)
	if err != nil {
		o.fail("precompiled_charsmap", "%w", err)
		return nil
	}
	return m
}

// newCharsMap reads a uint32 with the trie's size in bytes, the trie's units, and the replacements.
func newCharsMap(raw []byte) (*charsMap, error) {
	if len(raw) < 4 {
		return nil, fmt.Errorf("charsmap of %d bytes has no header", len(raw))
	}
	size := binary.LittleEndian.Uint32(raw)
	raw = raw[4:]
	if size%4 != 0 || uint64(size) > uint64(len(raw)) {
		return nil, fmt.Errorf("charsmap says its trie has %d bytes, but %d follow", size, len(raw))
	}
	m := &charsMap{units: make([]uint32, size/4), replacements: string(raw[size:])}
	for i := range m.units {
		m.units[i] = binary.LittleEndian.Uint32(raw[4*i:])
	}
	if !utf8.ValidString(m.replacements) {
		return nil, fmt.Errorf("charsmap: replacements are %w", ErrInvalidUTF8)
	}
	for c := range m.ascii {
		m.ascii[c], m.hasASCII[c] = m.lookup(string(rune(c)))
	}
	return m, nil
}

// lookup returns the replacement of the shortest key that s begins with.
func (m *charsMap) lookup(s string) (string, bool) {
	// A unit holds a label in the low byte, a leaf flag in bit 8, and an offset to its children in the rest.
	if len(m.units) == 0 {
		return "", false
	}
	offset := func(u uint32) uint32 { return u >> 10 << (u & (1 << 9) >> 6) }
	at := offset(m.units[0])
	for i := range len(s) {
		c := uint32(s[i])
		if c == 0 {
			break
		}
		at ^= c
		if int(at) >= len(m.units) {
			break
		}
		u := m.units[at]
		if u&(1<<31|0xFF) != c {
			break
		}
		at ^= offset(u)
		if u>>8&1 == 1 {
			if int(at) >= len(m.units) {
				break
			}
			v := m.units[at] & (1<<31 - 1)
			if int(v) > len(m.replacements) {
				break
			}
			r := m.replacements[v:]
			if k := strings.IndexByte(r, 0); k >= 0 {
				r = r[:k]
			}
			return r, true
		}
	}
	return "", false
}

// normalize replaces grapheme by grapheme, and where a grapheme has no replacement, rune by rune.
func (m *charsMap) normalize(t *text) error {
	if !t.track {
		t.s = m.rewrite(t.s)
		return nil
	}
	var changes []change
	modified := false
	m.walk(t.s, func(old, new string, replaced bool) {
		if !replaced {
			for _, r := range old {
				changes = append(changes, change{r, 0})
			}
			return
		}
		modified = true
		from := len(changes)
		for _, r := range new {
			changes = append(changes, change{r, 0})
		}
		diff := utf8.RuneCountInString(new) - utf8.RuneCountInString(old)
		for i := len(changes) - 1; diff > 0 && i >= from; i-- {
			changes[i].n = 1
			diff--
		}
		if diff < 0 && len(changes) > 0 {
			changes[len(changes)-1].n += diff
		}
	})
	if modified {
		t.transform(changes, 0)
	}
	return nil
}

// rewrite is normalize without alignment.
func (m *charsMap) rewrite(s string) string {
	var out []byte
	done := 0 // s up to here is in out
	at := 0
	m.walk(s, func(old, new string, replaced bool) {
		if replaced && old != new {
			out = append(out, s[done:at]...)
			out = append(out, new...)
			done = at + len(old)
		}
		at += len(old)
	})
	if done == 0 && out == nil {
		return s
	}
	return string(append(out, s[done:]...))
}

// maxGrapheme is the length in bytes from which a grapheme is only replaced rune by rune.
const maxGrapheme = 6

func (m *charsMap) walk(s string, emit func(old, new string, replaced bool)) {
	for len(s) > 0 {
		// Between two ASCII characters there is a grapheme boundary, except within CR LF.
		if c := s[0]; c < utf8.RuneSelf && (len(s) == 1 || s[1] < utf8.RuneSelf && c != '\r') {
			emit(s[:1], m.ascii[c], m.hasASCII[c])
			s = s[1:]
			continue
		}
		g, rest, _, _ := uniseg.FirstGraphemeClusterInString(s, -1)
		s = rest
		if len(g) < maxGrapheme {
			if r, ok := m.lookup(g); ok {
				emit(g, r, true)
				continue
			}
		}
		for i, r := range g {
			part := g[i : i+utf8.RuneLen(r)]
			r, ok := m.lookup(part)
			emit(part, r, ok)
		}
	}
}
