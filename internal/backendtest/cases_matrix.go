package backendtest

import (
	"fmt"
	"math"

	"github.com/mltrain/mltrain/internal/tensor"
)

// device covers what Device does with data: Copy's conversions, Upload, Download and Zero.
func (l *list) device() {
	for _, from := range []tensor.DType{tensor.F32, tensor.BF16, tensor.F16, tensor.I32} {
		for _, to := range []tensor.DType{tensor.F32, tensor.BF16, tensor.F16, tensor.I32} {
			for _, n := range sizes {
				l.add("Copy", copyCase(from, to, n), "%v/%v/%d", from, to, n)
			}
		}
	}
	for _, n := range sizes {
		l.add("Zero", func(e *Env) Job {
			x := e.Out("x", tensor.BF16, n)
			return Job{
				Run:   func() error { return e.B.Zero(x) },
				Bytes: 2 * n,
				Check: func() { e.Expect(x, make([]float64, n), 0) },
			}
		}, "%d", n)
		l.add("Upload", func(e *Env) Job {
			xs := e.Rand(n)
			data := encode(tensor.F32, xs)
			x := e.Out("x", tensor.F32, n)
			return Job{
				Run: func() error { return e.B.Upload(x, data) },
				Check: func() {
					got := make([]byte, len(data))
					if err := e.B.Download(got, x); err != nil {
						e.TB.Fatal(err)
					}
					if string(got) != string(data) {
						e.TB.Error("Download returns other bytes than Upload got")
					}
				},
			}
		}, "%d", n)
	}
}

func copyCase(from, to tensor.DType, n int) func(*Env) Job {
	return func(e *Env) Job {
		xs := e.Rand(n)
		for i := range xs {
			xs[i] *= []float64{1e-6, 1, 100}[e.rng.IntN(3)]
		}
		if from != tensor.I32 && to != tensor.I32 {
			for i, v := range []float64{math.Inf(1), math.Inf(-1), math.NaN(), 0, 65519, 65520, 6e-8, 2e-8, 1.00390625, 1.01171875} {
				xs[(i*7)%n] = v
			}
		}
		src, dst := e.In("src", from, xs, n), e.Out("dst", to, n)
		if from == tensor.I32 { // as the integers are read, so that rounding happens once
			xs = e.Read(src)
		}
		return Job{
			Run:   func() error { return e.B.Copy(dst, src) },
			Bytes: n * (from.Size() + to.Size()),
			Check: func() {
				for i, v := range xs {
					if to == tensor.I32 {
						xs[i] = math.RoundToEven(v)
					}
				}
				e.Expect(dst, decode(to, encode(to, xs)), 0)
			},
		}
	}
}

