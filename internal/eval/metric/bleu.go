package metric

import (
	"fmt"
	"math"
	"strings"
)

// signatureVersion is the release of sacrebleu that the scores equal.
const signatureVersion = "2.6.0"

// Smoothing says what becomes of n-gram precisions that are zero. Source: Chen
// and Cherry 2014, "A Systematic Comparison of Smoothing Techniques for
// Sentence-Level BLEU", whose methods 3, 1 and 2 the first three are.
type Smoothing string

// The ways of smoothing, by sacrebleu's names.
const (
	SmoothExp   Smoothing = "exp"   // the i-th zero precision becomes 100/(2ⁱ·total)
	SmoothFloor Smoothing = "floor" // matches of zero become SmoothValue, 0.1 by default
	SmoothAddK  Smoothing = "add-k" // SmoothValue, 1 by default, is added to matches and totals of n > 1
	SmoothNone  Smoothing = "none"
)

// BLEU scores hypotheses against references by clipped n-gram precisions pₙ
// and a brevity penalty: 100·BP·exp(mean of ln pₙ), n = 1…MaxOrder, with
// BP = 1 for hypotheses longer than the references in total, else
// exp(1 − r/h). Of several references the counts are clipped by the largest,
// and the one closest in length (the shorter of two) counts into r. The zero
// value is sacrebleu's default. Source: Papineni et al. 2002; Post 2018, "A Call
// for Clarity in Reporting BLEU Scores".
type BLEU struct {
	Tokenizer      string    // 13a (default), intl, zh, char or none
	Lowercase      bool      // compare small letters
	Smooth         Smoothing // exp by default
	SmoothValue    float64   // of floor and add-k; 0 takes the default
	MaxOrder       int       // longest n-gram; 0 is 4
	EffectiveOrder bool      // leave orders out for which the hypothesis has no n-grams: right for single sentences
}

// BLEUScore is a score with what it was computed from.
type BLEUScore struct {
	Score      float64   `json:"score"`
	Precisions []float64 `json:"precisions"` // in percent, smoothed
	Counts     []float64 `json:"counts"`     // matched n-grams of each order (add-k smoothing included)
	Totals     []float64 `json:"totals"`     // n-grams of the hypotheses of each order
	BP         float64   `json:"bp"`
	SysLen     int       `json:"sys_len"` // tokens of the hypotheses
	RefLen     int       `json:"ref_len"` // tokens of the references closest in length
}

// String writes a score as sacrebleu does.
func (s BLEUScore) String() string {
	precisions := make([]string, len(s.Precisions))
	for i, p := range s.Precisions {
		precisions[i] = fmt.Sprintf("%.1f", p)
	}
	ratio := 0.0
	if s.RefLen > 0 {
		ratio = float64(s.SysLen) / float64(s.RefLen)
	}
	return fmt.Sprintf("BLEU = %.2f %s (BP = %.3f ratio = %.3f hyp_len = %d ref_len = %d)",
		s.Score, strings.Join(precisions, "/"), s.BP, ratio, s.SysLen, s.RefLen)
}

// defaults fills in what is not set, and checks the rest.
func (b BLEU) defaults() (BLEU, error) {
	if b.Tokenizer == "" {
		b.Tokenizer = "13a"
	}
	if b.Smooth == "" {
		b.Smooth = SmoothExp
	}
	if b.MaxOrder == 0 {
		b.MaxOrder = 4
	}
	switch b.Smooth {
	case SmoothExp, SmoothNone:
	case SmoothFloor:
		if b.SmoothValue == 0 {
			b.SmoothValue = 0.1
		}
	case SmoothAddK:
		if b.SmoothValue == 0 {
			b.SmoothValue = 1
		}
	default:
		return b, inputErrorf("smoothing %q is not one of exp, floor, add-k and none", b.Smooth)
	}
	if b.MaxOrder < 1 || b.SmoothValue < 0 {
		return b, inputErrorf("order %d and smoothing value %g must not be negative", b.MaxOrder, b.SmoothValue)
	}
	_, err := tokenizerNamed(b.Tokenizer)
	return b, err
}

// Corpus scores hypotheses together; references[i] are those of hypotheses[i].
func (b BLEU) Corpus(hypotheses []string, references [][]string) (BLEUScore, error) {
	b, err := b.defaults()
	if err != nil {
		return BLEUScore{}, err
	}
	if err := sameLength(len(hypotheses), len(references)); err != nil {
		return BLEUScore{}, err
	}
	total := bleuStats{counts: make([]float64, b.MaxOrder), totals: make([]float64, b.MaxOrder)}
	for i, h := range hypotheses {
		if len(references[i]) == 0 {
			return BLEUScore{}, inputErrorf("row %d has no references", i+1)
		}
		b.add(&total, h, references[i])
	}
	return b.score(total), nil
}

