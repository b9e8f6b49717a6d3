package backendtest

import "github.com/mltrain/mltrain/internal/tensor"

// sizes are lengths with every kind of tail, and one that several tasks share.
var sizes = []int{1, 5, 15, 63, 65, 123, 40_003}

func (l *list) elementwise() {
	for _, dt := range activations {
		for op := range tensor.NumUnaryOps {
			for _, n := range sizes {
				for _, inPlace := range []bool{false, true} {
					l.add("Unary", unaryCase(op, dt, n, inPlace), "%v/%v/%d/inplace=%v", op, dt, n, inPlace)
				}
				for _, acc := range []bool{false, true} {
					l.add("UnaryBwd", unaryBwdCase(op, dt, n, acc, false), "%v/%v/%d/acc=%v", op, dt, n, acc)
				}
				l.add("UnaryBwd", unaryBwdCase(op, dt, n, false, true), "%v/%v/%d/inplace", op, dt, n)
			}
		}
		for op := range tensor.NumBinaryOps {
			for _, shape := range [][2]int{{1, 1}, {1, 65}, {65, 1}, {5, 63}, {3, 1500}, {123, 400}} {
				for _, kind := range []string{"same", "row", "column"} {
					for _, acc := range []bool{false, true} {
						l.add("Binary", binaryCase(op, dt, shape[0], shape[1], kind, acc, false), "%v/%v/%v/%s/acc=%v", op, dt, shape, kind, acc)
					}
					l.add("Binary", binaryCase(op, dt, shape[0], shape[1], kind, false, true), "%v/%v/%v/%s/inplace", op, dt, shape, kind)
				}
			}
		}
		for _, op := range []tensor.UnaryOp{tensor.OpSiLU, tensor.OpGELU, tensor.OpGELUTanh, tensor.OpReLU, tensor.OpSigmoid, tensor.OpTanh} {
			for _, shape := range [][2]int{{1, 1}, {5, 63}, {3, 65}, {2, 1123}, {65, 400}} {
				for _, fused := range []bool{false, true} {
					l.add("Gate", gateCase(op, dt, shape[0], shape[1], fused), "%v/%v/%v/fused=%v", op, dt, shape, fused)
					for _, inPlace := range []bool{false, true} {
						l.add("GateBwd", gateBwdCase(op, dt, shape[0], shape[1], fused, inPlace), "%v/%v/%v/fused=%v/inplace=%v", op, dt, shape, fused, inPlace)
					}
				}
			}
		}
		for _, n := range sizes {
			for _, acc := range []bool{false, true} {
				l.add("Dropout", dropoutCase(dt, n, 0.3, acc, false), "%v/%d/acc=%v", dt, n, acc)
				l.add("SumSq", sumSqCase(dt, n, acc), "%v/%d/acc=%v", dt, n, acc)
			}
			l.add("Dropout", dropoutCase(dt, n, 0.1, false, true), "%v/%d/inplace", dt, n)
			l.add("Dropout", dropoutCase(dt, n, 0, false, false), "%v/%d/p=0", dt, n)
		}
	}
}

// wide returns numbers of which, if there are more than a few, some reach the tails of the functions, where only the
// absolute error is small.
func (e *Env) wide(n int) []float64 {
	x := e.Rand(n)
	if n < 8 {
		return x
	}
	for i := range x {
		x[i] *= []float64{0.01, 1, 4, 30}[e.rng.IntN(4)]
	}
	return x
}

func constant(op tensor.UnaryOp) float32 {
	if op == tensor.OpScale {
		return -1.75
	}
	return 3
}

func unaryCase(op tensor.UnaryOp, dt tensor.DType, n int, inPlace bool) func(*Env) Job {
	return func(e *Env) Job {
		k, xs := constant(op), e.wide(n)
		var x, y tensor.Tensor
		if inPlace {
			x = e.InOut("x", dt, xs, n)
			y = x
		} else {
			x, y = e.In("x", dt, xs, n), e.Out("y", dt, n)
		}
		return Job{
			Run:   func() error { return e.B.Unary(op, k, y, x) },
			Bytes: 2 * n * dt.Size(),
			Check: func() {
				want := make([]float64, n)
				for i, v := range xs {
					want[i] = refUnary(op, float64(k), v)
				}
				e.Expect(y, want, Tolerance(dt))
			},
		}
	}
}

