package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dlclark/regexp2/v2"
)

// match is a part of a text that a pattern matched (hit) or a gap between two such parts.
type match struct {
	start, end int
	hit        bool
}

// pattern cuts a text into hits and gaps that together cover it.
type pattern interface {
	find(dst []match, s string) ([]match, error)
}

// literal matches a fixed string.
type literal string

func (p literal) find(dst []match, s string) ([]match, error) {
	if p == "" {
		if s != "" {
			dst = append(dst, match{0, len(s), false})
		}
		return dst, nil
	}
	prev := 0
	for {
		i := strings.Index(s[prev:], string(p))
		if i < 0 {
			break
		}
		if i > 0 {
			dst = append(dst, match{prev, prev + i, false})
		}
		dst = append(dst, match{prev + i, prev + i + len(p), true})
		prev += i + len(p)
	}
	if prev < len(s) {
		dst = append(dst, match{prev, len(s), false})
	}
	return dst, nil
}

// runeFunc matches every single rune for which it is true.
type runeFunc func(rune) bool

func (p runeFunc) find(dst []match, s string) ([]match, error) {
	prev := 0
	for i, r := range s {
		if !p(r) {
			continue
		}
		n := utf8.RuneLen(r)
		if i > prev {
			dst = append(dst, match{prev, i, false})
		}
		dst = append(dst, match{i, i + n, true})
		prev = i + n
	}
	if prev < len(s) {
		dst = append(dst, match{prev, len(s), false})
	}
	return dst, nil
}

// regexTimeout bounds one search: patterns come from files that nobody vouches for.
const regexTimeout = 30 * time.Second

// regex matches a regular expression with look-around, Unicode classes and possessive quantifiers.
type regex struct{ re *regexp2.Regexp }

func newRegex(expr string) (regex, error) {
	re, err := regexp2.Compile(expr)
	if err != nil {
		return regex{}, fmt.Errorf("regular expression %q: %w: %w", expr, ErrUnsupported, err)
	}
	re.MatchTimeout = regexTimeout
	return regex{re}, nil
}

func (p regex) find(dst []match, s string) ([]match, error) {
	if s == "" {
		return dst, nil
	}
	runes := []rune(s)
	offsets := make([]int, 0, len(runes)+1)
	for i := range s {
		offsets = append(offsets, i)
	}
	offsets = append(offsets, len(s))
	prev, lastEnd := 0, -1
	err := p.re.FindRunesMatches(runes, 0, func(m regexp2.MatchView) bool {
		at, n, _ := m.GroupRange(0)
		start, end := offsets[at], offsets[at+n]
		if start == end && end == lastEnd {
			return true // an empty match right behind another one does not count
		}
		lastEnd = end
		if start > prev {
			dst = append(dst, match{prev, start, false})
		}
		dst = append(dst, match{start, end, true})
		prev = end
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("regular expression %q: %w", p.re.String(), err)
	}
	if prev < len(s) {
		dst = append(dst, match{prev, len(s), false})
	}
	return dst, nil
}

// parsePattern reads {"String": s} or {"Regex": s} from a field.
func parsePattern(o *object, key string) pattern {
	raw := o.raw(key)
	if raw == nil {
		o.fail(key, `is missing: expected {"String": …} or {"Regex": …}`)
		return nil
	}
	var alternatives map[string]string
	if err := json.Unmarshal(raw, &alternatives); err != nil || len(alternatives) != 1 {
		o.fail(key, `expected {"String": …} or {"Regex": …}, found %s`, excerpt(raw))
		return nil
	}
	for kind, s := range alternatives {
		switch kind {
		case "String":
			return literal(s)
		case "Regex":
			if s == patternSpaceRuns {
				return spaceRuns{}
			}
			re, err := newRegex(s)
			if err != nil {
				o.fail(key, "%w", err)
			}
			return re
		default:
			o.fail(key, "%w: pattern kind %q; known are String, Regex", ErrUnsupported, kind)
		}
	}
	return nil
}

// patternSpaceRuns is how tokenizer.json files of SentencePiece models spell spaceRuns.
const patternSpaceRuns = " {2,}"

// spaceRuns matches two or more spaces in a row.
type spaceRuns struct{}

func (spaceRuns) find(dst []match, s string) ([]match, error) {
	prev := 0
	for i := 0; i < len(s); {
		j := i
		for j < len(s) && s[j] == ' ' {
			j++
		}
		if j-i < 2 {
			_, n := utf8.DecodeRuneInString(s[i:])
			i += n
			continue
		}
		if i > prev {
			dst = append(dst, match{prev, i, false})
		}
		dst = append(dst, match{i, j, true})
		prev, i = j, j
	}
	if prev < len(s) {
		dst = append(dst, match{prev, len(s), false})
	}
	return dst, nil
}

// behavior says what becomes of the delimiters when a text is split at them.
type behavior string

// The names are those of tokenizer.json. For "the-final--countdown" split at "-":
const (
	removed            behavior = "Removed"            // the, final, countdown
	isolated           behavior = "Isolated"           // the, -, final, -, -, countdown
	mergedWithPrevious behavior = "MergedWithPrevious" // the-, final-, -, countdown
	mergedWithNext     behavior = "MergedWithNext"     // the, -final, -, -countdown
	contiguous         behavior = "Contiguous"         // the, -, final, --, countdown
)

func parseBehavior(o *object, key string) behavior {
	return behavior(o.oneOf(key, string(removed), string(isolated), string(mergedWithPrevious),
		string(mergedWithNext), string(contiguous)))
}

// arrange turns hits and gaps into the parts to keep, in place.
func (b behavior) arrange(ms []match) []match {
	out := ms[:0]
	switch b {
	case removed:
		for _, m := range ms {
			if !m.hit {
				out = append(out, m)
			}
		}
	case contiguous:
		previous := false
		for _, m := range ms {
			if m.hit == previous && len(out) > 0 {
				out[len(out)-1].end = m.end
			} else {
				out = append(out, m)
			}
			previous = m.hit
		}
	case mergedWithPrevious:
		previous := false
		for _, m := range ms {
			if m.hit && !previous && len(out) > 0 {
				out[len(out)-1].end = m.end
			} else {
				out = append(out, m)
			}
			previous = m.hit
		}
	case mergedWithNext:
		// From the right: a hit joins the part after it unless that part is itself a hit.
		w, previous := len(ms), false
		for i := len(ms) - 1; i >= 0; i-- {
			m := ms[i]
			if m.hit && !previous && w < len(ms) {
				ms[w].start = m.start
			} else {
				w--
				ms[w] = m
			}
			previous = m.hit
		}
		return ms[w:]
	default:
		return ms
	}
	return out
}
