package data

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
)

// maxFaults is how many faulty rows are reported at once.
const maxFaults = 10

// jobBytes is about how much of a file one job holds.
const jobBytes = 128 << 10

type job struct {
	file   int // index into builder.paths
	source *Source
	rows   []rawRow
	done   chan []rowResult
}

type rowResult struct {
	rawRow rawRow // without its text
	layout Layout
	row    *Row // nil for windows of a text file and for rows that can't be parsed
	encoded
	err error
}

// builder reads, encodes and stores the rows of all sources. One goroutine reads, several encode, and the caller's stores
// the results in the order of reading, whatever their number.
type builder struct {
	sources []Source
	paths   []string // all files, in order
	owner   []int    // source of each file
	opt     Options
	tok     Tokenizer
	store   *store
	ledger  *Ledger
	sink    *cacheWriter // or nil
	bounds  []int        // first row of each source, and the end
	faults  []string
	more    bool // there were more faults
	seen    map[uint64]struct{}
	visit   func(Ref, *rowResult) error // instead of storing (Inspect)
}

// errFaults ends a build early: enough faults were found.
var errFaults = errors.New("too many faults")

func (b *builder) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	workers := b.opt.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	jobs := make(chan *job)
	ordered := make(chan *job, 2*workers)
	readErr := make(chan error, 1)
	go func() {
		err := b.readAll(ctx, jobs, ordered)
		close(jobs)
		close(ordered)
		readErr <- err
	}()
	for range workers {
		go func() {
			enc := &encoder{tok: b.tok, opt: b.opt}
			if b.opt.Objective != Supervised {
				enc.opt.AssistantOnlyLoss = false
			}
			for j := range jobs {
				j.done <- j.encode(enc)
			}
		}()
	}
	var err error
	take := b.collect
	if b.visit != nil {
		take = func(file int, r *rowResult) error {
			return b.visit(Ref{File: b.paths[file], Line: r.rawRow.line, Row: r.rawRow.row}, r)
		}
	}
	current := -1
	for j := range ordered {
		results := <-j.done
		for ; current < j.file && err == nil; current++ {
			b.nextFile(current + 1)
		}
		for i := range results {
			if err == nil {
				err = take(j.file, &results[i])
			}
		}
		if err != nil {
			cancel()
		} else if b.opt.Progress != nil {
			b.opt.Progress(b.ledger.Rows)
		}
	}
	for ; current < len(b.paths)-1; current++ {
		b.nextFile(current + 1)
	}
	b.bounds = append(b.bounds, b.store.rows())
	fromReader := <-readErr
	switch {
	case err != nil && !errors.Is(err, errFaults):
		return err
	case len(b.faults) > 0:
		if fromReader != nil && err == nil {
			b.faults = append(b.faults, fromReader.Error())
		}
		return b.faultError()
	}
	return fromReader
}

func (b *builder) nextFile(f int) {
	if f == 0 || b.owner[f] != b.owner[f-1] {
		b.bounds = append(b.bounds, b.store.rows())
	}
	b.store.begin(b.paths[f])
}

