package nn

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"gonum.org/v1/gonum/mat"

	"github.com/mltrain/mltrain/internal/autograd"
	"github.com/mltrain/mltrain/internal/tensor"
)

// Values of Adapter.Init that start an adapter from the principal part of its weight (Meng et al., 2024, "PiSSA: Principal Singular
// Values and Singular Vectors Adaptation"): by a full singular value decomposition, or, with a number behind niterPrefix, by a
// randomised one with that many iterations, which large weights need.
const (
	PiSSA            = "pissa"
	pissaNiterPrefix = "pissa_niter_"
)

// IsPiSSA tells whether an adapter starts from the principal part of its weights.
func (a *Adapter) IsPiSSA() bool { return strings.HasPrefix(a.Init, PiSSA) }

// StartSuffix names, in an Adapter.Source, what a PiSSA adapter's A or B was when it was made: the tensor's name with this behind
// it. The base weights of a resumed run are made from it.
const StartSuffix = "#start"

// oversampling is how many directions more than asked for a randomised decomposition follows.
const oversampling = 8

// principal is a weight of the model that an adapter starts from.
type principal struct {
	module string
	w      *Weight
	layout autograd.Layout
	l      *autograd.LowRank
}

// startPiSSA gives A and B the principal part of each adapted weight, with B·A·scale its best approximation of that rank, and
// leaves the weight the rest. A saved adapter keeps its A and B; the weight loses what they were when they were made.
func (bd *Builder) startPiSSA(s *Store, seed uint64) error {
	s.Starts = map[*Weight][]float32{}
	for _, p := range bd.adapter.principals {
		if err := bd.startPrincipal(s, p, seed); err != nil {
			return fmt.Errorf("%s: pissa: %w", p.module, err)
		}
	}
	return nil
}

func (bd *Builder) startPrincipal(s *Store, p principal, seed uint64) error {
	raw := make([]byte, p.w.Value.Bytes())
	if err := s.b.Download(raw, p.w.Value); err != nil {
		return err
	}
	out, in, r := p.l.B.Shape[0], p.l.A.Shape[1], p.l.Rank()
	x := widen(raw, p.w.Value.DType, out*in)
	if p.layout == autograd.InOut {
		x = transpose(x, in, out)
	}
	wa, wb := bd.byName[p.module+".lora_A.weight"], bd.byName[p.module+".lora_B.weight"]
	a, b, err := bd.starts(x, p, wa, wb, seed)
	if err != nil {
		return err
	}
	if bd.adapter.Source == nil {
		if err := errors.Join(s.uploadFloats(wa.Master, a), s.uploadFloats(wb.Master, b)); err != nil {
			return err
		}
	}
	s.Starts[wa], s.Starts[wb] = a, b
	subtract(x, a, b, out, in, r, p.l.Scale)
	if p.layout == autograd.InOut {
		x = transpose(x, out, in)
	}
	return s.uploadFloats(p.w.Value, x)
}

// starts returns what A and B start from. A saved adapter that does not say so, as PEFT's do not, started from what the weight x
// still gives, unless that was drawn at random.
func (bd *Builder) starts(x []float32, p principal, wa, wb *Weight, seed uint64) (a, b []float32, err error) {
	if src := bd.adapter.Source; src != nil {
		if _, _, _, ok := src.Lookup(wa.AdapterName + StartSuffix); ok {
			if a, err = floatsOf(src, wa.AdapterName+StartSuffix); err == nil {
				b, err = floatsOf(src, wb.AdapterName+StartSuffix)
			}
			return a, b, err
		}
	}
	niter := 0
	if n, ok := strings.CutPrefix(bd.adapter.Init, pissaNiterPrefix); ok {
		if niter, err = strconv.Atoi(n); err != nil || niter < 1 {
			return nil, nil, fmt.Errorf("init_lora_weights %q: expected a number of iterations behind %s", bd.adapter.Init, pissaNiterPrefix)
		}
		if bd.adapter.Source != nil {
			return nil, nil, fmt.Errorf("the adapter started from a random decomposition (%s) and does not say what that was; have PEFT convert it to a plain LoRA adapter", bd.adapter.Init)
		}
	}
	out, in := p.l.B.Shape[0], p.l.A.Shape[1]
	return principalPart(x, out, in, p.l.Rank(), float64(p.l.Scale), niter, p.module, seed)
}

