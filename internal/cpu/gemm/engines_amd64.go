//go:build !noasm

package gemm

import (
	"math/bits"
	"unsafe"

	"golang.org/x/sys/cpu"
)

var (
	avx512 = engine{name: "avx512", mr: 14, nr: 32, blocking: standard, pack: pack512, mul: mul512, inPlace: inPlaceMul512, beside: besideMul512, dots: dots512, addRows: addRows512, dotsMore: 2, int8: true, widen: widenRows, finishRow: finishRow512,
		peakF32: peakF32Wide, peakBF16: peakF32Wide}
	avx512bf16 = engine{name: "avx512bf16", mr: 14, nr: 32, pairs: true, blocking: standard, pack: pack512, mul: mul512, inPlace: inPlaceMul512, beside: besideMul512, dots: dots512, addRows: addRows512, dotsMore: 2, int8: true, widen: widenRows, finishRow: finishRow512,
		peakF32: peakF32Wide, peakBF16: peakBF16Wide}
	avx2 = engine{name: "avx2", mr: 6, nr: 16, blocking: standard, pack: packAVX2, mul: mulAVX2, inPlace: inPlaceAVX2, dots: dotsAVX2, addRows: addRowsAVX2, dotsMore: 4, int8: true, widen: widenRows256, finishRow: finishRowAVX2,
		peakF32: peakF32Half, peakBF16: peakF32Half}
)

// featureFP16 says that the CPU has AVX512-FP16.
const featureFP16 = 1 << 23

// avx512fp16 is avx512 with halves. The operating system saves the registers if it saves those of AVX-512F.
var avx512fp16 = func() engine {
	e := avx512
	e.name, e.peakBF16, e.half = "avx512fp16", peakF16Wide, &halfEngine{pack: packHalf512, mul: mulHalf512}
	return e
}()

// avx512amx is avx512fp16 with AMX, which takes what halves would.
var avx512amx = func() engine {
	e := avx512fp16
	e.name, e.half = "avx512amx", nil
	e.peakF32, e.peakBF16 = peakSplitAMX, peakTilesAMX
	e.amx = &amxEngine{
		amxBlocking: standardAMX,
		packAcross:  func(k amxKind, turn bool, p *amxPack) { packAMXAcross[k][index(turn)](p) },
		packAlong:   func(k amxKind, p *amxPack) { packAMXAlong[k](p) },
		turn:        turnAMX,
		foldFirst:   foldFirstAMX,
		foldSecond:  foldSecondAMX,
		mul: func(t *tile, partsA, partsB, rows, cols int) {
			amxTiles[partsA/2][partsB/2][rows-1][cols-1](t)
		},
		mulFolded: func(t *tile, rows, cols int) { amxFolded[rows-1][cols-1](t) },
	}
	return e
}()

// engines are those this CPU has, the fastest first.
var engines = detect()

func detect() []engine {
	x := &cpu.X86
	if !x.HasAVX2 || !x.HasFMA {
		return []engine{portable}
	}
	if !x.HasAVX512F || !x.HasAVX512BW || !x.HasAVX512DQ || !x.HasAVX512VL {
		return []engine{avx2, portable}
	}
	if !x.HasAVX512BF16 {
		return []engine{avx512, avx2, portable}
	}
	// VDPBF16PS makes twice the products of an FMA. AMD's Zen 4 and 5 start as many of either in a cycle. Intel's
	// Sapphire Rapids starts two FMAs in one cycle but one VDPBF16PS in two (measured: 108 against 215 GFLOP/s), so that
	// rounded operands are multiplied faster in float32. A rule, not a measurement at start-up, which would make
	// results depend on how busy the machine is.
	var name [12]byte
	if vendor(&name); string(name[:]) == "GenuineIntel" {
		fast := avx512
		if features()&featureFP16 != 0 {
			fast = avx512fp16
		}
		if x.HasAMXTile && x.HasAMXBF16 && x.HasAVX512BF16 && x.HasBMI2 && enableAMX() {
			return []engine{avx512amx, fast, avx512bf16, avx2, portable}
		}
		return []engine{fast, avx512bf16, avx2, portable}
	}
	return []engine{avx512bf16, avx512, avx2, portable}
}

// setEvery has the tile of C fetched in equal steps.
func (t *tile) setEvery(rows int) { t.every = max(0, 1<<bits.Len(uint(t.k/rows))>>1-1) }

func mul512(t *tile, rows, cols int) {
	t.mask = 1<<cols - 1
	t.setEvery(rows)
	tiles512[index(t.pairs)][(cols-1)/16][rows-1](t)
}

func inPlaceMul512(t *tile, rows, cols int) {
	t.mask = 1<<cols - 1
	inPlace512[index(t.pairs)][(cols-1)/16][index(rows == inPlaceFew)](t)
}

// finishRow512 finishes whole pairs of vectors at once, then the rest.
func finishRow512(t *tile, n int) {
	const width = 32
	t.nextA, t.nextC, t.nextD, t.nextBias = 4*width, 4*width, 2*width, 4*width
	if t.n = n / width; t.n > 0 {
		t.mask = 1<<width - 1
		finishRow(t)
	}
	if rest := n % width; rest > 0 {
		t.pass(t.n)
		t.n, t.mask = 1, 1<<rest-1
		finishRow(t)
	}
}

func besideMul512(p packing, t *tile, rows int) {
	t.mask = 1<<32 - 1
	t.setEvery(rows)
	beside512[p][rows-besideRows](t)
}

