package main

import (
	"fmt"
	"math"
	"slices"
)

var negInf = math.Inf(-1)

// mapKernel is an element-wise kernel: the first outs slices are written from registers 0 … outs−1, which body computes
// from the inputs, loaded into registers in0, in0+1, …. An output that is read, too, is in ins again (by its index).
type mapKernel struct {
	name    string
	slices  []string
	half    set // outputs of bfloat16, aligned to 32 bytes, which are written past the caches
	ahead   int // bytes by which to prefetch inputs that are in main memory
	outs    int
	ins     []int // slices to load, into registers in0 on
	in0     reg
	scalars []string
	exp     bool // body uses exp
	body    func(g *gen)
}

const in0 = 2 // most kernels compute one or two outputs in registers 0 and 1

func (g *gen) mapKernel(m mapKernel) {
	g.open(m.name, m.slices, m.half, m.scalars, nil)
	if m.exp {
		g.expSetup()
	}
	if m.half != 0 {
		g.setupBF16()
	}
	g.p("XORL AX, AX; MOVQ CX, R12; ANDQ $-%d, R12", g.lanes())
	g.p("JZ rest")
	once := func() {
		for i, s := range m.ins {
			if m.ahead > 0 && !g.masked {
				g.p("PREFETCHT0 %d(%s)(AX*4)", m.ahead, pointers[s])
			}
			g.load(fmt.Sprintf("(%s)(AX*4)", pointers[s]), m.in0+reg(i))
		}
		m.body(g)
		for i := range m.outs {
			if m.half.has(i) {
				g.storeBF16(reg(i), fmt.Sprintf("(%s)(AX*2)", pointers[i]), "VMOVNTDQ")
			} else {
				g.store(reg(i), fmt.Sprintf("(%s)(AX*4)", pointers[i]))
			}
		}
	}
	g.p("PCALIGN $32")
	g.label("loop")
	once()
	g.p("ADDQ $%d, AX; CMPQ AX, R12; JB loop", g.lanes())
	g.label("rest")
	g.mask()
	g.masked = true
	once()
	g.masked = false
	g.label("done")
	if m.half != 0 {
		g.p("SFENCE")
	}
	g.close()
}

// expSetup loads the bounds of exp's argument, in registers because they must be the operand that loses to a NaN.
func (g *gen) expSetup() {
	g.set(rExpLo, k(expMin))
	g.set(rExpHi, k(89))
}

const expMin = -87.33654 // the logarithm of the smallest normal number

// The coefficients are those of scalar.go, where they are explained.
var (
	expP  = []float64{0.5, 0.166665181517601, 0.04166620224714279, 0.008369024842977524, 0.0013950724387541413}
	tanhQ = []float64{-0.3333326280117035, 0.1333089917898178, -0.05369296297430992, 0.02048330195248127, -0.005528620444238186}
	erfR  = []float64{0.12837916612625122, -0.3761262595653534, 0.11283600330352783, -0.026854444295167923, 0.005189535208046436, -0.0008020841632969677, 7.889120024628937e-05}
	erfS  = []float64{-1.128584861755371, -0.6354754567146301, -0.10554734617471695, 0.02296822890639305, -0.003108497941866517, 0.00011303170322207734, 3.332531559863128e-05, -3.9467427086492535e-06}
)

const (
	geluC      = 0.7978845608028654
	geluA      = 0.044715
	sqrtHalf   = 0.70710678118654752
	invSqrt2Pi = 0.39894228040143268
	signBit    = konst(0x80000000)
	absBits    = konst(0x7fffffff)
)

// poly evaluates the polynomial with coefficients c at x into dst.
func (g *gen) poly(dst, x reg, c []float64) {
	g.set(dst, k(c[len(c)-1]))
	for i := len(c) - 2; i >= 0; i-- {
		g.horner(dst, x, k(c[i]))
	}
}

