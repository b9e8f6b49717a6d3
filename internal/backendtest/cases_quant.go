package backendtest

import (
	"bytes"
	"errors"
	"fmt"
	"math"

	"github.com/mltrain/mltrain/internal/quant"
	"github.com/mltrain/mltrain/internal/tensor"
)

func (l *list) dequant() {
	for _, dt := range activations {
		for _, nested := range []bool{false, true} {
			// Rows that are no multiple of a block or of a byte, a short last block, a part from the middle.
			for _, s := range [][4]int{{1, 1, 0, 1}, {1, 63, 0, 1}, {5, 65, 0, 5}, {5, 65, 1, 3}, {7, 37, 2, 5}, {3, 64, 1, 2}, {130, 192, 0, 130}, {130, 193, 17, 101}} {
				l.add("Dequant", dequantCase(dt, nested, s[0], s[1], s[2], s[3]), "%v/nested=%v/%v", dt, nested, s)
			}
		}
	}
}

// fewRows covers tensor.Quant4Multiplier: rows that are no multiple of a block or of a byte, long
// enough for each way of reading them. Of the cases those are taken that a device has rows for.
func (l *list) fewRows(most func(x tensor.DType) int) {
	add := func(c fewRowsCase, format string, args ...any) {
		if c.m <= most(c.x) {
			l.add("MulQuant4", c.prepare, format, args...)
		}
	}
	for _, dt := range activations {
		for i, s := range [][3]int{
			{1, 1, 1}, {1, 5, 65}, {2, 9, 37}, {3, 33, 64}, {4, 7, 1056}, {5, 17, 96}, {6, 40, 193}, {7, 65, 576}, {8, 131, 128}, {11, 40, 193}, {16, 33, 160}, {16, 5, 2080}, {0, 3, 64},
		} {
			for _, nested := range []bool{false, true} {
				c := fewRowsCase{x: dt, y: dt, nested: nested, m: s[0], n: s[1], k: s[2], bias: i%2 == 0}
				if i%3 == 1 {
					c.beta = 0.5
				}
				add(c, "%v/%v/nested=%v/bias=%v,beta=%v", dt, s, nested, c.bias, c.beta)
			}
		}
	}
	for _, s := range [][3]int{{2, 16, 32}, {8, 1, 96}, {9, 33, 1184}, {31, 17, 160}, {33, 5, 64}, {64, 18, 2080}, {64, 7, 33}, {17, 3, 65}} {
		for _, nested := range []bool{false, true} {
			for _, bias := range []bool{false, true} {
				c := fewRowsCase{x: tensor.BF16, y: tensor.BF16, nested: nested, m: s[0], n: s[1], k: s[2], bias: bias, beta: map[bool]float32{true: -0.5}[nested]}
				add(c, "more rows of bfloat16/%v/nested=%v/bias=%v", s, nested, bias)
			}
		}
	}
	add(fewRowsCase{x: tensor.BF16, y: tensor.F32, m: 3, n: 21, k: 128, bias: true, beta: 1}, "float32 of bfloat16")
	add(fewRowsCase{x: tensor.F32, y: tensor.BF16, m: 7, n: 21, k: 128}, "bfloat16 of float32")
}

// drafts covers tensor.Drafter: products of up to most rows, and rounding on every device that has it.
func (l *list) drafts(most int) {
	for _, dt := range activations {
		for _, transposed := range []bool{false, true} {
			for _, s := range [][2]int{{4, 1}, {5, 17}, {64, 48}, {130, 65}, {257, 100}} {
				l.add("EncodeInt8", encodeInt8Case(dt, transposed, s[0], s[1]), "%v/transposed=%v/%v", dt, transposed, s)
			}
		}
	}
	for m := 1; m <= most; m++ {
		for _, k := range []int{1, 33, 64, 190} {
			l.add("MulInt8", mulInt8Case(m, k), "%d rows/%d", m, k)
		}
	}
}

