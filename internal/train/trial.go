package train

import (
	"fmt"

	"github.com/mltrain/mltrain/internal/data"
	"github.com/mltrain/mltrain/internal/tensor"
)

// Accumulate computes the loss per target of micro-batches together, and leaves the gradients of their summed loss in the
// parameters.
func (e *Engine) Accumulate(hs ...*data.Batch) (loss float64, err error) {
	if err := e.resetSums(); err != nil {
		return 0, err
	}
	e.Opt.ZeroGrad()
	count := 0.0
	for i, h := range hs {
		b, err := e.load(h)
		if err != nil {
			return 0, err
		}
		if err := e.trainMicro(b, tensor.RNGKey{Micro: uint32(i)}); err != nil {
			return 0, err
		}
		count += e.spec.Objective.Count(h)
	}
	sums, err := e.sums()
	if err != nil {
		return 0, err
	}
	loss, ok := e.spec.Objective.Metrics(sums, count)["loss"]
	if !ok {
		return 0, fmt.Errorf("the objective has no loss")
	}
	return loss, nil
}
