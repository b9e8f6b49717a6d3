package tokenizer

import (
	"unicode/utf8"
)

// Hand-written matchers for the split patterns that nearly all byte-level tokenizers use. Each takes a text and a
// position and returns the end of the match that begins there; the patterns match at every position. A property test
// holds them equal to the regular expressions.

// The patterns, as tokenizer.json files spell them.
const (
	patternGPT2 = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	// Llama 3 and cl100k (GPT-4); Qwen 2 and 3 differ in taking digits one by one.
	patternLlama3 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternQwen2  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

// scanFunc returns the end of the part of s that begins at i < len(s).
type scanFunc func(s string, i int) int

// scannerFor returns the matcher of a known pattern, nil for any other.
func scannerFor(expr string) scanFunc {
	switch expr {
	case patternGPT2:
		return scanGPT2
	case patternLlama3:
		return func(s string, i int) int { return scanGPT4(s, i, 3) }
	case patternQwen2:
		return func(s string, i int) int { return scanGPT4(s, i, 1) }
	}
	return nil
}

// scannerPattern is a split pattern with a hand-written matcher.
type scannerPattern struct{ scan scanFunc }

func (p scannerPattern) find(dst []match, s string) ([]match, error) {
	for i := 0; i < len(s); {
		j := p.scan(s, i)
		dst = append(dst, match{i, j, true})
		i = j
	}
	return dst, nil
}

// classAt returns the class and width of the rune of s at i.
func classAt(t *classTable, s string, i int) (uint8, int) {
	if c := s[i]; c < utf8.RuneSelf {
		return t.ascii[c], 1
	}
	r, n := utf8.DecodeRuneInString(s[i:])
	return t.of(r), n
}

// run advances i over runes that have, of the bits in mask, exactly those in want.
func run(t *classTable, s string, i int, mask, want uint8) int {
	for i < len(s) {
		c, n := classAt(t, s, i)
		if c&mask != want {
			break
		}
		i += n
	}
	return i
}

// runLetters advances i over letters.
func runLetters(t *classTable, s string, i int) int {
	for i < len(s) {
		if c := s[i]; c < utf8.RuneSelf {
			if t.ascii[c]&classLetter == 0 {
				return i
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if t.of(r)&classLetter == 0 {
			return i
		}
		i += n
	}
	return i
}

const classVisible = classLetter | classNumber | classSpace // none of these: punctuation, symbols, marks, controls

// spaces finds the end of \s+(?!\S)|\s+ from i on, where s[i] is white space: the last space before something visible
// is left for it, unless it is the only one.
func spaces(t *classTable, s string, i int) int {
	last, end := i, i
	for end < len(s) {
		c, n := classAt(t, s, end)
		if c&classSpace == 0 {
			break
		}
		last = end
		end += n
	}
	if end < len(s) && last > i {
		return last
	}
	return end
}

// contraction returns the length of 's 't 're 've 'm 'll 'd at the start of s, 0 if there is none. With fold, case
// does not matter, and as in Unicode's simple folding ſ (U+017F) is an s.
func contraction(s string, fold bool) int {
	if len(s) < 2 {
		return 0
	}
	lower := func(b byte) byte {
		if fold && b >= 'A' && b <= 'Z' {
			return b + 'a' - 'A'
		}
		return b
	}
	switch a := lower(s[1]); a {
	case 's', 't', 'm', 'd':
		return 2
	case 'r', 'v', 'l':
		want := byte('e')
		if a == 'l' {
			want = 'l'
		}
		if len(s) > 2 && lower(s[2]) == want {
			return 3
		}
	case 0xC5: // ſ is C5 BF
		if fold && len(s) > 2 && s[2] == 0xBF {
			return 3
		}
	}
	return 0
}

func scanGPT2(s string, i int) int {
	t := classes()
	if s[i] == '\'' {
		if n := contraction(s[i:], false); n > 0 {
			return i + n
		}
	}
	j := i
	if s[i] == ' ' {
		j++
		if j == len(s) {
			return j
		}
	}
	c, n := classAt(t, s, j)
	switch {
	case c&classLetter != 0:
		return runLetters(t, s, j+n)
	case c&classNumber != 0:
		return run(t, s, j+n, classNumber, classNumber)
	case c&classSpace == 0:
		return run(t, s, j+n, classVisible, 0)
	}
	return spaces(t, s, i)
}

// scanGPT4 matches patternLlama3 or, with digits 1, patternQwen2.
func scanGPT4(s string, i, digits int) int {
	t := classes()
	if s[i] == '\'' {
		if n := contraction(s[i:], true); n > 0 {
			return i + n
		}
	}
	c, n := classAt(t, s, i)
	// [^\r\n\p{L}\p{N}]?\p{L}+
	if c&classLetter != 0 {
		return runLetters(t, s, i+n)
	}
	if c&(classNewline|classNumber) == 0 {
		if j := runLetters(t, s, i+n); j > i+n {
			return j
		}
	}
	// \p{N}{1,digits}
	if c&classNumber != 0 {
		j := i + n
		for k := 1; k < digits && j < len(s); k++ {
			c, n := classAt(t, s, j)
			if c&classNumber == 0 {
				break
			}
			j += n
		}
		return j
	}
	// ' ?[^\s\p{L}\p{N}]+[\r\n]*'
	j := i
	if s[i] == ' ' {
		j++
	}
	if k := run(t, s, j, classVisible, 0); k > j {
		return run(t, s, k, classNewline, classNewline)
	}
	// \s*[\r\n]+|\s+(?!\S)|\s+
	end := run(t, s, i, classSpace, classSpace)
	for k := end; k > i; k-- {
		if s[k-1] == '\n' || s[k-1] == '\r' {
			return k
		}
	}
	return spaces(t, s, i)
}
