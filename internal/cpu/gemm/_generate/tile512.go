package main

import (
	"fmt"
	"strings"
)

const aheadLog2 = 4 // steps ahead that operands are fetched

const fetchRows = 8 // kernels of fewer rows have no loads to spare

// As in package gemm.
const (
	inPlaceFew  = 8
	besideRows  = 13
	besideSteps = 8
)

const rows512 = 14 // 14×2 accumulators, 2 vectors of B, 2 broadcasts of A: all 32 registers

// tiles512 prints the AVX-512 micro-kernels and the tables that hold them.
func (w *printer) tiles512() {
	var tables strings.Builder
	tables.WriteString("\n// tiles512 is indexed by pairs, vectors-1, rows-1; inPlace512 by pairs, vectors-1, 14 rows or inPlaceFew.\nvar (\n\ttiles512 = [2][2][14]func(*tile){")
	var inPlace strings.Builder
	for _, pairs := range []bool{false, true} {
		tables.WriteString("{")
		inPlace.WriteString("{")
		for vectors := 1; vectors <= 2; vectors++ {
			tables.WriteString("{")
			for rows := 1; rows <= rows512; rows++ {
				tables.WriteString(w.tile512(pairs, false, rows, vectors, packNothing) + ", ")
			}
			tables.WriteString("}, ")
			fmt.Fprintf(&inPlace, "{%s, %s}, ", w.tile512(pairs, true, rows512, vectors, packNothing), w.tile512(pairs, true, inPlaceFew, vectors, packNothing))
		}
		tables.WriteString("}, ")
		inPlace.WriteString("}, ")
	}
	var beside strings.Builder
	for _, p := range []packing{packBAcross, packBAlong, packAAcross} {
		beside.WriteString("{")
		for rows := besideRows; rows <= rows512; rows++ {
			beside.WriteString(w.tile512(false, false, rows, 2, p) + ", ")
		}
		beside.WriteString("}, ")
	}
	fmt.Fprintf(&w.decls, "%s}\n\tinPlace512 = [2][2][2]func(*tile){%s}\n", &tables, &inPlace)
	fmt.Fprintf(&w.decls, "\t// beside512 is indexed by what is packed, rows-besideRows.\n\tbeside512 = [3][2]func(*tile){%s}\n)\n", &beside)
}

// packing is what a micro-kernel packs beside its product: nothing, or a later panel of B, of 32 lanes, whose steps are adjacent (across) or which
// are adjacent in each step (along), or of A, of as many lanes as the kernel has rows.
//
// Nothing is left of the vector registers and of the ports of multiply-adds, so that what is to be transposed goes word by word through a
// general register. Steps and distances of packed panels are constants here, which frees the registers for this.
type packing string

const (
	packNothing packing = ""
	packBAcross packing = "PackBAcross"
	packBAlong  packing = "PackBAlong"
	packAAcross packing = "PackAAcross"
)

// beginPacking loads where it goes on, at R10 and R11, the distance of lanes or steps to R8, and the lanes to go to 40(SP); endPacking stores it.
func (w *printer) beginPacking() {
	w.p("MOVQ tile_packFrom(DI), R10; MOVQ tile_packTo(DI), R11; MOVQ tile_packLD(DI), R8; MOVQ tile_packLanes(DI), AX; MOVQ AX, 40(SP)")
}

func (w *printer) endPacking() {
	w.p("MOVQ R10, tile_packFrom(DI); MOVQ R11, tile_packTo(DI); MOVQ 40(SP), AX; MOVQ AX, tile_packLanes(DI)")
}

