package main

import "fmt"

// The ways of packing, in the order of type kind.
var kinds = []string{"CopyF32", "WidenBF16", "RoundF32", "PairBF16", "PairF32"}

// packs512 prints the AVX-512 packing routines and the functions that choose one. Tables would make their arguments
// escape to the heap.
func (w *printer) packs512() {
	across, along := "", ""
	for i, kind := range kinds {
		w.packAcross(kind)
		across += fmt.Sprintf("case %d: packAcross%s(dst, width, rows, n, store)\n", i, kind)
		for vectors := 1; vectors <= 2; vectors++ {
			along += fmt.Sprintf("case %d: %s(a)\n", 2*i+vectors-1, w.packAlong(kind, vectors))
		}
	}
	fmt.Fprintf(&w.decls, `
func packAcross512(k kind, dst unsafe.Pointer, width int, rows *[16]unsafe.Pointer, n, store int) {
	switch k {
	%s}
}

func packAlong512(k kind, vectors int, a *along) {
	switch 2*int(k) + vectors - 1 {
	%s}
}
`, across, along)
}

// load prints Z dst = 16 words from address, under the mask, converted as kind says. For kinds of pairs, which take
// two elements a word, high is the address of the upper ones in another row, or empty for zeros. It uses Z tmp.
func (w *printer) load(kind, address, high string, mask, dst, tmp int) {
	switch kind {
	case "CopyF32":
		w.p("VMOVUPS.Z %s, K%d, Z%d", address, mask, dst)
	case "WidenBF16":
		w.p("VPMOVZXWD.Z %s, K%d, Z%d; VPSLLD $16, Z%[3]d, Z%[3]d", address, mask, dst)
	case widenI8:
		w.p("VPMOVSXBD.Z %s, K%d, Z%d; VCVTDQ2PS Z%[3]d, Z%[3]d", address, mask, dst)
	case "RoundF32":
		w.p("VMOVUPS.Z %s, K%d, Z%d", address, mask, tmp)
		w.roundBF16(tmp, dst)
		w.p("VPSLLD $16, Z%[1]d, Z%[1]d", dst)
	case "PairBF16":
		w.p("VPMOVZXWD.Z %s, K%d, Z%d", address, mask, dst)
		if high != "" {
			w.p("VPMOVZXWD.Z %s, K%d, Z%d; VPSLLD $16, Z%[3]d, Z%[3]d; VPORD Z%[3]d, Z%[4]d, Z%[4]d", high, mask, tmp, dst)
		}
	case "PairF32":
		w.p("VMOVUPS.Z %s, K%d, Z%d", address, mask, dst)
		if high != "" {
			w.p("VMOVUPS.Z %s, K%d, Z%d", high, mask, tmp)
		} else {
			w.p("VPXORD Z%[1]d, Z%[1]d, Z%[1]d", tmp)
		}
		w.cvt2bf16(dst, tmp, dst)
		w.p("VPERMW Z%[1]d, Z31, Z%[1]d", dst)
	}
}

// transpose16 prints the transposition of Z0 … Z15 as a 16×16 matrix of words.
func (w *printer) transpose16() {
	for i := 0; i < 16; i += 2 {
		w.p("VUNPCKLPS Z%d, Z%d, Z%d; VUNPCKHPS Z%[1]d, Z%[2]d, Z%[4]d", i+1, i, 16+i, 17+i)
	}
	for g := 0; g < 16; g += 4 { // Z g+j holds, in 128-bit lane l, column 4l+j of rows g … g+3
		for h := range 2 {
			w.p("VUNPCKLPD Z%d, Z%d, Z%d; VUNPCKHPD Z%[1]d, Z%[2]d, Z%[4]d", 18+g+h, 16+g+h, g+2*h, g+2*h+1)
		}
	}
	for j := range 4 {
		for h := range 2 { // lanes 0 and 2, lanes 1 and 3, of rows 8h … 8h+7
			w.p("VSHUFF32X4 $0x88, Z%d, Z%d, Z%d; VSHUFF32X4 $0xdd, Z%[1]d, Z%[2]d, Z%[4]d", 8*h+4+j, 8*h+j, 16+4*j+2*h, 17+4*j+2*h)
		}
		for h := range 2 {
			w.p("VSHUFF32X4 $0x88, Z%d, Z%d, Z%d; VSHUFF32X4 $0xdd, Z%[1]d, Z%[2]d, Z%[4]d", 18+4*j+h, 16+4*j+h, 4*h+j, 8+4*h+j)
		}
	}
}

