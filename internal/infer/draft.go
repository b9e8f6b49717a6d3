package infer

import (
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

// odds is how often a drafted token was the one picked; what is long ago counts less.
type odds struct {
	right, wrong float64
	without      int // passes since the last draft
}

func newOdds() odds { return odds{right: 9, wrong: 1} }

func (o *odds) see(right, wrong int) {
	const keep = 0.9
	o.right, o.wrong = keep*o.right+float64(right), keep*o.wrong+float64(wrong)
}

// drafts returns how many tokens to draft, at most so many: what makes most tokens in a given time.
func (o *odds) drafts(most int, d *drafting) int {
	p := o.right / (o.right + o.wrong)
	best, rate := 0, 1.0
	tokens, next := 1.0, p
	for k := 1; k <= most; k++ {
		tokens += next
		next *= p
		if r := tokens / (1 + float64(k)*(d.pass+d.more)); r > rate {
			best, rate = k, r
		}
	}
	if o.without++; best == 0 && most > 0 && o.without >= draftRetry {
		best = 1
	}
	if best > 0 {
		o.without = 0
	}
	return best
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

// drafts returns how many tokens to draft for each of the batch, which are about to get their next token. It rounds the weights when it
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
	return luck.drafts(min(o.AssistantTokens, d.rows/len(batch)-1, left-1), d), nil
}

// guess drafts up to most tokens for each of the batch: none that could not be taken, nor any after one that ends a sequence.
func (e *Engine) guess(states []*state, batch []work, most int, o Options) ([][]int32, error) {
	drafts := make([][]int32, len(batch))
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
				if id = drafts[i][step-1]; slices.Contains(o.Stop, id) {
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
			seq := batch[i].seq
			drafts[i] = append(drafts[i], o.pick(logits[row*v:(row+1)*v], seq, len(states[seq].out.IDs)+step))
		}
	}
	return drafts, nil
}

// speculate drafts up to most tokens for each of the batch and takes those that are right, and the one after them.
func (e *Engine) speculate(states []*state, batch []work, most int, o Options, luck *odds) error {
	drafts, err := e.guess(states, batch, most, o)
	if err != nil {
		return err
	}
	pieces := make([]piece, len(batch))
	var rows []int32
	for i, w := range batch {
		s := states[w.seq]
		pieces[i] = piece{ids: append([]int32{s.next}, drafts[i]...), slot: w.seq, from: s.read}
		for range pieces[i].ids {
			rows = append(rows, int32(len(rows)))
		}
	}
	logits, err := e.logits(pieces, rows, true)
	if err != nil {
		return err
	}
	v := len(logits) / len(rows)
	for i, w := range batch {
		s := states[w.seq]
		right, wrong := 0, 0
		for n := range pieces[i].ids {
			id := o.pick(logits[n*v:(n+1)*v], w.seq, len(s.out.IDs))
			s.read++
			e.accept(s, w.seq, id, o)
			if s.done || n == len(drafts[i]) {
				break
			}
			if id != drafts[i][n] {
				wrong = 1
				break
			}
			right++
		}
		logits = logits[len(pieces[i].ids)*v:]
		luck.see(right, wrong)
		e.draft.drafted += len(drafts[i])
		e.draft.right += right
	}
	return nil
}
