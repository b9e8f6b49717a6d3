package ptxvm

import (
	"fmt"
	"math/bits"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
)

// The windows of generic addresses. Global memory lies where a GPU's does: above zero, below 2⁴⁷.
const (
	globalBase = 0x10_0000_0000
	sharedBase = 0x7000_0000_0000
	localBase  = 0x7100_0000_0000
	constBase  = 0x7200_0000_0000
	paramBase  = 0x7300_0000_0000
	windowSize = 0x0100_0000_0000
)

// gap is the number of bytes between allocations, none of which may be touched.
const gap = 4096

// segment is one allocation of global memory.
type segment struct {
	base uint64
	mem  []byte
	// written has a bit per byte: whether it was ever written. It is nil once all of them were.
	written []uint32
}

func (s *segment) end() uint64 { return s.base + uint64(len(s.mem)) }

// initialised tells whether n bytes from offset at on were written.
func (s *segment) initialised(at uint64, n int) bool {
	if s.written == nil {
		return true
	}
	for i := at; i < at+uint64(n); i++ {
		if atomic.LoadUint32(&s.written[i/32])>>(i%32)&1 == 0 {
			return false
		}
	}
	return true
}

// mark records that n bytes from offset at on were written. n is at most 16 and does not cross a multiple of 32.
func (s *segment) mark(at uint64, n int) {
	if s.written != nil {
		atomic.OrUint32(&s.written[at/32], (1<<n-1)<<(at%32))
	}
}

// markRange is mark for any range.
func (s *segment) markRange(at, n uint64) {
	if s.written == nil {
		return
	}
	if at == 0 && n == uint64(len(s.mem)) {
		s.written = nil
		return
	}
	for i := at; i < at+n; i++ {
		s.written[i/32] |= 1 << (i % 32)
	}
}

// Memory is a GPU's global memory: a set of allocations. Its methods may be called from several goroutines, but not while
// a kernel runs.
type Memory struct {
	mu       sync.Mutex
	segments []*segment // by address
	next     uint64
	used     int64
	limit    int64
}

// NewMemory returns memory of which at most limit bytes can be allocated at a time.
func NewMemory(limit int64) *Memory { return &Memory{next: globalBase, limit: limit} }

// Used returns the bytes that are allocated, and Limit the most that can be.
func (m *Memory) Used() int64 { return m.used }

// Limit returns the most bytes that may be allocated.
func (m *Memory) Limit() int64 { return m.limit }

// Alloc returns the address of n new bytes, aligned to 256 and not yet written.
func (m *Memory) Alloc(n int64) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n < 0 || n > m.limit-m.used {
		return 0, fmt.Errorf("ptxvm: alloc of %d bytes: %d of %d are free", n, m.limit-m.used, m.limit)
	}
	s := &segment{base: m.next, mem: make([]byte, n), written: make([]uint32, (n+31)/32)}
	m.next = (m.next + uint64(n) + gap + 255) &^ 255
	m.segments = append(m.segments, s)
	m.used += n
	return s.base, nil
}

// Free ends an allocation. Its addresses are never used again.
func (m *Memory) Free(addr uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, ok := slices.BinarySearchFunc(m.segments, addr, func(s *segment, a uint64) int {
		switch {
		case s.base < a:
			return -1
		case s.base > a:
			return 1
		}
		return 0
	})
	if !ok {
		return fmt.Errorf("ptxvm: free of %#x, which begins no allocation", addr)
	}
	m.used -= int64(len(m.segments[i].mem))
	m.segments = slices.Delete(m.segments, i, i+1)
	return nil
}

// find returns the segment that holds addr, or the last one before it; nil if there is none.
func (m *Memory) find(addr uint64) *segment {
	i := sort.Search(len(m.segments), func(i int) bool { return m.segments[i].base > addr })
	if i == 0 {
		return nil
	}
	return m.segments[i-1]
}

// window returns n bytes at addr for the host.
func (m *Memory) window(what string, addr uint64, n int64) (*segment, []byte, error) {
	s := m.find(addr)
	if s == nil || n < 0 || addr > s.end() || uint64(n) > s.end()-addr {
		return nil, nil, fmt.Errorf("ptxvm: %s of %d bytes at %#x: %s", what, n, addr, m.describe(addr))
	}
	return s, s.mem[addr-s.base : addr-s.base+uint64(n)], nil
}

// Write copies host bytes to addr.
func (m *Memory) Write(addr uint64, src []byte) error {
	s, b, err := m.window("write", addr, int64(len(src)))
	if err != nil {
		return err
	}
	copy(b, src)
	s.markRange(addr-s.base, uint64(len(src)))
	return nil
}

// Read copies bytes at addr to the host, written or not.
func (m *Memory) Read(dst []byte, addr uint64) error {
	_, b, err := m.window("read", addr, int64(len(dst)))
	if err != nil {
		return err
	}
	copy(dst, b)
	return nil
}

// Copy copies n bytes of global memory.
func (m *Memory) Copy(dst, src uint64, n int64) error {
	_, from, err := m.window("copy", src, n)
	if err != nil {
		return err
	}
	return m.Write(dst, from)
}

// Set fills n bytes at addr.
func (m *Memory) Set(addr uint64, value byte, n int64) error {
	s, b, err := m.window("set", addr, n)
	if err != nil {
		return err
	}
	for i := range b {
		b[i] = value
	}
	s.markRange(addr-s.base, uint64(n))
	return nil
}

// describe says where an address lies.
func (m *Memory) describe(addr uint64) string {
	if addr < 1<<16 {
		return "a null pointer"
	}
	s := m.find(addr)
	switch {
	case s == nil:
		return "in no allocation"
	case addr < s.end():
		return fmt.Sprintf("%d bytes into an allocation of %d", addr-s.base, len(s.mem))
	case addr < s.end()+gap:
		return fmt.Sprintf("%d bytes past the end of an allocation of %d", addr-s.end(), len(s.mem))
	}
	return "in no allocation (freed?)"
}

// lowest returns the index of the lowest set bit.
func lowest(m uint32) int { return bits.TrailingZeros32(m) }
