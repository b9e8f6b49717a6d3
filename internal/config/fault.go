package config

import (
	"fmt"
	"strings"
)

// Fault is one thing that is wrong with a run config.
type Fault struct {
	Place string // "run.yaml:12", "flag --lr", "env MLTRAIN_SEED"; empty when the fault has no single place
	Key   string // the key as it was written; may be empty
	Text  string // what was found, what is expected, what to do
}

// Error returns "place: key: text", leaving out what is empty.
func (f Fault) Error() string {
	var b strings.Builder
	if f.Place != "" {
		b.WriteString(f.Place + ": ")
	}
	if f.Key != "" {
		b.WriteString(f.Key + ": ")
	}
	b.WriteString(f.Text)
	return b.String()
}

// Faults is every fault of a run config, in the order in which they stand.
type Faults []Fault

// Error returns the faults, one a line.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the single faults.
func (fs Faults) Unwrap() []error {
	errs := make([]error, len(fs))
	for i, f := range fs {
		errs[i] = f
	}
	return errs
}

func (fs *Faults) add(place, key, format string, args ...any) {
	*fs = append(*fs, Fault{Place: place, Key: key, Text: fmt.Sprintf(format, args...)})
}

// orNil returns fs as an error, nil when there are none.
func (fs Faults) orNil() error {
	if len(fs) == 0 {
		return nil
	}
	return fs
}
