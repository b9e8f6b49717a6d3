package train

import (
	"errors"
	"fmt"

	"github.com/mltrain/mltrain/internal/autograd"
	"github.com/mltrain/mltrain/internal/checkpoint"
	"github.com/mltrain/mltrain/internal/data"
	"github.com/mltrain/mltrain/internal/model"
	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/tensor"
)

// EngineSpec says what an Engine is made of.
type EngineSpec struct {
	ConfigJSON []byte
	Source     nn.Source // nil: random weights
	Model      model.Options
	Freeze     Freeze
	Adapter    *nn.Adapter // nil: the model itself is trained
	// AdapterFiles is where Adapter's saved weights come from, if any; it is the caller's to close, after the engine's use.
	AdapterFiles *checkpoint.Reader
	Seed         uint64
	Optim        OptimOptions
	Objective    Objective
	Recompute    bool
	NeftuneAlpha float64 // scale of the noise on embeddings; 0 for none
	// Reference is a frozen model that the objective compares with, or nil.
	Reference *ReferenceSpec
	// Decode holds weights that the checkpoint has in four bits decoded.
	Decode bool
	// Quantise holds the frozen weights of linear layers in four bits.
	Quantise *nn.Quantise
	// BF16 computes forward and backward in bfloat16; parameters, their gradients and the optimiser stay float32.
	BF16 bool
	// ReducedSums allows products of bfloat16 to be as imprecise as one rounding more (tensor.GemmSpec.Reduced).
	ReducedSums bool
	// Train and Eval bound the micro-batches; a zero Eval means that nothing is evaluated.
	Train, Eval data.Limits
	// Room is the memory in bytes that there is, 0 if nothing is known of it.
	Room int64
}

// Engine is a model with all that training it needs, on one backend.
type Engine struct {
	Backend tensor.Backend
	Model   model.Model
	Store   *nn.Store
	Tape    *autograd.Tape
	Opt     *Optimizer
	// Forecast is what was planned for it.
	Forecast Forecast
	spec     EngineSpec
	feeder   *nn.Feeder
	// mismatched feeds a second batch to objectives that need one, else nil.
	mismatched *nn.Feeder
	ref        model.Model
	refStore   *nn.Store
	refScratch tensor.Tensor // for moveReference
	acc        tensor.Tensor // sums of the objective over micro-batches
	accBytes   []byte
}

// The programs of the tape.
const (
	programTrain = "train"
	programEval  = "eval"
)

// NewEngine plans the engine's memory, allocates it on b and loads the weights. It returns the plan: bytes by purpose. What is planned to
// take more than there is fails with ErrNoRoom, before any weight is read.
func NewEngine(b tensor.Backend, spec EngineSpec) (*Engine, map[tensor.Use]int64, error) {
	f, err := forecast(b, spec)
	if err != nil {
		return nil, nil, err
	}
	planned := f.Bytes
	if err := f.fits(b, spec.Room); err != nil {
		return nil, planned, err
	}
	e, err := assemble(b, spec, func(bd *nn.Builder) (*nn.Store, error) { return bd.Load(b, spec.Seed) })
	if err != nil {
		return nil, planned, err
	}
	if e.Tape, err = autograd.NewPlannedTape(b, f.tape); err != nil {
		return nil, planned, err
	}
	e.configure(e.Tape)
	e.Forecast = f
	return e, planned, nil
}

// Close frees the engine's memory.
func (e *Engine) Close() {
	e.Tape.Close()
	e.Opt.Close()
	e.feeder.Close()
	if e.mismatched != nil {
		e.mismatched.Close()
	}
	if e.refStore != nil {
		e.refStore.Close()
	}
	e.Store.Close()
	e.Backend.Free(e.acc.Buf)
}

func (e *Engine) configure(t *autograd.Tape) {
	t.Recompute = e.spec.Recompute
	if e.spec.BF16 {
		t.ActDType = tensor.BF16
	}
	t.ReducedSums = e.spec.ReducedSums
}

// assemble makes everything but the tape; load allocates the weights, with their contents or without.
func assemble(b tensor.Backend, spec EngineSpec, load func(*nn.Builder) (*nn.Store, error)) (*Engine, error) {
	builder := nn.NewBuilder(nn.Options{Source: spec.Source, Frozen: spec.Freeze.matcher(), Ignore: model.Ignored, Adapter: spec.Adapter, BF16: spec.BF16, Quantise: spec.Quantise, Decode: spec.Decode})
	m, err := model.New(spec.ConfigJSON, builder, spec.Model)
	if err != nil {
		return nil, err
	}
	if err := builder.CheckTied(m.Head().W, m.Info().TiedHead); err != nil {
		return nil, err
	}
	if err := spec.Freeze.check(builder.Weights()); err != nil {
		return nil, err
	}
	e := &Engine{Backend: b, Model: m, spec: spec}
	if e.Store, err = load(builder); err != nil {
		return nil, err
	}
	if e.Store.TrainableLen() == 0 {
		return nil, fmt.Errorf("no parameter is trainable: freeze matches them all")
	}
	if e.Opt, err = NewOptimizer(b, e.Store, spec.Optim); err != nil {
		return nil, err
	}
	if err := e.addReference(b, load); err != nil {
		return nil, fmt.Errorf("reference model: %w", err)
	}
	ext := union(spec.Train, spec.Eval)
	if e.feeder, err = nn.NewFeeder(b, ext.Tokens, ext.Sequences, ext.Keys); err != nil {
		return nil, err
	}
	if o, ok := spec.Objective.(mismatcher); ok && o.NeedsMismatched() {
		if e.mismatched, err = nn.NewFeeder(b, ext.Tokens, ext.Sequences, ext.Keys); err != nil {
			return nil, err
		}
	}
	n := spec.Objective.Sums()
	buf, err := b.Alloc(int64(4*n), tensor.UseBatch)
	if err != nil {
		return nil, err
	}
	e.acc, e.accBytes = tensor.New(buf, 0, tensor.F32, n), make([]byte, 4*n)
	return e, nil
}

