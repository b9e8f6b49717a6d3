package metric

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/dlclark/regexp2/v2"
)

// NormalizeAnswer prepares an answer for comparison as SQuAD's script does:
// small letters, without ASCII punctuation, without the articles a, an and the,
// single spaces.
func NormalizeAnswer(text string) string {
	text = strings.Map(func(r rune) rune {
		if isPunct(r) {
			return -1
		}
		return r
	}, lower(text))
	return strings.Join(fields(dropArticles(text)), " ")
}

// dropArticles puts a space for every article that stands as a word of its own.
func dropArticles(text string) string {
	runes := []rune(text)
	var b strings.Builder
	for i := 0; i < len(runes); {
		if !isWordRune(runes[i]) {
			b.WriteRune(runes[i])
			i++
			continue
		}
		end := i
		for end < len(runes) && isWordRune(runes[end]) {
			end++
		}
		switch word := string(runes[i:end]); word {
		case "a", "an", "the":
			b.WriteByte(' ')
		default:
			b.WriteString(word)
		}
		i = end
	}
	return b.String()
}

// isWordRune reports whether Python's \w matches r.
func isWordRune(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r) }

// ExactMatch is 1 if the normalised prediction is one of the normalised
// references, else 0. Source: SQuAD v1.1's evaluation script.
func ExactMatch(prediction string, references []string) float64 {
	p := NormalizeAnswer(prediction)
	for _, r := range references {
		if NormalizeAnswer(r) == p {
			return 1
		}
	}
	return 0
}

// TokenF1 is the F1 of the words that prediction and reference share after
// normalisation, the best over the references: with m words in common,
// P = m/|prediction|, R = m/|reference|, F1 = 2PR/(P+R). If either has no words
// it is 1 when both have none, else 0. Source: SQuAD v2.0's evaluation script.
func TokenF1(prediction string, references []string) float64 {
	best := 0.0
	p := newWords(fields(NormalizeAnswer(prediction)))
	for _, reference := range references {
		r := newWords(fields(NormalizeAnswer(reference)))
		if p.len() == 0 || r.len() == 0 {
			if p.len() == r.len() {
				best = 1
			}
			continue
		}
		if same := overlap(p.ngrams(1), r.ngrams(1)); same > 0 {
			precision, recall := float64(same)/float64(p.len()), float64(same)/float64(r.len())
			best = max(best, 2*precision*recall/(precision+recall))
		}
	}
	return best
}

// Matcher compares texts as lm-evaluation-harness's exact_match does: what
// Ignore matches is taken out first, then case, ASCII punctuation and digits,
// as far as they are to be ignored.
type Matcher struct {
	Ignore            []*regexp2.Regexp
	IgnoreCase        bool
	IgnorePunctuation bool
	IgnoreNumbers     bool
}

// NewMatcher compiles regular expressions in Python's syntax for Ignore.
func NewMatcher(patterns []string) (*Matcher, error) {
	m := &Matcher{}
	for _, p := range patterns {
		re, err := regexp2.Compile(p, regexp2.None)
		if err != nil {
			return nil, fmt.Errorf("regular expression %q: %w", p, err)
		}
		m.Ignore = append(m.Ignore, re)
	}
	return m, nil
}

// Prepare is a text as it is compared.
func (m *Matcher) Prepare(text string) (string, error) {
	for _, re := range m.Ignore {
		var err error
		if text, err = re.Replace(text, "", -1, -1); err != nil {
			return "", fmt.Errorf("regular expression %q: %w", re.String(), err)
		}
	}
	if m.IgnoreCase {
		text = lower(text)
	}
	if m.IgnorePunctuation || m.IgnoreNumbers {
		text = strings.Map(func(r rune) rune {
			if m.IgnorePunctuation && isPunct(r) || m.IgnoreNumbers && r >= '0' && r <= '9' {
				return -1
			}
			return r
		}, text)
	}
	return text, nil
}

// Match reports whether prediction and reference are the same text.
func (m *Matcher) Match(prediction, reference string) (bool, error) {
	p, err := m.Prepare(prediction)
	if err != nil {
		return false, err
	}
	r, err := m.Prepare(reference)
	return p == r, err
}