// packAcross prints the packing of lanes whose elements are adjacent: 16 rows of n elements, transposed to one line of
// 16 words per step, 4·width bytes apart, of which the mask store says what is written.
func (w *printer) packAcross(kind string) {
	per, bytes := 1, 4 // elements of a word, bytes of an element
	if kind == "PairBF16" || kind == "PairF32" {
		per = 2
	}
	if kind == "WidenBF16" || kind == "PairBF16" {
		bytes = 2
	}
	w.text("packAcross"+kind, "dst unsafe.Pointer, width int, rows *[16]unsafe.Pointer, n, store int", 0, 40)
	w.p("MOVQ dst+0(FP), DI; MOVQ width+8(FP), R8; SHLQ $2, R8")
	w.p("MOVQ rows+16(FP), SI; MOVQ n+24(FP), CX; XORQ BX, BX")
	w.p("KXNORD K0, K0, K1; KXNORD K0, K0, K2; MOVQ store+32(FP), AX; KMOVW AX, K3")
	rows := func() {
		for i := range 16 {
			w.p("MOVQ %d(SI), AX", 8*i)
			switch kind {
			case "PairBF16": // a row of bfloat16 is a row of pairs
				w.p("VMOVDQU16.Z (AX)(BX*1), K1, Z%d", i)
			case "PairF32":
				w.p("VMOVUPS.Z (AX)(BX*1), K1, Z16; VMOVUPS.Z 64(AX)(BX*1), K2, Z17")
				w.cvt2bf16(16, 17, i)
			default:
				w.load(kind, "(AX)(BX*1)", "", 1, i, i+16)
			}
		}
		w.transpose16()
	}
	w.p("SUBQ $%d, CX; JLE tail", 16*per)
	w.label("loop")
	rows()
	for i := range 16 {
		w.p("VMOVUPS Z%d, K3, (DI); ADDQ R8, DI", i)
	}
	w.p("ADDQ $%d, BX; SUBQ $%d, CX; JGT loop", 16*per*bytes, 16*per)
	w.label("tail")
	w.p("ADDQ $%d, CX", 16*per)
	w.p("MOVQ $-1, AX; SHLQ CX, AX; NOTQ AX; KMOVD AX, K1; SHRQ $16, AX; KMOVD AX, K2")
	rows()
	if per == 2 {
		w.p("INCQ CX; SHRQ $1, CX")
	}
	for i := range 16 {
		w.p("VMOVUPS Z%d, K3, (DI); ADDQ R8, DI", i)
		if i < 15 {
			w.p("DECQ CX; JZ done")
		}
	}
	w.label("done")
	w.ret()
}

// packAlong prints the packing of lanes that are adjacent: for every step a run of 16·vectors lanes or less, in panels.
// Panels are the inner loop, so that memory is read as it lies. It returns the routine's name.
func (w *printer) packAlong(kind string, vectors int) string {
	pairs := kind == "PairBF16" || kind == "PairF32"
	bytes := 4
	if kind == "WidenBF16" || kind == "PairBF16" {
		bytes = 2
	}
	name := fmt.Sprintf("packAlong%sx%d", kind, 16*vectors)
	w.text(name, "a *along", 0, 8)
	w.p("MOVQ a+0(FP), DX")
	w.p("MOVQ along_dst(DX), DI; MOVQ along_src(DX), SI; MOVQ along_ld(DX), R9; MOVQ along_width(DX), R8; SHLQ $2, R8")
	w.p("MOVQ along_steps(DX), CX; MOVQ along_panels(DX), R10; MOVQ along_nextSrc(DX), R11; MOVQ along_nextDst(DX), R12")
	w.p("MOVQ along_mask(DX), AX; KMOVW AX, K1; SHRQ $16, AX; KMOVW AX, K2")
	w.p("MOVQ along_store(DX), AX; KMOVW AX, K3; SHRQ $16, AX; KMOVW AX, K4")
	if kind == "PairF32" {
		w.p("VMOVDQU16 ·interleave(SB), Z31")
	}
	line := func(panel string, high bool) {
		w.p("MOVQ SI, AX; MOVQ DI, BX; MOVQ R10, R13")
		w.label(panel)
		for v := range vectors {
			w.p("PREFETCHT0 %d(AX)(R9*8)", 16*bytes*v)
			upper := ""
			if high {
				upper = fmt.Sprintf("%d(AX)(R9*1)", 16*bytes*v)
			}
			w.load(kind, fmt.Sprintf("%d(AX)", 16*bytes*v), upper, v+1, v, v+16)
			w.p("VMOVUPS Z%d, K%d, %d(BX)", v, v+3, 64*v)
		}
		w.p("ADDQ R11, AX; ADDQ R12, BX; DECQ R13; JNZ %s", panel)
	}
	if pairs {
		w.p("SUBQ along_odd(DX), CX; JZ last")
	}
	w.label("step")
	line("panel", true)
	if pairs {
		w.p("LEAQ (SI)(R9*2), SI")
	} else {
		w.p("ADDQ R9, SI")
	}
	w.p("ADDQ R8, DI; DECQ CX; JNZ step")
	if pairs {
		w.label("last")
		w.p("CMPQ along_odd(DX), $0; JEQ done")
		line("oddPanel", false)
		w.label("done")
	}
	w.ret()
	return name
}
