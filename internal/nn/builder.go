// Package nn holds the layers that models are made of, and the Builder that gives them their weights.
//
// Models ask the Builder for layers by dotted checkpoint path and shape. The Builder checks names and shapes against the
// checkpoint's headers, decides what is frozen, and collects every fault; Load then allocates and fills what was asked
// for. Between the two nothing is allocated and no weight is read, so that a memory plan can be made.
package nn

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/mltrain/mltrain/internal/autograd"
	"github.com/mltrain/mltrain/internal/quant"
	"github.com/mltrain/mltrain/internal/tensor"
)

// Source is a checkpoint seen as named tensors.
type Source interface {
	// Names lists the tensors.
	Names() []string
	// Lookup returns a tensor's type and shape from the header. A type that mltrain cannot compute with is Invalid and
	// named by dtypeName.
	Lookup(name string) (dt tensor.DType, dtypeName string, shape []int, ok bool)
	// Bytes returns the elements, little endian; they stay valid as long as the source.
	Bytes(name string) ([]byte, error)
}

// PackedSource is a Source that has weights in NF4. Lookup and Bytes give them decoded, in the type that they had.
type PackedSource interface {
	Source
	Packed(name string) (*quant.Packed, bool)
}

// Releaser is a Source that is told when a tensor has been read and will not be read again soon.
type Releaser interface{ Release(name string) }

// Init says how a weight is drawn when there is no checkpoint.
type Init struct {
	Std     float32 // normal with mean 0
	Uniform float32 // else, if above 0, uniform between −Uniform and Uniform
	Const   float32 // else
}

// Weight is a parameter with what the engine needs to know of it beside its value.
type Weight struct {
	autograd.Param
	Stored string       // its name in the checkpoint
	DType  tensor.DType // its type in the checkpoint
	// Master is the value in full precision, float32 if it is trained. It is Value itself unless the model computes with a
	// rounded copy.
	Master tensor.Tensor
	Frozen bool
	Decay  bool // weight decay applies: matrices, but not norms and biases
	Init   Init
	// AdapterName is its name in the files of an adapter; "" if it does not belong to one. Transposed: it is stored there
	// transposed.
	AdapterName string
	Transposed  bool
	residual    bool          // an adapter takes a part of it away when it starts
	own         bool          // it is no part of the model without the adapter
	fresh       bool          // the checkpoint may lack it, and does: it is drawn
	quantised   bool          // held in NF4: see Options.Quantise
	packed      *quant.Packed // the checkpoint has it in NF4
	flipped     bool          // the checkpoint has it transposed; Shape is how it is held here
	linear      bool          // it is the matrix of a linear layer
	inOut       bool          // and held [in,out]
	whole       bool          // and used by more than products, so that it has no rounded form (see Store.Draft)
	baseLayer   string        // name in the adapter's files of a frozen table that they hold as well
}

// InModel tells whether the weight is part of the model itself, and not of an adapter only.
func (w *Weight) InModel() bool { return !w.own }

// Options configure a Builder.
type Options struct {
	// Source is the checkpoint, or nil to draw weights at random.
	Source Source
	// Frozen tells which parameters are not trained, by name. Nil: none.
	Frozen func(name string) bool
	// Ignore matches names of tensors in the checkpoint that may be left unused. Nil: none.
	Ignore func(name string) bool
	// Adapter freezes the model but for an adapter and what it trains along. Nil: none.
	Adapter *Adapter
	// Decode holds weights that the checkpoint has in four bits decoded.
	Decode bool
	// Quantise holds the frozen weights of linear layers in four bits. Nil: in the checkpoint's type.
	Quantise *Quantise
	// Private gives frozen weights memory of their own, float32 and not mapped, so that they may be written.
	Private bool
	// BF16 makes the model compute with matrices in bfloat16: frozen ones are held so, trained ones get a rounded copy.
	BF16 bool
}

// Quantise says how frozen linear layers are held in NF4.
type Quantise struct {
	Nested bool // quantise the scales too (double quantisation)
}

// Builder gives out layers under a dotted path.
type Builder struct {
	*shared
	path string
}

type shared struct {
	opts    Options
	prefix  string // what the checkpoint puts before every name, or lacks
	strip   string
	weights []*Weight
	byName  map[string]*Weight
	tables  []*Table
	used    map[string]bool
	ignore  []func(string) bool
	faults  []string
	adapter *adapterState // nil for none
}

// NewBuilder returns a Builder at the root of the path.
func NewBuilder(opts Options) *Builder {
	s := &shared{opts: opts, byName: map[string]*Weight{}, used: map[string]bool{}}
	if opts.Ignore != nil {
		s.ignore = append(s.ignore, opts.Ignore)
	}
	b := &Builder{shared: s}
	if opts.Adapter != nil {
		s.adapter = newAdapterState(opts.Adapter, b.Fault)
	}
	return b
}

// IgnoreMore adds patterns (see Matcher) of tensors that may be left unused.
func (b *Builder) IgnoreMore(patterns ...string) { b.ignore = append(b.ignore, Matcher(patterns...)) }

func (b *Builder) ignored(name string) bool {
	return slices.ContainsFunc(b.ignore, func(f func(string) bool) bool { return f(name) })
}

// Root returns the Builder at the root of the path.
func (b *Builder) Root() *Builder { return &Builder{shared: b.shared} }

// At returns the Builder for a path below.
func (b *Builder) At(name string) *Builder { return &Builder{b.shared, b.path + name + "."} }