// packStep prints what is done in one of some steps: a step of all lanes is copied, or besideSteps steps of one lane. What comes later is
// fetched into L1: it takes some hundred cycles to get there.
func (w *printer) packStep(p packing, rows int) {
	w.p("TESTQ CX, tile_packEvery(DI); JNZ packed")
	if p == packBAlong {
		w.p("VMOVUPS (R10), Z30; VMOVUPS 64(R10), Z31; VMOVUPS Z30, (R11); VMOVUPS Z31, 64(R11)")
		w.p("PREFETCHT0 (R10)(R8*8); PREFETCHT0 64(R10)(R8*8); ADDQ R8, R10; ADDQ $128, R11")
	} else {
		lanes := 32
		if p == packAAcross {
			lanes = rows
		}
		for i := range besideSteps {
			w.p("MOVL %d(R10), R9; MOVL R9, %d(R11)", 4*i, 4*lanes*i)
		}
		w.p("PREFETCHT0 64(R10); ADDQ R8, R10; ADDQ $4, R11; DECQ 40(SP); JNZ packed") // the next lane
		w.p("MOVQ R8, R9; IMULQ $%d, R9; SUBQ R9, R10; ADDQ $%d, R10; ADDQ $%d, R11; MOVQ $%d, 40(SP)",
			lanes, 4*besideSteps, 4*lanes*(besideSteps-1), lanes) // the next steps
	}
	w.p("DECQ tile_packBlocks(DI); JNZ packed; MOVQ $-1, tile_packEvery(DI)")
	w.label("packed")
}

// tile512 prints the micro-kernel of rows × 16·vectors elements (see type tile) and returns its name. Without inPlace,
// the rows' words of one step are adjacent, and steps are any distance apart: packed A, or a transposed A as it lies.
// With inPlace, A is read as it lies, rows tile.lda apart and each row's steps adjacent. With beside, both operands are packed.
func (w *printer) tile512(pairs, inPlace bool, rows, vectors int, beside packing) string {
	name := "tileF32"
	if pairs {
		name = "tileBF16"
	}
	if inPlace {
		name += "InPlace"
	}
	name += string(beside)
	name = fmt.Sprintf("%sx%dx%d", name, rows, 16*vectors)
	acc := func(row, v int) int { return row*vectors + v }
	each := func(f func(row, v int)) {
		for row := range rows {
			for v := range vectors {
				f(row, v)
			}
		}
	}
	// 0(SP), 8(SP), 16(SP), 24(SP) and 32(SP) are the current d and bias, the tiles to go, what this tile fetches and the distance of
	// the rows that it writes; 40(SP) and 48(SP) belong to packing.
	w.text(name, "t *tile", 56, 8)
	w.p("MOVQ t+0(FP), DI")
	w.p("MOVQ tile_a(DI), R13; MOVQ tile_b(DI), R14; MOVQ tile_c(DI), DX")
	w.beginTiles()
	w.p("MOVQ tile_stepA(DI), R8; MOVQ tile_stepB(DI), R9")
	if inPlace {
		w.p("MOVQ tile_lda(DI), R8; LEAQ (R8)(R8*2), R15")
	}
	fetches := !inPlace && rows >= fetchRows
	if fetches {
		w.p("MOVQ tile_fetch(DI), R12; TESTQ R12, R12; CMOVQEQ R13, R12; MOVQ R12, 24(SP); MOVQ tile_fetchLD(DI), R15")
	}
	if beside != packNothing {
		w.beginPacking()
	}
	w.label("tile")
	w.p("MOVQ tile_k(DI), CX; MOVQ R13, SI; MOVQ R14, BX")
	each(func(row, v int) { w.p("VPXORD Z%[1]d, Z%[1]d, Z%[1]d", acc(row, v)) })
	// Fetch the tile of C while the sums are made: a row every few steps, since as many lines at once as the core can wait for would
	// keep operands waiting that are in L2.
	fetchC := func() {
		for v := range vectors {
			w.p("PREFETCHT0 %d(AX)", 64*v)
		}
	}
	if inPlace {
		w.rowwise(rows, "DX", "tile_ldc", func(int) { fetchC() })
	} else {
		w.p("MOVQ DX, AX; MOVQ tile_ldc(DI), R9")
		w.p("TESTQ $const_toD, tile_flags(DI); JZ fetch; MOVQ 0(SP), AX; MOVQ tile_ldd(DI), R9")
		w.label("fetch")
		w.p("MOVQ R9, 32(SP)")
	}
	address := func(row int) string { return fmt.Sprintf("%d(SI)", 4*row) }
	next := "ADDQ R8, SI; ADDQ R8, R11; ADDQ R9, R10; ADDQ R9, BX"
	switch {
	case beside != packNothing:
		next = fmt.Sprintf("ADDQ $%d, SI; ADDQ $128, BX", 4*rows)
	case !inPlace:
		w.p("MOVQ tile_stepB(DI), R9")
		// Words some steps on. In operands that are read as they lie every step is on another page, where no hardware looks ahead.
		w.p("MOVQ R8, R11; SHLQ $%d, R11; ADDQ SI, R11; MOVQ R9, R10; SHLQ $%[1]d, R10; ADDQ BX, R10", aheadLog2)
	default:
		w.p("LEAQ (SI)(R8*4), AX; LEAQ (SI)(R8*8), R11; LEAQ (AX)(R8*8), R12")
		base := [4]string{"SI", "AX", "R11", "R12"} // rows 0, 4, 8, 12
		address = func(row int) string {
			return fmt.Sprintf("(%s)%s", base[row/4], [4]string{"", "(R8*1)", "(R8*2)", "(R15*1)"}[row%4])
		}
		next = "ADDQ $4, SI; ADDQ $4, AX; ADDQ $4, R11; ADDQ $4, R12; ADDQ $64, R10; ADDQ R9, BX"
		// The rows of the next tile begin where these end. A step uses less than a line of them.
		w.p("MOVQ tile_nextA(DI), R10; ADDQ R13, R10")
	}
	w.p("PCALIGN $64")
	w.label("step")
	switch {
	case inPlace:
		w.p("PREFETCHT1 (R10)")
	case beside != packNothing:
		w.p("PREFETCHT0 %d(SI); PREFETCHT0 %d(BX); PREFETCHT0 %d(BX)", 4*rows<<aheadLog2, 128<<aheadLog2, 128<<aheadLog2+64)
	default:
		w.p("PREFETCHT0 (R11); PREFETCHT0 (R10)")
		if vectors == 2 {
			w.p("PREFETCHT0 64(R10)")
		}
	}
	if !inPlace {
		w.p("TESTQ CX, tile_every(DI); JNZ compute")
		fetchC()
		w.p("ADDQ 32(SP), AX")
		w.label("compute")
	}
	if fetches {
		w.p("PREFETCHT1 (R12); PREFETCHT1 (R12)(R15*1); ADDQ tile_fetchStep(DI), R12")
	}
	if beside != packNothing {
		w.packStep(beside, rows)
	}
	for v := range vectors {
		w.p("VMOVUPS %d(BX), Z%d", 64*v, 28+v)
	}
	for row := range rows {
		a := 30 + row%2
		w.p("VBROADCASTSS %s, Z%d", address(row), a)
		for v := range vectors {
			if pairs {
				w.dpbf16(28+v, a, acc(row, v))
			} else {
				w.p("VFMADD231PS Z%d, Z%d, Z%d", 28+v, a, acc(row, v))
			}
		}
	}
	w.p("%s; DECQ CX; JNZ step", next)

	if beside != packNothing {
		w.p("MOVQ R10, 48(SP)")
	}
	w.finish(finish512{rows: rows, vectors: vectors, pairs: pairs, acc: acc})
	if beside != packNothing {
		w.p("MOVQ 48(SP), R10")
	}
	w.endTile(fetches)
	if beside != packNothing {
		w.endPacking()
	}
	w.ret()
	return name
}

