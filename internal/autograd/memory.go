package autograd

import (
	"fmt"
	"slices"

	"github.com/mltrain/mltrain/internal/tensor"
)

// align is the granularity of allocations in bytes: enough for any vector load and for a GPU's memory transactions.
const align = 256

func alignUp(n int64) int64 { return (n + align - 1) &^ (align - 1) }

// unbounded is the capacity of memory that is only counted.
const unbounded = int64(1) << 60

// Plan is the memory that the programs of a tape need, measured by a dry run with the largest batch: bytes of the
// arena (forward values) and of the pool (gradients of forward values, and scratch), and where in the pool each
// allocation of each program goes.
type Plan struct {
	Arena, Pool int64
	slots       map[string][]span
}

type span struct{ off, len int64 }

// arena hands out forward values by bumping an offset; it is reset as a whole or to a mark. When it may grow, it is a
// list of chunks.
type arena struct {
	dev    tensor.Device
	chunks []tensor.Buffer
	cur    int // index of the chunk in use
	off    int64
	peak   int64
	grow   bool
}

type mark struct {
	cur int
	off int64
}

func (a *arena) mark() mark   { return mark{a.cur, a.off} }
func (a *arena) reset(m mark) { a.cur, a.off = m.cur, m.off }

func (a *arena) alloc(bytes int64) (tensor.Buffer, int64, error) {
	n := alignUp(bytes)
	for a.cur >= len(a.chunks) || a.off+n > a.chunks[a.cur].Bytes() {
		if a.cur+1 < len(a.chunks) {
			a.cur, a.off = a.cur+1, 0
			continue
		}
		if !a.grow {
			return nil, 0, fmt.Errorf("forward values need more than the %d bytes that were planned", a.chunks[0].Bytes())
		}
		buf, err := a.dev.Alloc(max(n, 1<<20), tensor.UseActivations)
		if err != nil {
			return nil, 0, err
		}
		a.chunks = append(a.chunks, buf)
		a.cur, a.off = len(a.chunks)-1, 0
	}
	off := a.off
	a.off += n
	a.peak = max(a.peak, a.off)
	return a.chunks[a.cur], off, nil
}

// block is an allocation of the pool. refs counts the gradients that share it. A borrowed block is the memory of a
// forward value that nothing reads any more, and not the pool's to take back.
type block struct {
	t        tensor.Tensor
	bytes    int64
	refs     int
	borrowed bool
}

// pool hands out memory that is returned out of order. It works in one of three ways: with free lists per size that
// grow on demand; measuring, when it places blocks best-fit in a virtual buffer and records where; and planned, when
// the i-th allocation of a program goes where the measurement put it. The sequence of allocations of a program does not
// depend on the batch, and sizes only grow with it, so that a plan made for the largest batch serves all.
type pool struct {
	dev tensor.Device

	free map[int64][]*block // growing
	all  []tensor.Buffer    // growing: what was allocated

	buf       tensor.Buffer // measuring, planned
	measuring bool
	gaps      []span // measuring: free spans, by offset
	peak      int64
	slots     map[string][]span

	program string
	next    int
}

func (p *pool) begin(program string) {
	p.program, p.next = program, 0
	if p.measuring {
		p.slots[program] = nil
		p.gaps = []span{{0, unbounded}}
	}
}

func (p *pool) alloc(bytes int64) (*block, error) {
	n := alignUp(bytes)
	switch {
	case p.measuring:
		return p.place(n), nil
	case p.buf != nil:
		slots := p.slots[p.program]
		if p.next >= len(slots) || slots[p.next].len < n {
			return nil, fmt.Errorf("allocation %d of %q (%d bytes) is not in the memory plan", p.next, p.program, n)
		}
		s := slots[p.next]
		p.next++
		return &block{t: tensor.Tensor{Buf: p.buf, Off: s.off}, bytes: n, refs: 1}, nil
	}
	if l := p.free[n]; len(l) > 0 {
		b := l[len(l)-1]
		p.free[n] = l[:len(l)-1]
		b.refs = 1
		return b, nil
	}
	buf, err := p.dev.Alloc(n, tensor.UseDataGrads)
	if err != nil {
		return nil, err
	}
	p.all = append(p.all, buf)
	return &block{t: tensor.Tensor{Buf: buf}, bytes: n, refs: 1}, nil
}

// place puts n bytes into the smallest gap that holds them.
func (p *pool) place(n int64) *block {
	best := -1
	for i, g := range p.gaps {
		if g.len >= n && (best < 0 || g.len < p.gaps[best].len) {
			best = i
		}
	}
	off := p.gaps[best].off
	if p.gaps[best].len == n {
		p.gaps = slices.Delete(p.gaps, best, best+1)
	} else {
		p.gaps[best].off += n
		p.gaps[best].len -= n
	}
	p.peak = max(p.peak, off+n)
	p.slots[p.program] = append(p.slots[p.program], span{off, n})
	return &block{t: tensor.Tensor{Buf: p.buf, Off: off}, bytes: n, refs: 1}
}

func (p *pool) release(b *block) {
	b.refs--
	switch {
	case b.refs > 0 || b.borrowed:
	case p.measuring:
		p.unplace(span{b.t.Off, b.bytes})
	case p.buf == nil:
		p.free[b.bytes] = append(p.free[b.bytes], b)
	}
}

func (p *pool) unplace(s span) {
	i, _ := slices.BinarySearchFunc(p.gaps, s, func(a, b span) int {
		if a.off < b.off {
			return -1
		}
		return 1
	})
	p.gaps = slices.Insert(p.gaps, i, s)
	if i+1 < len(p.gaps) && p.gaps[i].off+p.gaps[i].len == p.gaps[i+1].off {
		p.gaps[i].len += p.gaps[i+1].len
		p.gaps = slices.Delete(p.gaps, i+1, i+2)
	}
	if i > 0 && p.gaps[i-1].off+p.gaps[i-1].len == p.gaps[i].off {
		p.gaps[i-1].len += p.gaps[i].len
		p.gaps = slices.Delete(p.gaps, i, i+1)
	}
}

// virtual is a buffer that exists only in a measurement.
type virtual struct{}

func (virtual) Bytes() int64 { return unbounded }
