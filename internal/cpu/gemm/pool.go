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
	slab := max(s.slabWords, minSlabRows*32768) + margin
	block := s.columnBlock*s.kBlock + s.columnBlock*(s.slabRows+minSlabRows) + s.columnBlock + halfScratch + margin
	return 4 * int64(slab+wideWords+workers*block)
}

var (
	packBytes atomic.Int64
	jobs      freeList[job]
	blocks    freeList[block]
)

// freeList hands out values that keep their buffers. Every worker has values of its own, which are in its core's cache.
type freeList[T any] struct {
	// The value that a worker of a low number gave back last, or nil. Workers begin their tasks in the same moment, and waiting for a lock
	// costs as much as a small product.
	last [64]struct {
		value atomic.Pointer[T]
		_     [56]byte // each has a cache line of its own
	}

	mu   sync.Mutex
	free [][]*T // all others, by worker
}

func (l *freeList[T]) get(worker int) *T {
	if worker < len(l.last) {
		if v := l.last[worker].value.Swap(nil); v != nil {
			return v
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.free) <= worker {
		l.free = append(l.free, nil)
	}
	free := l.free[worker]
	n := len(free)
	if n == 0 {
		return new(T)
	}
	v := free[n-1]
	l.free[worker] = free[:n-1]
	return v
}

func (l *freeList[T]) put(worker int, v *T) {
	if worker < len(l.last) && l.last[worker].value.CompareAndSwap(nil, v) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free[worker] = append(l.free[worker], v)
}

// grow returns s with at least n words; what it held is lost.
func grow[T uint32 | float32](s []T, n int) []T {
	if cap(s) < n {
		packBytes.Add(4 * int64(n-cap(s)))
		return make([]T, n)
	}
	return s[:n]
}
