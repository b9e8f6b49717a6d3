package infer

import (
	"context"
	"fmt"
	"slices"

	"github.com/mltrain/mltrain/internal/tensor"
)

// Options say how to generate.
type Options struct {
	MaxNewTokens int
	Sampling     Sampling
	// Stop lists the tokens that end a sequence; the token itself is part of the result.
	Stop []int32
	// Streams numbers the prompts for sampling, so that what is drawn for one does not depend on which others it is
	// generated with; nil numbers them from 0.
	Streams []int
	// AssistantTokens is the most tokens that the model drafts for itself at once, with weights rounded to 8 bits, where that is faster
	// (see draft.go): at most [Engine.DraftBytes] more memory, and the same tokens.
	AssistantTokens int
	// OnToken, if not nil, is told each new token of each sequence as it comes; returning false ends the sequence.
	OnToken func(seq int, id int32) bool
}

func (o Options) check(prompts int) error {
	if o.Streams != nil && len(o.Streams) != prompts {
		return fmt.Errorf("%d streams for %d prompts", len(o.Streams), prompts)
	}
	return o.Sampling.check()
}

// pick draws token number pos of sequence seq.
func (o Options) pick(logits []float32, seq, pos int) int32 {
	if o.Streams != nil {
		seq = o.Streams[seq]
	}
	return o.Sampling.Pick(logits, seq, pos)
}

// Sequence is what was generated for one prompt.
type Sequence struct {
	IDs     []int32 // new tokens
	Stopped bool    // by a stop token or OnToken, not by MaxNewTokens
}

// cache is the memory of a nn.Cache.
type cache struct {
	bufs            []tensor.Buffer
	k, v            []tensor.Tensor
	slots, capacity int
}

func (c *cache) free(d tensor.Device) {
	for _, b := range c.bufs {
		d.Free(b)
	}
	*c = cache{}
}

// reserve makes room for so many sequences of so many tokens. What the cache held is lost, and with it what a session read.
func (e *Engine) reserve(slots, capacity int) error {
	e.session = nil
	if slots <= e.cache.slots && capacity <= e.cache.capacity {
		return nil
	}
	e.cache.free(e.b)
	c, err := e.newCache(slots, capacity)
	if err != nil {
		return err
	}
	e.cache = c
	return nil
}

func (e *Engine) newCache(slots, capacity int) (cache, error) {
	info := e.m.Info()
	c := cache{slots: slots, capacity: capacity}
	for range info.Layers {
		for _, list := range []*[]tensor.Tensor{&c.k, &c.v} {
			x := tensor.New(nil, 0, e.tape.ActDType, slots*capacity, info.KVDim)
			buf, err := e.b.Alloc(x.Bytes(), tensor.UseCache)
			if err != nil {
				c.free(e.b)
				return cache{}, fmt.Errorf("key-value cache for %d sequences of %d tokens: %w", slots, capacity, err)
			}
			x.Buf = buf
			c.bufs = append(c.bufs, buf)
			*list = append(*list, x)
		}
	}
	return c, nil
}

// state is a sequence in generation.
type state struct {
	prompt  []int32
	read    int // tokens that the cache holds
	next    int32
	started bool // the prompt is read and next is set
	out     Sequence
	done    bool
}

// Generate continues each prompt. Sequences are independent: which others are generated with it does not change one, but
// for rounding.
func (e *Engine) Generate(ctx context.Context, prompts [][]int32, o Options) ([]Sequence, error) {
	if err := e.checkIDs(prompts); err != nil {
		return nil, err
	}
	if err := o.check(len(prompts)); err != nil {
		return nil, err
	}
	longest := 0
	states := make([]*state, len(prompts))
	for i, p := range prompts {
		states[i] = &state{prompt: p, done: o.MaxNewTokens <= 0}
		longest = max(longest, len(p))
	}
	if err := e.checkLength(longest + max(0, o.MaxNewTokens)); err != nil {
		return nil, err
	}
	if err := e.reserve(len(prompts), longest+max(0, o.MaxNewTokens)); err != nil {
		return nil, err
	}
	if len(states) > 1 && o.MaxNewTokens > 0 {
		if err := e.readShared(ctx, states); err != nil {
			return nil, err
		}
	}
	if err := e.run(ctx, states, o); err != nil {
		return nil, err
	}
	out := make([]Sequence, len(states))
	for i, s := range states {
		out[i] = s.out
	}
	return out, nil
}

