package tokenizer

import (
	"fmt"
	"unicode/utf8"
)

// wordPiece is BERT's model: from left to right, always the longest token that fits; parts after the first carry a
// prefix. A word in which some part fits nothing is unknown as a whole.
type wordPiece struct {
	*vocabulary
	unkToken string
	unk      int32 // noID when the vocabulary does not have it
	prefix   string
	maxRunes int // longer words are unknown
	maxBytes int // of the longest token
}

func parseWordPiece(o *object) model {
	m := wordPiece{
		vocabulary: parseVocabulary(o),
		unkToken:   o.str("unk_token"),
		prefix:     o.str("continuing_subword_prefix"),
		maxRunes:   o.count("max_input_chars_per_word"),
		unk:        noID,
	}
	if o.err != nil {
		return nil
	}
	if id, ok := m.ids[m.unkToken]; ok {
		m.unk = id
	}
	for s := range m.ids {
		m.maxBytes = max(m.maxBytes, len(s))
	}
	return m
}

func (m wordPiece) tokenize(dst []token, s string) ([]token, error) {
	begin := len(dst)
	known := utf8.RuneCountInString(s) <= m.maxRunes
	buf := []byte(m.prefix)
	for start := 0; known && start < len(s); {
		end := min(len(s), start+m.maxBytes)
		for end < len(s) && end > start && !utf8.RuneStart(s[end]) {
			end--
		}
		known = false
		for end > start {
			var id int32
			var ok bool
			if start == 0 {
				id, ok = m.ids[s[:end]]
			} else {
				buf = append(buf[:len(m.prefix)], s[start:end]...)
				id, ok = m.ids[string(buf)]
			}
			if ok {
				dst = append(dst, token{id, start, end})
				start, known = end, true
				break
			}
			_, n := utf8.DecodeLastRuneInString(s[start:end])
			end -= n
		}
	}
	if known {
		return dst, nil
	}
	if m.unk == noID {
		return dst[:begin], fmt.Errorf("the unknown token %q is not in the vocabulary", m.unkToken)
	}
	return append(dst[:begin], token{m.unk, 0, len(s)}), nil
}

// wordLevel knows whole words only.
type wordLevel struct {
	*vocabulary
	unkToken string
}

func parseWordLevel(o *object) model {
	return wordLevel{parseVocabulary(o), o.str("unk_token")}
}

func (m wordLevel) tokenize(dst []token, s string) ([]token, error) {
	id, ok := m.ids[s]
	if !ok {
		if id, ok = m.ids[m.unkToken]; !ok {
			return dst, fmt.Errorf("%q is not in the vocabulary, nor is the unknown token %q", s, m.unkToken)
		}
	}
	return append(dst, token{id, 0, len(s)}), nil
}
