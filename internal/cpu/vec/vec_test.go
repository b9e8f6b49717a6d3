package vec

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/mltrain/mltrain/internal/quant"
	"github.com/mltrain/mltrain/internal/tensor"
)

// levels are the instruction sets of this machine.
func levels() []*Ops {
	var l []*Ops
	for level := LevelPortable; level <= Best(LevelAVX512).Level; level++ {
		l = append(l, Best(level))
	}
	return l
}

// each runs f for every instruction set and lengths with all tails.
func each(t *testing.T, f func(t *testing.T, o *Ops, n int, rng *rand.Rand)) {
	for _, o := range levels() {
		for n := range 140 {
			t.Run(fmt.Sprintf("%v/%d", o.Level, n), func(t *testing.T) {
				f(t, o, n, rand.New(rand.NewPCG(uint64(n), 1)))
			})
		}
	}
}

func random(t *testing.T, rng *rand.Rand, n int) []float32 {
	x := guarded(t, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

func near(t *testing.T, what string, got, want, tol float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tol*(1+math.Abs(want))) && got != want && (got == got || want == want) {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func TestReductions(t *testing.T) {
	each(t, func(t *testing.T, o *Ops, n int, rng *rand.Rand) {
		x, y, w := random(t, rng, n), random(t, rng, n), random(t, rng, n)
		var dot, sum, sq, dev, s1, s2 float64
		top := math.Inf(-1)
		for i, v := range x {
			a, b, c := float64(v), float64(y[i]), float64(w[i])
			dot += a * b
			sum += a
			sq += a * a
			dev += (a - 0.5) * (a - 0.5)
			top = math.Max(top, a)
			s1 += a * c
			s2 += a * c * (b - 0.5) * 2
		}
		tol := 1e-6 * float64(n+1)
		near(t, "dot", float64(o.Dot(x, y)), dot, tol)
		near(t, "sum", float64(o.Sum(x)), sum, tol)
		near(t, "sumsq", float64(o.SumSq(x)), sq, tol)
		near(t, "sumsqdev", float64(o.SumSqDev(x, 0.5)), dev, tol)
		near(t, "max", float64(o.Max(x)), top, 0)
		g1, g2 := o.NormDots(x, y, w, 0.5, 2)
		near(t, "norm dots 1", float64(g1), s1, tol)
		near(t, "norm dots 2", float64(g2), s2, tol)
		e, want := guarded(t, n), 0.0
		got := o.ExpSum(e, x, 1)
		for i, v := range x {
			want += math.Exp(float64(v) - 1)
			near(t, "exp", float64(e[i]), math.Exp(float64(v-1)), 3e-7)
		}
		near(t, "expsum", float64(got), want, tol)
		for i := range x {
			x[i] = -1 - float32(i)
		}
		if n > 0 {
			near(t, "max of negative numbers", float64(o.Max(x)), -1, 0)
		}
	})
}

// special are the arguments where functions change branch or fail.
func special() []float32 {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	x := []float32{0, inf, -inf, nan, 1e-30, -1e-30, 1e-8, 88.7, 88.73, 89.5, -87.3, -87.4, -100, -103.9, -104.1, 1e30, -1e30,
		math.MaxFloat32, 0.65, 0.6499, -0.65, 1, -1, 0.99, 1.01, 4, 4.1, -4.1}
	for v := float32(-12); v < 12; v += 0.037 {
		x = append(x, v)
	}
	return x
}

func TestFunctions(t *testing.T) {
	for _, o := range levels() {
		for name, c := range map[string]struct {
			f       func(y, x []float32, k float32)
			want    func(x float64) float64
			tol     float64
			largest float32 // beyond which the float32 formula overflows
		}{
			"silu":     {o.SiLU, func(x float64) float64 { return x / (1 + math.Exp(-x)) }, 3e-7, math.MaxFloat32},
			"gelu":     {o.GELU, func(x float64) float64 { return 0.5 * x * math.Erfc(-x/math.Sqrt2) }, 6e-7, math.MaxFloat32},
			"gelutanh": {o.GELUTanh, func(x float64) float64 { return x / (1 + math.Exp(-2*math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x))) }, 6e-7, 1e10},
			"relu":     {o.ReLU, func(x float64) float64 { return math.Max(x, 0) }, 0, float32(math.Inf(1))},
			"tanh":     {o.Tanh, math.Tanh, 2e-7, float32(math.Inf(1))},
			"sigmoid":  {o.Sigmoid, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, 2e-7, float32(math.Inf(1))},
			"softcap":  {o.Softcap, func(x float64) float64 { return 3 * math.Tanh(x/3) }, 4e-7, float32(math.Inf(1))},
		} {
			x := special()
			y := make([]float32, len(x))
			c.f(y, x, 3)
			for i, v := range x {
				if v > c.largest || v < -c.largest {
					continue
				}
				near(t, fmt.Sprintf("%v: %s(%v)", o.Level, name, v), float64(y[i]), c.want(float64(v)), c.tol)
			}
		}
	}
}

// Small numbers keep their relative accuracy.
func TestSmallTanh(t *testing.T) {
	for _, o := range levels() {
		x := []float32{1e-6, -3e-4, 0.01, 0.3}
		y := make([]float32, len(x))
		o.Tanh(y, x, 0)
		for i, v := range x {
			if want := math.Tanh(float64(v)); math.Abs(float64(y[i])-want) > 2e-7*math.Abs(want) {
				t.Errorf("%v: tanh(%v) = %v, want %v", o.Level, v, y[i], want)
			}
		}
	}
}

func TestExp(t *testing.T) {
	for _, o := range levels() {
		x := special()
		y := make([]float32, len(x))
		o.ExpSum(y, x, 0)
		for i, v := range x {
			want, got := math.Exp(float64(v)), float64(y[i])
			switch {
			case v != v:
				if got == got {
					t.Errorf("%v: exp(NaN) = %v", o.Level, got)
				}
			case float64(float32(want)) != got && !(math.Abs(got-want) <= 2.5e-7*want+2e-38):
				t.Errorf("%v: exp(%v) = %v, want %v", o.Level, v, got, want)
			}
		}
	}
}

// What has no simple formula, and derivatives, which the conformance suite tests against float64, is compared with the
// portable loops.
func TestAgainstPortable(t *testing.T) {
	p := portable()
	each(t, func(t *testing.T, o *Ops, n int, _ *rand.Rand) {
		in := func(i int) []float32 { return random(t, rand.New(rand.NewPCG(uint64(n), uint64(i))), n) }
		type result = [][]float32
		for name, f := range map[string]func(o *Ops) result{
			"add":      func(o *Ops) result { y := in(0); o.Add(y, in(1), in(2)); return result{y} },
			"sub":      func(o *Ops) result { y := in(0); o.Sub(y, in(1), in(2)); return result{y} },
			"mul":      func(o *Ops) result { y := in(0); o.Mul(y, in(1), in(2)); return result{y} },
			"muladd":   func(o *Ops) result { y := in(0); o.MulAdd(y, in(1), in(2)); return result{y} },
			"scale":    func(o *Ops) result { y := in(0); o.Scale(y, in(1), 1.7); return result{y} },
			"axpy":     func(o *Ops) result { y := in(0); o.Axpy(y, in(1), 1.7); return result{y} },
			"addconst": func(o *Ops) result { y := in(0); o.AddConst(y, in(1), 1.7); return result{y} },
			"swiglu":   func(o *Ops) result { y := in(0); o.SwiGLU(y, in(1), in(2)); return result{y} },
			"swiglu bwd in place": func(o *Ops) result {
				gate, up := in(1), in(2)
				o.SwiGLUBwd(gate, up, in(3), gate, up)
				return result{gate, up}
			},
			"norm":     func(o *Ops) result { y := in(0); o.Norm(y, in(1), in(2), 0.3, 1.5); return result{y} },
			"norm bwd": func(o *Ops) result { y := in(0); o.NormBwd(y, y, in(2), in(3), 0.3, 1.5, 0.1, -0.2); return result{y} },
			"norm dw":  func(o *Ops) result { y := in(0); o.NormBwdW(y, in(1), in(2), 0.3, 1.5); return result{y} },
			"rotate": func(o *Ops) result {
				x1, x2 := in(1), in(2)
				o.Rotate(x1, x2, x1, x2, in(3), in(4), -1)
				return result{x1, x2}
			},
			"adamw": func(o *Ops) result {
				w, m, v := in(0), in(1), in(2)
				for i := range v {
					v[i] *= v[i]
				}
				o.AdamW(w, m, v, in(3), AdamArgs{0.5, 0.01, 0.02, 0.9, 0.1, 0.99, 0.01, 0.1, 0.7, 1e-8})
				return result{w, m, v}
			},
			"silu bwd":     func(o *Ops) result { y := in(0); o.SiLUBwd(y, y, in(1), 0); return result{y} },
			"gelu bwd":     func(o *Ops) result { y := in(0); o.GELUBwd(y, y, in(1), 0); return result{y} },
			"gelutanh bwd": func(o *Ops) result { y := in(0); o.GELUTanhBwd(y, y, in(1), 0); return result{y} },
			"relu bwd":     func(o *Ops) result { y := in(0); o.ReLUBwd(y, y, in(1), 0); return result{y} },
			"tanh bwd":     func(o *Ops) result { y := in(0); o.TanhBwd(y, y, in(1), 0); return result{y} },
			"sigmoid bwd":  func(o *Ops) result { y := in(0); o.SigmoidBwd(y, y, in(1), 0); return result{y} },
			"softcap bwd":  func(o *Ops) result { y := in(0); o.SoftcapBwd(y, y, in(1), 2); return result{y} },
		} {
			got, want := f(o), f(p)
			for i := range want {
				for j := range want[i] {
					near(t, fmt.Sprintf("%s: %d.%d", name, i, j), float64(got[i][j]), float64(want[i][j]), 2e-6)
				}
			}
		}
	})
}

func TestTiles(t *testing.T) {
	inf := float32(math.Inf(-1))
	p := portable()
	for _, o := range levels() {
		for _, n := range []int{16, 32, 48, 64} {
			for _, rows := range []int{1, 2, 5, 8, 13, 64} {
				t.Run(fmt.Sprintf("%v/%dx%d", o.Level, rows, n), func(t *testing.T) {
					rng := rand.New(rand.NewPCG(uint64(n), uint64(rows)))
					s, m, l, alpha := random(t, rng, rows*n), random(t, rng, n), random(t, rng, n), random(t, rng, n)
					m[3], m[5] = inf, inf
					for j := range rows {
						s[j*n+3], s[j*n+4] = inf, inf
					}
					clone := func(x []float32) []float32 { return append([]float32(nil), x...) }
					check := func(what string, x, y []float32) {
						t.Helper()
						for i := range y {
							near(t, fmt.Sprintf("%s element %d", what, i), float64(x[i]), float64(y[i]), 4e-6)
						}
					}
					s2, m2, l2, alpha2 := clone(s), clone(m), clone(l), clone(alpha)
					o.SoftmaxTile(s, rows, n, m, l, alpha)
					p.SoftmaxTile(s2, rows, n, m2, l2, alpha2)
					check("s", s, s2)
					check("m", m, m2)
					check("l", l, l2)
					check("alpha", alpha, alpha2)
					d := random(t, rng, rows*n)
					d2 := clone(d)
					o.ScoreGradTile(d, s2, rows, n, l2)
					p.ScoreGradTile(d2, s2, rows, n, l2)
					check("d", d, d2)
					e := clone(d2)
					o.ExpTile(e, rows, n, alpha2)
					p.ExpTile(d2, rows, n, alpha2)
					check("e", e, d2)
					for _, k := range []int{0, 1, 7, 64} {
						for _, trans := range []bool{false, true} {
							for _, acc := range []bool{false, true} {
								rs, cs := k+3, 1
								if trans {
									rs, cs = 1, rows+2
								}
								sizeA, sizeB := 0, 0
								if k > 0 {
									sizeA, sizeB = (rows-1)*rs+(k-1)*cs+1, (k-1)*(n+1)+n
								}
								a, b, c := random(t, rng, sizeA), random(t, rng, sizeB), random(t, rng, (rows-1)*(n+2)+n)
								c2 := clone(c)
								o.Tile(c, n+2, a, rs, cs, b, n+1, rows, n, k, acc)
								p.Tile(c2, n+2, a, rs, cs, b, n+1, rows, n, k, acc)
								check(fmt.Sprintf("tile k=%d trans=%v acc=%v", k, trans, acc), c, c2)
							}
						}
					}
				})
			}
		}
	}
}

// Every instruction set moves all elements, and only those.
func TestTransposeAndScaleRows(t *testing.T) {
	for _, o := range levels() {
		for _, rows := range []int{0, 16, 32, 80} {
			for _, cols := range []int{0, 16, 48, 64} {
				rng := rand.New(rand.NewPCG(uint64(rows), uint64(cols)))
				ldx, ldy := cols+5, rows+3
				x, y := random(t, rng, max(0, (rows-1)*ldx+cols)), random(t, rng, max(0, (cols-1)*ldy+rows))
				old := slices.Clone(y)
				o.Transpose(y, ldy, x, ldx, rows, cols)
				for j := range y {
					want := old[j]
					if i := j % ldy; i < rows && cols > 0 {
						want = x[i*ldx+j/ldy]
					}
					if y[j] != want {
						t.Fatalf("%v: %d×%d transposed: element %d is %v, want %v", o.Level, rows, cols, j, y[j], want)
					}
				}
				k := random(t, rng, rows)
				old = slices.Clone(x)
				o.ScaleRows(x, ldx, k, rows, cols)
				for j := range x {
					want := old[j]
					if j%ldx < cols {
						want *= k[j/ldx]
					}
					if x[j] != want {
						t.Fatalf("%v: %d×%d scaled: element %d is %v, want %v", o.Level, rows, cols, j, x[j], want)
					}
				}
			}
		}
	}
}

func TestBF16(t *testing.T) {
	for _, o := range levels() {
		x := append(special(), math.Float32frombits(0x7f800001), math.Float32frombits(0xff800001), 1+1.0/256, 1+3.0/256,
			math.Float32frombits(1), math.MaxFloat32)
		h, back := make([]uint16, len(x)), make([]float32, len(x))
		o.ToBF16(h, x)
		o.FromBF16(back, h)
		for i, v := range x {
			if h[i] != BF16(v) {
				t.Errorf("%v: %v becomes %#04x, want %#04x", o.Level, v, h[i], BF16(v))
			}
			if b := FromBF16Bits(h[i]); math.Float32bits(back[i]) != math.Float32bits(b) {
				t.Errorf("%v: %#04x becomes %v, want %v", o.Level, h[i], back[i], b)
			}
		}
	}
}

// TestInt8 holds rounding to whole numbers against float64, lengths with and without whole vectors, before a guard page.
func TestInt8(t *testing.T) {
	rng := rand.New(rand.NewPCG(41, 42))
	for _, o := range levels() {
		if m := o.MaxAbs([]float32{1, float32(math.NaN()), -3, 2}); m != 3 {
			t.Errorf("%v: the largest magnitude of 1, NaN, -3, 2 is %v", o.Level, m)
		}
		for n := range 70 {
			x := random(t, rng, n)
			raw := guardedBytes(t, n)
			y := unsafe.Slice((*int8)(unsafe.Pointer(unsafe.SliceData(raw))), n)
			var most float32
			for i := range x {
				if i%5 == 3 {
					x[i] = (float32(rng.IntN(9)) + 0.5) / 64 // halfway, to be rounded to even
				}
				most = max(most, float32(math.Abs(float64(x[i]))))
			}
			if m := o.MaxAbs(x); m != most {
				t.Fatalf("%v: the largest magnitude of %v is %v, not %v", o.Level, x, most, m)
			}
			o.ToInt8(y, x, 64)
			for i, v := range x {
				if want := max(-127, min(127, math.RoundToEven(float64(v)*64))); float64(y[i]) != want {
					t.Fatalf("%v: %d of %d: 64·%v becomes %d, not %v", o.Level, i, n, v, y[i], want)
				}
			}
		}
	}
}

// TestDotsNF4 holds products with a matrix in NF4 against float64: each number of rows, whose sums are the same bits whatever their number.
func TestDotsNF4(t *testing.T) {
	rng := rand.New(rand.NewPCG(51, 52))
	for _, o := range levels() {
		if o.DotsNF4 == nil {
			continue
		}
		for _, k := range []int{64, 128, 576} {
			for _, n := range []int{0, 1, 2, 7} {
				codes, scales := guardedBytes(t, n*k/2), random(t, rng, n*k/64)
				for i := range codes {
					codes[i] = byte(rng.Uint32())
				}
				values := make([]float32, n*k)
				quant.DecodeNF4(values, codes, scales, 0)
				x, turned := random(t, rng, NF4Rows*k), guarded(t, NF4Rows*k)
				EvenOdd(turned, x)
				first := guarded(t, n)
				for rows := 1; rows <= NF4Rows; rows++ {
					ldy := n + rows%3
					y := guarded(t, (rows-1)*ldy+n)
					o.DotsNF4(y, ldy, turned[:rows*k], rows, k, codes, scales)
					for r := range rows {
						for i := range n {
							var sum, size float64
							for j := range k {
								p := float64(x[r*k+j]) * float64(values[i*k+j])
								sum, size = sum+p, size+math.Abs(p)
							}
							if got := float64(y[r*ldy+i]); !(math.Abs(got-sum) <= 1e-6*size) {
								t.Fatalf("%v: row %d of %d, column %d of %d, %d deep: %v, want %v", o.Level, r, rows, i, n, k, got, sum)
							}
						}
					}
					if rows == 1 {
						copy(first, y)
					} else if n > 0 && !slices.Equal(first, y[:n]) {
						t.Fatalf("%v: the first of %d rows is %v, alone %v", o.Level, rows, y[:n], first)
					}
				}
			}
		}
	}
}

// guardedBF16 are n numbers at the very end of a page that is followed by one without access, as guarded's; most are of
// the size of activations, the others any bits.
func guardedBF16(t *testing.T, rng *rand.Rand, n int) []uint16 {
	b := guardedBytes(t, 2*n)
	x := unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(b))), n)
	for i := range x {
		x[i] = BF16(float32(rng.NormFloat64()))
		if rng.IntN(3) == 0 {
			x[i] = uint16(rng.Uint32())
		}
	}
	return x
}