// exp replaces x by eˣ, using t1 and t2. Arguments below expMin give 0 (denormal numbers would cost a hundred times as
// much), above 89 infinity; NaN stays.
func (g *gen) exp(x, t1, t2 reg) {
	if g.wide {
		g.p("VCMPPS $5, %s, %s, K2", g.r(rExpLo), g.r(x)) // not less than
	} else {
		g.maxNaN(x, rExpLo, x)
	}
	g.minNaN(x, rExpHi, x)
	g.mul(t1, x, k(1.44269504))
	if g.wide {
		g.p("VRNDSCALEPS $8, %[1]s, %[1]s", g.r(t1))
	} else {
		g.p("VROUNDPS $8, %[1]s, %[1]s", g.r(t1))
	}
	g.mulsub(x, t1, k(0.693359375))
	g.mulsub(x, t1, k(-2.12194440e-4))
	g.poly(t2, x, expP)
	g.horner(t2, x, k(1))
	g.horner(t2, x, k(1))
	if g.wide {
		g.p("VSCALEFPS.Z %s, %s, K2, %s", g.r(t1), g.r(t2), g.r(x))
		return
	}
	// As in Exp.
	bias := fmt.Sprintf("·constants+%d(SB)", g.consts.at(126))
	g.p("VCVTPS2DQ %[1]s, %[1]s; VPADDD %[2]s, %[1]s, %[1]s; VPSLLD $23, %[1]s, %[1]s", g.r(t1), bias)
	g.add(t2, t2, t2)
	g.mul(x, t2, t1)
}

// sigmoid computes s = 1/(1+e^−x), using t1 and t2; s is not x.
func (g *gen) sigmoid(s, x, t1, t2 reg) {
	g.zero(s)
	g.sub(s, s, x)
	g.exp(s, t1, t2)
	g.add(s, s, k(1))
	g.set(t1, k(1))
	g.div(s, t1, s)
}

// tanh computes t = tanh x, using t1, t2 and t3.
func (g *gen) tanh(t, x, t1, t2, t3 reg) {
	g.and(t, x, absBits)
	g.add(t, t, t)
	g.exp(t, t1, t2)
	g.add(t, t, k(1))
	g.set(t1, k(2))
	g.div(t, t1, t)
	g.set(t1, k(1))
	g.sub(t, t1, t)
	g.and(t1, x, signBit)
	g.or(t, t, t1)
	g.mul(t1, x, x)
	g.poly(t2, t1, tanhQ)
	g.mul(t2, t2, t1)
	g.horner(t2, x, x) // x·(z·Q) + x
	g.pick(t, t1, k(0.65*0.65), t2, t, t3)
}

// erf computes e = erf x, using t1 to t4.
func (g *gen) erf(e, x, t1, t2, t3, t4 reg) {
	g.and(t1, x, absBits)
	g.set(t2, k(4))
	g.minNaN(t1, t2, t1)
	g.poly(e, t1, erfS)
	g.mul(e, e, t1)
	g.exp(e, t2, t3)
	g.set(t2, k(1))
	g.sub(e, t2, e)
	g.and(t2, x, signBit)
	g.or(e, e, t2)
	g.mul(t2, x, x)
	g.poly(t3, t2, erfR)
	g.horner(t3, x, x)
	g.pick(e, t1, k(1), t3, e, t4)
}

// siLUD computes d = s + x·s·(1−s) from s = σ(x), using t.
func (g *gen) siLUD(d, x, s, t reg) {
	g.mul(t, x, s)
	g.mov(d, t)
	g.nhorner(d, s, t) // x·s − x·s·s
	g.add(d, d, s)
}

// geluU computes u = 2√(2/π)·x·(1+a·x²), using t.
func (g *gen) geluU(u, x, t reg) {
	g.mul(t, x, x)
	g.mul(t, t, k(2*geluC*geluA))
	g.add(t, t, k(2*geluC))
	g.mul(u, x, t)
}

