package main

import "fmt"

// dotsNF4 prints the products of a few rows with a matrix in NF4: see Ops.DotsNF4. A byte holds a pair of codes, so that its upper half
// gives an even element and its lower half an odd one; each is looked up in registers. The sum of a block of 64 elements is multiplied by
// the block's scale. What a row's sum is does not depend on how many rows there are.
func (g *gen) dotsNF4() {
	most := 8
	if !g.wide {
		most = 4 // what sixteen registers hold
	}
	choose := ""
	for rows := 1; rows <= most; rows++ {
		name := fmt.Sprintf("dotsNF4x%sx%d", g.suffix(), rows)
		choose += fmt.Sprintf("case %d: %s(a)\n", rows, name)
		fmt.Fprintf(g.decls, "\n//go:noescape\nfunc %s(a *nf4Args)\n", name)
		fmt.Fprintf(g.asm, "\nTEXT ·%s(SB), NOSPLIT, $0-8\n", name)
		g.p("MOVQ a+0(FP), CX")
		g.p("MOVQ nf4Args_codes(CX), SI; MOVQ nf4Args_scales(CX), DX; MOVQ nf4Args_y(CX), DI; MOVQ nf4Args_columns(CX), R10; MOVQ nf4Args_ldx(CX), R13")
		g.p("LEAQ (R13)(R13*2), R14; MOVQ nf4Args_values(CX), AX")
		b := nf4Block{g, rows}
		b.tables()
		g.label("column")
		g.p("MOVQ nf4Args_x(CX), R12; LEAQ (R12)(R13*4), R15; MOVQ nf4Args_blocks(CX), BX")
		for row := range reg(rows) {
			g.zero(row)
		}
		g.p("PCALIGN $64")
		g.label("block")
		g.p("PREFETCHT0 1024(SI)")
		b.sums()
		g.p("ADDQ $32, SI; ADDQ $4, DX; ADDQ $256, R12; ADDQ $256, R15; DECQ BX; JNZ block")
		g.p("MOVQ DI, AX; MOVQ nf4Args_ldy(CX), BX")
		for row := range rows {
			if g.wide {
				g.p("VEXTRACTF64X4 $1, Z%[1]d, Y16; VADDPS Y16, Y%[1]d, Y%[1]d", row)
			}
			g.p("VEXTRACTF128 $1, Y%[1]d, X%[2]d; VADDPS X%[2]d, X%[1]d, X%[1]d", row, most)
			g.p("VHADDPS X%[1]d, X%[1]d, X%[1]d; VHADDPS X%[1]d, X%[1]d, X%[1]d; VMOVSS X%[1]d, (AX); ADDQ BX, AX", row)
		}
		g.p("ADDQ $4, DI; DECQ R10; JNZ column")
		g.close()
	}
	fmt.Fprintf(g.decls, "\nfunc dotsNF4x%s(rows int, a *nf4Args) {\n\tswitch rows {\n%s}\n}\n", g.suffix(), choose)
}

// nf4Block prints what dotsNF4 does with a block for so many rows of x, whose sums over blocks are in registers 0 on.
type nf4Block struct {
	*gen
	rows int
}

// x is where elements of a row of x are, so many bytes after the block's first.
func (b nf4Block) x(row, at int) string {
	return fmt.Sprintf("%d(%s)%s", at, [2]string{"R12", "R15"}[row/4], [4]string{"", "(R13*1)", "(R13*2)", "(R14*1)"}[row%4])
}

// add multiplies values by elements of every row, for the block's sums in the registers from sum on.
func (b nf4Block) add(sum int, first bool, values reg, at int) {
	op := "VFMADD231PS"
	if first {
		op = "VMULPS"
	}
	for row := range b.rows {
		b.p("%s %s, %s, %s", op, b.x(row, at), b.r(values), b.r(reg(sum+row)))
	}
}

// tables loads the values from AX.
func (b nf4Block) tables() {
	if b.wide {
		b.p("VMOVUPS (AX), Z31")
	} else {
		b.p("VMOVUPS (AX), Y14; VMOVUPS 32(AX), Y15")
	}
}

// sums adds a block's products.
func (b nf4Block) sums() {
	if b.wide {
		for i := range 2 {
			even, odd := 24+i, 26+i
			b.p("VPMOVZXBD %d(SI), Z%d; VPSRLD $4, Z%[2]d, Z%[3]d; VPERMPS Z31, Z%[3]d, Z%[3]d; VPERMPS Z31, Z%[2]d, Z%[2]d", 16*i, odd, even)
		}
		for i, values := range []reg{24, 26, 25, 27} {
			b.add(8, i == 0, values, 64*i)
		}
		for row := range b.rows {
			b.p("VFMADD231PS.BCST (DX), Z%d, Z%d", 8+row, row)
		}
		return
	}
	// A register holds eight values: a code is looked up among the lower and among the upper ones, and its highest bit, shifted to the sign,
	// chooses.
	for i := range 4 {
		at := i/2*128 + i%2*32
		b.p("VPMOVZXBD %d(SI), Y8; VPSRLD $4, Y8, Y9; VPSLLD $24, Y8, Y10", 8*i)
		b.p("VPERMPS Y14, Y9, Y11; VPERMPS Y15, Y9, Y12; VBLENDVPS Y10, Y12, Y11, Y11")
		b.add(4, i == 0, 11, at)
		b.p("VPSLLD $28, Y8, Y10; VPERMPS Y14, Y8, Y11; VPERMPS Y15, Y8, Y12; VBLENDVPS Y10, Y12, Y11, Y11")
		b.add(4, false, 11, at+64)
	}
	b.p("VBROADCASTSS (DX), Y8")
	for row := range b.rows {
		b.p("VFMADD231PS Y8, Y%d, Y%d", 4+row, row)
	}
}