// Loops on bfloat16 give the bits of conversions around the loops in float32, in place, too.
func TestBF16Loops(t *testing.T) {
	inf, nan := float32(math.Inf(1)), math.Float32frombits(0x7fffffff)
	args := AdamArgs{0.5, 0.01, 0.02, 0.9, 0.1, 0.99, 0.01, 0.1, 0.7, 1e-8}
	each(t, func(t *testing.T, o *Ops, n int, rng *rand.Rand) {
		wide := func(x []uint16) []float32 {
			y := make([]float32, len(x))
			o.FromBF16(y, x)
			return y
		}
		same := func(what string, got []uint16, want []float32) {
			t.Helper()
			for i, v := range want {
				if BF16(v) != got[i] {
					t.Fatalf("%s: element %d is %#04x, want %#04x of %v", what, i, got[i], BF16(v), v)
				}
			}
		}
		half := func() []uint16 { return guardedBF16(t, rng, n) }
		if o.AddBF16 != nil {
			a, b, y := half(), half(), make([]float32, n)
			o.Add(y, wide(a), wide(b))
			o.AddBF16(a, a, b)
			same("add", a, y)
		}
		if o.SwiGLUBF16 != nil {
			gate, up, y := half(), half(), make([]float32, n)
			h := half()
			o.SwiGLU(y, wide(gate), wide(up))
			o.SwiGLUBF16(h, gate, up)
			same("swiglu", h, y)
		}
		if o.SwiGLUBwdBF16 != nil {
			dy, gate, up, dg, du := half(), half(), half(), make([]float32, n), make([]float32, n)
			o.SwiGLUBwd(dg, du, wide(dy), wide(gate), wide(up))
			o.SwiGLUBwdBF16(gate, up, dy, gate, up)
			same("dgate", gate, dg)
			same("dup", up, du)
		}
		if o.RotateBF16 != nil {
			const heads = 3
			dim := 2*n + 5
			size := max(0, (heads-1)*dim+2*n)
			c, s := random(t, rng, n), random(t, rng, n)
			if n > 2 {
				c[1], s[2] = nan, inf
			}
			x := guardedBF16(t, rng, size)
			old, y := slices.Clone(x), wide(x)
			o.RotateBF16(x, x, c, s, -1, heads, dim)
			for head := range heads {
				at := head * dim
				p := y[at : at+2*n]
				o.Rotate(p[:n], p[n:], p[:n], p[n:], c, s, -1)
				same("rotate", x[at:], p)
				if end := at + dim; head < heads-1 && !slices.Equal(x[at+2*n:end], old[at+2*n:end]) {
					t.Fatalf("rotate changed what lies between heads %d and %d", head, head+1)
				}
			}
		}
		if o.AdamWBF16 != nil {
			w, m, v, g := random(t, rng, n), random(t, rng, n), random(t, rng, n), random(t, rng, n)
			if n > 2 {
				w[0], g[1], g[2] = nan, inf, 1e-45
			}
			w2, m2, v2, h := slices.Clone(w), slices.Clone(m), slices.Clone(v), half()
			o.AdamW(w2, m2, v2, g, args)
			o.AdamWBF16(w, m, v, h, g, args)
			same("adamw", h, w2)
			for i := range w {
				for _, p := range [][2]float32{{w[i], w2[i]}, {m[i], m2[i]}, {v[i], v2[i]}} {
					if math.Float32bits(p[0]) != math.Float32bits(p[1]) {
						t.Fatalf("adamw: element %d is %v, want %v", i, p[0], p[1])
					}
				}
			}
		}
	})
}

