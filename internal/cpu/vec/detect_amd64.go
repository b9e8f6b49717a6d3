//go:build !noasm

package vec

import (
	"math"
	"unsafe"

	"golang.org/x/sys/cpu"

	"github.com/mltrain/mltrain/internal/tensor"
)

// detect returns the best instruction set of the machine that there are loops for.
func detect() Level {
	x := &cpu.X86
	switch {
	case !x.HasAVX2 || !x.HasFMA:
		return LevelPortable
	case x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL:
		return LevelAVX512
	}
	return LevelAVX2
}

// accelerate replaces loops of o by those in assembly.
func accelerate(o *Ops, l Level) {
	switch l {
	case LevelAVX512:
		o.Dot, o.Sum, o.SumSq, o.SumSqDev, o.Max, o.ExpSum = dot512, sum512, sumSq512, sumSqDev512, max512, expSum512
		o.Add, o.Sub, o.Mul, o.MulAdd = add512, sub512, mul512, mulAdd512
		o.Scale, o.Axpy, o.AddConst = scale512, axpy512, addConst512
		o.SiLU, o.GELU, o.GELUTanh, o.ReLU = siLU512, gelu512, geluTanh512, relu512
		o.Tanh, o.Sigmoid, o.Softcap = tanh512, sigmoid512, softcap512
		o.SiLUBwd, o.GELUBwd, o.GELUTanhBwd, o.ReLUBwd = siLUBwd512, geluBwd512, geluTanhBwd512, reluBwd512
		o.TanhBwd, o.SigmoidBwd, o.SoftcapBwd = tanhBwd512, sigmoidBwd512, softcapBwd512
		o.SwiGLU, o.SwiGLUBwd = swiGLU512, swiGLUBwd512
		o.Norm, o.NormDots, o.NormBwd, o.NormBwdW = norm512, normDots512, normBwd512, normBwdW512
		o.AddBF16 = addBF16x512
		o.SwiGLUBF16, o.SwiGLUBwdBF16 = swiGLUBF16x512, swiGLUBwdBF16x512
		o.Rotate, o.RotateBF16 = rotate512, rotateBF16
		o.NF4, o.DotsNF4 = nf4AVX512, dotsNF4(8, dotsNF4x512)
		o.MaxAbs, o.ToInt8 = maxAbs512, toInt8AVX512
		o.SoftmaxTile, o.ExpTile, o.ScoreGradTile = checkedSoftmax(softmaxTile512), checkedExp(expTile512), checkedGrad(scoreGradTile512)
		o.Tile, o.ScaleRows, o.Transpose = tileAVX512, checkedScaleRows(scaleRows512), checkedTranspose(16, transpose512)
		o.AdamW, o.AdamWBF16 = adam(adamW512), adamBF16
		o.FromBF16, o.ToBF16 = widening(fromBF16x512), rounding(toBF16x512)
		o.FromBF16Rows = checkedBF16Rows(fromBF16Rows512)
		o.Keep = keepAVX512
	case LevelAVX2:
		o.Dot, o.Sum, o.SumSq, o.SumSqDev, o.Max, o.ExpSum = dot256, sum256, sumSq256, sumSqDev256, max256, expSum256
		o.Add, o.Sub, o.Mul, o.MulAdd = add256, sub256, mul256, mulAdd256
		o.Scale, o.Axpy, o.AddConst = scale256, axpy256, addConst256
		o.SiLU, o.GELU, o.GELUTanh, o.ReLU = siLU256, gelu256, geluTanh256, relu256
		o.Tanh, o.Sigmoid, o.Softcap = tanh256, sigmoid256, softcap256
		o.SiLUBwd, o.GELUBwd, o.GELUTanhBwd, o.ReLUBwd = siLUBwd256, geluBwd256, geluTanhBwd256, reluBwd256
		o.TanhBwd, o.SigmoidBwd, o.SoftcapBwd = tanhBwd256, sigmoidBwd256, softcapBwd256
		o.SwiGLU, o.SwiGLUBwd = swiGLU256, swiGLUBwd256
		o.Norm, o.NormDots, o.NormBwd, o.NormBwdW = norm256, normDots256, normBwd256, normBwdW256
		o.Rotate = rotate256
		o.NF4, o.DotsNF4 = nf4AVX2, dotsNF4(4, dotsNF4x256)
		o.SoftmaxTile, o.ExpTile, o.ScoreGradTile = checkedSoftmax(softmaxTile256), checkedExp(expTile256), checkedGrad(scoreGradTile256)
		o.Tile, o.ScaleRows, o.Transpose = tileAVX2, checkedScaleRows(scaleRows256), checkedTranspose(8, transpose256)
		o.AdamW = adam(adamW256)
		o.FromBF16, o.ToBF16 = widening(fromBF16x256), rounding(toBF16x256)
		o.FromBF16Rows = checkedBF16Rows(fromBF16Rows256)
		o.Keep = keepAVX2
	}
}

