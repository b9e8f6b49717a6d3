package gemm

import (
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
)

// eachHalfEngine runs f for every engine that multiplies halves. Where the CPU has none, the products that it would take are those of
// ComputeBF16, which other tests hold.
func eachHalfEngine(t *testing.T, f func(t *testing.T, e *engine)) {
	if !slices.ContainsFunc(engines, func(e engine) bool { return e.half != nil }) {
		t.Skip("no engine multiplies halves: that takes an Intel CPU with AVX512-FP16, and assembly")
	}
	eachEngine(t, func(t *testing.T, e *engine) {
		if e.half != nil {
			f(t, e)
		}
	})
}

// roundHalf rounds to float16, to nearest even; |x| is at most 65504.
func roundHalf(x float64) float64 {
	const smallest = 1.0 / (1 << 24) // and the distance of all numbers below 2⁻¹⁴
	if math.Abs(x) < 1.0/(1<<14) {
		return math.RoundToEven(x/smallest) * smallest
	}
	const dropped = 52 - 10
	u := math.Float64bits(x)
	return math.Float64frombits((u + 1<<(dropped-1) - 1 + u>>dropped&1) >> dropped << dropped)
}

// halfProducts is the product as half.go describes it, in plain Go: blocks of k, pairs of chunks of float16 sums, float32 sums of those.
//
//go:norace
func halfProducts(block int, x, y [][]float64) (c []float32) {
	for _, x := range x {
		for _, y := range y {
			c = append(c, halfProduct(block, x, y))
		}
	}
	return c
}

//go:norace
func halfProduct(block int, x, y []float64) (c float32) {
	block = even(len(x), block, halfChunk)
	for start := 0; start < len(x); start += block {
		a, scaleA := scaled(x[start:min(len(x), start+block)])
		b, scaleB := scaled(y[start:min(len(x), start+block)])
		chunk := func(first int) (s float64) {
			for k := first; k < min(len(a), first+halfChunk); k++ {
				s = roundHalf(s + a[k]*b[k]) // exact in float64 before it is rounded
			}
			return s
		}
		var sum float32
		for first := 0; first < len(a); first += 2 * halfChunk {
			sum += float32(roundHalf(chunk(first) + chunk(first+halfChunk)))
		}
		c += sum * (scaleA * scaleB)
	}
	return c
}

func scaled(x []float64) (out []float64, undo float32) {
	var largest uint16
	for _, v := range x {
		largest = max(largest, round(float32(math.Abs(v))))
	}
	scale, undo := halfScale(largest)
	for _, v := range x {
		out = append(out, roundHalf(v*float64(scale)))
	}
	return out, undo
}

// halfCase is a product of bfloat16 matrices whose rows and columns have magnitudes of their own, and elements some powers of two apart.
func halfCase(t *testing.T, r *rand.Rand, s Spec) (Spec, Data, Data, [][]float64, [][]float64) {
	rows, cols := 2*r.IntN(20), 2*r.IntN(20)
	within := r.IntN(3) * 12
	fill := func(trans bool, n, k, spread int) (Data, int) {
		ld := k + r.IntN(3)
		lane := func(i int) int { return i / ld }
		stored := n
		if trans {
			ld = n + r.IntN(3)
			lane = func(i int) int { return i % ld }
			stored = k
		}
		d := matrix(t, r, true, stored, max(1, ld), max(1, ld))
		size := make([]int, ld+n)
		for i := range size {
			size[i] = r.IntN(spread+1) - spread/2
		}
		for i := range d.BF16 {
			v := math.Ldexp(float64(widen(d.BF16[i])), size[lane(i)]-r.IntN(within+1))
			d.BF16[i] = round(float32(v))
		}
		return d, ld
	}
	a, lda := fill(s.TransA, s.M, s.K, rows)
	b, ldb := fill(!s.TransB, s.N, s.K, cols)
	s.LDA, s.LDB = lda, ldb
	return s, a, b, lanes(a, lda, s.M, s.K, !s.TransA, ComputeBF16), lanes(b, ldb, s.N, s.K, s.TransB, ComputeBF16)
}

