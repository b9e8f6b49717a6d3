package main

import "fmt"

// Tiles are matrices of rows whose length n is a multiple of 16. The kernels go down columns of one vector's width, so
// that what belongs to a column stays in registers.

// columns starts a tile kernel with the parameters (s, [p,] rows, n, per-column slices) and prints body for each column
// block: AX is the offset of its columns, R12 the bytes of a row.
func (g *gen) columns(name string, tiles, stats []string, body func()) {
	decl, at := "", 0
	for _, t := range tiles {
		decl += fmt.Sprintf("%s []float32, ", t)
	}
	decl += "rows, n int"
	for _, s := range stats {
		decl += fmt.Sprintf(", %s []float32", s)
	}
	fmt.Fprintf(g.decls, "\n//go:noescape\nfunc %s%s(%s)\n", name, g.suffix(), decl)
	size := 24*(len(tiles)+len(stats)) + 16
	fmt.Fprintf(g.asm, "\nTEXT ·%s%s(SB), NOSPLIT, $0-%d\n", name, g.suffix(), size)
	for i, t := range tiles {
		g.p("MOVQ %s_base+%d(FP), %s", t, at, pointers[i])
		at += 24
	}
	g.p("MOVQ rows+%d(FP), R13; MOVQ n+%d(FP), R12; SHLQ $2, R12", at, at+8)
	at += 16
	for i, s := range stats {
		g.p("MOVQ %s_base+%d(FP), %s", s, at, pointers[4+i])
		at += 24
	}
	g.p("XORL AX, AX")
	g.p("TESTQ R13, R13; JZ end")
	g.label("columns")
	g.p("CMPQ AX, R12; JAE end")
	body()
	g.p("ADDQ $%d, AX; JMP columns", 4*g.lanes())
	g.label("end")
	g.close()
}

// down prints a loop over the rows; body finds the row's elements at (tile)(R14) with tile a pointer register and R14
// the offset.
func (g *gen) down(label string, body func()) {
	g.p("MOVQ AX, R14; MOVQ R13, CX")
	g.p("PCALIGN $32")
	g.label(label)
	body()
	g.p("ADDQ R12, R14; DECQ CX; JNZ %s", label)
}

// softmaxTile: see Ops.SoftmaxTile.
func (g *gen) softmaxTile() {
	g.columns("softmaxTile", []string{"s"}, []string{"m", "l", "alpha"}, func() {
		s, m, l, alpha := pointers[0]+")(R14*1", pointers[4]+")(AX*1", pointers[5]+")(AX*1", pointers[6]+")(AX*1"
		g.expSetup()
		g.load("("+m+")", 0)
		// Four rows at a time, for the latency; DX is the row, BX three rows.
		for i := range reg(4) {
			g.mov(1+i, 0)
		}
		g.p("LEAQ (R12)(R12*2), BX; LEAQ (%s)(AX*1), DX; MOVQ R13, CX; SUBQ $4, CX; JB few", pointers[0])
		g.p("PCALIGN $32")
		g.label("largest")
		for i, at := range []string{"(DX)", "(DX)(R12*1)", "(DX)(R12*2)", "(DX)(BX*1)"} {
			g.op("VMAXPS", at, 1+reg(i), 1+reg(i))
		}
		g.p("LEAQ (DX)(R12*4), DX; SUBQ $4, CX; JAE largest")
		g.label("few")
		g.p("ADDQ $4, CX; JZ most")
		g.label("one")
		g.op("VMAXPS", "(DX)", 1, 1)
		g.p("ADDQ R12, DX; DECQ CX; JNZ one")
		g.label("most")
		g.op("VMAXPS", reg(2), 1, 1)
		g.op("VMAXPS", reg(4), 3, 3)
		g.op("VMAXPS", reg(3), 1, 1)
		g.store(1, "("+m+")")
		// A column of −∞ subtracts 0.
		g.zero(2)
		g.set(3, k(-3e38))
		g.pick(1, 1, reg(3), 2, 1, 4)
		g.sub(0, 0, reg(1))
		g.exp(0, 4, 5)
		g.store(0, "("+alpha+")")
		g.load("("+l+")", 2)
		g.mul(2, 2, reg(0))
		g.down("exps", func() {
			g.load("("+s+")", 3)
			g.sub(3, 3, reg(1))
			g.exp(3, 4, 5)
			g.store(3, "("+s+")")
			g.add(2, 2, reg(3))
		})
		g.store(2, "("+l+")")
	})
}

