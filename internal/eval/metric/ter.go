package metric

import (
	"fmt"
	"math"
	"regexp"
	"strings"
)

// TER is the translation edit rate: insertions, deletions, substitutions and
// moves of stretches of words that make the hypothesis the reference, greedily
// found as Tercom does, over the mean length of the references, in percent. The
// best of several references counts. The zero value is sacrebleu's default.
// Source: Snover et al. 2006, "A Study of Translation Edit Rate with Targeted
// Human Annotation"; sacrebleu's TER for the bounds of the search.
type TER struct {
	Normalize     bool // part punctuation from words, in Western languages
	NoPunctuation bool // take punctuation out
	CaseSensitive bool
}

// TERScore is a rate with what it was computed from.
type TERScore struct {
	Score     float64 `json:"score"`
	Edits     int     `json:"edits"`
	RefLength float64 `json:"ref_length"`
}

// String writes a score as sacrebleu does.
func (s TERScore) String() string { return fmt.Sprintf("TER = %.2f", s.Score) }

// The bounds of Tercom's search and sacrebleu's.
const (
	mostMoved      = 10   // words moved at once
	farthestMove   = 50   // positions
	beamWidth      = 25   // cells left and right of the diagonal
	mostCandidates = 1000 // moves tried for a pair
)

// Corpus scores hypotheses together; references[i] are those of hypotheses[i].
func (t TER) Corpus(hypotheses []string, references [][]string) (TERScore, error) {
	var s TERScore
	if err := sameLength(len(hypotheses), len(references)); err != nil {
		return s, err
	}
	for i, h := range hypotheses {
		if len(references[i]) == 0 {
			return TERScore{}, inputErrorf("row %d has no references", i+1)
		}
		hyp := t.tokens(h)
		best, length := math.MaxInt, 0
		for _, r := range references[i] {
			ref := t.tokens(r)
			best = min(best, edits(hyp, ref))
			length += len(ref)
		}
		s.Edits += best
		s.RefLength += float64(length) / float64(len(references[i]))
	}
	switch {
	case s.RefLength > 0:
		s.Score = 100 * (float64(s.Edits) / s.RefLength)
	case s.Edits > 0:
		s.Score = 100
	}
	return s, nil
}

// Sentence scores one hypothesis.
func (t TER) Sentence(hypothesis string, references []string) (TERScore, error) {
	return t.Corpus([]string{hypothesis}, [][]string{references})
}

// Signature says how a score came about, as sacrebleu prints it.
func (t TER) Signature(references [][]string) string {
	return fmt.Sprintf("nrefs:%s|case:%s|tok:tercom|norm:%s|punct:%s|asian:no|version:%s", countRefs(references),
		caseName(!t.CaseSensitive), yesNo(t.Normalize), yesNo(!t.NoPunctuation), signatureVersion)
}

var possessive = regexp.MustCompile(`'s( |$)`)

func (t TER) tokens(text string) []string {
	text = strings.TrimRightFunc(text, isSpace)
	if !t.CaseSensitive {
		text = lower(text)
	}
	if t.Normalize && text != "" {
		text = strings.ReplaceAll(text, "\n-", "")
		text = " " + unescape(strings.ReplaceAll(text, "\n", " ")) + " "
		text = western[0].pattern.ReplaceAllString(text, western[0].replace)
		text = possessive.ReplaceAllString(text, " 's$1")
		for _, s := range western[1:] {
			text = s.pattern.ReplaceAllString(text, s.replace)
		}
	}
	if t.NoPunctuation {
		text = strings.Map(func(r rune) rune {
			if strings.ContainsRune(`.,?:;!"()`, r) {
				return -1
			}
			return r
		}, text)
	}
	return fields(text)
}

// edits is how many edits and moves make hyp ref.
func edits(hyp, ref []string) int {
	if len(ref) == 0 {
		return len(hyp)
	}
	m := newEditMatrix(len(hyp), ref)
	moves, tried := 0, 0
	for {
		gain, moved := bestMove(m, hyp, ref, &tried)
		if tried >= mostCandidates || gain <= 0 {
			break
		}
		moves++
		hyp = moved
	}
	return moves + m.distance(hyp)
}

// candidate is a move and what it gains; earlier fields weigh more.
type candidate struct {
	gain, length, from, to int
	words                  []string
}

func (c candidate) better(than candidate) bool {
	switch {
	case c.gain != than.gain:
		return c.gain > than.gain
	case c.length != than.length:
		return c.length > than.length
	case c.from != than.from:
		return c.from < than.from
	}
	return c.to < than.to
}

