package gemm

import (
	"math"
	"unsafe"
)

// Products of bfloat16 matrices at the speed of float16, for CPUs that multiply it twice as fast as float32 and bfloat16 slower
// (Intel with AVX512-FP16 and without AMX).
//
// A row of A and a column of B are scaled, in each block of k, by the power of two that brings their largest magnitude to [16,32).
// A bfloat16 is then a float16 exactly, unless it is less than 2⁻²¹ of that largest one; smaller ones lose digits, and vanish below 2⁻²⁹.
// Products are exact inside a fused multiply-add. Sums of up to halfChunk of them and sums of two such sums are float16, 8 times as
// precise as bfloat16, and cannot overflow (64·31.875² < 65504); sums of these are float32. Scales are exact, undone at the end of a block, and belong to one
// row or one column, so that no row and no column of C depends on another. NaNs and infinities count as no magnitude and stay what
// they are. What this costs, and why it is allowed: docs/adr/0007.

const (
	halfLanes   = 32              // columns of B of a unit, whose step is halfLanes halves
	halfWords   = halfLanes / 2   // of a step of a unit
	halfScratch = 4 * 14 * 2 * 16 // words of tile.scratch: the accumulators of 14 × 2 units, those before, and their sums as float32
	halfChunk   = 32              // products that are summed one by one as float16
	halfDepth   = 64              // steps that a product must have at least
)

// halfEngine is what an engine that multiplies halves has for that.
type halfEngine struct {
	// pack copies lanes as engine.pack does, scaled to float16, and writes what undoes each lane's scale. With twice, a word is one
	// half two times and a panel has width words a step, for A; otherwise panels are units of halfLanes, for B.
	pack func(o *operand, dst []uint32, undo []float32, twice bool, width, lane, lanes, k, elems int)
	// mul computes t.n tiles of rows × cols elements, of halfLanes at most.
	mul func(t *tile, rows, cols int)
}

// takesHalves reports whether the product, which is neither narrow nor has few rows, is made of halves.
func (j *job) takesHalves() bool {
	return j.reduced && j.engine.half != nil && !j.swapped && j.k >= halfDepth && j.a.kind == widenBF16 && j.b.kind == widenBF16
}

// chooseHalves sets whether they are taken, and how k is cut then.
func (j *job) chooseHalves() {
	if j.half = j.takesHalves(); j.half {
		j.kBlock = even(j.steps, j.engine.halfBlock, halfChunk)
	}
}

// halfScale is the power of two that brings a magnitude, a finite bfloat16, to [16,32), and what undoes it. Both are normal numbers, so
// that less than 2⁻¹²² becomes less than 16.
func halfScale(magnitude uint16) (scale, undo float32) {
	e := min(253, 127+127+4-uint32(magnitude>>7))
	return math.Float32frombits(e << 23), math.Float32frombits((254 - e) << 23)
}

// alignedScratch is room for so many words at the start of a line.
func (w *block) alignedScratch(words int) unsafe.Pointer {
	w.scratch = grow(w.scratch, words+amxLine)
	return alignedWords(w.scratch)
}
