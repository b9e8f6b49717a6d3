package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// metaspace is SentencePiece's way with spaces: each becomes a visible mark (▁), one may be put in front, and the
// text is cut before every mark.
type metaspace struct {
	mark   rune
	scheme string // always, never or first: when to put a mark in front
	cut    bool
}

func parseMetaspace(o *object) metaspace {
	m := metaspace{mark: o.char("replacement"), scheme: "always", cut: o.boolOr("split", true)}
	if o.has("prepend_scheme") {
		m.scheme = o.oneOf("prepend_scheme", "always", "never", "first")
	}
	o.ignore("prepend_scheme", "str_rep")
	if o.has("add_prefix_space") && !o.boolean("add_prefix_space") {
		if o.has("prepend_scheme") && m.scheme != "never" {
			o.fail("add_prefix_space", "false contradicts prepend_scheme %q", m.scheme)
		}
		if !o.has("prepend_scheme") {
			o.fail("add_prefix_space", "false without prepend_scheme \"never\" contradicts its default \"always\"")
		}
	}
	o.ignore("add_prefix_space")
	return m
}

func (m metaspace) split(dst []piece, p piece) ([]piece, error) {
	mark := string(m.mark)
	if strings.IndexByte(p.s, ' ') >= 0 {
		if p.track {
			ms, err := literal(" ").find(nil, p.s)
			if err != nil {
				return nil, err
			}
			p.replace(ms, mark)
		} else {
			p.s = strings.ReplaceAll(p.s, " ", mark)
		}
	}
	if !strings.HasPrefix(p.s, mark) && (m.scheme == "always" || m.scheme == "first" && p.origin == 0) {
		p.prepend(mark)
	}
	if !m.cut {
		return append(dst, p), nil
	}
	start := 0
	for start < len(p.s) {
		_, first := utf8.DecodeRuneInString(p.s[start:])
		end := len(p.s)
		if i := strings.Index(p.s[start+first:], mark); i >= 0 {
			end = start + first + i
		}
		dst = append(dst, piece{text: p.slice(start, end), added: notAdded})
		start = end
	}
	return dst, nil
}
