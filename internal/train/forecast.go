package train

import (
	"errors"
	"fmt"

	"github.com/mltrain/mltrain/internal/autograd"
	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/plan"
	"github.com/mltrain/mltrain/internal/tensor"
)

// Forecast is what an Engine will allocate, all of it before the first step.
type Forecast struct {
	Bytes      map[tensor.Use]int64 `json:"bytes"`      // by purpose, while it trains
	Peak       int64                `json:"peak_bytes"` // the most at one time, loading included
	Parameters int                  `json:"parameters"`
	Trainable  int                  `json:"trainable_parameters"`
	// FLOPs are the floating-point operations of matrix products and attention of one largest micro-batch, forward and backward.
	FLOPs float64 `json:"micro_batch_flops"`
	tape  autograd.Plan
}

// Forecast plans the memory of a run. It reads the headers of the model's files, no weight, and computes nothing.
func (j Job) Forecast() (f Forecast, err error) {
	spec, reader, closeReference, err := j.engineSpec("")
	if err != nil {
		return Forecast{}, err
	}
	defer func() {
		err = errors.Join(err, closeReader(reader), closeReader(spec.AdapterFiles))
		if closeReference != nil {
			closeReference()
		}
	}()
	return forecast(j.Backend, spec)
}

// forecast builds the engine on a device that only counts, with the very code of the run, and lets it take the largest batches.
func forecast(b tensor.Backend, spec EngineSpec) (Forecast, error) {
	counter, cb := plan.For(b)
	e, err := assemble(cb, spec, func(bd *nn.Builder) (*nn.Store, error) { return bd.Rehearse(cb) })
	if err != nil {
		return Forecast{}, err
	}
	e.Tape = autograd.NewMeasuringTape(cb)
	e.configure(e.Tape)
	before := counter.FLOPs
	if err := e.largest(spec.Train, func(b *Micro) error { return e.trainMicro(b, tensor.RNGKey{}) }); err != nil {
		return Forecast{}, fmt.Errorf("plan: %w", err)
	}
	flops := counter.FLOPs - before
	if spec.Eval.Tokens > 0 {
		if err := e.largest(spec.Eval, e.evalMicro); err != nil {
			return Forecast{}, fmt.Errorf("plan: %w", err)
		}
	}
	p := e.Tape.Plan()
	if _, err := autograd.NewPlannedTape(cb, p); err != nil {
		return Forecast{}, err
	}
	return Forecast{
		Bytes: counter.Allocated(), Peak: counter.Peak(), Parameters: e.Store.Len(), Trainable: e.Store.TrainableCount(), FLOPs: flops, tape: p,
	}, nil
}