// TestHalvesAreAsDescribed holds products of halves against plain Go, bit for bit, with 1 to 3 threads.
func TestHalvesAreAsDescribed(t *testing.T) {
	eachHalfEngine(t, func(t *testing.T, e *engine) {
		r := rand.New(rand.NewPCG(7, 8))
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
		shapes := [][3]int{{33, 65, 64}, {40, 66, 65}, {47, 96, 95}, {57, 128, 96}, {70, 97, 129}, {45, 161, 577}, {113, 80, 600}, {36, 223, 1153}}
		for i, shape := range shapes {
			for trans := range 4 {
				s := Spec{M: shape[0], N: shape[1], K: shape[2], TransA: trans&1 != 0, TransB: trans&2 != 0, Alpha: 1, LDC: shape[1] + i%3}
				s, a, b, x, y := halfCase(t, r, s)
				want := halfProducts(e.halfBlock, x, y)
				for procs := 1; procs <= 3; procs++ {
					runtime.GOMAXPROCS(procs)
					c := matrix(t, r, false, s.M, s.N, s.LDC)
					h := matrix(t, r, true, s.M, s.N, s.LDC)
					mul(e, s, ComputeBF16Reduced, c, a, b, Data{})
					mul(e, s, ComputeBF16Reduced, h, a, b, Data{})
					for row := range s.M {
						for col := range s.N {
							want := want[row*s.N+col]
							if got := c.F32[row*s.LDC+col]; got != want {
								t.Fatalf("%+v: C[%d,%d] is %v, want %v", s, row, col, got, want)
							}
							if got := h.BF16[row*s.LDC+col]; got != round(want) && math.Abs(float64(want)) > 1e-37 {
								t.Fatalf("%+v: C[%d,%d] is %v in bfloat16, want %v", s, row, col, widen(got), want)
							}
						}
						for i := s.N; i < s.LDC && row < s.M-1; i++ {
							if !math.IsNaN(float64(c.F32[row*s.LDC+i])) || !math.IsNaN(float64(h.value(row*s.LDC+i))) {
								t.Fatalf("%+v: wrote into the padding of row %d", s, row)
							}
						}
					}
				}
				unguard()
			}
		}
	})
}

// TestHalvesEndAsOthersDo holds what becomes of the sums, with alpha, beta, bias and either type of C, against [ComputeBF16], for small whole
// numbers, of which neither loses any digit.
func TestHalvesEndAsOthersDo(t *testing.T) {
	eachHalfEngine(t, func(t *testing.T, e *engine) {
		r := rand.New(rand.NewPCG(9, 10))
		for range 60 {
			p := randomProduct(r)
			s := p.Spec
			s.M, s.N, s.K = 33+r.IntN(40), 65+r.IntN(100), 64+r.IntN(200)
			s.LDA, s.LDB, s.LDC = s.K, s.N, s.N+r.IntN(3)
			if s.TransA {
				s.LDA = s.M
			}
			if s.TransB {
				s.LDB = s.K
			}
			whole := func(n int) Data {
				h := halves(t, n)
				for i := range h {
					h[i] = round(float32(r.IntN(5) - 2))
				}
				return Data{BF16: h}
			}
			a, b := whole(s.M*s.K), whole(s.K*s.N)
			c := whole(s.M * s.LDC)
			if !p.cBF16 {
				c = widened(c)
			}
			var bias Data
			if p.bias {
				if bias = whole(s.N); r.IntN(2) == 0 {
					bias = widened(bias)
				}
			}
			want, got := c.clone(t), c.clone(t)
			mul(e, s, ComputeBF16, want, a, b, bias)
			mul(e, s, ComputeBF16Reduced, got, a, b, bias)
			for i := range got.length() {
				if g, w := got.value(i), want.value(i); g != w && !(g != g && w != w) {
					t.Fatalf("%+v bias=%v bf16=%v: element %d is %v, want %v", s, p.bias, p.cBF16, i, g, w)
				}
			}
			unguard()
		}
	})
}

func widened(d Data) (f Data) {
	for _, h := range d.BF16 {
		f.F32 = append(f.F32, widen(h))
	}
	return f
}