func unary(name string, exp bool, body func(g *gen)) mapKernel {
	return mapKernel{name: name, slices: []string{"y", "x"}, outs: 1, ins: []int{1}, in0: in0, scalars: []string{"k"}, exp: exp, body: body}
}

// unaryBwd has dy in register 2 and x in 3.
func unaryBwd(name string, exp bool, body func(g *gen)) mapKernel {
	return mapKernel{name: name, slices: []string{"dx", "dy", "x"}, outs: 1, ins: []int{1, 2}, in0: in0, scalars: []string{"k"}, exp: exp, body: body}
}

func binary(name string, body func(g *gen)) mapKernel {
	return mapKernel{name: name, slices: []string{"y", "a", "b"}, outs: 1, ins: []int{1, 2}, in0: in0, body: body}
}

var maps = []mapKernel{
	binary("add", func(g *gen) { g.add(0, 2, reg(3)) }),
	binary("sub", func(g *gen) { g.sub(0, 2, reg(3)) }),
	binary("mul", func(g *gen) { g.mul(0, 2, reg(3)) }),
	{name: "mulAdd", slices: []string{"y", "a", "b"}, outs: 1, ins: []int{0, 1, 2}, in0: 0, body: func(g *gen) { g.muladd(0, 1, reg(2)) }},
	unary("scale", false, func(g *gen) { g.mul(0, 2, g.scalar(0)) }),
	unary("addConst", false, func(g *gen) { g.add(0, 2, g.scalar(0)) }),
	{name: "axpy", slices: []string{"y", "x"}, outs: 1, ins: []int{0, 1}, in0: 0, scalars: []string{"k"}, body: func(g *gen) { g.muladd(0, 1, g.scalar(0)) }},

	unary("siLU", true, func(g *gen) {
		g.sigmoid(0, 2, 3, 4)
		g.mul(0, 0, reg(2))
	}),
	unaryBwd("siLUBwd", true, func(g *gen) {
		g.sigmoid(1, 3, 4, 5)
		g.siLUD(0, 3, 1, 4)
		g.mul(0, 0, reg(2))
	}),
	unary("sigmoid", true, func(g *gen) { g.sigmoid(0, 2, 3, 4) }),
	unaryBwd("sigmoidBwd", true, func(g *gen) {
		g.sigmoid(1, 3, 4, 5)
		g.mul(2, 2, reg(1))
		g.mov(0, 2)
		g.nhorner(0, 1, reg(2)) // dy·s − dy·s·s
	}),
	unary("tanh", true, func(g *gen) { g.tanh(0, 2, 3, 4, 5) }),
	unaryBwd("tanhBwd", true, func(g *gen) {
		g.tanh(1, 3, 4, 5, 6)
		g.tanhD()
	}),
	unary("softcap", true, func(g *gen) {
		g.set(6, k(1))
		g.div(6, 6, g.scalar(0))
		g.mul(6, 6, reg(2))
		g.tanh(0, 6, 3, 4, 5)
		g.mul(0, 0, g.scalar(0))
	}),
	unaryBwd("softcapBwd", true, func(g *gen) {
		g.set(7, k(1))
		g.div(7, 7, g.scalar(0))
		g.mul(7, 7, reg(3))
		g.tanh(1, 7, 4, 5, 6)
		g.tanhD()
	}),
	unary("relu", false, func(g *gen) {
		g.zero(3)
		g.maxNaN(0, 3, 2)
	}),
	unaryBwd("reluBwd", false, func(g *gen) {
		g.zero(1)
		g.pick(0, 1, reg(3), 2, 1, 4)
	}),
	unary("geluTanh", true, func(g *gen) {
		g.geluU(1, 2, 3)
		g.sigmoid(0, 1, 3, 4)
		g.mul(0, 0, reg(2))
	}),
	unaryBwd("geluTanhBwd", true, func(g *gen) {
		g.geluU(0, 3, 4)
		g.sigmoid(1, 0, 4, 5)
		// s + x·s·(1−s)·2c·(1+3a·x²)
		g.mul(4, 3, reg(3))
		g.mul(4, 4, k(6*geluC*geluA))
		g.add(4, 4, k(2*geluC))
		g.mul(4, 4, reg(3))
		g.mul(4, 4, reg(1))
		g.mov(0, 4)
		g.nhorner(0, 1, reg(4))
		g.add(0, 0, reg(1))
		g.mul(0, 0, reg(2))
	}),
	unary("gelu", true, func(g *gen) {
		g.mul(1, 2, k(sqrtHalf))
		g.erf(0, 1, 3, 4, 5, 6)
		g.add(0, 0, k(1))
		g.mul(0, 0, k(0.5))
		g.mul(0, 0, reg(2))
	}),
	unaryBwd("geluBwd", true, func(g *gen) {
		g.mul(1, 3, k(sqrtHalf))
		g.erf(0, 1, 4, 5, 6, 7)
		g.add(0, 0, k(1))
		g.mul(0, 0, k(0.5))
		g.mul(1, 3, reg(3))
		g.mul(1, 1, k(-0.5))
		g.exp(1, 4, 5)
		g.mul(1, 1, k(invSqrt2Pi))
		g.muladd(0, 1, reg(3))
		g.mul(0, 0, reg(2))
	}),

	{name: "swiGLU", slices: []string{"y", "gate", "up"}, outs: 1, ins: []int{1, 2}, in0: in0, exp: true, body: func(g *gen) {
		g.sigmoid(0, 2, 4, 5)
		g.mul(0, 0, reg(2))
		g.mul(0, 0, reg(3))
	}},
	{name: "swiGLUBwd", slices: []string{"dgate", "dup", "dy", "gate", "up"}, outs: 2, ins: []int{2, 3, 4}, in0: in0, exp: true, body: func(g *gen) {
		g.sigmoid(5, 3, 6, 7)
		g.mul(1, 2, reg(3))
		g.mul(1, 1, reg(5))
		g.siLUD(0, 3, 5, 6)
		g.mul(0, 0, reg(2))
		g.mul(0, 0, reg(4))
	}},

	{name: "norm", slices: []string{"y", "x", "w"}, outs: 1, ins: []int{1, 2}, in0: in0, scalars: []string{"mean", "rstd"}, body: func(g *gen) {
		g.sub(0, 2, g.scalar(0))
		g.mul(0, 0, g.scalar(1))
		g.mul(0, 0, reg(3))
	}},
	{name: "normBwd", slices: []string{"dx", "dy", "x", "w"}, outs: 1, ins: []int{1, 2, 3}, in0: in0, scalars: []string{"mean", "rstd", "c1", "c2"}, body: func(g *gen) {
		g.mul(0, 2, reg(4))
		g.sub(0, 0, g.scalar(2))
		g.sub(3, 3, g.scalar(0))
		g.mul(3, 3, g.scalar(1))
		g.mulsub(0, 3, g.scalar(3))
		g.mul(0, 0, g.scalar(1))
	}},
	{name: "normBwdW", slices: []string{"dw", "dy", "x"}, outs: 1, ins: []int{0, 1, 2}, in0: 0, scalars: []string{"mean", "rstd"}, body: func(g *gen) {
		g.sub(2, 2, g.scalar(0))
		g.mul(2, 2, g.scalar(1))
		g.muladd(0, 1, reg(2))
	}},
	{name: "rotate", slices: []string{"y1", "y2", "x1", "x2", "c", "s"}, outs: 2, ins: []int{2, 3, 4, 5}, in0: in0, scalars: []string{"sign"}, body: func(g *gen) {
		g.mul(5, 5, g.scalar(0))
		g.turn()
	}},
	{name: "adamW", slices: []string{"w", "m", "v", "g"}, outs: 3, ins: []int{0, 1, 2, 3}, in0: 0, ahead: 2048,
		scalars: []string{"gscale", "l2", "decay", "b1", "c1", "b2", "c2", "lr", "root", "eps"}, body: func(g *gen) {
			const w, m, v, d, t, u = 0, 1, 2, 3, 4, 5
			g.mul(d, d, g.kept(0, t))
			g.muladd(d, w, g.kept(1, t))
			g.mulsub(w, w, g.kept(2, t))
			g.mul(m, m, g.kept(3, t))
			g.muladd(m, d, g.kept(4, t))
			g.mul(v, v, g.kept(5, t))
			g.mul(d, d, reg(d))
			g.muladd(v, d, g.kept(6, t))
			g.p("VSQRTPS %s, %s", g.r(v), g.r(u))
			g.div(u, u, g.kept(8, t))
			g.add(u, u, g.kept(9, t))
			g.mul(t, m, g.kept(7, t))
			g.div(t, t, reg(u))
			g.sub(w, w, reg(t))
		}},
}

