package train

import (
	"github.com/mltrain/mltrain/internal/autograd"
	"github.com/mltrain/mltrain/internal/data"
	"github.com/mltrain/mltrain/internal/model"
	"github.com/mltrain/mltrain/internal/tensor"
)

// SFT is supervised fine-tuning and language modelling: the cross-entropy of the next token at every position that has a
// target, −Σ w·log p / Σ w, with label smoothing ε: (1−ε)·nll + ε·mean over the vocabulary of −log p.
type SFT struct {
	LabelSmoothing float32
}

// Name returns "sft".
func (SFT) Name() string { return "sft" }

// Sums returns the number of columns of a cross-entropy.
func (SFT) Sums() int { return tensor.CECols }

// Count returns the number of trained tokens, or the sum of their weights.
func (SFT) Count(b *data.Batch) float64 {
	if len(b.Weights) == 0 {
		return float64(b.Trained)
	}
	var sum float64
	for _, w := range b.Weights {
		sum += float64(w)
	}
	return sum
}

// Loss computes the cross-entropy of the batch's targets.
func (o SFT) Loss(t *autograd.Tape, m model.Model, b *Micro) tensor.Tensor {
	h := m.Forward(t, b.Batch)
	// Only positions with a target need logits.
	x := t.Rows(h, b.LossRows)
	head := m.Head()
	spec := tensor.CESpec{IgnoreIndex: data.IgnoreIndex, SoftCap: head.SoftCap}
	if t.Training() {
		spec.Smoothing = o.LabelSmoothing
	}
	return t.LinearCrossEntropy(spec, x, head.W, b.Targets, b.Weights).Sums
}

// Metrics returns loss, mean_token_accuracy and entropy, means over the trained tokens.
func (SFT) Metrics(sums []float64, count float64) map[string]float64 {
	return map[string]float64{
		"loss":                -sums[tensor.CELogp] / count,
		"mean_token_accuracy": sums[tensor.CECorrect] / count,
		"entropy":             sums[tensor.CEEntropy] / count,
	}
}
