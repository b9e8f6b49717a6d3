package infer

import (
	"slices"
)

// minShare is how many tokens of computing a shared prefix must save to be a node of its own: below that the extra forward
// pass and the copies of its keys and values cost more.
const minShare = 24

// trieNode is a run of tokens [start, end) that all queries below it have, at the same place and after the same tokens.
type trieNode struct {
	parent     *trieNode
	children   []*trieNode
	ids        []int32 // the whole sequence up to end
	start, end int
	wants      []want // in order of pos

	read int // tokens computed so far, of [start, end)
	slot int // of the cache; -1 before the node is begun and after its last child has taken its keys and values
	left int // children that have not begun
}

// want is a score that a query asks for: of target, as the token after position pos.
type want struct {
	pos    int
	target int32
	query  int
	at     int // index in the query's result
}

// buildTrie arranges queries so that what they share is computed once. seqs[q] are the tokens of query q that the model
// must read. The roots are in lexical order of their tokens, and so are the children of each node.
func buildTrie(seqs [][]int32) (roots []*trieNode, ends []*trieNode) {
	order := make([]int, len(seqs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return slices.Compare(seqs[a], seqs[b]) })
	b := &trieBuilder{seqs: seqs, order: order, ends: make([]*trieNode, len(seqs))}
	return b.forest(0, len(order), 0, 0, nil), b.ends
}

type trieBuilder struct {
	seqs  [][]int32
	order []int
	ends  []*trieNode
}

func (b *trieBuilder) seq(i int) []int32 { return b.seqs[b.order[i]] }

// forest makes the nodes of the queries order[lo:hi], which agree up to depth, and whose tokens up to start are those of
// parent.
func (b *trieBuilder) forest(lo, hi, start, depth int, parent *trieNode) []*trieNode {
	var out []*trieNode
	for lo < hi {
		first := b.seq(lo)
		end := lo + 1
		if len(first) > depth {
			for end < hi && b.seq(end)[depth] == first[depth] {
				end++
			}
		}
		// Sorted, so that what the first and the last share is what all of them do.
		shared := lcp(first, b.seq(end-1))
		if len(first) == depth {
			for end < hi && len(b.seq(end)) == depth {
				end++
			}
			shared = depth
		}
		switch {
		case end-lo == 1, b.same(lo, end):
			n := &trieNode{parent: parent, ids: first, start: start, end: len(first), slot: -1}
			for i := lo; i < end; i++ {
				b.ends[b.order[i]] = n
			}
			out = append(out, n)
		case (end-lo-1)*(shared-start) >= minShare:
			n := &trieNode{parent: parent, ids: first[:shared], start: start, end: shared, slot: -1}
			below := lo
			for below < end && len(b.seq(below)) == shared {
				b.ends[b.order[below]] = n
				below++
			}
			n.children = b.forest(below, end, shared, shared, n)
			n.left = len(n.children)
			out = append(out, n)
		default:
			out = append(out, b.forest(lo, end, start, shared, parent)...)
		}
		lo = end
	}
	return out
}

// same reports whether the queries order[lo:hi] are all equal.
func (b *trieBuilder) same(lo, hi int) bool { return slices.Equal(b.seq(lo), b.seq(hi-1)) }

// lcp is the length of the longest common prefix.
func lcp(a, b []int32) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// depth is the number of nodes on the longest way down.
func depth(nodes []*trieNode) int {
	d := 0
	for _, n := range nodes {
		d = max(d, 1+depth(n.children))
	}
	return d
}

// size counts nodes and the tokens to compute.
func size(nodes []*trieNode) (count, tokens int) {
	for _, n := range nodes {
		c, t := size(n.children)
		count, tokens = count+1+c, tokens+n.end-n.start+t
	}
	return count, tokens
}
