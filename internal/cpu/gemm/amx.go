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
// Where k is 16 or less, as in products with LoRA's B, half of each tile would be zero. Instead two parts share one: x₁ and x₂, x₁ and x₃ in those of
// the first operand, y₁ and y₁, y₂ and y₂, y₃ and y₁ in those of the second, which makes the six products in three.
//
// A tile of C has 32×32 elements. In C's rows are the lanes of one operand, the "first", whose packed tiles are rows of 32 elements of k;
// in its columns those of the other, the "second", in whose tiles words of two elements of k are adjacent from lane to lane. Which operand is first
// is chosen by what it costs to pack them; if B is, tiles of C are transposed before they are stored.
const (
	amxLanes   = 32   // of a panel
	amxSteps   = 32   // elements of k of a tile
	amxPart    = 2048 // bytes of a part of a panel's step: two tiles
	amxFold    = 16   // elements of k of half a tile
	amxScratch = 2 * amxLanes * amxLanes

	// Rows so far apart fall into few sets of the L1 cache.
	amxStride   = 2048
	amxFewLanes = 64 // are met without packing all the same

	amxFewSteps = 8 // of k, of which packing is little beside the stores to C

	amxFewFirst = 256 // lanes of the first, for which packing the second is much of a product

	amxMostFetches = 8 // lines a step
	amxPanelsAlong = 4 // packed at once where rows hold adjacent lanes
)

// amxBlocking is how products are cut: into blocks of k of which a panel of the first operand and some lanes of the second stay in L2, and these into
// tasks.
type amxBlocking struct {
	kBlock      int // most elements of k of a block of one part,
	kBlockSplit int // and of three
	secondBytes int // most bytes of a packed block of the second
	secondLanes int // most lanes of it
	firstBytes  int // most bytes of the first that stay packed while it meets one block of the second after the other
	sumWords    int // most sums that are kept in a buffer
	taskFirst   int // most lanes of a task that shares out the first operand,
	taskSecond  int // and the second

	fusedPerCycle int // multiply-adds of float32 that are made in a cycle otherwise
}

var standardAMX = amxBlocking{kBlock: 1536, kBlockSplit: 576, secondBytes: 1 << 20, secondLanes: 1024, firstBytes: 10 << 20, sumWords: 1 << 18,
	taskFirst: 2048, taskSecond: 8192, fusedPerCycle: 28}

// amxEngine is what an engine with AMX has for that.
type amxEngine struct {
	amxBlocking
	// packAcross packs 16 lanes whose elements of k are adjacent, to tiles of the first operand or, with turn, of the second.
	// packAlong packs panels of lanes that are adjacent in each k to tiles of the second. What is beyond the last k is zero.
	packAcross func(k amxKind, turn bool, p *amxPack)
	packAlong  func(k amxKind, p *amxPack)
	// turn transposes n adjacent tiles, which makes those of the one operand of those of the other.
	turn func(tiles unsafe.Pointer, n int)
	// foldFirst and foldSecond make of packed panels of three parts of up to amxFold elements of k what mulFolded multiplies.
	foldFirst, foldSecond func(tiles unsafe.Pointer, panels, nextPanel int)
	// mul computes t.n tiles of 16·rows × 16·cols elements.
	mul       func(t *tile, partsA, partsB, rows, cols int)
	mulFolded func(t *tile, rows, cols int)
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
	n    int                // elements of k
	step int                // from step to step of dst
	// Of adjacent lanes: from k to k, panels, how far apart they are in dst, and the lanes of the last as bits.
	ld      int
	panels  int
	nextDst int
	mask    int
}

// amxOperand is an operand of a product, in its role there.
type amxOperand struct {
	*operand
	kind   amxKind
	parts  int
	lanes  int
	second bool
}

func amxOperandOf(o *operand, lanes int, second bool) amxOperand {
	x := amxOperand{operand: o, lanes: lanes, second: second, parts: 1}
	switch o.kind {
	case copyF32:
		x.kind, x.parts = amxSplit, 3
	case roundF32:
		x.kind = amxRound
	}
	return x
}

