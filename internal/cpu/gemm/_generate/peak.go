package main

// peaks prints loops of independent multiplications, which measure what the CPU can do at most: 28 vectors a step.
func (w *printer) peaks() {
	for _, pairs := range []bool{false, true} {
		name := "peakF32x512"
		if pairs {
			name = "peakBF16x512"
		}
		w.text(name, "steps int", 0, 8)
		w.p("MOVQ steps+0(FP), CX")
		for r := range 32 {
			w.p("VPXORD Z%[1]d, Z%[1]d, Z%[1]d", r)
		}
		w.p("PCALIGN $64")
		w.label("loop")
		for r := range 28 {
			if pairs {
				w.dpbf16(30, 31, r)
			} else {
				w.p("VFMADD231PS Z30, Z31, Z%d", r)
			}
		}
		w.p("DECQ CX; JNZ loop")
		w.ret()
	}
	w.text("peakF32x256", "steps int", 0, 8)
	w.p("MOVQ steps+0(FP), CX")
	for r := range 16 {
		w.p("VXORPS Y%[1]d, Y%[1]d, Y%[1]d", r)
	}
	w.p("PCALIGN $64")
	w.label("loop")
	for r := range 14 {
		w.p("VFMADD231PS Y14, Y15, Y%d", r)
	}
	w.p("DECQ CX; JNZ loop")
	w.ret()
}

// vendor prints the function that reads the CPU's maker: CPUID leaf 0.
func (w *printer) vendor() {
	w.text("vendor", "name *[12]byte", 0, 8)
	w.p("XORL AX, AX; XORL CX, CX; CPUID")
	w.p("MOVQ name+0(FP), DI; MOVL BX, (DI); MOVL DX, 4(DI); MOVL CX, 8(DI)")
	w.p("RET")
}
