package gemm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"unsafe"
)

// product is one test case: a product in one mixture of storage.
type product struct {
	Spec
	compute             Precision
	aBF16, bBF16, cBF16 bool
	bias                bool
	bI8                 bool // B is int8 with scales
	padA, padB, padC    int
	reduced             bool // as tensor.GemmSpec.Reduced allows; half_test.go holds the bits
}

func (p product) String() string {
	return fmt.Sprintf("%d×%d×%d transA=%v transB=%v bf16(compute=%v a=%v b=%v c=%v) int8=%v alpha=%v beta=%v bias=%v pads=%d,%d,%d",
		p.M, p.N, p.K, p.TransA, p.TransB, p.compute, p.aBF16, p.bBF16, p.cBF16, p.bI8, p.Alpha, p.Beta, p.bias, p.padA, p.padB, p.padC)
}

func floats(t testing.TB, n int) []float32 {
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(guarded(t, 4*n)))), n)
}

func halves(t testing.TB, n int) []uint16 {
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(guarded(t, 2*n)))), n)
}

// matrix makes storage for rows×cols normal values before a guard page; the padding between rows is NaN.
func matrix(t testing.TB, r *rand.Rand, bf16 bool, rows, cols, ld int) Data {
	n := 0
	if rows > 0 && cols > 0 {
		n = (rows-1)*ld + cols
	}
	value := func(i int) float32 {
		if i%ld >= cols {
			return float32(math.NaN())
		}
		return float32(r.NormFloat64())
	}
	if bf16 {
		h := halves(t, n)
		for i := range h {
			h[i] = round(value(i))
		}
		return Data{BF16: h}
	}
	f := floats(t, n)
	for i := range f {
		f[i] = value(i)
	}
	return Data{F32: f}
}

func (d Data) value(i int) float32 {
	if d.BF16 != nil {
		return widen(d.BF16[i])
	}
	return d.F32[i]
}

// int8Matrix is matrix for int8: rows of all its values, each with a scale, before a guard page.
func int8Matrix(t testing.TB, r *rand.Rand, rows, cols, ld int) Data {
	n := (rows-1)*ld + cols
	raw := guarded(t, n)
	d := Data{I8: unsafe.Slice((*int8)(unsafe.Pointer(unsafe.SliceData(raw))), n), Scales: floats(t, rows)}
	for i := range d.I8 {
		d.I8[i] = int8(r.IntN(256))
	}
	for i := range d.Scales {
		d.Scales[i] = float32(r.NormFloat64()) / 128
	}
	return d
}

func (d Data) clone(t testing.TB) Data {
	if d.BF16 != nil {
		h := halves(t, len(d.BF16))
		copy(h, d.BF16)
		return Data{BF16: h}
	}
	f := floats(t, len(d.F32))
	copy(f, d.F32)
	return Data{F32: f}
}

// The race detector would make the reference, which shares nothing, take minutes: hence go:norace.

// lanes is op(X) as float64 rows of k values (columns of op(B)), rounded as the precision says.
//
//go:norace
func lanes(d Data, ld, n, k int, contig bool, p Precision) [][]float64 {
	out := make([][]float64, n)
	for i := range out {
		out[i] = make([]float64, k)
		for q := range out[i] {
			at := i*ld + q
			if !contig {
				at = q*ld + i
			}
			v := float32(0)
			if d.I8 != nil {
				v = float32(d.I8[at]) * d.Scales[i] // rounded as little as a product is
			} else {
				v = d.value(at)
			}
			if p != ComputeF32 {
				v = widen(round(v))
			}
			out[i][q] = float64(v)
		}
	}
	return out
}

// stored is how many rows and columns op(X)[rows,cols] is stored with.
func stored(trans bool, rows, cols int) (int, int) {
	if trans {
		return cols, rows
	}
	return rows, cols
}

