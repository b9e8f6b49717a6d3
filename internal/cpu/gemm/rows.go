package gemm

import "unsafe"

// Each worker a part of the rows. Where workers divide the columns, all of them read all of A, which each packs for itself or one for the
// other, and what another core has written comes slowly. Where they divide the rows they share nothing, not even a line of C, but B is
// packed for every part.

// besidePartRows is how many rows a part has that packs B beside its products: so many make that cheap, and more parts are
// easier to balance.
const besidePartRows = 2 * besideGroup * 14

// rowParts is how many parts the rows are cut into, each of which one worker multiplies; 1 where workers divide the columns.
func (j *job) rowParts() int {
	rows := j.m / j.workers
	if j.workers == 1 || j.swapped || rows < besideGroup*j.mr {
		return 1
	}
	slab, depth := j.slabShape(rows+j.mr, j.partWords())
	if slab*min(depth, j.steps) > j.partWords() || j.sumsApart() && depth < j.steps {
		return 1 // each part would want more room than there is
	}
	columns := j.n
	for _, o := range j.others {
		if columns += o.n; !j.fits(o, slab, depth) {
			return 1
		}
	}
	tall := columns <= 2*j.m
	switch {
	case j.kBlock < besideDepth, j.half && tall:
		return j.workers
	case j.packsBBeside(rows, j.n) && j.a.kind == copyF32 &&
		(tall || !j.a.contig || columns < apartPanels*j.engine.nr*j.workers):
		return j.workers * min(8, max(1, rows/besidePartRows))
	}
	return 1
}

// partWords is the room that a worker has for the slabs of its parts.
func (j *job) partWords() int {
	return max(j.slabWords/j.workers/lineWords*lineWords, ceil(j.engine.slabRows, j.mr)*max(j.engine.kBlock, j.engine.halfBlock))
}

func (j *job) runParts(parts int) {
	j.tasks = parts
	j.shared = append(j.shared, j.others...)
	j.slab = grow(j.slab, j.workers*j.partWords())
	j.do(j.tasks, j.partTask)
}

// partRow is the first row of a part.
func (j *job) partRow(part int) int {
	return min(j.m, partStart(part, j.tasks, (j.m+j.mr-1)/j.mr)*j.mr)
}

// mulPart multiplies one part of the rows.
func (j *job) mulPart(worker, part int) {
	words, row := j.partWords(), j.partRow(part)
	rows := j.partRow(part+1) - row
	s := parts.get(worker)
	s.own.slab = j.slab[worker*words:][:words:words]
	s.becomePart(j, &s.own, worker, row, rows)
	s.slabWords = words
	for len(s.spare) < len(j.others) {
		s.spare = append(s.spare, new(job))
	}
	s.others, s.shared = s.spare[:len(j.others)], s.shared[:0]
	for i, o := range j.others {
		s.others[i].becomePart(o, &s.own, worker, row, rows)
	}
	s.runBlocks()
	s.problem, s.own.slab = problem{}, nil
	for _, o := range s.others {
		o.problem = problem{}
	}
	parts.put(worker, s)
}

// becomePart makes the job some rows of another, or of one that is computed with it.
func (j *job) becomePart(whole *job, slabs *slabs, worker, row, rows int) {
	j.setTasks()
	j.problem, j.slabs, j.workers, j.owner = whole.problem, slabs, 1, worker
	j.swapped, j.inWide = false, false
	j.m = rows
	j.a.p, j.c = whole.a.at(row, 0), unsafe.Add(whole.c, row*whole.ldc)
}
