package infer

import (
	"context"
	"fmt"
	"slices"

	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/tensor"
)

// Options say how to generate.
type Options struct {
	MaxNewTokens int
	Sampling     Sampling
	// Stop lists the tokens that end a sequence; the token itself is part of the result.
	Stop []int32
	// OnToken, if not nil, is told each new token of each sequence as it comes; returning false ends the sequence.
	OnToken func(seq int, id int32) bool
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

// reserve makes room for so many sequences of so many tokens.
func (e *Engine) reserve(slots, capacity int) error {
	if slots <= e.cache.slots && capacity <= e.cache.capacity {
		return nil
	}
	e.cache.free(e.b)
	info := e.m.Info()
	c := cache{slots: slots, capacity: capacity}
	for range info.Layers {
		for _, list := range []*[]tensor.Tensor{&c.k, &c.v} {
			x := tensor.New(nil, 0, e.tape.ActDType, slots*capacity, info.KVDim)
			buf, err := e.b.Alloc(x.Bytes(), tensor.UseCache)
			if err != nil {
				c.free(e.b)
				return fmt.Errorf("key-value cache for %d sequences of %d tokens: %w", slots, capacity, err)
			}
			x.Buf = buf
			c.bufs = append(c.bufs, buf)
			*list = append(*list, x)
		}
	}
	e.cache = c
	return nil
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
	if err := o.Sampling.check(); err != nil {
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
	for {
		batch := e.schedule(states)
		if len(batch) == 0 {
			break
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		logits, err := e.forward(states, batch)
		if err != nil {
			return nil, err
		}
		for i, w := range batch {
			s := states[w.seq]
			s.read += w.n
			if s.read < len(s.prompt) {
				continue
			}
			v := len(logits) / len(batch)
			e.accept(s, w.seq, o.Sampling.Pick(logits[i*v:(i+1)*v], w.seq, len(s.out.IDs)), o)
		}
	}
	out := make([]Sequence, len(states))
	for i, s := range states {
		out[i] = s.out
	}
	return out, nil
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
	var tokens, pos, rows, last, slots, used []int32
	cu := []int32{0}
	longest, maxUsed := 0, 0
	for _, w := range batch {
		s := states[w.seq]
		for i := range w.n {
			id := s.next
			if !s.started {
				id = s.prompt[s.read+i]
			}
			tokens, pos = append(tokens, id), append(pos, int32(s.read+i))
			rows = append(rows, int32(w.seq*e.cache.capacity+s.read+i))
		}
		cu = append(cu, int32(len(tokens)))
		last = append(last, int32(len(tokens)-1))
		slots = append(slots, int32(w.seq*e.cache.capacity))
		used = append(used, int32(s.read+w.n))
		longest, maxUsed = max(longest, w.n), max(maxUsed, s.read+w.n)
	}
	slots = append(slots, int32(e.cache.slots*e.cache.capacity))
	x, err := e.ints(tokens, pos, cu, rows, last, slots, used)
	if err != nil {
		return nil, err
	}
	var logits []float32
	err = e.tape.Run("generate", func() {
		b := &nn.Batch{
			Tokens: x[0], Positions: x[1], CuSeqs: x[2], Seqs: len(batch), MaxLen: longest,
			Cache: &nn.Cache{K: e.cache.k, V: e.cache.v, CuSlots: x[5], Used: x[6], Rows: x[3], MaxUsed: maxUsed},
		}
		h := e.m.Forward(e.tape, b)
		if logits, err = e.download(e.head(e.tape.Rows(h, x[4]))); err != nil {
			e.tape.Fail("generate", err)
		}
	})
	return logits, err
}
