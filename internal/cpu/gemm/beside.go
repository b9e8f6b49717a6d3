package gemm

import "unsafe"

// Packing beside products. The micro-kernels of packed float32 leave loads, stores and integer instructions to spare, with which they pack
// what comes next: panels are then packed in no time of their own, and nobody waits for the memory that they come from.
//
//   - The first besideGroup panels of A meet the columns of a block one panel of B after the other, and pack the next one meanwhile. All
//     other panels of A find B packed.
//   - Where every worker has a slab of its own (slabs.apart), those others pack a later panel of A, and so do the last of the first if B is
//     packed before they come.
const (
	besideGroup = 8
	besideRows  = 13 // what job.mr is at least where A has besideGroup panels
	besideSteps = 8  // steps of a lane that are copied at a time where its steps are adjacent
	besideDepth = 64 // steps that a block must have at least

	// A product's workers pack A each for itself if they have so many panels of B to multiply it with.
	apartPanels = 6
)

// packing is what an engine packs beside a product.
type packing uint8

const (
	packBAcross packing = iota // a panel of B, the steps of whose lanes are adjacent
	packBAlong                 // a panel of B whose lanes are adjacent
	packAAcross                // a panel of A, the steps of whose lanes are adjacent
)

// packsBeside reports whether there is enough of A in so many rows, and of k, for panels to be packed beside products.
func (j *job) packsBeside(rows int) bool {
	return j.engine.beside != nil && !j.half && !j.swapped && j.kBlock >= besideDepth && j.mr >= besideRows && rows >= besideGroup*j.mr
}

// packsBBeside reports whether panels of so many columns of B are packed beside products of so many rows with those before.
func (j *job) packsBBeside(rows, cols int) bool {
	return j.packsBeside(rows) && j.b.kind == copyF32 && cols >= 2*j.engine.nr
}

// packsApart reports whether each worker packs A for itself, in slabs of so many rows and steps: what another core has packed is slower to
// read than to pack again, as long as there are panels of B to multiply it with. They have the room of one slab.
func (j *job) packsApart(rows, depth int) bool {
	columns := j.n
	for _, o := range j.shared {
		columns += o.n
	}
	return !j.half && j.a.kind == copyF32 && (j.a.contig || j.m <= inPlaceRows) &&
		columns >= apartPanels*j.engine.nr*j.workers && j.workers*ceil(ceil(rows, j.mr)*depth, lineWords) <= j.slabWords
}

// mulFirst multiplies the first panels of A with a task's columns of B in the block of k that begins at start, and packs these. It
// returns the first row of the slab that has not met them. The tile is ready but for what differs between tiles.
func (j *job) mulFirst(w *block, worker, start, col, cols int, f *ahead, beside *besidePanels) int {
	e := j.engine
	t := &w.t
	steps := t.k
	for i := besideGroup - 1; i >= 0; i-- {
		t.a = j.panelA(worker, start, i*j.mr)
	}
	a := t.a
	t.stepB, t.nextB, t.nextA, t.nextBias = 4*e.nr, 0, 4*j.mr*steps, 0
	pack := func(q, from int) { // steps from on of the panel of column q
		e.pack(&j.b, w.b[q*steps+from*e.nr:], e.nr, col+q, min(e.nr, cols-q), start+from, steps-from)
	}
	pack(0, 0)
	for q := 0; q < cols; q += e.nr {
		t.a, t.b, t.n = a, unsafe.Pointer(&w.b[q*steps]), besideGroup
		j.place(w, 0, col, q, cols)
		t.nextC, t.nextD = j.mr*t.ldc, j.mr*t.ldd
		f.set(t, q/e.nr*besideGroup)
		next := q + e.nr
		if next+e.nr > cols {
			e.mul(t, j.mr, min(e.nr, cols-q))
			if next < cols {
				pack(next, 0)
			}
			continue
		}
		t.packFrom, t.packTo = uintptr(j.b.at(col+next, start)), uintptr(unsafe.Pointer(&w.b[next*steps]))
		t.packLD, t.packLanes = j.b.ld, e.nr
		p, every, unit := packBAcross, 2, besideSteps
		if !j.b.contig {
			p, every, unit = packBAlong, 4, 1
			t.n = besideGroup / 2 // more time than it takes
		}
		t.packEvery, t.packBlocks = every-1, steps/unit
		if t.packBlocks > 0 {
			e.beside(p, t, j.mr)
		} else {
			e.mul(t, j.mr, e.nr)
		}
		if done := (steps/unit - t.packBlocks) * unit; done < steps {
			pack(next, done)
		}
		if done := t.n; done < besideGroup {
			t.pass(done)
			t.n = besideGroup - done
			f.set(t, q/e.nr*besideGroup+done)
			beside.mul(t, start, (besideGroup-1)*j.mr, j.mr, e.nr)
		}
	}
	return besideGroup * j.mr
}

