package checkpoint

import (
	"errors"
	"fmt"
	"strings"
)

// Errors that callers may branch on with errors.Is.
var (
	// ErrFormat: the file is not what its name says (a hostile, truncated or damaged safetensors file or shard index).
	ErrFormat = errors.New("not a valid safetensors checkpoint")
	// ErrNoWeights: the directory holds no safetensors weights.
	ErrNoWeights = errors.New("no safetensors weights")
	// ErrNoTensor: the checkpoint has no tensor of that name.
	ErrNoTensor = errors.New("no such tensor")
	// ErrDType: the tensor is there, but in a dtype that mltrain does not compute with.
	ErrDType = errors.New("unreadable dtype")
	// ErrClosed: the reader was closed.
	ErrClosed = errors.New("checkpoint reader is closed")
)

// maxFaults bounds how many faults one message lists: a file with 10,000 of them is understood after twenty.
const maxFaults = 20

// faults collects what is wrong with one file so that a user sees all of it at once.
type faults []string

func (f *faults) add(format string, args ...any) { *f = append(*f, fmt.Sprintf(format, args...)) }

// err is nil without faults; else it names where, and wraps kind.
func (f faults) err(where string, kind error) error {
	switch {
	case len(f) == 0:
		return nil
	case len(f) == 1:
		return fmt.Errorf("%s: %w: %s", where, kind, f[0])
	}
	shown, more := []string(f), ""
	if len(shown) > maxFaults {
		more = fmt.Sprintf("\n  - … and %d more", len(shown)-maxFaults)
		shown = shown[:maxFaults]
	}
	return fmt.Errorf("%s: %w: %d faults:\n  - %s%s", where, kind, len(f), strings.Join(shown, "\n  - "), more)
}
