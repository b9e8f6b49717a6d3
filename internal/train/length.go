package train

import (
	"errors"
	"fmt"
	"math"
)

// tokenCounter tells the tokens of a micro-batch without filling one, so that it is known before a run how many steps a
// number of tokens takes.
type tokenCounter interface {
	Tokens(epoch, i int) (int, error)
}

// totalSteps is how many optimiser steps the config asks for.
func (r *run) totalSteps() (int, error) {
	cfg := &r.cfg.Config
	switch {
	case cfg.MaxTokens > 0:
		return r.stepsFor(int64(cfg.MaxTokens))
	case cfg.MaxSteps > 0:
		return cfg.MaxSteps, nil
	}
	whole := int(cfg.NumTrainEpochs)
	steps := 0.0
	for e := range whole {
		steps += float64(r.stepsOf(e))
	}
	steps += (cfg.NumTrainEpochs - float64(whole)) * float64(r.stepsOf(whole))
	return int(math.Ceil(steps - 1e-9)), nil
}

// stepsFor counts the optimiser steps until that many tokens are seen, over as many epochs as that takes.
func (r *run) stepsFor(tokens int64) (int, error) {
	counter, ok := r.Train.(tokenCounter)
	if !ok {
		return 0, errors.New("max_tokens: the tokens of this data are not known beforehand; use max_steps")
	}
	seen, step := int64(0), 0
	for epoch := 0; ; epoch++ {
		n := r.Train.MicroBatches(epoch)
		before := seen
		for i := range n {
			k, err := counter.Tokens(epoch, i)
			if err != nil {
				return 0, err
			}
			seen += int64(k)
			if i == n-1 || (i+1)%r.cfg.Config.GradientAccumulationSteps == 0 {
				if step++; seen >= tokens {
					return step, nil
				}
			}
		}
		if seen == before {
			return 0, fmt.Errorf("max_tokens: an epoch of %d micro-batches has no token", n)
		}
	}
}

// scheduleOptions describe the learning rate's course: over optimiser steps or, with max_tokens, over tokens seen.
func (r *run) scheduleOptions() ScheduleOptions {
	cfg := &r.cfg.Config
	o := ScheduleOptions{Type: cfg.LRSchedulerType, PeakLR: cfg.LearningRate, Options: cfg.LRSchedulerKwargs}
	o.Total = r.total
	if cfg.MaxTokens > 0 {
		o.Total = cfg.MaxTokens
	}
	o.Warmup = cfg.Warmup(o.Total)
	return o
}

// clock is where the run stands on the axis of the schedule.
func (r *run) clock() int {
	if r.cfg.Config.MaxTokens > 0 {
		return int(r.tokens)
	}
	return r.step
}