// expTile: see Ops.ExpTile.
func (g *gen) expTile() {
	g.columns("expTile", []string{"s"}, []string{"m"}, func() {
		g.expSetup()
		g.load(fmt.Sprintf("(%s)(AX*1)", pointers[4]), 0)
		g.down("exps", func() {
			at := fmt.Sprintf("(%s)(R14*1)", pointers[0])
			g.load(at, 1)
			g.sub(1, 1, reg(0))
			g.exp(1, 2, 3)
			g.store(1, at)
		})
	})
}

// scoreGradTile: see Ops.ScoreGradTile.
func (g *gen) scoreGradTile() {
	g.columns("scoreGradTile", []string{"d", "p"}, []string{"delta"}, func() {
		g.load(fmt.Sprintf("(%s)(AX*1)", pointers[4]), 0)
		g.down("grads", func() {
			d, p := fmt.Sprintf("(%s)(R14*1)", pointers[0]), fmt.Sprintf("(%s)(R14*1)", pointers[1])
			g.load(d, 1)
			g.sub(1, 1, reg(0))
			g.op("VMULPS", p, 1, 1)
			g.store(1, d)
		})
	})
}

// scaleRows: see Ops.ScaleRows. Its arguments are pointers and distances in bytes.
func (g *gen) scaleRows() {
	fmt.Fprintf(g.decls, "\n//go:noescape\nfunc scaleRows%s(y *float32, ldy int, k *float32, rows, n int)\n", g.suffix())
	fmt.Fprintf(g.asm, "\nTEXT ·scaleRows%s(SB), NOSPLIT, $0-40\n", g.suffix())
	g.p("MOVQ y+0(FP), DI; MOVQ ldy+8(FP), R8; MOVQ k+16(FP), SI; MOVQ rows+24(FP), CX; MOVQ n+32(FP), R12")
	g.label("row")
	g.p("VBROADCASTSS (SI), %s; XORL AX, AX", g.r(0))
	g.p("PCALIGN $32")
	g.label("col")
	for i := 0; i < 16; i += g.lanes() {
		at := fmt.Sprintf("%d(DI)(AX*1)", 4*i)
		g.op("VMULPS", at, 0, 1)
		g.store(1, at)
	}
	g.p("ADDQ $64, AX; CMPQ AX, R12; JB col")
	g.p("ADDQ $4, SI; ADDQ R8, DI; DECQ CX; JNZ row")
	g.close()
}

// transpose: see Ops.Transpose. Its arguments are pointers, distances in bytes and counts of blocks, which are squares
// of a vector's length.
//
// Pairs of rows, then pairs of pairs, are interleaved within parts of 128 bits, so that part p of the k-th register of
// rows 4g … 4g+3 holds column 4p+k of them; then parts are gathered.
func (g *gen) transpose() {
	fmt.Fprintf(g.decls, "\n//go:noescape\nfunc transpose%s(y *float32, ldy int, x *float32, ldx, rows, cols int)\n", g.suffix())
	fmt.Fprintf(g.asm, "\nTEXT ·transpose%s(SB), NOSPLIT, $0-48\n", g.suffix())
	g.p("MOVQ y+0(FP), DI; MOVQ ldy+8(FP), R8; MOVQ x+16(FP), SI; MOVQ ldx+24(FP), R9; MOVQ cols+40(FP), R13")
	g.label("across")
	g.p("MOVQ rows+32(FP), CX; MOVQ DI, DX; MOVQ SI, BX")
	g.p("PCALIGN $32")
	g.label("down")
	n := g.lanes()
	for i := range n {
		g.load("(BX)", reg(i))
		g.p("ADDQ R9, BX")
	}
	unpack := func(name string, a, b, dst int) { g.p("%s %s, %s, %s", name, g.r(reg(b)), g.r(reg(a)), g.r(reg(dst))) }
	for i := 0; i < n; i += 2 {
		unpack("VUNPCKLPS", i, i+1, n+i)
		unpack("VUNPCKHPS", i, i+1, n+i+1)
	}
	for i := 0; i < n; i += 4 {
		t := n + i
		unpack("VUNPCKLPD", t, t+2, i)
		unpack("VUNPCKHPD", t, t+2, i+1)
		unpack("VUNPCKLPD", t+1, t+3, i+2)
		unpack("VUNPCKHPD", t+1, t+3, i+3)
	}
	join := func(imm, a, b, dst int) {
		name := "VPERM2F128"
		if g.wide {
			name = "VSHUFF32X4"
		}
		g.p("%s $%#x, %s, %s, %s", name, imm, g.r(reg(b)), g.r(reg(a)), g.r(reg(dst)))
	}
	// Columns come in the order 0, 4, 8, 12, 1, 5, …
	g.p("LEAQ (R8)(R8*2), R10; MOVQ DX, R11; LEAQ (DX)(R8*4), R12")
	if g.wide {
		g.p("LEAQ (R12)(R8*4), R14; LEAQ (R14)(R8*4), AX")
	}
	offset := []string{"(%s)", "(%s)(R8*1)", "(%s)(R8*2)", "(%s)(R10*1)"}
	for k := range 4 {
		if !g.wide {
			join(0x20, k, 4+k, 8)
			join(0x31, k, 4+k, 9)
			g.store(8, fmt.Sprintf(offset[k], "R11"))
			g.store(9, fmt.Sprintf(offset[k], "R12"))
			continue
		}
		join(0x44, k, 4+k, 16)
		join(0xee, k, 4+k, 17)
		join(0x44, 8+k, 12+k, 18)
		join(0xee, 8+k, 12+k, 19)
		for i, base := range []string{"R11", "R12", "R14", "AX"} {
			join([]int{0x88, 0xdd}[i%2], 16+i/2, 18+i/2, 20)
			g.store(20, fmt.Sprintf(offset[k], base))
		}
	}
	g.p("ADDQ $%d, DX; DECQ CX; JNZ down", 4*n)
	g.p("ADDQ $%d, SI; MOVQ R8, AX; SHLQ $%d, AX; ADDQ AX, DI; DECQ R13; JNZ across", 4*n, map[bool]int{true: 4, false: 3}[g.wide])
	g.close()
}

