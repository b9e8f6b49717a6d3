package infer

import (
	"context"
	"fmt"
	"slices"

	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/tensor"
)

// cacheBytes bounds the key-value cache of scoring; a batch that needs more to go on at all gets it.
const cacheBytes = 1 << 30

// Query asks for the log-likelihoods of the end of a sequence: of its tokens from From on, each given those before it.
type Query struct {
	IDs  []int32
	From int // at least 1
}

// ScoreShared scores queries and computes what they have in common, such as a context with several continuations or the
// examples before many questions, once: their tokens form a tree, of which each node is read with the keys and values of
// those above it in the cache. done is told the scores of each query as soon as they are complete, in no particular order.
// The order of the queries does not change the result.
func (e *Engine) ScoreShared(ctx context.Context, queries []Query, done func(query int, scores []TokenScore) error) error {
	all := make([][]int32, len(queries))
	for i, q := range queries {
		if q.From < 1 || q.From > len(q.IDs) {
			return fmt.Errorf("query %d: the first scored token is %d of %d: needed is one after the first", i, q.From, len(q.IDs))
		}
		all[i] = q.IDs
	}
	if err := e.checkIDs(all); err != nil {
		return err
	}
	s := &sharedScorer{e: e, queries: queries, scores: make([][]TokenScore, len(queries)), missing: make([]int, len(queries)), done: done,
		budget: cacheBytes}
	return s.run(ctx)
}

// sharedScorer walks the tree of a call of ScoreShared.
type sharedScorer struct {
	e       *Engine
	queries []Query
	scores  [][]TokenScore
	missing []int // scores that a query still waits for
	done    func(int, []TokenScore) error
	free    []int // slots of the cache, the lowest last
	budget  int64 // bytes of the cache
	reserve int   // free slots that only the first node in line may take: enough for the longest way down
}

func (s *sharedScorer) run(ctx context.Context) error {
	var asking []int // queries that ask for something
	var seqs [][]int32
	longest := 0
	for i, q := range s.queries {
		s.missing[i] = len(q.IDs) - q.From
		s.scores[i] = make([]TokenScore, s.missing[i])
		if s.missing[i] == 0 {
			if err := s.done(i, s.scores[i]); err != nil {
				return err
			}
			continue
		}
		asking, seqs = append(asking, i), append(seqs, q.IDs[:len(q.IDs)-1])
		longest = max(longest, len(q.IDs)-1)
	}
	if err := s.e.checkLength(longest); err != nil {
		return err
	}
	roots, ends := buildTrie(seqs)
	for k, i := range asking {
		q := s.queries[i]
		for n := ends[k]; n != nil && n.end >= q.From; n = n.parent {
			for pos := max(n.start, q.From-1); pos < n.end; pos++ {
				n.wants = append(n.wants, want{pos, q.IDs[pos+1], i, pos + 1 - q.From})
			}
		}
	}
	sortWants(roots)
	count, _ := size(roots)
	s.reserve = depth(roots)
	room := int(s.budget / (s.e.cacheRowBytes() * int64(max(1, longest))))
	slots := min(count, max(s.reserve+1, room))
	if err := s.e.reserve(slots, longest); err != nil {
		return err
	}
	for i := range slots {
		s.free = append(s.free, slots-1-i)
	}
	ready := slices.Clone(roots)
	for len(ready) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		if ready, err = s.wave(ready); err != nil {
			return err
		}
	}
	return nil
}

func sortWants(nodes []*trieNode) {
	for _, n := range nodes {
		slices.SortStableFunc(n.wants, func(a, b want) int { return a.pos - b.pos })
		sortWants(n.children)
	}
}

// wave computes the first nodes of the line, and puts their children in their place.
func (s *sharedScorer) wave(ready []*trieNode) ([]*trieNode, error) {
	var batch []*trieNode
	var pieces []piece
	room := forwardTokens
	taken := 0
	for ; taken < len(ready) && room > 0; taken++ {
		n := ready[taken]
		if n.slot < 0 {
			ok, err := s.begin(n, taken == 0)
			if err != nil {
				return nil, err
			}
			if !ok {
				break
			}
		}
		from := n.start + n.read
		k := min(room, n.end-from)
		batch = append(batch, n)
		pieces = append(pieces, piece{ids: n.ids[from : from+k], slot: n.slot, from: from})
		room -= k
	}
	if len(batch) == 0 {
		return nil, fmt.Errorf("scoring: no room in the cache for %d tokens", ready[0].end)
	}
	if err := s.compute(batch, pieces); err != nil {
		return nil, err
	}
	var next []*trieNode
	for i, n := range batch {
		n.read += len(pieces[i].ids)
		switch {
		case n.read < n.end-n.start:
			next = append(next, n)
		case n.left > 0:
			next = append(next, n.children...)
		default:
			s.release(n)
		}
	}
	return append(next, ready[taken:]...), nil
}

