package backendtest

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/mltrain/mltrain/internal/tensor"
)

// differences returns the gradient of f at x by central differences.
func differences(x []float64, f func() float64) []float64 {
	const h = 1e-5
	g := make([]float64, len(x))
	for i, v := range x {
		x[i] = v + h
		up := f()
		x[i] = v - h
		g[i] = (up - f()) / (2 * h)
		x[i] = v
	}
	return g
}

func compare(t *testing.T, name string, got, want []float64) {
	t.Helper()
	for i := range want {
		if !(math.Abs(got[i]-want[i]) <= 1e-7*(1+math.Abs(want[i]))) {
			t.Errorf("%s[%d] is %v, differences give %v", name, i, got[i], want[i])
		}
	}
}

func normals(rng *rand.Rand, n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = rng.NormFloat64()
	}
	return x
}

func TestUnaryDerivatives(t *testing.T) {
	for op := range tensor.NumUnaryOps {
		x := []float64{-7, -2, -0.3, 0.01, 0.5, 3, 9}
		var got []float64
		for _, v := range x {
			got = append(got, refUnaryD(op, 2.5, v))
		}
		want := differences(x, func() float64 {
			s := 0.0
			for _, v := range x {
				s += refUnary(op, 2.5, v)
			}
			return s
		})
		compare(t, op.String(), got, want)
	}
}

func TestNormGradients(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const rows, cols = 3, 7
	for name, s := range normSpecs {
		x, w, b, dy := normals(rng, rows*cols), normals(rng, cols), normals(rng, cols), normals(rng, rows*cols)
		_, stats := refNorm(s, x, w, b, rows, cols)
		dx, dw, db := make([]float64, rows*cols), make([]float64, cols), make([]float64, cols)
		refNormBwd(s, dx, dw, db, dy, stats, x, w, rows, cols)
		loss := func() float64 {
			y, _ := refNorm(s, x, w, b, rows, cols)
			return dot(y, dy)
		}
		compare(t, name+" dx", dx, differences(x, loss))
		compare(t, name+" dw", dw, differences(w, loss))
		compare(t, name+" db", db, differences(b, loss))
	}
}

func TestRopeGradient(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, interleaved := range []bool{false, true} {
		s := tensor.RopeSpec{Heads: 1, HeadDim: 10, RotaryDim: 6, Interleaved: interleaved, Sign: 1}
		x, dy, table := normals(rng, 10), normals(rng, 10), []float64{math.Cos(1), math.Cos(2), math.Cos(3), math.Sin(1), math.Sin(2), math.Sin(3)}
		y, dx := make([]float64, 10), make([]float64, 10)
		want := differences(x, func() float64 {
			refRope(s, y, x, table)
			return dot(y, dy)
		})
		s.Sign = -1
		refRope(s, dx, dy, table)
		s.Sign = 1
		compare(t, "dx", dx, want)
	}
}

func TestAttentionGradients(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for name, spec := range map[string]tensor.AttnSpec{
		"full":    {},
		"causal":  {Causal: true},
		"window":  {Causal: true, Window: 2},
		"softcap": {Causal: true, SoftCap: 1.5},
		"dropout": {Dropout: 0.4, Key: testKey},
		"bias":    {Causal: true, SoftCap: 1.5, Window: 3, Dropout: 0.4, Key: testKey},
	} {
		a := attention{AttnSpec: spec, cuQ: []int32{0, 3, 3, 5}, cuK: []int32{0, 4, 6, 7}, usedK: []int32{4, 2, 1}}
		a.Seqs, a.Heads, a.KVHeads, a.HeadDim, a.MaxK, a.Scale = 3, 4, 2, 3, 4, 0.7
		a.q, a.k, a.v = normals(rng, 5*4*3), normals(rng, 7*2*3), normals(rng, 7*2*3)
		if name == "bias" { // the third sequence has a key for each of its queries
			a.usedK[2], a.cuK[3], a.biasHeads, a.biasN = 2, 8, 4, 5
			a.k, a.v, a.bias = normals(rng, 8*2*3), normals(rng, 8*2*3), normals(rng, 4*5*5)
		}
		do := normals(rng, len(a.q))
		dq, dk, dv, dbias := a.backward(do)
		loss := func() float64 {
			o, _ := a.forward()
			return dot(o, do)
		}
		compare(t, name+" dq", dq, differences(a.q, loss))
		compare(t, name+" dk", dk, differences(a.k, loss))
		compare(t, name+" dv", dv, differences(a.v, loss))
		compare(t, name+" dbias", dbias, differences(a.bias, loss))
	}
}

func TestCrossEntropyGradient(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for _, s := range []tensor.CESpec{{IgnoreIndex: -1}, {IgnoreIndex: -1, Smoothing: 0.2}, {IgnoreIndex: -1, SoftCap: 2, Smoothing: 0.1}} {
		for _, target := range []int32{3, -1} {
			x := normals(rng, 9)
			got := refCEBwd(s, x, target, 1.7)
			compare(t, "dlogits", got, differences(x, func() float64 { return 1.7 * refCE(s, x, target)[tensor.CELogp] }))
		}
	}
}

func TestEncodings(t *testing.T) {
	for v, want := range map[float64]uint16{
		0: 0, 1: 0x3c00, -2: 0xc000, 65504: 0x7bff, 65519: 0x7bff, 65520: 0x7c00, 0x1p-14: 0x0400, 0x1p-24: 1, 0x1p-25: 0,
		0x1.8p-24: 2, 1 + 0x1p-11: 0x3c00, 1 + 0x3p-11: 0x3c02, math.Inf(-1): 0xfc00,
	} {
		if got := f16(v); got != want {
			t.Errorf("f16(%v) = %#04x, want %#04x", v, got, want)
		}
	}
	for h := range 1 << 16 {
		if v := fromF16(uint16(h)); v == v && f16(v) != uint16(h) {
			t.Fatalf("half %#04x is %v, which encodes to %#04x", h, v, f16(v))
		}
	}
	for v, want := range map[float64]uint16{1: 0x3f80, 1 + 0x1p-8: 0x3f80, 1 + 0x3p-8: 0x3f82, 1 + 0x1.1p-8: 0x3f81, math.MaxFloat32: 0x7f80} {
		if got := bf16(v); got != want {
			t.Errorf("bf16(%v) = %#04x, want %#04x", v, got, want)
		}
	}
}
