package train

import "math"

// neftune returns the scale of the noise on each token's embedding (Jain et al., 2023, "NEFTune: Noisy Embeddings Improve
// Instruction Finetuning"): alpha/√(L·d), with d the hidden size and L the length of the token's sequence. A padded row counts
// with its padding, as in transformers; packed rows and rows without padding count each by itself. Nil if alpha is 0.
func neftune(alpha float64, hidden int, cu []int32, tokens int) []float32 {
	if alpha == 0 {
		return nil
	}
	scales := make([]float32, tokens)
	for s := 1; s < len(cu); s++ {
		lo, hi := cu[s-1], cu[s]
		scale := float32(alpha / math.Sqrt(float64(hi-lo)*float64(hidden)))
		for i := lo; i < hi; i++ {
			scales[i] = scale
		}
	}
	return scales
}
