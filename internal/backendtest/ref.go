package backendtest

import (
	"math"
	"strconv"

	"github.com/mltrain/mltrain/internal/tensor"
)

// The references are as plain as possible: one loop per index, in float64, from the formulas in package tensor.

func refUnary(op tensor.UnaryOp, k, x float64) float64 {
	switch op {
	case tensor.OpScale:
		return k * x
	case tensor.OpSiLU:
		return x / (1 + math.Exp(-x))
	case tensor.OpGELU:
		return x * 0.5 * math.Erfc(-x/math.Sqrt2)
	case tensor.OpGELUTanh:
		return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	case tensor.OpReLU:
		return math.Max(0, x)
	case tensor.OpTanh:
		return math.Tanh(x)
	case tensor.OpSigmoid:
		return 1 / (1 + math.Exp(-x))
	case tensor.OpSoftcap:
		return k * math.Tanh(x/k)
	case tensor.OpRsqrt:
		return 1 / math.Sqrt(math.Abs(x)+k)
	}
	return math.NaN()
}

func refUnaryD(op tensor.UnaryOp, k, x float64) float64 {
	s := 1 / (1 + math.Exp(-x))
	switch op {
	case tensor.OpScale:
		return k
	case tensor.OpSiLU:
		return s + x*s*(1-s)
	case tensor.OpGELU:
		return 0.5*math.Erfc(-x/math.Sqrt2) + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
	case tensor.OpGELUTanh:
		t := math.Tanh(math.Sqrt(2/math.Pi) * (x + 0.044715*x*x*x))
		return 0.5*(1+t) + 0.5*x*(1-t*t)*math.Sqrt(2/math.Pi)*(1+3*0.044715*x*x)
	case tensor.OpReLU:
		if x > 0 {
			return 1
		}
		return 0
	case tensor.OpTanh:
		return 1 - math.Tanh(x)*math.Tanh(x)
	case tensor.OpSigmoid:
		return s * (1 - s)
	case tensor.OpSoftcap:
		t := math.Tanh(x / k)
		return 1 - t*t
	case tensor.OpRsqrt:
		return -0.5 * math.Copysign(1, x) * math.Pow(math.Abs(x)+k, -1.5)
	}
	return math.NaN()
}

func refBinary(op tensor.BinaryOp, a, b float64) float64 {
	switch op {
	case tensor.OpAdd:
		return a + b
	case tensor.OpSub:
		return a - b
	}
	return a * b
}

// refGemm computes C = alpha·op(A)·op(B) + beta·C + bias in place.
func refGemm(s tensor.GemmSpec, c, a, b, bias []float64) {
	for n := range max(1, s.Batch) {
		a, b, c := a[n*s.StrideA:], b[n*s.StrideB:], c[n*s.StrideC:]
		for i := range s.M {
			for j := range s.N {
				sum := 0.0
				for k := range s.K {
					ai, bi := i*s.LDA+k, k*s.LDB+j
					if s.TransA {
						ai = k*s.LDA + i
					}
					if s.TransB {
						bi = j*s.LDB + k
					}
					sum += a[ai] * b[bi]
				}
				sum *= float64(s.Alpha)
				if s.Beta != 0 {
					sum += float64(s.Beta) * c[i*s.LDC+j]
				}
				if bias != nil {
					sum += bias[j]
				}
				c[i*s.LDC+j] = sum
			}
		}
	}
}

// refNorm returns y and stats.
func refNorm(s tensor.NormSpec, x, w, b []float64, rows, cols int) (y, stats []float64) {
	y, stats = make([]float64, rows*cols), make([]float64, 2*rows)
	for r := range rows {
		xs := x[r*cols : (r+1)*cols]
		mean, ss := 0.0, 0.0
		if s.Kind == tensor.LayerNorm {
			for _, v := range xs {
				mean += v / float64(cols)
			}
		}
		for _, v := range xs {
			ss += (v - mean) * (v - mean) / float64(cols)
		}
		rstd := 1 / math.Sqrt(ss+float64(s.Eps))
		stats[2*r], stats[2*r+1] = mean, rstd
		for i, v := range xs {
			y[r*cols+i] = (v - mean) * rstd * normWeight(s, w[i])
			if b != nil {
				y[r*cols+i] += b[i]
			}
		}
	}
	return y, stats
}

func normWeight(s tensor.NormSpec, w float64) float64 {
	if s.PlusOne {
		return w + 1
	}
	return w
}

// refNormBwd adds to dx, dw and db.
func refNormBwd(s tensor.NormSpec, dx, dw, db, dy, stats, x, w []float64, rows, cols int) {
	for r := range rows {
		mean, rstd := stats[2*r], stats[2*r+1]
		var m1, m2 float64
		for i := range cols {
			g := dy[r*cols+i] * normWeight(s, w[i])
			m1 += g / float64(cols)
			m2 += g * (x[r*cols+i] - mean) * rstd / float64(cols)
		}
		if s.Kind == tensor.RMSNorm {
			m1 = 0
		}
		for i := range cols {
			hat := (x[r*cols+i] - mean) * rstd
			dw[i] += dy[r*cols+i] * hat
			db[i] += dy[r*cols+i]
			dx[r*cols+i] += rstd * (dy[r*cols+i]*normWeight(s, w[i]) - m1 - hat*m2)
		}
	}
}

