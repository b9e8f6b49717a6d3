package train

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/tensor"
)

// OptimOptions configure an Optimizer.
type OptimOptions struct {
	Name         string // sgd, adam, adamw, adamw_8bit, lion
	Beta1, Beta2 float64
	Eps          float64
	Momentum     float64
	Nesterov     bool
	WeightDecay  float64
	MaxGradNorm  float64 // 0: no clipping
	// LRScale multiplies the learning rate of single parameters. Nil: all learn at the same rate.
	LRScale func(*nn.Weight) float64
}

// Optimizer updates the trainable parameters of a Store, which are one flat vector.
type Optimizer struct {
	opts   OptimOptions
	spec   tensor.OptSpec
	store  *nn.Store
	b      tensor.Backend
	segs   []tensor.Segment
	scales []float64 // of the learning rate, by segment
	s1, s2 tensor.Tensor
	eight  *states8 // in place of s1 and s2, or nil
	// sums: [0] squared norm of the gradient; scale: [0] what gradients are multiplied by, [1] the norm.
	sums, scale tensor.Tensor
}

// NewOptimizer allocates the states for the trainable parameters of s.
func NewOptimizer(b tensor.Backend, s *nn.Store, o OptimOptions) (*Optimizer, error) {
	kinds := map[string]tensor.OptKind{"sgd": tensor.SGD, "adam": tensor.Adam, "adamw": tensor.AdamW, "adamw_8bit": tensor.AdamW, "lion": tensor.Lion}
	kind, ok := kinds[o.Name]
	if !ok {
		return nil, fmt.Errorf("optim %q is not supported; supported are adam, adamw, adamw_8bit, lion, sgd", o.Name)
	}
	opt := &Optimizer{opts: o, store: s, b: b, spec: tensor.OptSpec{
		Kind: kind, Beta1: float32(o.Beta1), Beta2: float32(o.Beta2), Eps: float32(o.Eps), Momentum: float32(o.Momentum), Nesterov: o.Nesterov,
	}}
	n := s.TrainableLen()
	eightBit := o.Name == "adamw_8bit"
	states := map[tensor.OptKind]int{tensor.Adam: 2, tensor.AdamW: 2, tensor.Lion: 1}[kind]
	if kind == tensor.SGD && o.Momentum != 0 {
		states = 1
	}
	for i, st := range []*tensor.Tensor{&opt.s1, &opt.s2} {
		if i >= states || eightBit {
			break
		}
		buf, err := b.Alloc(int64(n)*4, tensor.UseOptimizer)
		if err != nil {
			return nil, err
		}
		*st = tensor.New(buf, 0, tensor.F32, n)
	}
	buf, err := b.Alloc(64, tensor.UseOptimizer)
	if err != nil {
		return nil, err
	}
	opt.sums, opt.scale = tensor.New(buf, 0, tensor.F32, 1), tensor.New(buf, 16, tensor.F32, 2)
	for _, w := range s.Trainable {
		opt.addSegment(w)
	}
	if eightBit {
		if opt.eight, err = newStates8(b, s, opt.segmentOf); err != nil {
			return nil, err
		}
	}
	return opt, nil
}

// segmentOf returns the segment that the element off of the flat vector belongs to.
func (o *Optimizer) segmentOf(off int) int {
	for i, s := range o.segs {
		if off >= s.Off && off < s.Off+s.Len {
			return i
		}
	}
	return -1
}

// Close frees the states.
func (o *Optimizer) Close() {
	if o.eight != nil {
		o.eight.close()
	}
	for _, t := range []tensor.Tensor{o.s1, o.s2, o.sums} {
		if !t.IsZero() {
			o.b.Free(t.Buf)
		}
	}
}

// addSegment gives w's run of the flat vector its weight decay and learning rate. Neighbours with the same are joined, over the gap
// that alignment leaves between them, where gradients are zero.
func (o *Optimizer) addSegment(w *nn.Weight) {
	off := o.store.Offsets[w]
	n := 1
	for _, d := range w.Shape {
		n *= d
	}
	decay := float32(0)
	if w.Decay {
		decay = float32(o.opts.WeightDecay)
	}
	scale := 1.0
	if o.opts.LRScale != nil {
		scale = o.opts.LRScale(w)
	}
	if k := len(o.segs) - 1; k >= 0 && o.segs[k].WeightDecay == decay && o.scales[k] == scale {
		o.segs[k].Len = off + n - o.segs[k].Off
		return
	}
	o.segs = append(o.segs, tensor.Segment{Off: off, Len: n, WeightDecay: decay})
	o.scales = append(o.scales, scale)
}

