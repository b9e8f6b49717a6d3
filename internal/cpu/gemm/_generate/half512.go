package main

import (
	"fmt"
	"strings"
)

// halves512 prints the micro-kernels of halves (see package gemm's half.go), the table that holds them, and their packing.
func (w *printer) halves512() {
	var table strings.Builder
	table.WriteString("\n// halfTiles512 is indexed by units-1, rows-1.\nvar halfTiles512 = [2][14]func(*tile){")
	for units := 1; units <= 2; units++ {
		table.WriteString("{")
		for rows := 1; rows <= rows512; rows++ {
			table.WriteString(w.tileHalf(rows, units) + ", ")
		}
		table.WriteString("}, ")
	}
	fmt.Fprintf(&w.decls, "%s}\n", &table)
	for i, v := range []uint32{0x7fff7fff, 0x7f7f7f7f, 0xffff0000, 0} {
		fmt.Fprintf(&w.asm, "DATA ·halfMasks+%d(SB)/4, $0x%x\n", 4*i, v)
	}
	fmt.Fprintf(&w.asm, "GLOBL ·halfMasks(SB), RODATA|NOPTR, $16\n\n")
	for i := range 16 { // each of the words 0, 1, … twice
		fmt.Fprintf(&w.asm, "DATA ·twice+%d(SB)/4, $0x%04x%04x\n", 4*i, i, i)
	}
	fmt.Fprintf(&w.asm, "GLOBL ·twice(SB), RODATA|NOPTR, $64\n")
	for _, twice := range []bool{true, false} {
		w.packAcrossHalf(twice)
		w.packAlongHalf(twice)
	}
	w.amaxRow()
	w.amaxAlong()
}

