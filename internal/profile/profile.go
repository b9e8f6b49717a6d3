// Package profile tells where the time of a step goes: a Timer is a backend that runs another one and adds up what each
// kernel took, by its name and, for matrix products, by its shape.
package profile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mltrain/mltrain/internal/tensor"
)

// Entry is what the calls of one kernel took together.
type Entry struct {
	Name  string        `json:"name"`
	Calls int           `json:"calls"`
	Time  time.Duration `json:"ns"`
	// FLOPs are the floating-point operations of matrix products and attention; 0 for what is bound by memory.
	FLOPs float64 `json:"flops,omitempty"`
}

// Timer is a tensor.Backend that measures another. It waits for the device after every kernel, so that a kernel's time is its
// own; on a device that works asynchronously a step is therefore slower than without.
type Timer struct {
	tensor.Backend
	entries map[string]*Entry
}

// importing is a Timer of a backend that uses host memory in place.
type importing struct {
	*Timer
	tensor.Importer
}

// New returns a Timer of b, and the backend to compute with.
func New(b tensor.Backend) (*Timer, tensor.Backend) {
	t := &Timer{Backend: b, entries: map[string]*Entry{}}
	if im, ok := b.(tensor.Importer); ok {
		return t, importing{t, im}
	}
	return t, t
}

// Peak returns the peak of the backend that is measured, or what it has allocated now if it does not know.
func (t *Timer) Peak() int64 { return tensor.PeakOf(t.Backend) }

// Reset forgets what was measured.
func (t *Timer) Reset() { clear(t.entries) }

// Entries returns what was measured since Reset, the longest first.
func (t *Timer) Entries() []Entry {
	var out []Entry
	for _, e := range t.entries {
		out = append(out, *e)
	}
	slices.SortFunc(out, func(a, b Entry) int {
		if a.Time != b.Time {
			return int(b.Time - a.Time)
		}
		return strings.Compare(a.Name, b.Name)
	})
	return out
}

// ByKernel sums entries of one kernel, whatever its shapes, the longest first.
func ByKernel(entries []Entry) []Entry {
	sums := map[string]*Entry{}
	for _, e := range entries {
		name, _, _ := strings.Cut(e.Name, " ")
		if sums[name] == nil {
			sums[name] = &Entry{Name: name}
		}
		s := sums[name]
		s.Calls, s.Time, s.FLOPs = s.Calls+e.Calls, s.Time+e.Time, s.FLOPs+e.FLOPs
	}
	t := Timer{entries: maps.Clone(sums)}
	return t.Entries()
}

// Table formats entries with their share of their sum.
func Table(entries []Entry) string {
	var total time.Duration
	for _, e := range entries {
		total += e.Time
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-44s %7s %11s %7s %9s\n", "kernel", "calls", "ms", "%", "GFLOP/s")
	for _, e := range entries {
		rate := ""
		if e.FLOPs > 0 {
			rate = fmt.Sprintf("%9.1f", e.FLOPs/float64(e.Time))
		}
		fmt.Fprintf(&b, "%-44s %7d %11.3f %7.1f %9s\n", e.Name, e.Calls, float64(e.Time)/1e6, 100*float64(e.Time)/float64(max(1, total)), rate)
	}
	return b.String()
}

// run measures one call.
func (t *Timer) run(name string, flops float64, fn func() error) error {
	start := time.Now()
	err := fn()
	if err == nil {
		err = t.Sync()
	}
	e := t.entries[name]
	if e == nil {
		e = &Entry{Name: name}
		t.entries[name] = e
	}
	e.Calls++
	e.Time += time.Since(start)
	e.FLOPs += flops
	return err
}
