package gemm

import (
	"slices"
	"unsafe"

	"github.com/mltrain/mltrain/internal/cpu/par"
)

// The blocking, in 32-bit words (a word is one k in float32 and two k in pairs):
//
//	slab   rows of A, packed for up to all k by all workers together, or by each for itself (slabs.apart, rows.go); lives in L3
//	block  columns × kBlock of B, packed by the worker that multiplies it; lives in L2
//	panel  mr rows × kBlock of A; lives in L1 while it meets every panel of the block
//
// k is cut into equal blocks of at most kBlock steps: each element of C is summed block by block, and the cut depends
// on K alone.
type blocking struct {
	kBlock      int // steps
	halfBlock   int // steps where halves are multiplied: one takes half the room of B, and C is read and written less often
	columnBlock int
	slabWords   int
	slabRows    int // most rows of a slab when its depth or sums are what takes memory
}

var standard = blocking{kBlock: 384, halfBlock: 576, columnBlock: 320, slabWords: 2 << 20, slabRows: 512}

const (
	minSlabRows = 56
	wideWords   = 1 << 19
	inPlaceRows = 32

	// No two workers write to one cache line.
	lineWords = 16
	readyUnit = 4 * lineWords

	// Below this many multiplications a product is not worth waking a second worker.
	serialWork = 1 << 18
)

// job is one product under way. Jobs are pooled, with the closures given to package par.
type job struct {
	problem
	biasBuf  []float32
	bInPlace bool
	workers  int
	owner    int // of a part (see rows.go): the worker that multiplies it, alone

	*slabs
	inWide    bool
	row, rows int // of the slab
	from, to  int // steps of the slab
	groups    int // packing tasks
	tasks     int // tasks of columns
	unit      int // columns of a product with few rows that stay together

	groupRows int // rows of A that a task of a narrow product takes at a time
	swapped   bool

	own    slabs
	others []*job // products of the same A, to be computed with this one or after it
	shared []*job // those of them that this slab serves
	spare  []*job // of a part: jobs to become others

	packTask, mulTask         func(worker, task int)
	packColsTask, mulRowsTask func(worker, task int)
	vectorTask, partTask      func(worker, task int)
	amxTask                   func(worker, task int)
}

// problem is what a job computes, and in which blocks of k.
type problem struct {
	engine      *engine
	m, n        int
	k, steps    int // elements, words
	alpha, beta float32
	pairs       bool
	reduced     bool // the precision allows halves
	half        bool // and they are taken
	a, b        operand
	c           unsafe.Pointer
	ldc         int // bytes
	cBF16       bool
	bias        []float32
	scales      []float32 // of a B in int8
	mr          int       // rows of a panel of A
	kBlock      int       // steps of a block of k, at least 1
	amx         amxPlan
	slabWords   int // most words of a slab, but for the exceptions in slabShape
}

// slabs are a job's large buffers, or those of the job that it is computed with.
type slabs struct {
	slab []uint32
	// With apart every worker has a slab of its own, slabSize words each, and packs its panels when it comes to them. Those that it has
	// packed are ready (see readyOf): panelsOf for each.
	apart              bool
	ready              []bool
	slabSize, panelsOf int
	undo               []float32 // the scales of a slab of halves: [block of k][row]
	wide               []uint32  // float32 sums of a slab's rows of a bfloat16 C, between ranges of k
}

// block is what one worker needs for one task.
type block struct {
	b       []uint32  // packed columns
	sums    []uint32  // float32 sums of a bfloat16 C, between blocks of k
	a       []uint32  // for AMX: packed panels of the first operand
	undo    []float32 // of halves: the scales of the columns
	scratch []uint32  // room for the micro-kernel
	// These are here because what is passed to an engine escapes to the heap.
	t     tile
	lanes operand
	v     vectors
	pack  amxPack
}