// refRope rotates one head x into y.
func refRope(s tensor.RopeSpec, y, x, table []float64) {
	h := s.RotaryDim / 2
	copy(y[:s.HeadDim], x[:s.HeadDim])
	for i := range h {
		p, q := i, i+h
		if s.Interleaved {
			p, q = 2*i, 2*i+1
		}
		c, sn := table[i], table[h+i]*float64(s.Sign)
		y[p], y[q] = x[p]*c-x[q]*sn, x[q]*c+x[p]*sn
	}
}

// attention is an attention problem in float64, with q [TotalQ,Heads,HeadDim] and k, v [TotalK,KVHeads,HeadDim], and bias
// [biasHeads,biasN,biasN] or nil.
type attention struct {
	tensor.AttnSpec
	cuQ, cuK, usedK []int32
	q, k, v, bias   []float64
	biasHeads       int
	biasN           int
}

func (a *attention) totalQ() int { return len(a.q) / (a.Heads * a.HeadDim) }

func (a *attention) keys(s int) int {
	if a.usedK != nil {
		return int(a.usedK[s])
	}
	return int(a.cuK[s+1] - a.cuK[s])
}

// row computes the capped scores, without bias, and the probabilities of query i of sequence s in head h.
// Hidden keys have probability 0.
func (a *attention) row(s, i, h int) (capped, p []float64, lse float64) {
	nq, nk := int(a.cuQ[s+1]-a.cuQ[s]), a.keys(s)
	pos := i + nk - nq
	capped, p = make([]float64, nk), make([]float64, nk)
	lse = math.Inf(-1)
	sum, top := 0.0, math.Inf(-1)
	visible := func(j int) bool {
		return !(a.Causal && j > pos) && !(a.Window > 0 && j < pos-a.Window+1)
	}
	score := func(j int) float64 {
		if a.bias == nil {
			return capped[j]
		}
		return capped[j] + a.bias[a.biasAt(h, pos, j)]
	}
	for j := range nk {
		q, k := a.qAt(s, i, h), a.kvAt(s, j, h)
		for d := range a.HeadDim {
			capped[j] += a.q[q+d] * a.k[k+d] * float64(a.Scale)
		}
		if a.SoftCap > 0 {
			capped[j] = float64(a.SoftCap) * math.Tanh(capped[j]/float64(a.SoftCap))
		}
		if visible(j) {
			top = math.Max(top, score(j))
		}
	}
	for j := range nk {
		if visible(j) && top > math.Inf(-1) {
			p[j] = math.Exp(score(j) - top)
			sum += p[j]
		}
	}
	if sum > 0 {
		lse = top + math.Log(sum)
		for j := range p {
			p[j] /= sum
		}
	}
	return capped, p, lse
}

func (a *attention) qAt(s, i, h int) int { return ((int(a.cuQ[s])+i)*a.Heads + h) * a.HeadDim }

func (a *attention) kvAt(s, j, h int) int {
	return ((int(a.cuK[s])+j)*a.KVHeads + h/(a.Heads/a.KVHeads)) * a.HeadDim
}

func (a *attention) biasAt(h, pos, j int) int { return (h%a.biasHeads*a.biasN+pos)*a.biasN + j }

// kept returns the factor of dropout for key j.
func (a *attention) kept(s, i, h, j int) float64 {
	if a.Dropout == 0 {
		return 1
	}
	at := uint64(h*a.totalQ()+int(a.cuQ[s])+i)*uint64(a.MaxK) + uint64(j)
	return refKeep(a.Key, at, a.Dropout)
}

func refKeep(key tensor.RNGKey, i uint64, p float32) float64 {
	if key.Philox(i / 4)[i%4] < tensor.DropThreshold(p) {
		return 0
	}
	return 1 / (1 - float64(p))
}

func (a *attention) each(f func(s, i, h int)) {
	for s := range a.Seqs {
		for i := range int(a.cuQ[s+1] - a.cuQ[s]) {
			for h := range a.Heads {
				f(s, i, h)
			}
		}
	}
}

func (a *attention) forward() (o, lse []float64) {
	o, lse = make([]float64, len(a.q)), make([]float64, a.Heads*a.totalQ())
	for i := range lse {
		lse[i] = math.Inf(-1)
	}
	a.each(func(s, i, h int) {
		_, p, l := a.row(s, i, h)
		lse[h*a.totalQ()+int(a.cuQ[s])+i] = l
		for j, weight := range p {
			if weight == 0 {
				continue
			}
			weight *= a.kept(s, i, h, j)
			q, v := a.qAt(s, i, h), a.kvAt(s, j, h)
			for d := range a.HeadDim {
				o[q+d] += weight * a.v[v+d]
			}
		}
	})
	return o, lse
}

