package main

import "fmt"

// Tiles of AMX: TMM0 … TMM3 are a tile of C of 2×2, TMM4 and TMM5 are A's, TMM6 and TMM7 B's.
const (
	tmmA = 4
	tmmB = 6

	amxTile = 1024 // bytes: 16 rows of 64
	amxPart = 2 * amxTile
)

// amx prints the micro-kernels of AMX tiles (see package gemm's amx.go), the table that holds them, and their packing.
func (w *printer) amx() {
	fmt.Fprintf(&w.asm, "DATA ·amxConfig+0(SB)/8, $1\nDATA ·amxConfig+8(SB)/8, $0\n")
	for i := range 2 { // eight tiles of 64 bytes …
		fmt.Fprintf(&w.asm, "DATA ·amxConfig+%d(SB)/8, $0x0040004000400040\n", 16+8*i)
	}
	for i := range 2 {
		fmt.Fprintf(&w.asm, "DATA ·amxConfig+%d(SB)/8, $0\n", 32+8*i)
	}
	fmt.Fprintf(&w.asm, "DATA ·amxConfig+48(SB)/8, $0x1010101010101010\nDATA ·amxConfig+56(SB)/8, $0\n") // … and 16 rows
	fmt.Fprintf(&w.asm, "GLOBL ·amxConfig(SB), RODATA|NOPTR, $64\n\n")
	for i := range 16 {
		fmt.Fprintf(&w.asm, "DATA ·evens+%d(SB)/4, $%d\n", 4*i, 2*i)
	}
	fmt.Fprintf(&w.asm, "GLOBL ·evens(SB), RODATA|NOPTR, $64\n\n")
	for i := range 16 {
		fmt.Fprintf(&w.asm, "DATA ·odds+%d(SB)/4, $%d\n", 4*i, 2*i+1)
	}
	fmt.Fprintf(&w.asm, "GLOBL ·odds(SB), RODATA|NOPTR, $64\n\n")
	fmt.Fprintf(&w.asm, "DATA ·splits+0(SB)/4, $0x8000\nDATA ·splits+4(SB)/4, $0xffff0000\nGLOBL ·splits(SB), RODATA|NOPTR, $8\n\n")

	table := "\n// amxTiles is indexed by whether A and B have three parts, groups of 16 rows-1 and of 16 columns-1.\nvar amxTiles = [2][2][2][2]func(*tile){"
	for _, a := range []int{1, 3} {
		table += "{"
		for _, b := range []int{1, 3} {
			table += "{"
			for rows := 1; rows <= 2; rows++ {
				table += fmt.Sprintf("{%s, %s}, ", w.tileAMX(a, b, rows, 1), w.tileAMX(a, b, rows, 2))
			}
			table += "}, "
		}
		table += "}, "
	}
	fmt.Fprintf(&w.decls, "%s}\n", table)

	table = "\n// Of these, indexed by amxKind and whether tiles are transposed.\nvar (\n\tpackAMXAcross = [3][2]func(*amxPack){"
	for _, kind := range []string{"BF16", "Round", "Split"} {
		table += fmt.Sprintf("{%s, %s}, ", w.packAcrossAMX(kind, false), w.packAcrossAMX(kind, true))
	}
	table += "}\n\tpackAMXAlong = [3][2]func(*amxPack){"
	for _, kind := range []string{"BF16", "Round", "Split"} {
		table += fmt.Sprintf("{%s, %s}, ", w.packAlongAMX(kind, false), w.packAlongAMX(kind, true))
	}
	fmt.Fprintf(&w.decls, "%s}\n)\n", table)
	w.peakAMX()
}

// vex prints an instruction on tiles: VEX.128.0F38.W0 with a prefix (0 none, 1 66, 2 F3, 3 F2), a second source vvvv and the bytes from ModRM
// on. Encoding: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2.
func (w *printer) vex(comment string, prefix, opcode, vvvv int, rest ...int) {
	bytes := []int{0xc4, 0xe2, (^vvvv&15)<<3 | prefix, opcode}
	bytes = append(bytes, rest...)
	line := ""
	for _, b := range bytes {
		line += fmt.Sprintf("BYTE $0x%02x; ", b)
	}
	w.p("%s// %s", line, comment)
}

