package gemm

import "unsafe"

// Products with a handful of rows, as in generation, are bound by reading B from memory: it is read once, as it lies,
// and both operands are multiplied in float32 (see kind.word). Where B is stored [N,K], C is made of dot products; where
// it is stored [K,N], of multiples of B's rows, summed in a buffer.

const (
	vectorRows    = 4
	moreRows      = 8    // of products with a matrix stored [N,K] that is not made of pairs
	vectorColumns = 2048 // most columns of a task: a buffer of sums that stays in L1
)

// vectors is the argument of the routines for few rows; distances are in bytes.
type vectors struct {
	w   unsafe.Pointer // B as it is stored
	ldw int
	x   unsafe.Pointer // A as float32 rows
	ldx int
	y   unsafe.Pointer // the sums, float32
	ldy int
	// rows of x; dots: length of rows, groups of four rows of W, or of engine.dotsMore for more than vectorRows; addRows: columns n.
	rows, k, n int
	// dots: from row to row of a group, in W and in y.
	apart, apartY int
}

// word is the kind that makes float32 of what k makes pairs of.
func (k kind) word() kind {
	switch k {
	case pairBF16:
		return widenBF16
	case pairF32:
		return roundF32
	}
	return k
}

func (j *job) isVector() bool {
	most := vectorRows
	if j.b.contig && !j.b.kind.isPair() {
		most = moreRows
	}
	return j.m <= most && j.engine.dots != nil && j.n >= 4
}

func (j *job) runVector() {
	j.a.kind, j.b.kind = j.a.kind.word(), j.b.kind.word()
	j.slab = grow(j.slab, j.m*j.k)
	j.packVector()
	j.cutVector()
	for _, o := range j.shared {
		o.b.kind = o.b.kind.word()
		o.cutVector()
	}
	j.do(j.allTasks(), j.vectorTask)
}

// packVector makes float32 rows of A.
func (j *job) packVector() {
	if e := j.engine; e.widen != nil && j.a.contig && j.a.kind == widenBF16 {
		e.widen(unsafe.Pointer(&j.slab[0]), j.a.p, 4*j.k, j.a.ld, j.m, j.k)
		return
	}
	for row := range j.m {
		x := j.slab[row*j.k:][:j.k]
		if j.a.contig {
			packLane(&j.a, x, 1, j.a.at(row, 0), j.k)
			continue
		}
		for k := range x {
			packLane(&j.a, x[k:], 1, j.a.at(row, k), 1)
		}
	}
}

// cutVector gives every worker as many columns, in whole lines of C, and in runs of some lines where rows of B are cut.
func (j *job) cutVector() {
	j.unit = 16
	if !j.b.contig {
		j.unit = 64
	}
	units := max(1, j.n/j.unit)
	j.tasks = min(units, max(4*j.workers, (j.n+vectorColumns-1)/vectorColumns))
}

// vectorColumn is where a task's columns begin. The last one takes what is less than a unit, too: dots needs four columns.
func (j *job) vectorColumn(task int) int {
	if task == j.tasks {
		return j.n
	}
	return partStart(task, j.tasks, max(1, j.n/j.unit)) * j.unit
}

// mulVectors computes one chunk of columns.
func (j *job) mulVectors(worker, task int) {
	j, task = j.partOf(task)
	w := blocks.get(worker)
	col := j.vectorColumn(task)
	cols := j.vectorColumn(task+1) - col
	w.sums = grow(w.sums, j.m*cols)
	v := &w.v
	*v = vectors{ldw: j.b.ld, ldx: 4 * j.k, ldy: 4 * cols, rows: j.m, k: j.k}
	if j.b.contig {
		dots := func(first, n int) {
			v.w, v.x, v.y, v.n = j.b.at(col+first, 0), unsafe.Pointer(&j.slab[0]), unsafe.Pointer(&w.sums[first]), n
			v.apart, v.apartY = n*v.ldw, 4*n
			j.engine.dots(j.b.kind, v)
		}
		group := 4
		if j.m > vectorRows {
			group = j.engine.dotsMore
		}
		dots(0, cols/group)
		if cols%group != 0 {
			dots(cols-group, 1) // again, for some
		}
	} else {
		clear(w.sums)
		for k := 0; k < j.k; {
			terms := 4
			if j.k-k < 4 {
				terms = 1
			}
			v.w, v.x, v.y, v.n = j.b.at(col, k), unsafe.Pointer(&j.slab[k]), unsafe.Pointer(&w.sums[0]), cols
			j.engine.addRows(j.b.kind, terms, v)
			k += terms
		}
	}
	if j.scales != nil {
		for row := range j.m {
			sums := floatsOf(w.sums[row*cols:], cols)
			for i, s := range j.scales[col:][:cols] {
				sums[i] *= s
			}
		}
	}
	j.storeRows(&w.t, w.sums, 0, j.m, col, cols, cols)
	*v = vectors{}
	blocks.put(worker, w)
}