func (j *job) set(e *engine, s Spec, p Precision, c, a, b, bias Data) {
	j.engine, j.slabs = e, &j.own
	j.m, j.n, j.k = s.M, s.N, s.K
	j.alpha, j.beta = s.Alpha, s.Beta
	j.a.set(e, a, s.LDA, !s.TransA, p)
	j.b.set(e, b, s.LDB, s.TransB, p)
	j.pairs = j.a.kind.isPair()
	j.reduced, j.half = p == ComputeBF16Reduced, false
	j.steps = s.K
	if j.pairs {
		j.steps = (s.K + 1) / 2
	}
	j.kBlock, j.slabWords = max(1, even(j.steps, e.kBlock, 1)), e.slabWords
	j.c, j.cBF16, j.ldc = c.pointer(), c.BF16 != nil, 4*s.LDC
	if j.cBF16 {
		j.ldc = 2 * s.LDC
	}
	j.bias, j.scales = bias.F32, b.Scales
	if bias.BF16 != nil {
		j.biasBuf = append(j.biasBuf[:0], make([]float32, 0)...)
		for _, h := range bias.BF16[:s.N] {
			j.biasBuf = append(j.biasBuf, widen(h))
		}
		j.bias = j.biasBuf
	}
	j.swapped, j.inWide = false, false
	j.mr = e.mr
	if e.inPlace != nil {
		j.mr = max(1, even(s.M, e.mr, 1)) // 16 rows are 8 and 8, not 14 and 2
	}
	j.workers = 1
	if s.M*s.N*(s.K+1) >= serialWork {
		j.workers = par.Workers()
	}
	j.setTasks()
}

func (j *job) setTasks() {
	if j.packTask == nil {
		j.packTask, j.mulTask = j.packRows, j.mulColumns
		j.packColsTask, j.mulRowsTask = j.packCols, j.mulRows
		j.vectorTask, j.partTask = j.mulVectors, j.mulPart
		j.amxTask = j.mulAMX
	}
}

// done drops the references to the caller's memory and gives the job back, after the others: the last is the next that is taken, and this
// one has the buffers.
func (j *job) done() {
	for _, o := range j.others {
		o.done()
	}
	clear(j.others)
	j.others = j.others[:0]
	j.problem = problem{}
	jobs.put(j)
}

// even is the length of a part when total is cut into the fewest equal parts of at most limit, each a multiple of unit.
func even(total, limit, unit int) int {
	parts := max(1, (total+limit-1)/limit)
	return ceil((total+parts-1)/parts, unit)
}

func ceil(n, unit int) int { return (n + unit - 1) / unit * unit }

// do runs tasks, in parallel if the product is large enough.
func (j *job) do(tasks int, fn func(worker, task int)) {
	par.DoWorker(j.workers, tasks, fn)
}

const groupPanels = 8 // panels of A packed by one task

// run computes the product and the others.
func (j *job) run() {
	j.shared = j.shared[:0]
	switch {
	case j.k == 0:
		j.withoutProduct()
	case j.isVector():
		j.share((*job).isVector)
		j.runVector()
	case j.takesAMX():
		j.runAMX()
	case !j.fewColumns() && j.narrow():
		j.runNarrow()
	default:
		j.chooseHalves()
		if parts := j.rowParts(); parts > 1 {
			j.runParts(parts)
		} else {
			j.runBlocks()
		}
	}
	for _, o := range j.others {
		if !slices.Contains(j.shared, o) {
			o.run()
		}
	}
	clear(j.shared)
}

// share lists the others that fit. One with alpha 0 reads no operand.
func (j *job) share(fits func(o *job) bool) {
	for _, o := range j.others {
		if o.k == j.k && fits(o) {
			j.shared = append(j.shared, o)
		}
	}
}

// partOf finds the job that a task belongs to among this one and those that share with it, and the task's number there. Where all have as
// many tasks for every worker, the tasks that a worker begins with (see package par) are its part of each job.
func (j *job) partOf(task int) (*job, int) {
	worker, parts := 0, 1
	if j.evenly() {
		each := j.allTasks() / j.workers
		worker, task, parts = task/each, task%each, j.workers
	}
	o := j
	for next := 0; ; next++ {
		n := o.tasks / parts
		if task < n {
			return o, worker*n + task
		}
		task -= n
		o = j.shared[next]
	}
}

// evenly reports whether this job and those that share with it have as many tasks for every worker.
func (j *job) evenly() bool {
	for _, o := range j.shared {
		if o.tasks%j.workers != 0 {
			return false
		}
	}
	return j.tasks%j.workers == 0
}

// allTasks is the number of tasks of this job and those that share with it.
func (j *job) allTasks() int {
	n := j.tasks
	for _, o := range j.shared {
		n += o.tasks
	}
	return n
}