func (a *attention) backward(do []float64) (dq, dk, dv, dbias []float64) {
	dq, dk, dv, dbias = make([]float64, len(a.q)), make([]float64, len(a.k)), make([]float64, len(a.v)), make([]float64, len(a.bias))
	a.each(func(s, i, h int) {
		capped, p, _ := a.row(s, i, h)
		q := a.qAt(s, i, h)
		dp, kept := make([]float64, len(p)), make([]float64, len(p))
		delta := 0.0
		for j := range p {
			if p[j] == 0 {
				continue
			}
			v := a.kvAt(s, j, h)
			for d := range a.HeadDim {
				dp[j] += do[q+d] * a.v[v+d]
			}
			kept[j] = a.kept(s, i, h, j)
			dp[j] *= kept[j]
			delta += p[j] * dp[j]
		}
		for j := range p {
			if p[j] == 0 {
				continue
			}
			ds := p[j] * (dp[j] - delta)
			if a.bias != nil {
				dbias[a.biasAt(h, i+len(p)-int(a.cuQ[s+1]-a.cuQ[s]), j)] += ds
			}
			ds *= float64(a.Scale)
			if a.SoftCap > 0 {
				t := capped[j] / float64(a.SoftCap)
				ds *= 1 - t*t
			}
			k := a.kvAt(s, j, h)
			for d := range a.HeadDim {
				dv[k+d] += p[j] * kept[j] * do[q+d]
				dq[q+d] += ds * a.k[k+d]
				dk[k+d] += ds * a.q[q+d]
			}
		}
	})
	return dq, dk, dv, dbias
}

// refCE returns the row of CECols for one row of logits.
func refCE(s tensor.CESpec, logits []float64, target int32) []float64 {
	z := refCapped(s, logits)
	top, best := math.Inf(-1), 0
	for i, v := range z {
		if v > top {
			top, best = v, i
		}
	}
	sum, mean := 0.0, 0.0
	for _, v := range z {
		sum += math.Exp(v - top)
	}
	lse := top + math.Log(sum)
	row := make([]float64, tensor.CECols)
	row[tensor.CELSE] = lse
	if target == s.IgnoreIndex {
		return row
	}
	for _, v := range z {
		mean += (v - lse) / float64(len(z))
		row[tensor.CEEntropy] -= math.Exp(v-lse) * (v - lse)
	}
	eps := float64(s.Smoothing)
	row[tensor.CELogp] = (1-eps)*(z[target]-lse) + eps*mean
	if best == int(target) {
		row[tensor.CECorrect] = 1
	}
	return row
}

func refCapped(s tensor.CESpec, logits []float64) []float64 {
	z := append([]float64(nil), logits...)
	if s.SoftCap > 0 {
		for i, v := range z {
			z[i] = float64(s.SoftCap) * math.Tanh(v/float64(s.SoftCap))
		}
	}
	return z
}

// refCEBwd returns w·∂logp/∂logits.
func refCEBwd(s tensor.CESpec, logits []float64, target int32, w float64) []float64 {
	d := make([]float64, len(logits))
	if target == s.IgnoreIndex {
		return d
	}
	lse := refCE(s, logits, target)[tensor.CELSE]
	for i, v := range refCapped(s, logits) {
		d[i] = float64(s.Smoothing)/float64(len(d)) - math.Exp(v-lse)
		if i == int(target) {
			d[i] += 1 - float64(s.Smoothing)
		}
		if s.SoftCap > 0 {
			t := v / float64(s.SoftCap)
			d[i] *= 1 - t*t
		}
		d[i] *= w
	}
	return d
}

// decimal returns the decimal number that f stands for: hyper-parameters are decimals, and 1−0.999 computed from the
// float32 nearest to 0.999 is wrong in its fifth digit.
func decimal(f float32) float64 {
	d, _ := strconv.ParseFloat(strconv.FormatFloat(float64(f), 'g', -1, 32), 64)
	return d
}

// refOptim updates one parameter; lr and wd are the segment's.
func refOptim(s tensor.OptSpec, lr, wd, b1, b2, p, m, v, g float64) (p2, m2, v2 float64) {
	switch s.Kind {
	case tensor.SGD:
		g += wd * p
		if s.Momentum != 0 {
			m = float64(s.Momentum)*m + g
			if s.Nesterov {
				g += float64(s.Momentum) * m
			} else {
				g = m
			}
		}
		return p - lr*g, m, v
	case tensor.Lion:
		c := b1*m + (1-b1)*g
		u := 0.0
		if c != 0 {
			u = math.Copysign(1, c)
		}
		return p - lr*(u+wd*p), b2*m + (1-b2)*g, v
	case tensor.Adam:
		g += wd * p
	case tensor.AdamW:
		p -= lr * wd * p
	}
	m = b1*m + (1-b1)*g
	v = b2*v + (1-b2)*g*g
	denom := math.Sqrt(v)/math.Sqrt(1-math.Pow(b2, float64(s.Step))) + float64(s.Eps)
	return p - lr/(1-math.Pow(b1, float64(s.Step)))*m/denom, m, v
}