// mulHalf512 takes two units of columns at a time where it can.
func mulHalf512(t *tile, rows, cols int) {
	t.setEvery(rows)
	t.mask = 1<<cols - 1
	if pairs := t.n / 2; pairs > 0 && cols == halfLanes {
		single := *t
		t.n, t.nextB, t.nextC, t.nextD, t.nextBias = pairs, 2*t.nextB, 2*t.nextC, 2*t.nextD, 2*t.nextBias
		halfTiles512[1][rows-1](t)
		done := 2 * pairs
		*t = single
		if t.n -= done; t.n == 0 {
			return // what follows would be pointers beyond the last column, which the garbage collector must not meet
		}
		t.pass(done)
		t.scaleB = unsafe.Add(t.scaleB, done*4*halfLanes)
		t.fetch = nil
	}
	halfTiles512[0][rows-1](t)
}

// along is the argument of the packing routines for adjacent lanes.
type along struct {
	dst, src         unsafe.Pointer
	ld               int // bytes from one k to the next
	width            int // words of a panel's step
	steps            int
	odd              int // 1 if the last pair has no upper half
	panels           int
	nextSrc, nextDst int            // bytes from panel to panel
	mask, store      int            // lanes to read, words to write, as bits; for AVX2 store is how many words
	scales           unsafe.Pointer // of the first panel's lanes, for halves
	nextScales       int
}

func pack512(o *operand, dst []uint32, width, lane, lanes, k, elems int) {
	steps := elems
	if o.kind.isPair() {
		steps = (elems + 1) / 2
	}
	if o.contig {
		var rows [16]unsafe.Pointer
		for done := 0; done < lanes; done += width {
			n := min(width, lanes-done)
			for group := 0; group < n; group += 16 {
				for i := range rows {
					rows[i] = o.at(lane+done+min(group+i, n-1), k)
				}
				packAcross512(o.kind, unsafe.Pointer(&dst[done*steps+group]), width, &rows, elems, 1<<min(16, width-group)-1)
			}
		}
		return
	}
	vectors := (width + 15) / 16
	a := along{ld: o.ld, width: width, steps: steps, odd: steps*2 - elems, nextSrc: width * o.size, nextDst: 4 * width * steps,
		store: 1<<width - 1}
	if !o.kind.isPair() {
		a.odd = 0
	}
	for done := 0; done < lanes; {
		// Several panels at once, but not so many that their lines in dst evict each other.
		a.panels = max(1, min((lanes-done)/width, 128/width))
		a.mask = 1<<min(width, lanes-done) - 1
		a.dst, a.src = unsafe.Pointer(&dst[done*steps]), o.at(lane+done, k)
		packAlong512(o.kind, vectors, &a)
		done += a.panels * width
	}
}

// packHalf512 is halfEngine.pack: it finds the largest magnitude of each lane first.
func packHalf512(o *operand, dst []uint32, undo []float32, twice bool, width, lane, lanes, k, elems int) {
	per := halfLanes // lanes of a panel
	if twice {
		per = width
	}
	var scales [128 + 16]float32 // the last vector of scales reads beyond a panel's
	if o.contig {
		var rows [16]unsafe.Pointer
		for done := 0; done < lanes; done += per {
			n := min(per, lanes-done)
			for group := 0; group < n; group += 16 {
				for i := range rows {
					rows[i] = o.at(lane+done+min(group+i, n-1), k)
					if group+i < n {
						scales[i], undo[done+group+i] = halfScale(amaxRow(rows[i], elems))
					} else {
						scales[i] = 1
					}
				}
				at := done*elems + group
				if !twice {
					at /= 2
				}
				if to, store := unsafe.Pointer(&dst[at]), 1<<min(16, per-group)-1; twice {
					packAcrossTwice(to, width, &rows, elems, store, &scales[0])
				} else {
					packAcrossHalf(to, width, &rows, elems, store, &scales[0])
				}
			}
		}
		return
	}
	var largest [128]uint16
	a := along{ld: o.ld, width: width, steps: elems, nextSrc: per * o.size, nextDst: 4 * width * elems, store: 1<<width - 1,
		scales: unsafe.Pointer(&scales[0]), nextScales: 4 * per}
	for done := 0; done < lanes; {
		a.panels = max(1, min((lanes-done)/per, len(largest)/per))
		n := min(a.panels*per, lanes-done)
		var mask [4]uint32
		for i := range mask {
			mask[i] = uint32(1<<max(0, min(32, n-32*i)) - 1)
		}
		a.src = o.at(lane+done, k)
		amaxAlong(a.src, o.ld, elems, &mask, &largest)
		for i, bits := range largest[:n] {
			scales[i], undo[done+i] = halfScale(bits)
		}
		a.mask = 1<<min(per, n) - 1
		a.dst = unsafe.Pointer(&dst[done/per*width*elems])
		if twice {
			packAlongTwice(&a)
		} else {
			packAlongHalf(&a)
		}
		done += a.panels * per
	}
}

func peakF16Wide(n int) int {
	const step = 28 * 32 * 2
	peakF16x512(n / step)
	return n / step * step
}

func peakF32Wide(n int) int {
	const step = 28 * 16 * 2
	peakF32x512(n / step)
	return n / step * step
}

func peakTilesAMX(n int) int {
	const step = 16 * 16 * 32 * 2
	peakAMX(n / step)
	return n / step * step
}

// peakSplitAMX counts the six products of parts as one.
func peakSplitAMX(n int) int { return peakTilesAMX(6*n) / 6 }

func peakBF16Wide(n int) int {
	const step = 28 * 32 * 2
	peakBF16x512(n / step)
	return n / step * step
}

func peakF32Half(n int) int {
	const step = 14 * 8 * 2
	peakF32x256(n / step)
	return n / step * step
}
