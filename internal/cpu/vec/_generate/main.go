// Command generate writes the assembly of package vec, kernels_amd64.s, and its declarations, kernels_amd64.go.
//
//	go generate ./internal/cpu/vec
//
// It is a printer. A kernel's body is written once, in terms of vector registers numbered from 0, and printed for
// AVX-512 (16 lanes) and for AVX2 with FMA (8 lanes); each printing holds a loop over whole vectors and, where slices
// have any length, a masked copy of its body for the rest, so that nothing outside the slices is touched.
//
// The Go assembler's operand order is the reverse of Intel's: sources first, destination last.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"go/format"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// reg is a vector register.
type reg int

// Registers that have a fixed role. The rest, below rMask, is free for bodies; scalars count down from the last.
const (
	rMask  reg = 10 // AVX2: lanes of the rest. AVX-512 uses K1.
	rExpLo reg = 11
	rExpHi reg = 12
	rHigh  reg = 13 // AVX-512: where the high halves of lanes are, for storeBF16
	rRound reg = 14 // AVX-512: scratch of storeBF16
)

// gen prints for one instruction set.
type gen struct {
	asm, decls *bytes.Buffer
	wide       bool // AVX-512
	masked     bool // printing the rest
	consts     *constants
	scalarAt   []string // where the scalar parameters are on the stack
}

// constants are float32 numbers in read-only memory, each eight times: AVX2 reads all, AVX-512 broadcasts one.
type constants struct {
	index map[uint32]int
	bits  []uint32
}

func (c *constants) at(bits uint32) int {
	i, ok := c.index[bits]
	if !ok {
		i = len(c.bits)
		c.index[bits] = i
		c.bits = append(c.bits, bits)
	}
	return 32 * i
}

// konst is an operand: a constant in memory.
type konst uint32

func k(f float64) konst { return konst(math.Float32bits(float32(f))) }

func (g *gen) lanes() int {
	if g.wide {
		return 16
	}
	return 8
}

func (g *gen) suffix() string {
	if g.wide {
		return "512"
	}
	return "256"
}

func (g *gen) p(format string, args ...any) { fmt.Fprintf(g.asm, "\t"+format+"\n", args...) }

func (g *gen) label(l string) { fmt.Fprintf(g.asm, "%s:\n", l) }

func (g *gen) r(r reg) string {
	if g.wide {
		return fmt.Sprintf("Z%d", r)
	}
	return fmt.Sprintf("Y%d", r)
}

// scalar returns the register that holds scalar parameter i.
func (g *gen) scalar(i int) reg {
	if g.wide {
		return reg(31 - i)
	}
	return reg(15 - i)
}

// kept is scalar for kernels with more parameters than AVX2 has registers: there it is loaded into tmp at each use.
func (g *gen) kept(i int, tmp reg) reg {
	if g.wide {
		return g.scalar(i)
	}
	g.p("VBROADCASTSS %s, %s", g.scalarAt[i], g.r(tmp))
	return tmp
}

// op prints an instruction whose first operand may be a register, a constant or memory, and the others registers.
func (g *gen) op(name string, first any, rest ...reg) {
	var s string
	switch x := first.(type) {
	case reg:
		s = g.r(x)
	case konst:
		if g.wide {
			name += ".BCST"
		}
		s = fmt.Sprintf("·constants+%d(SB)", g.consts.at(uint32(x)))
	case string:
		s = x
	}
	for _, r := range rest {
		s += ", " + g.r(r)
	}
	g.p("%s %s", name, s)
}

// set loads a constant.
func (g *gen) set(dst reg, c konst) {
	at := fmt.Sprintf("·constants+%d(SB)", g.consts.at(uint32(c)))
	if g.wide {
		g.p("VBROADCASTSS %s, %s", at, g.r(dst))
	} else {
		g.p("VMOVUPS %s, %s", at, g.r(dst))
	}
}

func (g *gen) zero(dst reg) {
	if g.wide {
		g.p("VPXORD %[1]s, %[1]s, %[1]s", g.r(dst))
	} else {
		g.p("VXORPS %[1]s, %[1]s, %[1]s", g.r(dst))
	}
}

