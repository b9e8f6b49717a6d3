// Package cpu is the CPU backend: every kernel of tensor.Kernels in Go, with inner loops in assembly on amd64 (package
// vec), matrix products by package gemm, and loops spread over cores by package par.
//
// Kernels check types, sizes and indices before they touch memory and return errors that name the kernel and the
// operands. Work is cut by shapes alone, and every reduction has a fixed order, so that a result is the same bits for any
// GOMAXPROCS. Element-wise kernels work on pieces that fit the first-level cache, in float32: operands in bfloat16 are
// converted piece by piece, so each kernel exists once. The commonest have loops on bfloat16, too, which give the same bits.
package cpu

import (
	"math"
	"sync"
	"sync/atomic"

	"github.com/mltrain/mltrain/internal/cpu/gemm"
	"github.com/mltrain/mltrain/internal/cpu/vec"
	"github.com/mltrain/mltrain/internal/tensor"
)

// Backend computes on the CPU. Its methods may be called from one goroutine at a time, except Alloc, Free and Import.
type Backend struct {
	v *vec.Ops

	mu          sync.Mutex
	used        map[tensor.Use]int64
	total, peak int64
	free        []*scratch
}

var (
	_ tensor.Backend   = (*Backend)(nil)
	_ tensor.Importer  = (*Backend)(nil)
	_ tensor.PeakMeter = (*Backend)(nil)
)

// Option changes what New makes.
type Option func(*options)

type options struct{ level vec.Level }

// WithLevel bounds the instruction set of the kernels other than Gemm: for tests, and to get another machine's bits.
func WithLevel(l vec.Level) Option { return func(o *options) { o.level = l } }

// New returns a backend that uses the best instruction set of the machine.
func New(opts ...Option) *Backend {
	o := options{level: vec.LevelAVX512}
	for _, f := range opts {
		f(&o)
	}
	return &Backend{v: vec.Best(o.level), used: map[tensor.Use]int64{}}
}

// Name returns "cpu (avx512)", "cpu (avx2)" or "cpu (portable)", with ", amx" before the bracket if matrices are multiplied by AMX: names for what
// computes the same bits.
func (b *Backend) Name() string {
	if gemm.HasPacked() {
		return "cpu (" + b.v.Level.String() + ", amx)"
	}
	return "cpu (" + b.v.Level.String() + ")"
}

// piece is the number of elements that a task works on at a time: several operands fit the first-level cache.
const piece = 1024

// grain is the number of elements below which splitting work is not worth a task.
const grain = 16 * piece

// scratch is the working memory of one task at a time. Its slices grow to the largest size asked for.
type scratch struct {
	f [8][]float32
	d []float64
	h []uint16
	n []atomic.Int32

	products []gemm.Product
	packed   [6]gemm.Packed
}

var negInf = float32(math.Inf(-1))

// floats returns slice i of the scratch, of length n; its contents are undefined.
func (s *scratch) floats(i, n int) []float32 {
	if cap(s.f[i]) < n {
		s.f[i] = make([]float32, n)
	}
	return s.f[i][:n]
}

// doubles is floats for the one float64 slice.
func (s *scratch) doubles(n int) []float64 {
	if cap(s.d) < n {
		s.d = make([]float64, n)
	}
	return s.d[:n]
}

// halves is floats for the one 16-bit slice.
func (s *scratch) halves(n int) []uint16 {
	if cap(s.h) < n {
		s.h = make([]uint16, n)
	}
	return s.h[:n]
}

// counters is floats for the one slice of counters.
func (s *scratch) counters(n int) []atomic.Int32 {
	if cap(s.n) < n {
		s.n = make([]atomic.Int32, n)
	}
	return s.n[:n]
}

// borrow returns a scratch for the exclusive use of the caller until it is given back.
func (b *Backend) borrow() *scratch {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.free); n > 0 {
		s := b.free[n-1]
		b.free = b.free[:n-1]
		return s
	}
	return &scratch{}
}

func (b *Backend) giveBack(s *scratch) {
	b.mu.Lock()
	b.free = append(b.free, s)
	b.mu.Unlock()
}
