package backendtest

import (
	"math"

	"github.com/mltrain/mltrain/internal/tensor"
)

// normSpecs are the normalisations of real models.
var normSpecs = map[string]tensor.NormSpec{
	"rms":      {Kind: tensor.RMSNorm, Eps: 1e-5},
	"rms+1":    {Kind: tensor.RMSNorm, Eps: 1e-6, PlusOne: true},
	"layer":    {Kind: tensor.LayerNorm, Eps: 1e-5},
	"layer+1":  {Kind: tensor.LayerNorm, Eps: 1e-5, PlusOne: true},
	"rms/eps1": {Kind: tensor.RMSNorm, Eps: 1},
}

func (l *list) norms() {
	for _, dt := range activations {
		for _, kind := range []string{"rms", "rms+1", "layer", "layer+1", "rms/eps1"} {
			for _, shape := range [][2]int{{1, 1}, {5, 63}, {65, 5}, {3, 65}, {7, 1123}, {300, 123}, {2, 4100}} {
				for _, bias := range []bool{false, true} {
					l.add("Norm", normCase(normSpecs[kind], dt, shape[0], shape[1], bias), "%s/%v/%v/bias=%v", kind, dt, shape, bias)
					for _, acc := range []bool{false, true} {
						l.add("NormBwd", normBwdCase(normSpecs[kind], dt, shape[0], shape[1], bias, acc, false),
							"%s/%v/%v/params=%v/acc=%v", kind, dt, shape, bias, acc)
					}
				}
				l.add("NormBwd", normBwdCase(normSpecs[kind], dt, shape[0], shape[1], true, false, true), "%s/%v/%v/inplace", kind, dt, shape)
			}
		}
	}
}

func (e *Env) rowsWithMean(rows, cols int) []float64 {
	x := e.Rand(rows * cols)
	for i := range x {
		x[i] = 2*x[i] + 3
	}
	return x
}

func normCase(s tensor.NormSpec, dt tensor.DType, rows, cols int, bias bool) func(*Env) Job {
	return func(e *Env) Job {
		xs, ws := e.rowsWithMean(rows, cols), e.Rand(cols)
		x, w := e.In("x", dt, xs, rows, cols), e.In("w", dt, ws, cols)
		var b tensor.Tensor
		var bs []float64
		if bias {
			bs = e.Rand(cols)
			b = e.In("b", dt, bs, cols)
		}
		y, stats := e.Out("y", dt, rows, cols), e.Out("stats", tensor.F32, rows, 2)
		return Job{
			Run:   func() error { return e.B.Norm(s, y, stats, x, w, b) },
			Bytes: 2 * len(xs) * dt.Size(),
			Check: func() {
				want, wantStats := refNorm(s, xs, ws, bs, rows, cols)
				// x−mean loses digits where the deviation is small beside the mean.
				e.Expect(y, want, 2*Tolerance(dt))
				e.Expect(stats, wantStats, Tolerance(tensor.F32))
			},
		}
	}
}

func normBwdCase(s tensor.NormSpec, dt tensor.DType, rows, cols int, params, acc, inPlace bool) func(*Env) Job {
	return func(e *Env) Job {
		xs, ws, dys := e.rowsWithMean(rows, cols), e.Rand(cols), e.Rand(rows*cols)
		x, w := e.In("x", dt, xs, rows, cols), e.In("w", dt, ws, cols)
		_, st := refNorm(s, xs, ws, nil, rows, cols)
		stats := e.In("stats", tensor.F32, st, rows, 2)
		var dx, dy, dw, db tensor.Tensor
		wantW, wantB, wantX := make([]float64, cols), make([]float64, cols), make([]float64, rows*cols)
		if params {
			dw, wantW = e.AccOut("dw", tensor.F32, true, cols)
			db, wantB = e.AccOut("db", tensor.F32, true, cols)
		}
		if inPlace {
			dy = e.InOut("dy", dt, dys, rows, cols)
			dx = dy
		} else {
			dy = e.In("dy", dt, dys, rows, cols)
			dx, wantX = e.AccOut("dx", dt, acc, rows, cols)
		}
		return Job{
			Run:   func() error { return e.B.NormBwd(s, dx, dw, db, dy, stats, x, w, acc) },
			Bytes: 3 * len(xs) * dt.Size(),
			Check: func() {
				// A row of one element has gradient 0 but for eps: the difference of equal numbers.
				scale := 1.0
				for _, v := range st {
					scale = math.Max(scale, math.Abs(v))
				}
				refNormBwd(s, wantX, wantW, wantB, dys, st, xs, ws, rows, cols)
				if cols > 1 {
					e.Expect(dx, wantX, 4*Tolerance(dt))
				} else {
					e.near(dx, wantX, 1e-4*scale*scale)
				}
				if params {
					e.Expect(dw, wantW, 4*Tolerance(tensor.F32))
					e.Expect(db, wantB, 2*Tolerance(tensor.F32))
				}
			},
		}
	}
}

