package gemm

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// TestPack holds every engine's packing against plain Go, bit for bit, NaNs included. Both ends are at guard pages.
func TestPack(t *testing.T) {
	for i := range engines {
		e := &engines[i]
		t.Run(e.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(37, 38))
			for range 3000 {
				o := operand{size: 4, kind: kind(r.IntN(3)), contig: r.IntN(2) == 0}
				if e.pairs && o.kind == roundF32 {
					o.kind = pairF32
				}
				width := e.nr
				if r.IntN(2) == 0 {
					width = 1 + r.IntN(e.mr)
				}
				lanes, elems := 1+r.IntN(5*width), 1+r.IntN(70)
				rows, cols := elems, lanes
				if o.contig {
					rows, cols = cols, rows
				}
				ld := cols + r.IntN(3)
				m := matrix(t, r, o.kind == widenBF16, rows, cols, ld)
				if m.BF16 != nil {
					o.size = 2
				} else {
					m.F32[r.IntN(len(m.F32))] = math.Float32frombits(0xff800001) // a NaN that must not be rounded to an infinity
				}
				o.p, o.ld = m.pointer(), ld*o.size
				steps := elems
				if o.kind.isPair() {
					steps = (elems + 1) / 2
				}
				words := ceil(lanes, width) * steps
				got, want := wordsOf(floats(t, words)), make([]uint32, words)
				packPortable(&o, want, width, 0, lanes, 0, elems)
				e.pack(&o, got, width, 0, lanes, 0, elems)
				for at, v := range want {
					lane := at/(steps*width)*width + at%width
					if lane < lanes && got[at] != v {
						t.Fatalf("%+v, %d lanes of %d elements, width %d: lane %d of step %d is %#x, want %#x",
							o, lanes, elems, width, lane, at/width%steps, got[at], v)
					}
				}
				unguard()
			}
		})
	}
}

func wordsOf(f []float32) []uint32 { return unsafe.Slice((*uint32)(unsafe.Pointer(&f[0])), len(f)) }