// begin gives a node a slot that holds the keys and values of the nodes above it. It reports false where no slot is left.
func (s *sharedScorer) begin(n *trieNode, first bool) (bool, error) {
	p := n.parent
	if p != nil && p.left == 1 { // the last child goes on where its parent ended
		p.left, n.slot, p.slot = 0, p.slot, -1
		return true, nil
	}
	if len(s.free) == 0 || !first && len(s.free) <= s.reserve {
		return false, nil
	}
	n.slot = s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	if p == nil {
		return true, nil
	}
	p.left--
	return true, s.e.copySlot(n.slot, p.slot, p.end)
}

func (s *sharedScorer) release(n *trieNode) {
	s.free = append(s.free, n.slot)
	n.slot = -1
	slices.SortFunc(s.free, func(a, b int) int { return b - a })
}

// compute reads the pieces and takes down the scores that are asked for at them.
func (s *sharedScorer) compute(batch []*trieNode, pieces []piece) error {
	// Attention wants the sequences of a batch in the order of their slots.
	order := make([]int, len(batch))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return pieces[a].slot - pieces[b].slot })
	var rows, targets []int32
	var wants []want
	sorted := make([]piece, len(pieces))
	base := 0
	for i, k := range order {
		p := pieces[k]
		sorted[i] = p
		for _, w := range batch[k].wants {
			if w.pos >= p.from && w.pos < p.from+len(p.ids) {
				rows, targets, wants = append(rows, int32(base+w.pos-p.from)), append(targets, w.target), append(wants, w)
			}
		}
		base += len(p.ids)
	}
	b, more, err := s.e.feed(sorted, rows, targets)
	if err != nil {
		return err
	}
	var out []float32
	err = s.e.tape.Run("score shared", func() {
		h := s.e.m.Forward(s.e.tape, b)
		if len(rows) == 0 {
			return
		}
		head := s.e.m.Head()
		l := s.e.tape.LinearLogProbs(tensor.CESpec{IgnoreIndex: -1, SoftCap: head.SoftCap}, s.e.tape.Rows(h, more[0]), head.W, more[1])
		if out, err = s.e.download(l.Rows); err != nil {
			s.e.tape.Fail("score shared", err)
		}
	})
	if err != nil {
		return err
	}
	for i, w := range wants {
		row := out[i*tensor.CECols:]
		s.scores[w.query][w.at] = TokenScore{float64(row[tensor.CELogp]), row[tensor.CECorrect] > 0}
		if s.missing[w.query]--; s.missing[w.query] == 0 {
			if err := s.done(w.query, s.scores[w.query]); err != nil {
				return err
			}
			s.scores[w.query] = nil
		}
	}
	return nil
}

// Sequences is how many sequences of so many tokens the cache of scoring has room for, and a batch for generation should
// have at most; at least one.
func (e *Engine) Sequences(tokens int) int {
	return max(1, int(cacheBytes/(e.cacheRowBytes()*int64(max(1, tokens)))))
}

// cacheRowBytes is the memory of a token's keys and values in all layers.
func (e *Engine) cacheRowBytes() int64 {
	info := e.m.Info()
	return int64(2*info.Layers*info.KVDim) * int64(e.tape.ActDType.Size())
}

// copySlot copies the keys and values of the first n tokens of one slot to another.
func (e *Engine) copySlot(dst, src, n int) error {
	for _, list := range [][]tensor.Tensor{e.cache.k, e.cache.v} {
		for _, x := range list {
			to, from := dst*e.cache.capacity, src*e.cache.capacity
			if err := e.b.Copy(x.RowRange(to, to+n), x.RowRange(from, from+n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// piece is a run of tokens to read into a slot of the cache, from position from on.
type piece struct {
	ids        []int32
	slot, from int
}

// feed uploads pieces, which must be in the order of their slots, as a batch, and further lists of integers with them.
func (e *Engine) feed(pieces []piece, lists ...[]int32) (*nn.Batch, []tensor.Tensor, error) {
	var tokens, pos, rows, slots, used []int32
	cu := []int32{0}
	longest, maxUsed := 0, 0
	for _, p := range pieces {
		for i, id := range p.ids {
			tokens, pos = append(tokens, id), append(pos, int32(p.from+i))
			rows = append(rows, int32(p.slot*e.cache.capacity+p.from+i))
		}
		cu = append(cu, int32(len(tokens)))
		slots = append(slots, int32(p.slot*e.cache.capacity))
		used = append(used, int32(p.from+len(p.ids)))
		longest, maxUsed = max(longest, len(p.ids)), max(maxUsed, p.from+len(p.ids))
	}
	slots = append(slots, int32(e.cache.slots*e.cache.capacity))
	x, err := e.ints(append([][]int32{tokens, pos, cu, rows, slots, used}, lists...)...)
	if err != nil {
		return nil, nil, err
	}
	b := &nn.Batch{
		Tokens: x[0], Positions: x[1], CuSeqs: x[2], Seqs: len(pieces), MaxLen: longest,
		Cache: &nn.Cache{K: e.cache.k, V: e.cache.v, Rows: x[3], CuSlots: x[4], Used: x[5], MaxUsed: maxUsed},
	}
	return b, x[6:], nil
}
