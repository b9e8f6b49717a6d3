package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// span is a half-open range [start, end) of bytes of the original text.
type span struct{ start, end int }

// text is a part of the input while it is being normalised and split.
//
// When track is set, the original byte range of every byte of s is known: align holds it, or, with align nil, s is
// still the original text that begins at byte origin, and the range of a byte is that of its rune.
type text struct {
	s      string
	align  []span
	origin int
	track  bool
}

// slice returns the bytes [i, j) of t.
func (t text) slice(i, j int) text {
	r := text{s: t.s[i:j], track: t.track, origin: t.origin + i}
	if t.align != nil {
		r.align = t.align[i:j]
		if i < j {
			r.origin = t.align[i].start
		}
	}
	return r
}

// original returns the range of the original text that the bytes [i, j) of t come from.
func (t text) original(i, j int) span {
	switch {
	case j > len(t.s):
		return span{i, j} // as the reference has it for tokens with a suffix that is not in the text
	case i >= j:
		return span{t.origin + i, t.origin + j}
	}
	if t.align != nil {
		return span{t.align[i].start, t.align[j-1].end}
	}
	for i > 0 && !utf8.RuneStart(t.s[i]) {
		i--
	}
	for j < len(t.s) && !utf8.RuneStart(t.s[j]) {
		j++
	}
	return span{t.origin + i, t.origin + j}
}

// materialise fills align for a text that is still the original.
func (t *text) materialise() {
	if t.align != nil || !t.track {
		return
	}
	t.align = make([]span, len(t.s))
	for i := 0; i < len(t.s); {
		_, n := utf8.DecodeRuneInString(t.s[i:])
		for k := range n {
			t.align[i+k] = span{t.origin + i, t.origin + i + n}
		}
		i += n
	}
}

// change is one rune of a rewritten text and how it came about: 0 replaces the next rune of the old text, a positive
// number inserts, and -n replaces the next rune and removes n more after it.
type change struct {
	r rune
	n int
}

// transform rewrites t as a sequence of changes, dropping the first `skip` runes of the old text, and carries the
// alignment over: an inserted rune belongs to what stood before it.
func (t *text) transform(changes []change, skip int) {
	t.materialise()
	old, pos := t.s, 0
	next := func() {
		if pos < len(old) {
			_, n := utf8.DecodeRuneInString(old[pos:])
			pos += n
		}
	}
	for range skip {
		next()
	}
	out := make([]byte, 0, len(old))
	var align []span
	if t.track {
		align = make([]span, 0, len(old))
	}
	for _, c := range changes {
		before := len(out)
		out = utf8.AppendRune(out, c.r)
		if t.track {
			var a span
			switch {
			case c.n <= 0 && pos < len(old):
				a = t.align[pos]
			case pos == 0:
				a = span{t.origin, t.origin}
			default:
				a = t.align[pos-1]
			}
			for range len(out) - before {
				align = append(align, a)
			}
		}
		if c.n <= 0 {
			next()
			for range -c.n {
				next()
			}
		}
	}
	t.s, t.align = string(out), align
}

// filter keeps the runes for which keep is true.
func (t *text) filter(keep func(rune) bool) {
	all := true
	for _, r := range t.s {
		if !keep(r) {
			all = false
			break
		}
	}
	if all {
		return
	}
	if !t.track {
		out := make([]byte, 0, len(t.s))
		for _, r := range t.s {
			if keep(r) {
				out = utf8.AppendRune(out, r)
			}
		}
		t.s = string(out)
		return
	}
	var changes []change
	removed, skip := 0, 0
	for _, r := range t.s {
		if !keep(r) {
			removed++
			continue
		}
		if len(changes) == 0 {
			skip = removed
		} else {
			changes[len(changes)-1].n = -removed
		}
		changes = append(changes, change{r: r})
		removed = 0
	}
	if len(changes) > 0 {
		changes[len(changes)-1].n = -removed
	}
	t.transform(changes, skip)
}

// mapRunes replaces every rune by f of it.
func (t *text) mapRunes(f func(rune) rune) {
	same := true
	for _, r := range t.s {
		if f(r) != r {
			same = false
			break
		}
	}
	if same {
		return
	}
	if !t.track {
		t.s = strings.Map(f, t.s)
		return
	}
	changes := make([]change, 0, len(t.s))
	for _, r := range t.s {
		changes = append(changes, change{r: f(r)})
	}
	t.transform(changes, 0)
}

// prepend puts s before a text that is not empty.
func (t *text) prepend(s string) {
	if t.s == "" || s == "" {
		return
	}
	if t.track {
		t.materialise()
		first := t.align[0]
		align := make([]span, 0, len(s)+len(t.align))
		for range len(s) {
			align = append(align, first)
		}
		t.align = append(align, t.align...)
	}
	t.s = s + t.s
}

// replace puts content in place of every match.
func (t *text) replace(matches []match, content string) {
	if len(matches) == 0 || len(matches) == 1 && !matches[0].hit {
		return
	}
	t.materialise()
	n := 0
	for _, m := range matches {
		if m.hit {
			n += len(content)
		} else {
			n += m.end - m.start
		}
	}
	out := make([]byte, 0, n)
	var align []span
	if t.track {
		align = make([]span, 0, n)
	}
	for _, m := range matches {
		if !m.hit {
			out = append(out, t.s[m.start:m.end]...)
			if t.track {
				align = append(align, t.align[m.start:m.end]...)
			}
			continue
		}
		out = append(out, content...)
		if !t.track {
			continue
		}
		a := span{t.origin, t.origin}
		if m.end > 0 {
			a = t.align[m.end-1]
		}
		for range len(content) {
			align = append(align, a)
		}
	}
	t.s, t.align = string(out), align
}
