package backendtest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/mltrain/mltrain/internal/tensor"
)

// The relative errors that bounds are made of: of an operation in float32, also where it is approximate or truncates as
// tensor cores do, and of rounding to bfloat16.
const (
	float32Error = 0x1p-23
	bf16Error    = 0x1p-8
)

func roundingError(dt tensor.DType) float64 {
	if dt == tensor.BF16 {
		return bf16Error
	}
	return float32Error
}

// bounded are results and how far from them a kernel may be, element by element.
type bounded struct{ want, bound []float64 }

func newBounded(n int) bounded { return bounded{make([]float64, n), make([]float64, n)} }

// add adds a term with an error.
func (b bounded) add(i int, term, err float64) {
	b.want[i] += term
	b.bound[i] += err
}

// rounded adds the error of rounding a result to its type.
func (b bounded) rounded(dt tensor.DType) bounded {
	for i, w := range b.want {
		b.bound[i] += roundingError(dt)*(math.Abs(w)+b.bound[i]) + 1e-30
	}
	return b
}

// scores are the numbers of a query and a head, one for each key, with bounds of their errors.
type scores struct {
	capped, p []float64
	biased    []float64 // capped with bias
	lse       float64
	exponent  []float64 // error of the exponent, and so the relative error of P before it is normalised
	score     []float64 // of the score without bias
	sum       float64   // relative error of the softmax's sum
	terms     float64   // error of a float32 sum over the visible keys, relative to the sum of the terms' sizes
}

// scoresOf bounds a row of the softmax. A dot product over d elements is off by d+4 operations on its terms' sizes, the soft
// cap's slope is at most 1, and e^x passes the error of x on as a relative one.
func (a *attention) scoresOf(s, i, h int) scores {
	x := scores{}
	x.capped, x.p, x.lse = a.row(s, i, h)
	x.score, x.exponent, x.biased = make([]float64, len(x.p)), make([]float64, len(x.p)), append([]float64(nil), x.capped...)
	top, visible := 0.0, 0
	for j, p := range x.p {
		if p > 0 {
			if a.bias != nil {
				x.biased[j] += a.bias[a.biasAt(h, a.position(s, i), j)]
			}
			top = math.Max(top, math.Max(math.Abs(x.capped[j]), math.Abs(x.biased[j])))
			visible++
		}
	}
	x.terms = float64(visible+16) * float32Error
	x.sum = x.terms
	for j, p := range x.p {
		if p == 0 {
			continue
		}
		q, k := a.qAt(s, i, h), a.kvAt(s, j, h)
		size := absDot(a.q[q:q+a.HeadDim], a.k[k:k+a.HeadDim]) * math.Abs(float64(a.Scale))
		x.score[j] = float32Error * (float64(a.HeadDim+4)*size + 16*float64(a.SoftCap))
		x.exponent[j] = x.score[j] + float32Error*(4*(math.Abs(x.biased[j])+top)+8)
		x.sum += p * x.exponent[j]
	}
	return x
}

// position returns the key at which query i of sequence s stands.
func (a *attention) position(s, i int) int { return i + a.keys(s) - int(a.cuQ[s+1]-a.cuQ[s]) }

// absDot returns Σ|x·y|.
func absDot(x, y []float64) float64 {
	s := 0.0
	for i, v := range x {
		s += math.Abs(v * y[i])
	}
	return s
}

// forwardBounds bounds o and lse where the softmax's weights are rounded with a relative error, as operands of products are.
func (a *attention) forwardBounds(rounding float64, dt tensor.DType) (o, lse bounded) {
	o, lse = newBounded(len(a.q)), newBounded(a.Heads*a.totalQ())
	for i := range lse.want {
		lse.want[i] = math.Inf(-1)
	}
	a.each(func(s, i, h int) {
		x := a.scoresOf(s, i, h)
		at := h*a.totalQ() + int(a.cuQ[s]) + i
		lse.want[at] = x.lse
		if math.IsInf(x.lse, -1) {
			return
		}
		lse.bound[at] = x.sum + float32Error*(4*math.Abs(x.lse)+8)
		for j, p := range x.p {
			p *= a.kept(s, i, h, j)
			for d := range a.HeadDim {
				term := p * a.v[a.kvAt(s, j, h)+d]
				o.add(a.qAt(s, i, h)+d, term, math.Abs(term)*(rounding+x.exponent[j]+x.sum+2*x.terms))
			}
		}
	})
	return o.rounded(dt), lse.rounded(tensor.F32)
}

