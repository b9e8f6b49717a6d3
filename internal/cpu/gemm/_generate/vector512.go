package main

import "fmt"

const maxRows = 4 // rows of x of the products with few rows

// The kinds that make float32 words, in the order of type kind.
var wordKinds = kinds[:3]

// vectors512 prints the routines for a handful of rows of x, which read W once, as it lies, and the functions that
// choose one.
func (w *printer) vectors512() {
	dots, sums := "", ""
	for i, kind := range wordKinds {
		for rows := 1; rows <= maxRows; rows++ {
			dots += fmt.Sprintf("case %d: %s(v)\n", maxRows*i+rows-1, w.dots(kind, rows))
		}
		for _, terms := range []int{1, 4} {
			sums += fmt.Sprintf("case %d: %s(v)\n", 8*i+terms, w.addRows(kind, terms))
		}
	}
	fmt.Fprintf(&w.decls, `
func dots512(k kind, v *vectors) {
	switch %d*int(k) + v.rows - 1 {
	%s}
}

func addRows512(k kind, terms int, v *vectors) {
	switch 8*int(k) + terms {
	%s}
}
`, maxRows, dots, sums)
}

// dots prints y[row][n] = Σ x[row][k]·W[n][k] for groups of four n some rows apart, and returns the routine's name.
func (w *printer) dots(kind string, rows int) string {
	bytes := 4
	if kind == "WidenBF16" {
		bytes = 2
	}
	name := fmt.Sprintf("dots%sx%d", kind, rows)
	wRow := [4]string{"SI", "AX", "R9", "R10"}
	xRow := [4]string{"R12", "R13", "R14", "R15"}
	acc := func(n, row int) int { return n*rows + row }
	// The next group's rows follow this one's, so that what the CPU fetches by itself goes on from row to row in four streams.
	w.text(name, "v *vectors", 0, 8)
	w.p("MOVQ v+0(FP), DX")
	w.p("MOVQ vectors_w(DX), SI; MOVQ vectors_apart(DX), R8; MOVQ vectors_y(DX), DI")
	w.p("MOVQ vectors_x(DX), R12; MOVQ vectors_ldx(DX), AX; MOVQ vectors_apartY(DX), R11")
	for row := 1; row < rows; row++ {
		w.p("LEAQ (%s)(AX*1), %s", xRow[row-1], xRow[row])
	}
	w.label("group")
	w.p("LEAQ (SI)(R8*1), AX; LEAQ (SI)(R8*2), R9; LEAQ (AX)(R8*2), R10")
	w.p("XORQ BX, BX; KXNORD K0, K0, K1")
	for i := range 4 * rows {
		w.p("VPXORD Z%[1]d, Z%[1]d, Z%[1]d", i)
	}
	step := func() {
		for row := range rows {
			w.p("VMOVUPS.Z (%s)(BX*%d), K1, Z%d", xRow[row], 4/bytes, 24+row)
		}
		for n := range 4 {
			w.load(kind, fmt.Sprintf("(%s)(BX*1)", wRow[n]), "", 1, 16+n, 20)
			for row := range rows {
				w.p("VFMADD231PS Z%d, Z%d, Z%d", 16+n, 24+row, acc(n, row))
			}
		}
	}
	w.p("MOVQ vectors_k(DX), CX; SUBQ $16, CX; JLT tail")
	w.p("PCALIGN $64")
	w.label("step")
	step()
	w.p("ADDQ $%d, BX; SUBQ $16, CX; JGE step", 16*bytes)
	w.label("tail")
	w.p("ADDQ $16, CX; JZ summed")
	w.p("MOVQ $-1, R10; SHLQ CX, R10; NOTQ R10; KMOVD R10, K1; LEAQ (AX)(R8*2), R10")
	step()
	w.label("summed")
	w.p("MOVQ DI, BX; LEAQ (R11)(R11*2), AX")
	for row := range rows { // four sums of 16 lanes to one vector
		for n := range 4 {
			a := acc(n, row)
			w.p("VEXTRACTF64X4 $1, Z%[1]d, Y20; VADDPS Y20, Y%[1]d, Y%[1]d; VEXTRACTF32X4 $1, Y%[1]d, X20; VADDPS X20, X%[1]d, X%[1]d", a)
		}
		w.p("VHADDPS X%[2]d, X%[1]d, X%[1]d; VHADDPS X%[4]d, X%[3]d, X%[3]d; VHADDPS X%[3]d, X%[1]d, X%[1]d",
			acc(0, row), acc(1, row), acc(2, row), acc(3, row))
		w.p("VMOVSS X%[1]d, (BX); VEXTRACTPS $1, X%[1]d, (BX)(R11*1); VEXTRACTPS $2, X%[1]d, (BX)(R11*2); VEXTRACTPS $3, X%[1]d, (BX)(AX*1)", acc(0, row))
		w.p("ADDQ vectors_ldy(DX), BX")
	}
	w.p("ADDQ vectors_ldw(DX), SI; ADDQ $4, DI; DECQ vectors_n(DX); JNZ group")
	w.ret()
	return name
}

// addRows prints y[n] += Σ x[i]·W[i][n] over terms rows of W, and returns the routine's name.
func (w *printer) addRows(kind string, terms int) string {
	bytes := 4
	if kind == "WidenBF16" {
		bytes = 2
	}
	name := fmt.Sprintf("addRows%sx%d", kind, terms)
	wRow := [4]string{"SI", "AX", "R9", "R10"}
	w.text(name, "v *vectors", 0, 8)
	w.p("MOVQ v+0(FP), DX")
	w.p("MOVQ vectors_w(DX), SI; MOVQ vectors_ldw(DX), R8; MOVQ vectors_y(DX), DI; MOVQ vectors_x(DX), R12")
	w.p("LEAQ (SI)(R8*1), AX; LEAQ (SI)(R8*2), R9; LEAQ (AX)(R8*2), R10")
	w.p("XORQ BX, BX; KXNORD K0, K0, K1")
	for i := range terms {
		w.p("VBROADCASTSS %d(R12), Z%d", 4*i, 24+i)
	}
	step := func() {
		w.p("VMOVUPS.Z (DI), K1, Z0")
		for i := range terms {
			w.load(kind, fmt.Sprintf("(%s)(BX*1)", wRow[i]), "", 1, 16+i, 20)
			w.p("VFMADD231PS Z%d, Z%d, Z0", 16+i, 24+i)
		}
		w.p("VMOVUPS Z0, K1, (DI)")
	}
	w.p("MOVQ vectors_n(DX), CX; SUBQ $16, CX; JLT tail")
	w.p("PCALIGN $64")
	w.label("step")
	step()
	w.p("ADDQ $%d, BX; ADDQ $64, DI; SUBQ $16, CX; JGE step", 16*bytes)
	w.label("tail")
	w.p("ADDQ $16, CX; JZ done")
	w.p("MOVQ $-1, R11; SHLQ CX, R11; NOTQ R11; KMOVD R11, K1")
	step()
	w.label("done")
	w.ret()
	return name
}
