package main

import "fmt"

const rows256 = 6 // 6×2 accumulators, 2 vectors of B, 2 broadcasts of A: all 16 registers

// tiles256 prints the AVX2 micro-kernels and the function that chooses one. A table would make its argument escape to the heap.
func (w *printer) tiles256() {
	choose := ""
	for vectors := 1; vectors <= 2; vectors++ {
		for rows := 1; rows <= rows256; rows++ {
			choose += fmt.Sprintf("case %d: %s(t)\n", 10*vectors+rows, w.tile256(false, rows, vectors))
		}
		choose += fmt.Sprintf("case %d: %s(t)\n", 10*vectors, w.tile256(true, rows256, vectors))
	}
	fmt.Fprintf(&w.decls, `
// tiles256 takes rows 0 for %d rows of A in place.
func tiles256(t *tile, rows, vectors int) {
	switch 10*vectors + rows {
	%s}
}
`, rows256, choose)
	w.finishRow256()
	w.widenRows256()
}

// tile256 prints the micro-kernel of rows × 8·vectors elements (see type tile) and returns its name. It takes whole tiles only. With inPlace,
// rows of A are tile.lda apart and each row's steps adjacent.
func (w *printer) tile256(inPlace bool, rows, vectors int) string {
	name := "tile256"
	if inPlace {
		name += "InPlace"
	}
	name = fmt.Sprintf("%sx%dx%d", name, rows, 8*vectors)
	f := finish256{rows: rows, vectors: vectors}
	// 0(SP), 8(SP) and 16(SP) are the current d and bias and the tiles to go; 24(SP) and 32(SP) are what this tile fetches, and how far it
	// goes on in each turn.
	w.text(name, "t *tile", 40, 8)
	w.p("MOVQ t+0(FP), DI")
	w.p("MOVQ tile_a(DI), R13; MOVQ tile_b(DI), R14; MOVQ tile_c(DI), DX")
	w.p("MOVQ tile_d(DI), AX; MOVQ AX, 0(SP); MOVQ tile_bias(DI), AX; MOVQ AX, 8(SP); MOVQ tile_n(DI), AX; MOVQ AX, 16(SP)")
	w.p("MOVQ tile_stepA(DI), R8; MOVQ tile_stepB(DI), R9; LEAQ (R9)(R9*2), R11")
	if inPlace {
		w.p("MOVQ tile_lda(DI), R8")
	}
	fetches := !inPlace && rows == rows256
	if fetches {
		w.p("MOVQ tile_fetch(DI), AX; TESTQ AX, AX; CMOVQEQ R13, AX; MOVQ AX, 24(SP); MOVQ tile_fetchStep(DI), AX; SHLQ $2, AX; MOVQ AX, 32(SP)")
	}
	w.label("tile")
	w.p("MOVQ DX, AX; MOVQ tile_ldc(DI), R10")
	w.p("TESTQ $const_toD, tile_flags(DI); JZ fetch; MOVQ 0(SP), AX; MOVQ tile_ldd(DI), R10")
	w.label("fetch")
	for range rows {
		w.p("PREFETCHT0 (AX); PREFETCHT0 %d(AX); ADDQ R10, AX", 32*vectors-1)
	}
	f.each(func(acc, _ int) { w.p("VXORPS Y%[1]d, Y%[1]d, Y%[1]d", acc) })
	w.p("MOVQ R13, SI; MOVQ R14, BX; LEAQ (R8)(R8*2), R10")
	const unroll = 4
	strided := func(base, step, step3 string, i int) string {
		return base + [unroll]string{"", "(" + step + "*1)", "(" + step + "*2)", "(" + step3 + "*1)"}[i]
	}
	// B some steps on. What is read as it lies has every step on another page, where no hardware looks ahead.
	w.p("MOVQ R9, R12; SHLQ $%d, R12; ADDQ BX, R12", aheadLog2)
	address := func(i, row int) string { return fmt.Sprintf("%d%s", 4*row, strided("(SI)", "R8", "R10", i)) }
	advance := map[int]string{1: "ADDQ R8, SI", unroll: "LEAQ (SI)(R8*4), SI"}
	if inPlace {
		w.p("LEAQ (SI)(R10*1), AX") // row 3
		address = func(i, row int) string {
			return fmt.Sprintf("%d%s", 4*i, strided([2]string{"(SI)", "(AX)"}[row/3], "R8", "", row%3))
		}
		advance = map[int]string{1: "ADDQ $4, SI; ADDQ $4, AX", unroll: "ADDQ $16, SI; ADDQ $16, AX"}
	}
	step := func(i int) {
		w.p("PREFETCHT0 %s", strided("(R12)", "R9", "R11", i))
		for v := range vectors {
			w.p("VMOVUPS %d%s, Y%d", 32*v, strided("(BX)", "R9", "R11", i), 12+v)
		}
		for row := range rows {
			w.p("VBROADCASTSS %s, Y%d", address(i, row), 14+row%2)
			for v := range vectors {
				w.p("VFMADD231PS Y%d, Y%d, Y%d", 12+v, 14+row%2, f.acc(row, v))
			}
		}
	}
	if fetches {
		w.p("MOVQ 24(SP), R15; MOVQ tile_fetchLD(DI), AX")
	}
	w.p("MOVQ tile_k(DI), CX; SUBQ $%d, CX; JLT few", unroll)
	w.p("PCALIGN $64")
	w.label("steps")
	if fetches {
		w.p("PREFETCHT1 (R15); PREFETCHT1 (R15)(AX*1); ADDQ 32(SP), R15")
	}
	for i := range unroll {
		step(i)
	}
	w.p("%s; LEAQ (BX)(R9*4), BX; LEAQ (R12)(R9*4), R12; SUBQ $%d, CX; JGE steps", advance[unroll], unroll)
	w.label("few")
	w.p("ADDQ $%d, CX; JZ summed", unroll)
	w.label("step")
	step(0)
	w.p("%s; ADDQ R9, BX; ADDQ R9, R12; DECQ CX; JNZ step", advance[1])
	w.label("summed")
	w.finish256(f)
	w.p("ADDQ tile_nextA(DI), R13; ADDQ tile_nextB(DI), R14; ADDQ tile_nextC(DI), DX")
	w.p("MOVQ tile_nextD(DI), AX; ADDQ AX, 0(SP); MOVQ tile_nextBias(DI), AX; ADDQ AX, 8(SP)")
	if fetches {
		w.p("MOVQ tile_nextFetch(DI), AX; ADDQ AX, 24(SP)")
	}
	w.p("DECQ 16(SP); JNZ tile")
	w.ret()
	return name
}

