package train

import "fmt"

// noiseScale estimates the simple noise scale tr(Σ)/|G|² (McCandlish et al., 2018, "An Empirical Model of Large-Batch Training",
// appendix A.1): the batch size at which the noise of the gradient is as strong as the gradient. Well below it a batch twice as
// large saves half the steps, well above it nothing. A step's first micro-batch is the small batch and the whole step the
// large one, so it takes gradient accumulation. Both estimates are noisy, and only their means are divided.
type noiseScale struct {
	Noise  float64 `json:"noise"`  // mean of the estimates of tr(Σ)
	Signal float64 `json:"signal"` // and of |G|²
	small  float64 // squared norm of the first micro-batch's gradient, and its size
	size   float64
}

// noiseKeep is how much of the running means each step keeps.
const noiseKeep = 0.95

// first takes the squared norm of the summed gradient of a step's first micro-batch, of count trained units.
func (n *noiseScale) first(sumSq, count float64) {
	n.size, n.small = count, 0
	if count > 0 {
		n.small = sumSq / (count * count)
	}
}

// whole takes the squared norm of a step's mean gradient over count units.
func (n *noiseScale) whole(normSq, count float64) {
	if n.size <= 0 || count <= n.size {
		return
	}
	signal := (count*normSq - n.size*n.small) / (count - n.size)
	noise := (n.small - normSq) / (1/n.size - 1/count)
	n.Signal = noiseKeep*n.Signal + (1-noiseKeep)*signal
	n.Noise = noiseKeep*n.Noise + (1-noiseKeep)*noise
}

// value returns the noise scale in trained units. It is not ok while the estimates make no sense, as they do at first.
func (n *noiseScale) value() (float64, bool) {
	return n.Noise / n.Signal, n.Noise > 0 && n.Signal > 0
}

// noteFirst measures the gradient after a step's first micro-batch, if the noise scale is asked for.
func (r *run) noteFirst(count float64) error {
	if !r.cfg.Config.LogGradientNoiseScale {
		return nil
	}
	sq, err := r.e.Opt.SquaredNorm()
	if err != nil {
		return fmt.Errorf("gradient noise scale: %w", err)
	}
	r.noise.first(sq, count)
	return nil
}