// run checks the product against float64 with 1, 2 and 3 threads.
func (p product) run(t *testing.T, e *engine, r *rand.Rand) {
	t.Helper()
	defer unguard()
	ar, ac := stored(p.TransA, p.M, p.K)
	br, bc := stored(p.TransB, p.K, p.N)
	p.LDA, p.LDB, p.LDC = ac+p.padA, bc+p.padB, p.N+p.padC
	a := matrix(t, r, p.aBF16, ar, ac, max(1, p.LDA))
	var b Data
	if p.bI8 {
		b = int8Matrix(t, r, br, bc, p.LDB)
	} else {
		b = matrix(t, r, p.bBF16, br, bc, max(1, p.LDB))
	}
	c := matrix(t, r, p.cBF16, p.M, p.N, max(1, p.LDC))
	var bias Data
	if p.bias {
		bias = matrix(t, r, p.cBF16, 1, p.N, p.N)
	}
	if p.Beta == 0 { // C must not be read
		for i := range c.F32 {
			c.F32[i] = float32(math.NaN())
		}
		for i := range c.BF16 {
			c.BF16[i] = round(float32(math.NaN()))
		}
	}
	x, y := lanes(a, p.LDA, p.M, p.K, !p.TransA, p.compute), lanes(b, p.LDB, p.N, p.K, p.TransB, p.compute)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	var first Data
	for procs := 1; procs <= 3; procs++ {
		runtime.GOMAXPROCS(procs)
		got := c.clone(t)
		mul(e, p.Spec, p.compute, got, a, b, bias)
		if procs == 1 {
			first = got
			p.compare(t, got, c, bias, x, y)
		} else if !sameBits(first, got) {
			t.Fatalf("%s %v: %d threads differ from one", e.name, p, procs)
		}
	}
}