// mapsBF16 prints kernels on bfloat16 with the same arithmetic in float32. AVX-512 only.
func (g *gen) mapsBF16() {
	named := func(name string) mapKernel {
		return maps[slices.IndexFunc(maps, func(m mapKernel) bool { return m.name == name })]
	}
	for _, name := range []string{"add", "swiGLU", "swiGLUBwd"} {
		g.mapBF16(named(name))
	}
	m := named("adamW")
	update := m.body
	m.name, m.slices, m.half = "adamWBF16x", []string{"w", "m", "v", "h", "g"}, 1<<3
	m.outs, m.ins = 4, []int{0, 1, 2, 4}
	m.body = func(g *gen) {
		update(g)
		g.mov(3, 0)
	}
	g.mapKernel(m)
}

// mapBF16 prints a kernel whose slices are all of bfloat16, 32 elements at a time: those at even places, shifted to the
// high halves of lanes, then those at odd places, which are there; so are the results joined. AVX-512 only.
//
// It has no scalars, so that NaNs need no care: their low halves are 0, as the operands' are.
func (g *gen) mapBF16(m mapKernel) {
	const raw, even, odd = 16, 19, 21
	g.open(m.name+"BF16x", m.slices, 1<<len(m.slices)-1, nil, nil)
	if m.exp {
		g.expSetup()
	}
	g.p("MOVL $0xaaaaaaaa, AX; KMOVD AX, K4")
	g.p("XORL AX, AX; MOVQ CX, R12; ANDQ $-32, R12; JZ rest")
	half := func(first reg, prepare func(i, dst reg)) {
		for i := range m.ins {
			prepare(raw+reg(i), m.in0+reg(i))
		}
		m.body(g)
		for i := range reg(m.outs) {
			g.roundBF16(i, first+i, false)
		}
	}
	once := func(zero, mask string) {
		for i, s := range m.ins {
			g.p("VMOVDQU16%s (%s)(AX*2), %s%s", zero, pointers[s], mask, g.r(raw+reg(i)))
		}
		half(even, func(i, dst reg) { g.p("VPSLLD $16, %s, %s", g.r(i), g.r(dst)) })
		half(odd, func(i, dst reg) { g.op("VPANDD", konst(0xffff0000), i, dst) })
		for i := range reg(m.outs) {
			e, o := g.r(even+i), g.r(odd+i)
			g.p("VPSRLD $16, %s, %s; VMOVDQU16 %s, K4, %s", e, e, o, e)
			g.p("VMOVDQU16 %s, %s(%s)(AX*2)", e, mask, pointers[i])
		}
	}
	g.p("PCALIGN $32")
	g.label("loop")
	once("", "")
	g.p("ADDQ $32, AX; CMPQ AX, R12; JB loop")
	g.label("rest")
	g.mask512(32)
	once(".Z", "K1, ")
	g.label("done")
	g.close()
}