// runBlocks cuts C into slabs of rows and, where A is too deep for a slab, k into ranges.
func (j *job) runBlocks() {
	rows, depth := j.slabShape(j.m, j.slabWords)
	j.bInPlace = j.readBInPlace()
	j.inWide = j.sumsApart() && depth < j.steps
	j.share(func(o *job) bool { return j.fits(o, rows, depth) })
	j.apart = j.packsApart(rows, min(depth, j.steps))
	j.tasks = j.columnTasks()
	for _, o := range j.shared {
		o.half, o.kBlock = j.half, j.kBlock
		o.tasks, o.bInPlace = o.columnTasks(), o.readBInPlace()
	}
	if j.inWide {
		j.wide = grow(j.wide, rows*j.n)
	}
	for j.row = 0; j.row < j.m; j.row += rows {
		j.rows = min(rows, j.m-j.row)
		for j.from = 0; j.from < j.steps; j.from += depth {
			j.to = min(j.steps, j.from+depth)
			blocks := (j.to - j.from + j.kBlock - 1) / j.kBlock
			j.slabSize = ceil(ceil(j.rows, j.mr)*(j.to-j.from), lineWords)
			if j.apart {
				j.panelsOf = blocks * j.panels()
				j.prepareApart()
			} else {
				j.slab = grow(j.slab, j.slabSize)
				j.groups = (j.rows + groupPanels*j.mr - 1) / (groupPanels * j.mr)
				if j.half {
					j.undo = grow(j.undo, blocks*ceil(j.rows, j.mr))
				}
				j.do(j.groups*blocks, j.packTask)
			}
			for _, o := range j.shared {
				o.row, o.rows, o.from, o.to = j.row, j.rows, j.from, j.to
			}
			j.do(j.allTasks(), j.mulTask)
		}
	}
}

// slabShape is how many rows and steps a slab of so many words has, where A has m rows.
func (j *job) slabShape(m, words int) (rows, depth int) {
	depth = j.steps
	rows = max(minSlabRows, words/depth)
	most := ceil(j.engine.slabRows, j.mr)
	whole := min(most, ceil(m, j.mr))
	switch {
	case j.swapped:
		rows = max(rows, m)
	case j.sumsApart():
		rows = min(rows, most) // for the sake of block.sums
		// Few rows of all k would have B packed again for each few; many rows of some k need their sums kept, in wide.
		if rows < whole && whole*j.n <= wideWords {
			rows = whole
			depth = max(1, words/(rows*j.kBlock)) * j.kBlock
		}
	case !j.cBF16 && rows < most:
		// The sums wait in C between ranges of k, which a bfloat16 C cannot hold.
		rows = whole
		depth = max(1, words/(rows*j.kBlock)) * j.kBlock
	}
	return even(m, max(j.mr, rows/j.mr*j.mr), j.mr), depth
}

// fits reports whether slabs of so many rows and steps serve another product of the same A, too.
func (j *job) fits(o *job, rows, depth int) bool {
	return o.k == j.k && !j.swapped && depth >= j.steps && o.takesHalves() == j.half && (rows <= ceil(j.engine.slabRows, j.mr) || !o.cBF16)
}

// prepareApart gives every worker a slab of its own in which no panel is ready.
func (j *job) prepareApart() {
	j.slab = grow(j.slab, j.workers*j.slabSize)
	n := j.workers * ceil(j.panelsOf, readyUnit)
	j.ready = slices.Grow(j.ready[:0], n)[:n]
	clear(j.ready)
}

// readyOf says which panels of a worker's own slab are packed.
func (j *job) readyOf(worker int) []bool {
	return j.ready[worker*ceil(j.panelsOf, readyUnit):][:j.panelsOf]
}

// withoutProduct computes C = beta·C + bias.
func (j *job) withoutProduct() {
	var t tile
	j.finish(&t, true, true)
	for row := range j.m {
		j.output(&t, row, 0)
		for col := range j.n {
			t.store(0, 0, 0, col)
		}
	}
}

// readBInPlace reports whether the kernels read B where it is, whole tiles of it: rows of float32 that meet few rows of A.
func (j *job) readBInPlace() bool {
	b := &j.b
	return j.engine.inPlace != nil && j.m <= inPlaceRows && b.kind == copyF32 && !b.contig && b.ld%cacheStride != 0
}