// turned reports whether packing transposes.
func (x *amxOperand) turned() bool { return x.contig == x.second }

// stepBytes is how long a step of a panel is, and panelBytes so many steps.
func (x *amxOperand) stepBytes() int { return amxPart * x.parts }

// With a line between them, panels whose steps are written together do not all fall into the same sets of the L1 cache.
func (x *amxOperand) panelBytes(steps int) int { return steps*x.stepBytes() + 4*amxLine }

// packingCost is about how many cycles it takes to pack an operand, or a worker's part of it.
func (x *amxOperand) packingCost(k, workers int) int {
	cost := [3]int{20, 30, 160}[x.kind]
	if x.turned() {
		cost += 70 * x.parts
	}
	if !x.contig {
		cost += 20
	}
	return (panelsOf(x.lanes) + workers - 1) / workers * 2 * amxStepsOf(k) * cost
}

// About how many cycles these take: to transpose 32×32 sums, to multiply a step of 32×32 and to store them.
const (
	amxTurnCost    = 400
	amxProductCost = 100
	amxStoreCost   = 200
)

// amxPlan is how a product is computed with AMX.
type amxPlan struct {
	first, second amxOperand
	turn          bool // the first is B
	inPlace       bool // tiles of the first are read where they are
	kBlock        int
	secondLanes   int  // most lanes of a block of the second
	apart         bool // sums wait between blocks of k in a buffer and run on there, for a bfloat16 C
	folded        bool // two parts are in one tile
	byFirst       bool // workers divide the lanes of the first operand
}

func panelsOf(lanes int) int { return (lanes + amxLanes - 1) / amxLanes }

func amxStepsOf(k int) int { return (k + amxSteps - 1) / amxSteps }

// products is how many products of tiles one of two matrices takes.
func (p *amxPlan) products() int {
	if p.folded {
		return 3
	}
	return min(6, p.first.parts*p.second.parts)
}

// costOf is about how many cycles the worker with most to do takes, where the operands are divided by so many.
func (p *amxPlan) costOf(k, first, second int) int {
	tiles := (panelsOf(p.first.lanes) + first - 1) / first * ((panelsOf(p.second.lanes) + second - 1) / second)
	stored := amxStoreCost
	if p.turn {
		stored += amxTurnCost
	}
	cost := tiles*(amxStepsOf(k)*p.products()*amxProductCost+(k+p.kBlock-1)/p.kBlock*stored) + p.second.packingCost(k, second)
	if !p.inPlace {
		cost += p.first.packingCost(k, first)
	}
	return cost
}

// planAMX is the best plan for the product with the one operand as the first, or the other.
func (j *job) planAMX() amxPlan {
	plain := amxPlan{first: amxOperandOf(&j.a, j.m, false), second: amxOperandOf(&j.b, j.n, true)}
	turned := amxPlan{first: amxOperandOf(&j.b, j.n, false), second: amxOperandOf(&j.a, j.m, true), turn: true}
	e := j.engine.amx
	for _, p := range []*amxPlan{&plain, &turned} {
		f := &p.first
		p.inPlace = f.kind == amxCopy && f.contig && j.k%amxSteps == 0 && (f.ld%amxStride != 0 || p.second.lanes <= amxFewLanes)
		most := e.kBlock
		if p.products() > 1 {
			most = e.kBlockSplit
		}
		// Where packing takes longest, of few lanes with a second operand whose lanes are adjacent, that is packed in whole rows if blocks do not become much
		// shorter.
		if whole := e.secondBytes / (2 * p.second.parts * panelsOf(p.second.lanes) * amxLanes); !p.second.contig && f.lanes <= amxFewFirst && whole >= most/2 {
			most = min(most, whole)
		}
		p.kBlock = even(j.k, most, amxSteps)
		most = e.secondBytes / (2 * p.second.parts * p.kBlock) / amxLanes * amxLanes
		p.secondLanes = even(p.second.lanes, min(e.secondLanes, most), amxLanes)
		p.folded = j.k <= amxFold && f.parts == 3 && p.second.parts == 3
		p.apart = j.k > p.kBlock && j.cBF16
	}
	best := plain
	// Sums that are kept transposed would have to run on from block to block of k, which is fine for a bfloat16 C only.
	if fits := j.k <= turned.kBlock || j.cBF16; fits && turned.costOf(j.k, 1, 1) < plain.costOf(j.k, 1, 1) {
		best = turned
	}
	// Other kernels divide the rows of activations: with these in the same cores' caches as there, more packing of a matrix that is not too wide costs less
	// than to read what another core has written. Packing three parts costs more than that, unless it is of few k.
	byRows := (best.products() == 1 || j.k < amxFewSteps*amxSteps) && !best.turn && j.m >= 2*amxLanes*j.workers && 2*j.n <= 5*j.m
	best.byFirst = byRows || best.costOf(j.k, j.workers, 1) < best.costOf(j.k, 1, j.workers)
	return best
}

