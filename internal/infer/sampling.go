package infer

import (
	"cmp"
	"fmt"
	"math"
	"slices"

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
	type cand struct {
		id int32
		p  float64
	}
	cands := make([]cand, len(logits))
	top := float64(logits[argmax(logits)])
	for i, l := range logits {
		cands[i] = cand{int32(i), math.Exp((float64(l) - top) / s.Temperature)}
	}
	all := s.TopP <= 0 || s.TopP >= 1
	if s.TopK > 0 || !all {
		slices.SortStableFunc(cands, func(a, b cand) int { return cmp.Compare(b.p, a.p) })
	}
	if s.TopK > 0 {
		cands = cands[:min(s.TopK, len(cands))]
	}
	var sum float64
	for _, c := range cands {
		sum += c.p
	}
	if !all {
		// A token is kept while those more likely than it have less than TopP together.
		var before float64
		for i, c := range cands {
			if before >= s.TopP*sum && i > 0 {
				cands = cands[:i]
				sum = before
				break
			}
			before += c.p
		}
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