func sameBits(a, b Data) bool {
	return slices.Equal(a.BF16, b.BF16) &&
		slices.EqualFunc(a.F32, b.F32, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
}

//go:norace
func (p product) compare(t *testing.T, got, before, bias Data, x, y [][]float64) {
	t.Helper()
	for i := range got.length() {
		row, col := i/p.LDC, i%p.LDC
		if col >= p.N {
			if !math.IsNaN(float64(got.value(i))) {
				t.Fatalf("%v: wrote %v into the padding at [%d,%d]", p, got.value(i), row, col)
			}
			continue
		}
		var sum, size, xx, yy float64
		for k, v := range x[row] {
			sum += v * y[col][k]
			size += math.Abs(v * y[col][k])
			xx += v * v
			yy += y[col][k] * y[col][k]
		}
		sum *= float64(p.Alpha)
		size *= math.Abs(float64(p.Alpha))
		norms := math.Sqrt(xx*yy) * math.Abs(float64(p.Alpha))
		if p.Beta != 0 {
			sum += float64(p.Beta) * float64(before.value(i))
			size += math.Abs(float64(p.Beta) * float64(before.value(i)))
		}
		if p.bias {
			sum += float64(bias.value(col))
			size += math.Abs(float64(bias.value(col)))
		}
		// Random rounding errors grow like √K, and one more rounding makes a bfloat16.
		tolerance := 1e-7 * (2 + math.Sqrt(float64(p.K))/4) * size
		if p.reduced {
			tolerance += norms / 512
		}
		if p.cBF16 {
			tolerance += math.Abs(sum) / 256
		}
		if diff := math.Abs(float64(got.value(i)) - sum); !(diff <= tolerance+1e-30) {
			t.Fatalf("%v: [%d,%d] is %v, want %v ± %v", p, row, col, got.value(i), sum, tolerance)
		}
	}
}

// eachEngine runs f for every engine this CPU has, with its own blocking and with one so small that every loop of the
// blocking runs several times.
func eachEngine(t *testing.T, f func(t *testing.T, e *engine)) {
	for i := range engines {
		e := engines[i]
		t.Run(e.name, func(t *testing.T) { f(t, &e) })
		small := e
		small.blocking = blocking{kBlock: 24, halfBlock: 64, columnBlock: 2 * e.nr, slabWords: 2048, slabRows: 2 * e.mr}
		if e.amx != nil {
			a := *e.amx
			a.amxBlocking = amxBlocking{kBlock: 3 * amxSteps, kBlockSplit: amxSteps, secondBytes: 3 * 2 * 2 * amxLanes * amxSteps, secondLanes: 2 * amxLanes,
				firstBytes: 13000, sumWords: 2 * 2 * amxLanes * amxLanes, taskFirst: 2 * amxLanes, taskSecond: 3 * amxLanes,
				fusedPerCycle: 1} // hardly any product is left to others
			small.amx = &a
		}
		t.Run(e.name+"/small blocks", func(t *testing.T) { f(t, &small) })
	}
}

var sizes = []int{1, 2, 3, 5, 8, 13, 14, 16, 17, 31, 33, 63, 65, 123}

func randomProduct(r *rand.Rand) product {
	pick := func(v ...float32) float32 { return v[r.IntN(len(v))] }
	coin := func() bool { return r.IntN(2) == 1 }
	p := product{
		aBF16: coin(), bBF16: coin(), cBF16: r.IntN(3) == 0, bias: r.IntN(3) == 0,
		compute: Precision(r.IntN(2)),
		padA:    r.IntN(4), padB: r.IntN(4), padC: r.IntN(4),
	}
	p.TransA, p.TransB = coin(), coin()
	p.M, p.N, p.K = sizes[r.IntN(len(sizes))], sizes[r.IntN(len(sizes))], sizes[r.IntN(len(sizes))]
	p.Alpha, p.Beta = pick(1, 1, 0.5, -2), pick(0, 0, 1, 1, -0.25)
	return p
}

func TestRandomProducts(t *testing.T) {
	eachEngine(t, func(t *testing.T, e *engine) {
		r := rand.New(rand.NewPCG(1, 2))
		for range 1200 {
			randomProduct(r).run(t, e, r)
		}
	})
}

// TestShapes holds shapes that take paths of their own: deep, wide, narrow, one row, one column, nothing.
func TestShapes(t *testing.T) {
	shapes := [][3]int{
		{0, 5, 5}, {5, 0, 5}, {5, 7, 0}, {1, 1, 1}, {1, 700, 65}, {4, 4, 19}, {2, 3, 19}, {3, 129, 40}, {1, 8200, 9}, {700, 1, 65}, {1, 65, 1100}, {3, 65, 1023}, {8, 123, 300},
		{5, 4, 19}, {6, 129, 70}, {7, 35, 64}, {8, 700, 16}, {18, 300, 70}, {16, 200, 333}, {200, 16, 333}, {333, 200, 16}, {333, 200, 1}, {9, 1000, 64}, {150, 33, 801}, {65, 350, 431}, {64, 64, 512}, {70, 16, 1024}, {29, 40, 2048},
	}
	eachEngine(t, func(t *testing.T, e *engine) {
		r := rand.New(rand.NewPCG(3, 4))
		for _, s := range shapes {
			for trans := range 4 {
				for storage := range 4 {
					p := randomProduct(r)
					p.M, p.N, p.K = s[0], s[1], s[2]
					p.TransA, p.TransB = trans&1 != 0, trans&2 != 0
					p.aBF16, p.bBF16 = storage&1 != 0, storage&2 != 0
					if s[2]%4 == 0 { // whole vectors and even strides
						p.padA, p.padB = 0, 0
					}
					p.run(t, e, r)
				}
			}
		}
	})
}

// TestInt8 holds products with a B in int8, of each number of rows, and what is refused.
func TestInt8(t *testing.T) {
	eachEngine(t, func(t *testing.T, e *engine) {
		refused := func(p product, why string) {
			t.Helper()
			defer func() {
				if recover() == nil {
					t.Errorf("%s: %v was not refused", why, p)
				}
			}()
			p.run(t, e, rand.New(rand.NewPCG(1, 1)))
		}
		ok := product{Spec: Spec{TransB: true, M: 2, N: 8, K: 40, Alpha: 1}, bI8: true}
		if !e.int8 {
			refused(ok, "an engine without")
			return
		}
		r := rand.New(rand.NewPCG(31, 32))
		for rows := 1; rows <= moreRows; rows++ {
			for _, s := range [][2]int{{4, 1}, {5, 15}, {7, 16}, {9, 47}, {16, 48}, {33, 64}, {70, 79}, {131, 129}, {1000, 576}} {
				p := randomProduct(r)
				p.TransB, p.bBF16, p.bI8, p.compute = true, false, true, ComputeF32
				p.M, p.N, p.K = rows, s[0], s[1]
				p.run(t, e, r)
			}
		}
		for why, change := range map[string]func(p *product){
			"[K,N]": func(p *product) { p.TransB = false }, "more rows": func(p *product) { p.M = moreRows + 1 },
			"three columns": func(p *product) { p.N = 3 }, "bfloat16": func(p *product) { p.compute = ComputeBF16 },
		} {
			p := ok
			change(&p)
			refused(p, why)
		}
	})
}

// TestRowsByThemselves: with a matrix stored by columns, a row's result does not depend on how many rows are computed together.
func TestRowsByThemselves(t *testing.T) {
	eachEngine(t, func(t *testing.T, e *engine) {
		if e.dots == nil {
			return // the engine has no routine for few rows
		}
		r := rand.New(rand.NewPCG(15, 16))
		for _, s := range [][2]int{{4, 7}, {70, 64}, {129, 577}, {46, 1000}} {
			for storage := range 4 {
				if testing.Short() && s[0] > 100 {
					continue // much work for the race detector, of no other kind
				}
				spec := Spec{TransB: true, M: vectorRows, N: s[0], K: s[1], LDA: s[1] + 3, LDB: s[1] + 1, LDC: s[0], Alpha: 1}
				if !e.pairs {
					spec.M = moreRows
				}
				a, b := matrix(t, r, storage&2 != 0, spec.M, spec.K, spec.LDA), matrix(t, r, storage&1 != 0, spec.N, spec.K, spec.LDB)
				whole := Data{F32: floats(t, spec.M*spec.N)}
				mul(e, spec, ComputeBF16, whole, a, b, Data{})
				for rows := 1; rows < spec.M; rows++ {
					for first := 0; first+rows <= spec.M; first++ {
						some, of := spec, a
						some.M = rows
						if of.F32 = a.F32; a.F32 != nil {
							of.F32 = a.F32[first*spec.LDA:]
						} else {
							of.BF16 = a.BF16[first*spec.LDA:]
						}
						got := Data{F32: floats(t, rows*spec.N)}
						mul(e, some, ComputeBF16, got, of, b, Data{})
						if !sameBits(got, Data{F32: whole.F32[first*spec.N:][:rows*spec.N]}) {
							t.Fatalf("%+v: rows %d to %d differ by themselves", spec, first, first+rows-1)
						}
					}
				}
				unguard()
			}
		}
	})
}

// TestColumnsByThemselves: with a matrix stored by columns, a column's results do not depend on how many rows and columns are computed
// together.
func TestColumnsByThemselves(t *testing.T) {
	eachEngine(t, func(t *testing.T, e *engine) {
		if e.dots == nil {
			return // the engine has no routine for few rows
		}
		r := rand.New(rand.NewPCG(35, 36))
		for _, k := range []int{5, 64, 75, 130} {
			for kind, compute := range map[string]Precision{"f32": ComputeF32, "bf16": ComputeF32, "int8": ComputeF32, "round": ComputeBF16} {
				whole := Spec{TransB: true, M: vectorRows, N: 37, K: k, LDA: k, LDB: k + 1, LDC: 37, Alpha: 1}
				if !e.pairs || compute == ComputeF32 {
					whole.M = moreRows
				}
				if kind == "int8" && !e.int8 {
					continue
				}
				a, b := matrix(t, r, false, whole.M, k, k), matrix(t, r, kind == "bf16", whole.N, k, k+1)
				if kind == "int8" {
					b = int8Matrix(t, r, whole.N, k, k+1)
				}
				want := Data{F32: floats(t, whole.M*whole.N)}
				mul(e, whole, compute, want, a, b, Data{})
				for rows := 1; rows <= whole.M; rows++ {
					for n := 4; n < whole.N; n += 1 + r.IntN(4) {
						some, first := whole, r.IntN(whole.N-n+1)
						some.M, some.N, some.LDC = rows, n, n
						of := b
						switch at := first * whole.LDB; {
						case b.F32 != nil:
							of.F32 = b.F32[at:]
						case b.BF16 != nil:
							of.BF16 = b.BF16[at:]
						default:
							of.I8, of.Scales = b.I8[at:], b.Scales[first:]
						}
						got := Data{F32: floats(t, rows*n)}
						mul(e, some, compute, got, a, of, Data{})
						for row := range rows {
							if !sameBits(Data{F32: got.F32[row*n:][:n]}, Data{F32: want.F32[row*whole.N+first:][:n]}) {
								t.Fatalf("%s %+v: columns %d to %d of row %d of %d differ by themselves", kind, whole, first, first+n-1, row, rows)
							}
						}
					}
				}
				unguard()
			}
		}
	})
}

// TestFinishRow holds the vector code that ends a row against plain Go, bit for bit.
func TestFinishRow(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 18))
	for i := range engines {
		e := &engines[i]
		if e.finishRow == nil {
			continue
		}
		for n := 1; n < 100; n++ {
			sums, bias := floats(t, n), floats(t, n)
			want, got := halves(t, n), halves(t, n)
			for i := range n {
				sums[i], bias[i] = float32(r.NormFloat64()), float32(r.NormFloat64())
				want[i] = round(float32(r.NormFloat64()))
			}
			sums[r.IntN(n)], sums[r.IntN(n)] = float32(math.NaN()), 1e-40
			copy(got, want)
			tile := func(d []uint16) *tile {
				t := &tile{flags: toD, d: unsafe.Pointer(&d[0]), bias: unsafe.Pointer(&bias[0]), betaD: 1, alpha: 1.5, a: unsafe.Pointer(&sums[0])}
				for i, flag := range []int{addD, addBias, scale} {
					if n>>i&1 != 0 {
						t.flags |= flag
					}
				}
				return t
			}
			u := tile(want)
			for i, v := range sums {
				u.store(v, 0, 0, i)
			}
			e.finishRow(tile(got), n)
			if !slices.Equal(got, want) {
				t.Fatalf("%s, %d elements, flags %b: got %x, want %x", e.name, n, u.flags, got, want)
			}
			unguard()
		}
	}
}

