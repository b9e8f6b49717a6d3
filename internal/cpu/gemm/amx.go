package gemm

import "unsafe"

// Products by AMX tiles, on Intel's CPUs that have them. One instruction multiplies 16 rows of A with 16 columns of B over 32 elements of k,
// all of them bfloat16, and adds to 256 float32 sums: 16 times as many products as a fused multiply-add makes in the same time.
//
// A float32 x is the sum of three bfloat16, exactly: x₁ is x rounded to 8 digits, x₂ what is left of x rounded so, and x₃ the rest, which
// has no more than 8 digits. Of the nine products of parts of x and y, the three smallest are left out:
//
//	x·y ≈ x₃y₁ + x₂y₁ + x₂y₂ + x₁y₂ + x₁y₃ + x₁y₁	with an error of at most 2⁻²³·|x·y|, and less than 2⁻²⁵ mostly
//
// which is what rounding a product to float32 costs (docs/adr/0009-amx.md). So ComputeF32 takes six tile products, which is still faster than
// fused multiply-adds; three if one of the matrices is bfloat16, and one if both are. An infinity becomes NaN with it (∞ − ∞), and numbers
// below 2⁻¹⁰⁰ lose digits, because the tiles treat denormal numbers as zero.
//
// A tile of C has 32×32 elements. In C's rows are the lanes of one operand, the "first", whose packed tiles are rows of 32 elements of k;
// in its columns those of the other, the "second", in whose tiles words of two elements of k are adjacent from lane to lane. Which operand is first
// is chosen by what it costs to pack them; if B is, tiles of C are transposed before they are stored.
const (
	amxLanes   = 32   // of a panel
	amxSteps   = 32   // elements of k of a tile
	amxPart    = 2048 // bytes of a part of a panel's step: two tiles
	amxScratch = 2 * amxLanes * amxLanes

	amxSecondBytes = 1 << 20 // most bytes of a packed block of the second operand
	amxSecondLanes = 512
	amxFirstBytes  = 96 << 10 // most bytes of a packed panel of the first
	amxSumRows     = 512      // rows of sums that are kept for a bfloat16 C
)

// amxEngine is what an engine with AMX has for that.
type amxEngine struct {
	// packAcross and packAlong pack 16 lanes, whose elements of k are adjacent, or which are adjacent in each k, to tiles; turn says that they are
	// for the second operand, or the first. What is beyond the last k is zero.
	packAcross func(k amxKind, turn bool, p *amxPack)
	packAlong  func(k amxKind, turn bool, p *amxPack)
	// mul computes t.n tiles of 16·rows × 16·cols elements.
	mul func(t *tile, partsA, partsB, rows, cols int)
}

// amxKind is what packing for AMX does to an element.
type amxKind uint8

const (
	amxCopy  amxKind = iota // bfloat16
	amxRound                // float32 to bfloat16
	amxSplit                // float32 to three
)

// amxPack is the argument of the packing routines; distances are in bytes, parts are amxPart apart.
type amxPack struct {
	dst  unsafe.Pointer
	rows [16]unsafe.Pointer // the lanes; the first element if lanes are adjacent
	n    int                // elements of k; at most amxSteps if lanes are adjacent
	step int                // from step to step of dst
	// Of adjacent lanes: from k to k, groups of 16 lanes, how far apart they are, and the lanes of a group as bits.
	ld               int
	groups           int
	nextSrc, nextDst int
	mask             int
}

// amxOperand is an operand of a product, in its role there.
type amxOperand struct {
	*operand
	kind   amxKind
	parts  int
	lanes  int
	second bool
}

func (j *job) amxOperand(o *operand, lanes int, second bool) amxOperand {
	x := amxOperand{operand: o, lanes: lanes, second: second, parts: 1}
	switch o.kind {
	case copyF32:
		x.kind, x.parts = amxSplit, 3
	case roundF32:
		x.kind = amxRound
	}
	return x
}

// inPlace reports whether the tiles are read where they are.
func (x *amxOperand) inPlace(k int) bool {
	return !x.second && x.kind == amxCopy && x.contig && k%amxSteps == 0
}

// turned reports whether packing transposes.
func (x *amxOperand) turned() bool { return x.contig == x.second }

// cost is about how many cycles it takes to pack a tile.
func (x *amxOperand) cost(k int) int {
	c := [3]int{20, 30, 160}[x.kind]
	switch {
	case x.inPlace(k):
		return 0
	case x.turned():
		c += 70 * x.parts
	}
	if !x.contig {
		c += 20
	}
	return c
}

// amxTurnCost is about how many cycles it takes to transpose 16×16 elements of C.
const amxTurnCost = 100

// amxPlan is how a product is computed with AMX.
type amxPlan struct {
	first, second amxOperand
	turn          bool // the first is B
	kBlock        int
	byFirst       bool // workers divide the lanes of the first operand
	secondLanes   int  // most lanes of a block of the second
}