// turn computes registers 0 and 1 from the pairs in 2 and 3, the cosines in 4 and the sines in 5.
func (g *gen) turn() {
	g.mul(0, 2, reg(4))
	g.mulsub(0, 3, reg(5))
	g.mul(1, 3, reg(4))
	g.muladd(1, 2, reg(5))
}

// rotateBF16: see Ops.RotateBF16. It turns the same vector's worth of pairs of all heads, then the next; distances are
// in bytes. AVX-512 only.
func (g *gen) rotateBF16() {
	fmt.Fprintf(g.decls, "\n//go:noescape\nfunc rotateBF16x%s(y, x *uint16, c, s *float32, sign float32, pairs, heads, dim int)\n", g.suffix())
	fmt.Fprintf(g.asm, "\nTEXT ·rotateBF16x%s(SB), NOSPLIT, $0-64\n", g.suffix())
	g.p("MOVQ y+0(FP), DI; MOVQ x+8(FP), SI; MOVQ c+16(FP), R8; MOVQ s+24(FP), R9")
	g.p("VBROADCASTSS sign+32(FP), %s", g.r(8))
	g.p("MOVQ pairs+40(FP), CX; MOVQ dim+56(FP), R11; LEAQ (SI)(CX*2), BX; LEAQ (DI)(CX*2), DX")
	g.setupBF16()
	once := func(loop string) {
		g.load("(R8)", 4)
		g.load("(R9)", 5)
		g.mul(5, 5, reg(8))
		g.p("MOVQ heads+48(FP), R10; XORL AX, AX")
		g.p("PCALIGN $32")
		g.label(loop)
		g.loadBF16("(SI)(AX*1)", 2)
		g.loadBF16("(BX)(AX*1)", 3)
		g.turn()
		g.storeBF16(0, "(DI)(AX*1)", "VMOVDQU")
		g.storeBF16(1, "(DX)(AX*1)", "VMOVDQU")
		g.p("ADDQ R11, AX; DECQ R10; JNZ %s", loop)
	}
	g.p("MOVQ CX, R12; SHRQ $4, R12; JZ rest")
	g.label("column")
	once("head")
	g.p("ADDQ $64, R8; ADDQ $64, R9; ADDQ $32, SI; ADDQ $32, BX; ADDQ $32, DI; ADDQ $32, DX; DECQ R12; JNZ column")
	g.label("rest")
	g.mask()
	g.masked = true
	once("last")
	g.masked = false
	g.label("done")
	g.close()
}