// TestNaNAndInf: a NaN or infinity in row i of A reaches row i of C and no other; likewise for columns of B.
func TestNaNAndInf(t *testing.T) {
	eachEngine(t, func(t *testing.T, e *engine) {
		for _, s := range [][3]int{{1, 40, 33}, {5, 6, 7}, {40, 50, 33}, {40, 16, 33}, {16, 40, 33}} {
			for trans := range 4 {
				for compute := range Precision(2) {
					for _, bad := range []float64{math.NaN(), math.Inf(1)} {
						spec := Spec{M: s[0], N: s[1], K: s[2], TransA: trans&1 != 0, TransB: trans&2 != 0, Alpha: 1}
						spec.LDA, spec.LDB, spec.LDC = spec.K, spec.N, spec.N
						if spec.TransA {
							spec.LDA = spec.M
						}
						if spec.TransB {
							spec.LDB = spec.K
						}
						a, b, c := ones(spec.M*spec.K), ones(spec.K*spec.N), ones(spec.M*spec.N)
						row, k, col := spec.M-1, spec.K-1, spec.N/2
						set := func(x []float32, trans bool, i, j, ld int) {
							if trans {
								i, j = j, i
							}
							x[i*ld+j] = float32(bad)
						}
						set(a, spec.TransA, row, k, spec.LDA)
						mul(e, spec, compute, Data{F32: c}, Data{F32: a}, Data{F32: b}, Data{})
						for i, v := range c {
							if got, want := v != float32(spec.K), i/spec.N == row; got != want {
								t.Fatalf("%v A[%d,%d]=%v: C[%d,%d] = %v", spec, row, k, bad, i/spec.N, i%spec.N, v)
							}
						}
						a = ones(spec.M * spec.K)
						set(b, spec.TransB, k, col, spec.LDB)
						mul(e, spec, compute, Data{F32: c}, Data{F32: a}, Data{F32: b}, Data{})
						for i, v := range c {
							if got, want := v != float32(spec.K), i%spec.N == col; got != want {
								t.Fatalf("%v B[%d,%d]=%v: C[%d,%d] = %v", spec, k, col, bad, i/spec.N, i%spec.N, v)
							}
						}
					}
				}
			}
		}
	})
}

