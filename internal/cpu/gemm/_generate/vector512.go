package main

import "fmt"

// Rows of x of the products with few rows: up to fewRows meet four columns of W at a time, more meet two.
const (
	fewRows = 4
	maxRows = 8
)

const dotsAhead = 2048 // bytes ahead that rows of W are fetched, into the rows that follow

// The kinds that make float32 words, in the order of type kind, and the one that only dots takes, with its number there.
var wordKinds = kinds[:3]

const (
	widenI8       = "WidenI8"
	widenI8Number = 5
)

// bytesOf is how many bytes an element has that a kind makes a word of.
func bytesOf(kind string) int {
	switch kind {
	case widenI8:
		return 1
	case "WidenBF16":
		return 2
	}
	return 4
}

// vectors512 prints the routines for a handful of rows of x, which read W once, as it lies, and the functions that
// choose one.
func (w *printer) vectors512() {
	w.vectors("512", w.dots, w.addRows)
	w.widenRows()
	w.finishRow()
}

// vectors prints the routines for few rows of one instruction set, and the functions that choose one, whose names end with suffix.
func (w *printer) vectors(suffix string, dots func(kind string, rows int) string, addRows func(kind string, terms, rows int) string) {
	var products, sums string
	dotsOf := func(i int, kind string) {
		for rows := 1; rows <= maxRows; rows++ {
			products += fmt.Sprintf("case %d: %s(v)\n", maxRows*i+rows-1, dots(kind, rows))
		}
	}
	for i, kind := range wordKinds {
		dotsOf(i, kind)
		for t, terms := range []int{1, 4} {
			for rows := 1; rows <= fewRows; rows++ {
				sums += fmt.Sprintf("case %d: %s(v)\n", fewRows*(2*i+t)+rows-1, addRows(kind, terms, rows))
			}
		}
	}
	dotsOf(widenI8Number, widenI8)
	fmt.Fprintf(&w.decls, `
func dots%s(k kind, v *vectors) {
	switch %d*int(k) + v.rows - 1 {
	%s}
}

func addRows%[1]s(k kind, terms int, v *vectors) {
	switch %[4]d*(2*int(k)+terms/4) + v.rows - 1 {
	%[5]s}
}
`, suffix, maxRows, products, fewRows, sums)
}

// widenRows prints the widening of rows of bfloat16 that lie any distance apart. It fetches as many rows that follow.
func (w *printer) widenRows() {
	w.text("widenRows", "dst, src unsafe.Pointer, ldDst, ldSrc, rows, n int", 0, 48)
	w.p("MOVQ dst+0(FP), DI; MOVQ src+8(FP), SI; MOVQ ldDst+16(FP), R8; MOVQ ldSrc+24(FP), R9; MOVQ rows+32(FP), DX")
	w.p("MOVQ n+40(FP), CX; ANDQ $15, CX; MOVQ $-1, AX; SHLQ CX, AX; NOTQ AX; KMOVW AX, K1; KXNORD K0, K0, K2")
	w.p("MOVQ R9, R10; IMULQ DX, R10")
	w.label("row")
	w.p("MOVQ DI, AX; MOVQ SI, BX; MOVQ n+40(FP), CX; SUBQ $64, CX; JLT few")
	w.p("PCALIGN $64")
	w.label("four")
	w.p("PREFETCHT0 (BX)(R10*1); PREFETCHT0 64(BX)(R10*1)")
	for i := range 4 {
		w.load("WidenBF16", fmt.Sprintf("%d(BX)", 32*i), "", 2, i, 8)
	}
	for i := range 4 {
		w.p("VMOVUPS Z%d, %d(AX)", i, 64*i)
	}
	w.p("ADDQ $256, AX; ADDQ $128, BX; SUBQ $64, CX; JGE four")
	w.label("few")
	w.p("ADDQ $48, CX; JLT tail")
	w.label("one")
	w.load("WidenBF16", "(BX)", "", 2, 0, 8)
	w.p("VMOVUPS Z0, (AX); ADDQ $64, AX; ADDQ $32, BX; SUBQ $16, CX; JGE one")
	w.label("tail")
	w.p("KTESTW K1, K1; JZ next")
	w.load("WidenBF16", "(BX)", "", 1, 0, 8)
	w.p("VMOVUPS Z0, K1, (AX)")
	w.label("next")
	w.p("ADDQ R8, DI; ADDQ R9, SI; DECQ DX; JNZ row")
	w.ret()
}

