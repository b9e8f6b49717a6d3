package data

import "math/bits"

// bins is a packing: bin k holds the rows items[start[k]:start[k+1]], in the order in which they were put there.
type bins struct {
	items []int32
	start []int32
}

func (b *bins) len() int            { return len(b.start) - 1 }
func (b *bins) bin(k int32) []int32 { return b.items[b.start[k]:b.start[k+1]] }

// packBestFit packs rows of the given lengths into bins of capacity tokens by best-fit decreasing: from the longest row to
// the shortest, each goes where it leaves the least room, or else into a new bin. At most 11/9 of the optimal number of bins
// (plus one) are used. Ties go to the earlier row and the earliest bin to have that room, as in TRL's bfd, so the packing is
// a function of the lengths alone. Every length must be in 1…capacity. Time is n·capacity/64 at worst.
func packBestFit(lengths []int32, capacity int) *bins {
	byLength := countingSort(lengths, capacity)
	room := newRooms(capacity)
	var next []int32 // next[b]: the bin after b in the queue of its room
	binOf := make([]int32, len(lengths))
	size := []int32{}
	for _, row := range byLength {
		n := int(lengths[row])
		space := room.atLeast(n)
		var b int32
		if space < 0 {
			b, space = int32(len(next)), capacity
			next, size = append(next, -1), append(size, 0)
		} else {
			b = room.pop(space, next)
		}
		binOf[row] = b
		size[b]++
		if left := space - n; left > 0 {
			room.push(left, b, next)
		}
	}
	out := &bins{items: make([]int32, len(lengths)), start: make([]int32, len(size)+1)}
	for b, n := range size {
		out.start[b+1] = out.start[b] + n
	}
	fill := append([]int32(nil), out.start...)
	for _, row := range byLength {
		b := binOf[row]
		out.items[fill[b]] = row
		fill[b]++
	}
	return out
}

// countingSort orders rows by falling length, equal ones by their number.
func countingSort(lengths []int32, longest int) []int32 {
	at := make([]int32, longest+2)
	for _, n := range lengths {
		at[longest-int(n)+1]++
	}
	for i := 1; i < len(at); i++ {
		at[i] += at[i-1]
	}
	order := make([]int32, len(lengths))
	for row, n := range lengths {
		k := longest - int(n)
		order[at[k]] = int32(row)
		at[k]++
	}
	return order
}

// rooms queues bins by the room they have left, first in, first out, with a bit set of the rooms in use.
type rooms struct {
	head, tail []int32
	used       []uint64
}

func newRooms(capacity int) *rooms {
	r := &rooms{head: make([]int32, capacity), tail: make([]int32, capacity), used: make([]uint64, capacity/64+1)}
	for i := range r.head {
		r.head[i] = -1
	}
	return r
}

// atLeast is the smallest room in use that is n or more, or −1.
func (r *rooms) atLeast(n int) int {
	for w := n / 64; w < len(r.used); w++ {
		set := r.used[w]
		if w == n/64 {
			set &= ^uint64(0) << (n % 64)
		}
		if set != 0 {
			return w*64 + bits.TrailingZeros64(set)
		}
	}
	return -1
}

func (r *rooms) push(room int, b int32, next []int32) {
	next[b] = -1
	if r.head[room] < 0 {
		r.head[room] = b
		r.used[room/64] |= 1 << (room % 64)
	} else {
		next[r.tail[room]] = b
	}
	r.tail[room] = b
}

func (r *rooms) pop(room int, next []int32) int32 {
	b := r.head[room]
	r.head[room] = next[b]
	if next[b] < 0 {
		r.used[room/64] &^= 1 << (room % 64)
	}
	return b
}
