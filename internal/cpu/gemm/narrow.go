package gemm

import "unsafe"

// Products with few columns (x·Aᵀ of LoRA, its gradients) would spend more time packing the long operand A than
// multiplying it. Here B is packed once for all k, by each worker for itself if there is room, and each task takes a group of rows of A, which it reads in place
// where the engine can, or widens row by row to read them so, and otherwise packs panel by panel. Either way a panel is still in L1
// when it is used.
//
// Products with few rows (a handful of tokens, dA of LoRA) are the same with the operands exchanged: Cᵀ = op(B)ᵀ·op(A)ᵀ.
// Tasks then transpose what they have summed.
const (
	narrowCols = 64
	swapRows   = 32
	// Words of B that rows of A read in place meet at a time: a quarter of L2.
	narrowWords = 1 << 17
	// Rows this far apart fall into the same sets of the L1 cache, which has fewer ways than a tile has rows, but no fewer than inPlaceFew.
	cacheStride = 4096
	inPlaceFew  = 8
	// Steps of rows of A that are widened at a time, so that a tile's rows and its columns of B are in L1 together.
	widenedSteps = 256
)

// narrow reports whether runNarrow takes the product, and exchanges the operands if that is what makes it narrow.
func (j *job) narrow() bool {
	swap := j.m <= swapRows && j.n > narrowCols && !j.readBByRows()
	cols := j.n
	if swap {
		cols = j.m
	}
	if cols > narrowCols || ceil(cols, j.engine.nr)*j.steps > j.slabWords {
		return false
	}
	if swap {
		j.exchange()
	}
	switch {
	case j.rowsInPlace() > 0: // in longer runs rows come faster from memory
		j.kBlock = max(1, even(j.steps, narrowWords/ceil(j.n, j.narrowWidth()), 1))
	case j.rowsWidened():
		j.kBlock = max(1, even(j.steps, min(j.engine.kBlock, widenedSteps), 1))
	}
	return true
}

// exchange exchanges the operands: what is summed from here on is Cᵀ.
func (j *job) exchange() {
	j.m, j.n = j.n, j.m
	j.a, j.b = j.b, j.a
	j.swapped = true
}

// fewColumns reports whether the product of a transposed A with few columns of B (dB of LoRA) becomes Cᵀ = op(B)ᵀ·A, whose second
// operand is read in place, and exchanges the operands then. A is too long for caches to hold what a panel leaves of each line.
func (j *job) fewColumns() bool {
	if j.n > inPlaceRows || j.m <= narrowCols || ceil(j.n, j.engine.mr)*j.steps > j.slabWords {
		return false
	}
	j.exchange()
	if j.readBByRows() {
		j.mr = even(j.m, j.engine.mr, 1)
		return true
	}
	j.exchange()
	j.swapped = false
	return false
}

// narrowWidth is the width of the panels of B: with AVX-512, half of it does when one vector holds all columns.
func (j *job) narrowWidth() int {
	if j.engine.inPlace != nil && j.n <= j.engine.nr/2 {
		return j.engine.nr / 2
	}
	return j.engine.nr
}

func (j *job) runNarrow() {
	e := j.engine
	j.slabSize = ceil(ceil(j.n, j.narrowWidth())*j.steps, lineWords)
	j.panelsOf = (j.steps + j.kBlock - 1) / j.kBlock
	if j.apart = j.workers*j.slabSize <= j.slabWords; j.apart {
		j.prepareApart()
	} else {
		j.slab = grow(j.slab, j.slabSize)
		j.do(j.panelsOf, j.packColsTask)
	}
	rows := j.rowsInPlace()
	if rows == 0 {
		rows = e.mr
	}
	panels := (j.m + rows - 1) / rows
	j.groupRows = rows
	j.tasks = max(1, (panels+groupPanels-1)/groupPanels)
	if j.workers > 1 {
		j.tasks = min(panels, max(4*j.workers, ceil(j.tasks, j.workers)))
	}
	j.do(j.tasks, j.mulRowsTask)
}

// groupRow is the row of A that a task of a narrow product begins with.
func (j *job) groupRow(task int) int {
	return min(j.m, partStart(task, j.tasks, (j.m+j.groupRows-1)/j.groupRows)*j.groupRows)
}

// packCols packs one block of k of all columns of B, [block of k][panel][step][column], into a slab for all workers or the worker's own.
func (j *job) packCols(worker, task int) {
	width := j.narrowWidth()
	start := task * j.kBlock
	at := ceil(j.n, width) * start
	if j.apart {
		at += worker * j.slabSize
		j.readyOf(worker)[task] = true
	}
	k, elems := j.elems(start, min(j.kBlock, j.steps-start))
	j.engine.pack(&j.b, j.slab[at:], width, 0, j.n, k, elems)
}

