package main

import "fmt"

// data256 prints the constants of the AVX2 routines: what rounds to bfloat16 (see round256), and at tails256+32-4·n a mask of the first n of
// eight words.
func (w *printer) data256() {
	repeat := func(name string, words ...uint32) {
		for i, v := range words {
			for l := range 8 {
				fmt.Fprintf(&w.asm, "DATA ·%s+%d(SB)/4, $0x%x\n", name, 32*i+4*l, v)
			}
		}
		fmt.Fprintf(&w.asm, "GLOBL ·%s(SB), RODATA|NOPTR, $%d\n\n", name, 32*len(words))
	}
	repeat("roundings256", 1, 0x7fff, 0x400000, 0xffff0000)
	repeat("tails256", 0xffffffff, 0)
}

// round256 prints dst = src rounded to bfloat16, in the upper halves of words (see roundBF16). It uses tmp and spoils src.
func (w *printer) round256(src, dst, tmp int) {
	w.p("VPSRLD $16, Y%d, Y%d; VPAND ·roundings256+0(SB), Y%[2]d, Y%[2]d", src, dst)
	w.p("VPADDD ·roundings256+32(SB), Y%[2]d, Y%[2]d; VPADDD Y%[1]d, Y%[2]d, Y%[2]d", src, dst)
	w.p("VCMPPS $3, Y%[1]d, Y%[1]d, Y%[3]d; VPOR ·roundings256+64(SB), Y%[1]d, Y%[1]d; VBLENDVPS Y%[3]d, Y%[1]d, Y%[2]d, Y%[2]d", src, dst, tmp)
	w.p("VPAND ·roundings256+96(SB), Y%[1]d, Y%[1]d", dst)
}

// load256 prints Y dst = 8 words from address, converted as kind says. To round it uses the two registers before dst.
func (w *printer) load256(kind, address string, dst int) {
	switch kind {
	case "CopyF32":
		w.p("VMOVUPS %s, Y%d", address, dst)
	case "WidenBF16":
		w.p("VPMOVZXWD %s, Y%d; VPSLLD $16, Y%[2]d, Y%[2]d", address, dst)
	case widenI8:
		w.p("VPMOVSXBD %s, Y%d; VCVTDQ2PS Y%[2]d, Y%[2]d", address, dst)
	case "RoundF32":
		w.p("VMOVUPS %s, Y%d", address, dst-1)
		w.round256(dst-1, dst, dst-2)
	}
}

// mask256 prints Y dst = a mask of the first CX words. It uses R8 and R11.
func (w *printer) mask256(dst int) {
	w.p("LEAQ ·tails256+32(SB), R8; MOVQ CX, R11; NEGQ R11; VMOVUPS (R8)(R11*4), Y%d", dst)
}

// loadTail256 is load256 for the first CX elements, one to seven, and reads no others; the other words are zeros. It uses R8, R11 and R13,
// and for what no masked load takes, 0(SP) to 15(SP) and a label.
func (w *printer) loadTail256(kind, address, label string, dst int) {
	switch kind {
	case "CopyF32":
		w.mask256(dst)
		w.p("VMASKMOVPS %s, Y%d, Y%[2]d", address, dst)
	case "RoundF32":
		w.mask256(dst - 1)
		w.p("VMASKMOVPS %s, Y%d, Y%[2]d", address, dst-1)
		w.round256(dst-1, dst, dst-2)
	default:
		w.p("MOVQ $0, 0(SP); MOVQ $0, 8(SP); LEAQ %s, R8; MOVQ CX, R11", address)
		w.label(label)
		if bytesOf(kind) == 2 {
			w.p("MOVW -2(R8)(R11*2), R13; MOVW R13, -2(SP)(R11*2); DECQ R11; JNZ %s", label)
		} else {
			w.p("MOVB -1(R8)(R11*1), R13; MOVB R13, -1(SP)(R11*1); DECQ R11; JNZ %s", label)
		}
		w.load256(kind, "0(SP)", dst)
	}
}

// groupColumns is how many columns of W a group of dots256 has, with any number of rows.
const groupColumns = 4

// The rows of W of a group, by registers, from which R BX is the offset in bytes; and those of x of a pass.
var (
	groupRows = [groupColumns]string{"SI", "AX", "R9", "R10"}
	passRows  = []string{"R12", "R14", "R15"}
)