// readAll feeds jobs to the workers and, in the same order, to the collector.
func (b *builder) readAll(ctx context.Context, jobs, ordered chan<- *job) error {
	cut, err := newCut(b.sources, b.paths, b.owner)
	if err != nil {
		return err
	}
	for f, path := range b.paths {
		source := &b.sources[b.owner[f]]
		cur, bytes, count := &job{file: f, source: source}, 0, 0
		flush := func() error {
			if len(cur.rows) == 0 {
				return nil
			}
			cur.done = make(chan []rowResult, 1)
			for _, ch := range []chan<- *job{jobs, ordered} {
				select {
				case ch <- cur:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			cur, bytes = &job{file: f, source: source}, 0
			return nil
		}
		err := readFile(path, func(r rawRow) error {
			if take, more := cut.takes(f, r); !more {
				return errStop
			} else if !take {
				return nil
			}
			if count++; b.opt.Limit > 0 && count > b.opt.Limit {
				return errStop
			}
			cur.rows = append(cur.rows, r)
			if bytes += r.size(); bytes >= jobBytes {
				return flush()
			}
			return nil
		})
		if err == nil {
			err = flush()
		} else if ctx.Err() == nil {
			err = errors.Join(err, flush()) // the rows before the fault may have faults, too
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (j *job) encode(e *encoder) []rowResult {
	out := make([]rowResult, 0, len(j.rows))
	for _, raw := range j.rows {
		if raw.obj == nil && raw.json == nil && raw.err == nil {
			out = append(out, e.document(raw)...)
			continue
		}
		out = append(out, e.raw(raw, j.source)...)
	}
	return out
}

// raw decodes and encodes a row; for unpaired training a preference row becomes two.
func (e *encoder) raw(raw rawRow, source *Source) []rowResult {
	place := rawRow{line: raw.line, row: raw.row}
	fail := func(err error) []rowResult { return []rowResult{{rawRow: place, err: err}} }
	if raw.err != nil {
		return fail(raw.err)
	}
	obj := raw.obj
	if obj == nil {
		var err error
		if obj, err = decodeObject(raw.json); err != nil {
			return fail(err)
		}
	}
	layout := source.Layout
	if p := (rowParser{obj}); e.opt.Objective == Unpaired && (layout == LayoutAuto || layout == "") && !p.has("chosen") && p.has("label") {
		layout = LayoutKTO // also a whole conversation with a label
	}
	row, err := ParseRow(obj, layout, source.Columns)
	if err != nil {
		return fail(err)
	}
	rows := []*Row{&row}
	if e.opt.Objective == Unpaired {
		rows = unpair(&row)
	}
	out := make([]rowResult, len(rows))
	for i, r := range rows {
		enc, err := e.row(r)
		out[i] = rowResult{rawRow: place, layout: row.Layout, row: r, encoded: enc, err: err}
	}
	return out
}

// document encodes a text file (or a piece of a large one) as windows; BOS opens the first piece, EOS ends the last.
func (e *encoder) document(raw rawRow) []rowResult {
	place := rawRow{line: raw.line, row: raw.row}
	e.warn = nil
	if e.opt.Objective != Supervised || e.opt.AssistantOnlyLoss {
		return []rowResult{{rawRow: place, err: errors.New("a text file has no answers to train on; " +
			"only sft and pretrain without assistant_only_loss can use it")}}
	}
	if raw.doc == "" {
		if raw.row > 1 {
			return nil
		}
		return []rowResult{{rawRow: place, layout: LayoutText, encoded: encoded{drop: DropEmpty}}}
	}
	ids, err := e.tok.AppendIDs(nil, raw.doc, raw.row == 1)
	if err != nil {
		return []rowResult{{rawRow: place, err: err}}
	}
	if raw.last {
		ids = e.withEOS(ids)
	}
	s := whole(ids)
	if err := e.checkIDs([]sequence{s}); err != nil {
		return []rowResult{{rawRow: place, err: err}}
	}
	docs := []sequence{s}
	if e.opt.Overflow != KeepLong {
		docs = windows(s, e.opt.MaxLength)
	}
	out := make([]rowResult, len(docs))
	for i, d := range docs {
		out[i] = rowResult{rawRow: rawRow{line: raw.line, row: i + 1}, layout: LayoutText,
			encoded: encoded{docs: []sequence{d}, full: len(d.ids), sum: hashOf(d)}}
	}
	if len(out) > 0 {
		out[0].warnings = e.warn
	}
	return out
}

// collect books a result and stores its tokens.
func (b *builder) collect(file int, r *rowResult) error {
	l, at := b.ledger, Ref{File: b.paths[file], Line: r.rawRow.line, Row: r.rawRow.row}
	l.Rows++
	if r.err != nil && b.opt.SkipBadRows {
		l.Dropped[DropBadRow]++
		if l.Dropped[DropBadRow] <= maxFaults {
			l.warn(fmt.Sprintf("skipped: %v", r.err), at)
		}
		return nil
	}
	if r.err != nil {
		b.faults = append(b.faults, fmt.Sprintf("%s: %v", at, r.err))
		if len(b.faults) == maxFaults {
			b.more = true
			return errFaults
		}
		return nil
	}
	l.Layouts[r.layout]++
	for _, w := range r.warnings {
		l.warn(w, at)
	}
	if r.truncated {
		l.Truncated++
	}
	if r.drop == "" && b.opt.DropDuplicates && b.duplicate(r.sum) {
		r.drop = DropDuplicate
	}
	if r.drop != "" {
		l.Dropped[r.drop]++
		return nil
	}
	l.Kept++
	if b.store.arity > 1 {
		err := b.put(r.rawRow, r.docs)
		b.store.setMargin(r.margin)
		return err
	}
	for i := range r.docs {
		if err := b.put(r.rawRow, r.docs[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

// put stores one record of arity documents.
func (b *builder) put(place rawRow, docs []sequence) error {
	b.store.add(place.line, place.row, docs)
	for _, d := range docs {
		for i, id := range d.ids {
			t := packToken(id, d.codes[i])
			if b.store.mem != nil {
				b.store.mem = append(b.store.mem, t)
			}
			if b.sink != nil {
				if err := b.sink.token(t); err != nil {
					return err
				}
			}
		}
	}
	if b.sink != nil && len(b.store.mem) > memoryTokens {
		b.store.mem = nil
	}
	b.ledger.count(docs, b.opt)
	return nil
}

// count books the tokens of a kept record: a document and those that are trained, or the prompt and, all trained, the
// answers.
func (l *Ledger) count(docs []sequence, opt Options) {
	if len(docs) == 1 {
		n := len(docs[0].ids)
		l.Tokens += int64(n)
		for _, c := range docs[0].codes[1:] {
			if c != 0 {
				l.Trained++
			}
		}
		l.Longest = max(l.Longest, n)
		return
	}
	prompt := 0
	for _, answer := range docs[1:] {
		p := len(docs[0].ids)
		from, a, z := clip(p, len(answer.ids), opt.MaxLength, opt.TruncationMode == KeepEnd)
		prompt = max(prompt, p-from)
		l.Tokens += int64(z - a)
		l.Trained += int64(z - a)
		l.Longest = max(l.Longest, p-from+z-a)
	}
	l.Tokens += int64(prompt)
}

func (b *builder) duplicate(sum uint64) bool {
	_, dup := b.seen[sum]
	b.seen[sum] = struct{}{}
	return dup
}

func (b *builder) faultError() error {
	head := "the data has 1 faulty row"
	if n := len(b.faults); n > 1 {
		head = fmt.Sprintf("the data has %d faulty rows", n)
	}
	if b.more {
		head = fmt.Sprintf("the data has faulty rows; the first %d", maxFaults)
	}
	return fmt.Errorf("%w: %s:\n  %s", ErrRows, head, strings.Join(b.faults, "\n  "))
}

// ErrRows is wrapped by errors about rows that can't be used.
var ErrRows = errors.New("data")