// registers by their number in an encoding, of those that need no further bit.
var registers = map[string]int{"AX": 0, "CX": 1, "DX": 2, "BX": 3, "SI": 6, "DI": 7}

// tileMemory prints a tile's load (prefix 3) or store (prefix 2) at base + disp, rows index apart. The index is DX or CX.
func (w *printer) tileMemory(name string, prefix, tmm int, base, index string, disp int) {
	sib := registers[index]<<3 | registers[base]
	rest := []int{0x84 | tmm<<3, sib, disp & 255, disp >> 8 & 255, disp >> 16 & 255, disp >> 24 & 255}
	if disp == 0 {
		rest = []int{0x04 | tmm<<3, sib}
	}
	w.vex(fmt.Sprintf("%s %d(%s)(%s*1), TMM%d", name, disp, base, index, tmm), prefix, 0x4b, 0, rest...)
}

func (w *printer) loadTile(tmm int, base, index string, disp int) {
	w.tileMemory("TILELOADD", 3, tmm, base, index, disp)
}

func (w *printer) storeTile(tmm int, base, index string, disp int) {
	w.tileMemory("TILESTORED", 2, tmm, base, index, disp)
}

func (w *printer) zeroTile(tmm int) {
	w.vex(fmt.Sprintf("TILEZERO TMM%d", tmm), 3, 0x49, 0, 0xc0|tmm<<3)
}

func (w *printer) dpTile(a, b, dst int) {
	w.vex(fmt.Sprintf("TDPBF16PS TMM%d, TMM%d, TMM%d", b, a, dst), 2, 0x5c, b, 0xc0|dst<<3|a)
}

// beginAMX and endAMX print the configuration of the tiles and its end. Between them nothing else runs on the thread but signal handlers,
// around which the kernel keeps tiles, since functions in assembly are not preempted.
func (w *printer) beginAMX() {
	w.p("LEAQ ·amxConfig(SB), AX")
	w.vex("LDTILECFG (AX)", 0, 0x49, 0, 0x00)
}

func (w *printer) endAMX() { w.vex("TILERELEASE", 0, 0x49, 0, 0xc0) }