func encodeInt8Case(dt tensor.DType, transposed bool, rows, cols int) func(*Env) Job {
	return func(e *Env) Job {
		shape := []int{rows, cols}
		if transposed {
			shape = []int{cols, rows}
		}
		ws := e.Rand(rows * cols)
		at := func(i, j int) *float64 {
			if transposed {
				return &ws[j*rows+i]
			}
			return &ws[i*cols+j]
		}
		for j := range cols {
			*at(1, j) = 0     // a row of nothing
			*at(2, j) *= 1e-6 // one whose scale is small
		}
		w := e.In("w", dt, ws, shape...)
		q := tensor.Int8Rows{Codes: e.Out("codes", tensor.I8, rows, cols), Scales: e.Out("scales", tensor.F32, rows)}
		return Job{
			Run:   func() error { return e.B.(tensor.Drafter).EncodeInt8(q, w, transposed) },
			Bytes: rows * cols * (dt.Size() + 1),
			Check: func() {
				codes, scales := e.Read(q.Codes), e.Read(q.Scales)
				want := make([]float64, rows)
				for i := range want {
					for j := range cols {
						want[i] = max(want[i], math.Abs(*at(i, j))/127)
					}
					for j := range cols {
						// Half a step, and what rounding of the scale and its inverse adds to 127 steps.
						if diff := math.Abs(codes[i*cols+j]*scales[i] - *at(i, j)); !(diff <= 0.5001*scales[i]) {
							e.TB.Errorf("element %d,%d: %v·%v for %v", i, j, codes[i*cols+j], scales[i], *at(i, j))
						}
					}
				}
				e.Expect(q.Scales, want, Tolerance(tensor.F32))
			},
		}
	}
}

func mulInt8Case(m, k int) func(*Env) Job {
	return func(e *Env) Job {
		xs := e.Rand(m * k)
		x := e.In("x", tensor.F32, xs, m, k)
		var parts []tensor.Int8Part
		var checks []func()
		flops := 0
		for i, n := range []int{4, 37, 128} {
			codes, scales, rows := make([]float64, n*k), e.Rand(n), make([]float64, n*k)
			for j := range codes {
				codes[j] = float64(e.rng.IntN(255) - 127)
			}
			p := tensor.Int8Part{
				Y: e.Out(fmt.Sprintf("y%d", i), tensor.F32, m, n),
				W: tensor.Int8Rows{Codes: e.In(fmt.Sprintf("codes%d", i), tensor.I8, codes, n, k), Scales: e.In(fmt.Sprintf("scales%d", i), tensor.F32, scales, n)},
			}
			for j := range rows {
				rows[j] = codes[j] * scales[j/k]
			}
			var bias []float64
			if i > 0 {
				bias = e.Rand(n)
				p.Bias = e.In(fmt.Sprintf("bias%d", i), activations[i%2], bias, n)
			}
			parts = append(parts, p)
			flops += 2 * m * n * k
			checks = append(checks, func() {
				want := make([]float64, m*n)
				refGemm(tensor.GemmSpec{TransB: true, M: m, N: n, K: k, LDA: k, LDB: k, LDC: n, Alpha: 1}, want, xs, rows, bias)
				e.Expect(p.Y, want, Tolerance(tensor.F32))
			})
		}
		return Job{
			Run:   func() error { return e.B.(tensor.Drafter).MulInt8(x, parts) },
			Flops: float64(flops),
			Check: func() {
				for _, check := range checks {
					check()
				}
			},
		}
	}
}

type fewRowsCase struct {
	x, y    tensor.DType
	nested  bool
	m, n, k int
	bias    bool
	beta    float32
}

func (c fewRowsCase) prepare(e *Env) Job {
	mul := e.B.(tensor.Quant4Multiplier)
	q, w := e.quant4(c.nested, c.n, c.k)
	xs, ys := e.Rand(c.m*c.k), e.Rand(c.m*c.n)
	x := e.In("x", c.x, xs, c.m, c.k)
	var biasT tensor.Tensor
	var biasV []float64
	if c.bias {
		biasV = e.Rand(c.n)
		biasT = e.In("bias", c.x, biasV, c.n)
	}
	if c.beta == 0 {
		for i := range ys {
			ys[i] = math.NaN()
		}
	}
	y := e.InOut("y", c.y, ys, c.m, c.n)
	return Job{
		Run:   func() error { return mul.MulQuant4(y, x, q, biasT, c.beta) },
		Bytes: c.n * c.k / 2,
		Flops: 2 * float64(c.m*c.n*c.k),
		Check: func() {
			want := make([]float64, c.m*c.n)
			for i := range want {
				if c.beta != 0 {
					want[i] = ys[i]
				}
			}
			s := tensor.GemmSpec{TransB: true, M: c.m, N: c.n, K: c.k, LDA: c.k, LDB: c.k, LDC: c.n, Alpha: 1, Beta: c.beta}
			refGemm(s, want, xs, widened(w), biasV)
			tol := Tolerance(c.y)
			if c.x == tensor.BF16 && c.y == tensor.BF16 {
				tol *= 2 // the weights may be rounded too
			}
			e.Expect(y, want, tol)
		},
	}
}

// updates8 covers tensor.Updater8: parameters of any length, on odd places of the vector, some with plain states.
func (l *list) updates8() {
	for _, w := range []tensor.DType{tensor.Invalid, tensor.F32, tensor.BF16} {
		for _, g := range activations {
			for _, scale := range []float64{0.5, math.NaN()} {
				for _, kind := range []tensor.OptKind{tensor.Adam, tensor.AdamW} {
					s := tensor.OptSpec{Kind: kind, Step: 3, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8}
					l.add("Optim8", optim8Case(s, g, w, scale), "%d/g=%v/w=%v/scale=%v", kind, g, w, scale)
				}
			}
		}
	}
}

