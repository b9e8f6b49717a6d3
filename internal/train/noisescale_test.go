package train

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Gradients with a known mean and a known noise give the noise scale they were made with.
func TestNoiseScale(t *testing.T) {
	const dim, small, micros, sigma = 50, 4, 8, 0.3
	rng := rand.New(rand.NewPCG(1, 1))
	truth := make([]float64, dim)
	var signal float64
	for i := range truth {
		truth[i] = 0.1 * rng.NormFloat64()
		signal += truth[i] * truth[i]
	}
	want := dim * sigma * sigma / signal
	var n noiseScale
	var log []float64
	for range 600 {
		sum := make([]float64, dim)
		for m := range micros {
			for range small {
				for i := range sum {
					sum[i] += truth[i] + sigma*rng.NormFloat64()
				}
			}
			if m == 0 {
				n.first(square(sum), small)
			}
		}
		n.whole(square(sum)/(small*micros*small*micros), small*micros)
		if v, ok := n.value(); ok {
			log = append(log, v)
		}
	}
	var mean float64
	for _, v := range log[len(log)/2:] {
		mean += v / float64(len(log)-len(log)/2)
	}
	if math.Abs(mean-want) > 0.15*want {
		t.Errorf("noise scale %.3g, want %.3g", mean, want)
	}
	// A step of one micro-batch says nothing.
	before := n
	n.first(5, 10)
	n.whole(1, 10)
	if n.Noise != before.Noise || n.Signal != before.Signal {
		t.Error("a step of one micro-batch was counted")
	}
}

func square(x []float64) (sum float64) {
	for _, v := range x {
		sum += v * v
	}
	return sum
}