// finishRow prints the end of a product (see type tile) for one row of sums at tile.a, 32 at a time.
func (w *printer) finishRow() {
	w.text("finishRow", "t *tile", 40, 8)
	w.p("MOVQ t+0(FP), DI")
	w.p("MOVQ tile_a(DI), R13; MOVQ tile_c(DI), DX")
	w.beginTiles()
	w.label("tile")
	w.p("VMOVUPS.Z (R13), K1, Z0; VMOVUPS.Z 64(R13), K2, Z1")
	w.finish(finish512{rows: 1, vectors: 2, acc: func(_, v int) int { return v }})
	w.endTile(false)
	w.ret()
}

// dots prints y[row][n] = Σ x[row][k]·W[n][k] for groups of four n, or two, some rows apart, and returns the routine's name.
func (w *printer) dots(kind string, rows int) string {
	bytes := bytesOf(kind)
	cols := 4
	if rows > fewRows {
		cols = 2
	}
	name := fmt.Sprintf("dots%sx%d", kind, rows)
	wRow := [4]string{"SI", "AX", "R9", "R10"}
	acc := func(n, row int) int { return n*rows + row }
	// The next group's rows follow this one's, so that what is fetched ahead goes on from row to row in as many streams.
	w.text(name, "v *vectors", 0, 8)
	w.p("MOVQ v+0(FP), DX")
	w.p("MOVQ vectors_w(DX), SI; MOVQ vectors_apart(DX), R8; MOVQ vectors_y(DX), DI")
	w.p("MOVQ vectors_ldx(DX), R13; LEAQ (R13)(R13*2), R14; MOVQ vectors_apartY(DX), R11")
	w.label("group")
	w.p("LEAQ (SI)(R8*1), AX; MOVQ vectors_x(DX), R12; LEAQ (R12)(R13*4), R15")
	if cols == 4 {
		w.p("LEAQ (SI)(R8*2), R9; LEAQ (AX)(R8*2), R10")
	}
	w.p("XORQ BX, BX; KXNORD K0, K0, K1")
	for i := range cols * rows {
		w.p("VPXORD Z%[1]d, Z%[1]d, Z%[1]d", i)
	}
	step := func() {
		for row := range rows {
			w.p("VMOVUPS.Z (%s)%s, K1, Z%d", [2]string{"R12", "R15"}[row/4], [4]string{"", "(R13*1)", "(R13*2)", "(R14*1)"}[row%4], 24+row)
		}
		for n := range cols {
			w.load(kind, fmt.Sprintf("(%s)(BX*1)", wRow[n]), "", 1, 16+n, 20)
			for row := range rows {
				w.p("VFMADD231PS Z%d, Z%d, Z%d", 16+n, 24+row, acc(n, row))
			}
		}
	}
	next := "ADDQ $64, R12"
	if rows > 4 {
		next += "; ADDQ $64, R15"
	}
	next += fmt.Sprintf("; ADDQ $%d, BX", 16*bytes)
	w.p("MOVQ vectors_k(DX), CX; SUBQ $%d, CX; JLT few", 64/bytes)
	w.p("PCALIGN $64")
	w.label("line")
	for n := range cols {
		w.p("PREFETCHT0 %d(%s)(BX*1)", dotsAhead, wRow[n])
	}
	for range 4 / bytes { // steps of a line
		step()
		w.p(next)
	}
	w.p("SUBQ $%d, CX; JGE line", 64/bytes)
	w.label("few")
	if bytes < 4 {
		w.p("ADDQ $%d, CX; JLT tail", 64/bytes-16)
		w.label("vector")
		step()
		w.p("%s; SUBQ $16, CX; JGE vector", next)
	}
	w.label("tail")
	w.p("ADDQ $16, CX; JZ summed")
	w.p("MOVQ $-1, R10; SHLQ CX, R10; NOTQ R10; KMOVD R10, K1; LEAQ (AX)(R8*2), R10")
	step()
	w.label("summed")
	w.p("MOVQ DI, BX; LEAQ (R11)(R11*2), AX")
	for row := range rows { // sums of 16 lanes to one vector
		for n := range cols {
			a := acc(n, row)
			w.p("VEXTRACTF64X4 $1, Z%[1]d, Y20; VADDPS Y20, Y%[1]d, Y%[1]d; VEXTRACTF32X4 $1, Y%[1]d, X20; VADDPS X20, X%[1]d, X%[1]d", a)
		}
		// What a column's sum is does not depend on how many columns or rows there are.
		if cols == 4 {
			w.p("VHADDPS X%[2]d, X%[1]d, X%[1]d; VHADDPS X%[4]d, X%[3]d, X%[3]d; VHADDPS X%[3]d, X%[1]d, X%[1]d",
				acc(0, row), acc(1, row), acc(2, row), acc(3, row))
			w.p("VMOVSS X%[1]d, (BX); VEXTRACTPS $1, X%[1]d, (BX)(R11*1); VEXTRACTPS $2, X%[1]d, (BX)(R11*2); VEXTRACTPS $3, X%[1]d, (BX)(AX*1)", acc(0, row))
		} else {
			w.p("VHADDPS X%[2]d, X%[1]d, X%[1]d; VHADDPS X%[1]d, X%[1]d, X%[1]d", acc(0, row), acc(1, row))
			w.p("VMOVSS X%[1]d, (BX); VEXTRACTPS $1, X%[1]d, (BX)(R11*1)", acc(0, row))
		}
		w.p("ADDQ vectors_ldy(DX), BX")
	}
	w.p("ADDQ vectors_ldw(DX), SI; ADDQ $4, DI; DECQ vectors_n(DX); JNZ group")
	w.ret()
	return name
}

