//go:build !noasm

package gemm

import "unsafe"

func mulAVX2(t *tile, rows, cols int) { tilesAVX2(t, rows, rows, cols) }

// inPlaceAVX2 takes as many rows as a tile has at most.
func inPlaceAVX2(t *tile, rows, cols int) { tilesAVX2(t, 0, rows, cols) }

// tilesAVX2 multiplies with tiles256's kernel of that number of rows. Where columns are not whole vectors the sums pass through a tile on
// the stack.
func tilesAVX2(t *tile, kernel, rows, cols int) {
	vectors := (cols + 7) / 8
	if cols == 8*vectors {
		tiles256(t, kernel, vectors)
		return
	}
	for n := range t.n {
		var sums [6][16]float32
		u := tile{k: t.k, a: unsafe.Add(t.a, n*t.nextA), lda: t.lda, b: unsafe.Add(t.b, n*t.nextB), stepA: t.stepA, stepB: t.stepB,
			c: unsafe.Pointer(&sums), ldc: 64, n: 1}
		tiles256(&u, kernel, vectors)
		for r := range rows {
			for q := range cols {
				t.store(sums[r][q], n, r, q)
			}
		}
	}
}

// finishRowAVX2 finishes whole vectors at once, then one element after the other.
func finishRowAVX2(t *tile, n int) {
	const width = 8
	if t.n = n / width; t.n > 0 {
		finishRow256(t)
	}
	sums := unsafe.Slice((*float32)(t.a), n)
	for i := n &^ (width - 1); i < n; i++ {
		t.store(sums[i], 0, 0, i)
	}
}

// packAVX2 packs in vectors of eight lanes. It does not pack pairs.
func packAVX2(o *operand, dst []uint32, width, lane, lanes, k, elems int) {
	if width < 4 { // lines of eight words would reach beyond the panel, where another worker may have packed already
		packPortable(o, dst, width, lane, lanes, k, elems)
		return
	}
	if o.contig {
		whole := elems &^ 7
		var rows [8]unsafe.Pointer
		for done := 0; done < lanes; done += width {
			n := min(width, lanes-done)
			panel := dst[done*elems:]
			for group := 0; whole > 0 && group < n; group += 8 {
				for i := range rows {
					rows[i] = o.at(lane+done+min(group+i, n-1), k)
				}
				packAcross256(o.kind, unsafe.Pointer(&panel[group]), width, &rows, whole/8, min(8, width-group))
			}
			for l := range n {
				if whole < elems {
					packLane(o, panel[whole*width+l:], width, o.at(lane+done+l, k+whole), elems-whole)
				}
			}
		}
		return
	}
	const overread = 8 // elements at most that are read beyond a panel's last lane: steps that are followed by so many others may
	vectors := 1
	if width > 8 {
		vectors = 2
	}
	a := along{ld: o.ld, width: width, nextSrc: width * o.size, nextDst: 4 * width * elems, store: min(8, width)}
	for done := 0; done < lanes; {
		// Several panels at once, but not so many that their lines in dst evict each other.
		a.panels = min((lanes-done-8*vectors+width)/width, 128/width)
		a.steps = elems
		n := a.panels * width
		if a.panels < 1 {
			a.panels, n = 1, min(width, lanes-done)
			a.steps = max(0, elems-overread)
		}
		if a.steps > 0 {
			a.dst, a.src = unsafe.Pointer(&dst[done*elems]), o.at(lane+done, k)
			packAlong256(o.kind, (min(n, width)+7)/8, &a)
		}
		for step := a.steps; step < elems; step++ {
			packLane(o, dst[done*elems+step*width:], 1, o.at(lane+done, k+step), n)
		}
		done += a.panels * width
	}
}