func (l *list) gemm() {
	f, h := tensor.F32, tensor.BF16
	types := [][3]tensor.DType{{f, f, f}, {h, h, h}, {f, h, h}, {f, f, h}, {h, f, h}, {f, h, f}, {h, f, f}, {h, h, f}}
	for i, dt := range types {
		for _, ta := range []bool{false, true} {
			for _, tb := range []bool{false, true} {
				for j, shape := range [][3]int{{1, 1, 1}, {1, 65, 123}, {5, 1, 63}, {65, 63, 5}, {63, 123, 65}, {130, 97, 300}, {33, 16, 64}, {1, 300, 200}, {7, 8, 0}} {
					s := tensor.GemmSpec{TransA: ta, TransB: tb, M: shape[0], N: shape[1], K: shape[2], Alpha: 1}
					switch (i + j) % 3 {
					case 1:
						s.Alpha, s.Beta = 0.5, 1
					case 2:
						s.Alpha, s.Beta = -1.25, 0.75
					}
					l.add("Gemm", gemmCase(s, dt, (i+j)%2 == 0, j%2*3), "%v/%v/%v%v/%v/alpha=%v,beta=%v", dt, shape, ta, tb, j%2 == 0, s.Alpha, s.Beta)
				}
			}
		}
		for j, shape := range [][3]int{{1, 5, 520}, {3, 34, 72}, {16, 33, 264}, {9, 3, 36}, {17, 9, 40}} { // few rows, of which some begin at multiples of 16 bytes
			s := tensor.GemmSpec{TransB: true, M: shape[0], N: shape[1], K: shape[2], Alpha: 0.5, Batch: 1 + j%2}
			if j > 1 {
				s.Beta = 2
			}
			l.add("Gemm", gemmCase(s, dt, j == 2, j%3*8), "%v/few rows %v/batch=%d", dt, shape, s.Batch)
		}
		if dt[1] == h && dt[2] == h { // rows that begin at multiples of 16 bytes
			for j, trans := range [][2]bool{{false, false}, {false, true}, {true, false}, {true, true}} {
				for i, shape := range [][3]int{{130, 264, 72}, {8, 16, 200}, {136, 40, 24}} {
					s := tensor.GemmSpec{TransA: trans[0], TransB: trans[1], M: shape[0], N: shape[1], K: shape[2], Alpha: 1, Batch: 1 + i}
					if trans[0] {
						s.M = (s.M + 7) / 8 * 8
					}
					if i == j%3 {
						s.Alpha, s.Beta = -1.25, 0.75
					}
					l.add("Gemm", gemmCase(s, dt, i == 1, i*8), "%v/aligned %v/%v/batch=%d", dt, shape, trans, s.Batch)
				}
			}
		}
		if dt[1] == h && dt[2] == h { // large enough for a backend to take what Reduced allows
			for j, trans := range [][2]bool{{false, false}, {false, true}, {true, false}, {true, true}} {
				s := tensor.GemmSpec{TransA: trans[0], TransB: trans[1], M: 70, N: 131, K: 201, Alpha: 0.5, Beta: float32(j % 2), Batch: 1 + j/2, Reduced: true}
				l.add("Gemm", gemmCase(s, dt, j == 1, j%3*4), "%v/reduced/%v/batch=%d", dt, trans, s.Batch)
			}
		}
		for _, batch := range []int{2, 5} {
			s := tensor.GemmSpec{TransB: true, M: 13, N: 17, K: 31, Alpha: 1, Batch: batch}
			l.add("Gemm", gemmCase(s, dt, true, 2), "%v/batch=%d", dt, batch)
		}
	}
}

// gemmShared covers tensor.SharedGemm: products of every width with one matrix of many rows or few.
func (l *list) gemmShared() {
	f, h := tensor.F32, tensor.BF16
	for i, dt := range []tensor.DType{f, h} {
		for _, m := range []int{1, 7, 65, 150} {
			for _, trans := range []bool{false, true} {
				l.add("GemmShared", func(e *Env) Job {
					const k = 130
					ar, ac := m, k
					if trans {
						ar, ac = k, m
					}
					as := e.Rand(ar * ac)
					a := e.In("a", dt, as, ar, ac)
					var parts []tensor.GemmPart
					var checks []func()
					for j, n := range []int{16, 97, 200} {
						s := tensor.GemmSpec{TransA: trans, TransB: j != i, M: m, N: n, K: k, LDA: ac, LDB: n, LDC: n, Alpha: 0.5, Beta: float32(j % 2), Reduced: m > 65}
						if s.TransB {
							s.LDB = k
						}
						out := []tensor.DType{dt, dt, f}[j]
						bs, cs := e.Rand(k*n), e.Rand(m*n)
						b, c := e.In(fmt.Sprintf("b%d", j), []tensor.DType{dt, dt, h}[j], bs, k*n), e.InOut(fmt.Sprintf("c%d", j), out, cs, m*n)
						p := tensor.GemmPart{GemmSpec: s, C: c, B: b}
						var bias []float64
						if j == 1 {
							bias = e.Rand(n)
							p.Bias = e.In("bias", dt, bias, n)
						}
						parts = append(parts, p)
						checks = append(checks, func() {
							refGemm(s, cs, as, bs, bias)
							tolerance := Tolerance(out)
							if s.Reduced && dt == h {
								tolerance = Tolerance(h)
							}
							e.Expect(c, cs, tolerance)
						})
					}
					return Job{
						Run: func() error { return e.B.(tensor.SharedGemm).GemmShared(a, parts) },
						Check: func() {
							for _, check := range checks {
								check()
							}
						},
					}
				}, "%v/%d rows/%v", dt, m, trans)
			}
		}
	}
}