// largest runs fn on a made-up batch of the largest size, with a target everywhere.
func (e *Engine) largest(ext data.Limits, fn func(*Micro) error) error {
	h := &data.Batch{
		Tokens: make([]int32, ext.Tokens), Positions: make([]int32, ext.Tokens), Targets: make([]int32, ext.Tokens),
		Weights: make([]float32, ext.Tokens), Cu: make([]int32, ext.Sequences+1), Lens: make([]int32, ext.Sequences),
		Indices: make([]int32, ext.Sequences), MaxLen: ext.SeqLen,
	}
	if e.mismatched != nil {
		h.Mismatched = h
	}
	if ext.Keys > 0 {
		h.Targets, h.Weights = nil, nil
		h.Shared = &data.SharedPrompts{
			KeyRows: make([]int32, ext.Keys), CuK: make([]int32, ext.Sequences+1), MaxK: ext.MaxK,
			LossRows: make([]int32, ext.Tokens), LossTargets: make([]int32, ext.Tokens), LossAnswers: make([]int32, ext.Tokens),
		}
	}
	b, err := e.load(h)
	if err != nil {
		return err
	}
	return fn(b)
}

// mismatcher is an objective that needs data.Batch.Mismatched.
type mismatcher interface{ NeedsMismatched() bool }

func (e *Engine) load(h *data.Batch) (*Micro, error) {
	b, err := e.feeder.Load(hostBatch(h))
	if err != nil {
		return nil, err
	}
	m := &Micro{Batch: b, Host: h, Ref: e.ref}
	b.Noise = neftune(e.spec.NeftuneAlpha, e.Model.Info().HiddenSize, h.Cu, len(h.Tokens))
	if e.mismatched != nil {
		if m.Mismatched, err = e.mismatched.Load(hostBatch(h.Mismatched)); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func hostBatch(b *data.Batch) nn.HostBatch {
	h := nn.HostBatch{
		Tokens: b.Tokens, Positions: b.Positions, Cu: b.Cu, Targets: b.Targets, Weights: b.Weights, MaxLen: b.MaxLen, Ignore: data.IgnoreIndex,
	}
	if s := b.Shared; s != nil {
		h.LossRows, h.LossTargets, h.KeyRows, h.CuK, h.MaxK = s.LossRows, s.LossTargets, s.KeyRows, s.CuK, s.MaxK
	}
	return h
}

// trainMicro adds the gradient of a micro-batch to the parameters' and its sums to the engine's.
func (e *Engine) trainMicro(b *Micro, key tensor.RNGKey) error {
	var err error
	if stepErr := e.Tape.Step(programTrain, key, func() { err = e.addSums(b) }); stepErr != nil {
		return stepErr
	}
	return errors.Join(err, e.Opt.settle())
}

func (e *Engine) evalMicro(b *Micro) error {
	var err error
	if runErr := e.Tape.Run(programEval, func() { err = e.addSums(b) }); runErr != nil {
		return runErr
	}
	return err
}

// probe is evalMicro for a training batch, which may be larger than the evaluation's: it uses memory of its own.
func (e *Engine) probe(b *Micro) error {
	t := autograd.NewTape(e.Backend)
	e.configure(t)
	var err error
	if runErr := t.Run("probe", func() {
		s := e.spec.Objective.Loss(t, e.Model, b)
		err = e.Backend.Binary(tensor.OpAdd, e.acc, e.acc, s, false)
	}); runErr != nil {
		return runErr
	}
	return err
}

func (e *Engine) addSums(b *Micro) error {
	s := e.spec.Objective.Loss(e.Tape, e.Model, b)
	return e.Backend.Binary(tensor.OpAdd, e.acc, e.acc, s, false)
}

// sums returns what was added up since the last resetSums.
func (e *Engine) sums() ([]float64, error) {
	if err := e.Backend.Download(e.accBytes, e.acc); err != nil {
		return nil, err
	}
	out := make([]float64, e.acc.Len())
	for i := range out {
		out[i] = readF32(e.accBytes[4*i:])
	}
	return out, nil
}

func (e *Engine) resetSums() error { return e.Backend.Zero(e.acc) }
