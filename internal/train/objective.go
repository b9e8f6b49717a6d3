package train

import (
	"github.com/mltrain/mltrain/internal/autograd"
	"github.com/mltrain/mltrain/internal/config"
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
	Loss(t *autograd.Tape, m model.Model, b *Micro) tensor.Tensor
	// Count returns what the summed gradient of a micro-batch, with those accumulated with it, is divided by.
	Count(b *data.Batch) float64
	// Sums is the length of Loss's result.
	Sums() int
	// Metrics turns sums over several micro-batches with this Count into named metrics; "loss" is among them.
	Metrics(sums []float64, count float64) map[string]float64
}

// Micro is a micro-batch.
type Micro struct {
	*nn.Batch
	Host *data.Batch // as it came from the data
	// Mismatched is Host.Mismatched on the device, or nil.
	Mismatched *nn.Batch
	// Ref is the frozen reference model, if the run holds one.
	Ref model.Model
}

// NewObjective returns the objective of a run's command.
func NewObjective(res *config.Resolved) (Objective, error) {
	switch res.Command {
	case "dpo":
		return NewPreference(&res.Config)
	case rewardCommand:
		return NewReward(&res.Config)
	}
	return SFT{LabelSmoothing: float32(res.Config.LabelSmoothingFactor)}, nil
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
	return data.Limits{
		Tokens: max(a.Tokens, b.Tokens), Sequences: max(a.Sequences, b.Sequences), SeqLen: max(a.SeqLen, b.SeqLen),
		Keys: max(a.Keys, b.Keys), MaxK: max(a.MaxK, b.MaxK),
	}
}
