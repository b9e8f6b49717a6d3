package infer

import (
	"context"
	"slices"
)

// Session continues prompts that grow out of each other, as the turns of a conversation do: what a prompt begins with that
// the session has read or generated before is in the key-value cache already, and is not read again. The weights must stay
// as they are while a session lasts. Other use of the engine's cache in between is allowed; the session then reads anew.
type Session struct {
	e    *Engine
	held []int32 // tokens whose keys and values the cache holds, if the engine's session is this one
}

// NewSession begins a session.
func (e *Engine) NewSession() *Session { return &Session{e: e} }

// Generate continues a prompt, as [Engine.Generate] does. It also returns how many tokens of the prompt were not read again.
func (s *Session) Generate(ctx context.Context, prompt []int32, o Options) (out Sequence, reused int, err error) {
	e := s.e
	if err := e.checkIDs([][]int32{prompt}); err != nil {
		return Sequence{}, 0, err
	}
	if err := o.check(1); err != nil {
		return Sequence{}, 0, err
	}
	most := len(prompt) + max(0, o.MaxNewTokens)
	if err := e.checkLength(most); err != nil {
		return Sequence{}, 0, err
	}
	if e.session != s {
		s.held = nil
	}
	// The last token is read for its logits.
	reused = min(lcp(s.held, prompt), len(prompt)-1)
	if err := e.extend(most, reused); err != nil {
		return Sequence{}, 0, err
	}
	st := &state{prompt: prompt, read: reused, done: o.MaxNewTokens <= 0}
	e.session, s.held = s, nil // should the pass fail, the cache is in between
	if err := e.run(ctx, []*state{st}, o); err != nil {
		return Sequence{}, reused, err
	}
	s.held = slices.Concat(prompt, st.out.IDs)[:st.read]
	return st.out, reused, nil
}

// extend makes room for a sequence of so many tokens and keeps the first n. The cache doubles, so that a long conversation
// is copied a few times only.
func (e *Engine) extend(capacity, n int) error {
	if e.cache.slots > 0 && capacity <= e.cache.capacity {
		return nil
	}
	if n == 0 {
		return e.reserve(1, capacity)
	}
	capacity = max(capacity, min(2*e.cache.capacity, e.m.Info().MaxPositions))
	c, err := e.newCache(1, capacity)
	if err != nil {
		return err
	}
	for i := range c.k {
		if err := e.b.Copy(c.k[i].RowRange(0, n), e.cache.k[i].RowRange(0, n)); err != nil {
			c.free(e.b)
			return err
		}
		if err := e.b.Copy(c.v[i].RowRange(0, n), e.cache.v[i].RowRange(0, n)); err != nil {
			c.free(e.b)
			return err
		}
	}
	e.cache.free(e.b)
	e.cache = c
	return nil
}