// tiles prints the micro-kernels of matrix products, one for each number of rows and vectors across. Their argument is
// a *tileArgs, whose distances are in bytes.
func (g *gen) tiles() {
	rows := map[bool]int{true: 8, false: 6}[g.wide]
	for across := 1; across <= 2; across++ {
		for m := 1; m <= rows; m++ {
			g.tile(m, across)
		}
	}
	// A dispatcher in Go: calls by name keep the argument on the stack.
	fmt.Fprintf(g.decls, "\n// tile%s runs the micro-kernel of the given rows and vectors across.\nfunc tile%[1]s(t *tileArgs, rows, across int) {\n\tswitch rows + %d*across {\n", g.suffix(), rows)
	for across := 1; across <= 2; across++ {
		for m := 1; m <= rows; m++ {
			fmt.Fprintf(g.decls, "\tcase %d + %d*%d:\n\t\ttile%dx%d%s(t)\n", m, rows, across, m, across*g.lanes(), g.suffix())
		}
	}
	fmt.Fprint(g.decls, "\t}\n}\n")
}

func (g *gen) tile(m, across int) {
	name := fmt.Sprintf("tile%dx%d", m, across*g.lanes())
	fmt.Fprintf(g.decls, "\n//go:noescape\nfunc %s%s(t *tileArgs)\n", name, g.suffix())
	fmt.Fprintf(g.asm, "\nTEXT ·%s%s(SB), NOSPLIT, $0-8\n", name, g.suffix())
	g.p("MOVQ t+0(FP), DI")
	g.p("MOVQ tileArgs_a(DI), SI; MOVQ tileArgs_rs(DI), R8; LEAQ (R8)(R8*2), R9; LEAQ (SI)(R8*4), R10")
	g.p("MOVQ tileArgs_cs(DI), R11; MOVQ tileArgs_b(DI), BX; MOVQ tileArgs_ldb(DI), R12")
	g.p("MOVQ tileArgs_c(DI), DX; MOVQ tileArgs_ldc(DI), R13; MOVQ tileArgs_k(DI), CX")
	g.p("LEAQ (R13)(R13*2), R14; LEAQ (DX)(R13*4), AX")
	at := func(i int, base, upper, one, three string) string {
		if i >= 4 {
			base, i = upper, i-4
		}
		return []string{"(" + base + ")", "(" + base + ")(" + one + "*1)", "(" + base + ")(" + one + "*2)", "(" + base + ")(" + three + "*1)"}[i]
	}
	acc := func(i, j int) reg { return reg(i*across + j) }
	c := func(i, j int) string { return fmt.Sprintf("%d%s", 4*g.lanes()*j, at(i, "DX", "AX", "R13", "R14")) }
	each := func(f func(i, j int)) {
		for i := range m {
			for j := range across {
				f(i, j)
			}
		}
	}
	g.p("CMPQ tileArgs_acc(DI), $0; JNE read")
	each(func(i, j int) { g.zero(acc(i, j)) })
	g.p("JMP start")
	g.label("read")
	each(func(i, j int) { g.p("VMOVUPS %s, %s", c(i, j), g.r(acc(i, j))) })
	g.label("start")
	g.p("TESTQ CX, CX; JZ store")
	bs := reg(m * across)
	g.p("PCALIGN $32")
	g.label("step")
	for j := range across {
		g.p("VMOVUPS %d(BX), %s", 4*g.lanes()*j, g.r(bs+reg(j)))
	}
	for i := range m {
		a := at(i, "SI", "R10", "R8", "R9")
		if g.wide && across == 1 {
			g.p("VFMADD231PS.BCST %s, %s, %s", a, g.r(bs), g.r(acc(i, 0)))
			continue
		}
		g.p("VBROADCASTSS %s, %s", a, g.r(bs+reg(across)))
		for j := range across {
			g.muladd(acc(i, j), bs+reg(j), bs+reg(across))
		}
	}
	g.p("ADDQ R11, SI")
	if m > 4 {
		g.p("ADDQ R11, R10")
	}
	g.p("ADDQ R12, BX; DECQ CX; JNZ step")
	g.label("store")
	each(func(i, j int) { g.p("VMOVUPS %s, %s", g.r(acc(i, j)), c(i, j)) })
	g.close()
}