// takesAMX makes the plan for the product, which has not few rows, and reports whether it is made of AMX tiles: where what is packed meets so little
// that fused multiply-adds of float32 are done sooner, it is not.
func (j *job) takesAMX() bool {
	if j.engine.amx == nil {
		return false
	}
	j.amx = j.planAMX()
	return j.amx.products() == 1 || j.amx.costOf(j.k, 1, 1) < j.m*j.n*j.k/j.engine.amx.fusedPerCycle
}

func (j *job) runAMX() {
	p := &j.amx
	divided, most := p.second.lanes, j.engine.amx.taskSecond
	if p.byFirst {
		divided, most = p.first.lanes, j.engine.amx.taskFirst
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
	r := amxRange{first: first, firsts: firstEnd - first, second: second, seconds: secondEnd - second}
	r.choose(p, &j.engine.amx.amxBlocking, j.k)
	w.a = grow(w.a, r.firstWords(p, j.k))
	for ; r.first < firstEnd; r.first += r.firsts {
		r.firsts = min(r.firsts, firstEnd-r.first)
		if r.acrossK {
			for s := 0; s < r.seconds; s += p.secondLanes {
				for start := 0; start < j.k; start += p.kBlock {
					j.mulBlockAMX(w, &r, s, start)
				}
			}
			continue
		}
		for start := 0; start < j.k; start += p.kBlock {
			for s := 0; s < r.seconds; s += p.secondLanes {
				j.mulBlockAMX(w, &r, s, start)
			}
		}
	}
	w.t = tile{} // the pool must not hold the caller's memory
	w.pack = amxPack{}
	blocks.put(j.owner+worker, w)
}

// amxRange is what a worker computes at a time: lanes of the first operand with lanes of the second.
type amxRange struct {
	first, firsts   int
	second, seconds int
	keeps           bool // what is packed of the first meets several blocks of the second
	acrossK         bool // each block of the second meets all blocks of k before the next does; the first is kept of all of these
	sumCols         int  // of the buffer of sums
}

// choose sets the order of blocks, and limits the lanes of the first operand to what the buffers hold.
func (r *amxRange) choose(p *amxPlan, e *amxBlocking, k int) {
	several := r.seconds > p.secondLanes
	r.keeps = several && !p.inPlace
	panels := panelsOf(r.firsts)
	if p.apart {
		r.sumCols = panelsOf(r.seconds) * amxLanes
		if r.acrossK = several && panels*amxLanes*r.sumCols > e.sumWords; r.acrossK {
			r.sumCols = p.secondLanes
		}
		panels = min(panels, max(1, e.sumWords/r.sumCols/amxLanes))
	}
	if r.keeps {
		// Where not all of the first has room, the second is packed again for every part of it, or the first for every block of the second.
		fit := max(1, e.firstBytes/r.firstPanelBytes(p, k))
		if r.keeps = (panels-1)/fit*r.seconds <= (r.seconds-1)/p.secondLanes*r.firsts; r.keeps {
			panels = min(panels, fit)
		}
	}
	r.firsts = min(r.firsts, panels*amxLanes)
}

// firstPanelBytes is the room of a panel of the first operand, in all blocks of k that are kept at a time.
func (r *amxRange) firstPanelBytes(p *amxPlan, k int) int {
	size := p.first.panelBytes(amxStepsOf(min(k, p.kBlock)))
	if r.acrossK && r.keeps {
		size *= (k + p.kBlock - 1) / p.kBlock
	}
	return size
}

// firstWords is the room for what is packed of the first operand.
func (r *amxRange) firstWords(p *amxPlan, k int) int {
	panels := 1
	switch {
	case r.keeps:
		panels = panelsOf(r.firsts)
	case !p.first.contig:
		panels = min(amxPanelsAlong, panelsOf(r.firsts))
	}
	return panels*r.firstPanelBytes(p, k)/4 + amxLine
}

// mulBlockAMX multiplies lanes of the first operand with a block of the second, which begins at lane s of the range, in the block of k from start on.
func (j *job) mulBlockAMX(w *block, r *amxRange, s, start int) {
	p := &j.amx
	seconds, elems := min(p.secondLanes, r.seconds-s), min(p.kBlock, j.k-start)
	w.b = grow(w.b, panelsOf(seconds)*p.second.panelBytes(amxStepsOf(elems))/4+amxLine)
	j.packAMX(w, &p.second, alignedWords(w.b), r.second+s, seconds, start, elems)
	e := j.engine.amx
	t := &w.t
	packed, scratch := alignedWords(w.b), w.alignedScratch(amxScratch)
	steps := amxStepsOf(elems)
	panelFirst, panelSecond := p.first.panelBytes(steps), p.second.panelBytes(steps)
	*t = tile{k: steps, scratch: scratch}
	begins, ends := start == 0, start+elems >= j.k
	sums := 0 // the first of the buffer
	if p.apart {
		w.sums = grow(w.sums, panelsOf(r.firsts)*amxLanes*r.sumCols)
		if !r.acrossK {
			sums = s
		}
	}
	kept := alignedWords(w.a) // the panels of this block of k
	if r.acrossK && r.keeps {
		kept = unsafe.Add(kept, start/p.kBlock*panelsOf(r.firsts)*p.first.panelBytes(amxStepsOf(p.kBlock)))
	}
	atOnce := amxLanes // lanes of the first that are packed at once
	if !p.first.contig {
		atOnce *= amxPanelsAlong // from longer pieces of what lies in rows
	}
	for i := 0; i < r.firsts; i += amxLanes {
		lanes := min(amxLanes, r.firsts-i)
		if p.inPlace && lanes%16 == 0 {
			t.a, t.lda, t.groupA, t.stepA = p.first.at(r.first+i, start), p.first.ld, 16*p.first.ld, 2*amxSteps
		} else {
			panel := i % atOnce / amxLanes
			if r.keeps {
				panel = i / amxLanes
			}
			t.a, t.lda, t.groupA, t.stepA = unsafe.Add(kept, panel*panelFirst), 2*amxSteps, amxPart/2, p.first.stepBytes()
			if i%atOnce == 0 && (s == 0 || !r.keeps) {
				j.packAMX(w, &p.first, t.a, r.first+i, min(atOnce, r.firsts-i), start, elems)
			}
		}
		if r.keeps && s > 0 {
			t.fetchLines = panelFirst / 64
			t.fetch, t.fetches = unsafe.Add(t.a, panelFirst), (t.fetchLines+steps*panelsOf(seconds)-1)/(steps*panelsOf(seconds))
			if i+amxLanes >= r.firsts {
				t.fetches = 0
			}
		} else {
			j.fetchAMX(t, r, i, start, elems, steps*panelsOf(seconds))
		}
		t.fetchesC = (lanes + steps - 1) / steps
		for q := 0; q < seconds; {
			t.n = max(1, (seconds-q)/amxLanes)
			width := min(amxLanes, seconds-q)
			t.b, t.nextB = unsafe.Add(packed, q/amxLanes*panelSecond), panelSecond
			whole := lanes%16 == 0 && width%16 == 0
			var at unsafe.Pointer
			if p.apart {
				at = unsafe.Pointer(&w.sums[i*r.sumCols+sums+q])
			}
			t.flags, t.turn, t.load = 0, 0, nil
			t.nextC, t.nextD, t.nextBias = 4*amxLanes, 2*amxLanes, 4*amxLanes
			if p.apart && !ends {
				t.c, t.ldc = at, 4*r.sumCols
				t.direct = 1
			} else {
				j.finish(t, begins || p.apart, ends)
				row, col := r.first+i, r.second+s+q
				if t.rows, t.mask = lanes, 1<<width-1; p.turn {
					row, col, t.turn = col, row, 1
					t.rows, t.mask = width, 1<<lanes-1
				}
				j.output(t, row, col)
				if p.turn {
					t.nextC, t.nextD, t.nextBias = amxLanes*t.ldc, amxLanes*t.ldd, 0
				}
				t.direct = index(t.flags == 0 && !p.turn && whole)
			}
			if p.apart && !begins {
				t.load, t.ldLoad, t.nextLoad = at, 4*r.sumCols, 4*amxLanes
			}
			q += t.n * amxLanes
			if rows, cols := (lanes+15)/16, (width+15)/16; p.folded {
				e.mulFolded(t, rows, cols)
			} else {
				e.mul(t, p.first.parts, p.second.parts, rows, cols)
			}
		}
	}
}

// fetchAMX has the kernel fetch the panel of the first operand after the one from lane i of the range on, or the first in the next block of k, in so many
// steps.
func (j *job) fetchAMX(t *tile, r *amxRange, i, start, elems, steps int) {
	x := &j.amx.first
	lane := r.first + i + amxLanes
	if i+amxLanes >= r.firsts {
		if lane, start = r.first, start+elems; start >= j.k {
			t.fetches = 0
			return
		}
	}
	elems = min(elems, j.k-start)
	rows, width := min(amxLanes, x.lanes-lane), elems
	if !x.contig {
		rows, width = width, rows
	}
	t.fetch, t.fetchLD, t.fetchLines = x.at(lane, start), x.ld, (width*x.size+63)/64
	if t.fetches = (rows*t.fetchLines + steps - 1) / steps; t.fetches > amxMostFetches {
		t.fetches = 0 // it would take longer than the products
	}
}

const amxLine = 16 // words of a cache line

// alignedWords is where the first whole line of words begins.
func alignedWords(words []uint32) unsafe.Pointer {
	at := uintptr(unsafe.Pointer(&words[0])) / 4 % amxLine
	return unsafe.Pointer(&words[(amxLine-at)%amxLine])
}

// pack packs lanes of an operand, from element k on, elems elements, into panels of amxLanes: [panel][step][part][16 lanes of it][tile].
func (e *amxEngine) pack(a *amxPack, x *amxOperand, dst unsafe.Pointer, lane, lanes, k, elems int) {
	step, steps := x.stepBytes(), amxStepsOf(elems)
	panel := x.panelBytes(steps)
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
	} else {
		a.dst, a.rows[0], a.n, a.step = dst, x.at(lane, k), elems, step
		a.ld, a.panels, a.nextDst, a.mask = x.ld, panelsOf(lanes), panel, 1<<((lanes-1)%amxLanes+1)-1
		e.packAlong(x.kind, a)
		if x.turned() {
			for i := range a.panels {
				e.turn(unsafe.Add(dst, i*panel), steps*step/(amxPart/2))
			}
		}
	}
}

// packAMX packs lanes of one of a product's operands.
func (j *job) packAMX(w *block, x *amxOperand, dst unsafe.Pointer, lane, lanes, k, elems int) {
	e := j.engine.amx
	e.pack(&w.pack, x, dst, lane, lanes, k, elems)
	if !j.amx.folded {
		return
	}
	fold := e.foldFirst
	if x.second {
		fold = e.foldSecond
	}
	fold(dst, panelsOf(lanes), x.panelBytes(amxStepsOf(elems)))
}
