package main

import "fmt"

// dotsNF4 prints the products of a few rows with a matrix in NF4: see Ops.DotsNF4. A byte holds a pair of codes, so that sixteen bytes
// give the even elements of 32, in their upper halves, and the odd ones; each code is looked up in a register. The sum of a block of 64
// is multiplied by the block's scale. AVX-512 only.
func (g *gen) dotsNF4() {
	const most = 8
	const table, even, odd = reg(31), reg(24), reg(26) // two vectors of even elements, two of odd ones
	choose := ""
	for rows := 1; rows <= most; rows++ {
		name := fmt.Sprintf("dotsNF4x%d", rows)
		choose += fmt.Sprintf("case %d: %s(a)\n", rows, name)
		fmt.Fprintf(g.decls, "\n//go:noescape\nfunc %s(a *nf4Args)\n", name)
		fmt.Fprintf(g.asm, "\nTEXT ·%s(SB), NOSPLIT, $0-8\n", name)
		g.p("MOVQ a+0(FP), CX")
		g.p("MOVQ nf4Args_codes(CX), SI; MOVQ nf4Args_scales(CX), DX; MOVQ nf4Args_y(CX), DI; MOVQ nf4Args_columns(CX), R10; MOVQ nf4Args_ldx(CX), R13")
		g.p("LEAQ (R13)(R13*2), R14; MOVQ nf4Args_values(CX), AX; VMOVUPS (AX), %s", g.r(table))
		g.label("column")
		g.p("MOVQ nf4Args_x(CX), R12; LEAQ (R12)(R13*4), R15; MOVQ nf4Args_blocks(CX), BX")
		for row := range rows {
			g.p("VPXORD Z%[1]d, Z%[1]d, Z%[1]d", row)
		}
		g.p("PCALIGN $64")
		g.label("block")
		g.p("PREFETCHT0 1024(SI)")
		for i := range reg(2) {
			g.p("VPMOVZXBD %d(SI), %s; VPSRLD $4, %[2]s, %s", 16*i, g.r(odd+i), g.r(even+i))
			g.p("VPERMPS %s, %s, %[2]s; VPERMPS %[1]s, %[3]s, %[3]s", g.r(table), g.r(even+i), g.r(odd+i))
		}
		for i, v := range []reg{even, odd, even + 1, odd + 1} {
			for row := range rows {
				op := "VFMADD231PS"
				if i == 0 {
					op = "VMULPS"
				}
				at := "(" + [2]string{"R12", "R15"}[row/4] + ")" + [4]string{"", "(R13*1)", "(R13*2)", "(R14*1)"}[row%4]
				g.p("%s %d%s, %s, Z%d", op, 64*i, at, g.r(v), 8+row)
			}
		}
		for row := range rows {
			g.p("VFMADD231PS.BCST (DX), Z%d, Z%d", 8+row, row)
		}
		g.p("ADDQ $32, SI; ADDQ $4, DX; ADDQ $256, R12; ADDQ $256, R15; DECQ BX; JNZ block")
		g.p("MOVQ DI, AX; MOVQ nf4Args_ldy(CX), BX")
		for row := range rows {
			g.p("VEXTRACTF64X4 $1, Z%[1]d, Y16; VADDPS Y16, Y%[1]d, Y%[1]d; VEXTRACTF32X4 $1, Y%[1]d, X16; VADDPS X16, X%[1]d, X%[1]d", row)
			g.p("VHADDPS X%[1]d, X%[1]d, X%[1]d; VHADDPS X%[1]d, X%[1]d, X%[1]d; VMOVSS X%[1]d, (AX); ADDQ BX, AX", row)
		}
		g.p("ADDQ $4, DI; DECQ R10; JNZ column")
		g.close()
	}
	fmt.Fprintf(g.decls, "\nfunc dotsNF4x512(rows int, a *nf4Args) {\n\tswitch rows {\n%s}\n}\n", choose)
}