func TestBF16Rows(t *testing.T) {
	for _, o := range levels() {
		for _, rows := range []int{0, 1, 5} {
			for _, n := range []int{0, 16, 80} {
				ldx, ldy := n+3, n+2
				x, y := make([]uint16, rows*ldx), guarded(t, max(0, (rows-1)*ldy+n))
				for i := range x {
					x[i] = uint16(16000 + 7*i)
				}
				for i := range y {
					y[i] = -1
				}
				o.FromBF16Rows(y, ldy, x, ldx, rows, n)
				for j, got := range y {
					want := float32(-1)
					if j%ldy < n {
						want = FromBF16Bits(x[j/ldy*ldx+j%ldy])
					}
					if got != want {
						t.Fatalf("%v: %d×%d: element %d is %v, want %v", o.Level, rows, n, j, got, want)
					}
				}
			}
		}
	}
}

func TestHalf(t *testing.T) {
	for h := range 1 << 16 {
		v := FromF16Bits(uint16(h))
		if got := F16(v); v == v && got != uint16(h) {
			t.Fatalf("half %#04x is %v, which becomes %#04x", h, v, got)
		}
	}
}

// guardedBytes are n bytes before a page without access.
func guardedBytes(t *testing.T, n int) []byte {
	x := guarded(t, (n+3)/4)
	b := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
	return b[len(b)-n:]
}

