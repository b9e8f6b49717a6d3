package data

import (
	"errors"
	"fmt"
)

// Objective is what the rows are for.
type Objective int

// The objectives: supervised (also pretraining), pairs of a better and a worse answer, single answers with a label (KTO).
const (
	Supervised Objective = iota
	Preference
	Unpaired
)

// TruncationMode says which end of a row longer than max_length is kept.
type TruncationMode string

// The truncation modes.
const (
	KeepStart TruncationMode = "keep_start"
	KeepEnd   TruncationMode = "keep_end"
)

// Overflow says what happens to rows longer than max_length.
type Overflow int

// Truncate cuts them; SplitLong makes windows of them (packing bfd_split); KeepLong leaves them whole (packing wrapped).
const (
	Truncate Overflow = iota
	SplitLong
	KeepLong
)

// Options say how rows become tokens.
type Options struct {
	Objective          Objective
	MaxLength          int // tokens a row may have, at least 2
	Vocab              int // rows of the model's embedding: an id at or above is an error; 0: not checked
	Template           Template
	AssistantOnlyLoss  bool
	CompletionOnlyLoss *bool // nil: true
	TruncationMode     TruncationMode
	Overflow           Overflow
	NoEOS              bool // don't append EOS
	// Reward takes the margins of preference rows along, and leaves out rows longer than MaxLength instead of cutting them: the
	// score of half an answer is not the answer's.
	Reward         bool
	SkipBadRows    bool // leave faulty rows out and count them, instead of failing
	DropDuplicates bool // drop rows whose tokens equal an earlier row's
	Limit          int  // rows to read of each source; 0: all
	Seed           uint64
	Oversample     bool   // with weighted sources: go on until every source is used up, repeating the others
	Workers        int    // goroutines that tokenise; 0: GOMAXPROCS
	CacheDir       string // where tokenised rows are kept; "": only in memory
	Progress       func(rows int)
}

// ErrOptions is wrapped by errors about Options.
var ErrOptions = errors.New("data options")

func (o Options) check() error {
	switch {
	case o.MaxLength < 2:
		return fmt.Errorf("%w: max_length is %d; a row needs at least 2 tokens, one to see and one to predict", ErrOptions, o.MaxLength)
	case o.TruncationMode != "" && o.TruncationMode != KeepStart && o.TruncationMode != KeepEnd:
		return fmt.Errorf("%w: truncation_mode is %q; it is keep_start or keep_end", ErrOptions, o.TruncationMode)
	case o.Limit < 0 || o.Workers < 0 || o.Vocab < 0:
		return fmt.Errorf("%w: limit, workers and vocab must not be negative", ErrOptions)
	case o.Reward && o.Objective != Preference:
		return fmt.Errorf("%w: a reward model is trained on preference rows", ErrOptions)
	case o.Objective != Supervised && o.Overflow != Truncate:
		return fmt.Errorf("%w: preference rows can't be packed by splitting them", ErrOptions)
	}
	return nil
}

func (o Options) completionOnly() bool { return o.CompletionOnlyLoss == nil || *o.CompletionOnlyLoss }