func unaryBwdCase(op tensor.UnaryOp, dt tensor.DType, n int, acc, inPlace bool) func(*Env) Job {
	return func(e *Env) Job {
		k, xs, dys := constant(op), e.wide(n), e.Rand(n)
		x := e.In("x", dt, xs, n)
		var dx, dy tensor.Tensor
		want := make([]float64, n)
		if inPlace {
			dy = e.InOut("dy", dt, dys, n)
			dx = dy
		} else {
			dy = e.In("dy", dt, dys, n)
			dx, want = e.AccOut("dx", dt, acc, n)
		}
		return Job{
			Run:   func() error { return e.B.UnaryBwd(op, k, dx, dy, x, acc) },
			Bytes: 3 * n * dt.Size(),
			Check: func() {
				for i, v := range xs {
					want[i] += dys[i] * refUnaryD(op, float64(k), v)
				}
				e.Expect(dx, want, Tolerance(dt))
			},
		}
	}
}

func binaryCase(op tensor.BinaryOp, dt tensor.DType, rows, cols int, kind string, acc, inPlace bool) func(*Env) Job {
	return func(e *Env) Job {
		n := rows * cols
		as := e.Rand(n)
		want := make([]float64, n)
		var a, y tensor.Tensor
		if inPlace {
			a = e.InOut("a", dt, as, rows, cols)
			y = a
		} else {
			a = e.In("a", dt, as, rows, cols)
			y, want = e.AccOut("y", dt, acc, rows, cols)
		}
		var b tensor.Tensor
		var bs []float64
		index := func(i int) int { return i }
		switch kind {
		case "row":
			bs = e.Rand(cols)
			b = e.In("b", dt, bs, cols)
			index = func(i int) int { return i % cols }
		case "column":
			bs = e.Rand(rows)
			b = e.In("b", dt, bs, rows, 1)
			index = func(i int) int { return i / cols }
		default:
			bs = e.Rand(n)
			b = e.In("b", dt, bs, rows, cols)
		}
		return Job{
			Run:   func() error { return e.B.Binary(op, y, a, b, acc) },
			Bytes: 3 * n * dt.Size(),
			Check: func() {
				for i, v := range as {
					want[i] += refBinary(op, v, bs[index(i)])
				}
				e.Expect(y, want, Tolerance(dt))
			},
		}
	}
}

// gateOperands makes gate and up: halves of one buffer if fused, otherwise two with gaps between their rows.
func (e *Env) gateOperands(dt tensor.DType, rows, cols int, fused, output bool) (s tensor.GateSpec, gate, up tensor.Tensor, gs, us []float64) {
	s = tensor.GateSpec{Rows: rows, Cols: cols, StrideY: cols + 3}
	make := func(name string, n int) (tensor.Tensor, []float64) {
		vals := e.wide(n)
		if output {
			return e.InOut(name, dt, vals, n), vals
		}
		return e.In(name, dt, vals, n), vals
	}
	if fused {
		s.StrideGate, s.StrideUp = 2*cols, 2*cols
		both, vals := make("gate|up", 2*rows*cols)
		return s, both, both.Slice(cols, both.Len()), vals, vals[cols:]
	}
	s.StrideGate, s.StrideUp = cols+1, cols+2
	gate, gs = make("gate", rows*s.StrideGate)
	up, us = make("up", rows*s.StrideUp)
	return s, gate, up, gs, us
}

// gaps returns rows rows of cols zeros with stride, and Untouched between them.
func gaps(rows, cols, stride int) []float64 {
	x := make([]float64, rows*stride)
	for i := range x {
		if i%stride >= cols {
			x[i] = Untouched
		}
	}
	return x
}

