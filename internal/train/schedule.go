package train

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Schedule gives the factor by which the peak learning rate is multiplied at a step, counted from 0.
type Schedule func(step int) float64

// ScheduleOptions describe a schedule over Total steps with Warmup steps of linear rise from 0. Options are those of
// lr_scheduler_kwargs.
type ScheduleOptions struct {
	Type          string
	Warmup, Total int
	PeakLR        float64
	Options       map[string]any
}

// NewSchedule returns the named schedule, as transformers (optimization.py) and, for one_cycle, PyTorch define it.
func NewSchedule(o ScheduleOptions) (Schedule, error) {
	k := kwargs{o: o.Options}
	var after func(progress float64, step int) float64
	switch o.Type {
	case "linear":
		after = func(p float64, _ int) float64 { return 1 - p }
	case "cosine":
		cycles := k.float("num_cycles", 0.5)
		after = func(p float64, _ int) float64 { return max(0, 0.5*(1+math.Cos(math.Pi*cycles*2*p))) }
	case "cosine_with_min_lr":
		floor := k.minRate(o.PeakLR)
		cycles := k.float("num_cycles", 0.5)
		after = func(p float64, _ int) float64 {
			return max(0, 0.5*(1+math.Cos(math.Pi*cycles*2*p))*(1-floor)+floor)
		}
	case "constant":
		if o.Warmup > 0 {
			return nil, fmt.Errorf("lr_scheduler_type constant has no warm-up; use constant_with_warmup, or drop warmup_steps and warmup_ratio")
		}
		after = func(float64, int) float64 { return 1 }
	case "constant_with_warmup":
		after = func(float64, int) float64 { return 1 }
	case "wsd":
		return wsd(o, k)
	case "one_cycle":
		return oneCycle(o, k)
	default:
		return nil, fmt.Errorf("lr_scheduler_type %q is unknown", o.Type)
	}
	if err := k.err(o.Type); err != nil {
		return nil, err
	}
	return func(step int) float64 {
		if step < o.Warmup {
			return float64(step) / float64(max(1, o.Warmup))
		}
		progress := min(1, float64(step-o.Warmup)/float64(max(1, o.Total-o.Warmup)))
		return after(progress, step)
	}, nil
}

// wsd rises, stays, and decays over the last num_decay_steps (a tenth of the run unless given) to min_lr_ratio.
func wsd(o ScheduleOptions, k kwargs) (Schedule, error) {
	decay := int(k.float("num_decay_steps", math.Ceil(float64(o.Total)/10)))
	stable := int(k.float("num_stable_steps", float64(max(0, o.Total-o.Warmup-decay))))
	floor := k.float("min_lr_ratio", 0)
	cycles := k.float("num_cycles", 0.5)
	rise, err := shape(k.str("warmup_type", "linear"), cycles)
	if err != nil {
		return nil, fmt.Errorf("lr_scheduler_kwargs: warmup_type: %w", err)
	}
	fall, err := shape(k.str("decay_type", "cosine"), cycles)
	if err != nil {
		return nil, fmt.Errorf("lr_scheduler_kwargs: decay_type: %w", err)
	}
	if err := k.err(o.Type); err != nil {
		return nil, err
	}
	return func(step int) float64 {
		switch {
		case step < o.Warmup:
			// Up from min_lr_ratio; a rise is a fall seen backwards.
			p := float64(step) / float64(max(1, o.Warmup))
			return floor + (1-floor)*fall1(rise, p)
		case step < o.Warmup+stable:
			return 1
		case step < o.Warmup+stable+decay:
			p := float64(step-o.Warmup-stable) / float64(max(1, decay))
			return max(0, fall(p)*(1-floor)+floor)
		}
		return floor
	}, nil
}

// fall1 turns a shape that goes from 1 to 0 into one that goes from 0 to 1.
func fall1(f func(float64) float64, p float64) float64 { return 1 - f(p) }

// shape returns a curve from 1 at 0 to 0 at 1.
func shape(name string, cycles float64) (func(float64) float64, error) {
	switch name {
	case "linear":
		return func(p float64) float64 { return 1 - p }, nil
	case "cosine":
		return func(p float64) float64 { return 0.5 * (1 + math.Cos(math.Pi*cycles*2*p)) }, nil
	case "1-sqrt":
		return func(p float64) float64 { return 1 - math.Sqrt(p) }, nil
	}
	return nil, fmt.Errorf("%q is none of linear, cosine, 1-sqrt", name)
}

// oneCycle is PyTorch's OneCycleLR with cosine annealing in two phases: from 1/div_factor up to 1 over the warm-up (30 % of
// the run unless given), then down to 1/(div_factor·final_div_factor).
func oneCycle(o ScheduleOptions, k kwargs) (Schedule, error) {
	pct := k.float("pct_start", 0.3)
	if o.Warmup > 0 {
		pct = float64(o.Warmup) / float64(o.Total)
	}
	div, final := k.float("div_factor", 25), k.float("final_div_factor", 1e4)
	if err := k.err(o.Type); err != nil {
		return nil, err
	}
	up := pct*float64(o.Total) - 1
	last := float64(o.Total - 1)
	anneal := func(from, to, p float64) float64 { return to + (from-to)/2*(1+math.Cos(math.Pi*p)) }
	return func(step int) float64 {
		s := min(float64(step), last)
		if s <= up {
			return anneal(1/div, 1, s/up)
		}
		return anneal(1, 1/(div*final), (s-up)/(last-up))
	}, nil
}

// kwargs reads lr_scheduler_kwargs and remembers which keys were asked for.
type kwargs struct {
	o      map[string]any
	known  []string
	faults []string
}

func (k *kwargs) float(key string, def float64) float64 {
	k.known = append(k.known, key)
	switch v := k.o[key].(type) {
	case nil:
		return def
	case float64:
		return v
	case int:
		return float64(v)
	default:
		k.faults = append(k.faults, fmt.Sprintf("%s: found %v, needed is a number", key, v))
		return def
	}
}

func (k *kwargs) str(key, def string) string {
	k.known = append(k.known, key)
	switch v := k.o[key].(type) {
	case nil:
		return def
	case string:
		return v
	default:
		k.faults = append(k.faults, fmt.Sprintf("%s: found %v, needed is a string", key, v))
		return def
	}
}

// minRate reads the floor of a schedule as a part of the peak: min_lr_rate, or min_lr in absolute terms.
func (k *kwargs) minRate(peak float64) float64 {
	rate, lr := k.float("min_lr_rate", math.NaN()), k.float("min_lr", math.NaN())
	switch {
	case !math.IsNaN(rate) && !math.IsNaN(lr):
		k.faults = append(k.faults, "min_lr and min_lr_rate are both given; keep one")
		return 0
	case !math.IsNaN(rate):
		return rate
	case !math.IsNaN(lr):
		return lr / peak
	}
	k.faults = append(k.faults, "min_lr or min_lr_rate is missing")
	return 0
}

func (k *kwargs) err(typ string) error {
	faults := slices.Clone(k.faults)
	for key := range k.o {
		if !slices.Contains(k.known, key) {
			faults = append(faults, fmt.Sprintf("%s: unknown; %s takes %s", key, typ, strings.Join(k.known, ", ")))
		}
	}
	if len(faults) == 0 {
		return nil
	}
	slices.Sort(faults)
	return fmt.Errorf("lr_scheduler_kwargs: %s", strings.Join(faults, "; "))
}
