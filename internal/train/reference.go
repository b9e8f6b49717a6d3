package train

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/mltrain/mltrain/internal/checkpoint"
	"github.com/mltrain/mltrain/internal/config"
	"github.com/mltrain/mltrain/internal/model"
	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/tensor"
)

// ReferenceSpec describes the frozen model of a preference objective.
type ReferenceSpec struct {
	ConfigJSON []byte
	Source     nn.Source
	Adapter    *nn.Adapter // with its weights, or nil
	Quantise   *nn.Quantise
	// Moving gives the model memory of its own, in float32, so that it can follow the policy (TR-DPO: Gorbatovski et al., 2024).
	Moving bool
	dirs   []string // where it comes from
}

// load makes the frozen model.
func (s *ReferenceSpec) load(b tensor.Backend, bf16 bool, positions int, load func(*nn.Builder) (*nn.Store, error)) (model.Model, *nn.Store, error) {
	builder := nn.NewBuilder(nn.Options{
		Source: s.Source, Frozen: func(string) bool { return true }, Ignore: model.Ignored, Adapter: s.Adapter, Quantise: s.Quantise, BF16: bf16 && !s.Moving, Private: s.Moving,
	})
	m, err := model.New(s.ConfigJSON, builder, model.Options{Positions: positions, Dropout: model.NoDropout()})
	if err != nil {
		return nil, nil, err
	}
	store, err := load(builder)
	return m, store, err
}

// addReference makes the frozen model that the engine's spec asks for.
func (e *Engine) addReference(b tensor.Backend, load func(*nn.Builder) (*nn.Store, error)) (err error) {
	s := e.spec.Reference
	if s == nil {
		return nil
	}
	if e.ref, e.refStore, err = s.load(b, e.spec.BF16, e.spec.Model.Positions, load); err != nil {
		return err
	}
	if have, want := e.ref.Info().VocabSize, e.Model.Info().VocabSize; have != want {
		return fmt.Errorf("it has a vocabulary of %d tokens, the model one of %d: both must use one tokenizer", have, want)
	}
	if !s.Moving {
		return nil
	}
	longest := 0
	for i, w := range e.Store.Weights {
		if i >= len(e.refStore.Weights) || e.refStore.Weights[i].Name != w.Name || e.refStore.Weights[i].Master.Len() != w.Master.Len() {
			return fmt.Errorf("sync_ref_model: %s %v has no like in the reference model: both must be of one architecture and size", w.Name, w.Shape)
		}
		longest = max(longest, w.Master.Len())
	}
	buf, err := b.Alloc(int64(4*longest), tensor.UseWeights)
	if err != nil {
		return err
	}
	e.refScratch = tensor.New(buf, 0, tensor.F32, longest)
	return nil
}

// moveReference makes the reference α·policy + (1−α)·reference.
func (e *Engine) moveReference(alpha float64) error {
	for i, w := range e.Store.Weights {
		r := e.refStore.Weights[i].Master
		x := e.refScratch.Slice(0, r.Len()).View(r.Shape()...)
		err := errors.Join(
			e.Backend.Copy(x, w.Master),
			e.Backend.Unary(tensor.OpScale, float32(alpha), x, x),
			e.Backend.Unary(tensor.OpScale, float32(1-alpha), r, r),
			e.Backend.Binary(tensor.OpAdd, r, r, x, false),
		)
		if err != nil {
			return fmt.Errorf("%s: %w", w.Name, err)
		}
	}
	return nil
}

// needsReferenceCopy tells whether a preference run holds a reference model of its own. Without ref_model an adapter is switched
// off instead, unless it trains parameters of the model along, or went on from another adapter.
func needsReferenceCopy(cfg *config.Config) bool {
	if !cfg.UsePeft || cfg.RefModel != "" || cfg.AdapterNameOrPath != "" {
		return true
	}
	return len(cfg.LoraModulesToSave)+len(cfg.TrainableTokenIndices) > 0 || cfg.LoraBias != "none" || strings.HasPrefix(cfg.InitLoraWeights, nn.PiSSA)
}

// referenceFor opens the frozen model that a preference run starts from: that in refDir, or if it is "" the model itself, with the adapter that
// training goes on from. The result closes its files.
func referenceFor(cfg *config.Config, modelDir, refDir string) (*ReferenceSpec, func(), error) {
	dir := modelDir
	if refDir != "" {
		dir = refDir
	}
	raw, err := os.ReadFile(filepath.Join(dir, checkpoint.ConfigFile))
	if err != nil {
		return nil, nil, fmt.Errorf("ref_model: %w", err)
	}
	reader, err := checkpoint.Open(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("ref_model: %w", err)
	}
	files := []*checkpoint.Reader{reader}
	closeAll := func() {
		for _, f := range files {
			_ = f.Close() // they were only read
		}
	}
	source, err := ModelSource(reader, raw)
	if err != nil {
		return nil, nil, errors.Join(err, reader.Close())
	}
	s := &ReferenceSpec{ConfigJSON: raw, Source: source, Moving: cfg.SyncRefModel, Quantise: quantiseOf(cfg), dirs: []string{dir}}
	if refDir == "" && cfg.AdapterNameOrPath != "" {
		a, r, err := Adapter(cfg.AdapterNameOrPath)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		files = append(files, r)
		s.Adapter, s.dirs = a, append(s.dirs, cfg.AdapterNameOrPath)
	}
	return s, closeAll, nil
}