// backwardBounds bounds the gradients for the given o and lse, which are operands and may be rounded themselves. With
// P = e^(score − lse) and dS = P·(dP − delta)·(1 − (score/cap)²), products round P and dS with a relative error.
func (a *attention) backwardBounds(do, o, lse []float64, rounding float64, dt tensor.DType) (dq, dk, dv, dbias bounded) {
	dq, dk, dv, dbias = newBounded(len(a.q)), newBounded(len(a.k)), newBounded(len(a.v)), newBounded(len(a.bias))
	pairs := make([]int, len(a.k)/a.HeadDim) // how many terms a row of dk has
	a.each(func(s, i, h int) {
		for j, p := range a.scoresOf(s, i, h).p {
			if p > 0 {
				pairs[a.kvAt(s, j, h)/a.HeadDim]++
			}
		}
	})
	scale := float64(a.Scale)
	a.each(func(s, i, h int) {
		x := a.scoresOf(s, i, h)
		q, l := a.qAt(s, i, h), lse[h*a.totalQ()+int(a.cuQ[s])+i]
		dos := do[q : q+a.HeadDim]
		delta, deltaErr := dot(dos, o[q:q+a.HeadDim]), float32Error*float64(a.HeadDim+4)*absDot(dos, o[q:q+a.HeadDim])
		for j, p := range x.p {
			if p == 0 {
				continue
			}
			k, keep := a.kvAt(s, j, h), a.kept(s, i, h, j)
			p = math.Exp(x.biased[j] - l)
			exponent := x.exponent[j] + 4*float32Error*math.Abs(l)
			v := a.v[k : k+a.HeadDim]
			rest := keep*dot(dos, v) - delta
			restErr := keep*float32Error*float64(a.HeadDim+8)*absDot(dos, v) + deltaErr + float32Error*math.Abs(rest)
			if a.bias != nil { // summed as it is
				ds := p * rest
				dbias.add(a.biasAt(h, a.position(s, i), j), ds, p*(restErr+math.Abs(rest)*exponent)+math.Abs(ds)*float32Error*float64(a.Heads*a.Seqs+8))
			}
			slope, slopeErr := 1.0, 8*float32Error
			if a.SoftCap > 0 {
				t := x.capped[j] / float64(a.SoftCap)
				slope = 1 - t*t
				slopeErr += 2 * math.Abs(t) * x.score[j] / float64(a.SoftCap)
			}
			ds := scale * p * rest * slope
			dsErr := rounding*math.Abs(ds) + (1+rounding)*scale*p*(restErr*slope+math.Abs(rest)*(slopeErr+exponent*slope))
			pk := p * keep
			pkErr := pk * (rounding + (1+rounding)*(exponent+8*float32Error))
			many := float64(pairs[k/a.HeadDim]+16) * float32Error
			for d := range a.HeadDim {
				dq.add(q+d, ds*a.k[k+d], (dsErr+math.Abs(ds)*x.terms)*math.Abs(a.k[k+d]))
				dk.add(k+d, ds*a.q[q+d], (dsErr+math.Abs(ds)*many)*math.Abs(a.q[q+d]))
				dv.add(k+d, pk*dos[d], (pkErr+pk*many)*math.Abs(dos[d]))
			}
		}
	})
	return dq.rounded(dt), dk.rounded(dt), dv.rounded(dt), dbias.rounded(tensor.F32)
}

func dot(x, y []float64) float64 {
	s := 0.0
	for i, v := range x {
		s += v * y[i]
	}
	return s
}

// randomAttention is an attention problem with all options at random. Few keys are seen often, and dropout is strong: then
// gradients nearly cancel.
func randomAttention(rng *rand.Rand) attnShape {
	pick := func(n ...int) int { return n[rng.IntN(len(n))] }
	s := attnShape{aligned: true}
	s.KVHeads = pick(1, 1, 2)
	s.Heads = s.KVHeads * pick(1, 1, 2, 3)
	s.HeadDim = 8 * (1 + rng.IntN(pick(2, 4, 8, 16, 32)))
	s.Scale = float32(pick(1, 2, 5)) / 8
	s.Causal = pick(0, 1, 1) == 1
	s.Window = pick(0, 0, 0, 1, 2, 3, 20, 70)
	s.SoftCap = float32(pick(0, 0, 0, 2, 30))
	if s.Dropout = float32(pick(0, 0, 1, 2, 3)) / 4; s.Dropout > 0 {
		s.Key = tensor.RNGKey{Seed: rng.Uint64(), Micro: rng.Uint32(), Op: rng.Uint32()}
	}
	most := max(2, 15000/(s.Heads*s.HeadDim))
	for range pick(1, 2, 3) {
		nq, nk := rng.IntN(min(most, pick(5, 40, 140))+1), rng.IntN(min(most, pick(5, 40, 140))+1)
		if pick(0, 1) == 1 {
			nk = nq
		}
		s.nq, s.nk, s.used = append(s.nq, nq), append(s.nk, nk), append(s.used, rng.IntN(nk+1))
	}
	if pick(0, 0, 1) == 0 {
		s.used = nil
	}
	s.extra = pick(0, 0, 2)
	if pick(0, 0, 1) == 1 {
		s.bias = pick(1, s.Heads)
		for i := range s.nq {
			s.nk[i] = max(s.nk[i], s.nq[i])
			if s.used != nil {
				s.used[i] = s.nk[i] - rng.IntN(s.nk[i]-s.nq[i]+1)
			}
			s.biasN = max(s.biasN, s.nk[i]+pick(0, 3))
		}
	}
	if pick(0, 0, 0, 1) == 1 { // rows that kernels on tensor cores do not take
		s.aligned = false
		if pick(0, 1) == 1 { // else some rows begin at multiples of 16 bytes
			s.HeadDim = 1 + rng.IntN(s.HeadDim)
		}
	}
	return s
}