// gemmCase makes a product with extra elements between rows, and between the matrices of a batch.
func gemmCase(s tensor.GemmSpec, dt [3]tensor.DType, bias bool, extra int) func(*Env) Job {
	return func(e *Env) Job {
		ar, ac, br, bc := s.M, s.K, s.K, s.N
		if s.TransA {
			ar, ac = ac, ar
		}
		if s.TransB {
			br, bc = bc, br
		}
		s.LDA, s.LDB, s.LDC = ac+extra, bc+2*extra, s.N+extra
		s.StrideA, s.StrideB, s.StrideC = ar*s.LDA+extra, br*s.LDB, s.M*s.LDC+2*extra
		batch := max(1, s.Batch)
		as, bs := e.Rand(batch*s.StrideA), e.Rand(batch*s.StrideB)
		a, b := e.In("a", dt[1], as, len(as)), e.In("b", dt[2], bs, len(bs))
		var biasT tensor.Tensor
		var biasV []float64
		if bias {
			biasV = e.Rand(s.N)
			biasT = e.In("bias", dt[2], biasV, s.N)
		}
		n := batch * s.StrideC
		want, vals := make([]float64, n), e.Rand(n)
		for i := range want {
			at := i % s.StrideC
			inside := at/s.LDC < s.M && at%s.LDC < s.N
			if !inside {
				want[i] = Untouched
			}
			if !inside || s.Beta == 0 {
				vals[i] = math.NaN()
			}
		}
		c := e.InOut("c", dt[0], vals, n)
		if s.Beta != 0 {
			for i, v := range vals {
				if finite(v) {
					want[i] = v
				}
			}
		}
		return Job{
			Run:   func() error { return e.B.Gemm(s, c, a, b, biasT) },
			Bytes: batch * (s.M*s.K*dt[1].Size() + s.K*s.N*dt[2].Size() + s.M*s.N*dt[0].Size()),
			Flops: 2 * float64(batch) * float64(s.M) * float64(s.N) * float64(s.K),
			Check: func() {
				refGemm(s, want, as, bs, biasV)
				tolerance := Tolerance(dt[0])
				if s.Reduced {
					tolerance = Tolerance(tensor.BF16)
				}
				e.Expect(c, want, tolerance)
			},
		}
	}
}

func (l *list) reduce() {
	for _, dt := range activations {
		for op := range tensor.NumReduceOps {
			for _, shape := range [][2]int{{1, 1}, {1, 65}, {65, 1}, {5, 63}, {123, 300}, {3, 5000}, {700, 65}, {2100, 24}} {
				for axis := range 2 {
					for _, acc := range []bool{false, true} {
						l.add("Reduce", reduceCase(op, dt, shape[0], shape[1], axis, acc), "%v/%v/%v/axis=%d/acc=%v", op, dt, shape, axis, acc)
					}
				}
			}
		}
	}
}

func reduceCase(op tensor.ReduceOp, dt tensor.DType, rows, cols, axis int, acc bool) func(*Env) Job {
	return func(e *Env) Job {
		xs := e.Rand(rows * cols)
		for i := range xs {
			xs[i]++ // so that sums are not small beside their parts
		}
		x := e.In("x", dt, xs, rows, cols)
		y, want := e.AccOut("y", tensor.F32, acc, []int{cols, rows}[axis])
		return Job{
			Run:   func() error { return e.B.Reduce(op, y, x, axis, acc) },
			Bytes: len(xs) * dt.Size(),
			Check: func() {
				fold := make([]float64, len(want))
				if op == tensor.ReduceMax {
					for i := range fold {
						fold[i] = math.Inf(-1)
					}
				}
				for i, v := range xs {
					at := []int{i % cols, i / cols}[axis]
					switch op {
					case tensor.ReduceSum:
						fold[at] += v
					case tensor.ReduceSumSq:
						fold[at] += v * v
					default:
						fold[at] = math.Max(fold[at], v)
					}
				}
				for i := range want {
					want[i] += fold[i]
				}
				e.Expect(y, want, Tolerance(tensor.F32))
			},
		}
	}
}