// Task is what the adapter's model is for (see Adapter.Task), "" without one.
func (b *Builder) Task() string {
	if b.adapter == nil {
		return ""
	}
	return b.adapter.Task
}

// Fault records an error that Err will report.
func (b *Builder) Fault(format string, args ...any) {
	b.faults = append(b.faults, fmt.Sprintf(format, args...))
}

// Optional says that a checkpoint may leave prefix out of its names, as files of GPT-2 do with "transformer.".
func (b *Builder) Optional(prefix string) {
	if b.opts.Source == nil {
		return
	}
	for _, n := range b.opts.Source.Names() {
		if strings.HasPrefix(n, prefix) {
			return
		}
	}
	b.strip = prefix
}

// Rename says that a checkpoint writes to where models write from, at the start of names.
func (b *Builder) Rename(from, to string) { b.strip, b.prefix = from, to }

func (b *Builder) stored(name string) string {
	if b.strip != "" || b.prefix != "" {
		if rest, ok := strings.CutPrefix(name, b.strip); ok {
			return b.prefix + rest
		}
	}
	return name
}

// Has tells whether the checkpoint has a tensor below the path.
func (b *Builder) Has(name string) bool {
	if b.opts.Source == nil {
		return false
	}
	_, _, _, ok := b.opts.Source.Lookup(b.stored(b.path + name))
	return ok
}

// Param asks for a parameter.
func (b *Builder) Param(name string, init Init, shape ...int) *Weight {
	return b.param(name, init, false, shape)
}

// OptionalParam asks for a parameter that the checkpoint may lack; it is drawn by init then, and held as float32.
func (b *Builder) OptionalParam(name string, init Init, shape ...int) *Weight {
	return b.param(name, init, true, shape)
}

func (b *Builder) param(name string, init Init, optional bool, shape []int) *Weight {
	full := b.path + name
	if w := b.byName[full]; w != nil {
		b.Fault("%s: asked for twice", full)
		return w
	}
	w := &Weight{Stored: b.stored(full), DType: tensor.F32, Decay: len(shape) > 1, Init: init}
	w.Name, w.Shape = full, shape
	w.Frozen = b.opts.Frozen != nil && b.opts.Frozen(full)
	if b.adapter != nil {
		b.adapt(w, strings.TrimSuffix(b.path, "."), name)
	}
	b.weights = append(b.weights, w)
	b.byName[full] = w
	if src := b.opts.Source; src != nil {
		dt, dtName, have, ok := src.Lookup(w.Stored)
		b.used[w.Stored] = true
		if w.fresh = optional && !ok; w.fresh {
			return w
		}
		switch {
		case !ok:
			b.Fault("%s %v: missing", w.Stored, shape)
		case !slices.Equal(have, shape):
			b.Fault("%s: shape %v in the checkpoint, %v by config.json", w.Stored, have, shape)
		case dt != tensor.F32 && dt != tensor.BF16 && dt != tensor.F16:
			b.Fault("%s: type %s cannot be trained or computed with; needed is float32, bfloat16 or float16", w.Stored, dtName)
		}
		w.DType = dt
	}
	return w
}

// Skip marks a tensor of the checkpoint as known and not needed.
func (b *Builder) Skip(name string) { b.used[b.stored(b.path+name)] = true }

// Weights returns what was asked for, in order.
func (b *Builder) Weights() []*Weight { return b.weights }

// Err reports all tensors that are missing, mis-shaped, unreadable or left over, at once.
func (b *Builder) Err() error {
	faults := append(slices.Clone(b.faults), b.adapterFaults()...)
	if src := b.opts.Source; src != nil {
		var extra []string
		for _, n := range src.Names() {
			if !b.used[n] && !b.ignored(n) {
				_, _, shape, _ := src.Lookup(n)
				extra = append(extra, fmt.Sprintf("%s %v: in the checkpoint, but not part of this architecture", n, shape))
			}
		}
		sort.Strings(extra)
		faults = append(faults, extra...)
	}
	if len(faults) == 0 {
		return nil
	}
	return &TensorError{faults}
}

// ErrTensors is matched by every TensorError.
var ErrTensors = errors.New("the checkpoint's tensors do not fit the model")

// TensorError lists what is wrong with a checkpoint's tensors.
type TensorError struct{ Faults []string }

func (e *TensorError) Error() string {
	const most = 40
	list := onceForAllLayers(e.Faults)
	more := ""
	if len(list) > most {
		list, more = list[:most], fmt.Sprintf("\n  … and %d more", len(list)-most)
	}
	return fmt.Sprintf("%v:\n  %s%s", ErrTensors, strings.Join(list, "\n  "), more)
}

// numbered finds the number of a layer in the name of a tensor.
var numbered = regexp.MustCompile(`\.(\d+)\.`)

// onceForAllLayers says what is wrong in the same way in several layers once, of the first, with the number of the others.
func onceForAllLayers(faults []string) []string {
	var out []string
	at, others := map[string]int{}, map[int]int{}
	for _, f := range faults {
		key := f
		if m := numbered.FindStringSubmatchIndex(f); m != nil {
			key = f[:m[2]] + "*" + f[m[3]:]
		}
		if i, ok := at[key]; ok {
			others[i]++
			continue
		}
		at[key] = len(out)
		out = append(out, f)
	}
	for i, n := range others {
		word := "layers"
		if n == 1 {
			word = "layer"
		}
		out[i] += fmt.Sprintf(" (so too in %d other %s)", n, word)
	}
	return out
}

// Is makes errors.Is(err, ErrTensors) true.
func (e *TensorError) Is(target error) bool { return target == ErrTensors }