// bf16 prints conversions of whole groups of 16 numbers; n counts numbers and is a multiple of 16.
func (g *gen) bf16() {
	start := func(name, params string) {
		fmt.Fprintf(g.decls, "\n//go:noescape\nfunc %s%s(%s, n int)\n", name, g.suffix(), params)
		fmt.Fprintf(g.asm, "\nTEXT ·%s%s(SB), NOSPLIT, $0-24\n", name, g.suffix())
		g.p("MOVQ y+0(FP), DI; MOVQ x+8(FP), SI; MOVQ n+16(FP), CX")
		g.p("TESTQ CX, CX; JZ done")
	}
	start("fromBF16x", "y *float32, x *uint16")
	g.label("loop")
	for i := 0; i < 16; i += g.lanes() {
		g.p("VPMOVZXWD %d(SI), %s; VPSLLD $16, %s, %s; VMOVUPS %s, %d(DI)", 2*i, g.r(0), g.r(0), g.r(0), g.r(0), 4*i)
	}
	g.p("ADDQ $32, SI; ADDQ $64, DI; SUBQ $16, CX; JNZ loop")
	g.label("done")
	g.close()

	start("toBF16x", "y *uint16, x *float32")
	bits := func(v uint32) konst { return konst(v) }
	// (u + 0x7fff + (u>>16 & 1)) >> 16; NaNs: (u | 0x400000) >> 16.
	round := func(at string, x, t, u reg) {
		g.p("VMOVUPS %s, %s", at, g.r(x))
		g.p("VPSRLD $16, %s, %s", g.r(x), g.r(t))
		if g.wide {
			g.op("VPANDD", bits(1), t, t)
			g.op("VPADDD", bits(0x7fff), t, t)
			g.p("VPADDD %s, %s, %s", g.r(x), g.r(t), g.r(t))
			g.p("VCMPPS $3, %s, %s, K2", g.r(x), g.r(x))
			g.p("VPORD.BCST ·constants+%d(SB), %s, K2, %s", g.consts.at(0x400000), g.r(x), g.r(t))
		} else {
			g.op("VPAND", bits(1), t, t)
			g.op("VPADDD", bits(0x7fff), t, t)
			g.p("VPADDD %s, %s, %s", g.r(x), g.r(t), g.r(t))
			g.p("VCMPPS $3, %s, %s, %s", g.r(x), g.r(x), g.r(u))
			g.op("VORPS", bits(0x400000), x, x)
			g.p("VBLENDVPS %s, %s, %s, %s", g.r(u), g.r(x), g.r(t), g.r(t))
		}
		g.p("VPSRLD $16, %s, %s", g.r(t), g.r(t))
	}
	g.label("loop")
	if g.wide {
		round("(SI)", 0, 1, 2)
		g.p("VPMOVDW Z1, (DI)")
	} else {
		round("(SI)", 0, 1, 2)
		round("32(SI)", 3, 4, 5)
		g.p("VPACKUSDW Y4, Y1, Y1; VPERMQ $0xd8, Y1, Y1; VMOVDQU Y1, (DI)")
	}
	g.p("ADDQ $64, SI; ADDQ $32, DI; SUBQ $16, CX; JNZ loop")
	g.label("done")
	g.close()
}

