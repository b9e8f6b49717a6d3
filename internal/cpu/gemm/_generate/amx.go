package main

import (
	"fmt"
	"strings"
)

// Tiles of AMX: TMM0 … TMM3 are a tile of C of 2×2, TMM4 and TMM5 are A's, TMM6 and TMM7 B's.
const (
	tmmA = 4
	tmmB = 6

	amxTile = 1024 // bytes: 16 rows of 64
	amxPart = 2 * amxTile

	folded = 0 // instead of a number of parts
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
	table = "\n// amxFolded is indexed by groups of 16 rows-1 and of 16 columns-1.\nvar amxFolded = [2][2]func(*tile){"
	for rows := 1; rows <= 2; rows++ {
		table += fmt.Sprintf("{%s, %s}, ", w.tileAMX(folded, folded, rows, 1), w.tileAMX(folded, folded, rows, 2))
	}
	fmt.Fprintf(&w.decls, "%s}\n", table)

	table = "\n// Both are indexed by amxKind, the first by whether tiles are transposed, too.\nvar (\n\tpackAMXAcross = [3][2]func(*amxPack){"
	for _, kind := range []string{"BF16", "Round", "Split"} {
		table += fmt.Sprintf("{%s, %s}, ", w.packAcrossAMX(kind, false), w.packAcrossAMX(kind, true))
	}
	table += "}\n\tpackAMXAlong = [3]func(*amxPack){"
	for _, kind := range []string{"BF16", "Round", "Split"} {
		table += w.packAlongAMX(kind) + ", "
	}
	fmt.Fprintf(&w.decls, "%s}\n)\n", table)
	w.turnAMX()
	w.foldAMX()
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
	if partsA == folded {
		name = fmt.Sprintf("tileAMXFoldedx%dx%d", 16*rows, 16*cols)
	}
	// Pairs of parts whose product counts, such that consecutive pairs share one, and the largest comes last.
	var pairs [][2]int
	switch {
	case partsA == folded:
		pairs = [][2]int{{1, 2}, {0, 1}, {0, 0}}
		partsA, partsB = 3, 3
	case partsA == 1 && partsB == 1:
		pairs = [][2]int{{0, 0}}
	case partsB == 1:
		pairs = [][2]int{{2, 0}, {1, 0}, {0, 0}}
	case partsA == 1:
		pairs = [][2]int{{0, 2}, {0, 1}, {0, 0}}
	default:
		pairs = [][2]int{{2, 0}, {1, 0}, {1, 1}, {0, 1}, {0, 2}, {0, 0}}
	}
	// 0(SP) … 16(SP) are as in other kernels (see beginTiles), 24(SP) and 32(SP) are C and d while DX and 0(SP) are something else,
	// 40(SP) is the row of what is fetched, and 48(SP) of the sums to load.
	w.text(name, "t *tile", 56, 8)
	w.p("MOVQ t+0(FP), DI; MOVQ tile_fetch(DI), R12; MOVQ R12, 40(SP); MOVQ tile_fetchLines(DI), R15; MOVQ tile_load(DI), AX; MOVQ AX, 48(SP)")
	w.beginAMX()
	w.p("MOVQ tile_a(DI), R13; MOVQ tile_b(DI), R14; MOVQ tile_c(DI), DX")
	w.beginTiles()
	baseA := [2]string{"SI", "AX"}
	eachTile := func(f func(i, j int)) {
		for i := range rows {
			for j := range cols {
				f(i, j)
			}
		}
	}
	w.label("tile")
	w.p("MOVQ DX, 24(SP); MOVQ 48(SP), SI; TESTQ SI, SI; JZ zero; MOVQ tile_ldLoad(DI), CX; MOVQ CX, AX; SHLQ $4, AX; ADDQ SI, AX")
	eachTile(func(i, j int) { w.loadTile(2*i+j, baseA[i], "CX", 64*j) })
	w.p("ADDQ tile_nextLoad(DI), SI; MOVQ SI, 48(SP); JMP loaded")
	w.label("zero")
	eachTile(func(i, j int) { w.zeroTile(2*i + j) })
	w.label("loaded")
	w.p("MOVQ tile_k(DI), R8; MOVQ R13, SI; MOVQ R14, BX; MOVQ tile_lda(DI), DX; MOVQ $64, CX")
	w.p("MOVQ tile_groupA(DI), AX; ADDQ SI, AX")
	// Rows of C are fetched while the sums are made.
	w.p("MOVQ 24(SP), R11; MOVQ tile_ldc(DI), R10")
	w.p("TESTQ $const_toD, tile_flags(DI); JZ fetch; MOVQ 0(SP), R11; MOVQ tile_ldd(DI), R10")
	w.label("fetch")
	w.label("step")
	lastA, lastB := -1, -1
	// The lines of the next step of B are fetched into L1, and those of A where they are adjacent.
	var lines []string
	for i := range 32 * max(partsA, partsB) {
		if i < 32*partsB {
			lines = append(lines, fmt.Sprintf("PREFETCHT0 %d(BX)", amxPart*partsB+64*i))
		}
		if i < 32*partsA && len(pairs) > 1 {
			lines = append(lines, fmt.Sprintf("PREFETCHT0 %d(SI)", amxPart*partsA+64*i))
		}
	}
	perProduct := (len(lines) + len(pairs)*rows*cols - 1) / (len(pairs) * rows * cols)
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
				some := min(perProduct, len(lines))
				w.p("%s", strings.Join(lines[:some], "; "))
				lines = lines[some:]
			}
		}
		lastA, lastB = a, b
	}
	w.p("MOVQ tile_fetchesC(DI), R9; TESTQ R9, R9; JZ fetchedC")
	w.label("lineC")
	w.p("PREFETCHT0 (R11); PREFETCHT0 64(R11); ADDQ R10, R11; DECQ R9; JNZ lineC")
	w.label("fetchedC")
	w.p("MOVQ tile_fetches(DI), R9; TESTQ R9, R9; JZ fetched")
	w.label("line")
	w.p("PREFETCHT1 (R12); ADDQ $64, R12; DECQ R15; JNZ next; MOVQ tile_fetchLines(DI), R15; MOVQ 40(SP), R12; ADDQ tile_fetchLD(DI), R12; MOVQ R12, 40(SP)")
	w.label("next")
	w.p("DECQ R9; JNZ line")
	w.label("fetched")
	w.p("ADDQ tile_stepA(DI), SI; ADDQ tile_stepA(DI), AX; ADDQ $%d, BX; DECQ R8; JNZ step", amxPart*partsB)

	w.p("MOVQ 24(SP), DX; CMPQ tile_direct(DI), $0; JEQ scratch")
	w.p("MOVQ tile_ldc(DI), CX; MOVQ CX, AX; SHLQ $4, AX; ADDQ DX, AX; MOVQ DX, SI")
	eachTile(func(i, j int) { w.storeTile(2*i+j, baseA[i], "CX", 64*j) })
	w.p("JMP stored")
	w.label("scratch")
	w.p("MOVQ tile_scratch(DI), SI; MOVQ $128, CX")
	eachTile(func(i, j int) { w.storeTile(2*i+j, "SI", "CX", 2048*i+64*j) })
	w.p("CMPQ tile_turn(DI), $0; JEQ finish")
	eachTile(func(i, j int) {
		for r := range 16 {
			w.p("VMOVUPS %d(SI), Z%d", 2048*i+64*j+128*r, r)
		}
		w.transpose16()
		for r := range 16 {
			w.p("VMOVUPS Z%d, %d(SI)", r, 4096+2048*j+64*i+128*r)
		}
	})
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

