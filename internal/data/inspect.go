package data

import (
	"context"
	"errors"
)

// Inspected is what Open would make of one row.
type Inspected struct {
	Ref       Ref
	Layout    Layout
	Row       *Row       // nil for a window of a text file and for a row that can't be parsed
	Err       error      // why the row can't be used; wraps ErrShape, ErrTemplate, ErrVocabulary or ErrMalformed where it is of that kind
	Drop      DropReason // why it would be left out
	Truncated bool
	Full      int       // tokens before truncation; of a pair, the longer answer with its prompt
	Hash      uint64    // of all tokens and weights before truncation
	Docs      []Example // what is kept: the row; its windows (SplitLong); or prompt and answers
	Warnings  []string
}

// Inspect reads and encodes rows as Open does, in order, and shows each of them to visit instead of storing it. Faulty rows
// don't end it; an error of visit or of a file does.
func Inspect(ctx context.Context, sources []Source, opt Options, tok Tokenizer, visit func(Inspected) error) error {
	if err := opt.check(); err != nil {
		return err
	}
	paths, owner, err := expandAll(sources)
	if err != nil {
		return err
	}
	b := newBuilder(sources, paths, owner, opt, tok, &Ledger{})
	b.visit = func(at Ref, r *rowResult) error {
		in := Inspected{Ref: at, Layout: r.layout, Row: r.row, Err: r.err, Drop: r.drop, Truncated: r.truncated, Full: r.full, Hash: r.sum, Warnings: r.warnings}
		for _, d := range r.docs {
			ex := Example{IDs: d.ids, Weights: make([]float32, len(d.ids)), Ref: at}
			for i, c := range d.codes {
				ex.Weights[i] = float32(c) / weightUnit
			}
			in.Docs = append(in.Docs, ex)
		}
		return visit(in)
	}
	return b.run(ctx)
}

// ReadRows reads and parses rows without tokenising them, in order. Faulty rows don't end it: they come with an error, and
// windows of text files as text rows.
func ReadRows(sources []Source, visit func(Row, error) error) error {
	paths, owner, err := expandAll(sources)
	if err != nil {
		return err
	}
	cut, err := newCut(sources, paths, owner)
	if err != nil {
		return err
	}
	for f, path := range paths {
		source := sources[owner[f]]
		var stopped error
		err := readFile(path, func(raw rawRow) error {
			if take, more := cut.takes(f, raw); !more {
				return errStop
			} else if !take {
				return nil
			}
			stopped = visit(parseRaw(path, raw, source))
			return stopped
		})
		if stopped != nil {
			return stopped
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func parseRaw(path string, raw rawRow, source Source) (Row, error) {
	at := Ref{File: path, Line: raw.line, Row: raw.row}
	if raw.err != nil {
		return Row{Ref: at}, raw.err
	}
	if raw.obj == nil && raw.json == nil {
		return Row{Ref: at, Layout: LayoutText, Text: raw.doc}, nil
	}
	obj := raw.obj
	if obj == nil {
		var err error
		if obj, err = decodeObject(raw.json); err != nil {
			return Row{Ref: at}, err
		}
	}
	row, err := ParseRow(obj, source.Layout, source.Columns)
	row.Ref = at
	return row, err
}

func newBuilder(sources []Source, paths []string, owner []int, opt Options, tok Tokenizer, ledger *Ledger) *builder {
	b := &builder{sources: sources, paths: paths, owner: owner, opt: opt, tok: tok, ledger: ledger,
		seen: map[uint64]struct{}{}}
	b.store = &store{arity: map[Objective]int{Supervised: 1, Preference: 3, Unpaired: 2}[opt.Objective], mem: make([]uint32, 0, 1024)}
	return b
}

// expandAll lists the files of all sources, with the source of each.
func expandAll(sources []Source) (paths []string, owner []int, err error) {
	var errs []error
	for i, s := range sources {
		files, err := s.Expand()
		errs = append(errs, err, s.check())
		for _, f := range files {
			paths, owner = append(paths, f), append(owner, i)
		}
	}
	return paths, owner, errors.Join(errs...)
}