// tileAMX prints the micro-kernel of 16·rows × 16·cols elements from so many parts of A and B and returns its name. A step is 32 elements of k.
func (w *printer) tileAMX(partsA, partsB, rows, cols int) string {
	name := fmt.Sprintf("tileAMX%d%dx%dx%d", partsA, partsB, 16*rows, 16*cols)
	// Pairs of parts whose product counts, such that consecutive pairs share one, and the largest comes last.
	var pairs [][2]int
	switch {
	case partsA == 1 && partsB == 1:
		pairs = [][2]int{{0, 0}}
	case partsB == 1:
		pairs = [][2]int{{2, 0}, {1, 0}, {0, 0}}
	case partsA == 1:
		pairs = [][2]int{{0, 2}, {0, 1}, {0, 0}}
	default:
		pairs = [][2]int{{2, 0}, {1, 0}, {1, 1}, {0, 1}, {0, 2}, {0, 0}}
	}
	// 0(SP) … 16(SP) are as in other kernels (see beginTiles), 24(SP) and 32(SP) are C and d while DX and 0(SP) are something else.
	w.text(name, "t *tile", 40, 8)
	w.p("MOVQ t+0(FP), DI")
	w.beginAMX()
	w.p("MOVQ tile_a(DI), R13; MOVQ tile_b(DI), R14; MOVQ tile_c(DI), DX")
	w.beginTiles()
	w.label("tile")
	w.p("MOVQ DX, 24(SP); MOVQ tile_k(DI), R8; MOVQ R13, SI; MOVQ R14, BX; MOVQ tile_lda(DI), DX; MOVQ $64, CX")
	w.p("MOVQ tile_groupA(DI), AX; ADDQ SI, AX; MOVQ tile_stepA(DI), R9")
	for i := range rows {
		for j := range cols {
			w.zeroTile(2*i + j)
		}
	}
	baseA := [2]string{"SI", "AX"}
	w.p("PCALIGN $64")
	w.label("step")
	lastA, lastB := -1, -1
	for _, pair := range pairs {
		a, b := pair[0], pair[1]
		load := func(i, j int) { // what the product of groups i and j needs and has not got
			if j == 0 && a != lastA {
				w.loadTile(tmmA+i, baseA[i], "DX", amxPart*a)
			}
			if i == 0 && b != lastB {
				w.loadTile(tmmB+j, "BX", "CX", amxPart*b+amxTile*j)
			}
		}
		for i := range rows {
			for j := range cols {
				load(i, j)
				w.dpTile(tmmA+i, tmmB+j, 2*i+j)
			}
		}
		lastA, lastB = a, b
	}
	w.p("ADDQ R9, SI; ADDQ R9, AX; ADDQ $%d, BX; DECQ R8; JNZ step", amxPart*partsB)

	w.p("MOVQ 24(SP), DX; CMPQ tile_direct(DI), $0; JEQ scratch")
	w.p("MOVQ tile_ldc(DI), CX; MOVQ CX, AX; SHLQ $4, AX; ADDQ DX, AX; MOVQ DX, SI")
	for i := range rows {
		for j := range cols {
			w.storeTile(2*i+j, baseA[i], "CX", 64*j)
		}
	}
	w.p("JMP stored")
	w.label("scratch")
	w.p("MOVQ tile_scratch(DI), SI; MOVQ $128, CX")
	for i := range rows {
		for j := range cols {
			w.storeTile(2*i+j, "SI", "CX", 2048*i+64*j)
		}
	}
	w.p("CMPQ tile_turn(DI), $0; JEQ finish")
	for i := range rows {
		for j := range cols {
			for r := range 16 {
				w.p("VMOVUPS %d(SI), Z%d", 2048*i+64*j+128*r, r)
			}
			w.transpose16()
			for r := range 16 {
				w.p("VMOVUPS Z%d, %d(SI)", r, 4096+2048*j+64*i+128*r)
			}
		}
	}
	w.p("ADDQ $4096, SI")
	w.label("finish")
	w.p("MOVQ tile_rows(DI), R8; MOVQ 0(SP), AX; MOVQ AX, 32(SP)")
	for _, some := range []int{8, 1} {
		w.label(fmt.Sprintf("rows%d", some))
		w.p("SUBQ $%d, R8; JLT less%[1]d", some)
		for r := range some {
			w.p("VMOVUPS %d(SI), Z%d; VMOVUPS %d(SI), Z%d", 128*r, 2*r, 128*r+64, 2*r+1)
		}
		w.finish(finish512{rows: some, vectors: 2, pairs: true, acc: func(row, v int) int { return 2*row + v }, suffix: fmt.Sprintf("of%d", some)})
		w.p("ADDQ $%d, SI; MOVQ tile_ldc(DI), AX; MOVQ tile_ldd(DI), CX", 128*some)
		if some == 8 {
			w.p("SHLQ $3, AX; SHLQ $3, CX")
		}
		w.p("ADDQ AX, DX; ADDQ CX, 0(SP); JMP rows%d", some)
		w.label(fmt.Sprintf("less%d", some))
		w.p("ADDQ $%d, R8", some)
	}
	w.p("MOVQ 24(SP), DX; MOVQ 32(SP), AX; MOVQ AX, 0(SP)")
	w.label("stored")
	w.endTile(false)
	w.endAMX()
	w.ret()
	return name
}

// constsAMX loads what splitting and permuting needs.
func (w *printer) constsAMX(kind string, across bool) {
	switch {
	case kind == "Split":
		w.p("VPBROADCASTD ·splits+0(SB), Z31; VPBROADCASTD ·splits+4(SB), Z28")
		if across {
			w.p("VMOVDQU32 ·evens(SB), Z30; VMOVDQU32 ·odds(SB), Z29")
		}
	case !across:
		w.p("VMOVDQU16 ·interleave(SB), Z31")
	}
}