// finish256 is what becomes of sums in registers: rows × vectors of C, from register 0 on.
type finish256 struct{ rows, vectors int }

func (f finish256) acc(row, v int) int { return row*f.vectors + v }

func (f finish256) each(do func(acc, v int)) {
	for row := range f.rows {
		for v := range f.vectors {
			do(f.acc(row, v), v)
		}
	}
}

// finish256 prints what follows the sums in type tile. C is at DX, 0(SP) and 8(SP) are d and the bias. It uses AX, CX, R10 and Y12 on.
func (w *printer) finish256(f finish256) {
	rowwise := func(start, ld string, do func(row, v int)) {
		w.rowwise(f.rows, start, ld, func(row int) {
			for v := range f.vectors {
				do(row, v)
			}
		})
	}
	w.p("MOVQ tile_flags(DI), CX")
	w.p("TESTQ $const_scale, CX; JZ scaled")
	w.p("VBROADCASTSS tile_alpha(DI), Y15")
	f.each(func(acc, _ int) { w.p("VMULPS Y15, Y%[1]d, Y%[1]d", acc) })
	w.label("scaled")
	w.p("TESTQ $const_addC, CX; JZ addedC")
	w.p("VBROADCASTSS tile_beta(DI), Y15")
	rowwise("DX", "tile_ldc", func(row, v int) { w.p("VFMADD231PS %d(AX), Y15, Y%d", 32*v, f.acc(row, v)) })
	w.label("addedC")
	w.p("TESTQ $const_addD, CX; JZ addedD")
	w.p("VBROADCASTSS tile_betaD(DI), Y15")
	rowwise("0(SP)", "tile_ldd", func(row, v int) {
		w.load256("WidenBF16", fmt.Sprintf("%d(AX)", 16*v), 14)
		w.p("VFMADD231PS Y14, Y15, Y%d", f.acc(row, v))
	})
	w.label("addedD")
	w.p("TESTQ $const_addBias, CX; JZ addedBias")
	w.p("MOVQ 8(SP), AX")
	for v := range f.vectors {
		w.p("VMOVUPS %d(AX), Y%d", 32*v, 12+v)
	}
	f.each(func(acc, v int) { w.p("VADDPS Y%d, Y%[2]d, Y%[2]d", 12+v, acc) })
	w.label("addedBias")
	w.p("TESTQ $const_toD, CX; JNZ toD")
	rowwise("DX", "tile_ldc", func(row, v int) { w.p("VMOVUPS Y%d, %d(AX)", f.acc(row, v), 32*v) })
	w.p("JMP stored")
	w.label("toD")
	rowwise("0(SP)", "tile_ldd", func(row, v int) {
		w.round256(f.acc(row, v), 12+v, 15)
		w.p("VPSRLD $16, Y%[1]d, Y%[1]d", 12+v)
		switch {
		case v == 1: // packed within halves, and those brought in order
			w.p("VPACKUSDW Y13, Y12, Y12; VPERMQ $0xd8, Y12, Y12; VMOVDQU Y12, (AX)")
		case f.vectors == 1:
			w.p("VEXTRACTI128 $1, Y12, X13; VPACKUSDW X13, X12, X12; VMOVDQU X12, (AX)")
		}
	})
	w.label("stored")
}

