package train

import (
	"fmt"
	"math"
)

// preferenceWatch looks at the metrics of a preference run, step by step, and says what it sees going wrong, each thing once.
type preferenceWatch struct {
	steps            int
	accuracy, margin float64 // smoothed over about watchWindow steps
	logp, firstLogp  float64 // of the chosen answers: smoothed, and the mean of the first steps
	said             map[string]bool
}

const (
	// watchWindow is how many steps a smoothed value looks back, and watchFrom how many must have passed before it says a thing.
	watchWindow, watchFrom = 20, 40
	// hugeMargin is a difference of rewards at which σ is 1 to within 1e-9: such pairs teach nothing more.
	hugeMargin = 20
)

// observe takes the metrics of a step and returns what to tell the user.
func (w *preferenceWatch) observe(m map[string]float64) (warnings []string) {
	w.steps++
	share := 1 / math.Min(float64(w.steps), watchWindow)
	smooth := func(old *float64, key string) bool {
		v, ok := m[key]
		if ok {
			*old += share * (v - *old)
		}
		return ok
	}
	hasAccuracy := smooth(&w.accuracy, "rewards/accuracies")
	smooth(&w.margin, "rewards/margins")
	smooth(&w.logp, "logps/chosen")
	if w.steps == 5 {
		w.firstLogp = w.logp
	}
	if w.steps < watchFrom {
		return nil
	}
	say := func(kind, format string, args ...any) {
		if !w.said[kind] {
			if w.said == nil {
				w.said = map[string]bool{}
			}
			w.said[kind] = true
			warnings = append(warnings, fmt.Sprintf(format, args...))
		}
	}
	if hasAccuracy && math.Abs(w.accuracy-0.5) < 0.05 && math.Abs(w.margin) < 0.02 {
		say("stuck", "rewards/accuracies is at %.2f and rewards/margins at %.4f after %d steps: the model does not tell chosen from rejected answers. "+
			"Try a higher learning_rate, and see with mltrain data preview that the two differ in what they should", w.accuracy, w.margin, w.steps)
	}
	if drop := w.firstLogp - w.logp; w.margin > 0 && drop > 0.5*math.Abs(w.firstLogp) && drop > 10 {
		say("collapse", "logps/chosen has fallen from %.1f to %.1f: the chosen answers themselves become unlikely. "+
			"Try a lower learning_rate, a larger beta, or the likelihood of the chosen answers in the loss: loss_type [sigmoid, sft] with loss_weights [1, 0.2]", w.firstLogp, w.logp)
	}
	if w.margin > hugeMargin {
		say("margins", "rewards/margins has grown to %.1f: the loss is saturated, and the model moves on without need. "+
			"Try fewer epochs, a lower learning_rate, or a loss with a target margin such as ipo", w.margin)
	}
	return warnings
}