// splitAMX prints the three parts of the pairs (e, o) to base + at, + at + amxPart, … : x = x₁ + x₂ + x₃, each the bfloat16 nearest to what is
// left. It uses the two registers from tmp on.
func (w *printer) splitAMX(e, o, tmp int, base string, at int) {
	for part := range 2 {
		w.p("VPADDD Z31, Z%d, Z%d; VPADDD Z31, Z%d, Z%d", e, tmp, o, tmp+1)
		w.p("VPANDD Z28, Z%[1]d, Z%[1]d; VPANDD Z28, Z%[2]d, Z%[2]d", tmp, tmp+1)
		w.p("VSUBPS Z%[1]d, Z%[3]d, Z%[3]d; VSUBPS Z%[2]d, Z%[4]d, Z%[4]d", tmp, tmp+1, e, o)
		w.p("VPSRLD $16, Z%[1]d, Z%[1]d; VPORD Z%[1]d, Z%[2]d, Z%[1]d; VMOVDQU32 Z%[1]d, %[3]d(%[4]s)", tmp, tmp+1, at+amxPart*part, base)
	}
	w.p("VPSRLD $16, Z%[1]d, Z%[1]d; VPTERNLOGD $0xf8, Z28, Z%[2]d, Z%[1]d; VMOVDQU32 Z%[1]d, %[3]d(%[4]s)", e, o, at+amxPart*2, base)
}