// beginTiles loads what finish and endTile use besides C: the current d and bias and the tiles to go, to 0(SP), 8(SP) and 16(SP), and the mask
// of columns to K1 and K2. DI is the tile.
func (w *printer) beginTiles() {
	w.p("MOVQ tile_d(DI), AX; MOVQ AX, 0(SP); MOVQ tile_bias(DI), AX; MOVQ AX, 8(SP); MOVQ tile_n(DI), AX; MOVQ AX, 16(SP)")
	w.p("MOVQ tile_mask(DI), AX; KMOVW AX, K1; SHRQ $16, AX; KMOVW AX, K2")
}

// endTile goes on with the next tile, if there is one.
func (w *printer) endTile(fetches bool) {
	w.p("ADDQ tile_nextA(DI), R13; ADDQ tile_nextB(DI), R14; ADDQ tile_nextC(DI), DX")
	w.p("MOVQ tile_nextD(DI), AX; ADDQ AX, 0(SP); MOVQ tile_nextBias(DI), AX; ADDQ AX, 8(SP)")
	if fetches {
		w.p("MOVQ 24(SP), R12; ADDQ tile_nextFetch(DI), R12; MOVQ R12, 24(SP)")
	}
	w.p("DECQ 16(SP); JNZ tile")
}

// finish512 is what becomes of sums in registers: rows × vectors of C from vector first on, each in register acc(row, v).
type finish512 struct {
	rows, first, vectors int
	pairs                bool // the CPU has AVX512_BF16
	acc                  func(row, v int) int
	suffix               string // of labels, where several are in one routine
}

