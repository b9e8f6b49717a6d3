package gemm

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// BenchmarkCold is products as a model meets them: no operand is in a cache, because as many others came before. First generation's,
// of few rows, then a training step's, with LoRA's. The bytes are those of B, or of A in LoRA's gradients.
func BenchmarkCold(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	order := map[bool]string{false: "N", true: "T"}
	type shape struct {
		transA, transB bool
		m, n, k        int
	}
	var shapes []shape
	for _, m := range []int{1, 2, 4, 5, 8, 16, 24, 32, 48, 64, 96, 512} {
		shapes = append(shapes, shape{false, true, m, 1536, 576}, shape{false, true, m, 576, 1536})
	}
	shapes = append(shapes, shape{false, false, 512, 576, 1536}, shape{false, false, 512, 1536, 576},
		shape{true, false, 1536, 16, 512}, shape{true, false, 576, 16, 512}, shape{true, false, 16, 576, 512}, shape{true, false, 16, 1536, 512},
		shape{false, true, 512, 16, 576}, shape{false, true, 512, 16, 1536}, shape{false, false, 512, 16, 576}, shape{false, false, 512, 16, 1536},
		shape{false, true, 512, 576, 16}, shape{false, true, 512, 1536, 16}, shape{false, false, 512, 576, 16}, shape{false, false, 512, 1536, 16})
	for _, s := range shapes {
		const room = 128 << 20 // words, more than a cache holds
		sets := min(64, room/(s.m*s.k+s.n*s.k+s.m*s.n))
		x, w, y := make([]float32, sets*s.m*s.k), make([]float32, sets*s.n*s.k), make([]float32, sets*s.m*s.n)
		for _, v := range [][]float32{x, w} {
			for i := range v {
				v[i] = r.Float32() - 0.5
			}
		}
		spec := Spec{TransA: s.transA, TransB: s.transB, M: s.m, N: s.n, K: s.k, LDA: s.k, LDB: s.n, LDC: s.n, Alpha: 1}
		if s.transA {
			spec.LDA = s.m
		}
		if s.transB {
			spec.LDB = s.k
		}
		b.Run(fmt.Sprintf("%s%s_%dx%dx%d", order[s.transA], order[s.transB], s.m, s.n, s.k), func(b *testing.B) {
			best := time.Hour
			for b.Loop() {
				start := time.Now()
				for i := range sets {
					F32(spec, y[i*s.m*s.n:], x[i*s.m*s.k:], w[i*s.n*s.k:], nil)
				}
				best = min(best, time.Since(start))
			}
			b.ReportMetric(float64(4*sets*max(s.n, s.m)*s.k)/float64(best.Nanoseconds()), "GB/s")
			b.ReportMetric(2*float64(sets*s.n*s.k*s.m)/float64(best.Nanoseconds()), "GFLOP/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}