// bf16Rows prints the conversion of rows to float32; distances are in bytes, n is a multiple of 16.
func (g *gen) bf16Rows() {
	fmt.Fprintf(g.decls, "\n//go:noescape\nfunc fromBF16Rows%s(y *float32, ldy int, x *uint16, ldx, rows, n int)\n", g.suffix())
	fmt.Fprintf(g.asm, "\nTEXT ·fromBF16Rows%s(SB), NOSPLIT, $0-48\n", g.suffix())
	g.p("MOVQ y+0(FP), DI; MOVQ ldy+8(FP), R8; MOVQ x+16(FP), SI; MOVQ ldx+24(FP), R9; MOVQ rows+32(FP), CX; MOVQ n+40(FP), R12")
	g.label("row")
	g.p("XORL AX, AX")
	g.p("PCALIGN $32")
	g.label("col")
	for i := 0; i < 16; i += g.lanes() {
		r := g.r(reg(i / 8))
		g.p("VPMOVZXWD %d(SI)(AX*2), %s; VPSLLD $16, %s, %s; VMOVUPS %s, %d(DI)(AX*4)", 2*i, r, r, r, r, 4*i)
	}
	g.p("ADDQ $16, AX; CMPQ AX, R12; JB col")
	g.p("ADDQ R8, DI; ADDQ R9, SI; DECQ CX; JNZ row")
	g.close()
}