// optim8Case compares with Decode8, Optim and Encode8 of each region: to the bit.
func optim8Case(s tensor.OptSpec, gt, wt tensor.DType, scale float64) func(*Env) Job {
	return func(e *Env) Job {
		const n, coded, plain = 1800, 3 * 256, 70
		regions := []tensor.Region8{
			{Segment: tensor.Segment{Off: 3, Len: 300, LR: 0.01, WeightDecay: 0.1}, At: 256},
			{Segment: tensor.Segment{Off: 400, Len: 61, LR: 0.02}, At: 7, Plain: true},
			{Segment: tensor.Segment{Off: 1024, Len: 200, LR: 0.03, WeightDecay: 0.2}, At: 0},
		}
		type vectors struct {
			w, master, s1, s2 tensor.Tensor
			q                 [2]tensor.Blocks8
		}
		masters, states := e.Rand(n), [2][]float64{e.Rand(plain), e.Rand(plain)}
		for i, v := range states[1] {
			states[1][i] = v * v
		}
		copied := func(x []float64) []float64 { return append([]float64(nil), x...) }
		// fresh makes the vectors, all of them alike.
		fresh := func() (v vectors) {
			if wt != tensor.Invalid {
				v.w = e.Out("w", wt, n)
			}
			v.master = e.InOut("master", tensor.F32, copied(masters), n)
			v.s1, v.s2 = e.InOut("s1", tensor.F32, copied(states[0]), plain), e.InOut("s2", tensor.F32, copied(states[1]), plain)
			for i := range v.q {
				values := quant.DynamicMap(i == 0)
				codes, absmax := make([]float64, coded), []float64{2, 0, 0.5}
				for j := range codes {
					codes[j] = float64(uint32(j+1) * 2654435761 >> 24)
				}
				v.q[i] = tensor.Blocks8{
					Codes: e.InOut("codes", tensor.U8, codes, coded), Absmax: e.InOut("absmax", tensor.F32, absmax, 3),
					Map: e.In("map", tensor.F32, widened(values[:]), 256), Signed: i == 0,
				}
			}
			return v
		}
		got, want := fresh(), fresh()
		g, sc := e.In("g", gt, e.Rand(n), n), e.In("scale", tensor.F32, []float64{scale}, 1)
		return Job{
			Run: func() error {
				return e.B.(tensor.Updater8).Optim8(s, regions, got.w, got.master, got.s1, got.s2, got.q[0], got.q[1], g, sc)
			},
			Bytes: n * 10,
			Check: func() {
				if finite(scale) {
					for _, r := range regions {
						e.inParts(s, r, want.w, want.master, want.s1, want.s2, want.q, g, sc)
					}
				}
				type pair struct{ got, want tensor.Tensor }
				all := []pair{{got.master, want.master}, {got.s1, want.s1}, {got.s2, want.s2}}
				for i := range got.q {
					all = append(all, pair{got.q[i].Codes, want.q[i].Codes}, pair{got.q[i].Absmax, want.q[i].Absmax})
				}
				if wt != tensor.Invalid {
					all = append(all, pair{got.w, want.w})
				}
				for i, p := range all {
					if !bytes.Equal(e.bytes(p.got), e.bytes(p.want)) {
						e.TB.Errorf("vector %d differs from what decoding, updating and encoding give", i)
					}
				}
			},
		}
	}
}

// inParts updates a region by decoding, updating and encoding.
func (e *Env) inParts(s tensor.OptSpec, r tensor.Region8, w, master, s1, s2 tensor.Tensor, q [2]tensor.Blocks8, g, scale tensor.Tensor) {
	e.TB.Helper()
	part := func(x tensor.Tensor, off int) tensor.Tensor {
		if x.IsZero() {
			return x
		}
		return x.Slice(off, off+r.Len)
	}
	var d [2]tensor.Tensor
	var errs []error
	if r.Plain {
		d = [2]tensor.Tensor{part(s1, r.At), part(s2, r.At)}
	} else {
		first, blocks := r.At/quant.StateBlock, quant.Blocks(r.Len, quant.StateBlock)
		for i := range q {
			q[i].Codes, q[i].Absmax = part(q[i].Codes, r.At), q[i].Absmax.Slice(first, first+blocks)
			d[i] = e.Out("decoded", tensor.F32, r.Len)
			errs = append(errs, e.B.Decode8(d[i], q[i]))
		}
	}
	seg := r.Segment
	seg.Off = 0
	errs = append(errs, e.B.Optim(s, []tensor.Segment{seg}, part(w, r.Off), part(master, r.Off), d[0], d[1], part(g, r.Off), scale))
	if !r.Plain {
		errs = append(errs, e.B.Encode8(q[0], d[0]), e.B.Encode8(q[1], d[1]))
	}
	if err := errors.Join(errs...); err != nil {
		e.TB.Fatal(err)
	}
}

