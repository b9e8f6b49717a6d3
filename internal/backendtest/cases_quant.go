package backendtest

import (
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

func dequantCase(dt tensor.DType, nested bool, rows, cols, from, n int) func(*Env) Job {
	return func(e *Env) Job {
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
		w := e.Out("w", dt, n, cols)
		return Job{
			Run:   func() error { return e.B.Dequant(w, q, from) },
			Bytes: len(packed) + n*cols*dt.Size(),
			Check: func() {
				want := make([]float32, len(x))
				quant.DecodeNF4(want, packed, absmax, 0)
				e.Expect(w, decode(dt, encode(dt, widened(want[from*cols:(from+n)*cols]))), 0)
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
