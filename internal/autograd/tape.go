// Package autograd is a tape over coarse, fused operations.
//
// A model is forward-only Go code that calls methods of Tape. Each method runs a forward kernel of the backend at once
// and, where a gradient can flow, records how to run the backward kernel. Step runs the forward function, then what was
// recorded in reverse. Parameters that are frozen get no gradient, and nothing is computed for values that no trainable
// parameter is upstream of: LoRA, QLoRA, partial freezing and full fine-tuning differ only in which Params are trainable.
//
// Losses are sums, not means: gradients of parameters accumulate unscaled over micro-batches, and the optimiser divides.
//
// Two kinds of memory have two allocators. Forward values live in an arena that is reset after each program, and after
// each Layer when no gradient is recorded or the layer is recomputed. Gradients of forward values, and scratch, live in
// a pool and return to it once consumed. With a Plan, measured by a dry run on a counting backend (Measure), a tape never
// allocates after it was made.
package autograd

import (
	"errors"
	"fmt"

	"github.com/mltrain/mltrain/internal/tensor"
)

// Param is a parameter of a model.
type Param struct {
	Name  string // as in the checkpoint
	Shape []int
	// Value is what the model computes with. Grad (float32) is absent when the parameter is frozen.
	Value, Grad tensor.Tensor
	// Stale says that Grad holds an earlier step's sum: the next contribution overwrites it.
	Stale bool
	// Quant holds the value of a frozen matrix in four bits, in place of Value; nil for none.
	Quant *tensor.Quant4
	// Draft is the matrix of a linear layer, [out,in] in either layout, rounded: what a tape computes with while Drafting; nil for none.
	Draft *tensor.Int8Rows
	// LowRank corrects an embedding's table where it is looked up; nil for none. Its A is held transposed, [rows, r].
	LowRank *LowRank
	// Tokens are rows of a frozen table that are trained; nil for none.
	Tokens *TokenRows
}

// Trainable tells whether the parameter gets a gradient.
func (p *Param) Trainable() bool { return p != nil && !p.Grad.IsZero() }

// Var is a value on the tape.
type Var struct {
	Value tensor.Tensor
	grad  *block
	needs bool
	scope int
	uses  int
	saved bool // the operation that made the value reads it in its backward pass
	// inPlace is set when the memory of the value was taken over by an operation that works in place.
	inPlace bool
}

// NeedsGrad tells whether a gradient flows into v.
func (v *Var) NeedsGrad() bool { return v.needs }

// Tape records and differentiates one program at a time. It is not safe for concurrent use.
type Tape struct {
	b     tensor.Backend
	arena arena
	pool  pool

	backward []func() // in order of recording
	current  string   // name of the operation that runs, for errors
	running  bool
	noGrad   bool
	training bool
	scope    int
	scopes   int
	key      tensor.RNGKey
	// touched is set by operations with trainable parameters, recorded or not.
	touched bool

	// chunkWeight, if above 0, replaces the constant of that name: for tests of small weights.
	chunkWeight int
	// unadapted hides the adapters of frozen weights.
	unadapted bool

	// Drafting makes linear layers compute with the rounded form of those weights that have one: for few rows (tensor.Drafter), forward only.
	Drafting bool

	// ReducedSums sets tensor.GemmSpec.Reduced in every product.
	ReducedSums bool
	// Recompute makes Layer discard the values inside and compute them again in the backward pass.
	Recompute bool
	// ActDType is the type of forward values: F32 or BF16.
	ActDType tensor.DType
}

// NewTape returns a tape whose memory grows as needed.
func NewTape(b tensor.Backend) *Tape {
	return &Tape{
		b: b, ActDType: tensor.F32,
		arena: arena{dev: b, grow: true},
		pool:  pool{dev: b, free: map[int64][]*block{}},
	}
}

// NewMeasuringTape returns a tape for a backend that computes nothing. It counts what its programs need.
func NewMeasuringTape(b tensor.Backend) *Tape {
	return &Tape{
		b: b, ActDType: tensor.F32,
		arena: arena{dev: b, chunks: []tensor.Buffer{virtual{}}},
		pool:  pool{dev: b, buf: virtual{}, measuring: true, slots: map[string][]span{}},
	}
}

// Plan returns what the programs run so far on a measuring tape need.
func (t *Tape) Plan() Plan {
	return Plan{Arena: t.arena.peak, Pool: t.pool.peak, slots: t.pool.slots}
}

// NewPlannedTape allocates what the plan says. Its programs must be those of the plan, with batches no larger.
func NewPlannedTape(b tensor.Backend, p Plan) (*Tape, error) {
	arenaBuf, err := b.Alloc(p.Arena, tensor.UseActivations)
	if err != nil {
		return nil, err
	}
	poolBuf, err := b.Alloc(p.Pool, tensor.UseDataGrads)
	if err != nil {
		b.Free(arenaBuf)
		return nil, err
	}
	return &Tape{
		b: b, ActDType: tensor.F32,
		arena: arena{dev: b, chunks: []tensor.Buffer{arenaBuf}},
		pool:  pool{dev: b, buf: poolBuf, slots: p.slots},
	}, nil
}

// Close frees the tape's memory. The tape must not be used afterwards.
func (t *Tape) Close() {
	for _, b := range t.arena.chunks {
		t.b.Free(b)
	}
	for _, b := range t.pool.all {
		t.b.Free(b)
	}
	if t.pool.buf != nil {
		t.b.Free(t.pool.buf)
	}
	t.arena.chunks, t.pool = nil, pool{dev: t.b, free: map[int64][]*block{}}
}

// Backend returns the backend that the tape runs on.
func (t *Tape) Backend() tensor.Backend { return t.b }

// Training tells whether the running program is a Step: dropout and noise act only there.
func (t *Tape) Training() bool { return t.training }