// principalPart returns A [r,in] and B [out,r] with scale·B·A the best approximation of w [out,in] of rank r, the singular values
// shared out evenly: A = √(S/scale)·Vᵀ, B = U·√(S/scale).
func principalPart(w []float32, out, in, r int, scale float64, niter int, name string, seed uint64) (a, b []float32, err error) {
	m := mat.NewDense(out, in, nil)
	for i, v := range w {
		m.RawMatrix().Data[i] = float64(v)
	}
	var left *mat.Dense // its columns span the directions that are kept; nil: all
	if q := r + oversampling; niter > 0 && q < min(out, in) {
		left = subspace(m, q, niter, name, seed)
		var small mat.Dense
		small.Mul(left.T(), m)
		m = &small
	}
	var svd mat.SVD
	if !svd.Factorize(m, mat.SVDThin) {
		return nil, nil, fmt.Errorf("the singular value decomposition of the weight does not converge; is it finite?")
	}
	var u, v mat.Dense
	svd.UTo(&u)
	svd.VTo(&v)
	if left != nil {
		var full mat.Dense
		full.Mul(left, &u)
		u = full
	}
	values := svd.Values(nil)
	a, b = make([]float32, r*in), make([]float32, out*r)
	for k := range r {
		root := math.Sqrt(values[k] / scale)
		for j := range in {
			a[k*in+j] = float32(root * v.At(j, k))
		}
		for i := range out {
			b[i*r+k] = float32(root * u.At(i, k))
		}
	}
	return a, b, nil
}

// subspace returns q orthonormal columns that approximate the span of m's first left singular vectors, by niter rounds of
// subspace iteration from random directions (Halko, Martinsson and Tropp, 2011).
func subspace(m *mat.Dense, q, niter int, name string, seed uint64) *mat.Dense {
	_, in := m.Dims()
	omega := mat.NewDense(in, q, nil)
	for i, v := range (Init{Std: 1}).draw(0, in*q, name, seed) {
		omega.RawMatrix().Data[i] = float64(v)
	}
	var y mat.Dense
	y.Mul(m, omega)
	basis := orthonormal(&y)
	for range niter {
		var back, forth mat.Dense
		back.Mul(m.T(), basis)
		forth.Mul(m, orthonormal(&back))
		basis = orthonormal(&forth)
	}
	return basis
}

// orthonormal returns an orthonormal basis of the columns of y.
func orthonormal(y *mat.Dense) *mat.Dense {
	rows, cols := y.Dims()
	var qr mat.QR
	qr.Factorize(y)
	var q mat.Dense
	qr.QTo(&q)
	return mat.DenseCopyOf(q.Slice(0, rows, 0, cols))
}

// subtract takes scale·b·a off x [out,in].
func subtract(x, a, b []float32, out, in, r int, scale float32) {
	sum := make([]float32, in)
	for i := range out {
		clear(sum)
		for k := range r {
			f := b[i*r+k]
			for j, v := range a[k*in : (k+1)*in] {
				sum[j] += f * v
			}
		}
		row := x[i*in : (i+1)*in]
		for j, v := range sum {
			row[j] -= scale * v
		}
	}
}

// floatsOf reads a tensor.
func floatsOf(src Source, name string) ([]float32, error) {
	dt, dtName, shape, ok := src.Lookup(name)
	if !ok || dt != tensor.F32 && dt != tensor.BF16 && dt != tensor.F16 {
		return nil, fmt.Errorf("%s: found type %q, needed is float32, bfloat16 or float16", name, dtName)
	}
	raw, err := src.Bytes(name)
	if err != nil {
		return nil, err
	}
	return widen(raw, dt, elements(shape)), nil
}