// readBByRows reports whether few rows of A meet rows of B as they lie, in place or widened block by block. Exchanged, B would be packed
// all the same, and met by half as many columns as a tile has.
func (j *job) readBByRows() bool {
	b := &j.b
	return j.readBInPlace() || j.engine.inPlace != nil && j.m <= inPlaceRows && !b.contig && b.kind == widenBF16
}

// columnTasks is how many tasks the columns are cut into: blocks of B, or less to give every worker as many. It may depend on the
// number of workers because no sum does.
func (j *job) columnTasks() int {
	panels := (j.n + j.engine.nr - 1) / j.engine.nr
	tasks := (j.n + j.engine.columnBlock - 1) / j.engine.columnBlock
	if j.n <= 2*j.engine.columnBlock {
		tasks = 1 // A is read once
	}
	if j.workers > 1 {
		if tasks = ceil(tasks, j.workers); panels/tasks >= 8 && !j.apart {
			tasks *= 2
		}
	}
	return min(tasks, panels)
}

// firstColumn is where a task's columns begin.
func (j *job) firstColumn(task int) int {
	panels := (j.n + j.engine.nr - 1) / j.engine.nr
	return min(j.n, partStart(task, j.tasks, panels)*j.engine.nr)
}

// partStart is where a part begins when total is cut into parts that differ by one at most. Longer and shorter ones alternate, so that
// workers with as many adjacent parts have as much to do.
func partStart(part, parts, total int) int { return part * total / parts }

// steps to elements
func (j *job) elems(step, steps int) (first, n int) {
	if j.pairs {
		return 2 * step, min(2*steps, j.k-2*step)
	}
	return step, steps
}

// stepsFrom is how many steps the block of k has that begins at start.
func (j *job) stepsFrom(start int) int { return min(j.kBlock, j.to-start) }

// packRows packs a group of panels of A for one block of k. The slab is ordered [block of k][panel][step][row].
func (j *job) packRows(_, task int) {
	e := j.engine
	first := task % j.groups * groupPanels * j.mr
	start := j.from + task/j.groups*j.kBlock
	steps := j.stepsFrom(start)
	dst := j.slab[(start-j.from)*ceil(j.rows, j.mr)+first*steps:]
	k, elems := j.elems(start, steps)
	rows := min(groupPanels*j.mr, j.rows-first)
	if j.half {
		e.half.pack(&j.a, dst, j.undo[task/j.groups*ceil(j.rows, j.mr)+first:], true, j.mr, j.row+first, rows, k, elems)
		return
	}
	e.pack(&j.a, dst, j.mr, j.row+first, rows, k, elems)
}

// mulColumns multiplies the slab with one chunk of columns of B.
func (j *job) mulColumns(worker, task int) {
	j, task = j.partOf(task)
	e := j.engine
	w := blocks.get(j.owner + worker)
	t := &w.t
	col := j.firstColumn(task)
	cols := j.firstColumn(task+1) - col
	w.b = grow(w.b, ceil(cols, e.nr)*min(j.kBlock, j.to-j.from))
	words := e.nr // of a step of a panel of B
	var scratch unsafe.Pointer
	if j.half {
		words, scratch = halfWords, w.alignedScratch(halfScratch)
		w.undo = grow(w.undo, ceil(cols, halfLanes))
	}
	if j.keepsSums() {
		w.sums = grow(w.sums, j.rows*cols)
	}
	beside := besidePanels{j: j, worker: worker}
	for start := j.from; start < j.to; start += j.kBlock {
		steps := j.stepsFrom(start)
		k, elems := j.elems(start, steps)
		packed := 0 // first column that is packed
		if j.bInPlace {
			packed = cols / e.nr * e.nr
		}
		first := 0 // row that has not met these columns
		*t = tile{k: steps, stepA: 4 * j.mr, pairs: j.pairs}
		j.accumulate(t, start, steps)
		f := j.nextBlock(task, start+j.kBlock, steps, cols)
		switch {
		case j.half:
			e.half.pack(&j.b, w.b, w.undo, false, halfWords, col, cols, k, elems)
		case packed < cols && j.packsBBeside(j.rows, cols):
			first = j.mulFirst(w, worker, start, col, cols, &f, &beside)
		case packed < cols:
			e.pack(&j.b, w.b, e.nr, col+packed, cols-packed, k, elems)
		}
		t.nextA, t.nextC, t.nextD, t.nextBias = 0, 4*e.nr, 2*e.nr, 4*e.nr
		for i := first; i < j.rows; i += j.mr {
			t.a = j.panelA(worker, start, i)
			if j.half {
				t.scaleA, t.scratch = unsafe.Pointer(&j.undo[(start-j.from)/j.kBlock*ceil(j.rows, j.mr)+i]), scratch
			}
			f.set(t, i/j.mr*f.tiles)
			for q := 0; q < cols; { // all whole tiles at once, then the last columns
				if q < packed {
					t.b, t.stepB, t.nextB = j.b.at(col+q, k), j.b.ld, 4*e.nr
				} else {
					t.b, t.stepB, t.nextB = unsafe.Pointer(&w.b[(q-packed)/e.nr*words*steps]), 4*words, 4*steps*words
				}
				if j.half {
					t.scaleB = unsafe.Pointer(&w.undo[q])
				}
				t.n = max(1, (cols-q)/e.nr)
				j.place(w, i, col, q, cols)
				n := t.n
				if rows, width := min(j.mr, j.rows-i), min(e.nr, cols-q); j.half {
					e.half.mul(t, rows, width)
				} else {
					beside.mul(t, start, i, rows, width)
				}
				q += n * e.nr
			}
		}
	}
	if j.swapped { // here the sums are few rows of Cᵀ
		w.lanes = operand{p: unsafe.Pointer(&w.sums[0]), ld: 4 * cols, size: 4, contig: true}
		ld := ceil(j.rows, e.nr)
		w.b = grow(w.b, cols*ld)
		e.pack(&w.lanes, w.b, ld, 0, j.rows, 0, cols)
		j.storeRows(t, w.b, col, cols, 0, j.rows, ld)
	}
	*t = tile{} // the pool must not hold the caller's memory
	blocks.put(j.owner+worker, w)
}

