// Package predictions computes metrics from a file of predictions, without a model.
package predictions

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/mltrain/mltrain/internal/data"
)

// ErrRows is wrapped when a file's rows cannot be scored.
var ErrRows = errors.New("predictions")

// mostFaults is how many faulty rows are reported at once.
const mostFaults = 10

// Options say how to score. The zero value suits most files.
type Options struct {
	Kind         Kind    // "" recognises it by the keys of the rows
	Positive     string  // class that score belongs to; "" is the last one in order
	ZeroDivision float64 // what 0/0 in precision, recall and F1 counts as
	Bins         int     // of the calibration error; 0 is 15
	Tokenizer    string  // of BLEU; "" is 13a
	Lowercase    bool    // for BLEU and chrF
	Stemmer      bool    // for ROUGE
	Scheme       string  // of tags: "", IOB2 or IOBES
	K            []int   // ranks of recall@k and the like, and k of pass@k; nil takes 1, 3, 5, 10 and 1, 10, 100
	HuberDelta   float64 // 0 is 1
	Problems     string  // file with the prompt, test and entry_point of each task_id, for programs without them
	RunCode      RunCode // nil refuses to run programs
}

// Kind is what the rows of a file are.
type Kind string

// The kinds, by the names that --type takes.
const (
	KindClasses    Kind = "classification"
	KindTexts      Kind = "text"
	KindNumbers    Kind = "regression"
	KindSequences  Kind = "sequence"
	KindRanking    Kind = "ranking"
	KindPasses     Kind = "pass@k"
	KindCode       Kind = "code"
	KindLikelihood Kind = "perplexity"
)

// Kinds lists all kinds.
func Kinds() []Kind {
	return []Kind{KindClasses, KindTexts, KindNumbers, KindSequences, KindRanking, KindPasses, KindCode, KindLikelihood}
}

// row is a row of the file with its cells by key.
type row struct {
	at    data.Ref
	cells map[string]cell
}

func (r row) errorf(format string, args ...any) error {
	return fmt.Errorf("%s: %w", r.at, fmt.Errorf(format, args...))
}

// get gives the cell of the first of the keys that the row has.
func (r row) get(keys ...string) (cell, string, bool) {
	for _, k := range keys {
		if c, ok := r.cells[k]; ok {
			return c, k, true
		}
	}
	return cell{}, keys[0], false
}

func (r row) has(keys ...string) bool {
	_, _, ok := r.get(keys...)
	return ok
}

// keys lists the row's keys for messages.
func (r row) keys() string {
	var names []string
	for k := range r.cells {
		names = append(names, k)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// The keys that rows may have.
var (
	labelKeys      = []string{"label", "labels", "target"}
	predictionKeys = []string{"prediction", "predictions", "predicted"}
	referenceKeys  = []string{"reference", "references"}
	tagKeys        = []string{"tags", "labels", "label"}
	scoreKeys      = []string{"score", "scores", "probability", "probabilities"}
	gainKeys       = []string{"relevance", "gains"}
)

// readRows reads a file and keeps its cells.
func readRows(path string) ([]row, error) {
	var out []row
	name := strings.ToLower(path)
	texts := strings.Contains(name, ".csv") || strings.Contains(name, ".tsv") // where every cell is text
	err := data.EachObject(path, func(at data.Ref, fields []data.Field) error {
		r := row{at: at, cells: map[string]cell{}}
		for _, f := range fields {
			c, err := parseCell(f.Value, texts)
			if err != nil {
				return fmt.Errorf("key %s: %w", f.Key, err)
			}
			r.cells[f.Key] = c
		}
		out = append(out, r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: %s has no rows", ErrRows, path)
	}
	return out, nil
}

// collector gathers the faults of rows, so that several are told at once.
type collector struct {
	faults []error
	more   int
}

func (c *collector) add(err error) {
	if err == nil {
		return
	}
	if len(c.faults) == mostFaults {
		c.more++
		return
	}
	c.faults = append(c.faults, err)
}

func (c *collector) err() error {
	if c.more > 0 {
		return errors.Join(append(c.faults, fmt.Errorf("and %d more rows", c.more))...)
	}
	return errors.Join(c.faults...)
}

// recognise says what the rows are, by the keys of the first one.
func recognise(rows []row) (Kind, error) {
	first := rows[0]
	list := func(keys ...string) bool {
		c, _, ok := first.get(keys...)
		return ok && c.isList
	}
	switch {
	case first.has("passed"):
		return KindPasses, nil
	case first.has("completion") && first.has("task_id"):
		return KindCode, nil
	case first.has("ranking", "relevant") || list(gainKeys...):
		return KindRanking, nil
	case first.has(referenceKeys...):
		return KindTexts, nil
	case list(tagKeys...):
		return KindSequences, nil
	case first.has(labelKeys...):
		if allNumbers(rows) {
			return KindNumbers, nil
		}
		return KindClasses, nil
	case first.has("logprobs"):
		return KindLikelihood, nil
	}
	return "", first.errorf(`cannot tell what the rows are; they have %s. Needed are label and prediction (classes, or numbers with a fraction),
reference(s) and prediction (texts), tags and prediction (lists), relevance and scores or ranking and relevant (lists),
task_id and passed, task_id and completion, or logprobs`, orNone(first.keys()))
}

func orNone(keys string) string {
	if keys == "" {
		return "no keys"
	}
	return "the keys " + keys
}

// allNumbers reports whether labels and predictions are numbers of which one is
// not whole: whole numbers alone are classes.
func allNumbers(rows []row) bool {
	fraction := false
	for _, r := range rows {
		for _, keys := range [][]string{labelKeys, predictionKeys} {
			c, _, ok := r.get(keys...)
			if !ok || !c.isNumber {
				return false
			}
			v, err := c.number()
			fraction = fraction || err != nil || v != math.Trunc(v)
		}
	}
	return fraction
}