// Arithmetic: dst first, then operands in reading order.

func (g *gen) mov(dst, a reg)            { g.p("VMOVAPS %s, %s", g.r(a), g.r(dst)) }
func (g *gen) add(dst, a reg, b any)     { g.op("VADDPS", b, a, dst) }
func (g *gen) sub(dst, a reg, b any)     { g.op("VSUBPS", b, a, dst) }
func (g *gen) mul(dst, a reg, b any)     { g.op("VMULPS", b, a, dst) }
func (g *gen) div(dst, a reg, b any)     { g.op("VDIVPS", b, a, dst) }
func (g *gen) muladd(dst, a reg, b any)  { g.op("VFMADD231PS", b, a, dst) }  // dst += a·b
func (g *gen) mulsub(dst, a reg, b any)  { g.op("VFNMADD231PS", b, a, dst) } // dst −= a·b
func (g *gen) horner(dst, x reg, c any)  { g.op("VFMADD213PS", c, x, dst) }  // dst = dst·x + c
func (g *gen) nhorner(dst, x reg, c any) { g.op("VFNMADD213PS", c, x, dst) } // dst = c − dst·x
func (g *gen) and(dst, a reg, b any)     { g.op("VANDPS", b, a, dst) }
func (g *gen) or(dst, a reg, b any)      { g.op("VORPS", b, a, dst) }

// maxNaN computes the larger of a and b, or b if either is NaN; minNaN likewise.
func (g *gen) maxNaN(dst, a, b reg) { g.op("VMAXPS", b, a, dst) }
func (g *gen) minNaN(dst, a, b reg) { g.op("VMINPS", b, a, dst) }

// pick computes dst = a < b ? yes : no (comparisons with NaN are false). AVX2 uses tmp, which may be dst.
func (g *gen) pick(dst, a reg, b any, yes, no, tmp reg) {
	if g.wide {
		s, bcst := "", ""
		switch x := b.(type) {
		case reg:
			s = g.r(x)
		case konst:
			s, bcst = fmt.Sprintf("·constants+%d(SB)", g.consts.at(uint32(x))), ".BCST"
		}
		g.p("VCMPPS%s $1, %s, %s, K2", bcst, s, g.r(a))
		g.p("VBLENDMPS %s, %s, K2, %s", g.r(yes), g.r(no), g.r(dst))
		return
	}
	s := ""
	switch x := b.(type) {
	case reg:
		s = g.r(x)
	case konst:
		s = fmt.Sprintf("·constants+%d(SB)", g.consts.at(uint32(x)))
	}
	g.p("VCMPPS $1, %s, %s, %s", s, g.r(a), g.r(tmp))
	g.p("VBLENDVPS %s, %s, %s, %s", g.r(tmp), g.r(yes), g.r(no), g.r(dst))
}

// load reads a vector, or its part with zeros elsewhere.
func (g *gen) load(at string, dst reg) {
	switch {
	case !g.masked:
		g.p("VMOVUPS %s, %s", at, g.r(dst))
	case g.wide:
		g.p("VMOVUPS.Z %s, K1, %s", at, g.r(dst))
	default:
		g.p("VMASKMOVPS %s, %s, %s", at, g.r(rMask), g.r(dst))
	}
}

func (g *gen) store(src reg, at string) {
	switch {
	case !g.masked:
		g.p("VMOVUPS %s, %s", g.r(src), at)
	case g.wide:
		g.p("VMOVUPS %s, K1, %s", g.r(src), at)
	default:
		g.p("VMASKMOVPS %s, %s, %s", g.r(src), g.r(rMask), at)
	}
}

// loadBF16 reads a vector of bfloat16, or its part with zeros elsewhere. AVX-512 only.
func (g *gen) loadBF16(at string, dst reg) {
	if g.masked {
		g.p("VPMOVZXWD.Z %s, K1, %s", at, g.r(dst))
	} else {
		g.p("VPMOVZXWD %s, %s", at, g.r(dst))
	}
	g.p("VPSLLD $16, %[1]s, %[1]s", g.r(dst))
}

