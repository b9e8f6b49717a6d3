package data

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
)

// Dataset is a sequence of tokenised rows, in a fixed order. Splits and mixtures are views of the same rows. It is safe for
// concurrent use.
type Dataset struct {
	store     *store
	index     []int32 // rows of the store, in order; nil: all
	padID     int32
	maxLength int
	keepEnd   bool
	objective Objective
}

// Example is one tokenised row.
type Example struct {
	IDs     []int32
	Weights []float32 // loss weight of each token; 0: not trained
	Ref     Ref
}

// Open reads, renders and tokenises the rows of all sources, or takes them from the cache, and mixes the sources. All faults
// of rows are reported at once, up to ten. That nothing is left to train on is an error. The ledger is given also with an
// error, as far as it goes.
func Open(ctx context.Context, sources []Source, opt Options, tok Tokenizer) (*Dataset, *Ledger, error) {
	ledger := &Ledger{Dropped: map[DropReason]int{}, Layouts: map[Layout]int{}, MaxLength: opt.MaxLength}
	if err := opt.check(); err != nil {
		return nil, ledger, err
	}
	if len(sources) == 0 {
		return nil, ledger, fmt.Errorf("%w: no dataset is named", ErrNoData)
	}
	paths, owner, err := expandAll(sources)
	if err != nil {
		return nil, ledger, err
	}
	st, bounds, ledger, err := openStore(ctx, sources, paths, owner, opt, tok, ledger)
	if err != nil {
		return nil, ledger, err
	}
	if opt.Template != nil {
		ledger.Template = opt.Template.Name()
	}
	if ledger.Kept == 0 {
		err := fmt.Errorf("%w: all %d rows were dropped: %s", ErrNoData, ledger.Rows, ledger.DroppedText())
		if ledger.Rows == 0 {
			err = fmt.Errorf("%w: %s has no rows", ErrNoData, sources[0].Path)
		}
		return nil, ledger, errors.Join(err, st.close())
	}
	d := &Dataset{store: st, maxLength: opt.MaxLength, keepEnd: opt.TruncationMode == KeepEnd, objective: opt.Objective}
	if st.rows() > math.MaxInt32 {
		return nil, ledger, errors.Join(fmt.Errorf("data: %d rows are more than %d", st.rows(), math.MaxInt32), st.close())
	}
	d.padID = PadID(tok)
	if d.index, err = mix(sources, bounds, opt); err != nil {
		return nil, ledger, errors.Join(err, st.close())
	}
	return d, ledger, nil
}

func (s Source) check() error {
	err := CheckColumns(s.Columns)
	switch {
	case err != nil:
		return fmt.Errorf("dataset %s: %w", s.Path, err)
	case !(s.Fraction >= 0 && s.Fraction <= 1000):
		return fmt.Errorf("dataset %s: fraction is %v; it must be above 0 (1 takes all rows, 2 takes them twice)", s.Path, s.Fraction)
	case !(s.Weight >= 0) || math.IsInf(s.Weight, 0):
		return fmt.Errorf("dataset %s: weight is %v; it must be above 0", s.Path, s.Weight)
	}
	return nil
}

// openStore takes the tokenised rows from the cache or builds them.
func openStore(ctx context.Context, sources []Source, paths []string, owner []int, opt Options, tok Tokenizer, ledger *Ledger) (
	*store, []int, *Ledger, error) {
	b := newBuilder(sources, paths, owner, opt, tok, ledger)
	ledger.Files = len(paths)
	key := ""
	if opt.CacheDir != "" {
		var err error
		if key, err = cacheKey(sources, paths, owner, opt, tok); err != nil {
			return nil, nil, ledger, err
		}
		path := filepath.Join(opt.CacheDir, key+".tokens")
		s, meta, err := loadCache(path, key)
		if err == nil {
			meta.Ledger.Cached, meta.Ledger.Cache = true, path
			return s, meta.Bounds, meta.Ledger, nil
		}
		if !isMissing(err) {
			ledger.Warnings = append(ledger.Warnings, Warning{Text: err.Error() + "; tokenised again"})
		}
		if b.sink, err = newCacheWriter(path); err != nil {
			return nil, nil, ledger, err
		}
		ledger.Cache = path
	}
	err := b.run(ctx)
	if b.sink == nil {
		return b.store, b.bounds, ledger, err
	}
	if err == nil {
		meta := cacheMeta{Key: key, Arity: b.store.arity, Rows: b.store.rows(), Margins: len(b.store.margins), Tokens: b.store.tokens, Files: b.store.files,
			First: b.store.first, Bounds: b.bounds, Ledger: ledger}
		b.store.file, err = b.sink.commit(b.store, meta)
	}
	if err != nil {
		b.sink.abandon()
		return nil, nil, ledger, err
	}
	if b.store.mem != nil { // small enough to stay in memory
		b.store.file.Close()
		b.store.file = nil
	}
	return b.store, b.bounds, ledger, nil
}

// Len is the number of rows.
func (d *Dataset) Len() int {
	if d.index == nil {
		return d.store.rows()
	}
	return len(d.index)
}

func (d *Dataset) at(i int) int {
	if d.index == nil {
		return i
	}
	return int(d.index[i])
}

// Length is the number of tokens of row i; of a pair, the longer of prompt+chosen and prompt+rejected.
func (d *Dataset) Length(i int) int {
	lens := d.store.lens[d.at(i)*d.store.arity:][:d.store.arity]
	if d.store.arity == 1 {
		return int(lens[0])
	}
	longest := uint32(0)
	for _, answer := range lens[1:] {
		longest = max(longest, lens[0]+answer)
	}
	return min(int(longest), d.maxLength)
}

// Longest is the largest Length.
func (d *Dataset) Longest() int {
	longest := 0
	for i := range d.Len() {
		longest = max(longest, d.Length(i))
	}
	return longest
}

// Ref says where row i came from.
func (d *Dataset) Ref(i int) Ref { return d.store.ref(d.at(i)) }

// PadID is the id that fills up padded rows. It decides what is padding only where a reward model reads its score
// (Batch.TargetLast).
func (d *Dataset) PadID() int32 { return d.padID }

// PadID is the id that fills up padded rows of a tokenizer: PAD, else EOS, else 0.
func PadID(tok Tokenizer) int32 {
	if id, ok := tok.PAD(); ok {
		return id
	}
	if id, ok := tok.EOS(); ok {
		return id
	}
	return 0
}

// MaxLength is the limit the rows were cut to.
func (d *Dataset) MaxLength() int { return d.maxLength }

// Margin tells by how much the chosen answer of row i is better, 0 if the row does not say (see Options.Reward).
func (d *Dataset) Margin(i int) float64 { return d.store.margin(d.at(i)) }

// Example reads row i of a supervised dataset.
func (d *Dataset) Example(i int) (Example, error) {
	tokens, err := d.store.read(d.at(i), nil)
	if err != nil {
		return Example{}, err
	}
	ex := Example{IDs: make([]int32, len(tokens)), Weights: make([]float32, len(tokens)), Ref: d.Ref(i)}
	for k, t := range tokens {
		ex.IDs[k], ex.Weights[k] = tokenID(t), float32(tokenCode(t))/weightUnit
	}
	return ex, nil
}

// Close releases the token cache's file. Views share it.
func (d *Dataset) Close() error { return d.store.close() }