// place points the tile at rows from i on of the slab and columns from q on of so many that begin at col: of C, or of what keeps its sums.
func (j *job) place(w *block, i, col, q, cols int) {
	t := &w.t
	if !j.swapped {
		j.output(t, j.row+i, col+q)
	}
	switch {
	case j.inWide:
		t.c, t.ldc = unsafe.Pointer(&j.wide[i*j.n+col+q]), 4*j.n
	case j.keepsSums():
		t.c, t.ldc = unsafe.Pointer(&w.sums[i*cols+q]), 4*cols
	}
}

// keepsSums reports whether a task's sums wait in a buffer of its own.
func (j *job) keepsSums() bool { return j.swapped || j.sumsApart() && !j.inWide }

// panels is the number of panels of A in a slab.
func (j *job) panels() int { return (j.rows + j.mr - 1) / j.mr }

// panelAt is where in the slab the panel of A lies that begins with row i, of the block of k that begins at start.
func (j *job) panelAt(worker, start, i int) int {
	at := (start-j.from)*ceil(j.rows, j.mr) + i*j.stepsFrom(start)
	if j.apart {
		at += worker * j.slabSize
	}
	return at
}

// panelA is that panel. In a worker's own slab it is packed now if it is not yet.
func (j *job) panelA(worker, start, i int) unsafe.Pointer {
	if j.apart && !*j.readyA(worker, start, i) {
		j.finishPanelA(worker, start, i, 0)
	}
	return unsafe.Pointer(&j.slab[j.panelAt(worker, start, i)])
}

// readyA says whether a panel of a worker's own slab is packed.
func (j *job) readyA(worker, start, i int) *bool {
	return &j.readyOf(worker)[(start-j.from)/j.kBlock*j.panels()+i/j.mr]
}

// finishPanelA packs what is left of a panel after so many steps.
func (j *job) finishPanelA(worker, start, i, done int) {
	if steps := j.stepsFrom(start); done < steps {
		j.engine.pack(&j.a, j.slab[j.panelAt(worker, start, i)+done*j.mr:], j.mr, j.row+i, min(j.mr, j.rows-i), start+done, steps-done)
	}
	*j.readyA(worker, start, i) = true
}

// ahead is what the kernels fetch into L2 while a block is multiplied: the rows of memory from which the next block will be
// packed, one or two of them during each tile.
type ahead struct {
	j       *job
	first   int // lane, or element of k if lanes are adjacent
	rows    int
	perTile int // rows a tile
	tiles   int // a panel of A
	other   int // the other coordinate of where rows begin
	step    int // bytes a step of a tile
}