// besidePanels is which panel of A a task packs beside its products. The zero panel is none.
type besidePanels struct {
	j             *job
	worker        int
	row, start    int // of the panel under way
	from, to      uintptr
	lanes, blocks int // to go; no block is left if none is under way
}

// mul multiplies the tiles that the tile stands for, of the panel of row i, or up to it, and the block of k that begins at start, and packs a
// later panel meanwhile if there is one and the tiles are whole.
func (p *besidePanels) mul(t *tile, start, i, rows, cols int) {
	e := p.j.engine
	if rows == p.j.mr && cols == e.nr && p.begin(t, start, i) {
		e.beside(packAAcross, t, rows)
		p.end(t)
	} else {
		e.mul(t, rows, cols)
	}
}

// begin reports whether the tiles that the tile stands for, of the panel of row i and the block of k that begins at start, have a later
// panel to pack, and tells them where they go on.
func (p *besidePanels) begin(t *tile, start, i int) bool {
	if !p.j.apart || !p.j.packsBeside(p.j.rows) || p.blocks == 0 && !p.choose(t, start, i) {
		return false
	}
	t.packFrom, t.packTo, t.packLD = p.from, p.to, p.j.a.ld
	t.packEvery, t.packLanes, t.packBlocks = everyA(t.n)-1, p.lanes, p.blocks
	return true
}

// everyA is how many steps apart lanes of A are copied during so many tiles: enough of them for a panel, if that can be.
func everyA(tiles int) int {
	if 2*tiles >= besideRows+1 {
		return 4
	}
	return 2
}

// choose finds the first panel that is not packed and that can be before it is needed.
func (p *besidePanels) choose(t *tile, start, i int) bool {
	j := p.j
	panels := j.panels()
	perPanel, perRow := j.mr*(t.k/besideSteps), t.n*(t.k/everyA(t.n))
	next := (start-j.from)/j.kBlock*panels + i/j.mr + (perPanel+perRow-1)/max(1, perRow)
	ready := j.readyOf(p.worker)
	for last := min(next+besideGroup, len(ready)); next < last; next++ {
		p.start, p.row = j.from+next/panels*j.kBlock, next%panels*j.mr
		steps := j.stepsFrom(p.start)
		if ready[next] || p.row+j.mr > j.rows || steps < besideSteps {
			continue
		}
		p.from, p.to = uintptr(j.a.at(j.row+p.row, p.start)), uintptr(unsafe.Pointer(&j.slab[j.panelAt(p.worker, p.start, p.row)]))
		p.lanes, p.blocks = j.mr, steps/besideSteps
		return true
	}
	return false
}

// end takes over how far the tiles came, and finishes a panel.
func (p *besidePanels) end(t *tile) {
	p.from, p.to, p.lanes, p.blocks = t.packFrom, t.packTo, t.packLanes, t.packBlocks
	if p.blocks == 0 {
		p.j.finishPanelA(p.worker, p.start, p.row, p.j.stepsFrom(p.start)/besideSteps*besideSteps)
	}
}
