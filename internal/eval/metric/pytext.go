package metric

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// The reference programs are written in Python, and what it takes for a space
// or a small letter shows in their numbers.

// isSpace reports whether Python's str.split would cut at r: Unicode's spaces
// and the four information separators of ASCII.
func isSpace(r rune) bool {
	return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f
}

// fields cuts text at runs of spaces.
func fields(text string) []string { return strings.FieldsFunc(text, isSpace) }

// lower is Python's str.lower: full case mapping, in which İ becomes two
// characters and a Greek sigma at the end of a word its final form.
func lower(text string) string {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return cases.Lower(language.Und).String(text)
		}
	}
	return strings.ToLower(text)
}

// isPunct reports whether r is one of ASCII's punctuation marks.
func isPunct(r rune) bool {
	return r >= '!' && r <= '/' || r >= ':' && r <= '@' || r >= '[' && r <= '`' || r >= '{' && r <= '~'
}

// words are the tokens of a text as spans of one string in which single spaces
// separate them, so that an n-gram is a piece of that string.
type words struct {
	line   string
	starts []int
	ends   []int
}

func newWords(tokens []string) words {
	w := words{line: strings.Join(tokens, " "), starts: make([]int, len(tokens)), ends: make([]int, len(tokens))}
	at := 0
	for i, t := range tokens {
		w.starts[i], w.ends[i] = at, at+len(t)
		at += len(t) + 1
	}
	return w
}

// characters are the runes of a text, so that an n-gram is a piece of it.
func characters(text string) words {
	w := words{line: text}
	for at := 0; at < len(text); {
		_, size := utf8.DecodeRuneInString(text[at:])
		w.starts = append(w.starts, at)
		at += size
		w.ends = append(w.ends, at)
	}
	return w
}

func (w words) len() int { return len(w.starts) }

// ngrams counts the n-grams of order n; nil when there are none.
func (w words) ngrams(n int) map[string]int {
	most := w.len() - n + 1
	if most <= 0 {
		return nil
	}
	counts := make(map[string]int, most)
	for i := range most {
		counts[w.line[w.starts[i]:w.ends[i+n-1]]]++
	}
	return counts
}

// overlap is Σ min(a, b) over the n-grams of both.
func overlap(a, b map[string]int) int {
	n := 0
	for gram, count := range a {
		n += min(count, b[gram])
	}
	return n
}