// The tile kernels in assembly trust their arguments. These wrappers cut the slices to what is used, and so check that
// it exists.

func checkedSoftmax(f func(s []float32, rows, n int, m, l, alpha []float32)) func(s []float32, rows, n int, m, l, alpha []float32) {
	return func(s []float32, rows, n int, m, l, alpha []float32) { f(s[:rows*n], rows, n, m[:n], l[:n], alpha[:n]) }
}

func checkedExp(f func(s []float32, rows, n int, m []float32)) func(s []float32, rows, n int, m []float32) {
	return func(s []float32, rows, n int, m []float32) { f(s[:rows*n], rows, n, m[:n]) }
}

func checkedGrad(f func(d, p []float32, rows, n int, delta []float32)) func(d, p []float32, rows, n int, delta []float32) {
	return func(d, p []float32, rows, n int, delta []float32) { f(d[:rows*n], p[:rows*n], rows, n, delta[:n]) }
}

func checkedScaleRows(f func(y *float32, ldy int, k *float32, rows, n int)) func(y []float32, ldy int, k []float32, rows, n int) {
	return func(y []float32, ldy int, k []float32, rows, n int) {
		if rows > 0 && n > 0 {
			_, _ = y[(rows-1)*ldy+n-1], k[rows-1]
			f(unsafe.SliceData(y), 4*ldy, unsafe.SliceData(k), rows, 4*n)
		}
	}
}

func checkedTranspose(block int, f func(y *float32, ldy int, x *float32, ldx, rows, cols int)) func(y []float32, ldy int, x []float32, ldx, rows, cols int) {
	return func(y []float32, ldy int, x []float32, ldx, rows, cols int) {
		if rows > 0 && cols > 0 {
			_, _ = y[(cols-1)*ldy+rows-1], x[(rows-1)*ldx+cols-1]
			f(unsafe.SliceData(y), 4*ldy, unsafe.SliceData(x), 4*ldx, rows/block, cols/block)
		}
	}
}

func checkedBF16Rows(f func(y *float32, ldy int, x *uint16, ldx, rows, n int)) func(y []float32, ldy int, x []uint16, ldx, rows, n int) {
	return func(y []float32, ldy int, x []uint16, ldx, rows, n int) {
		if rows > 0 && n > 0 {
			_, _ = y[(rows-1)*ldy+n-1], x[(rows-1)*ldx+n-1]
			f(unsafe.SliceData(y), 4*ldy, unsafe.SliceData(x), 2*ldx, rows, n)
		}
	}
}

// tileArgs is the argument of a micro-kernel; distances are in bytes. The assembly knows its fields by go_asm.h.
type tileArgs struct {
	a, b, c          unsafe.Pointer
	rs, cs, ldb, ldc int
	k                int
	acc              int // 1 to add to C
}

func tileAVX512(c []float32, ldc int, a []float32, rs, cs int, b []float32, ldb, m, n, k int, acc bool) {
	tiled(true, c, ldc, a, rs, cs, b, ldb, m, n, k, acc)
}

func tileAVX2(c []float32, ldc int, a []float32, rs, cs int, b []float32, ldb, m, n, k int, acc bool) {
	tiled(false, c, ldc, a, rs, cs, b, ldb, m, n, k, acc)
}

// tiled cuts C into what the micro-kernels compute. They are called by name, not by value, so that their argument stays
// on the stack.
func tiled(wide bool, c []float32, ldc int, a []float32, rs, cs int, b []float32, ldb, m, n, k int, acc bool) {
	if m <= 0 || n <= 0 {
		return
	}
	t := tileArgs{rs: 4 * rs, cs: 4 * cs, ldb: 4 * ldb, ldc: 4 * ldc, k: k}
	if acc {
		t.acc = 1
	}
	_ = c[(m-1)*ldc+n-1]
	if k > 0 {
		_, _ = a[(m-1)*rs+(k-1)*cs], b[(k-1)*ldb+n-1]
	}
	rows, lanes := 6, 8
	if wide {
		rows, lanes = 8, 16
	}
	pa, pb, pc := unsafe.Pointer(unsafe.SliceData(a)), unsafe.Pointer(unsafe.SliceData(b)), unsafe.Pointer(unsafe.SliceData(c))
	for j := 0; j < n; {
		across := min(2, (n-j)/lanes)
		t.b = unsafe.Add(pb, 4*j)
		for i := 0; i < m; i += rows {
			t.a = unsafe.Add(pa, 4*i*rs)
			t.c = unsafe.Add(pc, 4*(i*ldc+j))
			if wide {
				tile512(&t, min(rows, m-i), across)
			} else {
				tile256(&t, min(rows, m-i), across)
			}
		}
		j += across * lanes
	}
}