// finishRow256 prints the end of a product (see type tile) for one row of sums at tile.a, 8 at a time.
func (w *printer) finishRow256() {
	w.text("finishRow256", "t *tile", 24, 8)
	w.p("MOVQ t+0(FP), DI; MOVQ tile_a(DI), R13; MOVQ tile_c(DI), DX; MOVQ tile_n(DI), R12")
	w.p("MOVQ tile_d(DI), AX; MOVQ AX, 0(SP); MOVQ tile_bias(DI), AX; MOVQ AX, 8(SP)")
	w.label("tile")
	w.p("VMOVUPS (R13), Y0")
	w.finish256(finish256{rows: 1, vectors: 1})
	w.p("ADDQ $32, R13; ADDQ $32, DX; ADDQ $16, 0(SP); ADDQ $32, 8(SP); DECQ R12; JNZ tile")
	w.ret()
}

// widenRows256 prints the widening of rows of bfloat16 that lie any distance apart. It fetches as many rows that follow.
func (w *printer) widenRows256() {
	w.text("widenRows256", "dst, src unsafe.Pointer, ldDst, ldSrc, rows, n int", 0, 48)
	w.p("MOVQ dst+0(FP), DI; MOVQ src+8(FP), SI; MOVQ ldDst+16(FP), R8; MOVQ ldSrc+24(FP), R9; MOVQ rows+32(FP), DX")
	w.p("MOVQ R9, R10; IMULQ DX, R10")
	w.label("row")
	w.p("MOVQ DI, AX; MOVQ SI, BX; MOVQ n+40(FP), CX; SUBQ $32, CX; JLT few")
	w.p("PCALIGN $32")
	w.label("four")
	w.p("PREFETCHT0 (BX)(R10*1)")
	for i := range 4 {
		w.load256("WidenBF16", fmt.Sprintf("%d(BX)", 16*i), i)
	}
	for i := range 4 {
		w.p("VMOVUPS Y%d, %d(AX)", i, 32*i)
	}
	w.p("ADDQ $128, AX; ADDQ $64, BX; SUBQ $32, CX; JGE four")
	w.label("few")
	w.p("ADDQ $24, CX; JLT tail")
	w.label("one")
	w.load256("WidenBF16", "(BX)", 0)
	w.p("VMOVUPS Y0, (AX); ADDQ $32, AX; ADDQ $16, BX; SUBQ $8, CX; JGE one")
	w.label("tail")
	w.p("ADDQ $8, CX; JZ next")
	w.label("element")
	w.p("MOVWLZX (BX), R11; SHLL $16, R11; MOVL R11, (AX); ADDQ $2, BX; ADDQ $4, AX; DECQ CX; JNZ element")
	w.label("next")
	w.p("ADDQ R8, DI; ADDQ R9, SI; DECQ DX; JNZ row")
	w.ret()
}