// roundBF16 computes t, whose high halves are those of x rounded as toBF16x rounds: u + 0x7fff, + 1 if the bit to become
// the last is set; NaNs become u | 0x400000. It costs less than VCVTNEPS2BF16 and its care for denormal numbers, which
// that takes for 0. AVX-512 only.
func (g *gen) roundBF16(x, t reg, nan bool) {
	at := func(bits uint32) string { return fmt.Sprintf("·constants+%d(SB)", g.consts.at(bits)) }
	g.op("VPADDD", konst(0x7fff), x, t)
	g.p("VPTESTMD.BCST %s, %s, K3; VPADDD.BCST %s, %s, K3, %s", at(1<<16), g.r(x), at(1), g.r(t), g.r(t))
	if nan {
		g.p("VCMPPS $3, %[1]s, %[1]s, K3; VPORD.BCST %[2]s, %[1]s, K3, %[3]s", g.r(x), at(0x400000), g.r(t))
	}
}

// storeBF16 writes src rounded, whole vectors by mov. AVX-512 only, after setupBF16.
func (g *gen) storeBF16(src reg, at, mov string) {
	g.roundBF16(src, rRound, true)
	g.p("VPERMW %[1]s, %[2]s, %[1]s", g.r(rRound), g.r(rHigh))
	if g.masked {
		g.p("VMOVDQU16 Y%d, K1, %s", rRound, at)
	} else {
		g.p("%s Y%d, %s", mov, rRound, at)
	}
}

// setupBF16 loads what storeBF16 needs.
func (g *gen) setupBF16() { g.p("VMOVDQU ·high(SB), Y%d", rHigh) }

// keepLanes clears the lanes of x that the rest does not have.
func (g *gen) keepLanes(x reg) {
	switch {
	case !g.masked:
	case g.wide:
		g.p("VMOVAPS.Z %[1]s, K1, %[1]s", g.r(x))
	default:
		g.p("VANDPS %[1]s, %[2]s, %[2]s", g.r(rMask), g.r(x))
	}
}

// mask makes the mask of the rest: the low bits of CX count its lanes.
func (g *gen) mask() {
	if g.wide {
		g.mask512(g.lanes())
		return
	}
	g.p("ANDQ $%d, CX", g.lanes()-1)
	g.p("JZ done")
	g.p("LEAQ ·lanes(SB), R13; SHLQ $2, CX; SUBQ CX, R13")
	g.p("VMOVUPS 32(R13), %s", g.r(rMask))
}

// mask512 is mask for vectors of 16 or 32 elements.
func (g *gen) mask512(lanes int) {
	g.p("ANDQ $%d, CX", lanes-1)
	g.p("JZ done")
	g.p("MOVL $1, R13; SHLL CX, R13; DECL R13; KMOVD R13, K1")
}

// fold adds (or takes the maximum of) the lanes of x into the low lane, using tmp.
func (g *gen) fold(op string, x, tmp reg) {
	if g.wide {
		g.p("VEXTRACTF64X4 $1, Z%d, Y%d; %s Y%d, Y%d, Y%d", x, tmp, op, tmp, x, x)
	}
	g.p("VEXTRACTF128 $1, Y%d, X%d; %s X%d, X%d, X%d", x, tmp, op, tmp, x, x)
	g.p("VPERMILPS $0x4e, X%d, X%d; %s X%d, X%d, X%d", x, tmp, op, tmp, x, x)
	g.p("VPERMILPS $0xb1, X%d, X%d; %s X%d, X%d, X%d", x, tmp, op, tmp, x, x)
}