// nextBlock finds the block that this worker will probably pack after the one before step start, of so many steps and columns:
// the next of its task, or the first of a later task.
func (j *job) nextBlock(task, start, steps, cols int) (f ahead) {
	f.j = j
	if start >= j.to {
		if task++; task >= j.tasks {
			return f
		}
		start = j.from
	}
	col := j.firstColumn(task)
	lanes := j.firstColumn(task+1) - col
	k, elems := j.elems(start, j.stepsFrom(start))
	f.first, f.rows, f.other = col, lanes, k
	bytes := elems * j.b.size
	if !j.b.contig {
		f.first, f.rows, f.other = k, elems, col
		bytes = lanes * j.b.size
	}
	panels := j.panels()
	width := j.engine.nr
	if j.half {
		width = 2 * halfLanes
	}
	f.tiles = max(1, cols/width)
	f.perTile = min(2, max(1, (f.rows+panels*f.tiles-1)/max(1, panels*f.tiles)))
	f.step = (bytes + steps - 1) / steps
	return f
}

// set lets tiles fetch their rows, the first of which is the block's tile of this number.
func (f *ahead) set(t *tile, number int) {
	b := &f.j.b
	row := number * f.perTile
	t.fetch, t.fetchLD, t.fetchStep, t.nextFetch = nil, 0, 0, 0
	if row >= f.rows {
		return
	}
	row = min(row, max(0, f.rows-f.tiles*f.perTile)) + f.first
	if b.contig {
		t.fetch = b.at(row, f.other)
	} else {
		t.fetch = b.at(f.other, row)
	}
	t.fetchStep, t.nextFetch = f.step, f.perTile*b.ld
	t.fetchLD = (f.perTile - 1) * b.ld
}

// accumulate is finish for the block of k that begins at start; sums of Cᵀ are finished later, by storeRows.
func (j *job) accumulate(t *tile, start, steps int) {
	if !j.swapped {
		j.finish(t, start == 0, start+steps >= j.steps)
		return
	}
	t.beta = 1
	if start > 0 {
		t.flags = addC
	}
}

// finish sets what a tile does with its sums, in the first and the last block of k.
func (j *job) finish(t *tile, first, last bool) {
	t.alpha, t.beta = j.alpha, 1
	if j.alpha != 1 {
		t.flags |= scale
	}
	if !first {
		t.flags |= addC
	}
	if last && j.bias != nil {
		t.flags |= addBias
	}
	switch { // the caller's C is added in its own type
	case !j.cBF16 && first && j.beta != 0:
		t.flags |= addC
		t.beta = j.beta
	case j.cBF16 && last:
		t.flags |= toD
		if j.beta != 0 {
			t.flags |= addD
			t.betaD = j.beta
		}
	}
}

// output points the tile at the element (row,col) of C and at the bias of the column.
func (j *job) output(t *tile, row, col int) {
	if t.flags&addBias != 0 {
		t.bias = unsafe.Pointer(&j.bias[col])
	}
	if j.cBF16 {
		t.d, t.ldd = unsafe.Add(j.c, row*j.ldc+2*col), j.ldc
	} else {
		t.c, t.ldc = unsafe.Add(j.c, row*j.ldc+4*col), j.ldc
	}
}

// sumsApart reports whether sums wait between blocks of k in a buffer, because a bfloat16 C cannot hold them.
func (j *job) sumsApart() bool { return j.cBF16 && j.steps > j.kBlock }

// floatsOf is the first n words as float32.
func floatsOf(words []uint32, n int) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(&words[0])), n)
}

// storeRows finishes columns col … col+n-1 of rows row … row+rows-1 of C from float32 sums, whose rows are ld apart.
func (j *job) storeRows(t *tile, sums []uint32, row, rows, col, n, ld int) {
	*t = tile{}
	j.finish(t, true, true)
	for i := range rows {
		from := floatsOf(sums[i*ld:], n)
		j.output(t, row+i, col)
		if t.flags == 0 {
			copy(unsafe.Slice((*float32)(t.c), n), from)
			continue
		}
		if j.cBF16 && j.engine.finishRow != nil {
			t.a = unsafe.Pointer(&from[0])
			j.engine.finishRow(t, n)
			continue
		}
		for i, v := range from {
			t.store(v, 0, 0, i)
		}
	}
	*t = tile{}
}
