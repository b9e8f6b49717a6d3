package metric

import (
	"slices"
	"strings"
)

// ROUGE compares a prediction with references by the words that they share, as
// rouge-score does: small letters, everything but a–z and 0–9 separates words.
// Text in other scripts has no words for it, and scores 0; so does rouge-score.
// Source: Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries".
type ROUGE struct {
	Stemmer bool // compare the stems of words of more than three letters
}

// PRF is precision, recall and their harmonic mean.
type PRF struct {
	Precision float64 `json:"precision"`
	Recall    float64 `json:"recall"`
	F         float64 `json:"fmeasure"`
}

func prf(precision, recall float64) PRF {
	s := PRF{Precision: precision, Recall: recall}
	if precision+recall > 0 {
		s.F = 2 * precision * recall / (precision + recall)
	}
	return s
}

// ROUGEScores are the four variants: unigrams, bigrams, the longest common
// subsequence of the whole texts, and that of the summary level (Lsum), where
// every line is a sentence and a reference sentence is matched by the union of
// its subsequences with all sentences of the prediction.
type ROUGEScores struct {
	ROUGE1    PRF `json:"rouge1"`
	ROUGE2    PRF `json:"rouge2"`
	ROUGEL    PRF `json:"rougeL"`
	ROUGELsum PRF `json:"rougeLsum"`
}

// Score scores a prediction; of several references each variant takes the one
// with the best F.
func (r ROUGE) Score(prediction string, references []string) (ROUGEScores, error) {
	if len(references) == 0 {
		return ROUGEScores{}, inputErrorf("a row has no references")
	}
	var best ROUGEScores
	for i, ref := range references {
		s := r.one(ref, prediction)
		keep := func(b *PRF, s PRF) {
			if i == 0 || s.F > b.F {
				*b = s
			}
		}
		keep(&best.ROUGE1, s.ROUGE1)
		keep(&best.ROUGE2, s.ROUGE2)
		keep(&best.ROUGEL, s.ROUGEL)
		keep(&best.ROUGELsum, s.ROUGELsum)
	}
	return best, nil
}

// Corpus is the mean over rows; references[i] are those of predictions[i].
func (r ROUGE) Corpus(predictions []string, references [][]string) (ROUGEScores, error) {
	var sum ROUGEScores
	if err := sameLength(len(predictions), len(references)); err != nil {
		return sum, err
	}
	n := float64(len(predictions))
	add := func(a *PRF, b PRF) {
		a.Precision += b.Precision / n
		a.Recall += b.Recall / n
		a.F += b.F / n
	}
	for i, p := range predictions {
		s, err := r.Score(p, references[i])
		if err != nil {
			return sum, inputErrorf("row %d has no references", i+1)
		}
		add(&sum.ROUGE1, s.ROUGE1)
		add(&sum.ROUGE2, s.ROUGE2)
		add(&sum.ROUGEL, s.ROUGEL)
		add(&sum.ROUGELsum, s.ROUGELsum)
	}
	return sum, nil
}

func (r ROUGE) one(reference, prediction string) ROUGEScores {
	ref, pred := r.tokens(reference), r.tokens(prediction)
	s := ROUGEScores{
		ROUGE1:    ngramPRF(ref, pred, 1),
		ROUGE2:    ngramPRF(ref, pred, 2),
		ROUGELsum: summaryLCS(r.sentences(reference), r.sentences(prediction)),
	}
	if len(ref) > 0 && len(pred) > 0 {
		common := float64(lcsLength(ref, pred))
		s.ROUGEL = prf(common/float64(len(pred)), common/float64(len(ref)))
	}
	return s
}

func (r ROUGE) tokens(text string) []string {
	words := strings.FieldsFunc(lower(text), func(c rune) bool { return (c < 'a' || c > 'z') && (c < '0' || c > '9') })
	if r.Stemmer {
		for i, w := range words {
			if len(w) > 3 {
				words[i] = Stem(w)
			}
		}
	}
	return words
}

func (r ROUGE) sentences(text string) [][]string {
	var out [][]string
	for _, line := range strings.Split(text, "\n") {
		if line != "" {
			out = append(out, r.tokens(line))
		}
	}
	return out
}

func ngramPRF(ref, pred []string, n int) PRF {
	refs, preds := newWords(ref), newWords(pred)
	common := float64(overlap(refs.ngrams(n), preds.ngrams(n)))
	return prf(common/float64(max(preds.len()-n+1, 1)), common/float64(max(refs.len()-n+1, 1)))
}

// lcsLength is the length of the longest common subsequence, in one row of the table.
func lcsLength(a, b []string) int {
	row := make([]int, len(b)+1)
	for _, x := range a {
		diagonal := 0
		for j, y := range b {
			above := row[j+1]
			if x == y {
				row[j+1] = diagonal + 1
			} else {
				row[j+1] = max(above, row[j])
			}
			diagonal = above
		}
	}
	return row[len(b)]
}

// lcsIndices marks the words of ref in one longest common subsequence with
// pred: the one found by walking the table back from its end, up before left.
func lcsIndices(ref, pred []string, marked []bool) {
	width := len(pred) + 1
	table := make([]int32, (len(ref)+1)*width)
	for i, x := range ref {
		for j, y := range pred {
			at := (i+1)*width + j + 1
			if x == y {
				table[at] = table[at-width-1] + 1
			} else {
				table[at] = max(table[at-width], table[at-1])
			}
		}
	}
	for i, j := len(ref), len(pred); i > 0 && j > 0; {
		switch {
		case ref[i-1] == pred[j-1]:
			i--
			j--
			marked[i] = true
		case table[i*width+j-1] > table[(i-1)*width+j]:
			j--
		default:
			i--
		}
	}
}

func summaryLCS(refs, preds [][]string) PRF {
	count := func(sentences [][]string) (map[string]int, int) {
		counts := map[string]int{}
		for _, w := range slices.Concat(sentences...) {
			counts[w]++
		}
		n := 0
		for _, s := range sentences {
			n += len(s)
		}
		return counts, n
	}
	refLeft, refLen := count(refs)
	predLeft, predLen := count(preds)
	if refLen == 0 || predLen == 0 {
		return PRF{}
	}
	hits := 0
	for _, ref := range refs {
		marked := make([]bool, len(ref))
		for _, pred := range preds {
			lcsIndices(ref, pred, marked)
		}
		for i, w := range ref {
			// No word is counted oftener than either text has it.
			if marked[i] && refLeft[w] > 0 && predLeft[w] > 0 {
				hits++
				refLeft[w]--
				predLeft[w]--
			}
		}
	}
	return prf(float64(hits)/float64(predLen), float64(hits)/float64(refLen))
}
