package infer

import (
	"math"
	"slices"

	"github.com/mltrain/mltrain/internal/tensor"
)

// Generation of a few sequences reads every weight for each token, and waits for memory. So the model drafts tokens for itself: with
// its weights rounded to 8 bits, which are read in a quarter or half of the time. Then one pass with the weights as they are checks all
// of them, in little more than the time of one token (Leviathan, Kalman and Matias, "Fast Inference from Transformers via Speculative
// Decoding", 2023; here the draft model is the model itself, and draws with the same random numbers).
//
// What is generated stays the same, to the bit: each token is picked from the logits of the pass that checks, whose rows are what
// they are one by one (tensor.Drafter.DraftRows); a draft only decides how many of these rows are of use.

const (
	// draftFrom is how many tokens must be to come for the weights to be rounded: what drafts save for so many is what that took, most of it
	// for the first use of the memory.
	draftFrom = 24
	// draftWorth is the part of the weights' bytes above which a draft is not worth the memory.
	draftWorth = 0.75
	// draftRetry is after how many tokens without drafts one is tried again, where drafts were seldom right.
	draftRetry = 32
)

// drafting is what an engine needs to know about drafts. Times are parts of the time of a pass for one token.
type drafting struct {
	known      bool
	rows       int     // most rows of the pass that checks, of all sequences together; 0 if there are no drafts
	pass, more float64 // time of a pass that drafts, and of each row after the first in the one that checks
	ready      bool    // the weights are rounded

	drafted, right int
}

// odds is what drafts were worth lately; what is long ago counts less.
type odds struct {
	right, wrong float64 // drafted tokens that were the ones picked, and not; of a draft none after the first wrong one
	// How far the rounded weights move one logit against another: the sum of squares, and how many.
	squares, moves float64
	tokens, time   float64 // what was made in which time, in passes for one token
	without        int     // passes since the last draft
}

func newOdds() odds { return odds{right: 9, wrong: 1, tokens: 1, time: 1} }

// see takes in a draft and its check.
func (o *odds) see(right, wrong int, time float64) {
	const keep = 0.9
	o.right, o.wrong = keep*o.right+float64(right), keep*o.wrong+float64(wrong)
	o.tokens, o.time = keep*o.tokens+float64(right+1), keep*o.time+time
}

// moved takes in how far one logit moved against another.
func (o *odds) moved(by float32) {
	const keep = 0.98
	o.squares, o.moves = keep*o.squares+float64(by)*float64(by), keep*o.moves+1
}

// expect is the share of tokens that are right.
func (o *odds) expect() float64 { return o.right / (o.right + o.wrong) }

// sure is how likely the most likely token of a draft is right if the next one's logit is less by so much: a move between two logits is
// taken as normally distributed.
func (o *odds) sure(margin float32) float64 {
	if o.moves < 3 {
		return o.expect()
	}
	return math.Erfc(-float64(margin)/math.Sqrt(2*o.squares/o.moves+1e-30)) / 2
}

// worth tells whether to draft one more token after some that are all right with a probability: whether it makes more tokens in its time
// than are made otherwise.
func (o *odds) worth(probability float64, d *drafting) bool {
	return probability*o.expect() > max(1, o.tokens/o.time)*(d.pass+d.more)
}

// begin tells whether to draft at all.
func (o *odds) begin(d *drafting) bool {
	if o.without++; !o.worth(1, d) && o.without < draftRetry {
		return false
	}
	o.without = 0
	return true
}

// drafting looks at the weights and the device once.
func (e *Engine) drafting() *drafting {
	d := &e.draft
	if d.known {
		return d
	}
	d.known = true
	b, ok := e.b.(tensor.Drafter)
	w := e.store.DraftInfo(e.m.Head().W)
	// Weights in four bits take their time to be decoded, in drafts as well.
	if !ok || w.Quantised || float64(w.Draft) > draftWorth*float64(w.Whole) {
		return d
	}
	// Measured with 135M parameters: what is not due to the bytes of the weights.
	d.pass, d.more = float64(w.Draft)/float64(w.Whole)+0.04, 0.04
	if w.InOut {
		d.more = 0.15
	}
	d.rows = b.DraftRows(w.InOut)
	return d
}

// DraftBytes returns the memory that Options.AssistantTokens would still add; 0 if the engine does not draft.
func (e *Engine) DraftBytes() int64 {
	if e.drafting().rows == 0 {
		return 0
	}
	return e.store.DraftInfo(e.m.Head().W).Added
}

// Drafted returns how many tokens the engine drafted, and how many of them were the ones picked.
func (e *Engine) Drafted() (all, right int) { return e.draft.drafted, e.draft.right }