// splitAMX prints the three parts of the pairs (e, o) to DI + at, + at + amxPart, … : x = x₁ + x₂ + x₃, each the bfloat16 nearest to what is
// left. It uses the two registers from tmp on.
func (w *printer) splitAMX(e, o, tmp, at int) {
	for part := range 2 {
		w.p("VPADDD Z31, Z%d, Z%d; VPADDD Z31, Z%d, Z%d", e, tmp, o, tmp+1)
		w.p("VPANDD Z28, Z%[1]d, Z%[1]d; VPANDD Z28, Z%[2]d, Z%[2]d", tmp, tmp+1)
		w.p("VSUBPS Z%[1]d, Z%[3]d, Z%[3]d; VSUBPS Z%[2]d, Z%[4]d, Z%[4]d", tmp, tmp+1, e, o)
		w.p("VPSRLD $16, Z%[1]d, Z%[1]d; VPORD Z%[1]d, Z%[2]d, Z%[1]d; VMOVDQU32 Z%[1]d, %[3]d(DI)", tmp, tmp+1, at+amxPart*part)
	}
	w.p("VPSRLD $16, Z%[1]d, Z%[1]d; VPTERNLOGD $0xf8, Z28, Z%[2]d, Z%[1]d; VMOVDQU32 Z%[1]d, %[3]d(DI)", e, o, at+amxPart*2)
}

func partsAMX(kind string) int {
	if kind == "Split" {
		return 3
	}
	return 1
}

// turnStored prints the transposition of tiles that have been stored at DI.
func (w *printer) turnStored(kind string) {
	for part := range partsAMX(kind) {
		for i := range 16 {
			w.p("VMOVUPS %d(DI), Z%d", amxPart*part+64*i, i)
		}
		w.transpose16()
		w.storeLines(amxPart * part)
	}
}

func (w *printer) storeLines(at int) {
	for i := range 16 {
		w.p("VMOVUPS Z%d, %d(DI)", i, at+64*i)
	}
}

// packAcrossAMX prints the packing of 16 lanes whose elements are adjacent to tiles of rows of 32 of them, or transposed: of words of two.
func (w *printer) packAcrossAMX(kind string, turn bool) string {
	name := "packAMXAcross" + kind
	if turn {
		name += "Turned"
	}
	bytes := 2
	if kind != "BF16" {
		bytes = 4
	}
	w.text(name, "a *amxPack", 0, 8)
	w.p("MOVQ a+0(FP), DX; MOVQ amxPack_dst(DX), DI; LEAQ amxPack_rows(DX), SI; MOVQ amxPack_n(DX), CX; MOVQ amxPack_step(DX), R8; XORQ BX, BX")
	w.constsAMX(kind, true)
	w.p("KXNORD K0, K0, K1; KXNORD K0, K0, K2")
	w.label("loop")
	w.p("SUBQ $32, CX; JGE whole; LEAQ 32(CX), R9; MOVQ $-1, AX; SHLXQ R9, AX, AX; NOTQ AX; KMOVD AX, K1; SHRQ $16, AX; KMOVW AX, K2")
	w.label("whole")
	for i := range 16 {
		w.p("MOVQ %d(SI), AX", 8*i)
		switch kind {
		case "BF16":
			w.p("VMOVDQU16.Z (AX)(BX*1), K1, Z%d", i)
			if !turn {
				w.p("VMOVDQU16 Z%d, %d(DI)", i, 64*i)
			}
		case "Round":
			w.p("VMOVUPS.Z (AX)(BX*1), K1, Z16; VMOVUPS.Z 64(AX)(BX*1), K2, Z17")
			w.cvt2bf16(16, 17, i)
			if !turn {
				w.p("VMOVDQU16 Z%d, %d(DI)", i, 64*i)
			}
		default:
			r := i % 4 * 5
			w.p("VMOVUPS.Z (AX)(BX*1), K1, Z%d; VMOVUPS.Z 64(AX)(BX*1), K2, Z%d; VMOVAPS Z%[1]d, Z%[3]d", r, r+1, r+2)
			w.p("VPERMT2PS Z%[2]d, Z30, Z%[1]d; VPERMT2PS Z%[2]d, Z29, Z%[3]d", r, r+1, r+2)
			w.splitAMX(r, r+2, r+3, 64*i)
		}
	}
	switch {
	case turn && kind == "Split":
		w.turnStored(kind)
		w.constsAMX(kind, true)
	case turn:
		w.transpose16()
		w.storeLines(0)
	}
	w.p("ADDQ R8, DI; ADDQ $%d, BX; TESTQ CX, CX; JG loop", 32*bytes)
	w.ret()
	return name
}