func panelsOf(lanes int) int { return (lanes + amxLanes - 1) / amxLanes }

// packingCost is about how many cycles it takes to pack an operand, or a worker's part of it.
func (x *amxOperand) packingCost(k, workers int) int {
	return (panelsOf(x.lanes) + workers - 1) / workers * 2 * ((k + amxSteps - 1) / amxSteps) * x.cost(k)
}

func (j *job) planAMX() (p amxPlan) {
	plain := amxPlan{first: j.amxOperand(&j.a, j.m, false), second: j.amxOperand(&j.b, j.n, true)}
	turned := amxPlan{first: j.amxOperand(&j.b, j.n, false), second: j.amxOperand(&j.a, j.m, true), turn: true}
	for _, p := range []*amxPlan{&plain, &turned} {
		deep := min(amxFirstBytes/(2*amxLanes*p.first.parts), amxSecondBytes/(2*amxLanes*8*p.second.parts))
		p.kBlock = even(j.k, deep/amxSteps*amxSteps, amxSteps)
		p.secondLanes = min(amxSecondLanes, amxSecondBytes/(2*p.second.parts*p.kBlock)/amxLanes*amxLanes)
	}
	tiles := panelsOf(j.m) * panelsOf(j.n) * 4
	p = plain
	if turned.first.packingCost(j.k, 1)+turned.second.packingCost(j.k, 1)+tiles*((j.k+p.kBlock-1)/p.kBlock)*amxTurnCost <
		plain.first.packingCost(j.k, 1)+plain.second.packingCost(j.k, 1) {
		p = turned
	}
	p.byFirst = p.costOf(j.k, j.workers, 1) < p.costOf(j.k, 1, j.workers)
	return p
}

// costOf is what packing costs the worker with most, where the operands are divided by so many.
func (p *amxPlan) costOf(k, first, second int) int {
	// Lanes that cannot be divided leave a worker with nothing to do.
	tiles := (panelsOf(p.first.lanes) + first - 1) / first * ((panelsOf(p.second.lanes) + second - 1) / second) * ((k + amxSteps - 1) / amxSteps)
	products := [4]int{0, 1, 3, 6}[max(p.first.parts, p.second.parts)]
	if p.first.parts*p.second.parts == 9 {
		products = 6
	} else {
		products = p.first.parts * p.second.parts
	}
	return tiles*4*16*products + p.first.packingCost(k, first) + p.second.packingCost(k, second)
}

// takesAMX reports whether the product, which has not few rows, is made of AMX tiles.
func (j *job) takesAMX() bool { return j.engine.amx != nil }

func (j *job) runAMX() {
	j.amx = j.planAMX()
	p := &j.amx
	divided, most := p.second.lanes, p.secondLanes
	if p.byFirst {
		divided, most = p.first.lanes, amxSumRows
	}
	panels := panelsOf(divided)
	j.tasks = (panels*amxLanes + most - 1) / most
	if j.workers > 1 {
		j.tasks = ceil(j.tasks, j.workers)
	}
	j.tasks = min(j.tasks, panels)
	j.do(j.tasks, j.amxTask)
}

// mulAMX computes one part of the lanes of the first or the second operand.
func (j *job) mulAMX(worker, task int) {
	p := &j.amx
	w := blocks.get(j.owner + worker)
	part := func(lanes int, divided bool) (from, to int) {
		if !divided {
			return 0, lanes
		}
		at := func(task int) int { return min(lanes, partStart(task, j.tasks, panelsOf(lanes))*amxLanes) }
		return at(task), at(task + 1)
	}
	first, firstEnd := part(p.first.lanes, p.byFirst)
	second, secondEnd := part(p.second.lanes, !p.byFirst)
	rows := firstEnd - first
	if j.sumsApartAMX() {
		rows = min(rows, amxSumRows)
	}
	for f := first; f < firstEnd; f += rows {
		for s := second; s < secondEnd; s += p.secondLanes {
			j.mulBlockAMX(w, f, min(rows, firstEnd-f), s, min(p.secondLanes, secondEnd-s))
		}
	}
	w.t = tile{} // the pool must not hold the caller's memory
	w.pack = amxPack{}
	blocks.put(j.owner+worker, w)
}

// sumsApartAMX reports whether sums wait between blocks of k in a buffer, because a bfloat16 C cannot hold them.
func (j *job) sumsApartAMX() bool { return j.cBF16 && j.k > j.amx.kBlock }

