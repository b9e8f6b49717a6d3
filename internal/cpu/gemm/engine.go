package gemm

import "unsafe"

// engine is the arithmetic of one instruction set. Its tile is at most mr×nr elements of C; A is packed into panels of
// mr rows and B into panels of nr columns, each stored step by step: [step][lane] of 32-bit words. A word is a float32,
// or with pairs a pair of bfloat16 of two consecutive k, the lower k in the lower half. A last odd k is paired with 0.
type engine struct {
	name   string
	mr, nr int
	blocking
	pairs bool // ComputeBF16 works on pairs; otherwise on rounded float32

	// pack copies lanes (rows of op(A) or columns of op(B)) lane … lane+lanes-1 of o, from element k on, elems
	// elements of k, into panels of width words. Lanes beyond the last are zero or repeat others.
	pack func(o *operand, dst []uint32, width, lane, lanes, k, elems int)

	// mul computes t.n tiles of rows×cols elements.
	mul func(t *tile, rows, cols int)

	// inPlace is mul for mr rows, or inPlaceFew where that is less, of A that lie t.lda apart, each with adjacent steps, or nil. An engine that has it
	// reads no more rows of A than asked for in mul, too.
	inPlace func(t *tile, rows, cols int)

	// beside is mul for whole tiles of at least besideRows rows of packed float32, which packs another panel meanwhile, or nil.
	beside func(p packing, t *tile, rows int)

	// dots and addRows are for products with up to moreRows and vectorRows rows, or nil. Of vectors.w they take kind copyF32, widenBF16
	// and roundF32; dots takes widenI8, too, if int8 says so. addRows takes 1 or 4 terms.
	dots     func(k kind, v *vectors)
	addRows  func(k kind, terms int, v *vectors)
	dotsMore int // columns of W of a group of dots for more than vectorRows rows; 4 for less
	int8     bool

	// widen copies rows of n adjacent bfloat16, ldSrc bytes apart, as float32, ldDst bytes apart; or nil.
	widen func(dst, src unsafe.Pointer, ldDst, ldSrc, rows, n int)

	// finishRow finishes n adjacent elements whose sums are at t.a, or is nil.
	finishRow func(t *tile, n int)

	half *halfEngine // or nil
	amx  *amxEngine  // or nil

	peakF32, peakBF16 peakLoop
}

// kind is what packing does to an element.
type kind uint8

const (
	copyF32   kind = iota // float32 as it is
	widenBF16             // bfloat16 to float32
	roundF32              // float32 rounded to bfloat16 and widened again
	pairBF16              // bfloat16 to pairs
	pairF32               // float32 rounded to bfloat16, to pairs
	widenI8               // int8 to float32; of dots only
)

func (k kind) isPair() bool { return k == pairBF16 || k == pairF32 }

// operand is op(A) as M lanes of K elements, or op(B) as N lanes of K elements.
type operand struct {
	p      unsafe.Pointer
	ld     int  // bytes from stored row to stored row
	size   int  // bytes of an element
	contig bool // the elements of a lane are adjacent; otherwise the lanes of one k are
	kind   kind
}

func (o *operand) set(e *engine, d Data, ld int, contig bool, p Precision) {
	*o = operand{p: d.pointer(), size: 4, contig: contig}
	bf16 := p != ComputeF32
	switch {
	case d.I8 != nil:
		o.kind, o.size = widenI8, 1
	case d.BF16 != nil && bf16 && e.pairs:
		o.kind, o.size = pairBF16, 2
	case d.BF16 != nil:
		o.kind, o.size = widenBF16, 2
	case bf16 && e.pairs:
		o.kind = pairF32
	case bf16:
		o.kind = roundF32
	}
	o.ld = ld * o.size
}

// at is the address of element k of a lane, which must exist.
func (o *operand) at(lane, k int) unsafe.Pointer {
	if o.contig {
		return unsafe.Add(o.p, lane*o.ld+k*o.size)
	}
	return unsafe.Add(o.p, k*o.ld+lane*o.size)
}