// dots256 prints dots for AVX2 and returns the routine's name. Sixteen registers hold the sums of three rows and four columns (of two where
// rounding takes registers): more rows meet a group in several passes, all but the first of which find it in a cache.
func (w *printer) dots256(kind string, rows int) string {
	most := len(passRows)
	if kind == "RoundF32" {
		most = 2
	}
	name := fmt.Sprintf("dots256%sx%d", kind, rows)
	w.text(name, "v *vectors", 24, 8) // 16(SP) is the y of a pass
	w.p("MOVQ v+0(FP), DX; MOVQ vectors_w(DX), SI; MOVQ vectors_y(DX), DI")
	w.label("group")
	w.p("MOVQ vectors_apart(DX), R8; LEAQ (SI)(R8*1), AX; LEAQ (SI)(R8*2), R9; LEAQ (AX)(R8*2), R10")
	w.p("MOVQ vectors_x(DX), R12; MOVQ DI, 16(SP)")
	passes := (rows + most - 1) / most
	for i := range passes {
		w.dotsPass256(kind, i, passes, (rows+passes-1-i)/passes)
	}
	w.p("ADDQ vectors_ldw(DX), SI; ADDQ $4, DI; DECQ vectors_n(DX); JNZ group")
	w.ret()
	return name
}

// dotsPass256 prints one pass: the sums of so many rows of x from R12 on with the columns of a group. What a sum is depends on neither.
func (w *printer) dotsPass256(kind string, pass, passes, rows int) {
	bytes := bytesOf(kind)
	label := func(name string) string { return fmt.Sprintf("%s%d", name, pass) }
	acc := func(n, row int) int { return n*rows + row }
	xAt := func(row int) int { return groupColumns*rows + row }
	x := func(row, disp int) string { return fmt.Sprintf("%d(%s)(BX*%d)", disp, passRows[row], 4/bytes) }
	fma := func(n int) {
		for row := range rows {
			w.p("VFMADD231PS Y15, Y%d, Y%d", xAt(row), acc(n, row))
		}
	}
	step := func(i int) {
		for row := range rows {
			w.p("VMOVUPS %s, Y%d", x(row, 32*i), xAt(row))
		}
		for n := range groupColumns {
			w.load256(kind, fmt.Sprintf("%d(%s)(BX*1)", 8*bytes*i, groupRows[n]), 15)
			fma(n)
		}
	}
	w.p("MOVQ vectors_ldx(DX), R13; XORQ BX, BX")
	for row := 1; row < rows; row++ {
		w.p("LEAQ (%s)(R13*1), %s", passRows[row-1], passRows[row])
	}
	// The next group's rows follow this one's. The only pass fetches them some bytes ahead, of several each its part.
	from, to := pass*groupColumns/passes, (pass+1)*groupColumns/passes
	ahead := [2]string{"R8", "R11"}
	if passes > 1 {
		for n := from; n < to; n++ {
			w.p("MOVQ vectors_ldw(DX), %[2]s; ADDQ %[1]s, %[2]s", groupRows[n], ahead[n-from])
		}
	}
	for i := range groupColumns * rows {
		w.p("VXORPS Y%[1]d, Y%[1]d, Y%[1]d", i)
	}
	steps := min(4, 8/bytes) // most of them a line
	w.p("MOVQ vectors_k(DX), CX; SUBQ $%d, CX; JLT %s", 8*steps, label("few"))
	w.p("PCALIGN $32")
	w.label(label("line"))
	for n := from; n < to; n++ {
		if passes == 1 {
			w.p("PREFETCHT0 %d(%s)(BX*1)", dotsAhead, groupRows[n])
		} else {
			w.p("PREFETCHT0 (%s)(BX*1)", ahead[n-from])
		}
	}
	for i := range steps {
		step(i)
	}
	w.p("ADDQ $%d, BX; SUBQ $%d, CX; JGE %s", 8*bytes*steps, 8*steps, label("line"))
	w.label(label("few"))
	w.p("ADDQ $%d, CX; JLT %s", 8*steps-8, label("tail"))
	w.label(label("step"))
	step(0)
	w.p("ADDQ $%d, BX; SUBQ $8, CX; JGE %s", 8*bytes, label("step"))
	w.label(label("tail"))
	w.p("ADDQ $8, CX; JZ %s", label("summed"))
	w.mask256(15)
	for row := range rows {
		w.p("VMASKMOVPS %s, Y15, Y%d", x(row, 0), xAt(row))
	}
	for n := range groupColumns {
		w.loadTail256(kind, fmt.Sprintf("(%s)(BX*1)", groupRows[n]), fmt.Sprintf("element%d_%d", pass, n), 15)
		fma(n)
	}
	w.label(label("summed"))
	w.p("MOVQ 16(SP), R8; MOVQ vectors_apartY(DX), R11; LEAQ (R11)(R11*2), CX")
	for row := range rows {
		w.p("VHADDPS Y%[2]d, Y%[1]d, Y%[1]d; VHADDPS Y%[4]d, Y%[3]d, Y%[3]d; VHADDPS Y%[3]d, Y%[1]d, Y%[1]d",
			acc(0, row), acc(1, row), acc(2, row), acc(3, row))
		w.p("VEXTRACTF128 $1, Y%[1]d, X15; VADDPS X15, X%[1]d, X%[1]d", acc(0, row))
		w.p("VMOVSS X%[1]d, (R8); VEXTRACTPS $1, X%[1]d, (R8)(R11*1); VEXTRACTPS $2, X%[1]d, (R8)(R11*2); VEXTRACTPS $3, X%[1]d, (R8)(CX*1)", acc(0, row))
		w.p("ADDQ vectors_ldy(DX), R8")
	}
	if pass < passes-1 {
		w.p("MOVQ R8, 16(SP); MOVQ vectors_ldx(DX), R12; ADDQ %s, R12", passRows[rows-1])
	}
}

