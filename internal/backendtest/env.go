package backendtest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/mltrain/mltrain/internal/tensor"
)

// guard is the number of sentinel bytes on either side of a tensor.
const guard = 64

const sentinel = 0xA5

// Env makes the operands of one case and checks them afterwards.
type Env struct {
	TB testing.TB
	B  tensor.Backend
	// Shift is the number of elements by which every operand begins later than at a multiple of 64 bytes.
	Shift int
	rng   *rand.Rand
	ops   []*operand
}

type operand struct {
	name   string
	t      tensor.Tensor
	before []byte
	output bool
}

// NewEnv returns an environment whose random numbers depend on name alone.
func NewEnv(tb testing.TB, b tensor.Backend, name string) *Env {
	h := fnv.New64a()
	h.Write([]byte(name))
	return &Env{TB: tb, B: b, rng: rand.New(rand.NewPCG(h.Sum64(), 1))}
}

// Free frees the operands.
func (e *Env) Free() {
	for _, o := range e.ops {
		e.B.Free(o.t.Buf)
	}
	e.ops = nil
}

// Rand returns n standard normal numbers.
func (e *Env) Rand(n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = e.rng.NormFloat64()
	}
	return x
}

func (e *Env) place(name string, dt tensor.DType, data []byte, output bool, shape []int) tensor.Tensor {
	e.TB.Helper()
	buf, err := e.B.Alloc(int64(len(data)+2*guard), tensor.UseActivations)
	if err != nil {
		e.TB.Fatal(err)
	}
	all := bytes.Repeat([]byte{sentinel}, len(data)+2*guard)
	from := guard + e.Shift*dt.Size()
	copy(all[from:], data)
	if err := e.B.Upload(tensor.New(buf, 0, tensor.U8, len(all)), all); err != nil {
		e.TB.Fatal(err)
	}
	t := tensor.New(buf, int64(from), dt, shape...)
	if t.Bytes() != int64(len(data)) {
		e.TB.Fatalf("%s: %d bytes of data for %v", name, len(data), t)
	}
	e.ops = append(e.ops, &operand{name, t, data, output})
	return t
}

// In makes an input. It rounds vals to the type, in place.
func (e *Env) In(name string, dt tensor.DType, vals []float64, shape ...int) tensor.Tensor {
	e.TB.Helper()
	data := encode(dt, vals)
	copy(vals, decode(dt, data))
	return e.place(name, dt, data, false, shape)
}

// Ints makes an int32 input.
func (e *Env) Ints(name string, vals []int32, shape ...int) tensor.Tensor {
	e.TB.Helper()
	if shape == nil {
		shape = []int{len(vals)}
	}
	data := make([]byte, 0, 4*len(vals))
	for _, v := range vals {
		data = binary.LittleEndian.AppendUint32(data, uint32(v))
	}
	return e.place(name, tensor.I32, data, false, shape)
}

// Codes makes an operand of bytes that a kernel reads.
func (e *Env) Codes(name string, data []byte) tensor.Tensor {
	e.TB.Helper()
	return e.place(name, tensor.U8, data, false, []int{len(data)})
}

// InOut makes an operand that a kernel reads and writes.
func (e *Env) InOut(name string, dt tensor.DType, vals []float64, shape ...int) tensor.Tensor {
	e.TB.Helper()
	t := e.In(name, dt, vals, shape...)
	e.ops[len(e.ops)-1].output = true
	return t
}

// Out makes an output full of NaN.
func (e *Env) Out(name string, dt tensor.DType, shape ...int) tensor.Tensor {
	e.TB.Helper()
	n := tensor.New(nil, 0, dt, shape...).Len()
	vals := make([]float64, n)
	for i := range vals {
		vals[i] = math.NaN()
	}
	return e.InOut(name, dt, vals, shape...)
}

// AccOut makes an output that is added to if acc, with the values it had, or an Out and zeros.
func (e *Env) AccOut(name string, dt tensor.DType, acc bool, shape ...int) (tensor.Tensor, []float64) {
	e.TB.Helper()
	n := tensor.New(nil, 0, dt, shape...).Len()
	if !acc {
		return e.Out(name, dt, shape...), make([]float64, n)
	}
	vals := e.Rand(n)
	return e.InOut(name, dt, vals, shape...), vals
}

// Untouched stands in expected values for an element that must keep the NaN of Out.
var Untouched = math.Float64frombits(0x7ff8000000000bad)

func isUntouched(x float64) bool { return math.Float64bits(x) == math.Float64bits(Untouched) }

// Read returns the values of t.
func (e *Env) Read(t tensor.Tensor) []float64 {
	e.TB.Helper()
	return decode(t.DType, e.bytes(t))
}

func (e *Env) bytes(t tensor.Tensor) []byte {
	e.TB.Helper()
	data := make([]byte, t.Bytes())
	if err := e.B.Download(data, t); err != nil {
		e.TB.Fatal(err)
	}
	return data
}

// Outputs returns the bytes of all outputs, one after the other.
func (e *Env) Outputs() []byte {
	var all []byte
	for _, o := range e.ops {
		if o.output {
			all = append(all, e.bytes(o.t)...)
		}
	}
	return all
}

// Tolerance is the error that one rounding to the type may make, with room for a few more: relative to the norm.
func Tolerance(dt tensor.DType) float64 {
	switch dt {
	case tensor.BF16:
		return 4e-3
	case tensor.F16:
		return 5e-4
	}
	return 2e-6
}