// tileHalf prints the micro-kernel of rows × 32·units elements and returns its name. A word of A is one half, twice; a step of a
// unit of B is 32 halves, and the second unit of a tile follows the first.
func (w *printer) tileHalf(rows, units int) string {
	name := fmt.Sprintf("tileHalfx%dx%d", rows, 32*units)
	// In tile.scratch: the halves of all accumulators, those of the chunk before, and the float32 sums.
	const before = 64 * 2 * rows512
	const sums = 2 * before
	acc := func(row, unit int) int { return row*units + unit }
	n := rows * units
	// 0(SP) … 40(SP) are the current d and bias, the tiles to go, what this tile fetches, the distance of the rows that it writes and
	// the current scales of B; 48(SP) is not 0 in the second chunk of two.
	w.text(name, "t *tile", 56, 8)
	w.p("MOVQ t+0(FP), DI")
	w.p("MOVQ tile_a(DI), R13; MOVQ tile_b(DI), R14; MOVQ tile_c(DI), DX")
	w.beginTiles()
	w.p("MOVQ tile_scaleB(DI), AX; MOVQ AX, 40(SP)")
	w.p("MOVQ tile_stepA(DI), R8; MOVQ tile_k(DI), R9; SHLQ $6, R9")
	fetches := rows >= fetchRows
	if fetches {
		w.p("MOVQ tile_fetch(DI), R12; TESTQ R12, R12; CMOVQEQ R13, R12; MOVQ R12, 24(SP); MOVQ tile_fetchLD(DI), R15")
	}
	w.label("tile")
	w.p("MOVQ tile_k(DI), CX; MOVQ R13, SI; MOVQ R14, BX; MOVQ tile_scratch(DI), R11; MOVQ $0, 48(SP)")
	w.p("VPXORD Z0, Z0, Z0")
	for i := range 2 * n {
		w.p("VMOVUPS Z0, %d(R11)", sums+64*i)
	}
	w.p("MOVQ DX, AX; MOVQ tile_ldc(DI), R10")
	w.p("TESTQ $const_toD, tile_flags(DI); JZ fetch; MOVQ 0(SP), AX; MOVQ tile_ldd(DI), R10")
	w.label("fetch")
	w.p("MOVQ R10, 32(SP)")
	w.label("chunk")
	w.p("MOVQ $const_halfChunk, R10; CMPQ CX, R10; CMOVQLT CX, R10")
	w.p("MOVQ R8, R11; SHLQ $%d, R11; ADDQ SI, R11", aheadLog2)
	for i := range n {
		w.p("VPXORD Z%[1]d, Z%[1]d, Z%[1]d", i)
	}
	w.p("PCALIGN $64")
	w.label("step")
	w.p("PREFETCHT0 (R11); PREFETCHT0 %d(BX)", 64<<aheadLog2)
	if units == 2 {
		w.p("PREFETCHT0 %d(BX)(R9*1)", 64<<aheadLog2)
	}
	w.p("TESTQ CX, tile_every(DI); JNZ compute")
	for v := range 2 * units {
		w.p("PREFETCHT0 %d(AX)", 64*v)
	}
	w.p("ADDQ 32(SP), AX")
	w.label("compute")
	if fetches {
		w.p("PREFETCHT1 (R12); PREFETCHT1 (R12)(R15*1); ADDQ tile_fetchStep(DI), R12")
	}
	w.p("VMOVDQU32 (BX), Z28")
	if units == 2 {
		w.p("VMOVDQU32 (BX)(R9*1), Z29")
	}
	for row := range rows {
		a := 30 + row%2
		w.p("VBROADCASTSS %d(SI), Z%d", 4*row, a)
		for unit := range units {
			w.fmaPH(28+unit, a, acc(row, unit))
		}
	}
	w.p("ADDQ R8, SI; ADDQ R8, R11; ADDQ $64, BX; DECQ CX; DECQ R10; JNZ step")
	w.p("MOVQ tile_scratch(DI), R11; CMPQ 48(SP), $0; JNE second; TESTQ CX, CX; JZ widen")
	spill := func(to int) {
		for i := range n {
			w.p("VMOVDQU32 Z%d, %d(R11)", i, to+64*i)
		}
	}
	spill(before)
	w.p("NOTQ 48(SP); JMP chunk")
	w.label("second")
	w.p("MOVQ $0, 48(SP)")
	for i := range n {
		w.p("VMOVDQU32 %d(R11), Z%d", before+64*i, 28+i%4)
		w.addPH(28+i%4, i)
	}
	w.label("widen")
	spill(0) // from memory, halves widen with one micro-operation less
	for i := range 2 * n {
		tmp := i % 28
		w.p("VCVTPH2PS %d(R11), Z%d; VADDPS %d(R11), Z%[2]d, Z%[2]d; VMOVUPS Z%[2]d, %[3]d(R11)", 32*i, tmp, sums+64*i)
	}
	w.p("TESTQ CX, CX; JNZ chunk")
	for unit := range units {
		w.p("MOVQ 40(SP), R10; VMOVUPS %d(R10), Z28; VMOVUPS %d(R10), Z29; MOVQ tile_scaleA(DI), AX; MOVQ tile_scratch(DI), R11", 128*unit, 128*unit+64)
		for row := range rows {
			w.p("VBROADCASTSS %d(AX), Z30", 4*row)
			for v := range 2 {
				w.p("VMULPS Z%d, Z30, Z%d; VMULPS %d(R11), Z%[2]d, Z%[2]d", 28+v, 2*row+v, sums+128*acc(row, unit)+64*v)
			}
		}
		w.finish(finish512{rows: rows, first: 2 * unit, vectors: 2, pairs: true, acc: func(row, v int) int { return 2*row + v }})
	}
	w.p("ADDQ $%d, 40(SP)", 128*units)
	w.endTile(fetches)
	w.ret()
	return name
}

// half prints dst = the float32 of src, scaled and rounded to halves: Y dst, or with twice each in both halves of a word.
// It uses Z31 for the latter.
func (w *printer) half(src, scale string, twice bool, dst int) {
	w.p("VMULPS %s, %s, Z%d; VCVTPS2PH $0, Z%[3]d, Y%[3]d", scale, src, dst)
	if twice {
		w.p("VPERMW Z%[1]d, Z31, Z%[1]d", dst)
	}
}