// philox prints, for AVX-512 and AVX2, the keep factors of whole blocks of the stream: 4·lanes words a turn.
//
// Each lane holds one block: counters c0 … c3. A round multiplies 32 by 32 bits to 64, which exists for even lanes only,
// so that odd lanes are moved down and the halves are blended together again.
func (g *gen) philox() {
	fmt.Fprintf(g.decls, "\n//go:noescape\nfunc philox%s(t *philoxArgs)\n", g.suffix())
	fmt.Fprintf(g.asm, "\nTEXT ·philox%s(SB), NOSPLIT, $0-8\n", g.suffix())
	g.p("MOVQ t+0(FP), DI; MOVQ philoxArgs_y(DI), SI; MOVQ philoxArgs_n(DI), CX")
	const c0, c1, c2, c3, p0, p1, t, u = 0, 1, 2, 3, 4, 5, 6, 7
	xor, w32 := "VPXOR", "" // the EVEX forms of integer instructions say how wide elements are
	if g.wide {
		xor, w32 = "VPXORD", "32"
	}
	mulhilo := func(c reg, m uint32, hi, lo reg) {
		// even lanes' products in t, odd lanes' in u
		g.set(hi, konst(m))
		g.p("VPMULUDQ %s, %s, %s", g.r(c), g.r(hi), g.r(t))
		g.p("VPSRLQ $32, %s, %s; VPMULUDQ %s, %s, %s", g.r(c), g.r(u), g.r(u), g.r(hi), g.r(u))
		if g.wide {
			g.p("VPSLLQ $32, %s, %s; VPSRLQ $32, %s, %s", g.r(u), g.r(lo), g.r(t), g.r(hi))
			g.p("VPBLENDMD %s, %s, K3, %s", g.r(lo), g.r(t), g.r(lo))
			g.p("VPBLENDMD %s, %s, K3, %s", g.r(u), g.r(hi), g.r(hi))
		} else {
			g.p("VPSLLQ $32, %s, %s; VPSRLQ $32, %s, %s", g.r(u), g.r(lo), g.r(t), g.r(hi))
			g.p("VPBLENDD $0xaa, %s, %s, %s", g.r(lo), g.r(t), g.r(lo))
			g.p("VPBLENDD $0xaa, %s, %s, %s", g.r(u), g.r(hi), g.r(hi))
		}
	}
	if g.wide {
		g.p("MOVL $0xaaaa, AX; KMOVW AX, K3")
	}
	g.label("turn")
	g.p("TESTQ CX, CX; JZ done")
	g.p("VMOVDQU%s philoxArgs_lo(DI), %s", w32, g.r(c0))
	g.p("VMOVDQU%s philoxArgs_hi(DI), %s", w32, g.r(c1))
	g.p("VPBROADCASTD philoxArgs_op(DI), %s; VPBROADCASTD philoxArgs_micro(DI), %s", g.r(c2), g.r(c3))
	g.p("VPBROADCASTD philoxArgs_k0(DI), %s; VPBROADCASTD philoxArgs_k1(DI), %s", g.r(8), g.r(9))
	for i := range 10 {
		// p0 = c0·M0 → (hi in 10, lo in p0); p1 = c2·M1 → (hi in 11, lo in p1)
		mulhilo(c0, 0xD2511F53, 10, p0)
		mulhilo(c2, 0xCD9E8D57, 11, p1)
		g.p("%s %s, %s, %s; %s %s, %s, %s", xor, g.r(c1), g.r(11), g.r(c0), xor, g.r(8), g.r(c0), g.r(c0))
		g.p("%s %s, %s, %s; %s %s, %s, %s", xor, g.r(c3), g.r(10), g.r(c2), xor, g.r(9), g.r(c2), g.r(c2))
		g.p("VMOVDQA%s %s, %s; VMOVDQA%s %s, %s", w32, g.r(p1), g.r(c1), w32, g.r(p0), g.r(c3))
		if i < 9 {
			g.op("VPADDD", konst(0x9E3779B9), 8, 8)
			g.op("VPADDD", konst(0xBB67AE85), 9, 9)
		}
	}
	// Keep: scale if word ≥ threshold, as unsigned numbers: max(word, threshold) = word.
	g.p("VPBROADCASTD philoxArgs_threshold(DI), %s; VBROADCASTSS philoxArgs_scale(DI), %s", g.r(8), g.r(9))
	for c := reg(0); c < 4; c++ {
		if g.wide {
			g.p("VPCMPUD $5, %s, %s, K2; VMOVAPS.Z %s, K2, %s", g.r(8), g.r(c), g.r(9), g.r(c))
		} else {
			g.p("VPMAXUD %s, %s, %s; VPCMPEQD %s, %s, %s; VANDPS %s, %s, %s", g.r(8), g.r(c), g.r(t), g.r(t), g.r(c), g.r(c), g.r(9), g.r(c), g.r(c))
		}
	}
	// Transpose 4 × lanes: block b's words w0 … w3 become neighbours.
	g.p("VUNPCKLPS %s, %s, %s; VUNPCKHPS %s, %s, %s", g.r(1), g.r(0), g.r(4), g.r(1), g.r(0), g.r(5))
	g.p("VUNPCKLPS %s, %s, %s; VUNPCKHPS %s, %s, %s", g.r(3), g.r(2), g.r(6), g.r(3), g.r(2), g.r(7))
	g.p("VUNPCKLPD %s, %s, %s; VUNPCKHPD %s, %s, %s", g.r(6), g.r(4), g.r(0), g.r(6), g.r(4), g.r(1))
	g.p("VUNPCKLPD %s, %s, %s; VUNPCKHPD %s, %s, %s", g.r(7), g.r(5), g.r(2), g.r(7), g.r(5), g.r(3))
	// Now register j holds, in its 128-bit part q, block 4q+j.
	parts := g.lanes() / 4
	for q := range parts {
		for j := range reg(4) {
			at := fmt.Sprintf("%d(SI)", 16*(4*q+int(j)))
			switch {
			case q == 0:
				g.p("VMOVUPS X%d, %s", j, at)
			case g.wide:
				g.p("VEXTRACTF32X4 $%d, Z%d, %s", q, j, at)
			default:
				g.p("VEXTRACTF128 $%d, Y%d, %s", q, j, at)
			}
		}
	}
	// The next counters; the caller sees to it that the low words do not wrap.
	g.p("MOVL $%d, AX; VMOVD AX, X4; VPBROADCASTD X4, %s", g.lanes(), g.r(4))
	g.p("VPADDD philoxArgs_lo(DI), %s, %s; VMOVDQU%s %s, philoxArgs_lo(DI)", g.r(4), g.r(4), w32, g.r(4))
	g.p("ADDQ $%d, SI; DECQ CX; JMP turn", 16*g.lanes())
	g.label("done")
	g.close()
}
