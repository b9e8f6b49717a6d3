package gemm

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// eachAMX runs f for every engine with AMX. Where the CPU has none, products are those of other engines, which other tests hold.
func eachAMX(t *testing.T, f func(t *testing.T, e *engine)) {
	if !slices.ContainsFunc(engines, func(e engine) bool { return e.amx != nil }) {
		t.Skip("no engine has AMX: that takes an Intel CPU with AMX_BF16, Linux, and assembly")
	}
	eachEngine(t, func(t *testing.T, e *engine) {
		if e.amx != nil {
			f(t, e)
		}
	})
}

// splitParts is x as three bfloat16 whose sum it is, as float32.
func splitParts(x float32) (p [3]float32) {
	for i := range p {
		p[i] = math.Float32frombits((math.Float32bits(x) + 0x8000) &^ 0xffff)
		x -= p[i]
	}
	return p
}

// TestSplitIsExact: three parts are a float32 without a remainder, down to where they become denormal.
func TestSplitIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(51, 52))
	for range 100000 {
		x := float32(math.Ldexp(r.NormFloat64(), r.IntN(180)-80))
		p := splitParts(x)
		if p[0]+p[1]+p[2] != x || p[1]+p[2] != x-p[0] || math.Float32bits(p[2])&0xffff != 0 {
			t.Fatalf("%x is split into %x", x, p)
		}
	}
}

// TestPackAMX holds packing of both operands, of either order and each kind, against plain Go, bit for bit. Both ends are at guard pages.
func TestPackAMX(t *testing.T) {
	eachAMX(t, func(t *testing.T, e *engine) {
		r := rand.New(rand.NewPCG(53, 54))
		for range 3000 {
			o := operand{size: 4, kind: kind(r.IntN(3)), contig: r.IntN(2) == 0}
			lanes, elems := 1+r.IntN(150), 1+r.IntN(100)
			j := &job{}
			j.engine = e
			if o.kind == copyF32 && r.IntN(3) == 0 {
				elems = 1 + r.IntN(amxFold)
				j.amx.folded = true
			}
			rows, cols := elems, lanes
			if o.contig {
				rows, cols = cols, rows
			}
			ld := cols + r.IntN(3)
			m := matrix(t, r, o.kind == widenBF16, rows, cols, ld)
			if m.BF16 != nil {
				o.size = 2
			}
			o.p, o.ld = m.pointer(), ld*o.size
			x := amxOperandOf(&o, lanes, r.IntN(2) == 0)
			steps := amxStepsOf(elems)
			got := wordsOf(floats(t, panelsOf(lanes)*x.panelBytes(steps)/4))
			for i := range got {
				got[i] = 0xdeadbeef
			}
			j.packAMX(&block{}, &x, unsafe.Pointer(&got[0]), 0, lanes, 0, elems)
			part := func(lane, k, part int) uint16 { // of an element
				if k >= elems {
					return 0
				}
				at := lane*ld + k
				if !o.contig {
					at = k*ld + lane
				}
				switch x.kind {
				case amxCopy:
					return m.BF16[at]
				case amxRound:
					return round(m.F32[at])
				}
				return uint16(math.Float32bits(splitParts(m.F32[at])[part]) >> 16)
			}
			parts := x.parts
			want := part
			if j.amx.folded {
				halves := [][2]int{{0, 1}, {0, 2}} // of the tiles of the first operand
				if x.second {
					halves = [][2]int{{0, 0}, {1, 1}, {2, 0}}
				}
				parts = len(halves)
				want = func(lane, k, p int) uint16 { return part(lane, k%amxFold, halves[p][k/amxFold]) }
			}
			for lane := range lanes {
				for k := range steps * amxSteps {
					for p := range parts {
						tile := lane/amxLanes*x.panelBytes(steps) + k/amxSteps*x.stepBytes() + p*amxPart + lane%amxLanes/16*amxPart/2
						at := tile + lane%16*64 + k%amxSteps*2
						if x.second {
							at = tile + k%amxSteps/2*64 + lane%16*4 + k%2*2
						}
						if got, want := uint16(got[at/4]>>(at%4*8)), want(lane, k, p); got != want {
							t.Fatalf("%+v, %d lanes of %d elements: part %d of element %d of lane %d is %#x, want %#x", x, lanes, elems, p, k, lane, got, want)
						}
					}
				}
			}
			unguard()
		}
	})
}

