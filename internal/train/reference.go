package train

import (
	"fmt"

	"github.com/mltrain/mltrain/internal/model"
	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/tensor"
)

// ReferenceSpec describes the frozen model of a preference objective.
type ReferenceSpec struct {
	ConfigJSON []byte
	Source     nn.Source
}

// addReference makes the frozen model that the spec asks for.
func (e *Engine) addReference(b tensor.Backend, load func(*nn.Builder) (*nn.Store, error)) error {
	s := e.spec.Reference
	if s == nil {
		return nil
	}
	builder := nn.NewBuilder(nn.Options{Source: s.Source, Frozen: func(string) bool { return true }, Ignore: model.Ignored, BF16: e.spec.BF16})
	m, err := model.New(s.ConfigJSON, builder, model.Options{Positions: e.spec.Model.Positions, Dropout: model.NoDropout()})
	if err != nil {
		return err
	}
	if have, want := m.Info().VocabSize, e.Model.Info().VocabSize; have != want {
		return fmt.Errorf("it has a vocabulary of %d tokens, the model one of %d: both must use one tokenizer", have, want)
	}
	if e.refStore, err = load(builder); err != nil {
		return err
	}
	e.ref = m
	return nil
}