func (l *list) blocks8() {
	for _, signed := range []bool{true, false} {
		for _, n := range []int{1, 255, 256, 257, 1000, 70000} {
			l.add("Encode8", encode8Case(signed, n), "signed=%v/%d", signed, n)
			l.add("Decode8", decode8Case(signed, n), "signed=%v/%d", signed, n)
		}
	}
}

// blocks8Inputs makes a vector with a block of zeros and blocks of different size.
func (e *Env) blocks8Inputs(signed bool, n int) (x []float32, codes []byte, absmax []float32, values tensor.Tensor) {
	for i, v := range e.Rand(n) {
		if !signed {
			v = v * v
		}
		if i/256 == 1 {
			v = 0
		}
		x = append(x, float32(v*[]float64{1, 1e-5, 1e4}[i/256%3]))
	}
	codes, absmax = make([]byte, n), make([]float32, quant.Blocks(n, quant.StateBlock))
	quant.States(signed).EncodeState(codes, absmax, x)
	code := quant.DynamicMap(signed)
	return x, codes, absmax, e.In("map", tensor.F32, widened(code[:]), 256)
}

func encode8Case(signed bool, n int) func(*Env) Job {
	return func(e *Env) Job {
		x, codes, absmax, values := e.blocks8Inputs(signed, n)
		in := e.In("x", tensor.F32, widened(x), n)
		q := tensor.Blocks8{Codes: e.Out("codes", tensor.U8, n), Absmax: e.Out("absmax", tensor.F32, len(absmax)), Map: values, Signed: signed}
		return Job{
			Run:   func() error { return e.B.Encode8(q, in) },
			Bytes: 5 * n,
			Check: func() {
				e.Expect(q.Absmax, widened(absmax), 0)
				want := make([]float64, n)
				for i, c := range codes {
					want[i] = float64(c)
				}
				e.Expect(q.Codes, want, 0)
			},
		}
	}
}

func decode8Case(signed bool, n int) func(*Env) Job {
	return func(e *Env) Job {
		_, codes, absmax, values := e.blocks8Inputs(signed, n)
		q := tensor.Blocks8{Codes: e.Codes("codes", codes), Absmax: e.In("absmax", tensor.F32, widened(absmax), len(absmax)), Map: values, Signed: signed}
		x := e.Out("x", tensor.F32, n)
		return Job{
			Run:   func() error { return e.B.Decode8(x, q) },
			Bytes: 5 * n,
			Check: func() {
				want := make([]float32, n)
				quant.States(signed).DecodeState(want, codes, absmax)
				e.Expect(x, widened(want), 0)
			},
		}
	}
}

// quant4 makes a random matrix in four bits, and returns its values.
func (e *Env) quant4(nested bool, rows, cols int) (tensor.Quant4, []float32) {
	x := make([]float32, rows*cols)
	for i, v := range e.Rand(len(x)) {
		x[i] = float32(v)
	}
	packed, absmax := make([]byte, quant.PackedBytes(len(x))), make([]float32, quant.Blocks(len(x), quant.BlockSize))
	quant.EncodeNF4(packed, absmax, x)
	q := tensor.Quant4{Rows: rows, Cols: cols, Codes: e.Codes("codes", packed)}
	if nested {
		s := quant.EncodeNested(absmax)
		absmax = s.Decode()
		q.AbsCodes, q.Offset = e.Codes("absmax codes", s.Codes), s.Offset
		q.AbsScales = e.In("absmax scales", tensor.F32, widened(s.Scales), len(s.Scales))
		values := quant.DynamicMap(true)
		q.Map = e.In("map", tensor.F32, widened(values[:]), len(values))
	} else {
		q.Absmax = e.In("absmax", tensor.F32, widened(absmax), len(absmax))
	}
	quant.DecodeNF4(x, packed, absmax, 0)
	return q, x
}

func dequantCase(dt tensor.DType, nested bool, rows, cols, from, n int) func(*Env) Job {
	return func(e *Env) Job {
		q, values := e.quant4(nested, rows, cols)
		w := e.Out("w", dt, n, cols)
		return Job{
			Run:   func() error { return e.B.Dequant(w, q, from) },
			Bytes: n*cols/2 + n*cols*dt.Size(),
			Check: func() {
				e.Expect(w, decode(dt, encode(dt, widened(values[from*cols:(from+n)*cols]))), 0)
			},
		}
	}
}

func widened(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}
