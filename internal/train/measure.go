package train

import (
	"time"

	"github.com/mltrain/mltrain/internal/data"
	"github.com/mltrain/mltrain/internal/tensor"
)

// Measure makes an engine and takes warm+n optimiser steps on one batch, as the loop does them: gradients to zero, forward,
// backward, update. It returns how long each of the last n took. spec.Train must admit the batch. Between the steps it calls
// each, which may be nil, with the number of the step, from −warm on.
func Measure(b tensor.Backend, spec EngineSpec, h *data.Batch, warm, n int, each func(step int)) ([]time.Duration, error) {
	e, _, err := NewEngine(b, spec)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	batch, err := e.load(h)
	if err != nil {
		return nil, err
	}
	var times []time.Duration
	for i := range warm + n {
		if each != nil {
			each(i - warm)
		}
		start := time.Now()
		if err := e.resetSums(); err != nil {
			return nil, err
		}
		e.Opt.ZeroGrad()
		if err := e.trainMicro(batch, tensor.RNGKey{Micro: uint32(i)}); err != nil {
			return nil, err
		}
		if _, err := e.Opt.Step(i+1, 1e-5, spec.Objective.Count(h)); err != nil {
			return nil, err
		}
		if d := time.Since(start); i >= warm {
			times = append(times, d)
		}
	}
	return times, nil
}
