package diagnose

import (
	"fmt"
	"math"
	"slices"
)

// point is a log entry of the training.
type point struct {
	step                      int
	epoch, loss, norm, lr     float64
	tokens, speed             float64 // tokens so far; tokens a second
	hasNorm, hasLR, isTokened bool    // isTokened: the loss is one of tokens
}

type evaluation struct {
	step  int
	loss  float64
	train float64 // mean training loss in the log before it
}

// Monitor reads a run's log entry by entry. The zero Monitor is ready.
type Monitor struct {
	facts  Entry
	points []point
	evals  []evaluation
	said   map[Kind]bool
}

// window is how many entries are compared with a new one, and enough is how few are too few.
const window, enough = 20, 8

// Add reads an entry and returns what it brings to light. Each kind is found once.
func (m *Monitor) Add(e Entry) []Finding {
	var found []*Finding
	if _, ok := e.Number(KeyMaxSteps); ok {
		m.facts = e
		found = append(found, m.masked(), m.leak())
	}
	if v, ok := e["loss"]; ok && v == nil {
		found = append(found, m.notFinite(e))
	}
	if loss, ok := e.Number("loss"); ok {
		p := point{step: int(e.or0("step")), epoch: e.or0("epoch"), loss: loss, tokens: e.or0("num_tokens"), speed: e.or0("tokens_per_second")}
		p.norm, p.hasNorm = e.Number("grad_norm")
		p.lr, p.hasLR = e.Number("learning_rate")
		_, p.isTokened = e.Number("mean_token_accuracy")
		found = append(found, m.spike(p), m.explosion(p))
		m.points = append(m.points, p)
		found = append(found, m.rateTooHigh(), m.diverged(), m.plateau(), m.memorised(), m.scheduleEnded(), m.throughput())
	}
	if loss, ok := e.Number("eval_loss"); ok {
		ev := evaluation{step: int(e.or0("step")), loss: loss, train: math.NaN()}
		if n := len(m.points); n > 0 {
			ev.train = m.points[n-1].loss
		}
		m.evals = append(m.evals, ev)
		found = append(found, m.overfit(), m.tooGood(e))
	}
	var out []Finding
	for _, f := range found {
		if f != nil && !m.said[f.Kind] {
			if m.said == nil {
				m.said = map[Kind]bool{}
			}
			m.said[f.Kind] = true
			out = append(out, *f)
		}
	}
	return out
}

// All returns the findings of a whole log.
func All(log []Entry) []Finding {
	var m Monitor
	var out []Finding
	for _, e := range log {
		out = append(out, m.Add(e)...)
	}
	return out
}

func (m *Monitor) last() point { return m.points[len(m.points)-1] }

// recent returns a value of the last n points.
func (m *Monitor) recent(n int, value func(point) float64) []float64 {
	var out []float64
	for _, p := range m.points[max(0, len(m.points)-n):] {
		out = append(out, value(p))
	}
	return out
}

func lossOf(p point) float64 { return p.loss }
func normOf(p point) float64 { return p.norm }

func median(x []float64) float64 {
	if len(x) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(x))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

// deviation estimates the standard deviation from the median absolute deviation, which outliers do not move.
func deviation(x []float64) float64 {
	mid := median(x)
	abs := make([]float64, len(x))
	for i, v := range x {
		abs[i] = math.Abs(v - mid)
	}
	return 1.4826 * median(abs)
}

func mean(x []float64) float64 {
	var sum float64
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

func (m *Monitor) maxSteps() int { return int(m.facts.or0(KeyMaxSteps)) }

func (m *Monitor) peakLR() (lr float64) {
	for _, p := range m.points {
		lr = max(lr, p.lr)
	}
	return lr
}

// lowerLR is the advice for steps that are too long.
func (m *Monitor) lowerLR() string {
	if lr := m.peakLR(); lr > 0 {
		return fmt.Sprintf("a lower learning_rate (it was up to %.3g; a tenth of that is a good next guess)", lr)
	}
	return "a lower learning_rate"
}