func adam(f func(w, m, v, g []float32, gscale, l2, decay, b1, c1, b2, c2, lr, root, eps float32)) func(w, m, v, g []float32, p AdamArgs) {
	return func(w, m, v, g []float32, p AdamArgs) {
		f(w, m, v, g, p.GScale, p.L2, p.Decay, p.B1, p.C1, p.B2, p.C2, p.LR, p.Root, p.Eps)
	}
}

// adamBF16 begins with less than a vector if h is not aligned as the loop over vectors needs it.
func adamBF16(w, m, v []float32, h []uint16, g []float32, p AdamArgs) {
	n := min(len(w), int(-uintptr(unsafe.Pointer(unsafe.SliceData(h)))%32/2))
	if n > 0 {
		adamWBF16x512(w[:n], m, v, h, g, p.GScale, p.L2, p.Decay, p.B1, p.C1, p.B2, p.C2, p.LR, p.Root, p.Eps)
	}
	adamWBF16x512(w[n:], m[n:], v[n:], h[n:], g[n:], p.GScale, p.L2, p.Decay, p.B1, p.C1, p.B2, p.C2, p.LR, p.Root, p.Eps)
}

func rotateBF16(y, x []uint16, c, s []float32, sign float32, heads, dim int) {
	if n := len(c); n > 0 && heads > 0 {
		_, _, _ = y[(heads-1)*dim+2*n-1], x[(heads-1)*dim+2*n-1], s[n-1]
		rotateBF16x512(unsafe.SliceData(y), unsafe.SliceData(x), unsafe.SliceData(c), unsafe.SliceData(s), sign, n, heads, 2*dim)
	}
}

// The conversions in assembly do groups of 16; the rest is done here.

func widening(f func(y *float32, x *uint16, n int)) func(y []float32, x []uint16) {
	return func(y []float32, x []uint16) {
		x = x[:len(y)]
		n := len(y) &^ 15
		f(unsafe.SliceData(y), unsafe.SliceData(x), n)
		fromBF16(y[n:], x[n:])
	}
}

func rounding(f func(y *uint16, x *float32, n int)) func(y []uint16, x []float32) {
	return func(y []uint16, x []float32) {
		x = x[:len(y)]
		n := len(y) &^ 15
		f(unsafe.SliceData(y), unsafe.SliceData(x), n)
		toBF16(y[n:], x[n:])
	}
}

// philoxArgs is the argument of the generator: n turns of as many blocks as lanes, from the counters lo and hi on.
type philoxArgs struct {
	lo, hi    [16]uint32
	k0, k1    uint32
	op, micro uint32
	threshold uint32
	scale     float32
	y         unsafe.Pointer
	n         int
}

func keepAVX512(y []float32, key tensor.RNGKey, first uint64, threshold uint32, scale float32) {
	keepBlocks(true, y, key, first, threshold, scale)
}

func keepAVX2(y []float32, key tensor.RNGKey, first uint64, threshold uint32, scale float32) {
	keepBlocks(false, y, key, first, threshold, scale)
}

func keepBlocks(wide bool, y []float32, key tensor.RNGKey, first uint64, threshold uint32, scale float32) {
	lanes := 8
	if wide {
		lanes = 16
	}
	turn := 4 * lanes
	a := philoxArgs{k0: uint32(key.Seed), k1: uint32(key.Seed >> 32), op: key.Op, micro: key.Micro, threshold: threshold, scale: scale}
	var part [64]float32
	for len(y) > 0 {
		block, skip := first/4, int(first%4)
		turns := len(y) / turn
		direct := skip == 0 && turns > 0
		if direct {
			a.y, a.n = unsafe.Pointer(unsafe.SliceData(y)), turns
		} else {
			turns = 1
			a.y, a.n = unsafe.Pointer(&part), turns
		}
		if uint32(block) > math.MaxUint32-uint32(turns*lanes) { // the low word of the counter wraps
			n := min(len(y), turn)
			keep(y[:n], key, first, threshold, scale)
			y, first = y[n:], first+uint64(n)
			continue
		}
		for i := range lanes {
			a.lo[i], a.hi[i] = uint32(block)+uint32(i), uint32(block>>32)
		}
		if wide {
			philox512(&a)
		} else {
			philox256(&a)
		}
		n := turns * turn
		if !direct {
			n = copy(y, part[skip:turn])
		}
		y, first = y[n:], first+uint64(n)
	}
}
