package train

import (
	"fmt"
	"math"
	"slices"

	"github.com/mltrain/mltrain/internal/config"
)

// Change is a change of the run config that takes memory off a run.
type Change struct {
	Settings []string `json:"settings"` // lines of the config
	Effect   string   `json:"effect"`   // what it does to the run, besides
	Saves    int64    `json:"saves_bytes"`
	Fits     bool     `json:"fits"` // with it alone, the run fits
}

// Advice is how a run can be made to fit.
type Advice struct {
	// Changes are those that save something by themselves, each in the mildest form that makes the run fit alone, or else in
	// the strongest.
	Changes []Change `json:"changes"`
	// Together are the fewest of them that make the run fit where none does alone; Total is what the run then needs. Fits tells
	// whether there is any way.
	Together []Change `json:"together,omitempty"`
	Total    int64    `json:"peak_bytes"`
	Fits     bool     `json:"fits"`
}

// level is one form of a change.
type level struct {
	settings []string
	apply    func(c *config.Config)
}

// knob is a change in its forms, from mild to strong.
type knob struct {
	effect string
	levels []level
}

// knobs lists what can be changed about a config, in the order in which it is better changed: first what leaves the result as it
// is, then what changes how numbers are stored, then the method, then the data.
func knobs(res *config.Resolved) []knob {
	c := &res.Config
	var out []knob
	one := func(effect string, apply func(*config.Config), settings ...string) {
		out = append(out, knob{effect, []level{{settings, apply}}})
	}
	if !c.GradientCheckpointing.Or(false) {
		one("the same result, a step takes about a third longer", func(c *config.Config) { c.GradientCheckpointing = config.Given(true) }, "gradient_checkpointing: true")
	}
	split := knob{effect: "the same batch in more, smaller pieces"}
	for n := c.PerDeviceTrainBatchSize; n > 1; {
		// Only a divisor leaves the rows of a step what they are.
		m := n / 2
		for c.PerDeviceTrainBatchSize%m != 0 {
			m--
		}
		n = m
		steps := c.GradientAccumulationSteps * (c.PerDeviceTrainBatchSize / n)
		split.levels = append(split.levels, level{
			[]string{fmt.Sprintf("per_device_train_batch_size: %d", n), fmt.Sprintf("gradient_accumulation_steps: %d", steps)},
			func(c *config.Config) { c.PerDeviceTrainBatchSize, c.GradientAccumulationSteps = n, steps },
		})
	}
	out = append(out, split)
	if c.EvalStrategy != "no" {
		eval := knob{effect: "the same result, evaluations in smaller pieces"}
		for n := c.PerDeviceEvalBatchSize / 2; n >= 1; n /= 2 {
			eval.levels = append(eval.levels, level{[]string{fmt.Sprintf("per_device_eval_batch_size: %d", n)}, func(c *config.Config) { c.PerDeviceEvalBatchSize = n }})
		}
		out = append(out, eval)
	}
	if res.Command == "dpo" && !c.PrecomputeRefLogProbs && !c.SyncRefModel {
		one("the same result; the reference model runs once, before the training", func(c *config.Config) { c.PrecomputeRefLogProbs = true }, "precompute_ref_log_probs: true")
	}
	if c.Optim == "adamw" || c.Optim == "adam" && c.WeightDecay == 0 {
		one("the optimiser's states in 8 bits", func(c *config.Config) { c.Optim = "adamw_8bit" }, "optim: adamw_8bit")
	}
	if !c.BF16.Or(false) {
		one("computes in bfloat16, parameters stay float32", func(c *config.Config) { c.BF16 = config.Given(true) }, "bf16: true")
	}
	if c.UsePeft && !c.LoadIn4bit {
		one("the frozen weights in 4 bits (QLoRA)", func(c *config.Config) { c.LoadIn4bit = true }, "load_in_4bit: true")
	}
	if c.UsePeft && c.UseDora {
		one("trains LoRA in place of DoRA", func(c *config.Config) { c.UseDora = false }, "use_dora: false")
	}
	if !c.UsePeft && !c.TrainFromScratch {
		one("trains an adapter only (LoRA)", func(c *config.Config) { c.UsePeft = true }, "use_peft: true")
		one("trains an adapter only, on weights in 4 bits (QLoRA)", func(c *config.Config) { c.UsePeft, c.LoadIn4bit = true, true }, "use_peft: true", "load_in_4bit: true")
	}
	short := knob{effect: "cuts longer rows"}
	for n := c.MaxLength / 2; n >= 128; n /= 2 {
		short.levels = append(short.levels, level{[]string{fmt.Sprintf("max_length: %d", n)}, func(c *config.Config) { c.MaxLength = n }})
	}
	return append(out, short)
}

