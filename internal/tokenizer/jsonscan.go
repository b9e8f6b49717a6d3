package tokenizer

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The vocabulary of a large model is most of its tokenizer.json, and encoding/json takes most of a second to go through
// it again and again. These functions read JSON that is known to be valid, and only the shapes they are meant for: where
// they say no, encoding/json reads the value and words the error.

// jsonScanner walks over valid JSON.
type jsonScanner struct {
	s string
	i int
}

// next skips white space and tells the byte that follows, 0 at the end.
func (p *jsonScanner) next() byte {
	for p.i < len(p.s) {
		switch c := p.s[p.i]; c {
		case ' ', '\n', '\t', '\r':
			p.i++
		default:
			return c
		}
	}
	return 0
}

// take consumes the byte c if it follows.
func (p *jsonScanner) take(c byte) bool {
	if p.next() != c {
		return false
	}
	p.i++
	return true
}

// raw consumes a string and returns it with its quotes.
func (p *jsonScanner) raw() (string, bool) {
	if p.next() != '"' {
		return "", false
	}
	start := p.i
	for p.i++; p.i < len(p.s); p.i++ {
		switch p.s[p.i] {
		case '\\':
			p.i++
		case '"':
			p.i++
			return p.s[start:p.i], true
		}
	}
	return "", false
}

// str consumes a string and returns what it stands for.
func (p *jsonScanner) str() (string, bool) {
	raw, ok := p.raw()
	if !ok {
		return "", false
	}
	if s := raw[1 : len(raw)-1]; strings.IndexByte(s, '\\') < 0 && utf8.ValidString(s) {
		return s, true
	}
	var s string
	err := json.Unmarshal([]byte(raw), &s)
	return s, err == nil
}

// skip consumes any value.
func (p *jsonScanner) skip() bool {
	depth := 0
	for {
		switch c := p.next(); c {
		case 0:
			return false
		case '"':
			if _, ok := p.raw(); !ok {
				return false
			}
		case '{', '[':
			depth++
			p.i++
		case '}', ']':
			depth--
			p.i++
		case ',', ':':
			p.i++
			continue // within a value, and not the end of one
		default:
			for p.i < len(p.s) && strings.IndexByte(" \n\t\r,:{}[]\"", p.s[p.i]) < 0 {
				p.i++
			}
		}
		if depth == 0 {
			return true
		}
		if depth < 0 {
			return false
		}
	}
}

// scanObject divides a valid object into its fields.
func scanObject(raw json.RawMessage) (map[string]json.RawMessage, bool) {
	p := jsonScanner{s: string(raw)}
	if !p.take('{') {
		return nil, false
	}
	fields := map[string]json.RawMessage{}
	for n := 0; !p.take('}'); n++ {
		if n > 0 && !p.take(',') {
			return nil, false
		}
		key, ok := p.str()
		if !ok || !p.take(':') {
			return nil, false
		}
		p.next()
		start := p.i
		if !p.skip() {
			return nil, false
		}
		fields[key] = raw[start:p.i]
	}
	return fields, true
}

// scanVocab reads a valid {"token": id, …}.
func scanVocab(raw json.RawMessage) (map[string]int32, bool) {
	p := jsonScanner{s: string(raw)}
	if !p.take('{') {
		return nil, false
	}
	ids := make(map[string]int32, strings.Count(p.s, ","))
	for n := 0; !p.take('}'); n++ {
		if n > 0 && !p.take(',') {
			return nil, false
		}
		key, ok := p.str()
		if !ok || !p.take(':') {
			return nil, false
		}
		p.next()
		start := p.i
		for p.i < len(p.s) && (p.s[p.i] >= '0' && p.s[p.i] <= '9' || p.s[p.i] == '-') {
			p.i++
		}
		id, err := strconv.ParseInt(p.s[start:p.i], 10, 32)
		if err != nil {
			return nil, false
		}
		ids[key] = int32(id)
	}
	return ids, true
}

// scanPairs reads a valid [["a", "b"], …].
func scanPairs(raw json.RawMessage) ([][2]string, bool) {
	p := jsonScanner{s: string(raw)}
	if !p.take('[') {
		return nil, false
	}
	var pairs [][2]string
	for n := 0; !p.take(']'); n++ {
		if n > 0 && !p.take(',') || !p.take('[') {
			return nil, false
		}
		a, ok := p.str()
		if !ok || !p.take(',') {
			return nil, false
		}
		b, ok := p.str()
		if !ok || !p.take(']') {
			return nil, false
		}
		pairs = append(pairs, [2]string{a, b})
	}
	return pairs, true
}