// tile is the argument of the micro-kernels: t.n tiles of C, each
//
//	v = alpha·Σ a[step][row]·b[step][col]        over k steps
//	v += beta·c   if addC
//	v += betaD·d  if addD
//	v += bias     if bias is set
//	d = v as bfloat16 if toD, else c = v
//
// where after each tile the pointers advance by the next* distances. All distances are in bytes. The assembly knows
// the offsets of the fields (see _generate).
type tile struct {
	k            int
	a, b         unsafe.Pointer
	stepA, stepB int // from step to step
	c            unsafe.Pointer
	ldc          int
	d            unsafe.Pointer
	ldd          int
	bias         unsafe.Pointer
	n            int
	nextA, nextB int
	nextC, nextD int
	nextBias     int
	mask         int // the columns as bits, for the AVX-512 kernels
	flags        int
	alpha, beta  float32
	betaD, _     float32
	lda          int  // from row to row, for kernels that read A in place
	pairs        bool // words are pairs of bfloat16

	// Two rows of memory that kernels of packed A with enough rows fetch into L2 during a tile, fetchLD apart, fetchStep bytes a step,
	// and nextFetch from tile to tile. Without fetch they fetch what they have.
	fetch                         unsafe.Pointer
	fetchLD, fetchStep, nextFetch int
	every                         int // a row of the tile of C is fetched where these bits of the steps to go are zero

	// What engine.beside packs, in the steps to go where the bits of packEvery are zero: from where to where, at which distance of its lanes
	// or, if lanes are adjacent, of its steps. It goes on with these in the next call, and counts the lanes to go of besideSteps
	// steps and the blocks of so many steps, or the steps, to go. The addresses are numbers because they end beyond what is packed.
	packFrom, packTo      uintptr
	packLD, packEvery     int
	packLanes, packBlocks int

	// For the kernels of halves: what the rows' and the columns' sums are multiplied with, and room for halfScratch words.
	scaleA, scaleB unsafe.Pointer
	scratch        unsafe.Pointer

	// For the kernels of AMX tiles: from 16 rows of A to the next, the rows to be finished, and whether sums are stored as they are, to c, or
	// transposed.
	groupA, rows int
	direct, turn int
	// They fetch into L2 so many lines a step, of rows of fetchLines lines at fetch, fetchLD apart, and into L1 so many rows of the tile of C.
	fetches, fetchLines, fetchesC int
	// The sums begin with float32 at load, if that is set.
	load             unsafe.Pointer
	ldLoad, nextLoad int
}

// pass leaves out the first n tiles.
func (t *tile) pass(n int) {
	for _, p := range []struct {
		at   *unsafe.Pointer
		next int
	}{{&t.a, t.nextA}, {&t.b, t.nextB}, {&t.c, t.nextC}, {&t.d, t.nextD}, {&t.bias, t.nextBias}} {
		if *p.at != nil {
			*p.at = unsafe.Add(*p.at, n*p.next)
		}
	}
}

// Flags of a tile. The kernels test alpha, too, only by its flag.
const (
	scale   = 1 << iota // alpha is not 1
	addC                // add beta·c
	addD                // add betaD·d
	addBias             // add the bias
	toD                 // store to d
)

// store finishes the element (row,col) of tile number n, whose sum is v.
func (t *tile) store(v float32, n, row, col int) {
	if t.flags&scale != 0 {
		v *= t.alpha
	}
	c, d := n*t.nextC+row*t.ldc+4*col, n*t.nextD+row*t.ldd+2*col
	if t.flags&addC != 0 {
		v += t.beta * *(*float32)(unsafe.Add(t.c, c))
	}
	if t.flags&addD != 0 {
		v += t.betaD * widen(*(*uint16)(unsafe.Add(t.d, d)))
	}
	if t.flags&addBias != 0 {
		v += *(*float32)(unsafe.Add(t.bias, n*t.nextBias+4*col))
	}
	if t.flags&toD != 0 {
		*(*uint16)(unsafe.Add(t.d, d)) = round(v)
	} else {
		*(*float32)(unsafe.Add(t.c, c)) = v
	}
}

// index is 1 for true: of tables of routines.
func index(b bool) int {
	if b {
		return 1
	}
	return 0
}
