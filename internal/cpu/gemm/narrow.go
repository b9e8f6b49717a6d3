package gemm

import "unsafe"

// Products with few columns (x·Aᵀ of LoRA, its gradients) would spend more time packing the long operand A than
// multiplying it. Here B is packed once for all k, and each task takes a group of rows of A, which it reads in place
// where the engine can, and otherwise packs panel by panel, so that a panel is still in L1 when it is used.
//
// Products with few rows (a handful of tokens, dA of LoRA) are the same with the operands exchanged: Cᵀ = op(B)ᵀ·op(A)ᵀ.
// Tasks then transpose what they have summed.
const (
	narrowCols = 64
	swapRows   = 32
	// Rows this far apart fall into the same sets of the L1 cache, which has fewer ways than a tile has rows.
	cacheStride = 4096
)

// narrow reports whether runNarrow takes the product, and exchanges the operands if that is what makes it narrow.
func (j *job) narrow() bool {
	swap := j.m <= swapRows && j.n > narrowCols && !j.readBInPlace()
	cols := j.n
	if swap {
		cols = j.m
	}
	if cols > narrowCols || ceil(cols, j.engine.nr)*j.steps > j.engine.slabWords {
		return false
	}
	if swap {
		j.m, j.n = j.n, j.m
		j.a, j.b = j.b, j.a
	}
	j.swapped = swap
	return true
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
	j.slab = grow(j.slab, ceil(j.n, j.narrowWidth())*j.steps)
	j.do((j.steps+j.kBlock-1)/j.kBlock, j.packColsTask)
	panels := (j.m + e.mr - 1) / e.mr
	j.groupRows = max(1, min(groupPanels, panels/(4*j.workers))) * e.mr
	j.do((j.m+j.groupRows-1)/j.groupRows, j.mulRowsTask)
}

// packCols packs one block of k of all columns of B: [block of k][panel][step][column].
func (j *job) packCols(task int) {
	width := j.narrowWidth()
	start := task * j.kBlock
	k, elems := j.elems(start, min(j.kBlock, j.steps-start))
	j.engine.pack(&j.b, j.slab[ceil(j.n, width)*start:], width, 0, j.n, k, elems)
}

// readInPlace reports whether the kernels can read A where it is.
func (j *job) readInPlace() bool {
	a := &j.a
	if j.engine.inPlace == nil || a.ld%cacheStride == 0 {
		return false
	}
	// A row of bfloat16 is a row of pairs, if the last pair is whole.
	return a.kind == copyF32 || a.kind == pairBF16 && a.contig && j.k%2 == 0
}

// mulRows multiplies one group of rows of A with all of B.
func (j *job) mulRows(task int) {
	e := j.engine
	width := j.narrowWidth()
	w := blocks.get()
	t := &w.t
	row := task * j.groupRows
	rows := min(j.groupRows, j.m-row)
	cols := ceil(j.n, width)
	sums := w.sums[:0]
	if j.swapped || j.sumsApart() {
		w.sums = grow(w.sums, rows*cols)
		sums = w.sums
	}
	w.b = grow(w.b, ceil(rows, e.mr)*j.kBlock)
	inPlace := j.readInPlace()
	packRows := e.mr // rows packed at a time
	if !j.a.contig {
		packRows = rows // lanes are adjacent: read them line by line
	}
	for start := 0; start < j.steps; start += j.kBlock {
		steps := min(j.kBlock, j.steps-start)
		k, elems := j.elems(start, steps)
		*t = tile{k: steps, stepA: 4 * e.mr, stepB: 4 * width, pairs: j.pairs}
		if j.swapped {
			t.beta = 1
			if start > 0 {
				t.flags = addC
			}
		} else {
			j.finish(t, start == 0, start+steps >= j.steps)
		}
		panel := func(i int) { // row i on, in one or several tiles
			for col := 0; col < j.n; col += width {
				t.b = unsafe.Pointer(&j.slab[ceil(j.n, width)*start+col*steps])
				if !j.swapped {
					j.output(t, row+i, col)
				}
				if len(sums) > 0 {
					t.c, t.ldc = unsafe.Pointer(&sums[i*cols+col]), 4*cols
				}
				if t.lda != 0 {
					t.nextC, t.nextD = e.mr*t.ldc, e.mr*t.ldd
					e.inPlace(t, min(width, j.n-col))
				} else {
					e.mul(t, min(e.mr, rows-i), min(width, j.n-col))
				}
			}
		}
		done := 0
		if inPlace && j.a.contig {
			if t.n = rows / e.mr; t.n > 0 {
				t.a, t.lda = j.a.at(row, k), j.a.ld
				t.nextA = e.mr * j.a.ld
				panel(0)
				done = t.n * e.mr
			}
			t.lda = 0
		}
		t.n = 1
		for i := done; i < rows; i += e.mr {
			switch at := (i - done) % packRows; {
			case inPlace && !j.a.contig:
				t.a, t.stepA = j.a.at(row+i, k), j.a.ld
			default:
				if at == 0 {
					e.pack(&j.a, w.b, e.mr, row+i, min(packRows, rows-i), k, elems)
				}
				t.a = unsafe.Pointer(&w.b[at*steps])
			}
			panel(i)
		}
	}
	if j.swapped {
		w.lanes = operand{p: unsafe.Pointer(&sums[0]), ld: 4 * cols, size: 4, contig: true}
		ld := ceil(rows, e.nr)
		w.b = grow(w.b, j.n*ld)
		e.pack(&w.lanes, w.b, ld, 0, rows, 0, j.n)
		j.storeRows(t, w.b, j.n, row, rows, ld)
	}
	*t = tile{} // the pool must not hold the caller's memory
	blocks.put(w)
}
