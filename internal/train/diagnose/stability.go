package diagnose

import (
	"fmt"
	"math"
)

// spike finds a loss far above those before it: by six standard deviations, and by half of their median.
func (m *Monitor) spike(p point) *Finding {
	before := m.recent(window, lossOf)
	if len(before) < enough {
		return nil
	}
	mid := median(before)
	if p.loss <= mid+max(6*deviation(before), 0.5*math.Abs(mid), 0.3) {
		return nil
	}
	f := &Finding{Kind: LossSpike, Step: p.step, What: fmt.Sprintf("the loss jumped at step %d", p.step)}
	f.Evidence = []string{fmt.Sprintf("loss %.4g, where the median of the %d entries before was %.4g", p.loss, len(before), mid)}
	if p.hasNorm {
		f.Evidence = append(f.Evidence, fmt.Sprintf("gradient norm %.3g, before %.3g", p.norm, median(m.recent(window, normOf))))
	}
	f.Try = []string{"look at the rows of that step: broken text, another language, or a very short answer", m.lowerLR(), "a longer warm-up (warmup_steps) or a smaller max_grad_norm"}
	return f
}

// explosion finds a gradient ten times as long as those before it.
func (m *Monitor) explosion(p point) *Finding {
	before := m.recent(window, normOf)
	if !p.hasNorm || len(before) < enough {
		return nil
	}
	mid := median(before)
	if !(p.norm > 10*mid && p.norm > 5) {
		return nil
	}
	return &Finding{
		Kind: Explosion, Step: p.step, What: fmt.Sprintf("the gradient exploded at step %d", p.step),
		Evidence: []string{fmt.Sprintf("gradient norm %.3g, where the median of the %d entries before was %.3g", p.norm, len(before), mid), fmt.Sprintf("loss %.4g", p.loss)},
		Try:      []string{m.lowerLR(), "max_grad_norm 1 or less", "a longer warm-up (warmup_steps)"},
	}
}

// rateTooHigh finds steps as long as what they change. Adam and Lion move each weight by about the learning rate, whatever the
// gradient; a thousandth of the weights' size is usual.
func (m *Monitor) rateTooHigh() *Finding {
	rms, optim := m.facts.or0(KeyWeightRMS), fmt.Sprint(m.facts[KeyOptim])
	p := m.last()
	if rms == 0 || optim == "sgd" || p.lr < 0.5*rms {
		return nil
	}
	return &Finding{
		Kind: RateTooHigh, Step: p.step, What: "the learning rate is too high: a step changes the weights by about as much as they are",
		Evidence: []string{fmt.Sprintf("%s moves each weight by about the learning rate, %.3g at step %d; the weights began with a root mean square of %.3g", optim, p.lr, p.step, rms)},
		Try:      []string{fmt.Sprintf("a learning_rate of %.1g or less", 0.05*rms), "a look at the units: 2e-5 is usual for fine-tuning, 2e-4 for adapters, 3e-4 for training from scratch"},
	}
}

// diverged finds a loss that is above where it began.
func (m *Monitor) diverged() *Finding {
	if len(m.points) < enough {
		return nil
	}
	first, now := m.points[0].loss, median(m.recent(5, lossOf))
	if now <= 1.2*first+0.2 {
		return nil
	}
	p := m.last()
	return &Finding{
		Kind: Diverged, Step: p.step, What: "the loss is higher than at the start: training makes the model worse",
		Evidence: []string{fmt.Sprintf("loss %.4g at step %d, median %.4g of the last 5 entries, up to step %d", first, m.points[0].step, now, p.step)},
		Try:      []string{m.lowerLR(), "a longer warm-up (warmup_steps)", "mltrain data preview, to see whether the labels are what they should be"},
	}
}

func (m *Monitor) notFinite(e Entry) *Finding {
	return &Finding{
		Kind: NotFinite, Step: int(e.or0("step")), What: "the loss is no longer a finite number",
		Evidence: []string{fmt.Sprintf("the log of step %.0f has no number for the loss", e.or0("step"))},
		Try:      []string{m.lowerLR(), "max_grad_norm 1 or less", "going on from an earlier checkpoint"},
	}
}

// scheduleEnded finds a learning rate of next to nothing with more than a twentieth of the steps to go.
func (m *Monitor) scheduleEnded() *Finding {
	total, peak := m.maxSteps(), m.peakLR()
	if total == 0 || peak == 0 || len(m.points) < 3 {
		return nil
	}
	for _, p := range m.points[len(m.points)-3:] {
		if !p.hasLR || p.lr > 1e-3*peak || p.step > total*19/20 {
			return nil
		}
	}
	// While it warms up, a learning rate is small too, and the peak lies ahead: then it rises.
	n := len(m.points)
	if m.points[n-1].lr > m.points[n-3].lr {
		return nil
	}
	p := m.points[n-3]
	return &Finding{
		Kind: ScheduleEnded, Step: p.step, What: fmt.Sprintf("the learning rate came to its end with %d of %d steps to go", total-p.step, total),
		Evidence: []string{fmt.Sprintf("learning rate %.3g at step %d, the peak was %.3g", p.lr, p.step, peak)},
		Try:      []string{"lr_scheduler_kwargs whose steps add up to the run (num_stable_steps, num_decay_steps)", "lr_scheduler_type linear or cosine, which end with the run", "fewer max_steps"},
	}
}

// slowSeconds is how long a slow stretch must last: short ones happen.
const slowSeconds = 30

// throughput finds that training has become three times slower than it was.
func (m *Monitor) throughput() *Finding {
	const n = 5
	if len(m.points) < 2*n+1 {
		return nil
	}
	split := len(m.points) - n
	before, now, seconds := []float64{}, []float64{}, 0.0
	for i, p := range m.points[1:] { // the first entry has the start-up in it
		if p.speed <= 0 {
			return nil
		}
		if i+1 < split {
			before = append(before, p.speed)
			continue
		}
		now = append(now, p.speed)
		seconds += (p.tokens - m.points[i].tokens) / p.speed
	}
	was, is := median(before), median(now)
	if is*3 > was || seconds < slowSeconds {
		return nil
	}
	return &Finding{
		Kind: Throughput, Step: m.points[split].step, What: fmt.Sprintf("training has become %.1f times slower since step %d", was/is, m.points[split].step),
		Evidence: []string{fmt.Sprintf("%.0f tokens a second, before %.0f", is, was)},
		Try:      []string{"see what else runs on this machine, and whether it swaps or throttles", "group_by_length or packing, if some steps have much longer rows"},
	}
}
