package gemm

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
)

// trainingShapes are the products of a step: SmolLM2-135M at 512 tokens, its head, LoRA of rank 16, a 1B model's
// feed-forward, and generation.
var trainingShapes = []struct {
	name           string
	transA, transB bool
	m, n, k        int
}{
	{"square", false, true, 1024, 1024, 1024},
	{"up", false, true, 512, 1536, 576},
	{"down", false, true, 512, 576, 1536},
	{"kv", false, true, 512, 192, 576},
	{"up_dX", false, false, 512, 576, 1536},
	{"down_dX", false, false, 512, 1536, 576},
	{"up_dW", true, false, 1536, 576, 512},
	{"down_dW", true, false, 576, 1536, 512},
	{"loraA", false, true, 512, 16, 576},
	{"loraB", false, true, 512, 576, 16},
	{"lora_dA", true, false, 16, 576, 512},
	{"lora_dB", true, false, 576, 16, 512},
	{"lora_dT", false, false, 512, 16, 576},
	{"lora_dX", false, false, 512, 576, 16},
	{"loraA_1B", false, true, 512, 16, 2048},
	{"head", false, true, 128, 49152, 576},
	{"head_dX", false, false, 128, 576, 49152},
	{"head_dW", true, false, 49152, 576, 128},
	{"up_1B", false, true, 512, 8192, 2048},
	{"down_1B", false, true, 512, 2048, 8192},
	{"batch16", false, true, 16, 1536, 576},
	{"batch8", false, true, 8, 1536, 576},
	{"gemv", false, true, 1, 1536, 576},
	{"gemv_1B", false, true, 1, 8192, 2048},
	{"gemv_head", false, true, 1, 49152, 576},
	{"gemvN_1B", false, false, 1, 8192, 2048},
}

// BenchmarkMul reports the GFLOP/s of the fastest iteration, which other programs disturb least, and as %peak its share
// of what the same number of cores reaches at most.
func BenchmarkMul(b *testing.B) {
	peaks := [2]float64{PeakF32(), PeakBF16()}
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range trainingShapes {
		spec := Spec{TransA: s.transA, TransB: s.transB, M: s.m, N: s.n, K: s.k, LDA: s.k, LDB: s.n, LDC: s.n, Alpha: 1}
		if s.transA {
			spec.LDA = s.m
		}
		if s.transB {
			spec.LDB = s.k
		}
		fill := func(n int) (f, h Data) {
			f.F32, h.BF16 = make([]float32, n), make([]uint16, n)
			for i := range f.F32 {
				f.F32[i] = r.Float32() - 0.5
				h.BF16[i] = round(f.F32[i])
			}
			return f, h
		}
		a, ah := fill(s.m * s.k)
		w, wh := fill(s.n * s.k)
		c, ch := fill(s.m * s.n)
		for _, v := range []struct {
			name    string
			p       Precision
			c, a, b Data
		}{
			{"f32", ComputeF32, c, a, w},
			{"bf16", ComputeBF16, c, ah, wh},
			{"bf16out", ComputeBF16, ch, ah, wh},
			{"round", ComputeBF16, c, a, w},
			{"frozen", ComputeF32, c, a, wh},
		} {
			b.Run(fmt.Sprintf("%s/%s", s.name, v.name), func(b *testing.B) {
				best := time.Hour
				for b.Loop() {
					start := time.Now()
					Mul(spec, v.p, v.c, v.a, v.b, Data{})
					best = min(best, time.Since(start))
				}
				flops := 2 * float64(s.m) * float64(s.n) * float64(s.k) / float64(best.Nanoseconds())
				b.ReportMetric(flops, "GFLOP/s")
				b.ReportMetric(100*flops/peaks[v.p]/float64(runtime.GOMAXPROCS(0)), "%peak")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}