// ZeroGrad begins a new sum of gradients: the first contribution to each parameter's overwrites what is there.
func (o *Optimizer) ZeroGrad() {
	for _, w := range o.store.Trainable {
		w.Stale = true
	}
}

// settle sets the gradients to zero that nothing has contributed to since ZeroGrad.
func (o *Optimizer) settle() error {
	for _, w := range o.store.Trainable {
		if w.Stale {
			w.Stale = false
			if err := o.b.Zero(w.Grad); err != nil {
				return err
			}
		}
	}
	return nil
}

// SquaredNorm returns the squared norm of the summed gradient, as it stands.
func (o *Optimizer) SquaredNorm() (float64, error) {
	if err := o.settle(); err != nil {
		return 0, err
	}
	if err := o.b.SumSq(o.sums, o.store.Grads, false); err != nil {
		return 0, err
	}
	var raw [4]byte
	err := o.b.Download(raw[:], o.sums)
	return readF32(raw[:]), err
}

// Step divides the accumulated gradient by count, clips it, and updates the parameters; step counts from 1. It returns the
// norm of the gradient before clipping. If that is not finite, nothing is changed.
func (o *Optimizer) Step(step int, lr, count float64) (gradNorm float64, err error) {
	if err := o.settle(); err != nil {
		return 0, err
	}
	if err := o.b.SumSq(o.sums, o.store.Grads, false); err != nil {
		return 0, err
	}
	if err := o.b.ClipScale(o.scale, o.sums, float32(1/count), float32(o.opts.MaxGradNorm)); err != nil {
		return 0, err
	}
	for i := range o.segs {
		o.segs[i].LR = float32(lr * o.scales[i])
	}
	o.spec.Step = step
	if o.eight != nil {
		return o.step8()
	}
	if err := o.b.Optim(o.spec, o.segs, o.store.Compute, o.store.Values, o.s1, o.s2, o.store.Grads, o.scale); err != nil {
		return 0, err
	}
	if err := o.store.PutTokens(); err != nil {
		return 0, err
	}
	return o.norm()
}

// step8 is the update with states in 8 bits. Where the backend does it in parts the scale must be known to be finite before: encoding
// rounds.
func (o *Optimizer) step8() (float64, error) {
	if u, ok := o.b.(tensor.Updater8); ok {
		e := o.eight
		if err := u.Optim8(o.spec, e.all(o.segs), o.store.Compute, o.store.Values, e.s1, e.s2, e.q1, e.q2, o.store.Grads, o.scale); err != nil {
			return 0, err
		}
		if err := o.store.PutTokens(); err != nil {
			return 0, err
		}
		return o.norm()
	}
	norm, err := o.norm()
	if err != nil || math.IsNaN(norm) {
		return norm, err
	}
	if err := o.eight.step(o.spec, o.segs, o.store.Compute, o.store.Values, o.store.Grads, o.scale); err != nil {
		return 0, err
	}
	return norm, o.store.PutTokens()
}

// norm returns the norm of the gradient before clipping, NaN if that is not finite.
func (o *Optimizer) norm() (float64, error) {
	var raw [8]byte
	if err := o.b.Download(raw[:], o.scale); err != nil {
		return 0, err
	}
	scale, norm := readF32(raw[0:]), readF32(raw[4:])
	if math.IsNaN(scale) || math.IsInf(scale, 0) {
		return math.NaN(), nil
	}
	return norm, nil
}

func readF32(b []byte) float64 {
	return float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
}

// States returns the optimiser's state vectors by name.
func (o *Optimizer) States() map[string]tensor.Tensor {
	if o.eight != nil {
		return o.eight.tensors()
	}
	m := map[string]tensor.Tensor{}
	for name, t := range map[string]tensor.Tensor{"s1": o.s1, "s2": o.s2} {
		if !t.IsZero() {
			m[name] = t
		}
	}
	return m
}