// mulBlockAMX multiplies lanes of the first operand with a block of the second.
func (j *job) mulBlockAMX(w *block, first, firsts, second, seconds int) {
	p := &j.amx
	e := j.engine.amx
	t := &w.t
	sumsLD := 0
	if j.sumsApartAMX() {
		w.sums = grow(w.sums, firsts*seconds)
		if sumsLD = seconds; p.turn {
			sumsLD = firsts
		}
	}
	stepFirst, stepSecond := amxPart*p.first.parts, amxPart*p.second.parts
	for start := 0; start < j.k; start += p.kBlock {
		elems := min(p.kBlock, j.k-start)
		steps := (elems + amxSteps - 1) / amxSteps
		w.b = grow(w.b, panelsOf(seconds)*steps*stepSecond/4+amxLine)
		packed := alignedWords(w.b)
		for q := 0; q < seconds; q += amxLanes * amxLanes {
			j.packAMX(w, &p.second, unsafe.Add(packed, q/amxLanes*steps*stepSecond), second+q, min(seconds-q, amxLanes*amxLanes), start, elems)
		}
		*t = tile{k: steps, scratch: w.alignedScratch(amxScratch)}
		j.finish(t, start == 0, start+elems >= j.k)
		t.turn = index(p.turn)
		for i := 0; i < firsts; i += amxLanes {
			lanes := min(amxLanes, firsts-i)
			if p.first.inPlace(j.k) && lanes%16 == 0 {
				t.a, t.lda, t.groupA, t.stepA = p.first.at(first+i, start), p.first.ld, 16*p.first.ld, 2*amxSteps
			} else {
				w.a = grow(w.a, steps*stepFirst/4+amxLine)
				t.a, t.lda, t.groupA, t.stepA = alignedWords(w.a), 2*amxSteps, amxPart/2, stepFirst
				j.packAMX(w, &p.first, t.a, first+i, lanes, start, elems)
			}
			for q := 0; q < seconds; {
				t.n = max(1, (seconds-q)/amxLanes)
				width := min(amxLanes, seconds-q)
				t.b, t.nextB = unsafe.Add(packed, q/amxLanes*steps*stepSecond), steps*stepSecond
				row, col := first+i, second+q
				if t.rows, t.mask = lanes, 1<<width-1; p.turn {
					row, col = col, row
					t.rows, t.mask = width, 1<<lanes-1
				}
				j.output(t, row, col)
				if sumsLD > 0 {
					row, col := i, q
					if p.turn {
						row, col = q, i
					}
					t.c, t.ldc = unsafe.Pointer(&w.sums[row*sumsLD+col]), 4*sumsLD
				}
				t.nextC, t.nextD, t.nextBias = 4*amxLanes, 2*amxLanes, 4*amxLanes
				if p.turn {
					t.nextC, t.nextD, t.nextBias = amxLanes*t.ldc, amxLanes*t.ldd, 0
				}
				t.direct = index(t.flags == 0 && !p.turn && lanes%16 == 0 && width%16 == 0)
				q += t.n * amxLanes
				e.mul(t, p.first.parts, p.second.parts, (lanes+15)/16, (width+15)/16)
			}
		}
	}
}

const amxLine = 16 // words of a cache line

// alignedWords is where the first whole line of words begins.
func alignedWords(words []uint32) unsafe.Pointer {
	at := uintptr(unsafe.Pointer(&words[0])) / 4 % amxLine
	return unsafe.Pointer(&words[(amxLine-at)%amxLine])
}

// packAMX packs lanes of an operand, from element k on, elems elements, into panels of amxLanes: [panel][step][part][16 lanes of it][tile].
func (j *job) packAMX(w *block, x *amxOperand, dst unsafe.Pointer, lane, lanes, k, elems int) {
	e := j.engine.amx
	a := &w.pack
	step := amxPart * x.parts
	panel := (elems + amxSteps - 1) / amxSteps * step
	if x.contig {
		for done := 0; done < lanes; done += 16 {
			n := min(16, lanes-done)
			for i := range a.rows {
				a.rows[i] = x.at(lane+done+min(i, n-1), k)
			}
			a.dst = unsafe.Add(dst, done/amxLanes*panel+done%amxLanes*64)
			a.n, a.step = elems, step
			e.packAcross(x.kind, x.turned(), a)
		}
		return
	}
	a.ld, a.nextSrc, a.nextDst = x.ld, amxLanes*x.size, panel
	for q := 0; q < elems; q += amxSteps {
		a.n = min(amxSteps, elems-q)
		for half := 0; half < min(lanes, amxLanes); half += 16 {
			at := unsafe.Add(dst, q/amxSteps*step+half*64)
			a.dst, a.rows[0] = at, x.at(lane+half, k+q)
			if a.groups = (lanes - half) / amxLanes; (lanes-half)%amxLanes >= 16 {
				a.groups++
			}
			if a.mask = 1<<16 - 1; a.groups > 0 {
				e.packAlong(x.kind, x.turned(), a)
			}
			if rest := (lanes - half) % amxLanes; rest > 0 && rest < 16 {
				a.mask = 1<<rest - 1
				a.dst, a.rows[0] = unsafe.Add(at, a.groups*panel), x.at(lane+half+a.groups*amxLanes, k+q)
				a.groups = 1
				e.packAlong(x.kind, x.turned(), a)
			}
		}
	}
}
