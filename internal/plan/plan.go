// Package plan counts what a run needs without computing anything: a Counter is a backend whose memory is only numbers
// and whose kernels only add up floating-point operations. Building a model, its optimiser state and a measuring tape on
// a Counter with the very code of a real run gives the exact bytes by purpose, before any weight is read.
package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mltrain/mltrain/internal/tensor"
)

// Counter is a tensor.Backend that computes nothing.
type Counter struct {
	allocated map[tensor.Use]int64
	peak      int64
	// FLOPs are the floating-point operations of matrix products and attention so far; a multiply-add counts two.
	FLOPs float64
}

// NewCounter returns a Counter with nothing allocated.
func NewCounter() *Counter { return &Counter{allocated: map[tensor.Use]int64{}} }

// Mapping is a Counter for a backend that uses a checkpoint's bytes where they lie.
type Mapping struct{ *Counter }

// Import counts the bytes as mapped.
func (m Mapping) Import(b []byte) (tensor.Buffer, error) {
	return m.Alloc(int64(len(b)), tensor.UseMapped)
}

// For returns a Counter, and the backend by which it counts for b. What b holds from the start is counted already.
func For(b tensor.Backend) (*Counter, tensor.Backend) {
	c := NewCounter()
	if r, ok := b.(tensor.Reserver); ok {
		for use, n := range r.Reserved() {
			c.allocated[use] += n
		}
		c.peak = c.Total()
	}
	if _, ok := b.(tensor.Importer); ok {
		return c, Mapping{c}
	}
	return c, c
}

type buffer struct {
	bytes int64
	use   tensor.Use
}

func (b *buffer) Bytes() int64 { return b.bytes }

// Name returns "plan".
func (c *Counter) Name() string { return "plan" }

// Alloc counts bytes.
func (c *Counter) Alloc(bytes int64, use tensor.Use) (tensor.Buffer, error) {
	if bytes < 0 {
		return nil, fmt.Errorf("plan: allocation of %d bytes for %s", bytes, use)
	}
	c.allocated[use] += bytes
	c.peak = max(c.peak, c.Total())
	return &buffer{bytes, use}, nil
}

// Free takes the buffer's bytes off.
func (c *Counter) Free(b tensor.Buffer) {
	if b, ok := b.(*buffer); ok {
		c.allocated[b.use] -= b.bytes
	}
}

// Allocated returns the bytes allocated now, by purpose.
func (c *Counter) Allocated() map[tensor.Use]int64 { return maps.Clone(c.allocated) }

// Total returns the bytes allocated now.
func (c *Counter) Total() int64 { return Total(c.allocated) }

// Peak returns the largest total so far.
func (c *Counter) Peak() int64 { return c.peak }

// Total sums bytes by purpose.
func Total(m map[tensor.Use]int64) (n int64) {
	for _, b := range m {
		n += b
	}
	return n
}

// Table formats bytes by purpose, largest first, with their total.
func Table(m map[tensor.Use]int64) string {
	uses := slices.SortedFunc(maps.Keys(m), func(a, b tensor.Use) int {
		if m[a] != m[b] {
			if m[a] > m[b] {
				return -1
			}
			return 1
		}
		return strings.Compare(string(a), string(b))
	})
	var b strings.Builder
	var total int64
	for _, u := range uses {
		if m[u] != 0 {
			fmt.Fprintf(&b, "%-16s %12s\n", u, FormatBytes(m[u]))
			total += m[u]
		}
	}
	fmt.Fprintf(&b, "%-16s %12s\n", "total", FormatBytes(total))
	return b.String()
}

// Upload does nothing.
func (c *Counter) Upload(tensor.Tensor, []byte) error { return nil }

// Download does nothing: dst keeps what it holds.
func (c *Counter) Download([]byte, tensor.Tensor) error { return nil }

// Copy does nothing.
func (c *Counter) Copy(_, _ tensor.Tensor) error { return nil }

// Zero does nothing.
func (c *Counter) Zero(tensor.Tensor) error { return nil }

// Sync does nothing.
func (c *Counter) Sync() error { return nil }