// tanhD computes register 0 = dy·(1−t²) from t in 1 and dy in 2.
func (g *gen) tanhD() {
	g.mul(0, 2, reg(1))
	g.nhorner(0, 1, reg(2))
}

// foldKernel reduces slices. Registers 0 … 3 of each result accumulate; body adds registers in on to accumulator acc.
type foldKernel struct {
	name    string
	slices  []string
	scalars []string
	results []string
	op      string  // joins accumulators
	start   float64 // of the accumulators
	ins     []int
	out     int // slice that register 8 is stored to, or −1
	unroll  int // accumulators of each result
	exp     bool
	body    func(g *gen, acc reg)
}

// Inputs of a fold are in registers 6 and 7; with two results the second's accumulators follow the first's.
var folds = []foldKernel{
	{name: "dot", slices: []string{"x", "y"}, results: []string{"ret"}, op: "VADDPS", ins: []int{0, 1}, out: -1, unroll: 4,
		body: func(g *gen, acc reg) { g.muladd(acc, 6, reg(7)) }},
	{name: "sum", slices: []string{"x"}, results: []string{"ret"}, op: "VADDPS", ins: []int{0}, out: -1, unroll: 4,
		body: func(g *gen, acc reg) { g.add(acc, acc, reg(6)) }},
	{name: "sumSq", slices: []string{"x"}, results: []string{"ret"}, op: "VADDPS", ins: []int{0}, out: -1, unroll: 4,
		body: func(g *gen, acc reg) { g.muladd(acc, 6, reg(6)) }},
	{name: "sumSqDev", slices: []string{"x"}, scalars: []string{"mean"}, results: []string{"ret"}, op: "VADDPS", ins: []int{0}, out: -1, unroll: 4,
		body: func(g *gen, acc reg) {
			g.sub(6, 6, g.scalar(0))
			g.keepLanes(6)
			g.muladd(acc, 6, reg(6))
		}},
	{name: "max", slices: []string{"x"}, results: []string{"ret"}, op: "VMAXPS", start: negInf, ins: []int{0}, out: -1, unroll: 4,
		body: func(g *gen, acc reg) {
			if g.masked { // −∞ where there is nothing
				g.set(7, k(negInf))
				if g.wide {
					g.p("VMOVAPS %s, K1, %s", g.r(6), g.r(7))
				} else {
					g.p("VBLENDVPS %s, %s, %s, %s", g.r(rMask), g.r(6), g.r(7), g.r(7))
				}
				g.maxNaN(acc, 7, acc)
				return
			}
			g.maxNaN(acc, 6, acc)
		}},
	{name: "expSum", slices: []string{"y", "x"}, scalars: []string{"max"}, results: []string{"ret"}, op: "VADDPS", ins: []int{1}, out: 0, unroll: 2, exp: true,
		body: func(g *gen, acc reg) {
			g.sub(8, 6, g.scalar(0))
			g.exp(8, 6, 7)
			g.keepLanes(8)
			g.add(acc, acc, reg(8))
		}},
	{name: "normDots", slices: []string{"dy", "x", "w"}, scalars: []string{"mean", "rstd"}, results: []string{"s1", "s2"}, op: "VADDPS", ins: []int{0, 1, 2}, out: -1, unroll: 2,
		body: func(g *gen, acc reg) {
			g.mul(8, 8, reg(6))
			g.add(acc, acc, reg(8))
			g.sub(7, 7, g.scalar(0))
			g.mul(7, 7, g.scalar(1))
			g.muladd(acc+2, 7, reg(8))
		}},
}

