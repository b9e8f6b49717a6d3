package gemm

import (
	"runtime"
	"testing"
)

// TestPackBytesIsBounded: whatever the shape, the buffers stay within what MaxPackBytes promises.
func TestPackBytesIsBounded(t *testing.T) {
	const workers = 3
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(workers))
	// Other tests ran with more workers.
	jobs, parts, blocks = freeList[job]{}, workerList[job]{}, workerList[block]{}
	packBytes.Store(0)
	for _, s := range [][3]int{{530, 330, 4200}, {1500, 40, 800}, {40, 1500, 800}, {4, 5000, 400}, {2000, 700, 8}, {500, 900, 1300}, {1600, 1600, 40}, {700, 300, 9000}, {57, 65, 32768}} {
		data := make([]float32, max(s[0]*s[2], s[1]*s[2]))
		spec := Spec{TransB: true, M: s[0], N: s[1], K: s[2], LDA: s[2], LDB: s[2], LDC: s[1], Alpha: 1}
		for _, c := range []Data{{F32: make([]float32, s[0]*s[1])}, {BF16: make([]uint16, s[0]*s[1])}} {
			for compute := range Precision(3) {
				Mul(spec, compute, c, Data{F32: data}, Data{F32: data}, Data{})
				if got, most := PackBytes(), MaxPackBytes(workers); got <= 0 || got > most {
					t.Fatalf("%v: buffers hold %d bytes, MaxPackBytes is %d", s, got, most)
				}
			}
		}
	}
}