// packAcrossHalf prints the packing of 16 rows of n adjacent bfloat16: lane by lane scaled, and one line of 16 words (halves twice)
// or 16 halves per step, 4·width bytes apart.
func (w *printer) packAcrossHalf(twice bool) {
	name := "packAcrossHalf"
	if twice {
		name = "packAcrossTwice"
	}
	w.text(name, "dst unsafe.Pointer, width int, rows *[16]unsafe.Pointer, n, store int, scales *float32", 0, 48)
	w.p("MOVQ dst+0(FP), DI; MOVQ width+8(FP), R8; SHLQ $2, R8; MOVQ scales+40(FP), DX")
	w.p("MOVQ rows+16(FP), SI; MOVQ n+24(FP), CX; XORQ BX, BX")
	w.p("KXNORD K0, K0, K1; MOVQ store+32(FP), AX; KMOVW AX, K3")
	rows := func(ends func(step int)) {
		for i := range 16 {
			w.p("MOVQ %d(SI), AX; VMOVDQU16.Z (AX)(BX*1), K1, Z%d", 8*i, i)
		}
		w.transpose16()
		w.p("VMOVUPS (DX), Z30")
		if twice {
			w.p("VMOVDQU32 ·twice(SB), Z31")
		}
		for i := range 32 {
			t := 16 + i%8
			if i%2 == 0 {
				w.p("VPSLLD $16, Z%d, Z%d", i/2, t)
			} else {
				w.p("VPANDD.BCST ·halfMasks+8(SB), Z%d, Z%d", i/2, t)
			}
			w.half(fmt.Sprintf("Z%d", t), "Z30", twice, t)
			if twice {
				w.p("VMOVDQU32 Z%d, K3, (DI)", t)
			} else {
				w.p("VMOVDQU32 Y%d, (DI)", t)
			}
			w.p("ADDQ R8, DI")
			ends(i)
		}
	}
	w.p("SUBQ $32, CX; JLE tail")
	w.label("loop")
	rows(func(int) {})
	w.p("ADDQ $64, BX; SUBQ $32, CX; JGT loop")
	w.label("tail")
	w.p("ADDQ $32, CX; MOVQ $-1, AX; SHLQ CX, AX; NOTQ AX; KMOVD AX, K1")
	rows(func(step int) {
		if step < 31 {
			w.p("DECQ CX; JZ done")
		}
	})
	w.label("done")
	w.ret()
}

// packAlongHalf prints the packing of adjacent lanes of bfloat16: for every step and panel a run of up to 16 words (halves twice), or
// of 32 halves.
func (w *printer) packAlongHalf(twice bool) {
	name, vectors := "packAlongHalf", 2
	if twice {
		name, vectors = "packAlongTwice", 1
	}
	w.text(name, "a *along", 0, 8)
	w.p("MOVQ a+0(FP), DX")
	w.p("MOVQ along_dst(DX), DI; MOVQ along_src(DX), SI; MOVQ along_ld(DX), R9; MOVQ along_width(DX), R8; SHLQ $2, R8")
	w.p("MOVQ along_steps(DX), CX; MOVQ along_panels(DX), R10; MOVQ along_nextSrc(DX), R11; MOVQ along_nextDst(DX), R12")
	w.p("MOVQ along_mask(DX), AX; KMOVW AX, K1; SHRQ $16, AX; KMOVW AX, K2; MOVQ along_store(DX), AX; KMOVW AX, K3")
	if twice {
		w.p("VMOVDQU32 ·twice(SB), Z31")
	}
	w.label("step")
	w.p("MOVQ SI, AX; MOVQ DI, BX; MOVQ R10, R13; MOVQ along_scales(DX), R14")
	w.label("panel")
	for v := range vectors {
		w.p("PREFETCHT0 %d(AX)(R9*8); VPMOVZXWD.Z %[1]d(AX), K%d, Z%d; VPSLLD $16, Z%[3]d, Z%[3]d", 32*v, v+1, v)
		w.half(fmt.Sprintf("Z%d", v), fmt.Sprintf("%d(R14)", 64*v), twice, v)
		if twice {
			w.p("VMOVDQU32 Z%d, K3, (BX)", v)
		} else {
			w.p("VMOVDQU32 Y%d, %d(BX)", v, 32*v)
		}
	}
	w.p("ADDQ R11, AX; ADDQ R12, BX; ADDQ along_nextScales(DX), R14; DECQ R13; JNZ panel")
	w.p("ADDQ R9, SI; ADDQ R8, DI; DECQ CX; JNZ step")
	w.ret()
}