func (g *gen) foldKernel(m foldKernel) {
	g.open(m.name, m.slices, 0, m.scalars, m.results)
	if m.exp {
		g.expSetup()
	}
	accs := m.unroll * len(m.results)
	for i := range accs {
		g.set(reg(i), k(m.start))
	}
	once := func(acc reg, at int) {
		for i, s := range m.ins {
			g.load(fmt.Sprintf("%d(%s)(AX*1)", at, pointers[s]), reg(6+i))
		}
		m.body(g, acc)
		if m.out >= 0 {
			g.store(8, fmt.Sprintf("%d(%s)(AX*1)", at, pointers[m.out]))
		}
	}
	bytes := 4 * g.lanes()
	// Whole groups of vectors, whole vectors, the rest.
	g.p("XORL AX, AX; MOVQ CX, R12; ANDQ $-%d, R12; SHLQ $2, R12", g.lanes()*m.unroll)
	g.p("JZ singles")
	g.p("PCALIGN $32")
	g.label("loop")
	for i := range m.unroll {
		once(reg(i), i*bytes)
	}
	g.p("ADDQ $%d, AX; CMPQ AX, R12; JB loop", bytes*m.unroll)
	g.label("singles")
	g.p("MOVQ CX, R12; ANDQ $-%d, R12; SHLQ $2, R12", g.lanes())
	g.label("single")
	g.p("CMPQ AX, R12; JAE rest")
	once(0, 0)
	g.p("ADDQ $%d, AX; JMP single", bytes)
	g.label("rest")
	g.mask()
	g.masked = true
	once(0, 0)
	g.masked = false
	g.label("done")
	for r, name := range m.results {
		first := reg(r * m.unroll)
		for i := 1; i < m.unroll; i++ {
			g.p("%s %s, %s, %s", m.op, g.r(first+reg(i)), g.r(first), g.r(first))
		}
		g.fold(m.op, first, 6)
		size := (24*len(m.slices) + 4*len(m.scalars) + 7) &^ 7
		g.p("VMOVSS X%d, %s+%d(FP)", first, name, size+4*r)
	}
	g.close()
}