// TestHalvesAreAsPreciseAsBF16: the error is less than that of rounding the product to bfloat16, for normal values, for values of one
// sign, and where some columns of k are a thousand times the others, as in the activations of language models.
func TestHalvesAreAsPreciseAsBF16(t *testing.T) {
	eachHalfEngine(t, func(t *testing.T, e *engine) {
		r := rand.New(rand.NewPCG(11, 12))
		for name, value := range map[string]func(k int) float64{
			"normal":   func(int) float64 { return r.NormFloat64() },
			"positive": func(int) float64 { return r.Float64() },
			"outliers": func(k int) float64 {
				if k%97 == 0 {
					return 1000 * r.NormFloat64()
				}
				return r.NormFloat64()
			},
		} {
			for _, k := range []int{64, 576, 1536, 8192} {
				s := Spec{M: 64, N: 96, K: k, LDA: k, LDB: k, LDC: 96, TransB: true, Alpha: 1}
				a, b := Data{BF16: make([]uint16, s.M*k)}, Data{BF16: make([]uint16, s.N*k)}
				for i := range a.BF16 {
					a.BF16[i] = round(float32(value(i % k)))
				}
				for i := range b.BF16 {
					b.BF16[i] = round(float32(r.NormFloat64()))
				}
				c := make([]float32, s.M*s.N)
				mul(e, s, ComputeBF16Reduced, Data{F32: c}, a, b, Data{})
				x, y := lanes(a, k, s.M, k, true, ComputeBF16), lanes(b, k, s.N, k, true, ComputeBF16)
				var ours, rounding, norm float64
				for i, got := range c {
					want := 0.0
					for q, v := range x[i/s.N] {
						want += v * y[i%s.N][q]
					}
					ours += math.Pow(float64(got)-want, 2)
					rounding += math.Pow(float64(widen(round(float32(want))))-want, 2)
					norm += want * want
				}
				t.Logf("%-8s %5d deep: error %.2g of the norm, rounding to bfloat16 %.2g", name, k, math.Sqrt(ours/norm), math.Sqrt(rounding/norm))
				if ours > 0.7*0.7*rounding {
					t.Errorf("%s, %d deep: error %.3g of the norm, rounding to bfloat16 makes %.3g", name, k, math.Sqrt(ours/norm), math.Sqrt(rounding/norm))
				}
			}
		}
	})
}

// TestHalvesKeepNaNAndInf: what is not a number stays in its row or column, and finite values beside it stay exact.
func TestHalvesKeepNaNAndInf(t *testing.T) {
	eachHalfEngine(t, func(t *testing.T, e *engine) {
		for trans := range 4 {
			for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
				s := Spec{M: 40, N: 70, K: 100, TransA: trans&1 != 0, TransB: trans&2 != 0, LDA: 100, LDB: 70, LDC: 70, Alpha: 1}
				at := func(trans bool, i, j, rows, cols int) int {
					if trans {
						return j*rows + i
					}
					return i*cols + j
				}
				if s.TransA {
					s.LDA = s.M
				}
				if s.TransB {
					s.LDB = s.K
				}
				for inB := range 2 {
					ones := func(n int) Data {
						h := make([]uint16, n)
						for i := range h {
							h[i] = round(1)
						}
						return Data{BF16: h}
					}
					a, b, c := ones(s.M*s.K), ones(s.K*s.N), make([]float32, s.M*s.N)
					if inB == 1 {
						b.BF16[at(s.TransB, 99, 41, s.K, s.N)] = round(float32(bad))
					} else {
						a.BF16[at(s.TransA, 39, 98, s.M, s.K)] = round(float32(bad))
					}
					mul(e, s, ComputeBF16Reduced, Data{F32: c}, a, b, Data{})
					for i, v := range c {
						hit := i/s.N == 39 && inB == 0 || i%s.N == 41 && inB == 1
						if wrong := v != 100; wrong != hit || hit && !math.IsNaN(bad) && float64(v) != bad {
							t.Fatalf("%+v, %v in operand %d: C[%d,%d] is %v", s, bad, inB, i/s.N, i%s.N, v)
						}
					}
				}
			}
		}
	})
}