// AttentionShares runs forward and backward attention in bfloat16 on a random problem and returns for each result how far
// off its worst element is, as a share of the bound that follows from the kernel's roundings; operands tells whether products
// have operands that are rounded to bfloat16 where rows are aligned, as on tensor cores. Elements that should be equal and
// are not, like NaN, give infinity, as do writes to other memory. An error is a kernel's.
func AttentionShares(tb testing.TB, b tensor.Backend, seed uint64, operands bool) (map[string]float64, error) {
	tb.Helper()
	e := NewEnv(tb, b, fmt.Sprintf("random attention %d", seed))
	defer e.Free()
	shares := map[string]float64{}
	err := e.attentionShares(randomAttention(e.rng), tensor.BF16, operands, shares)
	for _, o := range e.ops {
		if what := e.changed(o); what != "" {
			shares[what] = math.Inf(1)
		}
	}
	return shares, err
}

func (e *Env) attentionShares(shape attnShape, dt tensor.DType, operands bool, shares map[string]float64) error {
	x := e.attn(shape, dt)
	rounding := 0.0
	if operands && shape.aligned {
		rounding = bf16Error
	}
	rows := x.totalQ()
	note := func(name string, w window, t tensor.Tensor, b bounded) {
		for i, g := range w.dense(e.Read(t)) {
			share := math.Abs(g-b.want[i]) / b.bound[i]
			if g == b.want[i] {
				share = 0
			}
			if share != share {
				share = math.Inf(1)
			}
			shares[name] = max(shares[name], share)
		}
	}
	o, lse := e.Out("o", dt, rows*x.o.stride), e.Out("lse", tensor.F32, x.Heads, rows)
	if err := e.B.Attention(x.AttnSpec, o, lse, x.qw.tensor(), x.kw.tensor(), x.vw.tensor(), x.biasT); err != nil {
		return err
	}
	wantO, wantL := x.forwardBounds(rounding, dt)
	note("o", x.o, o, wantO)
	note("lse", window{width: 1, stride: 1}, lse, wantL)

	os, ls, dos := make([]float64, rows*x.o.stride), wantL.want, e.Rand(rows*x.o.stride)
	x.o.spread(os, wantO.want)
	oIn, doIn, lseIn := e.In("o in", dt, os, len(os)), e.In("do", dt, dos, len(dos)), e.In("lse in", tensor.F32, ls, x.Heads, rows)
	delta := e.Out("delta", tensor.F32, x.Heads, rows)
	var dbias tensor.Tensor
	if x.bias != nil {
		dbias = e.InOut("dbias", tensor.F32, make([]float64, len(x.bias)), x.biasHeads, x.biasN, x.biasN)
	}
	dq, dk, dv := e.Out("dq", dt, x.qw.t.Len()), e.Out("dk", dt, x.kw.t.Len()), e.Out("dv", dt, x.vw.t.Len())
	if err := e.B.AttentionBwd(x.AttnSpec, dq, dk, dv, dbias, doIn, oIn, lseIn, delta, x.qw.tensor(), x.kw.tensor(), x.vw.tensor(), x.biasT); err != nil {
		return err
	}
	wantQ, wantK, wantV, wantBias := x.backwardBounds(x.o.dense(dos), x.o.dense(os), ls, rounding, dt)
	note("dq", x.qw, dq, wantQ)
	note("dk", x.kw, dk, wantK)
	note("dv", x.vw, dv, wantV)
	if x.bias != nil {
		note("dbias", window{width: 1, stride: 1}, dbias, wantBias)
	}
	return nil
}