// bestMove finds the move of a stretch of hyp, to where ref has it, that lowers
// the distance the most. Only stretches that are wrong where they stand, and
// places that are wrong now, are tried.
func bestMove(m *editMatrix, hyp, ref []string, tried *int) (gain int, moved []string) {
	before := m.distance(hyp)
	at, refWrong, hypWrong := m.alignment(len(hyp))
	best := candidate{}
	found := false
	for h := range hyp {
		for r := max(0, h-farthestMove); r < min(len(ref), h+farthestMove+1); r++ {
			for n := 1; n <= mostMoved && h+n <= len(hyp) && r+n <= len(ref) && hyp[h+n-1] == ref[r+n-1]; n++ {
				if !anyWrong(hypWrong[h:h+n]) || !anyWrong(refWrong[r:r+n]) || at[r] >= h && at[r] < h+n {
					continue
				}
				last := -1
				for offset := -1; offset < n; offset++ {
					to := 0
					if r+offset >= 0 {
						to = at[r+offset] + 1
					}
					if to == last {
						continue
					}
					last = to
					words := move(hyp, h, n, to)
					c := candidate{before - m.distance(words), n, h, to, words}
					*tried++
					if !found || c.better(best) {
						best, found = c, true
					}
				}
				if *tried >= mostCandidates {
					return best.gain, best.words
				}
			}
		}
	}
	return best.gain, best.words
}

func anyWrong(wrong []bool) bool {
	for _, w := range wrong {
		if w {
			return true
		}
	}
	return false
}

// move puts n words from a position in front of another, which is counted before the move.
func move(words []string, from, n, to int) []string {
	out := make([]string, 0, len(words))
	piece := words[from : from+n]
	switch {
	case to < from:
		out = append(append(append(out, words[:to]...), piece...), words[to:from]...)
		return append(out, words[from+n:]...)
	case to > from+n:
		out = append(append(append(out, words[:from]...), words[from+n:to]...), piece...)
		return append(out, words[to:]...)
	}
	end := min(n+to, len(words))
	out = append(append(append(out, words[:from]...), words[from+n:end]...), piece...)
	return append(out, words[end:]...)
}

// The operations of an edit matrix.
const (
	opNone = iota
	opKeep
	opReplace
	opDelete // a word of the hypothesis
	opInsert // a word of the reference
)

type editCell struct {
	cost int32
	op   uint8
}

// editMatrix computes edit distances to a reference within a beam around the
// diagonal, for hypotheses of one length.
type editMatrix struct {
	ref   []string
	hyp   []string // of the last distance; rows of a common beginning are the same
	cells []editCell
	width int
	beam  int
	slope float64
}

func newEditMatrix(hypLen int, ref []string) *editMatrix {
	m := &editMatrix{ref: ref, width: len(ref) + 1, beam: beamWidth, slope: 1}
	m.cells = make([]editCell, (hypLen+1)*m.width)
	if hypLen > 0 {
		m.slope = float64(len(ref)) / float64(hypLen)
	}
	if beamWidth < m.slope/2 {
		m.beam = int(math.Ceil(m.slope/2 + beamWidth))
	}
	for i := range m.cells { // those outside of the beam stay so
		m.cells[i] = editCell{math.MaxInt32 / 2, opNone}
	}
	for j := range m.width {
		m.cells[j] = editCell{int32(j), opInsert}
	}
	return m
}

func (m *editMatrix) distance(hyp []string) int {
	same := 0
	for same < len(m.hyp) && m.hyp[same] == hyp[same] {
		same++
	}
	m.hyp = hyp
	for i := same + 1; i <= len(hyp); i++ {
		row, above := m.cells[i*m.width:(i+1)*m.width], m.cells[(i-1)*m.width:i*m.width]
		diagonal := int(math.Floor(float64(i) * m.slope))
		from, to := max(0, diagonal-m.beam), min(m.width, diagonal+m.beam)
		if i == len(hyp) {
			to = m.width
		}
		for j := from; j < to; j++ {
			if j == 0 {
				row[0] = editCell{above[0].cost + 1, opDelete}
				continue
			}
			best := editCell{above[j-1].cost + 1, opReplace}
			if hyp[i-1] == m.ref[j-1] {
				best = editCell{above[j-1].cost, opKeep}
			}
			if c := above[j].cost + 1; c < best.cost {
				best = editCell{c, opDelete}
			}
			if c := row[j-1].cost + 1; c < best.cost {
				best = editCell{c, opInsert}
			}
			row[j] = best
		}
	}
	return int(m.cells[len(hyp)*m.width+m.width-1].cost)
}

// alignment walks the last distance's matrix back: for every word of the
// reference the position in the hypothesis that it stands at or after, and which
// words of either are wrong.
func (m *editMatrix) alignment(hypLen int) (at []int, refWrong, hypWrong []bool) {
	at, refWrong, hypWrong = make([]int, len(m.ref)), make([]bool, len(m.ref)), make([]bool, hypLen)
	for i, j := hypLen, len(m.ref); i > 0 || j > 0; {
		switch op := m.cells[i*m.width+j].op; op {
		case opKeep, opReplace:
			i--
			j--
			at[j], refWrong[j], hypWrong[i] = i, op == opReplace, op == opReplace
		case opDelete:
			i--
			hypWrong[i] = true
		case opInsert:
			j--
			at[j], refWrong[j] = i-1, true
		default:
			return at, refWrong, hypWrong // outside of the beam: cannot happen
		}
	}
	return at, refWrong, hypWrong
}