func gateCase(op tensor.UnaryOp, dt tensor.DType, rows, cols int, fused bool) func(*Env) Job {
	return func(e *Env) Job {
		s, gate, up, gs, us := e.gateOperands(dt, rows, cols, fused, false)
		s.Op = op
		y := e.Out("y", dt, rows*s.StrideY)
		return Job{
			Run:   func() error { return e.B.Gate(s, y, gate, up) },
			Bytes: 3 * rows * cols * dt.Size(),
			Check: func() {
				want := gaps(rows, cols, s.StrideY)
				for r := range rows {
					for i := range cols {
						want[r*s.StrideY+i] = refUnary(op, 0, gs[r*s.StrideGate+i]) * us[r*s.StrideUp+i]
					}
				}
				e.Expect(y, want, Tolerance(dt))
			},
		}
	}
}

func gateBwdCase(op tensor.UnaryOp, dt tensor.DType, rows, cols int, fused, inPlace bool) func(*Env) Job {
	return func(e *Env) Job {
		s, gate, up, gs, us := e.gateOperands(dt, rows, cols, fused, inPlace)
		s.Op = op
		dys := e.Rand(rows * s.StrideY)
		dy := e.In("dy", dt, dys, len(dys))
		dgate, dup := gate, up
		wantGate, wantUp := append([]float64(nil), gs...), append([]float64(nil), us...)
		if !inPlace && fused {
			both := e.Out("dgate|dup", dt, gate.Len())
			dgate, dup = both, both.Slice(cols, both.Len())
		} else if !inPlace {
			dgate, dup = e.Out("dgate", dt, gate.Len()), e.Out("dup", dt, up.Len())
			wantGate, wantUp = gaps(rows, cols, s.StrideGate), gaps(rows, cols, s.StrideUp)
		}
		if fused {
			wantUp = wantGate[cols:]
		}
		return Job{
			Run:   func() error { return e.B.GateBwd(s, dgate, dup, dy, gate, up) },
			Bytes: 5 * rows * cols * dt.Size(),
			Check: func() {
				for r := range rows {
					for i := range cols {
						g, u, d := gs[r*s.StrideGate+i], us[r*s.StrideUp+i], dys[r*s.StrideY+i]
						wantGate[r*s.StrideGate+i] = d * u * refUnaryD(op, 0, g)
						wantUp[r*s.StrideUp+i] = d * refUnary(op, 0, g)
					}
				}
				e.Expect(dgate, wantGate, Tolerance(dt))
				e.Expect(dup, wantUp, Tolerance(dt))
			},
		}
	}
}

var testKey = tensor.RNGKey{Seed: 0x123456789abcdef0, Micro: 7, Op: 42}

func dropoutCase(dt tensor.DType, n int, p float32, acc, inPlace bool) func(*Env) Job {
	return func(e *Env) Job {
		xs := e.Rand(n)
		want := make([]float64, n)
		var x, y tensor.Tensor
		if inPlace {
			x = e.InOut("x", dt, xs, n)
			y = x
		} else {
			x = e.In("x", dt, xs, n)
			y, want = e.AccOut("y", dt, acc, n)
		}
		return Job{
			Run:   func() error { return e.B.Dropout(y, x, p, testKey, acc) },
			Bytes: 2 * n * dt.Size(),
			Check: func() {
				for i, v := range xs {
					want[i] += v * refKeep(testKey, uint64(i), p)
				}
				e.Expect(y, want, Tolerance(dt))
			},
		}
	}
}

func sumSqCase(dt tensor.DType, n int, acc bool) func(*Env) Job {
	return func(e *Env) Job {
		xs := e.Rand(n)
		x := e.In("x", dt, xs, n)
		out, want := e.AccOut("out", tensor.F32, acc, 1)
		return Job{
			Run:   func() error { return e.B.SumSq(out, x, acc) },
			Bytes: n * dt.Size(),
			Check: func() {
				for _, v := range xs {
					want[0] += v * v
				}
				e.Expect(out, want, Tolerance(tensor.F32))
			},
		}
	}
}
