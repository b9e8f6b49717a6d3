package tokenizer

import "sort"

// unicodeScripts cuts where the script changes, the way SentencePiece keeps scripts apart: the Japanese syllabaries
// count as Han, and a space fits any of them.
type unicodeScripts struct{}

// scriptAny is the number of the script that fits any other: that of spaces and of code points without a script.
const scriptAny = 0

// scriptOf numbers the script of a rune.
func scriptOf(r rune) rune {
	n := len(scriptRuns) / 2
	i := sort.Search(n, func(i int) bool { return scriptRuns[2*i] > r })
	if i == 0 {
		return 0
	}
	return scriptRuns[2*i-1]
}

func (unicodeScripts) split(dst []piece, p piece) ([]piece, error) {
	start, last := -1, rune(-1)
	for i, r := range p.s {
		s := scriptOf(r)
		if s == scriptAny {
			continue
		}
		if s != last {
			if start >= 0 {
				dst = append(dst, piece{text: p.slice(start, i), added: notAdded})
			}
			start, last = i, s
		}
	}
	// What comes before the first script are dropped, as in the reference.
	if start >= 0 {
		dst = append(dst, piece{text: p.slice(start, len(p.s)), added: notAdded})
	}
	return dst, nil
}
