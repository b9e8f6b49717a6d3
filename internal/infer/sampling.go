package infer

import (
	"fmt"
	"math"

	"github.com/mltrain/mltrain/internal/tensor"
)

// Sampling says how a token is drawn from logits. The order is that of transformers: temperature, then the TopK most likely,
// then the smallest set of tokens with probability TopP.
type Sampling struct {
	Temperature float64 // 0: the most likely token
	TopK        int     // 0: all
	TopP        float64 // 0 or 1: all
	Seed        uint64
}

func (s Sampling) check() error {
	switch {
	case s.Temperature < 0 || math.IsNaN(s.Temperature):
		return fmt.Errorf("temperature %g: needed is 0 (greedy) or more", s.Temperature)
	case s.TopP < 0 || s.TopP > 1 || math.IsNaN(s.TopP):
		return fmt.Errorf("top-p %g: needed is a probability from 0 to 1", s.TopP)
	case s.TopK < 0:
		return fmt.Errorf("top-k %d: needed is 0 (all) or more", s.TopK)
	}
	return nil
}

// Pick draws a token for position pos of sequence seq; the same seed, sequence and position draw the same number.
func (s Sampling) Pick(logits []float32, seq, pos int) int32 {
	if s.Temperature == 0 {
		return argmax(logits)
	}
	cands := make([]candidate, len(logits))
	top := float64(logits[argmax(logits)])
	var sum float64
	for i, l := range logits {
		p := math.Exp((float64(l) - top) / s.Temperature)
		cands[i] = candidate{int32(i), p}
		sum += p
	}
	// Few tokens of a vocabulary are kept: they come from a heap, and the rest is never sorted.
	if s.TopK > 0 {
		heap := newLikeliest(cands)
		cands = heap.take(s.TopK)
		sum = 0
		for _, c := range cands {
			sum += c.p
		}
	}
	if s.TopP > 0 && s.TopP < 1 {
		// A token is kept while those more likely than it have less than TopP together.
		rest := newLikeliest(cands)
		var kept []candidate
		var before float64
		for len(rest) > 0 && (len(kept) == 0 || before < s.TopP*sum) {
			kept = append(kept, rest.pop())
			before += kept[len(kept)-1].p
		}
		cands, sum = kept, before
	}
	key := tensor.RNGKey{Seed: s.Seed, Micro: uint32(seq), Op: uint32(pos)}
	w := key.Philox(0)
	u := (float64(w[0])*(1<<21) + float64(w[1]>>11)) / (1 << 53) * sum
	for _, c := range cands {
		if u -= c.p; u < 0 {
			return c.id
		}
	}
	return cands[len(cands)-1].id
}

type candidate struct {
	id int32
	p  float64
}

// likeliest is a heap of candidates: the most likely is on top, of equal ones that of the lowest id.
type likeliest []candidate

func newLikeliest(cands []candidate) likeliest {
	h := likeliest(cands)
	for i := len(h)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
	return h
}

func (h likeliest) before(i, j int) bool {
	return h[i].p > h[j].p || h[i].p == h[j].p && h[i].id < h[j].id
}

// down moves element i below those that come before it.
func (h likeliest) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(h) {
			return
		}
		if child+1 < len(h) && h.before(child+1, child) {
			child++
		}
		if !h.before(child, i) {
			return
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}

func (h *likeliest) pop() candidate {
	old := *h
	top, last := old[0], len(old)-1
	old[0] = old[last]
	*h = old[:last]
	h.down(0)
	return top
}

// take pops the first n candidates, or all.
func (h *likeliest) take(n int) []candidate {
	out := make([]candidate, 0, min(n, len(*h)))
	for len(out) < cap(out) {
		out = append(out, h.pop())
	}
	return out
}

// argmax returns the first largest logit.
func argmax(logits []float32) int32 {
	best := 0
	for i, l := range logits {
		if l > logits[best] {
			best = i
		}
	}
	return int32(best)
}
