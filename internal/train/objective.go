package train

import (
	"github.com/mltrain/mltrain/internal/autograd"
	"github.com/mltrain/mltrain/internal/data"
	"github.com/mltrain/mltrain/internal/model"
	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/tensor"
)

// Objective turns micro-batches into losses. A new method of training is a new Objective in a file of its own.
type Objective interface {
	// Name is the method's name, as in logs.
	Name() string
	// Loss computes the summed loss of a micro-batch on the tape, whose backward pass then gives its gradient. The
	// result holds Sums sums over the micro-batch, which the loop adds up.
	Loss(t *autograd.Tape, m model.Model, b *nn.Batch) tensor.Tensor
	// Sums is the length of Loss's result.
	Sums() int
	// Metrics turns sums over several micro-batches with count trained units into named metrics; "loss" is among them.
	Metrics(sums []float64, count float64) map[string]float64
}

// Batches gives micro-batches by number.
type Batches interface {
	// MicroBatches returns how many an epoch has.
	MicroBatches(epoch int) int
	// Fill makes b micro-batch i of an epoch, reusing its memory; which rows that are is a pure function of epoch and i.
	Fill(b *data.Batch, epoch, i int) error
	// Limits bounds every micro-batch of every epoch.
	Limits() data.Limits
}

func union(a, b data.Limits) data.Limits {
	return data.Limits{Tokens: max(a.Tokens, b.Tokens), Sequences: max(a.Sequences, b.Sequences), SeqLen: max(a.SeqLen, b.SeqLen)}
}

// trainedWeight returns what the summed loss of a batch is divided by: its trained tokens, or the sum of their weights.
func trainedWeight(b *data.Batch) float64 {
	if len(b.Weights) == 0 {
		return float64(b.Trained)
	}
	var sum float64
	for _, w := range b.Weights {
		sum += float64(w)
	}
	return sum
}