func ones(n int) []float32 { return slices.Repeat([]float32{1}, n) }

// TestSharedProducts: products of one A, computed together, are each what they should be, whatever they are: wide or narrow, of other
// types, orders and ends than the first, with operands that halves, pairs or float32 are made of.
func TestSharedProducts(t *testing.T) {
	eachEngine(t, func(t *testing.T, e *engine) {
		r := rand.New(rand.NewPCG(13, 14))
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
		for _, s := range [][2]int{{1, 70}, {4, 33}, {8, 100}, {30, 64}, {40, 65}, {57, 130}, {130, 97}, {60, 700}, {70, 1}, {33, 0}} {
			for trans := range 2 {
				for compute := range Precision(3) {
					p := Spec{TransA: trans == 1, M: s[0], K: s[1], LDA: s[1] + 1}
					rows, cols := s[0], s[1]
					if p.TransA {
						p.LDA = s[0] + 1
						rows, cols = cols, rows
					}
					a := matrix(t, r, r.IntN(3) > 0, rows, cols, p.LDA)
					var products []Product
					for range 1 + r.IntN(4) {
						q := randomProduct(r)
						p.TransB, p.N, p.Alpha, p.Beta = q.TransB, []int{1, 16, 33, 65, 123, 200}[r.IntN(6)], q.Alpha, q.Beta
						p.LDB, p.LDC = p.N+q.padB, p.N+q.padC
						if r.IntN(6) == 0 {
							p.Alpha = 0
						}
						rows, cols := p.K, p.N
						if p.TransB {
							p.LDB = p.K + 1
							rows, cols = cols, rows
						}
						one := Product{Spec: p, C: matrix(t, r, q.cBF16, p.M, p.N, p.LDC), B: matrix(t, r, r.IntN(3) > 0, rows, cols, p.LDB)}
						if q.bias {
							one.Bias = matrix(t, r, false, 1, p.N, p.N)
						}
						products = append(products, one)
					}
					var first []Data
					for procs := 1; procs <= 3; procs++ {
						runtime.GOMAXPROCS(procs)
						got := clone(t, products)
						mulShared(e, compute, a, got)
						if procs == 1 {
							compareShared(t, e, compute, a, got, products)
						}
						for i, q := range got {
							if procs == 1 {
								first = append(first, q.C)
							} else if !sameBits(first[i], q.C) {
								t.Fatalf("%+v: %d threads differ from one", q.Spec, procs)
							}
						}
					}
					unguard()
				}
			}
		}
	})
}