// packAlongAMX prints the packing of groups of 16 adjacent lanes in up to 32 steps to tiles of words of two steps, or transposed.
func (w *printer) packAlongAMX(kind string, turn bool) string {
	name := "packAMXAlong" + kind
	if turn {
		name += "Turned"
	}
	w.text(name, "a *amxPack", 0, 8)
	w.p("MOVQ a+0(FP), DX; MOVQ amxPack_dst(DX), DI; MOVQ amxPack_rows(DX), SI; MOVQ amxPack_ld(DX), R9; MOVQ amxPack_groups(DX), R10")
	w.p("MOVQ amxPack_nextSrc(DX), R11; MOVQ amxPack_nextDst(DX), R12; MOVQ amxPack_mask(DX), AX; KMOVW AX, K1; LEAQ (R9)(R9*1), R15")
	w.constsAMX(kind, false)
	pair := func(p, low, high int) { // stored at 64p(DI), or in Zp
		dst := 16 + p%4
		if turn && kind != "Split" {
			dst = p
		}
		switch kind {
		case "BF16":
			w.p("VMOVDQU16.Z (AX), K%d, Y%d; VMOVDQU16.Z (AX)(R9*1), K%d, Y20; VINSERTI64X4 $1, Y20, Z%[2]d, Z%[2]d; VPERMW Z%[2]d, Z31, Z%[2]d", low, dst, high)
		case "Round":
			w.p("VMOVUPS.Z (AX), K%d, Z20; VMOVUPS.Z (AX)(R9*1), K%d, Z21", low, high)
			w.cvt2bf16(20, 21, dst)
			w.p("VPERMW Z%[1]d, Z31, Z%[1]d", dst)
		default:
			r := p % 4 * 4
			w.p("VMOVUPS.Z (AX), K%d, Z%d; VMOVUPS.Z (AX)(R9*1), K%d, Z%d", low, r, high, r+1)
			w.splitAMX(r, r+1, r+2, 64*p)
		}
		if kind != "Split" && !turn {
			w.p("VMOVDQU16 Z%d, %d(DI)", dst, 64*p)
		}
		w.p("ADDQ R15, AX")
	}
	w.label("group")
	w.p("MOVQ SI, AX; MOVQ amxPack_n(DX), CX; CMPQ CX, $32; JLT few")
	for p := range 16 {
		pair(p, 1, 1)
	}
	w.label("turn")
	switch {
	case turn && kind == "Split":
		w.turnStored(kind)
		w.constsAMX(kind, false)
	case turn:
		w.transpose16()
		w.storeLines(0)
	}
	w.p("ADDQ R11, SI; ADDQ R12, DI; DECQ R10; JNZ group")
	w.ret()
	w.label("few")
	for p := range 16 {
		// K2 is for the lower of two steps, K3 for the upper; what is beyond the last is 0.
		w.p("KMOVW K1, K2; KMOVW K1, K3; CMPQ CX, $%d; JGE both%d; KXORW K3, K3, K3; CMPQ CX, $%d; JGE both%[2]d; KXORW K2, K2, K2", 2*p+2, p, 2*p+1)
		w.label(fmt.Sprintf("both%d", p))
		pair(p, 2, 3)
	}
	w.p("JMP turn")
	return name
}

// peakAMX prints a loop of 8 independent products of tiles a step.
func (w *printer) peakAMX() {
	w.text("peakAMX", "steps int", 0, 8)
	w.p("MOVQ steps+0(FP), CX")
	w.beginAMX()
	for i := range 8 {
		w.zeroTile(i)
	}
	w.label("loop")
	for i := range 8 {
		w.dpTile(tmmA+i/2%2, tmmB+i%2, i%4)
	}
	w.p("DECQ CX; JNZ loop")
	w.endAMX()
	w.p("RET")
}