// Every instruction set decodes to the bits of the codec, whatever the scale, the number of pairs and the bytes.
func TestNF4(t *testing.T) {
	scales := []float32{1, -1.7, 0, 0.013, 1e-38, 1e-45, 3e38, math.MaxFloat32, float32(math.Inf(1))}
	each(t, func(t *testing.T, o *Ops, n int, rng *rand.Rand) {
		codes := guardedBytes(t, n)
		for i := range codes {
			codes[i] = byte(rng.Uint32())
		}
		for _, k := range scales {
			y, want := guarded(t, 2*n), make([]float32, 2*n)
			for i := range want {
				quant.DecodeNF4(want[i:i+1], codes, slices.Repeat([]float32{k}, 5), i)
			}
			o.NF4(y, codes, k)
			for i := range want {
				if got, want := math.Float32bits(y[i]), math.Float32bits(want[i]); got != want {
					t.Fatalf("scale %g: element %d is %#08x, want %#08x", k, i, got, want)
				}
			}
		}
	})
}

func BenchmarkNF4(b *testing.B) {
	y, codes := make([]float32, 1<<13), make([]byte, 1<<12)
	for i := range codes {
		codes[i] = byte(i * 31)
	}
	for _, o := range levels() {
		b.Run(o.Level.String(), func(b *testing.B) {
			b.SetBytes(int64(len(codes)))
			for b.Loop() {
				for i := 0; i < len(codes); i += 32 { // a block at a time, as the backend does
					o.NF4(y[2*i:2*i+64], codes[i:], 0.3)
				}
			}
		})
	}
}

// Every instruction set gives exactly the stream of tensor.RNGKey, across the wrap of the counter's low word, too.
func TestKeep(t *testing.T) {
	key := tensor.RNGKey{Seed: 0xfedcba9876543210, Micro: 5, Op: 77}
	threshold := tensor.DropThreshold(0.4)
	each(t, func(t *testing.T, o *Ops, n int, _ *rand.Rand) {
		for _, first := range []uint64{0, 1, 6, 1000, 1<<34 - 8, 1<<34 - 257, 1<<34 + 3} {
			y := guarded(t, 3*n)
			o.Keep(y, key, first, threshold, 2)
			for i, v := range y {
				at := first + uint64(i)
				want := float32(2)
				if key.Philox(at / 4)[at%4] < threshold {
					want = 0
				}
				if v != want {
					t.Fatalf("from %d: element %d is %v, want %v", first, i, v, want)
				}
			}
		}
	})
}
