package data

import (
	"cmp"
	"fmt"
	"slices"
)

// SharedPrompts is how pairs share the computation of their prompts: the batch holds prompt, chosen and rejected answer of each
// pair, one after the other, each a sequence of its own whose positions go on from the prompt's. Queries of an answer see the
// keys of the prompt and of the answer.
type SharedPrompts struct {
	// KeyRows are the tokens whose keys are seen, run after run, and CuK [S+1] where the run of each sequence begins: of a prompt
	// its own tokens, of an answer the prompt's and its own. MaxK is the longest run.
	KeyRows, CuK []int32
	MaxK         int
	// LossRows are the tokens that predict a token of an answer, LossTargets what they predict, LossAnswers for which answer:
	// pair i's chosen one is i, its rejected one i plus the number of pairs. A prompt's last token predicts two.
	LossRows, LossTargets, LossAnswers []int32
}

// Pairs is the number of pairs of a preference batch.
func (b *Batch) Pairs() int {
	if b.Shared != nil {
		return b.Sequences() / 3
	}
	return b.Sequences() / 2
}

// CanShare tells whether pairs can share their prompts: not where keep_end cuts the two sides' prompts differently, and not
// those without a prompt.
func (l *Loader) CanShare() bool { return l.canShare }

// shareable computes CanShare.
func (l *Loader) shareable() bool {
	if l.ds.objective != Preference || l.ds.keepEnd {
		return false
	}
	for i := range l.ds.Len() {
		if l.ds.store.lens[l.ds.at(i)*l.ds.store.arity] == 0 {
			return false
		}
	}
	return true
}

// FillShared lays micro-batch i out with the prompt of each pair once; see SharedPrompts. There is no padding.
func (l *Loader) FillShared(b *Batch, epoch, i int) error {
	if !l.CanShare() {
		return fmt.Errorf("%w: the pairs cannot share their prompts", ErrOptions)
	}
	rows, err := l.Indices(epoch, i)
	if err != nil {
		return err
	}
	s := b.Shared
	if s == nil {
		s = &SharedPrompts{}
	}
	b.reset()
	b.Shared = s
	s.KeyRows, s.CuK, s.MaxK = s.KeyRows[:0], append(s.CuK[:0], 0), 0
	s.LossRows, s.LossTargets, s.LossAnswers = s.LossRows[:0], s.LossTargets[:0], s.LossAnswers[:0]
	for k, row := range rows {
		ex, err := l.ds.Pair(int(row))
		if err != nil {
			return err
		}
		ref := l.ds.Ref(int(row))
		prompt := b.addPart(ex.Prompt, 0, ref)
		s.keys(prompt, prompt+len(ex.Prompt))
		for side, answer := range [][]int32{ex.Chosen, ex.Rejected} {
			start := b.addPart(answer, len(ex.Prompt), ref)
			s.KeyRows = appendRange(s.KeyRows, prompt, prompt+len(ex.Prompt))
			s.keys(start, start+len(answer))
			s.MaxK = max(s.MaxK, len(ex.Prompt)+len(answer))
			from := prompt + len(ex.Prompt) - 1 // predicts the answer's first token
			for j, id := range answer {
				s.LossRows, s.LossTargets = append(s.LossRows, int32(from)), append(s.LossTargets, id)
				s.LossAnswers = append(s.LossAnswers, int32(k+side*len(rows)))
				from = start + j
			}
			b.Trained += len(answer)
		}
	}
	for range 2 {
		b.Indices = append(b.Indices, rows...)
	}
	b.finish()
	return nil
}

// keys ends a run of keys with the tokens lo … hi−1.
func (s *SharedPrompts) keys(lo, hi int) {
	s.KeyRows = appendRange(s.KeyRows, lo, hi)
	s.CuK = append(s.CuK, int32(len(s.KeyRows)))
	s.MaxK = max(s.MaxK, hi-lo)
}

func appendRange(list []int32, lo, hi int) []int32 {
	for i := lo; i < hi; i++ {
		list = append(list, int32(i))
	}
	return list
}

// addPart appends a sequence without targets whose positions begin at position, and returns where it begins.
func (b *Batch) addPart(ids []int32, position int, ref Ref) int {
	start := len(b.Tokens)
	for i, id := range ids {
		b.Tokens, b.Positions, b.Targets, b.Weights = append(b.Tokens, id), append(b.Positions, int32(position+i)), append(b.Targets, IgnoreIndex), append(b.Weights, 0)
	}
	b.MaxLen = max(b.MaxLen, len(ids))
	b.Cu = append(b.Cu, int32(len(b.Tokens)))
	b.Lens, b.Rows = append(b.Lens, int32(len(ids))), append(b.Rows, ref)
	return start
}

// SharedLimits bounds the batches of FillShared.
func (l *Loader) SharedLimits() Limits {
	s := l.ds.store
	var tokens, keys []int32
	var out Limits
	for i := range l.ds.Len() {
		lens := s.lens[l.ds.at(i)*s.arity:][:3]
		p, c, r := int32(lens[0]), int32(lens[1]), int32(lens[2])
		room := int32(l.ds.maxLength) - p
		c, r = min(c, room), min(r, room)
		tokens, keys = append(tokens, p+c+r), append(keys, 3*p+c+r)
		out.SeqLen = max(out.SeqLen, int(p), int(c), int(r))
		out.MaxK = max(out.MaxK, int(p+c), int(p+r))
	}
	size := min(l.opt.BatchSize, l.units)
	top := func(values []int32) (sum int) {
		slices.SortFunc(values, func(a, b int32) int { return cmp.Compare(b, a) })
		for _, v := range values[:size] {
			sum += int(v)
		}
		return sum
	}
	out.Tokens, out.Keys, out.Sequences = top(tokens), top(keys), 3*size
	return out
}