// turnStored prints the transposition of a tile that has been stored at DI + at.
func (w *printer) turnStored(at int) {
	for i := range 16 {
		w.p("VMOVUPS %d(DI), Z%d", at+64*i, i)
	}
	w.transpose16()
	w.storeLines(at)
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
		w.p("MOVQ %d(SI), AX; PREFETCHT0 %d(AX)(BX*1)", 8*i, 128*bytes)
		if bytes == 4 {
			w.p("PREFETCHT0 576(AX)(BX*1)")
		}
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
			w.splitAMX(r, r+2, r+3, "DI", 64*i)
		}
	}
	switch {
	case turn && kind == "Split":
		for part := range 3 {
			w.turnStored(amxPart * part)
		}
		w.constsAMX(kind, true)
	case turn:
		w.transpose16()
		w.storeLines(0)
	}
	w.p("ADDQ R8, DI; ADDQ $%d, BX; TESTQ CX, CX; JG loop", 32*bytes)
	w.ret()
	return name
}

// packAlongAMX prints the packing of adjacent lanes, in panels of 32, to tiles of words of two steps. Panels are the inner loop, so that memory is
// read as it lies.
func (w *printer) packAlongAMX(kind string) string {
	name := "packAMXAlong" + kind
	bytes := 2
	if kind != "BF16" {
		bytes = 4
	}
	w.text(name, "a *amxPack", 0, 8)
	w.p("MOVQ a+0(FP), DX; MOVQ amxPack_dst(DX), DI; MOVQ amxPack_rows(DX), SI; MOVQ amxPack_ld(DX), R9; MOVQ amxPack_n(DX), CX")
	w.p("MOVQ amxPack_nextDst(DX), R12; MOVQ amxPack_step(DX), R8; XORQ R10, R10")
	w.constsAMX(kind, false)
	w.label("pair")
	// K1 and K2 are the lanes of two groups in the lower step, K3 and K4 in the upper; what is beyond the last step is zero.
	masks := func(label string) {
		w.p("KMOVW AX, K1; SHRQ $16, AX; KMOVW AX, K2; KMOVW K1, K3; KMOVW K2, K4; CMPQ CX, $2; JGE %s", label)
		w.p("KXORW K3, K3, K3; KXORW K4, K4, K4; CMPQ CX, $1; JGE %s; KXORW K1, K1, K1; KXORW K2, K2, K2", label)
		w.label(label)
	}
	// What comes two pairs later is fetched row by row, in the order of memory, since that is what hardware then does by itself.
	w.p("MOVQ SI, R14; MOVQ DI, BX; MOVQ amxPack_panels(DX), R13; MOVQ $-1, AX; LEAQ (SI)(R9*4), R11; MOVQ R13, R15; INCQ R15; SHRQ $1, R15")
	masks("both")
	w.label("panel")
	for line := range 2 * bytes / 2 {
		w.p("PREFETCHT1 %d(R11)", 64*line)
	}
	w.p("ADDQ $%d, R11; DECQ R15; JNZ row; LEAQ (SI)(R9*4), R11; ADDQ R9, R11", 64*2*bytes/2)
	w.label("row")
	w.p("CMPQ R13, $1; JNE whole; MOVQ amxPack_mask(DX), AX")
	masks("whole")
	for group := range 2 {
		at, to := fmt.Sprintf("%d(R14)", 16*bytes*group), amxTile*group
		low, high := 1+group, 3+group
		switch kind {
		case "BF16":
			r := 16 + 2*group
			w.p("VMOVDQU16.Z %s, K%d, Y%d; VMOVDQU16.Z %[1]s(R9*1), K%[4]d, Y%[5]d; VINSERTI64X4 $1, Y%[5]d, Z%[3]d, Z%[3]d; VPERMW Z%[3]d, Z31, Z%[3]d", at, low, r, high, r+1)
			w.p("VMOVDQU16 Z%d, %d(BX)", r, to)
		case "Round":
			r := 16 + 3*group
			w.p("VMOVUPS.Z %s, K%d, Z%d; VMOVUPS.Z %[1]s(R9*1), K%[4]d, Z%[5]d", at, low, r, high, r+1)
			w.cvt2bf16(r, r+1, r+2)
			w.p("VPERMW Z%[1]d, Z31, Z%[1]d; VMOVDQU16 Z%[1]d, %d(BX)", r+2, to)
		default:
			r := 4 * group
			w.p("VMOVUPS.Z %s, K%d, Z%d; VMOVUPS.Z %[1]s(R9*1), K%[4]d, Z%[5]d", at, low, r, high, r+1)
			w.splitAMX(r, r+1, r+2, "BX", to)
		}
	}
	w.p("ADDQ $%d, R14; ADDQ R12, BX; DECQ R13; JNZ panel", 32*bytes)
	w.p("LEAQ (SI)(R9*2), SI; ADDQ $64, DI; SUBQ $2, CX; INCQ R10; TESTQ $15, R10; JNZ pair; ADDQ R8, DI; SUBQ $1024, DI; TESTQ CX, CX; JG pair")
	w.ret()
	return name
}