var out = flag.String("out", "..", "folder to write to")

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var asm, decls bytes.Buffer
	c := &constants{index: map[uint32]int{}}
	const head = "// Code generated by _generate; DO NOT EDIT.\n\n//go:build !noasm\n\n"
	fmt.Fprint(&decls, head+"package vec\n")
	for _, wide := range []bool{true, false} {
		g := &gen{asm: &asm, decls: &decls, wide: wide, consts: c}
		for _, m := range maps {
			g.mapKernel(m)
		}
		for _, m := range folds {
			g.foldKernel(m)
		}
		if wide {
			g.mapsBF16()
			g.rotateBF16()
		}
		g.dotsNF4()
		g.softmaxTile()
		g.expTile()
		g.scoreGradTile()
		g.scaleRows()
		g.transpose()
		g.tiles()
		g.bf16()
		g.bf16Rows()
		g.philox()
	}
	var file bytes.Buffer
	fmt.Fprint(&file, head+"#include \"textflag.h\"\n#include \"go_asm.h\"\n\n")
	for i, b := range c.bits {
		for j := range 8 {
			fmt.Fprintf(&file, "DATA ·constants+%d(SB)/4, $0x%08x\n", 32*i+4*j, b)
		}
	}
	fmt.Fprintf(&file, "GLOBL ·constants(SB), RODATA|NOPTR, $%d\n", 32*len(c.bits))
	for i := range 16 {
		v := uint32(0)
		if i < 8 {
			v = math.MaxUint32
		}
		fmt.Fprintf(&file, "DATA ·lanes+%d(SB)/4, $0x%08x\n", 4*i, v)
	}
	fmt.Fprint(&file, "GLOBL ·lanes(SB), RODATA|NOPTR, $64\n")
	for i := range 8 {
		fmt.Fprintf(&file, "DATA ·high+%d(SB)/4, $%#08x\n", 4*i, (4*i+3)<<16|(4*i+1))
	}
	fmt.Fprint(&file, "GLOBL ·high(SB), RODATA|NOPTR, $32\n")
	file.Write(asm.Bytes())
	src, err := format.Source(decls.Bytes())
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(*out, "kernels_amd64.go"), src, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(*out, "kernels_amd64.s"), file.Bytes(), 0o644)
}

// pointers are the registers that hold the addresses of slices.
var pointers = []string{"DI", "SI", "BX", "DX", "R8", "R9", "R10", "R11"}

// set is a set of small numbers.
type set uint

func (s set) has(i int) bool { return s>>i&1 != 0 }

// open starts a function of slices, those in half of bfloat16 and the others of float32, and float32 scalars; result is
// empty or one float32 per name. It loads the addresses, the length (the least of the slices') into CX, and the scalars.
func (g *gen) open(name string, slices []string, half set, scalars []string, results []string) {
	size := 24*len(slices) + 4*len(scalars)
	if len(results) > 0 { // results begin at a multiple of 8
		size = (size+7)&^7 + 4*len(results)
	}
	kind := map[bool]string{true: " []uint16", false: " []float32"}
	params := ""
	for i, s := range slices {
		params += s
		if last := i == len(slices)-1; last || half.has(i) != half.has(i+1) {
			params += kind[half.has(i)]
		}
		params += ", "
	}
	params = strings.TrimSuffix(params, ", ")
	if len(scalars) > 0 {
		params += ", " + strings.Join(scalars, ", ") + " float32"
	}
	result := ""
	if len(results) > 0 {
		result = " (" + strings.Join(results, ", ") + " float32)"
	}
	fmt.Fprintf(g.decls, "\n//go:noescape\nfunc %s%s(%s)%s\n", name, g.suffix(), params, result)
	fmt.Fprintf(g.asm, "\nTEXT ·%s%s(SB), NOSPLIT, $0-%d\n", name, g.suffix(), size)
	g.p("MOVQ %s_len+8(FP), CX", slices[0])
	for i, s := range slices {
		g.p("MOVQ %s_base+%d(FP), %s", s, 24*i, pointers[i])
		if i > 0 {
			g.p("MOVQ %s_len+%d(FP), AX; CMPQ AX, CX; CMOVQLT AX, CX", s, 24*i+8)
		}
	}
	g.scalarAt = nil
	for i, s := range scalars {
		at := fmt.Sprintf("%s+%d(FP)", s, 24*len(slices)+4*i)
		g.scalarAt = append(g.scalarAt, at)
		if g.wide || i < 4 {
			g.p("VBROADCASTSS %s, %s", at, g.r(g.scalar(i)))
		}
	}
}

// close ends a function.
func (g *gen) close() {
	g.p("VZEROUPPER")
	g.p("RET")
}