// addRows prints y[row][n] += Σ x[row][i]·W[i][n] over four rows of W, or over one, and returns the routine's name. What has been read of
// W meets all rows of x.
func (w *printer) addRows(kind string, terms, rows int) string {
	bytes := bytesOf(kind)
	name := fmt.Sprintf("addRows%sx%dx%d", kind, terms, rows)
	wRow := [4]string{"SI", "AX", "R9", "R10"}
	at := func(row int, base, ld, ld3 string) string {
		return "(" + base + ")" + [fewRows]string{"", "(" + ld + "*1)", "(" + ld + "*2)", "(" + ld3 + "*1)"}[row]
	}
	w.text(name, "v *vectors", 0, 8)
	w.p("MOVQ v+0(FP), DX")
	w.p("MOVQ vectors_w(DX), SI; MOVQ vectors_ldw(DX), R8; MOVQ vectors_y(DX), DI; MOVQ vectors_x(DX), R12")
	w.p("LEAQ (SI)(R8*1), AX; LEAQ (SI)(R8*2), R9; LEAQ (AX)(R8*2), R10")
	w.p("MOVQ vectors_ldx(DX), R13; LEAQ (R13)(R13*2), R14; MOVQ vectors_ldy(DX), R8; LEAQ (R8)(R8*2), R11")
	w.p("MOVQ vectors_n(DX), CX; ANDQ $15, CX; MOVQ $-1, BX; SHLQ CX, BX; NOTQ BX; KMOVD BX, K2")
	w.p("XORQ BX, BX; KXNORD K0, K0, K1")
	x := func(row, term int) string {
		return fmt.Sprintf("%d%s", 4*term, at(row, "R12", "R13", "R14"))
	}
	if rows == 1 {
		for i := range terms {
			w.p("VBROADCASTSS %s, Z%d", x(0, i), 24+i)
		}
	}
	w.p("MOVQ vectors_n(DX), CX")
	step := func() {
		for i := range terms {
			w.load(kind, fmt.Sprintf("(%s)(BX*1)", wRow[i]), "", 1, 16+i, 20)
		}
		for row := range rows {
			w.p("VMOVUPS.Z %s, K1, Z%d", at(row, "DI", "R8", "R11"), row)
		}
		for i := range terms {
			for row := range rows {
				if rows == 1 {
					w.p("VFMADD231PS Z%d, Z%d, Z0", 16+i, 24+i)
				} else {
					w.p("VFMADD231PS.BCST %s, Z%d, Z%d", x(row, i), 16+i, row)
				}
			}
		}
		for row := range rows {
			w.p("VMOVUPS Z%d, K1, %s", row, at(row, "DI", "R8", "R11"))
		}
	}
	w.p("SUBQ $16, CX; JLT tail")
	w.p("PCALIGN $64")
	w.label("step")
	step()
	w.p("ADDQ $%d, BX; ADDQ $64, DI; SUBQ $16, CX; JGE step", 16*bytes)
	w.label("tail")
	w.p("ADDQ $16, CX; JZ done")
	w.p("KMOVD K2, K1")
	step()
	w.label("done")
	w.ret()
	return name
}