// run generates until every sequence is done.
func (e *Engine) run(ctx context.Context, states []*state, o Options) error {
	luck := newOdds()
	for {
		batch := e.schedule(states)
		if len(batch) == 0 {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := e.drafts(states, batch, o, &luck)
		if err != nil {
			return err
		}
		if n > 0 {
			if err := e.speculate(states, batch, n, o, &luck); err != nil {
				return err
			}
			continue
		}
		logits, err := e.forward(states, batch)
		if err != nil {
			return err
		}
		for i, w := range batch {
			s := states[w.seq]
			s.read += w.n
			if s.read < len(s.prompt) {
				continue
			}
			v := len(logits) / len(batch)
			e.accept(s, w.seq, o.pick(logits[i*v:(i+1)*v], w.seq, len(s.out.IDs)), o)
		}
	}
}

// accept takes a new token into a sequence.
func (e *Engine) accept(s *state, seq int, id int32, o Options) {
	s.next, s.started = id, true
	s.out.IDs = append(s.out.IDs, id)
	goOn := o.OnToken == nil || o.OnToken(seq, id)
	s.out.Stopped = !goOn || slices.Contains(o.Stop, id)
	s.done = s.out.Stopped || len(s.out.IDs) >= o.MaxNewTokens
}

// work is a run of tokens of one sequence for the next forward pass.
type work struct{ seq, n int }

// schedule picks what to compute next: pieces of prompts first, in order, then one token of every running sequence.
func (e *Engine) schedule(states []*state) []work {
	var batch []work
	room := forwardTokens
	for i, s := range states {
		if !s.done && !s.started && room > 0 {
			n := min(room, len(s.prompt)-s.read)
			batch = append(batch, work{i, n})
			room -= n
		}
	}
	if len(batch) > 0 {
		return batch
	}
	for i, s := range states {
		if !s.done {
			batch = append(batch, work{i, 1})
		}
	}
	return batch
}

// forward computes the logits after the last token of each work.
func (e *Engine) forward(states []*state, batch []work) ([]float32, error) {
	pieces := make([]piece, len(batch))
	last := make([]int32, len(batch))
	tokens := 0
	for i, w := range batch {
		s := states[w.seq]
		ids := []int32{s.next}
		if !s.started {
			ids = s.prompt[s.read : s.read+w.n]
		}
		pieces[i] = piece{ids: ids, slot: w.seq, from: s.read}
		tokens += w.n
		last[i] = int32(tokens - 1)
	}
	return e.logits(pieces, last, false)
}

// logits computes the logits after the given tokens of the pieces; alone as if each token were the only new one.
func (e *Engine) logits(pieces []piece, rows []int32, alone bool) (logits []float32, err error) {
	b, more, err := e.feed(pieces, rows)
	if err != nil {
		return nil, err
	}
	b.Cache.Alone = alone
	err = e.tape.Run("generate", func() {
		h := e.m.Forward(e.tape, b)
		if logits, err = e.download(e.head(e.tape.Rows(h, more[0]))); err != nil {
			e.tape.Fail("generate", err)
		}
	})
	return logits, err
}

// readShared reads what all prompts begin with once, and gives each its keys and values.
func (e *Engine) readShared(ctx context.Context, states []*state) error {
	n := len(states[0].prompt)
	for _, s := range states {
		n = min(n, lcp(states[0].prompt, s.prompt), len(s.prompt)-1) // the last token is read for its logits
	}
	if (len(states)-1)*n < minShare {
		return nil
	}
	for from := 0; from < n; from += forwardTokens {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, _, err := e.feed([]piece{{ids: states[0].prompt[from:min(n, from+forwardTokens)], from: from}})
		if err != nil {
			return err
		}
		if err := e.tape.Run("read", func() { e.m.Forward(e.tape, b) }); err != nil {
			return err
		}
	}
	for i, s := range states {
		if s.read = n; i > 0 {
			if err := e.copySlot(i, 0, n); err != nil {
				return err
			}
		}
	}
	return nil
}
