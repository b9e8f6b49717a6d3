package metric

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Entity is a run of tagged tokens, From to To, both included.
type Entity struct {
	Type     string
	From, To int
}

// Scheme says how tags mark entities.
type Scheme string

// The schemes.
const (
	// SchemeLenient takes any mixture of B, I, E and S, and lets a run begin
	// where none was opened, as the CoNLL evaluation script does. It is seqeval's default.
	SchemeLenient Scheme = ""
	// SchemeIOB2 is seqeval's strict mode: an entity is B and the I of the same
	// type that follow; anything else is no entity.
	SchemeIOB2 Scheme = "IOB2"
	// SchemeIOBES is the strict mode where an entity is S, or B, any I, and E.
	SchemeIOBES Scheme = "IOBES"
)

// Entities reads the entities of a sequence of tags such as B-PER, I-PER, O.
func Entities(tags []string, scheme Scheme) ([]Entity, error) {
	switch scheme {
	case SchemeLenient:
		return lenientEntities(tags), nil
	case SchemeIOB2, SchemeIOBES:
		return strictEntities(tags, scheme)
	}
	return nil, inputErrorf("scheme %q is not one of IOB2 and IOBES", scheme)
}

// cutTag parts B-PER into B and PER; the type of a bare B is "_".
func cutTag(tag string) (mark byte, kind string) {
	if tag == "" {
		return 'O', "_"
	}
	kind = tag[1:]
	if _, after, ok := strings.Cut(kind, "-"); ok {
		kind = after
	}
	if kind == "" {
		kind = "_"
	}
	return tag[0], kind
}

func lenientEntities(tags []string) []Entity {
	var out []Entity
	prev, prevKind, from := byte('O'), "", 0
	for i := 0; i <= len(tags); i++ {
		mark, kind := byte('O'), "_"
		if i < len(tags) {
			mark, kind = cutTag(tags[i])
		}
		inside := prev != 'O' && prev != '.'
		ends := prev == 'E' || prev == 'S' || inside && prevKind != kind ||
			(prev == 'B' || prev == 'I') && (mark == 'B' || mark == 'S' || mark == 'O')
		if ends {
			out = append(out, Entity{prevKind, from, i - 1})
		}
		starts := mark == 'B' || mark == 'S' || mark != 'O' && mark != '.' && prevKind != kind ||
			(prev == 'E' || prev == 'S' || prev == 'O') && (mark == 'E' || mark == 'I')
		if starts {
			from = i
		}
		prev, prevKind = mark, kind
	}
	return out
}

func strictEntities(tags []string, scheme Scheme) ([]Entity, error) {
	marks := "OBI"
	if scheme == SchemeIOBES {
		marks = "OBIES"
	}
	for i, tag := range tags {
		if mark, _ := cutTag(tag); strings.IndexByte(marks, mark) < 0 {
			return nil, inputErrorf("tag %d is %q; tags of %s begin with one of %s", i+1, tag, scheme, marks)
		}
	}
	var out []Entity
	for i := 0; i < len(tags); i++ {
		mark, kind := cutTag(tags[i])
		if mark == 'S' && scheme == SchemeIOBES {
			out = append(out, Entity{kind, i, i})
		}
		if mark != 'B' {
			continue
		}
		end, closed := i, scheme == SchemeIOB2
		for j := i + 1; j < len(tags) && !(closed && scheme == SchemeIOBES); j++ {
			m, k := cutTag(tags[j])
			if k != kind || m != 'I' && (m != 'E' || scheme != SchemeIOBES) {
				break
			}
			end = j
			closed = closed || m == 'E'
		}
		if closed {
			out = append(out, Entity{kind, i, end})
			i = end
		}
	}
	return out, nil
}

// Sequences scores the entities of tagged sequences: an entity is right when
// its type and both ends are. Source: seqeval.
type Sequences struct {
	Types    []string     // in the order of their code points
	Scores   []ClassScore // of each type
	Averages Averages
	Accuracy float64 // share of tags that are right
}

// ScoreSequences compares predicted with true tags, row by row.
func ScoreSequences(truth, predicted [][]string, scheme Scheme, zeroDivision float64) (*Sequences, error) {
	if err := sameLength(len(predicted), len(truth)); err != nil {
		return nil, err
	}
	type counts struct{ right, truth, predicted float64 }
	byType := map[string]*counts{}
	of := func(kind string) *counts {
		if byType[kind] == nil {
			byType[kind] = &counts{}
		}
		return byType[kind]
	}
	tags, same := 0, 0
	for i := range truth {
		if len(truth[i]) != len(predicted[i]) {
			return nil, inputErrorf("row %d: %d predicted tags for %d tokens", i+1, len(predicted[i]), len(truth[i]))
		}
		real, err := Entities(truth[i], scheme)
		if err != nil {
			return nil, fmt.Errorf("row %d: true tags: %w", i+1, err)
		}
		found, err := Entities(predicted[i], scheme)
		if err != nil {
			return nil, fmt.Errorf("row %d: predicted tags: %w", i+1, err)
		}
		for _, e := range real {
			of(e.Type).truth++
			if slices.Contains(found, e) {
				of(e.Type).right++
			}
		}
		for _, e := range found {
			of(e.Type).predicted++
		}
		tags += len(truth[i])
		for j, tag := range truth[i] {
			if tag == predicted[i][j] {
				same++
			}
		}
	}
	s := &Sequences{Accuracy: float64(same) / float64(tags)}
	var total counts
	for kind := range byType {
		s.Types = append(s.Types, kind)
	}
	slices.SortFunc(s.Types, cmp.Compare)
	for _, kind := range s.Types {
		c := byType[kind]
		s.Scores = append(s.Scores, entityScore(c.right, c.truth, c.predicted, zeroDivision))
		total.right += c.right
		total.truth += c.truth
		total.predicted += c.predicted
	}
	s.Averages = averageScores(s.Scores, total.right, total.truth, total.predicted, zeroDivision)
	s.Averages.Micro = entityScore(total.right, total.truth, total.predicted, zeroDivision)
	if total.truth == 0 {
		// There is nothing to weight by: seqeval calls it right when nothing was predicted either.
		s.Averages.Weighted = ClassScore{Recall: zeroDivision}
		if total.predicted == 0 {
			s.Averages.Weighted = ClassScore{Precision: zeroDivision, Recall: zeroDivision, F1: zeroDivision}
		}
	}
	return s, nil
}

// entityScore is classScore with seqeval's F1, which comes from precision and
// recall: where 0/0 counts as 1, it differs.
func entityScore(right, truth, predicted, zero float64) ClassScore {
	s := classScore(right, truth, predicted, zero)
	s.F1 = 0
	if d := s.Precision + s.Recall; d > 0 {
		s.F1 = 2 * s.Precision * s.Recall / d
	}
	return s
}

// Report is the table that seqeval's classification_report prints.
func (s *Sequences) Report(digits int) string {
	return classReport(s.Types, s.Scores, digits, false, func(t *reportTable) {
		t.row("micro avg", s.Averages.Micro)
		t.row("macro avg", s.Averages.Macro)
		t.row("weighted avg", s.Averages.Weighted)
	})
}
