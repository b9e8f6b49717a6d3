package main

// avx2 prints the AVX2 micro-kernel of 6×16 elements: 12 accumulators, 2 vectors of B, 2 broadcasts of A. It knows the
// flags scale, addC and addBias and whole tiles only.
func (w *printer) avx2() {
	const rows = 6
	w.text("tileAVX2x6x16", "t *tile", 24, 8)
	w.p("MOVQ t+0(FP), DI")
	w.p("MOVQ tile_a(DI), R13; MOVQ tile_b(DI), R14; MOVQ tile_c(DI), DX; MOVQ tile_ldc(DI), R10")
	w.p("MOVQ tile_bias(DI), R12; MOVQ tile_n(DI), R11; MOVQ tile_stepA(DI), R8; MOVQ tile_stepB(DI), R9")
	w.label("tile")
	w.p("MOVQ tile_k(DI), CX; MOVQ R13, SI; MOVQ R14, BX")
	for r := range 2 * rows {
		w.p("VXORPS Y%[1]d, Y%[1]d, Y%[1]d", r)
	}
	w.p("MOVQ DX, AX")
	for range rows {
		w.p("PREFETCHT0 (AX); PREFETCHT0 63(AX); ADDQ R10, AX")
	}
	w.p("PCALIGN $64")
	w.label("step")
	w.p("VMOVUPS (BX), Y12; VMOVUPS 32(BX), Y13")
	for r := range rows {
		a := 14 + r%2
		w.p("VBROADCASTSS %d(SI), Y%d; VFMADD231PS Y12, Y%[2]d, Y%[3]d; VFMADD231PS Y13, Y%[2]d, Y%[4]d", 4*r, a, 2*r, 2*r+1)
	}
	w.p("ADDQ R8, SI; ADDQ R9, BX; DECQ CX; JNZ step")
	w.p("MOVQ tile_flags(DI), CX")
	w.p("TESTQ $const_scale, CX; JZ scaled")
	w.p("VBROADCASTSS tile_alpha(DI), Y15")
	for r := range 2 * rows {
		w.p("VMULPS Y15, Y%[1]d, Y%[1]d", r)
	}
	w.label("scaled")
	w.p("TESTQ $const_addC, CX; JZ addedC")
	w.p("VBROADCASTSS tile_beta(DI), Y15; MOVQ DX, AX")
	for r := range rows {
		w.p("VFMADD231PS (AX), Y15, Y%d; VFMADD231PS 32(AX), Y15, Y%d; ADDQ R10, AX", 2*r, 2*r+1)
	}
	w.label("addedC")
	w.p("TESTQ $const_addBias, CX; JZ addedBias")
	w.p("VMOVUPS (R12), Y12; VMOVUPS 32(R12), Y13")
	for r := range 2 * rows {
		w.p("VADDPS Y%d, Y%[2]d, Y%[2]d", 12+r%2, r)
	}
	w.label("addedBias")
	w.p("MOVQ DX, AX")
	for r := range rows {
		w.p("VMOVUPS Y%d, (AX); VMOVUPS Y%d, 32(AX); ADDQ R10, AX", 2*r, 2*r+1)
	}
	w.p("ADDQ tile_nextA(DI), R13; ADDQ tile_nextB(DI), R14; ADDQ tile_nextC(DI), DX; ADDQ tile_nextBias(DI), R12")
	w.p("DECQ R11; JNZ tile")
	w.ret()
}