// turnAMX prints the transposition of n adjacent tiles.
func (w *printer) turnAMX() {
	w.text("turnAMX", "tiles unsafe.Pointer, n int", 0, 16)
	w.p("MOVQ tiles+0(FP), DI; MOVQ n+8(FP), CX")
	w.label("tile")
	w.turnStored(0)
	w.p("ADDQ $%d, DI; DECQ CX; JNZ tile", amxTile)
	w.ret()
}

// foldAMX prints how three parts of up to 16 elements of k become two tiles of the first operand, in so many panels, or three of the second
// (see package gemm's amx.go).
func (w *printer) foldAMX() {
	w.text("foldFirstAMX", "tiles unsafe.Pointer, panels, nextPanel int", 0, 24)
	w.p("MOVQ tiles+0(FP), DI; MOVQ panels+8(FP), CX; MOVQ nextPanel+16(FP), R8")
	w.label("panel")
	for row := range 32 {
		at := 64 * row
		w.p("VMOVDQU %d(DI), Y0; VMOVDQU %d(DI), Y1; VMOVDQU %d(DI), Y2", at, at+amxPart, at+2*amxPart)
		w.p("VMOVDQU Y1, %d(DI); VMOVDQU Y0, %d(DI); VMOVDQU Y2, %d(DI)", at+32, at+amxPart, at+amxPart+32)
	}
	w.p("ADDQ R8, DI; DECQ CX; JNZ panel")
	w.ret()
	w.text("foldSecondAMX", "tiles unsafe.Pointer, panels, nextPanel int", 0, 24)
	w.p("MOVQ tiles+0(FP), DI; MOVQ panels+8(FP), CX; MOVQ nextPanel+16(FP), R8")
	w.label("panel")
	for group := range 2 {
		for row := range 8 {
			at := amxTile*group + 64*row
			w.p("VMOVDQU32 %d(DI), Z0; VMOVDQU32 %d(DI), Z1; VMOVDQU32 Z0, %d(DI); VMOVDQU32 Z1, %d(DI); VMOVDQU32 Z0, %d(DI)",
				at, at+amxPart, at+512, at+amxPart+512, at+2*amxPart+512)
		}
	}
	w.p("ADDQ R8, DI; DECQ CX; JNZ panel")
	w.ret()
}

// peakAMX prints so many products of tiles, eight at a time as long as there are as many, into four tiles in turn.
func (w *printer) peakAMX() {
	w.text("peakAMX", "products int", 0, 8)
	w.p("MOVQ products+0(FP), CX")
	w.beginAMX()
	for i := range 8 {
		w.zeroTile(i)
	}
	w.p("SUBQ $8, CX; JLT few")
	w.label("loop")
	for i := range 8 {
		w.dpTile(tmmA+i/2%2, tmmB+i%2, i%4)
	}
	w.p("SUBQ $8, CX; JGE loop")
	w.label("few")
	w.p("ADDQ $8, CX; JZ done")
	w.label("one")
	w.dpTile(tmmA, tmmB, 0)
	w.p("DECQ CX; JNZ one")
	w.label("done")
	w.endAMX()
	w.p("RET")
}