// Expect compares t with want: ‖got−want‖ ≤ tol·‖want‖, and each element within 8·tol of its size plus the root mean
// square. Infinities and NaNs must agree.
func (e *Env) Expect(t tensor.Tensor, want []float64, tol float64) {
	e.TB.Helper()
	e.expect(t, want, tol, 0)
}

// expect is Expect for results that may cancel: they count as having at least the root mean square floor.
func (e *Env) expect(t tensor.Tensor, want []float64, tol, floor float64) {
	e.TB.Helper()
	name := "tensor"
	for _, o := range e.ops {
		if o.t.Buf == t.Buf {
			name = o.name
		}
	}
	got := e.Read(t)
	if len(got) != len(want) {
		e.TB.Fatalf("%s: %d values, want %d", name, len(got), len(want))
	}
	var norm, diff float64
	n := 0
	for i, w := range want {
		if g := got[i]; finite(w) && finite(g) {
			norm += w * w
			diff += (g - w) * (g - w)
			n++
		}
	}
	norm = math.Max(norm, floor*floor*float64(n))
	rms := math.Sqrt(norm / math.Max(1, float64(n)))
	bad := 0
	for i, w := range want {
		g := got[i]
		ok := false
		switch {
		case isUntouched(w):
			ok = g != g
		case !finite(w):
			ok = g == w || w != w && g != g
		default:
			ok = math.Abs(g-w) <= 8*tol*(math.Abs(w)+rms)+1e-30
		}
		if !ok {
			if bad++; bad <= 4 {
				e.TB.Errorf("%s[%d] of %v is %v, want %v", name, i, t, g, w)
			}
		}
	}
	if bad > 4 {
		e.TB.Errorf("%s: %d of %d elements are wrong", name, bad, len(want))
	}
	if math.Sqrt(diff) > tol*math.Sqrt(norm)+1e-30 {
		e.TB.Errorf("%s %v: normalised error %.3g, want at most %.3g", name, t, math.Sqrt(diff/norm), tol)
	}
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// CheckSentinels fails if memory around an operand, or an input, has changed.
func (e *Env) CheckSentinels() {
	e.TB.Helper()
	for _, o := range e.ops {
		if what := e.changed(o); what != "" {
			e.TB.Error(what)
		}
	}
}

// changed tells what was written that is no output, if anything was.
func (e *Env) changed(o *operand) string {
	n := o.t.Bytes()
	all := e.bytes(tensor.New(o.t.Buf, 0, tensor.U8, int(n)+2*guard))
	for i, b := range all {
		switch at := i - int(o.t.Off); {
		case at < 0 || int64(at) >= n:
			if b != sentinel {
				return fmt.Sprintf("%s %v: byte %d outside was written", o.name, o.t, at)
			}
		case !o.output && b != o.before[at]:
			return fmt.Sprintf("input %s %v: byte %d was changed", o.name, o.t, at)
		}
	}
	return ""
}

// encode rounds vals to a type.
func encode(dt tensor.DType, vals []float64) []byte {
	data := make([]byte, 0, len(vals)*dt.Size())
	for _, v := range vals {
		switch dt {
		case tensor.F32:
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(v)))
		case tensor.BF16:
			data = binary.LittleEndian.AppendUint16(data, bf16(v))
		case tensor.F16:
			data = binary.LittleEndian.AppendUint16(data, f16(v))
		case tensor.I32:
			data = binary.LittleEndian.AppendUint32(data, uint32(int32(v)))
		case tensor.I8:
			data = append(data, byte(int8(v)))
		default:
			data = append(data, byte(v))
		}
	}
	return data
}

func decode(dt tensor.DType, data []byte) []float64 {
	n := len(data) / dt.Size()
	vals := make([]float64, n)
	for i := range vals {
		switch dt {
		case tensor.F32:
			vals[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:])))
		case tensor.BF16:
			vals[i] = float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(data[2*i:])) << 16))
		case tensor.F16:
			vals[i] = fromF16(binary.LittleEndian.Uint16(data[2*i:]))
		case tensor.I32:
			vals[i] = float64(int32(binary.LittleEndian.Uint32(data[4*i:])))
		case tensor.I8:
			vals[i] = float64(int8(data[i]))
		default:
			vals[i] = float64(data[i])
		}
	}
	return vals
}

// bf16 rounds to 8 bits of significand, to nearest even.
func bf16(v float64) uint16 {
	if v != v {
		return 0x7fc0
	}
	f := math.Float32bits(float32(v))
	low := f & 0xffff
	h := uint16(f >> 16)
	if low > 0x8000 || low == 0x8000 && h&1 == 1 {
		h++
	}
	return h
}

// f16 rounds to 11 bits of significand, to nearest even, with denormals.
func f16(v float64) uint16 {
	sign := uint16(0)
	if math.Signbit(v) {
		sign, v = 0x8000, -v
	}
	switch {
	case v != v:
		return sign | 0x7e00
	case v >= 65520:
		return sign | 0x7c00
	case v == 0:
		return sign
	}
	_, exp := math.Frexp(v) // v in [2^(exp−1), 2^exp)
	exp = max(exp, -13)
	m := math.RoundToEven(math.Ldexp(v, 11-exp)) // up to 2048
	return sign | uint16(int(m)+(exp+13)<<10)
}

func fromF16(h uint16) float64 {
	e, m := int(h>>10&31), float64(h&1023)
	v := math.Ldexp(m+1024, e-25)
	switch {
	case e == 31 && m == 0:
		v = math.Inf(1)
	case e == 31:
		v = math.NaN()
	case e == 0:
		v = math.Ldexp(m, -24)
	}
	if h&0x8000 != 0 {
		v = -v
	}
	return v
}