// packedCols is what packCols made of the block of k that begins at start.
func (j *job) packedCols(worker, start int) []uint32 {
	at := ceil(j.n, j.narrowWidth()) * start
	if j.apart {
		at += worker * j.slabSize
		if task := start / j.kBlock; !j.readyOf(worker)[task] {
			j.packCols(worker, task)
		}
	}
	return j.slab[at:]
}

// rowsInPlace is how many rows of A, where it is, the kernels read for a tile: 0 if they cannot.
func (j *job) rowsInPlace() int {
	a := &j.a
	// A row of bfloat16 is a row of pairs, if the last pair is whole.
	if j.engine.inPlace == nil || !a.contig || a.kind != copyF32 && (a.kind != pairBF16 || j.k%2 != 0) {
		return 0
	}
	if a.ld%cacheStride == 0 {
		return min(inPlaceFew, j.engine.mr)
	}
	return j.engine.mr
}

// rowsWidened reports whether rows of A are widened to a buffer that is read in place, which spares their transposition.
func (j *job) rowsWidened() bool {
	return j.engine.widen != nil && j.a.contig && j.a.kind == widenBF16
}

// nextInPlace is how many rows the kernels take next that read so many in place: 0 if no fewer.
func nextInPlace(rows int) int {
	if rows > inPlaceFew {
		return inPlaceFew
	}
	return 0
}

// mulRows multiplies one group of rows of A with all of B.
func (j *job) mulRows(worker, task int) {
	e := j.engine
	width := j.narrowWidth()
	w := blocks.get(worker)
	t := &w.t
	row := j.groupRow(task)
	rows := j.groupRow(task+1) - row
	cols := ceil(j.n, width)
	sums := w.sums[:0]
	if j.swapped || j.sumsApart() {
		w.sums = grow(w.sums, rows*cols)
		sums = w.sums
	}
	inPlace, widened := j.rowsInPlace(), j.rowsWidened()
	rowsOfTile := inPlace
	if widened {
		rowsOfTile = e.mr
	}
	packRows := e.mr // rows packed at a time
	if !j.a.contig {
		packRows = ceil(rows, e.mr) // lanes are adjacent: read them line by line
	}
	ldWide := j.kBlock
	if widened {
		ldWide = ceil(j.kBlock, 16) + 16 // no multiple of cacheStride
	}
	w.b = grow(w.b, packRows*ldWide)
	for start := 0; start < j.steps; start += j.kBlock {
		steps := min(j.kBlock, j.steps-start)
		k, elems := j.elems(start, steps)
		*t = tile{k: steps, stepA: 4 * e.mr, stepB: 4 * width, pairs: j.pairs}
		j.accumulate(t, start, steps)
		packed := j.packedCols(worker, start)
		panel := func(i int) { // row i on, in one or several tiles
			for col := 0; col < j.n; col += width {
				t.b = unsafe.Pointer(&packed[col*steps])
				if !j.swapped {
					j.output(t, row+i, col)
				}
				if len(sums) > 0 {
					t.c, t.ldc = unsafe.Pointer(&sums[i*cols+col]), 4*cols
				}
				if t.lda != 0 {
					t.nextC, t.nextD = rowsOfTile*t.ldc, rowsOfTile*t.ldd
					e.inPlace(t, rowsOfTile, min(width, j.n-col))
				} else {
					e.mul(t, min(e.mr, rows-i), min(width, j.n-col))
				}
			}
		}
		done := 0
		for inPlace := inPlace; inPlace > 0; inPlace = nextInPlace(inPlace) {
			rowsOfTile = inPlace
			if t.n = (rows - done) / inPlace; t.n > 0 {
				t.a, t.lda = j.a.at(row+done, k), j.a.ld
				t.nextA = inPlace * j.a.ld
				panel(done)
				done += t.n * inPlace
			}
			t.lda = 0
		}
		t.n = 1
		for widened && done+e.mr <= rows {
			e.widen(unsafe.Pointer(&w.b[0]), j.a.at(row+done, k), 4*ldWide, j.a.ld, e.mr, elems)
			t.a, t.lda, t.nextA = unsafe.Pointer(&w.b[0]), 4*ldWide, 0
			panel(done)
			done += e.mr
		}
		t.lda = 0
		for i := done; i < rows; i += e.mr {
			at := (i - done) % packRows
			if at == 0 {
				e.pack(&j.a, w.b, e.mr, row+i, min(packRows, rows-i), k, elems)
			}
			t.a = unsafe.Pointer(&w.b[at*steps])
			panel(i)
		}
	}
	if j.swapped {
		w.lanes = operand{p: unsafe.Pointer(&sums[0]), ld: 4 * cols, size: 4, contig: true}
		ld := ceil(rows, e.nr)
		w.b = grow(w.b, j.n*ld)
		e.pack(&w.lanes, w.b, ld, 0, rows, 0, j.n)
		j.storeRows(t, w.b, 0, j.n, row, rows, ld)
	}
	*t = tile{} // the pool must not hold the caller's memory
	blocks.put(worker, w)
}