// compareShared checks products of one A, got, against float64; before has C as it was.
func compareShared(t *testing.T, e *engine, compute Precision, a Data, got, before []Product) {
	t.Helper()
	for i, q := range got {
		c := product{Spec: q.Spec, compute: compute, cBF16: q.C.BF16 != nil, bias: q.Bias.length() > 0}
		c.reduced = compute == ComputeBF16Reduced && a.BF16 != nil && q.B.BF16 != nil && e.half != nil
		x, y := lanes(a, q.LDA, q.M, q.K, !q.TransA, compute), lanes(q.B, q.LDB, q.N, q.K, q.TransB, compute)
		c.compare(t, q.C, before[i].C, q.Bias, x, y)
	}
}

func TestSharedProductsDisagree(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Fatal("no panic")
		}
	}()
	x := Data{F32: make([]float32, 12)}
	s := Spec{M: 2, N: 2, K: 2, LDA: 2, LDB: 2, LDC: 2, Alpha: 1}
	other := s
	other.K = 3
	MulShared(ComputeF32, x, []Product{{Spec: s, C: x, B: x}, {Spec: other, C: x, B: x}})
}

func TestAlphaZeroReadsNeitherOperand(t *testing.T) {
	nan := slices.Repeat([]float32{float32(math.NaN())}, 6)
	c := []float32{1, 2, 3, 4}
	F32(Spec{M: 2, N: 2, K: 3, LDA: 3, LDB: 2, LDC: 2, Beta: 2}, c, nan, nan, []float32{10, 20})
	if want := []float32{12, 24, 16, 28}; !slices.Equal(c, want) {
		t.Fatalf("got %v, want %v", c, want)
	}
}