// drafts returns how many tokens to draft at most for each of the batch, which are about to get their next token. It rounds the weights when it
// is the first to want them.
func (e *Engine) drafts(states []*state, batch []work, o Options, luck *odds) (int, error) {
	d := e.drafting()
	if o.AssistantTokens <= 0 || 2*len(batch) > d.rows || !states[batch[0].seq].started {
		return 0, nil
	}
	left := 0
	for _, w := range batch {
		left = max(left, o.MaxNewTokens-len(states[w.seq].out.IDs))
	}
	if !d.ready {
		if left < draftFrom {
			return 0, nil
		}
		if err := e.store.Draft(e.b.(tensor.Drafter), e.m.Head().W); err != nil {
			return 0, err
		}
		d.ready = true
	}
	if most := min(o.AssistantTokens, d.rows/len(batch)-1, left-1); most > 0 && luck.begin(d) {
		return most, nil
	}
	return 0, nil
}

// guess is a drafted token. Without a temperature it is known which other token came next and how much less its logit was.
type guess struct {
	id, next int32
	margin   float32
}

// guess drafts up to most tokens for each of the batch: none that could not be taken, nor any after one that ends a sequence or is not likely
// enough.
func (e *Engine) guess(states []*state, batch []work, most int, o Options, luck *odds) ([][]guess, error) {
	drafts := make([][]guess, len(batch))
	likely := slices.Repeat([]float64{1}, len(batch)) // that all so far are right
	for step := range most {
		var pieces []piece
		var last []int32
		var of []int
		for i, w := range batch {
			s := states[w.seq]
			if len(drafts[i]) < step || len(s.out.IDs)+step+1 >= o.MaxNewTokens {
				continue // the draft has ended, or what is checked is the last token
			}
			id := s.next
			if step > 0 {
				if id = drafts[i][step-1].id; slices.Contains(o.Stop, id) || !luck.worth(likely[i], &e.draft) {
					continue
				}
			}
			pieces, last, of = append(pieces, piece{ids: []int32{id}, slot: w.seq, from: s.read + step}), append(last, int32(len(last))), append(of, i)
		}
		if len(pieces) == 0 {
			break
		}
		e.tape.Drafting = true
		logits, err := e.logits(pieces, last, false)
		e.tape.Drafting = false
		if err != nil {
			return nil, err
		}
		v := len(logits) / len(of)
		for row, i := range of {
			seq, x := batch[i].seq, logits[row*v:(row+1)*v]
			g, p := guess{id: o.pick(x, seq, len(states[seq].out.IDs)+step), next: -1}, luck.expect()
			if o.Sampling.Temperature == 0 && v > 1 {
				g.next = second(x, g.id)
				g.margin = x[g.id] - x[g.next]
				p = luck.sure(g.margin)
			}
			drafts[i], likely[i] = append(drafts[i], g), likely[i]*p
		}
	}
	return drafts, nil
}

// speculate drafts up to most tokens for each of the batch and takes those that are right, and the one after them.
func (e *Engine) speculate(states []*state, batch []work, most int, o Options, luck *odds) error {
	drafts, err := e.guess(states, batch, most, o, luck)
	if err != nil {
		return err
	}
	pieces := make([]piece, len(batch))
	var rows []int32
	for i, w := range batch {
		s := states[w.seq]
		ids := []int32{s.next}
		for _, g := range drafts[i] {
			ids = append(ids, g.id)
		}
		pieces[i] = piece{ids: ids, slot: w.seq, from: s.read}
		for range ids {
			rows = append(rows, int32(len(rows)))
		}
	}
	logits, err := e.logits(pieces, rows, true)
	if err != nil {
		return err
	}
	v := len(logits) / len(rows)
	for i, w := range batch {
		s, draft := states[w.seq], drafts[i]
		right, wrong := 0, 0
		for n := range pieces[i].ids {
			x := logits[n*v : (n+1)*v]
			id := o.pick(x, w.seq, len(s.out.IDs))
			s.read++
			e.accept(s, w.seq, id, o)
			if s.done || n == len(draft) {
				break
			}
			if g := draft[n]; g.next >= 0 {
				luck.moved(x[g.id] - x[g.next] - g.margin)
			}
			if id != draft[n].id {
				wrong = 1
				break
			}
			right++
		}
		logits = logits[len(pieces[i].ids)*v:]
		luck.see(right, wrong, 1+float64(len(draft))*(e.draft.pass+e.draft.more))
		e.draft.drafted += len(draft)
		e.draft.right += right
	}
	return nil
}

// second returns the first largest logit but for that of one token.
func second(logits []float32, but int32) int32 {
	best := int32(0)
	if but == 0 {
		best = 1
	}
	for i, l := range logits {
		if l > logits[best] && int32(i) != but {
			best = int32(i)
		}
	}
	return best
}