// Advise finds the smallest changes to a config with which a run that needs total bytes fits into budget. plan returns what a
// variant needs, or an error where it is not possible; it is called for each that could help. What mltrain cannot do yet is left
// out.
func Advise(res *config.Resolved, total, budget int64, plan func(*config.Resolved) (int64, error)) Advice {
	a := advisor{res: res, budget: budget, plan: plan, known: map[string]int64{}}
	list := slices.DeleteFunc(knobs(res), func(k knob) bool {
		return len(k.levels) == 0 || config.Unsupported(a.variant(k.levels[0])) != nil
	})
	var advice Advice
	// Phase one: each by itself.
	helps := list[:0]
	for _, k := range list {
		c := Change{Effect: k.effect}
		for _, l := range k.levels {
			n := a.needs(l)
			c.Settings, c.Saves, c.Fits = l.settings, total-n, n <= budget
			if c.Fits {
				break
			}
		}
		if c.Saves > 0 {
			advice.Changes, helps = append(advice.Changes, c), append(helps, k)
		}
	}
	if slices.ContainsFunc(advice.Changes, func(c Change) bool { return c.Fits }) {
		advice.Fits = true
		for _, c := range advice.Changes {
			if c.Fits {
				advice.Total = total - c.Saves // the first is the one to prefer
				break
			}
		}
		return advice
	}
	a.combine(&advice, helps, total)
	return advice
}

type advisor struct {
	res    *config.Resolved
	budget int64
	plan   func(*config.Resolved) (int64, error)
	known  map[string]int64
}

func (a *advisor) variant(levels ...level) *config.Resolved {
	v := *a.res
	for _, l := range levels {
		l.apply(&v.Config)
	}
	return &v
}

// needs plans a variant once. One that is not possible needs more than there can be.
func (a *advisor) needs(levels ...level) int64 {
	key := ""
	for _, l := range levels {
		key += fmt.Sprint(l.settings)
	}
	if n, ok := a.known[key]; ok {
		return n
	}
	n, err := a.plan(a.variant(levels...))
	if err != nil {
		n = math.MaxInt64
	}
	a.known[key] = n
	return n
}

// combine takes changes in their strongest form, in order, until the run fits; then it takes them back one by one, from the one
// that costs most, as far as the run still fits.
func (a *advisor) combine(advice *Advice, list []knob, total int64) {
	advice.Total = total
	var used []knob
	var at []int // level of each, −1: taken back
	chosen := func() (levels []level) {
		for i, k := range used {
			if at[i] >= 0 {
				levels = append(levels, k.levels[at[i]])
			}
		}
		return levels
	}
	for _, k := range list {
		used, at = append(used, k), append(at, len(k.levels)-1)
		n := a.needs(chosen()...)
		if n >= advice.Total { // nothing on top of the others
			at[len(at)-1] = -1
			continue
		}
		if advice.Total = n; n <= a.budget {
			advice.Fits = true
			break
		}
	}
	for i := len(used) - 1; i >= 0 && advice.Fits; i-- {
		for at[i] >= 0 {
			at[i]--
			n := a.needs(chosen()...)
			if n > a.budget {
				at[i]++
				break
			}
			advice.Total = n
		}
	}
	last := total
	for i := range used {
		if at[i] < 0 {
			continue
		}
		c := Change{Settings: used[i].levels[at[i]].settings, Effect: used[i].effect}
		rest := at[i+1:]
		kept := slices.Clone(rest)
		for j := range rest {
			rest[j] = -1
		}
		n := a.needs(chosen()...)
		copy(rest, kept)
		c.Saves, last, c.Fits = last-n, n, n <= a.budget
		advice.Together = append(advice.Together, c)
	}
}
