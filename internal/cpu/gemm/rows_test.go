package gemm

import (
	"math/rand/v2"
	"runtime"
	"testing"
)

// TestParts: products whose rows workers divide are the same bits as with one worker and right, alone and with others, in slabs of any
// size; and each reason to divide them is met.
func TestParts(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	eachEngine(t, func(t *testing.T, e *engine) {
		r := rand.New(rand.NewPCG(19, 20))
		divided := map[string]int{}
		for n := range fewer(25) {
			compute := Precision(r.IntN(3))
			a, products := sharedProducts(t, r, func(r *rand.Rand) product {
				p := randomProduct(r)
				p.M, p.N, p.K = 230+r.IntN(200), 20+r.IntN(200), 1+r.IntN(140)
				return p
			}, 1+r.IntN(3))
			p := products[0]
			one := clone(t, products)
			runtime.GOMAXPROCS(1)
			mulShared(e, compute, a, one)
			if n%4 == 0 {
				compareShared(t, e, compute, a, one, products)
			}
			for procs := 2; procs <= 3; procs++ {
				runtime.GOMAXPROCS(procs)
				j := prepare(e, p.Spec, compute, p.C, a, p.B, Data{})
				j.chooseHalves()
				if j.k > 0 && j.rowParts() > 1 {
					switch {
					case j.half:
						divided["halves"]++
					case j.kBlock < besideDepth:
						divided["few steps"]++
					default:
						divided["beside"]++
					}
				}
				j.done()
				got := clone(t, products)
				mulShared(e, compute, a, got)
				for i := range got {
					if !sameBits(one[i].C, got[i].C) {
						t.Fatalf("%v %v, product %d of %d: %d threads differ from one", e.name, products[i].Spec, i, len(products), procs)
					}
				}
			}
			unguard()
		}
		whole := e.blocking == standard // smaller blocks leave no room for each
		if !testing.Short() && (divided["few steps"] == 0 || whole && (e.half != nil && divided["halves"] == 0 || e.beside != nil && divided["beside"] == 0)) {
			t.Errorf("rows were divided for %v", divided)
		}
	})
}
