package data

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"sync"
)

// Packing says how documents share a row of max_length tokens.
type Packing string

// The strategies: none; best-fit decreasing, documents whole; and one stream of all documents, cut every max_length tokens.
// Documents never attend to each other in either.
const (
	NoPacking   Packing = ""
	PackBestFit Packing = "bfd"
	PackWrapped Packing = "wrapped"
)

// megaBatches is how many batches are shuffled together before they are sorted by length (as in transformers).
const megaBatches = 50

// LoaderOptions say how rows become micro-batches.
type LoaderOptions struct {
	BatchSize     int // rows, or packed rows, of a micro-batch
	Packing       Packing
	PaddingFree   bool // without packing: concatenate the rows instead of padding them
	GroupByLength bool // without packing: batch rows of similar length
	Shuffle       bool
	Seed          uint64
	DropLast      bool // leave out the last micro-batch when it is not full
}

// Limits bound every micro-batch that a loader can give, in any epoch.
type Limits struct {
	Tokens    int // tokens of a micro-batch, padding included
	Sequences int // documents of a micro-batch
	SeqLen    int // tokens of one sequence
	Keys      int // keys of a micro-batch that shares prompts, else 0
	MaxK      int // keys that one sequence of such a micro-batch sees
}

// Loader gives a dataset's micro-batches. Which rows micro-batch i of an epoch holds is a pure function of the dataset, the
// options, the epoch and i: a run resumes from two counters. It is safe for concurrent use.
type Loader struct {
	ds       *Dataset
	opt      LoaderOptions
	bins     *bins // PackBestFit
	limits   Limits
	canShare bool
	units    int // rows, bins or windows of an epoch
	tokens   int64

	mu    sync.Mutex
	epoch int
	plan  *plan // of epoch
}

// plan is the order of one epoch.
type plan struct {
	order  []int32 // rows or bins
	offset []int64 // PackWrapped: of each row in the stream, and the end
}

// NewLoader plans the micro-batches of a supervised dataset.
func NewLoader(ds *Dataset, opt LoaderOptions) (*Loader, error) {
	if ds.objective != Supervised && opt.Packing != NoPacking {
		return nil, fmt.Errorf("%w: preference rows are not packed", ErrOptions)
	}
	switch {
	case opt.BatchSize < 1:
		return nil, fmt.Errorf("%w: batch size is %d; it must be at least 1", ErrOptions, opt.BatchSize)
	case opt.Packing != NoPacking && opt.Packing != PackBestFit && opt.Packing != PackWrapped:
		return nil, fmt.Errorf("%w: packing strategy %q is not known; it is bfd or wrapped", ErrOptions, opt.Packing)
	case opt.Packing != NoPacking && opt.GroupByLength:
		return nil, fmt.Errorf("%w: packing and group_by_length exclude each other", ErrOptions)
	}
	l := &Loader{ds: ds, opt: opt, epoch: -1, units: ds.Len()}
	lengths := make([]int32, ds.Len())
	for i := range lengths {
		n := ds.Length(i)
		if n > ds.maxLength && opt.Packing != PackWrapped {
			return nil, fmt.Errorf("%w: row %s has %d tokens, more than max_length %d; only packing %q takes such rows",
				ErrOptions, ds.Ref(i), n, ds.maxLength, PackWrapped)
		}
		lengths[i] = int32(n)
		l.tokens += int64(n)
	}
	switch opt.Packing {
	case PackBestFit:
		l.bins = packBestFit(lengths, ds.maxLength)
		l.units = l.bins.len()
	case PackWrapped:
		l.units = int((l.tokens + int64(ds.maxLength) - 1) / int64(ds.maxLength))
	}
	l.limits, l.canShare = l.bound(lengths), l.shareable()
	if l.MicroBatches(0) == 0 {
		return nil, fmt.Errorf("%w: %d rows make no full micro-batch of %d; lower the batch size or keep the last", ErrOptions, l.units, opt.BatchSize)
	}
	return l, nil
}

// boundAnswers computes Limits of preference batches: two sequences a pair, and for KTO any prompt with any answer.
func (l *Loader) boundAnswers(lengths []int32) Limits {
	s, size, longest := l.ds.store, min(l.opt.BatchSize, l.units), int(slices.Max(lengths))
	if l.ds.objective == Preference {
		return Limits{Tokens: 2 * size * longest, Sequences: 2 * size, SeqLen: longest}
	}
	prompt, completion := 0, 0
	for i := range l.ds.Len() {
		lens := s.lens[l.ds.at(i)*s.arity:]
		prompt, completion = max(prompt, int(lens[0])), max(completion, int(lens[1]))
	}
	longest = min(l.ds.maxLength, prompt+completion)
	return Limits{Tokens: size * longest, Sequences: size, SeqLen: longest}
}

