package tokenizer

import (
	"slices"
)

// mergeTable maps a pair of neighbouring ids to the rank of their merge and the id it makes: a hash table with open
// addressing, built once and only read afterwards.
type mergeTable struct {
	shift   uint
	mask    uint64
	entries []mergeEntry
}

type mergeEntry struct {
	pair uint64 // left<<32 | right
	rank uint32 // 0 means free: ranks are stored plus one
	id   int32
}

func newMergeTable(n int) *mergeTable {
	bits := uint(4)
	for 1<<bits < 2*n {
		bits++
	}
	return &mergeTable{shift: 64 - bits, mask: 1<<bits - 1, entries: make([]mergeEntry, 1<<bits)}
}

func pairOf(a, b int32) uint64 { return uint64(uint32(a))<<32 | uint64(uint32(b)) }

func (t *mergeTable) slot(pair uint64) uint64 {
	pair ^= pair >> 29
	return pair * 0x9E3779B97F4A7C15 >> t.shift
}

// set stores a merge; a pair that is there already gets the new rank, as in the reference.
func (t *mergeTable) set(a, b int32, rank int, id int32) {
	pair := pairOf(a, b)
	i := t.slot(pair)
	for t.entries[i].rank != 0 && t.entries[i].pair != pair {
		i = (i + 1) & t.mask
	}
	t.entries[i] = mergeEntry{pair, uint32(rank) + 1, id}
}

// noMerge ranks behind every merge.
const noMerge = ^uint32(0)

// get returns the rank and id of a merge, or noMerge.
func (t *mergeTable) get(a, b int32) (uint32, int32) {
	pair := pairOf(a, b)
	i := t.slot(pair)
	for {
		e := &t.entries[i]
		if e.rank == 0 {
			return noMerge, 0
		}
		if e.pair == pair {
			return e.rank, e.id
		}
		i = (i + 1) & t.mask
	}
}

// symbol is a part of a word while it is being merged.
type symbol struct {
	id    int32
	start int32 // first byte in the word
	rank  uint32
	made  int32 // what merging with the next symbol makes
	next  int32
	prev  int32
}

// merger holds the buffers of one merge; it is not for use by several goroutines at once.
type merger struct {
	symbols []symbol
	length  int // bytes of the word
	heap    []uint64
	cuts    []cut
	inner   []cut
}

// shortWord is the number of symbols up to which looking at all of them beats a heap.
const shortWord = 24

// merge applies the table's merges to the symbols, always the one with the lowest rank and of those the leftmost.
func (m *merger) merge(t *mergeTable) {
	if len(m.symbols) < 2 {
		return
	}
	if len(m.symbols) <= shortWord {
		m.mergeShort(t)
		return
	}
	m.mergeLong(t)
}

func (m *merger) mergeShort(t *mergeTable) {
	s := m.symbols
	for i := range s[:len(s)-1] {
		s[i].rank, s[i].made = t.get(s[i].id, s[i+1].id)
	}
	s[len(s)-1].rank = noMerge
	for {
		best, at := noMerge, 0
		for i := range s {
			if s[i].rank < best {
				best, at = s[i].rank, i
			}
		}
		if best == noMerge {
			break
		}
		s[at].id = s[at].made
		s = append(s[:at+1], s[at+2:]...)
		s[at].rank = noMerge
		if at+1 < len(s) {
			s[at].rank, s[at].made = t.get(s[at].id, s[at+1].id)
		}
		if at > 0 {
			s[at-1].rank, s[at-1].made = t.get(s[at-1].id, s[at].id)
		}
	}
	m.symbols = s
}

// mergeLong keeps candidates in a heap of rank<<32|position. A candidate whose symbol has changed since is stale: its
// rank no longer is the symbol's.
func (m *merger) mergeLong(t *mergeTable) {
	s := m.symbols
	m.heap = m.heap[:0]
	for i := range s {
		s[i].prev, s[i].next = int32(i-1), int32(i+1)
		s[i].rank = noMerge
		if i+1 < len(s) {
			s[i].rank, s[i].made = t.get(s[i].id, s[i+1].id)
		}
		if s[i].rank != noMerge {
			m.heap = append(m.heap, uint64(s[i].rank)<<32|uint64(i))
		}
	}
	slices.Sort(m.heap) // a sorted slice is a heap
	const dead = -1
	for len(m.heap) > 0 {
		top := m.pop()
		i := int32(top & 0xFFFFFFFF)
		if s[i].id == dead || s[i].rank != uint32(top>>32) {
			continue
		}
		j := s[i].next
		s[i].id = s[i].made
		s[i].next = s[j].next
		s[j].id = dead
		if n := s[i].next; int(n) < len(s) {
			s[n].prev = i
			s[i].rank, s[i].made = t.get(s[i].id, s[n].id)
			m.push(s[i].rank, i)
		} else {
			s[i].rank = noMerge
		}
		if p := s[i].prev; p >= 0 {
			s[p].rank, s[p].made = t.get(s[p].id, s[i].id)
			m.push(s[p].rank, p)
		}
	}
	m.symbols = slices.DeleteFunc(s, func(x symbol) bool { return x.id == dead })
}

func (m *merger) push(rank uint32, at int32) {
	if rank == noMerge {
		return
	}
	m.heap = append(m.heap, uint64(rank)<<32|uint64(at))
	h := m.heap
	i := len(h) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if h[parent] <= h[i] {
			break
		}
		h[parent], h[i] = h[i], h[parent]
		i = parent
	}
}

func (m *merger) pop() uint64 {
	h := m.heap
	top := h[0]
	last := len(h) - 1
	h[0] = h[last]
	h = h[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			break
		}
		if child+1 < last && h[child+1] < h[child] {
			child++
		}
		if h[i] <= h[child] {
			break
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
	m.heap = h
	return top
}
