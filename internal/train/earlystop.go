package train

import (
	"fmt"
	"math"
)

// patience stops a run whose evaluations no longer improve, as transformers' EarlyStoppingCallback does.
type patience struct {
	limit     int     // evaluations in a row without improvement that end the run; 0 for never
	threshold float64 // an improvement must be larger
	count     int     // evaluations in a row without one
}

// see counts an evaluation of metric v, before which best was the best.
func (p *patience) see(v float64, best best, greater bool) {
	better := !best.ok || greater && v > best.value || !greater && v < best.value
	if better && (!best.ok || math.Abs(v-best.value) > p.threshold) {
		p.count = 0
		return
	}
	p.count++
}

// out tells whether the run has to end.
func (p *patience) out() bool { return p.limit > 0 && p.count >= p.limit }

// stopped tells whether the run ends before its last step, and says so once.
func (r *run) stopped() bool {
	if !r.patience.out() || r.step >= r.total {
		return false
	}
	r.report.Note(fmt.Sprintf("stopped early after step %d of %d: %s has not improved by more than %g in %d evaluations (early_stopping_patience)",
		r.step, r.total, bestName(&r.cfg.Config), r.patience.threshold, r.patience.count))
	return true
}