// TestAMXIsAsPreciseAsFloat32: the error of a float32 product is no larger than that of fused multiply-adds, but for a tenth where two parts share a
// tile; for normal values, for values of one sign, and where some columns of k are a thousand times the others.
func TestAMXIsAsPreciseAsFloat32(t *testing.T) {
	fused := slices.IndexFunc(engines, func(e engine) bool { return e.amx == nil })
	eachAMX(t, func(t *testing.T, e *engine) {
		if e.amx.amxBlocking != standardAMX {
			return // how precise sums are depends on where k is cut
		}
		always := *e.amx
		always.fusedPerCycle = 1
		e.amx = &always
		r := rand.New(rand.NewPCG(55, 56))
		for _, c := range []struct {
			name  string
			value func(k int) float64
		}{
			{"normal", func(int) float64 { return r.NormFloat64() }},
			{"positive", func(int) float64 { return r.Float64() }},
			{"outliers", func(k int) float64 {
				if k%97 == 0 {
					return 1000 * r.NormFloat64()
				}
				return r.NormFloat64()
			}},
		} {
			for _, k := range []int{16, 64, 576, 1536, 8192} {
				s := Spec{M: 128, N: 96, K: k, LDA: k, LDB: k, LDC: 96, TransB: true, Alpha: 1}
				a, b := Data{F32: make([]float32, s.M*k)}, Data{F32: make([]float32, s.N*k)}
				for i := range a.F32 {
					a.F32[i] = float32(c.value(i % k))
				}
				for i := range b.F32 {
					b.F32[i] = float32(c.value(-1))
				}
				x, y := lanes(a, k, s.M, k, true, ComputeF32), lanes(b, k, s.N, k, true, ComputeF32)
				errorOf := func(e *engine) float64 {
					c := make([]float32, s.M*s.N)
					mul(e, s, ComputeF32, Data{F32: c}, a, b, Data{})
					var off, norm float64
					for i, got := range c {
						want := 0.0
						for q, v := range x[i/s.N] {
							want += v * y[i%s.N][q]
						}
						off += math.Pow(float64(got)-want, 2)
						norm += want * want
					}
					return math.Sqrt(off / norm)
				}
				ours, theirs := errorOf(e), errorOf(&engines[fused])
				t.Logf("%-8s %5d deep: error %.2g of the norm, with fused multiply-adds %.2g", c.name, k, ours, theirs)
				if ours > theirs*1.1 || ours > theirs && k > amxFold {
					t.Errorf("%s, %d deep: error %.3g of the norm, with fused multiply-adds %.3g", c.name, k, ours, theirs)
				}
			}
		}
	})
}

// TestAMXTakesWhatItDoesSooner: where little meets what would be packed for it, float32 is left to fused multiply-adds; bfloat16 never is.
func TestAMXTakesWhatItDoesSooner(t *testing.T) {
	eachAMX(t, func(t *testing.T, e *engine) {
		if e.amx.amxBlocking != standardAMX {
			return
		}
		for _, c := range []struct {
			spec      Spec
			f32, bf16 bool
		}{
			{Spec{TransB: true, M: 512, N: 1536, K: 576}, true, true},
			{Spec{TransB: true, M: 512, N: 16, K: 576}, false, true},
			{Spec{TransB: true, M: 512, N: 576, K: 16}, true, true},
			{Spec{TransA: true, M: 16, N: 576, K: 512}, false, true},
		} {
			for _, bf16 := range []bool{false, true} {
				d, want := Data{F32: []float32{0}}, c.f32
				if bf16 {
					d, want = Data{BF16: []uint16{0}}, c.bf16
				}
				var j job
				j.set(e, c.spec, ComputeBF16*Precision(index(bf16)), d, d, d, Data{})
				if got := j.takesAMX(); got != want {
					t.Errorf("%+v, bfloat16 %v: AMX takes it: %v, want %v", c.spec, bf16, got, want)
				}
			}
		}
	})
}
