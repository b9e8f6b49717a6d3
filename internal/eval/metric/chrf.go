package metric

import (
	"fmt"
	"strings"
)

// CHRF scores hypotheses against references by the F-score of their character
// n-grams, and of word n-grams too where WordOrder says so (chrF++ is
// WordOrder 2). With P and R the means of precision and recall over the orders
// that both have n-grams of, it is 100·(1+β²)PR/(β²P+R). Of several references
// the best counts. The zero value is sacrebleu's default. Source: Popović 2015,
// "chrF", and 2017, "chrF++".
type CHRF struct {
	CharOrder    int  // longest character n-gram; 0 is 6
	WordOrder    int  // longest word n-gram; 0 is none
	Beta         int  // weight of recall; 0 is 2
	Lowercase    bool // compare small letters
	Whitespace   bool // let character n-grams reach over spaces
	EpsSmoothing bool // mean of the orders' F-scores with 1e-16 for what is empty, as chrF++.py, NLTK and Moses
}

// CHRFScore is a score of chrF, in 0…100.
type CHRFScore struct {
	Score float64 `json:"score"`
	Name  string  `json:"name"` // chrF2, chrF2++
}

// String writes a score as sacrebleu does.
func (s CHRFScore) String() string { return fmt.Sprintf("%s = %.2f", s.Name, s.Score) }

func (c CHRF) defaults() (CHRF, error) {
	if c.CharOrder == 0 {
		c.CharOrder = 6
	}
	if c.Beta == 0 {
		c.Beta = 2
	}
	if c.CharOrder < 0 || c.WordOrder < 0 || c.Beta < 0 {
		return c, inputErrorf("chrF: orders and beta must not be negative")
	}
	return c, nil
}

// Corpus scores hypotheses together; references[i] are those of hypotheses[i].
func (c CHRF) Corpus(hypotheses []string, references [][]string) (CHRFScore, error) {
	c, err := c.defaults()
	if err != nil {
		return CHRFScore{}, err
	}
	if err := sameLength(len(hypotheses), len(references)); err != nil {
		return CHRFScore{}, err
	}
	total := make([]chrfStats, c.CharOrder+c.WordOrder)
	for i, h := range hypotheses {
		if len(references[i]) == 0 {
			return CHRFScore{}, inputErrorf("row %d has no references", i+1)
		}
		hyp := c.ngrams(h)
		var best []chrfStats
		bestF := -1.0
		for _, r := range references[i] {
			stats := match(hyp, c.ngrams(r))
			if f := c.fscore(stats); f > bestF {
				best, bestF = stats, f
			}
		}
		for n, s := range best {
			total[n].hyp += s.hyp
			total[n].ref += s.ref
			total[n].match += s.match
		}
	}
	return CHRFScore{c.fscore(total), fmt.Sprintf("chrF%d", c.Beta) + strings.Repeat("+", c.WordOrder)}, nil
}

// Sentence scores one hypothesis.
func (c CHRF) Sentence(hypothesis string, references []string) (CHRFScore, error) {
	return c.Corpus([]string{hypothesis}, [][]string{references})
}

// Signature says how a score came about, as sacrebleu prints it.
func (c CHRF) Signature(references [][]string) (string, error) {
	c, err := c.defaults()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("nrefs:%s|case:%s|eff:%s|nc:%d|nw:%d|space:%s|version:%s", countRefs(references),
		caseName(c.Lowercase), yesNo(!c.EpsSmoothing), c.CharOrder, c.WordOrder, yesNo(c.Whitespace), signatureVersion), nil
}

// chrfStats counts the n-grams of one order.
type chrfStats struct{ hyp, ref, match int }

// ngrams counts those of every order, characters first.
func (c CHRF) ngrams(text string) []map[string]int {
	if c.Lowercase {
		text = lower(text)
	}
	line := text
	if !c.Whitespace {
		line = strings.Join(fields(text), "")
	}
	chars := characters(line)
	var out []map[string]int
	for n := range c.CharOrder {
		out = append(out, chars.ngrams(n+1))
	}
	if c.WordOrder > 0 {
		tokens := newWords(splitPunctuation(text))
		for n := range c.WordOrder {
			out = append(out, tokens.ngrams(n+1))
		}
	}
	return out
}

// splitPunctuation cuts one mark of punctuation off the end of each word, or
// else off its beginning.
func splitPunctuation(text string) []string {
	var out []string
	for _, w := range fields(text) {
		n := characters(w).len()
		last := w[len(w)-1:]
		switch {
		case n > 1 && isPunct(rune(last[0])):
			out = append(out, w[:len(w)-1], last)
		case n > 1 && isPunct(rune(w[0])):
			out = append(out, w[:1], w[1:])
		default:
			out = append(out, w)
		}
	}
	return out
}

func match(hyp, ref []map[string]int) []chrfStats {
	out := make([]chrfStats, len(hyp))
	for n := range hyp {
		for _, count := range ref[n] {
			out[n].ref += count
		}
		if out[n].ref == 0 {
			continue // n-grams that no reference has room for are not held against the hypothesis
		}
		for _, count := range hyp[n] {
			out[n].hyp += count
		}
		out[n].match = overlap(hyp[n], ref[n])
	}
	return out
}

func (c CHRF) fscore(stats []chrfStats) float64 {
	const eps = 1e-16
	factor := float64(c.Beta * c.Beta)
	var smoothed, precision, recall float64
	orders := 0
	for _, s := range stats {
		p, r := eps, eps
		if s.hyp > 0 {
			p = float64(s.match) / float64(s.hyp)
		}
		if s.ref > 0 {
			r = float64(s.match) / float64(s.ref)
		}
		if d := factor*p + r; d > 0 {
			smoothed += (1 + factor) * p * r / d
		} else {
			smoothed += eps
		}
		if s.hyp > 0 && s.ref > 0 {
			precision += p
			recall += r
			orders++
		}
	}
	if c.EpsSmoothing {
		return 100 * smoothed / float64(len(stats))
	}
	if orders == 0 || precision+recall == 0 {
		return 0
	}
	precision /= float64(orders)
	recall /= float64(orders)
	return 100 * ((1 + factor) * precision * recall / (factor*precision + recall))
}
