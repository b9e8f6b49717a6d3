package gemm

import (
	"sync"
	"sync/atomic"
)

// Buffers for packed blocks are kept and used again, in free lists of the whole process: a training step calls the
// same shapes thousands of times and must not allocate, and a sync.Pool forgets its buffers at every garbage
// collection. There are never more buffers than there were products and workers at one time, and each is bounded by
// the blocking (see block.go), whatever the shapes.

// PackBytes is the memory that packing buffers hold now. It never shrinks.
func PackBytes() int64 { return packBytes.Load() }

// MaxPackBytes is what PackBytes grows to at most with this many workers (par.Workers) and one product at a time, as
// long as K is at most 32768 where C is bfloat16, and 262144 where it has no more than eight rows.
func MaxPackBytes(workers int) int64 {
	s := standard
	margin := 1 << 12 // rounding to tiles
	slab := max(s.slabWords, minSlabRows*32768, workers*(s.slabRows+minSlabRows)*s.halfBlock) + margin
	block := 2*s.columnBlock*(s.kBlock+s.slabRows+minSlabRows+1) + halfScratch + margin
	if a := engines[0].amx; a != nil {
		block += (a.secondBytes+a.firstBytes)/4 + a.sumWords + a.secondLanes/amxLanes*amxLine
	}
	return 4 * int64(slab+wideWords+workers*block)
}

var (
	packBytes atomic.Int64
	jobs      freeList[job]
	parts     workerList[job] // their slabs belong to the job that they are parts of
	blocks    workerList[block]
)

// freeList hands out values that keep their buffers, the last that came back first.
type freeList[T any] struct {
	mu   sync.Mutex
	free []*T
}

func (l *freeList[T]) get() *T {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.free)
	if n == 0 {
		return new(T)
	}
	v := l.free[n-1]
	l.free = l.free[:n-1]
	return v
}

func (l *freeList[T]) put(v *T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free = append(l.free, v)
}

// workerList is a freeList that keeps one value for every worker, which is in its core's cache, and takes no lock for it: workers begin
// their tasks in the same moment.
type workerList[T any] struct {
	own [64]struct {
		value atomic.Pointer[T]
		_     [56]byte // each has a cache line of its own
	}
	rest freeList[T] // of further workers, and of several with one number
}

func (l *workerList[T]) get(worker int) *T {
	if worker < len(l.own) {
		if v := l.own[worker].value.Swap(nil); v != nil {
			return v
		}
	}
	return l.rest.get()
}

func (l *workerList[T]) put(worker int, v *T) {
	if worker >= len(l.own) || !l.own[worker].value.CompareAndSwap(nil, v) {
		l.rest.put(v)
	}
}

// grow returns s with at least n words; what it held is lost.
func grow[T uint32 | float32](s []T, n int) []T {
	if cap(s) < n {
		packBytes.Add(4 * int64(n-cap(s)))
		return make([]T, n)
	}
	return s[:n]
}