// bound computes Limits: the BatchSize longest rows, or fullest bins, may meet in one micro-batch.
func (l *Loader) bound(lengths []int32) Limits {
	top := func(values []int32) (sum int) {
		slices.SortFunc(values, func(a, b int32) int { return cmp.Compare(b, a) })
		for _, v := range values[:min(l.opt.BatchSize, len(values))] {
			sum += int(v)
		}
		return sum
	}
	if l.ds.objective != Supervised {
		return l.boundAnswers(lengths)
	}
	size := min(l.opt.BatchSize, l.units)
	switch l.opt.Packing {
	case PackBestFit:
		tokens, docs := make([]int32, l.units), make([]int32, l.units)
		for k := range l.units {
			for _, row := range l.bins.bin(int32(k)) {
				tokens[k] += lengths[row]
				docs[k]++
			}
		}
		return Limits{Tokens: top(tokens), Sequences: top(docs), SeqLen: int(slices.Max(lengths))}
	case PackWrapped:
		// A window holds at most as many documents as its tokens allow; the shortest rows bound that better.
		sorted := slices.Sorted(slices.Values(lengths))
		docs, room := 0, size*l.ds.maxLength
		for _, n := range sorted {
			if room -= int(n); room < 0 {
				break
			}
			docs++
		}
		return Limits{Tokens: int(min(l.tokens, int64(size*l.ds.maxLength))), Sequences: docs + 2*size,
			SeqLen: min(l.ds.maxLength, int(sorted[len(sorted)-1]))}
	}
	longest := int(slices.Max(lengths))
	if l.opt.PaddingFree {
		return Limits{Tokens: top(lengths), Sequences: size, SeqLen: longest}
	}
	return Limits{Tokens: size * longest, Sequences: size, SeqLen: longest}
}

// Limits bounds every micro-batch of this loader; memory is planned by it.
func (l *Loader) Limits() Limits { return l.limits }

// Dataset is what the loader reads.
func (l *Loader) Dataset() *Dataset { return l.ds }

// MicroBatches is the number of micro-batches of an epoch. It is the same for all epochs.
func (l *Loader) MicroBatches(epoch int) int {
	if l.opt.DropLast {
		return l.units / l.opt.BatchSize
	}
	return (l.units + l.opt.BatchSize - 1) / l.opt.BatchSize
}

func (l *Loader) planOf(epoch int) *plan {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epoch == epoch {
		return l.plan
	}
	p := &plan{}
	if l.opt.Packing == PackWrapped {
		p.order = count(l.ds.Len())
	} else {
		p.order = count(l.units)
	}
	if l.opt.Shuffle {
		newStream(l.opt.Seed, streamEpoch, uint64(epoch)).shuffle(p.order)
	}
	if l.opt.GroupByLength {
		l.groupByLength(p.order, epoch)
	}
	if l.opt.Packing == PackWrapped {
		p.offset = make([]int64, len(p.order)+1)
		for i, row := range p.order {
			p.offset[i+1] = p.offset[i] + int64(l.ds.Length(int(row)))
		}
	}
	l.epoch, l.plan = epoch, p
	return p
}

// groupByLength sorts runs of megaBatches micro-batches by falling length and shuffles the full micro-batches.
func (l *Loader) groupByLength(order []int32, epoch int) {
	size := l.opt.BatchSize
	for i := 0; i < len(order); i += megaBatches * size {
		mega := order[i:min(i+megaBatches*size, len(order))]
		slices.SortStableFunc(mega, func(a, b int32) int { return cmp.Compare(l.ds.Length(int(b)), l.ds.Length(int(a))) })
	}
	if !l.opt.Shuffle {
		return
	}
	full := count(len(order) / size)
	newStream(l.opt.Seed, streamBatches, uint64(epoch)).shuffle(full)
	sorted := slices.Clone(order)
	for k, from := range full {
		copy(order[k*size:(k+1)*size], sorted[int(from)*size:])
	}
}

// Batch gives micro-batch i of an epoch (both from 0).
func (l *Loader) Batch(epoch, i int) (*Batch, error) {
	b := &Batch{}
	return b, l.Fill(b, epoch, i)
}