func TestWrongShapesPanic(t *testing.T) {
	s := Spec{M: 2, N: 3, K: 4, LDA: 4, LDB: 3, LDC: 3, Alpha: 1}
	for name, f := range map[string]func(s Spec, a, b, c []float32){
		"negative": func(s Spec, a, b, c []float32) { s.M = -1; F32(s, c, a, b, nil) },
		"short A":  func(s Spec, a, b, c []float32) { F32(s, c, a[1:], b, nil) },
		"short B":  func(s Spec, a, b, c []float32) { F32(s, c, a, b[1:], nil) },
		"short C":  func(s Spec, a, b, c []float32) { F32(s, c[1:], a, b, nil) },
		"bias":     func(s Spec, a, b, c []float32) { F32(s, c, a, b, a[:2]) },
		"narrow":   func(s Spec, a, b, c []float32) { s.LDB = 2; F32(s, c, a, b, nil) },
		"both": func(s Spec, a, b, c []float32) {
			Mul(s, 0, Data{F32: c, BF16: []uint16{1}}, Data{F32: a}, Data{F32: b}, Data{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Fatal("no panic")
				}
			}()
			f(s, make([]float32, 8), make([]float32, 12), make([]float32, 6))
		})
	}
}

func TestNoAllocations(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	r := rand.New(rand.NewPCG(5, 6))
	for _, s := range [][3]int{{200, 300, 100}, {1, 300, 1000}, {300, 16, 200}, {16, 300, 200}} {
		for compute := range Precision(3) {
			for trans := range 4 {
				spec := Spec{M: s[0], N: s[1], K: s[2], LDA: 1000, LDB: 1000, LDC: 300, Alpha: 1, TransA: trans&1 != 0, TransB: trans&2 != 0}
				x := matrix(t, r, true, 1000, 1000, 1000)
				c, bias := Data{BF16: make([]uint16, 300*300)}, Data{BF16: make([]uint16, 300)}
				if n := testing.AllocsPerRun(5, func() { Mul(spec, compute, c, x, x, bias) }); n != 0 {
					t.Errorf("%+v: %v allocations", spec, n)
				}
				unguard()
			}
		}
	}
}

func TestPeakIsPlausible(t *testing.T) {
	for i := range engines {
		e := &engines[i]
		for _, loop := range []peakLoop{e.peakF32, e.peakBF16} {
			if ran := loop(1e6); ran < 0.99e6 || ran > 1e6 {
				t.Errorf("%s: the loop ran %d operations, not about 1e6", e.name, ran)
			}
			if got := peak(loop); got < 0.1 || got > 10000 {
				t.Errorf("%s: peak of %v GFLOP/s", e.name, got)
			}
		}
	}
}
