package gemm

import (
	"fmt"
	"unsafe"
)

// Packed is a matrix in the order in which the tiles of AMX read it, for products of matrices that stay in a core's caches and meet several others,
// as in attention. It keeps its memory. The zero value holds no matrix.
type Packed struct {
	words  []uint32
	o      operand
	x      amxOperand
	elems  int // of k
	pack   amxPack
	t      tile
	sums   []uint32 // room for the micro-kernel
	engine *amxEngine
}

// HasPacked reports whether this CPU's engine has products of packed matrices.
func HasPacked() bool { return engines[0].amx != nil }

// PackA makes it op(A)[m,k] of matrices stored as in [Spec], ld elements from row to row.
func (m *Packed) PackA(p Precision, a Data, trans bool, rows, k, ld int) {
	check("A", a, trans, rows, k, ld)
	m.set(p, a, !trans, rows, k, ld, false)
}

// PackB makes it op(B)[k,n].
func (m *Packed) PackB(p Precision, b Data, trans bool, k, cols, ld int) {
	check("B", b, trans, k, cols, ld)
	m.set(p, b, trans, cols, k, ld, true)
}

func (m *Packed) set(p Precision, d Data, contig bool, lanes, k, ld int, second bool) {
	e := &engines[0]
	m.engine, m.elems = e.amx, k
	m.o.set(e, d, ld, contig, p)
	m.x = amxOperandOf(&m.o, lanes, second)
	if words := panelsOf(lanes)*m.x.panelBytes(amxStepsOf(k))/4 + amxLine; cap(m.words) < words {
		m.words = make([]uint32, words)
	}
	m.words = m.words[:cap(m.words)]
	m.engine.pack(&m.pack, &m.x, alignedWords(m.words), 0, lanes, 0, k)
	m.o, m.pack = operand{}, amxPack{} // the caller's memory is not needed any more
}

// MulPacked computes C = A·B, or C += A·B, in float32, as [Mul] would with whole products of k at once, on the caller's core. It panics if the matrices do
// not fit each other or C.
func MulPacked(c []float32, ldc int, a, b *Packed, add bool) {
	if a.engine == nil || b.engine == nil || a.elems != b.elems || a.x.second || !b.x.second {
		panic(fmt.Sprintf("gemm: packed matrices of %d and %d elements of k, the first packed as B: %v, the second: %v", a.elems, b.elems, a.x.second, b.x.second))
	}
	rows, cols := a.x.lanes, b.x.lanes
	check("C", Data{F32: c}, false, rows, cols, ldc)
	if rows == 0 || cols == 0 {
		return
	}
	if a.sums == nil {
		a.sums = make([]uint32, amxScratch+amxLine)
	}
	steps := amxStepsOf(a.elems)
	t := &a.t
	*t = tile{k: steps, lda: 2 * amxSteps, groupA: amxPart / 2, stepA: a.x.stepBytes(), ldc: 4 * ldc, nextB: b.x.panelBytes(steps),
		nextC: 4 * amxLanes, scratch: alignedWords(a.sums), alpha: 1, beta: 1, fetchesC: (amxLanes + steps - 1) / steps}
	for i := 0; i < rows; i += amxLanes {
		t.a = unsafe.Add(alignedWords(a.words), i/amxLanes*a.x.panelBytes(steps))
		t.rows = min(amxLanes, rows-i)
		for q := 0; q < cols; q += t.n * amxLanes {
			width := min(amxLanes, cols-q)
			t.n = max(1, (cols-q)/amxLanes)
			t.b = unsafe.Add(alignedWords(b.words), q/amxLanes*t.nextB)
			t.c, t.mask = unsafe.Pointer(&c[i*ldc+q]), 1<<width-1
			t.flags, t.load, t.direct = 0, nil, index(t.rows%16 == 0 && width%16 == 0)
			switch {
			case add && t.direct != 0:
				t.load, t.ldLoad, t.nextLoad = t.c, t.ldc, t.nextC
			case add:
				t.flags = addC
			}
			a.engine.mul(t, a.x.parts, b.x.parts, (t.rows+15)/16, (width+15)/16)
		}
	}
	*t = tile{}
}
