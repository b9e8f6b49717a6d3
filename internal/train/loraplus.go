package train

import (
	"strings"

	"github.com/mltrain/mltrain/internal/nn"
)

// loraPlusEmbeddingLR is the peak learning rate that PEFT gives the adapter of an embedding under LoRA+.
const loraPlusEmbeddingLR = 1e-6

// loraPlus is the learning rate of each parameter under LoRA+ (Hayou et al., 2024, "LoRA+: Efficient Low Rank Adaptation of Large
// Models"), relative to the run's: B learns ratio times as fast as A. As in PEFT's create_loraplus_optimizer, so do vectors
// (biases, magnitudes), and the adapter of an embedding has a peak rate of its own, whatever that of the run, peakLR.
func loraPlus(ratio, peakLR float64) func(*nn.Weight) float64 {
	return func(w *nn.Weight) float64 {
		switch {
		case strings.Contains(w.Name, ".lora_embedding_"):
			return loraPlusEmbeddingLR / peakLR
		case strings.HasSuffix(w.Name, ".lora_B.weight"), len(w.Shape) == 1:
			return ratio
		}
		return 1
	}
}
