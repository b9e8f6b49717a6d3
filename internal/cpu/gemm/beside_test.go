package gemm

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
)

// besideEngines are the engines that pack beside products, with blockings that make many blocks of small products.
func besideEngines(t *testing.T, f func(t *testing.T, e *engine)) {
	if !slices.ContainsFunc(engines, func(e engine) bool { return e.beside != nil }) {
		t.Skip("no engine packs beside products: that takes AVX-512, and assembly")
	}
	for i := range engines {
		if engines[i].beside == nil {
			continue
		}
		for name, b := range map[string]blocking{
			"standard": standard,
			"narrow":   {kBlock: 40, halfBlock: 64, columnBlock: 96, slabWords: 1 << 16, slabRows: 512},
			"wide":     {kBlock: 37, halfBlock: 64, columnBlock: 320, slabWords: 1 << 18, slabRows: 512},
			"deep":     {kBlock: 64, halfBlock: 64, columnBlock: 320, slabWords: 1 << 14, slabRows: 128},
		} {
			e := engines[i]
			e.blocking = b
			t.Run(e.name+"/"+name, func(t *testing.T) { f(t, &e) })
		}
	}
}

// fewer is a fifth of the cases with -short, which the race detector, ten times as slow, is run with.
func fewer(cases int) int {
	if testing.Short() {
		return cases / 5
	}
	return cases
}

// besideProduct has enough rows for it.
func besideProduct(r *rand.Rand) product {
	p := randomProduct(r)
	p.M, p.N, p.K = 90+r.IntN(160), 20+r.IntN(600), 1+r.IntN(200)
	p.compute = ComputeF32
	p.aBF16, p.bBF16 = r.IntN(4) == 0, r.IntN(4) == 0
	return p
}

// sharedProducts makes operands for as many random products of one A.
func sharedProducts(t *testing.T, r *rand.Rand, random func(r *rand.Rand) product, count int) (a Data, products []Product) {
	first := random(r)
	first.LDA = first.K + first.padA
	rows, cols := first.M, first.K
	if first.TransA {
		first.LDA = first.M + first.padA
		rows, cols = cols, rows
	}
	a = matrix(t, r, first.aBF16, rows, cols, first.LDA)
	for range count {
		p := random(r)
		p.TransA, p.M, p.K, p.LDA = first.TransA, first.M, first.K, first.LDA
		p.LDB, p.LDC = p.N+p.padB, p.N+p.padC
		rows, cols := p.K, p.N
		if p.TransB {
			p.LDB = p.K + p.padB
			rows, cols = cols, rows
		}
		products = append(products, Product{Spec: p.Spec, C: matrix(t, r, p.cBF16, p.M, p.N, p.LDC), B: matrix(t, r, p.bBF16, rows, cols, p.LDB)})
	}
	return a, products
}

// clone copies the products' results.
func clone(t *testing.T, products []Product) []Product {
	c := slices.Clone(products)
	for i := range c {
		c[i].C = c[i].C.clone(t)
	}
	return c
}

func TestPackingBesideProducts(t *testing.T) {
	besideEngines(t, func(t *testing.T, e *engine) {
		r := rand.New(rand.NewPCG(15, 16))
		for range fewer(25) {
			besideProduct(r).run(t, e, r)
		}
	})
}

// TestPackingBesideChangesNothing compares with an engine that packs first and multiplies then, alone and together with other products.
func TestPackingBesideChangesNothing(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	besideEngines(t, func(t *testing.T, e *engine) {
		plain := *e
		plain.beside = nil
		r := rand.New(rand.NewPCG(17, 18))
		for range fewer(60) {
			a, products := sharedProducts(t, r, besideProduct, 1+r.IntN(3))
			runtime.GOMAXPROCS(1 + r.IntN(3))
			with, without := clone(t, products), clone(t, products)
			mulShared(e, ComputeF32, a, with)
			mulShared(&plain, ComputeF32, a, without)
			for i := range products {
				if !sameBits(with[i].C, without[i].C) {
					t.Fatalf("%v, product %d of %d", products[i].Spec, i, len(products))
				}
			}
			unguard()
		}
	})
}
