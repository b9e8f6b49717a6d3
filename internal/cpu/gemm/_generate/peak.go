package main

import "fmt"

// peaks prints loops of independent multiplications, which measure what the CPU can do at most: 28 vectors a step.
func (w *printer) peaks() {
	for _, name := range []string{"peakF32x512", "peakBF16x512", "peakF16x512"} {
		w.text(name, "steps int", 0, 8)
		w.p("MOVQ steps+0(FP), CX")
		for r := range 32 {
			w.p("VPXORD Z%[1]d, Z%[1]d, Z%[1]d", r)
		}
		w.p("PCALIGN $64")
		w.label("loop")
		for r := range 28 {
			switch name {
			case "peakF32x512":
				w.p("VFMADD231PS Z30, Z31, Z%d", r)
			case "peakBF16x512":
				w.dpbf16(30, 31, r)
			default:
				w.fmaPH(30, 31, r)
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

// features prints the function that reads the third word of features: CPUID leaf 7.
func (w *printer) features() {
	fmt.Fprintf(&w.decls, "\n//go:noescape\nfunc features() (edx uint32)\n")
	fmt.Fprintf(&w.asm, "\nTEXT ·features(SB), NOSPLIT, $0-4\n")
	w.p("MOVL $7, AX; XORL CX, CX; CPUID; MOVL DX, edx+0(FP)")
	w.p("RET")
}
