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
	// whole is the weight in four bits that takes most memory when DoRA decodes it for its norms.
	whole *nn.Weight
}

// ErrNoRoom is matched by the error of a run that is planned to take more memory than there is.
var ErrNoRoom = errors.New("out of memory")

// fits holds the plan against the memory that there is, if that is known. Mapped files take none that the system cannot have back.
func (f Forecast) fits(b tensor.Backend, room int64) error {
	own := f.Peak - f.Bytes[tensor.UseMapped]
	if room == 0 || own <= room {
		return nil
	}
	what := ""
	if f.whole != nil {
		what = fmt.Sprintf("; up to %s of it are for DoRA, whose norms take whole weights, decoded from 4 bits (%s %v)", plan.FormatBytes(wholeBytes(f.whole)), f.whole.Name, f.whole.Shape)
	}
	return fmt.Errorf("%w: the run takes %s on %s%s", ErrNoRoom, plan.FormatBytes(own), b.Name(), what)
}

// wholeBytes is the memory of a weight in float32.
func wholeBytes(w *nn.Weight) int64 { return 4 * int64(w.Shape[0]) * int64(w.Shape[1]) }

// wholeWeight finds Forecast.whole.
func wholeWeight(s *nn.Store) (largest *nn.Weight) {
	for w, a := range s.Adapted {
		if w.Quant != nil && a.M != nil && (largest == nil || wholeBytes(w) > wholeBytes(largest) || wholeBytes(w) == wholeBytes(largest) && w.Name < largest.Name) {
			largest = w
		}
	}
	return largest
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
		whole: wholeWeight(e.Store),
	}, nil
}
