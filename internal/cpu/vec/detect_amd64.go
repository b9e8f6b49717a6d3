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
		o.Rotate = rotate512
		o.SoftmaxTile, o.ExpTile, o.ScoreGradTile = checkedSoftmax(softmaxTile512), checkedExp(expTile512), checkedGrad(scoreGradTile512)
		o.Tile = tiled(8, 32, [][]func(*tileArgs){
			{tile1x16512, tile2x16512, tile3x16512, tile4x16512, tile5x16512, tile6x16512, tile7x16512, tile8x16512},
			{tile1x32512, tile2x32512, tile3x32512, tile4x32512, tile5x32512, tile6x32512, tile7x32512, tile8x32512},
		})
		o.AdamW = adam(adamW512)
		o.FromBF16, o.ToBF16 = widening(fromBF16x512), rounding(toBF16x512)
		o.Keep = keeping(philox512, 16)
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
		o.SoftmaxTile, o.ExpTile, o.ScoreGradTile = checkedSoftmax(softmaxTile256), checkedExp(expTile256), checkedGrad(scoreGradTile256)
		o.Tile = tiled(4, 16, [][]func(*tileArgs){
			{tile1x8256, tile2x8256, tile3x8256, tile4x8256},
			{tile1x16256, tile2x16256, tile3x16256, tile4x16256},
		})
		o.AdamW = adam(adamW256)
		o.FromBF16, o.ToBF16 = widening(fromBF16x256), rounding(toBF16x256)
		o.Keep = keeping(philox256, 8)
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

// tileArgs is the argument of a micro-kernel; distances are in bytes. The assembly knows its fields by go_asm.h.
type tileArgs struct {
	a, b, c          unsafe.Pointer
	rs, cs, ldb, ldc int
	k                int
	acc              int // 1 to add to C
}

// tiled returns Ops.Tile for micro-kernels of up to maxRows rows and width columns, or half as many: kernels[1] and
// kernels[0].
func tiled(maxRows, width int, kernels [][]func(*tileArgs)) func(c []float32, ldc int, a []float32, rs, cs int, b []float32, ldb, m, n, k int, acc bool) {
	return func(c []float32, ldc int, a []float32, rs, cs int, b []float32, ldb, m, n, k int, acc bool) {
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
		pa, pb, pc := unsafe.Pointer(unsafe.SliceData(a)), unsafe.Pointer(unsafe.SliceData(b)), unsafe.Pointer(unsafe.SliceData(c))
		for j := 0; j < n; {
			across := kernels[1]
			w := width
			if n-j < width {
				across, w = kernels[0], width/2
			}
			t.b = unsafe.Add(pb, 4*j)
			for i := 0; i < m; i += maxRows {
				t.a = unsafe.Add(pa, 4*i*rs)
				t.c = unsafe.Add(pc, 4*(i*ldc+j))
				across[min(maxRows, m-i)-1](&t)
			}
			j += w
		}
	}
}

func adam(f func(w, m, v, g []float32, gscale, l2, decay, b1, c1, b2, c2, lr, root, eps float32)) func(w, m, v, g []float32, p AdamArgs) {
	return func(w, m, v, g []float32, p AdamArgs) {
		f(w, m, v, g, p.GScale, p.L2, p.Decay, p.B1, p.C1, p.B2, p.C2, p.LR, p.Root, p.Eps)
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

func keeping(f func(*philoxArgs), lanes int) func(y []float32, key tensor.RNGKey, first uint64, threshold uint32, scale float32) {
	return func(y []float32, key tensor.RNGKey, first uint64, threshold uint32, scale float32) {
		turn := 4 * lanes
		for len(y) > 0 {
			block, skip := first/4, int(first%4)
			turns := len(y) / turn
			direct := skip == 0 && turns > 0
			if !direct {
				turns = 1
			}
			if uint32(block) > math.MaxUint32-uint32(turns*lanes) { // the low word of the counter wraps
				n := min(len(y), turn)
				keep(y[:n], key, first, threshold, scale)
				y, first = y[n:], first+uint64(n)
				continue
			}
			a := philoxArgs{k0: uint32(key.Seed), k1: uint32(key.Seed >> 32), op: key.Op, micro: key.Micro, threshold: threshold, scale: scale, n: turns}
			for i := range lanes {
				a.lo[i], a.hi[i] = uint32(block)+uint32(i), uint32(block>>32)
			}
			n := turns * turn
			if direct {
				a.y = unsafe.Pointer(unsafe.SliceData(y))
				f(&a)
			} else {
				var part [64]float32
				a.y = unsafe.Pointer(&part)
				f(&a)
				n = copy(y, part[skip:turn])
			}
			y, first = y[n:], first+uint64(n)
		}
	}
}