// OpError is the failure of an operation on the tape.
type OpError struct {
	Op  string
	Err error
}

func (e *OpError) Error() string { return e.Op + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *OpError) Unwrap() error { return e.Err }

// opPanic carries an OpError from an operation to Step or Run, and never past them.
type opPanic struct{ err *OpError }

func (t *Tape) fail(err error) {
	panic(opPanic{&OpError{t.current, err}})
}

func (t *Tape) failf(format string, args ...any) { t.fail(fmt.Errorf(format, args...)) }

// Fail stops the running program; Step or Run returns err.
func (t *Tape) Fail(op string, err error) { panic(opPanic{&OpError{op, err}}) }

func (t *Tape) check(err error) {
	if err != nil {
		t.fail(err)
	}
}

// gemm multiplies in the tape's precision.
func (t *Tape) gemm(s tensor.GemmSpec, c, a, b, bias tensor.Tensor) {
	s.Reduced = t.ReducedSums
	t.check(t.b.Gemm(s, c, a, b, bias))
}

// gemmShared multiplies a with several matrices in the tape's precision, together where the backend can.
func (t *Tape) gemmShared(a tensor.Tensor, parts ...tensor.GemmPart) {
	for i := range parts {
		parts[i].Reduced = t.ReducedSums
	}
	if b, ok := t.b.(tensor.SharedGemm); ok {
		t.check(b.GemmShared(a, parts))
		return
	}
	for _, p := range parts {
		t.check(t.b.Gemm(p.GemmSpec, p.C, a, p.B, p.Bias))
	}
}

var errNested = errors.New("autograd: a program is already running on this tape")

// Step runs fn, then the backward pass from the losses that fn recorded, adding to the gradients of the trainable
// parameters. key fixes the random numbers. Programs that share a name share a memory plan.
func (t *Tape) Step(program string, key tensor.RNGKey, fn func()) error {
	return t.run(program, func() {
		t.training, t.noGrad, t.key = true, false, key
		fn()
		for i := len(t.backward) - 1; i >= 0; i-- {
			t.backward[i]()
			t.backward[i] = nil
		}
	})
}

// Run runs fn without gradients, dropout or noise. Values must be downloaded inside fn.
func (t *Tape) Run(program string, fn func()) error {
	return t.run(program, func() {
		t.training, t.noGrad = false, true
		fn()
	})
}

func (t *Tape) run(program string, fn func()) (err error) {
	if t.running {
		return errNested
	}
	t.running = true
	t.arena.reset(mark{})
	t.pool.begin(program)
	t.backward = t.backward[:0]
	t.scope, t.scopes = 0, 0
	defer func() {
		t.running, t.training, t.noGrad = false, false, false
		switch p := recover().(type) {
		case nil:
		case opPanic:
			err = p.err
		default:
			panic(p)
		}
	}()
	fn()
	return nil
}

// NoGrad runs fn inside a Step without recording: nothing flows back through what it computes.
func (t *Tape) NoGrad(fn func()) {
	old := t.noGrad
	t.noGrad = true
	defer func() { t.noGrad = old }()
	fn()
}

// Discard is NoGrad, and what fn made is gone when it returns: its values must have been downloaded, and none of them used again.
func (t *Tape) Discard(fn func()) {
	start := t.arena.mark()
	t.NoGrad(fn)
	t.arena.reset(start)
}

// WithoutAdapter runs fn with all adapters switched off: what it computes is the frozen model's.
func (t *Tape) WithoutAdapter(fn func()) {
	old := t.unadapted
	t.unadapted = true
	defer func() { t.unadapted = old }()
	fn()
}

// Unadapted tells whether adapters are switched off.
func (t *Tape) Unadapted() bool { return t.unadapted }

// Const puts a tensor on the tape that no gradient flows into.
func (t *Tape) Const(x tensor.Tensor) *Var { return &Var{Value: x, scope: t.scope} }

// Alloc returns uninitialised memory that lives as long as the forward values of the program.
func (t *Tape) Alloc(dt tensor.DType, shape ...int) tensor.Tensor {
	x := tensor.New(nil, 0, dt, shape...)
	buf, off, err := t.arena.alloc(x.Bytes())
	t.check(err)
	return tensor.New(buf, off, dt, shape...)
}

// new makes the Var of an operation's result. needs tells whether any input needs a gradient.
func (t *Tape) new(x tensor.Tensor, needs bool) *Var {
	return &Var{Value: x, needs: needs && !t.noGrad, scope: t.scope}
}

func (t *Tape) record(v *Var, fn func()) {
	if v.needs {
		op := t.current
		t.backward = append(t.backward, func() {
			t.current = op
			fn()
		})
	}
}

// use checks the inputs of an operation.
func (t *Tape) use(op string, in ...*Var) {
	t.current = op
	if !t.running {
		t.failf("called outside of Step and Run")
	}
	for _, v := range in {
		if v == nil {
			continue
		}
		if v.scope != t.scope {
			t.failf("an input comes from outside the Layer function; declare it as an input of Layer")
		}
		if v.inPlace {
			t.failf("an input's memory was taken over by an operation that works in place")
		}
		v.uses++
	}
}

// takeOver checks that v has no other consumer and hands its memory to an operation that works in place.
func (t *Tape) takeOver(op string, v *Var) {
	t.use(op, v)
	if v.uses > 1 {
		t.failf("works in place, but its input is used elsewhere")
	}
	v.inPlace = true
}

func like(t *Tape, x tensor.Tensor, dt tensor.DType) tensor.Tensor {
	y := x
	y.DType = dt
	buf, off, err := t.arena.alloc(y.Bytes())
	t.check(err)
	y.Buf, y.Off = buf, off
	return y
}