// Fill is Batch into b's own memory: once b has grown to the largest micro-batch, nothing is allocated for tokens in memory.
func (l *Loader) Fill(b *Batch, epoch, i int) error {
	if l.ds.objective != Supervised {
		return fmt.Errorf("%w: the dataset holds preference rows; use FillPairs or FillUnpaired", ErrOptions)
	}
	units, err := l.unitsOf(epoch, i)
	if err != nil {
		return err
	}
	b.reset()
	switch l.opt.Packing {
	case PackBestFit:
		for _, k := range units {
			for _, row := range l.bins.bin(k) {
				if err := l.addRow(b, int(row), 0); err != nil {
					return err
				}
			}
		}
	case PackWrapped:
		if err := l.addWindows(b, epoch, i); err != nil {
			return err
		}
	default:
		stride := 0
		if !l.opt.PaddingFree {
			for _, row := range units {
				stride = max(stride, l.ds.Length(int(row)))
			}
		}
		for _, row := range units {
			if err := l.addRow(b, int(row), stride); err != nil {
				return err
			}
		}
	}
	b.finish()
	return nil
}

// Tokens is the number of tokens of a micro-batch without padding, found without reading any.
func (l *Loader) Tokens(epoch, i int) (int, error) {
	units, err := l.unitsOf(epoch, i)
	if err != nil {
		return 0, err
	}
	if l.opt.Packing == PackWrapped {
		size := l.opt.BatchSize * l.ds.maxLength
		return int(min(int64(size), l.tokens-int64(i)*int64(size))), nil
	}
	n := 0
	for _, k := range units {
		rows := []int32{k}
		if l.opt.Packing == PackBestFit {
			rows = l.bins.bin(k)
		}
		for _, row := range rows {
			n += l.ds.Length(int(row))
		}
	}
	return n, nil
}

// unitsOf gives the rows or bins of a micro-batch; nothing for PackWrapped.
func (l *Loader) unitsOf(epoch, i int) ([]int32, error) {
	if n := l.MicroBatches(epoch); epoch < 0 || i < 0 || i >= n {
		return nil, fmt.Errorf("%w: micro-batch %d of epoch %d is asked for, an epoch has %d", ErrOptions, i, epoch, n)
	}
	if l.opt.Packing == PackWrapped {
		return nil, nil
	}
	size := l.opt.BatchSize
	return l.planOf(epoch).order[i*size : min((i+1)*size, l.units)], nil
}

func (l *Loader) addRow(b *Batch, row, stride int) (err error) {
	if b.stored, err = l.ds.store.read(l.ds.at(row), b.stored[:0]); err != nil {
		return err
	}
	b.add(b.stored, l.ds.Ref(row), stride, l.ds.padID)
	return nil
}

// addWindows cuts the micro-batch's windows out of the stream of all documents; a document that is cut goes on as a document
// of its own.
func (l *Loader) addWindows(b *Batch, epoch, i int) (err error) {
	p, size := l.planOf(epoch), int64(l.ds.maxLength)
	for w := i * l.opt.BatchSize; w < min((i+1)*l.opt.BatchSize, l.units); w++ {
		from, to := int64(w)*size, min(int64(w+1)*size, l.tokens)
		k := sort.Search(len(p.order), func(k int) bool { return p.offset[k+1] > from })
		for ; from < to; k++ {
			row := int(p.order[k])
			if b.stored, err = l.ds.store.read(l.ds.at(row), b.stored[:0]); err != nil {
				return err
			}
			end := min(to, p.offset[k+1])
			b.add(b.stored[from-p.offset[k]:end-p.offset[k]], l.ds.Ref(row), 0, 0)
			from = end
		}
	}
	return nil
}

// Efficiency is the share of an epoch's token slots that hold tokens: of max_length a packed row, of the padded batch
// otherwise; 1 when rows are concatenated.
func (l *Loader) Efficiency(epoch int) float64 {
	slots := int64(l.units) * int64(l.ds.maxLength)
	if l.opt.Packing == NoPacking {
		if l.opt.PaddingFree {
			return 1
		}
		slots = 0
		order, size := l.planOf(epoch).order, l.opt.BatchSize
		for i := 0; i < len(order); i += size {
			rows, longest := order[i:min(i+size, len(order))], 0
			for _, row := range rows {
				longest = max(longest, l.ds.Length(int(row)))
			}
			slots += int64(len(rows) * longest)
		}
	}
	return float64(l.tokens) / float64(max(1, slots))
}