// finiteMax prints max = the larger of it and the magnitudes of the bfloat16 at address, under the mask, NaNs and infinities left out.
func (w *printer) finiteMax(address string, mask, max, tmp int) {
	w.p("VMOVDQU16.Z %s, K%d, Z%d; VPANDD Z30, Z%[3]d, Z%[3]d", address, mask, tmp)
	w.p("VPCMPUW $2, Z31, Z%d, K7; VPMAXUW Z%[1]d, Z%d, K7, Z%[2]d", tmp, max)
}

// amaxRow prints the largest finite magnitude of n adjacent bfloat16, as bits.
func (w *printer) amaxRow() {
	fmt.Fprintf(&w.decls, "\n//go:noescape\nfunc amaxRow(p unsafe.Pointer, n int) (bits uint16)\n")
	fmt.Fprintf(&w.asm, "\nTEXT ·amaxRow(SB), NOSPLIT, $0-18\n")
	w.p("MOVQ p+0(FP), SI; MOVQ n+8(FP), CX")
	w.p("VPBROADCASTD ·halfMasks+0(SB), Z30; VPBROADCASTD ·halfMasks+4(SB), Z31")
	w.p("VPXORD Z0, Z0, Z0; VPXORD Z1, Z1, Z1; KXNORD K0, K0, K1")
	w.p("SUBQ $64, CX; JL tail")
	w.label("loop")
	w.finiteMax("(SI)", 1, 0, 2)
	w.finiteMax("64(SI)", 1, 1, 3)
	w.p("ADDQ $128, SI; SUBQ $64, CX; JGE loop")
	w.label("tail")
	w.p("ADDQ $64, CX; MOVQ $-1, AX; SHLQ CX, AX; NOTQ AX; KMOVD AX, K1; SHRQ $32, AX; KMOVD AX, K2")
	w.finiteMax("(SI)", 1, 0, 2)
	w.finiteMax("64(SI)", 2, 1, 3)
	w.p("VPMAXUW Z1, Z0, Z0; VEXTRACTI64X4 $1, Z0, Y1; VPMAXUW Y1, Y0, Y0; VEXTRACTI128 $1, Y0, X1; VPMAXUW X1, X0, X0")
	// The smallest word of the complement.
	w.p("VPTERNLOGD $0x55, X0, X0, X0; VPHMINPOSUW X0, X0; VMOVD X0, AX; NOTL AX")
	w.p("MOVW AX, bits+16(FP)")
	w.ret()
}

// amaxAlong prints the largest finite magnitudes of up to 128 adjacent lanes over some steps, as bits.
func (w *printer) amaxAlong() {
	w.text("amaxAlong", "src unsafe.Pointer, ld, steps int, mask *[4]uint32, out *[128]uint16", 0, 40)
	w.p("MOVQ src+0(FP), SI; MOVQ ld+8(FP), R8; MOVQ steps+16(FP), CX; MOVQ mask+24(FP), AX; MOVQ out+32(FP), DI")
	w.p("VPBROADCASTD ·halfMasks+0(SB), Z30; VPBROADCASTD ·halfMasks+4(SB), Z31")
	for v := range 4 {
		w.p("KMOVD %d(AX), K%d; VPXORD Z%d, Z%[3]d, Z%[3]d", 4*v, v+1, v)
	}
	w.label("step")
	for v := range 4 {
		w.p("PREFETCHT0 %d(SI)(R8*8)", 64*v)
		w.finiteMax(fmt.Sprintf("%d(SI)", 64*v), v+1, v, 4+v)
	}
	w.p("ADDQ R8, SI; DECQ CX; JNZ step")
	for v := range 4 {
		w.p("VMOVDQU16 Z%d, %d(DI)", v, 64*v)
	}
	w.ret()
}
