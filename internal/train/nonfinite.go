package train

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/tensor"
)

func keyList(m map[string]float64) string {
	return strings.Join(slices.Sorted(maps.Keys(m)), ", ")
}

// nonFinite explains a step whose loss or gradient is not finite: which rows and which parameters' gradients are not. The
// optimiser has changed nothing.
func (r *run) nonFinite(from, to int, loss, lr float64) error {
	grads, err := r.bad(func(w *nn.Weight) tensor.Tensor { return w.Grad })
	if err != nil {
		return err
	}
	rows, err := r.badRows(from, to)
	if err != nil {
		return err
	}
	values, err := r.bad(func(w *nn.Weight) tensor.Tensor { return w.Master })
	if err != nil {
		return err
	}
	msg := fmt.Sprintf("step %d: loss %g or its gradient is %v", r.step+1, loss, ErrNonFinite)
	for _, p := range []struct {
		what string
		list []string
	}{{"weights", values}, {"rows", rows}, {"gradients", grads}} {
		if len(p.list) > 0 {
			const most = 5
			more := ""
			if len(p.list) > most {
				more = fmt.Sprintf(" and %d more", len(p.list)-most)
			}
			msg += fmt.Sprintf("\n  %s: %s%s", p.what, strings.Join(p.list[:min(most, len(p.list))], ", "), more)
		}
	}
	return fmt.Errorf("%s\n  the weights were not changed by this step; try a lower learning_rate (it was %g), a longer warm-up, or resume from an earlier checkpoint%w", msg, lr, quiet{ErrNonFinite})
}

// quiet wraps an error for errors.Is without repeating its text.
type quiet struct{ error }

func (quiet) Error() string   { return "" }
func (q quiet) Unwrap() error { return q.error }

// bad names the trainable parameters of which a part, value or gradient, is not finite.
func (r *run) bad(part func(*nn.Weight) tensor.Tensor) ([]string, error) {
	var bad []string
	for _, w := range r.e.Store.Trainable {
		ok, err := r.finite(part(w))
		if err != nil {
			return nil, err
		}
		if !ok {
			bad = append(bad, w.Name)
		}
	}
	return bad, nil
}

func (r *run) finite(x tensor.Tensor) (bool, error) {
	v, err := r.e.squares(x)
	return !math.IsNaN(v) && !math.IsInf(v, 0), err
}

// badRows runs the step's micro-batches again, without gradients, and names the rows of those whose loss is not finite.
func (r *run) badRows(from, to int) ([]string, error) {
	var bad []string
	for i := from; i < to; i++ {
		if err := r.Train.Fill(&r.batch, r.epochIndex, i); err != nil {
			return nil, err
		}
		b, err := r.e.load(&r.batch)
		if err != nil {
			return nil, err
		}
		if err := r.e.resetSums(); err != nil {
			return nil, err
		}
		if err := r.e.probe(b); err != nil {
			return nil, err
		}
		sums, err := r.e.sums()
		if err != nil {
			return nil, err
		}
		loss := r.Objective.Metrics(sums, r.Objective.Count(&r.batch))["loss"]
		if math.IsNaN(loss) || math.IsInf(loss, 0) {
			for _, ref := range r.batch.Rows {
				if name := ref.String(); !slices.Contains(bad, name) { // a pair is several sequences of one row
					bad = append(bad, name)
				}
			}
		}
	}
	return bad, nil
}
