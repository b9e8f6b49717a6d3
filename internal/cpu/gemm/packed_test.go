package gemm

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestPacked holds products of packed matrices against float64: both orders of storage, each kind of element, sums that are new or added to.
func TestPacked(t *testing.T) {
	if !HasPacked() {
		t.Skip("the engine in use has no AMX: that takes an Intel CPU with AMX_BF16, Linux, and assembly")
	}
	r := rand.New(rand.NewPCG(61, 62))
	var a, b Packed
	for range 2000 {
		p := product{Spec: Spec{TransA: r.IntN(2) == 0, TransB: r.IntN(2) == 0, M: 1 + r.IntN(70), N: 1 + r.IntN(70), K: 1 + r.IntN(70), Alpha: 1, Beta: float32(r.IntN(2))},
			aBF16: r.IntN(2) == 0, bBF16: r.IntN(2) == 0, compute: Precision(r.IntN(2))}
		ar, ac := stored(p.TransA, p.M, p.K)
		br, bc := stored(p.TransB, p.K, p.N)
		p.LDA, p.LDB, p.LDC = ac+r.IntN(3), bc+r.IntN(3), p.N+r.IntN(3)
		x, y, c := matrix(t, r, p.aBF16, ar, ac, p.LDA), matrix(t, r, p.bBF16, br, bc, p.LDB), matrix(t, r, false, p.M, p.N, p.LDC)
		if p.Beta == 0 { // C must not be read
			for i := range c.F32 {
				c.F32[i] = float32(math.NaN())
			}
		}
		got := c.clone(t)
		a.PackA(p.compute, x, p.TransA, p.M, p.K, p.LDA)
		b.PackB(p.compute, y, p.TransB, p.K, p.N, p.LDB)
		MulPacked(got.F32, p.LDC, &a, &b, p.Beta != 0)
		p.compare(t, got, c, Data{}, lanes(x, p.LDA, p.M, p.K, !p.TransA, p.compute), lanes(y, p.LDB, p.N, p.K, p.TransB, p.compute))
		unguard()
	}
	for why, f := range map[string]func(){
		"two A":     func() { MulPacked(make([]float32, 4), 2, &a, &a, false) },
		"no matrix": func() { MulPacked(make([]float32, 4), 2, &Packed{}, &b, false) },
		"C too small": func() {
			a.PackA(ComputeF32, Data{F32: make([]float32, 4)}, false, 2, 2, 2)
			b.PackB(ComputeF32, Data{F32: make([]float32, 4)}, false, 2, 2, 2)
			MulPacked(make([]float32, 3), 2, &a, &b, false)
		},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: not refused", why)
				}
			}()
			f()
		}()
	}
}