func (l *list) rows() {
	for _, table := range []tensor.DType{tensor.F32, tensor.BF16, tensor.F16} {
		for _, dt := range activations {
			for _, shape := range [][3]int{{1, 1, 1}, {7, 5, 63}, {123, 65, 65}, {9, 300, 130}, {3, 5, 1500}, {11, 37, 72}} {
				l.add("Gather", gatherCase(table, dt, shape[0], shape[1], shape[2]), "%v/%v/%v", table, dt, shape)
			}
		}
	}
	l.add("ScatterAdd", scatterCase(tensor.BF16, tensor.F32, 20, 25, 33), "float32 into bfloat16")
	l.add("ScatterAdd", scatterCase(tensor.BF16, tensor.F32, 4, 30, 40), "float32 into bfloat16, aligned")
	for _, dt := range activations {
		for _, shape := range [][3]int{{1, 1, 1}, {7, 5, 63}, {3, 65, 65}, {9, 300, 130}, {50, 500, 300}, {5, 41, 72}} {
			l.add("ScatterAdd", scatterCase(tensor.F32, dt, shape[0], shape[1], shape[2]), "%v/%v", dt, shape)
		}
		l.add("ScatterAdd", scatterCase(dt, dt, 60, 65, 65), "%v into %v", dt, dt)
		l.add("ScatterAdd", scatterCase(dt, dt, 6, 35, 48), "%v into %v, aligned", dt, dt)
		for _, dst := range activations {
			for _, shape := range [][3]int{{1, 1, 1}, {7, 5, 63}, {123, 65, 65}, {70, 60, 300}} {
				l.add("PutRows", putRowsCase(dst, dt, shape[0], shape[1], shape[2], 5), "%v/%v/%v", dst, dt, shape)
			}
			l.add("PutRows", putRowsCase(dst, dt, 9, 17, 104, 8), "%v/%v/aligned", dst, dt)
		}
	}
}

func (e *Env) indices(n, below int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(e.rng.IntN(below))
	}
	return ids
}

func gatherCase(table, dt tensor.DType, v, rows, cols int) func(*Env) Job {
	return func(e *Env) Job {
		ts, ids := e.Rand(v*cols), e.indices(rows, v)
		tab, id, y := e.In("table", table, ts, v, cols), e.Ints("ids", ids), e.Out("y", dt, rows, cols)
		return Job{
			Run:   func() error { return e.B.Gather(y, tab, id) },
			Bytes: rows * cols * (table.Size() + dt.Size()),
			Check: func() {
				var want []float64
				for _, id := range ids {
					want = append(want, ts[int(id)*cols:(int(id)+1)*cols]...)
				}
				e.Expect(y, decode(dt, encode(dt, want)), 0)
			},
		}
	}
}

func scatterCase(table, dt tensor.DType, v, rows, cols int) func(*Env) Job {
	return func(e *Env) Job {
		ids, dys := e.indices(rows, v), e.Rand(rows*cols)
		tab, want := e.AccOut("dtable", table, true, v, cols)
		id, dy := e.Ints("ids", ids), e.In("dy", dt, dys, rows, cols)
		return Job{
			Run:   func() error { return e.B.ScatterAdd(tab, dy, id) },
			Bytes: rows * cols * (dt.Size() + 8),
			Check: func() {
				// In order, rounded after each addition: exactly.
				for i, id := range ids {
					for j := range cols {
						at := int(id)*cols + j
						sum := []float64{float64(float32(want[at]) + float32(dys[i*cols+j]))}
						want[at] = decode(table, encode(table, sum))[0]
					}
				}
				e.Expect(tab, want, 0)
			},
		}
	}
}

// putRowsCase has gap elements between the rows of src.
func putRowsCase(dst, src tensor.DType, n, rows, cols, gap int) func(*Env) Job {
	return func(e *Env) Job {
		stride := cols + gap
		xs := e.Rand(rows * stride)
		to := make([]int32, rows)
		for i, p := range e.rng.Perm(max(n, rows))[:rows] {
			to[i] = int32(p % n)
		}
		d, s, id := e.Out("dst", dst, n, cols), e.In("src", src, xs, len(xs)), e.Ints("rows", to)
		return Job{
			Run:   func() error { return e.B.PutRows(d, s, stride, id) },
			Bytes: rows * cols * (dst.Size() + src.Size()),
			Check: func() {
				want := make([]float64, n*cols)
				for i := range want {
					want[i] = Untouched
				}
				for i, r := range to {
					copy(want[int(r)*cols:], decode(dst, encode(dst, xs[i*stride:i*stride+cols])))
				}
				e.Expect(d, want, 0)
			},
		}
	}
}
