package main

import "fmt"

// packs256 prints the AVX2 packing routines and the functions that choose one.
func (w *printer) packs256() {
	across, along := "", ""
	for i, kind := range wordKinds {
		w.packAcross256(kind)
		across += fmt.Sprintf("case %d: pack256Across%s(dst, width, rows, blocks, store)\n", i, kind)
		for vectors := 1; vectors <= 2; vectors++ {
			along += fmt.Sprintf("case %d: %s(a)\n", 2*i+vectors-1, w.packAlong256(kind, vectors))
		}
	}
	fmt.Fprintf(&w.decls, `
func packAcross256(k kind, dst unsafe.Pointer, width int, rows *[8]unsafe.Pointer, blocks, store int) {
	switch k {
	%s}
}

func packAlong256(k kind, vectors int, a *along) {
	switch 2*int(k) + vectors - 1 {
	%s}
}
`, across, along)
}

// packAcross256 prints the packing of lanes whose elements are adjacent: 8 rows of some blocks of 8 elements, transposed to one line of 8
// words per step, 4·width bytes apart. Where width is less than 8, lines overlap and each overwrites the surplus of the one before; of the
// last one the first words are stored, store of them.
func (w *printer) packAcross256(kind string) {
	w.text("pack256Across"+kind, "dst unsafe.Pointer, width int, rows *[8]unsafe.Pointer, blocks, store int", 0, 40)
	w.p("MOVQ dst+0(FP), DI; MOVQ width+8(FP), R8; SHLQ $2, R8; MOVQ rows+16(FP), SI; MOVQ blocks+24(FP), CX; XORQ BX, BX")
	rows := [8]string{"AX", "DX", "R9", "R10", "R11", "R12", "R13", "R14"}
	for i, r := range rows {
		w.p("MOVQ %d(SI), %s", 8*i, r)
	}
	w.label("block")
	// Rows i and i+4 meet in one register, half in half, which spares a shuffle across halves for each line.
	if kind == "WidenBF16" {
		w.p("VPXOR Y15, Y15, Y15")
		for i := range 4 {
			w.p("VMOVDQU (%s)(BX*1), X%d; VINSERTI128 $1, (%s)(BX*1), Y%[2]d, Y%[2]d", rows[i], i, rows[i+4])
		}
		for i := range 2 { // pairs of rows
			w.p("VPUNPCKLWD Y%d, Y%d, Y%d; VPUNPCKHWD Y%[1]d, Y%[2]d, Y%[4]d", 2*i+1, 2*i, 4+2*i, 5+2*i)
		}
		for i := range 2 { // columns 4i and 4i+1, 4i+2 and 4i+3, of four rows in each half
			w.p("VPUNPCKLDQ Y%d, Y%d, Y%d; VPUNPCKHDQ Y%[1]d, Y%[2]d, Y%[4]d", 6+i, 4+i, 8+2*i, 9+2*i)
		}
		for i := range 4 { // zeros below each
			w.p("VPUNPCKLWD Y%d, Y15, Y%d; VPUNPCKHWD Y%[1]d, Y15, Y%[3]d", 8+i, 2*i, 2*i+1)
		}
	} else {
		for half := range 2 {
			for i := range 4 {
				to := 4*half + i
				w.p("VMOVUPS %[1]d(%[2]s)(BX*1), X%[3]d; VINSERTF128 $1, %[1]d(%[4]s)(BX*1), Y%[3]d, Y%[3]d", 16*half, rows[i], to, rows[i+4])
				if kind == "RoundF32" {
					w.round256(to, 15, 14)
					w.p("VMOVAPS Y15, Y%d", to)
				}
			}
		}
		for half := range 2 {
			r := 4 * half
			for i := range 2 {
				w.p("VUNPCKLPS Y%d, Y%d, Y%d; VUNPCKHPS Y%[1]d, Y%[2]d, Y%[4]d", r+2*i+1, r+2*i, 8+2*i, 9+2*i)
			}
			for i := range 2 {
				w.p("VUNPCKLPD Y%d, Y%d, Y%d; VUNPCKHPD Y%[1]d, Y%[2]d, Y%[4]d", 10+i, 8+i, r+2*i, r+2*i+1)
			}
		}
	}
	for i := range 7 {
		w.p("VMOVUPS Y%d, (DI); ADDQ R8, DI", i)
	}
	bytes := bytesOf(kind)
	w.p("ADDQ $%d, BX; DECQ CX; JZ last; VMOVUPS Y7, (DI); ADDQ R8, DI; JMP block", 8*bytes)
	w.label("last")
	w.p("MOVQ store+32(FP), CX")
	w.mask256(15)
	w.p("VMASKMOVPS Y7, Y15, (DI)")
	w.ret()
}

// packAlong256 prints the packing of lanes that are adjacent: for every step a run of 8·vectors of them, whole vectors, in panels of that
// width, or with one vector of less: then lines overlap as they do in packAcross256. It returns the routine's name.
func (w *printer) packAlong256(kind string, vectors int) string {
	bytes := bytesOf(kind)
	name := fmt.Sprintf("pack256Along%sx%d", kind, 8*vectors)
	w.text(name, "a *along", 0, 8)
	w.p("MOVQ a+0(FP), DX")
	w.p("MOVQ along_dst(DX), DI; MOVQ along_src(DX), SI; MOVQ along_ld(DX), R9; MOVQ along_width(DX), R8; SHLQ $2, R8")
	w.p("MOVQ along_steps(DX), CX; MOVQ along_panels(DX), R10; MOVQ along_nextSrc(DX), R11; MOVQ along_nextDst(DX), R12")
	line := func(panel string, store string) {
		w.p("MOVQ SI, AX; MOVQ DI, BX; MOVQ R10, R13")
		w.label(panel)
		w.p("PREFETCHT0 (AX)(R9*8)")
		for v := range vectors {
			w.load256(kind, fmt.Sprintf("%d(AX)", 8*bytes*v), 2)
			w.p(store, 32*v)
		}
		w.p("ADDQ R11, AX; ADDQ R12, BX; DECQ R13; JNZ %s", panel)
	}
	w.p("DECQ CX; JZ last")
	w.label("step")
	line("panel", "VMOVUPS Y2, %d(BX)")
	w.p("ADDQ R9, SI; ADDQ R8, DI; DECQ CX; JNZ step")
	w.label("last")
	if vectors == 2 {
		line("lastPanel", "VMOVUPS Y2, %d(BX)")
	} else {
		w.p("MOVQ along_store(DX), CX")
		w.mask256(15)
		w.p("MOVQ along_nextSrc(DX), R11")
		line("lastPanel", "VMASKMOVPS Y2, Y15, %d(BX)")
	}
	w.ret()
	return name
}