// addRows256 prints addRows for AVX2 and returns the routine's name.
func (w *printer) addRows256(kind string, terms, rows int) string {
	bytes := bytesOf(kind)
	name := fmt.Sprintf("addRows256%sx%dx%d", kind, terms, rows)
	at := func(row int, base, ld, ld3 string) string {
		return "(" + base + ")" + [fewRows]string{"", "(" + ld + "*1)", "(" + ld + "*2)", "(" + ld3 + "*1)"}[row]
	}
	w.text(name, "v *vectors", 16, 8)
	w.p("MOVQ v+0(FP), DX")
	w.p("MOVQ vectors_w(DX), SI; MOVQ vectors_ldw(DX), R8; MOVQ vectors_y(DX), DI; MOVQ vectors_x(DX), R12")
	w.p("LEAQ (SI)(R8*1), AX; LEAQ (SI)(R8*2), R9; LEAQ (AX)(R8*2), R10; XORQ BX, BX")
	distances := func() {
		w.p("MOVQ vectors_ldx(DX), R13; LEAQ (R13)(R13*2), R14; MOVQ vectors_ldy(DX), R8; LEAQ (R8)(R8*2), R11")
	}
	distances()
	x := func(row, term int) string {
		return fmt.Sprintf("%d%s", 4*term, at(row, "R12", "R13", "R14"))
	}
	if rows == 1 {
		for i := range terms {
			w.p("VBROADCASTSS %s, Y%d", x(0, i), 4+i)
		}
	}
	// W is in Y12 on, y in Y0 on.
	step := func(load, store string) {
		for row := range rows {
			w.p(load, at(row, "DI", "R8", "R11"), row)
		}
		for row := range rows {
			for i := range terms {
				of := 4 + i
				if rows > 1 {
					of = 8
					w.p("VBROADCASTSS %s, Y8", x(row, i))
				}
				w.p("VFMADD231PS Y%d, Y%d, Y%d", 12+i, of, row)
			}
		}
		for row := range rows {
			w.p(store, row, at(row, "DI", "R8", "R11"))
		}
	}
	w.p("MOVQ vectors_n(DX), CX; SUBQ $8, CX; JLT tail")
	w.p("PCALIGN $32")
	w.label("step")
	for i := terms - 1; i >= 0; i-- { // rounding takes the registers before
		w.load256(kind, fmt.Sprintf("(%s)(BX*1)", groupRows[i]), 12+i)
	}
	step("VMOVUPS %s, Y%d", "VMOVUPS Y%d, %s")
	w.p("ADDQ $%d, BX; ADDQ $32, DI; SUBQ $8, CX; JGE step", 8*bytes)
	w.label("tail")
	w.p("ADDQ $8, CX; JZ done")
	w.mask256(9)
	for i := terms - 1; i >= 0; i-- {
		w.loadTail256(kind, fmt.Sprintf("(%s)(BX*1)", groupRows[i]), fmt.Sprintf("element%d", i), 12+i)
	}
	distances()
	step("VMASKMOVPS %s, Y9, Y%d", "VMASKMOVPS Y%d, Y9, %s")
	w.label("done")
	w.ret()
	return name
}