// Sentence scores one hypothesis. Set EffectiveOrder, or short sentences get 0.
func (b BLEU) Sentence(hypothesis string, references []string) (BLEUScore, error) {
	return b.Corpus([]string{hypothesis}, [][]string{references})
}

// Signature says how a score came about, as sacrebleu prints it.
func (b BLEU) Signature(references [][]string) (string, error) {
	b, err := b.defaults()
	if err != nil {
		return "", err
	}
	smooth := string(b.Smooth)
	if b.SmoothValue != 0 && (b.Smooth == SmoothFloor || b.Smooth == SmoothAddK) {
		smooth += fmt.Sprintf("[%.2f]", b.SmoothValue)
	}
	return fmt.Sprintf("nrefs:%s|case:%s|eff:%s|tok:%s|smooth:%s|version:%s",
		countRefs(references), caseName(b.Lowercase), yesNo(b.EffectiveOrder), b.Tokenizer, smooth, signatureVersion), nil
}

func countRefs(references [][]string) string {
	for _, r := range references {
		if len(r) != len(references[0]) {
			return "var"
		}
	}
	if len(references) == 0 {
		return "0"
	}
	return fmt.Sprint(len(references[0]))
}

func caseName(lowercase bool) string {
	if lowercase {
		return "lc"
	}
	return "mixed"
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// bleuStats are the sufficient statistics of BLEU; those of rows add up.
type bleuStats struct {
	counts, totals []float64
	sys, ref       int
}

func (b BLEU) words(text string) words {
	if b.Lowercase {
		text = lower(text)
	}
	tokenize, _ := tokenizerNamed(b.Tokenizer) // the name was checked by defaults
	return newWords(tokenize(strings.TrimRightFunc(text, isSpace)))
}

func (b BLEU) add(s *bleuStats, hypothesis string, references []string) {
	h := b.words(hypothesis)
	most := make([]map[string]int, b.MaxOrder) // largest count in any reference
	closest := -1
	for _, reference := range references {
		r := b.words(reference)
		for n := range most {
			grams := r.ngrams(n + 1)
			if most[n] == nil {
				most[n] = grams
				continue
			}
			for g, count := range grams {
				most[n][g] = max(most[n][g], count)
			}
		}
		was, now := abs(closest-h.len()), abs(r.len()-h.len())
		if closest < 0 || now < was || now == was && r.len() < closest {
			closest = r.len()
		}
	}
	for n := range most {
		s.counts[n] += float64(overlap(h.ngrams(n+1), most[n]))
		s.totals[n] += float64(max(0, h.len()-n))
	}
	s.sys += h.len()
	s.ref += closest
}

func abs(x int) int { return max(x, -x) }

func (b BLEU) score(s bleuStats) BLEUScore {
	out := BLEUScore{Counts: s.counts, Totals: s.totals, SysLen: s.sys, RefLen: s.ref, BP: 1, Precisions: make([]float64, b.MaxOrder)}
	if s.sys < s.ref {
		out.BP = 0
		if s.sys > 0 {
			out.BP = math.Exp(1 - float64(s.ref)/float64(s.sys))
		}
	}
	matched := false
	for _, c := range s.counts {
		matched = matched || c > 0
	}
	if !matched {
		return out
	}
	order, zeros := b.MaxOrder, 1.0
	for n := range b.MaxOrder {
		if b.Smooth == SmoothAddK && n > 0 {
			s.counts[n] += b.SmoothValue
			s.totals[n] += b.SmoothValue
		}
		if s.totals[n] == 0 {
			break
		}
		if b.EffectiveOrder {
			order = n + 1
		}
		switch {
		case s.counts[n] > 0:
			out.Precisions[n] = 100 * s.counts[n] / s.totals[n]
		case b.Smooth == SmoothExp:
			zeros *= 2
			out.Precisions[n] = 100 / (zeros * s.totals[n])
		case b.Smooth == SmoothFloor:
			out.Precisions[n] = 100 * b.SmoothValue / s.totals[n]
		}
	}
	sum := 0.0
	for _, p := range out.Precisions[:order] {
		if p == 0 {
			return out
		}
		sum += math.Log(p)
	}
	out.Score = out.BP * math.Exp(sum/float64(order))
	return out
}