func (f finish512) each(do func(row, v int)) {
	for row := range f.rows {
		for v := range f.vectors {
			do(row, v)
		}
	}
}

// rowwise runs f on every row with AX at the row's elements.
func (w *printer) rowwise(rows int, start, ld string, f func(row int)) {
	w.p("MOVQ %s, AX; MOVQ %s(DI), R10", start, ld)
	for row := range rows {
		f(row)
		if row < rows-1 {
			w.p("ADDQ R10, AX")
		}
	}
}

// finish prints what follows the sums in type tile. C is at DX, 0(SP) and 8(SP) are d and the bias. It uses AX, CX, R10 and Z28 on.
func (w *printer) finish(f finish512) {
	label := fmt.Sprint(f.first, f.suffix)
	w.p("MOVQ tile_flags(DI), CX")
	w.p("TESTQ $const_scale, CX; JZ scaled%s", label)
	w.p("VBROADCASTSS tile_alpha(DI), Z31")
	f.each(func(row, v int) { w.p("VMULPS Z31, Z%[1]d, Z%[1]d", f.acc(row, v)) })
	w.label(fmt.Sprintf("scaled%s", label))
	w.p("TESTQ $const_addC, CX; JZ addedC%s", label)
	w.p("VBROADCASTSS tile_beta(DI), Z31")
	w.rowwise(f.rows, "DX", "tile_ldc", func(row int) {
		for v := range f.vectors {
			w.p("VFMADD231PS %d(AX), Z31, K%d, Z%d", 64*(f.first+v), v+1, f.acc(row, v))
		}
	})
	w.label(fmt.Sprintf("addedC%s", label))
	w.p("TESTQ $const_addD, CX; JZ addedD%s", label)
	w.p("VBROADCASTSS tile_betaD(DI), Z31")
	w.rowwise(f.rows, "0(SP)", "tile_ldd", func(row int) {
		for v := range f.vectors {
			w.p("VPMOVZXWD.Z %d(AX), K%d, Z28; VPSLLD $16, Z28, Z28; VFMADD231PS Z28, Z31, Z%d", 32*(f.first+v), v+1, f.acc(row, v))
		}
	})
	w.label(fmt.Sprintf("addedD%s", label))
	w.p("TESTQ $const_addBias, CX; JZ addedBias%s", label)
	w.p("MOVQ 8(SP), AX")
	for v := range f.vectors {
		w.p("VMOVUPS.Z %d(AX), K%d, Z%d", 64*(f.first+v), v+1, 28+v)
	}
	f.each(func(row, v int) { w.p("VADDPS Z%d, Z%[2]d, Z%[2]d", 28+v, f.acc(row, v)) })
	w.label(fmt.Sprintf("addedBias%s", label))
	w.p("TESTQ $const_toD, CX; JNZ toD%s", label)
	w.rowwise(f.rows, "DX", "tile_ldc", func(row int) {
		for v := range f.vectors {
			w.p("VMOVUPS Z%d, K%d, %d(AX)", f.acc(row, v), v+1, 64*(f.first+v))
		}
	})
	w.p("JMP stored%s", label)
	w.label(fmt.Sprintf("toD%s", label))
	w.rowwise(f.rows, "0(SP)", "tile_ldd", func(row int) {
		for v := range f.vectors {
			if f.pairs {
				w.cvtbf16(f.acc(row, v), 28+v)
				w.p("VMOVDQU16 Y%d, K%d, %d(AX)", 28+v, v+1, 32*(f.first+v))
			} else {
				w.roundBF16(f.acc(row, v), 28+v)
				w.p("VPMOVDW Z%d, K%d, %d(AX)", 28+v, v+1, 32*(f.first+v))
			}
		}
	})
	w.label(fmt.Sprintf("stored%s", label))
}