// near compares with an absolute bound.
func (e *Env) near(t tensor.Tensor, want []float64, bound float64) {
	e.TB.Helper()
	for i, g := range e.Read(t) {
		if !(math.Abs(g-want[i]) <= bound+Tolerance(t.DType)*math.Abs(want[i])) {
			e.TB.Errorf("element %d of %v is %v, want %v within %v", i, t, g, want[i], bound)
		}
	}
}

func (l *list) rope() {
	for _, dt := range activations {
		for _, s := range []tensor.RopeSpec{
			{Heads: 1, HeadDim: 2, RotaryDim: 2},
			{Heads: 3, HeadDim: 10, RotaryDim: 10},
			{Heads: 3, HeadDim: 64, RotaryDim: 64},
			{Heads: 2, HeadDim: 80, RotaryDim: 32},
			{Heads: 5, HeadDim: 36, RotaryDim: 34},
		} {
			for _, rows := range []int{1, 5, 123} {
				for _, interleaved := range []bool{false, true} {
					for _, sign := range []float32{1, -1} {
						s.Interleaved, s.Sign = interleaved, sign
						l.add("Rope", ropeCase(s, dt, rows, 6, 1, false), "%v/heads=%d/dim=%d,%d/rows=%d/interleaved=%v/sign=%v", dt, s.Heads, s.HeadDim, s.RotaryDim, rows, interleaved, sign)
					}
					l.add("Rope", ropeCase(s, dt, rows, 6, 1, true), "%v/heads=%d/dim=%d,%d/rows=%d/interleaved=%v/inplace", dt, s.Heads, s.HeadDim, s.RotaryDim, rows, interleaved)
				}
			}
		}
		for _, s := range []tensor.RopeSpec{
			{Heads: 3, HeadDim: 64, RotaryDim: 64, Sign: 1},
			{Heads: 2, HeadDim: 80, RotaryDim: 32, Sign: -1},
			{Heads: 1, HeadDim: 16, RotaryDim: 8, Sign: 1}, // halves of 4 elements: not whole pieces of bfloat16
		} {
			for _, inPlace := range []bool{false, true} {
				l.add("Rope", ropeCase(s, dt, 17, 16, 8, inPlace), "%v/aligned/dim=%d,%d/inplace=%v", dt, s.HeadDim, s.RotaryDim, inPlace)
			}
		}
	}
}

// ropeCase has gapX and gapY elements between the rows of x and y.
func ropeCase(s tensor.RopeSpec, dt tensor.DType, rows, gapX, gapY int, inPlace bool) func(*Env) Job {
	return func(e *Env) Job {
		const positions = 50
		width := s.Heads * s.HeadDim
		s.StrideX, s.StrideY = width+gapX, width+gapY
		xs := e.Rand(rows * s.StrideX)
		table := make([]float64, positions*s.RotaryDim)
		for p := range positions {
			for i := range s.RotaryDim / 2 {
				angle := float64(p) / math.Pow(100, float64(2*i)/float64(s.RotaryDim))
				table[p*s.RotaryDim+i], table[p*s.RotaryDim+s.RotaryDim/2+i] = math.Cos(angle), math.Sin(angle)
			}
		}
		ps := e.indices(rows, positions)
		tab, pos := e.In("table", tensor.F32, table, positions, s.RotaryDim), e.Ints("pos", ps)
		var x, y tensor.Tensor
		want := gaps(rows, width, s.StrideY)
		if inPlace {
			x = e.InOut("x", dt, xs, len(xs))
			y, s.StrideY = x, s.StrideX
			want = append([]float64(nil), xs...)
		} else {
			x, y = e.In("x", dt, xs, len(xs)), e.Out("y", dt, len(want))
		}
		return Job{
			Run:   func() error { return e.B.Rope(s, y, x, tab, pos) },
			Bytes: 2 * rows * width * dt.Size(),
			Check: func() {
				for r, p := range ps {
					for h := range s.Heads {
						refRope(s, want[r*s.StrideY+h*s.HeadDim:], xs[r*s.StrideX+h*s.HeadDim:], table[int(p)*s.RotaryDim:])
					}
				}
				e.Expect(y, want, Tolerance(dt))
			},
		}
	}
}
