// Package vec holds the inner loops of the CPU backend: reductions, element-wise functions and small matrix tiles over
// float32 slices. Each has a portable form in Go; on amd64 many have twins in assembly for AVX2 and AVX-512 (absent from
// builds with the noasm tag). The assembly never reads or writes outside the slices it is given.
//
// Functions of the same Ops give the same bits for the same arguments, wherever they run. Results of different
// instruction sets may differ in the last bits.
package vec

import "github.com/mltrain/mltrain/internal/tensor"

//go:generate go -C _generate run . -out ..

// Level is an instruction set.
type Level uint8

// Instruction sets, from the least.
const (
	LevelPortable Level = iota
	LevelAVX2
	LevelAVX512
)

// String returns the name of the instruction set.
func (l Level) String() string { return [...]string{"portable", "avx2", "avx512"}[l] }

// Ops is the set of loops of one instruction set. Slices of one call have equal lengths, that of the first; longer ones
// are cut. An output may be the same slice as an input, but not overlap it otherwise.
//
// Functions named BF16 give the bits of FromBF16, the function without it, and ToBF16, in one pass. They are nil where
// there is no such loop.
type Ops struct {
	Level Level

	Dot      func(x, y []float32) float32              // Σ x·y
	Sum      func(x []float32) float32                 // Σ x
	SumSq    func(x []float32) float32                 // Σ x²
	SumSqDev func(x []float32, mean float32) float32   // Σ (x−mean)²
	Max      func(x []float32) float32                 // largest x; −Inf for none
	MaxAbs   func(x []float32) float32                 // largest |x|; 0 for none
	ExpSum   func(y, x []float32, max float32) float32 // y = exp(x−max); Σ y

	Add      func(y, a, b []float32)         // y = a+b
	AddBF16  func(y, a, b []uint16)          // y = a+b
	Sub      func(y, a, b []float32)         // y = a−b
	Mul      func(y, a, b []float32)         // y = a·b
	MulAdd   func(y, a, b []float32)         // y += a·b
	Scale    func(y, x []float32, k float32) // y = k·x
	Axpy     func(y, x []float32, k float32) // y += k·x
	AddConst func(y, x []float32, k float32) // y = x+k

	// Functions of one element and a constant, and their derivatives: dx = dy·f'(x).
	SiLU, GELU, GELUTanh, ReLU, Tanh, Sigmoid, Softcap                      func(y, x []float32, k float32)
	SiLUBwd, GELUBwd, GELUTanhBwd, ReLUBwd, TanhBwd, SigmoidBwd, SoftcapBwd func(dx, dy, x []float32, k float32)

	// SwiGLU computes y = silu(gate)·up and SwiGLUBwd its gradients.
	SwiGLU        func(y, gate, up []float32)
	SwiGLUBwd     func(dgate, dup, dy, gate, up []float32)
	SwiGLUBF16    func(y, gate, up []uint16)
	SwiGLUBwdBF16 func(dgate, dup, dy, gate, up []uint16)

	// Norm computes y = (x−mean)·rstd·w.
	Norm func(y, x, w []float32, mean, rstd float32)
	// NormDots returns Σ dy·w and Σ dy·w·x̂ with x̂ = (x−mean)·rstd.
	NormDots func(dy, x, w []float32, mean, rstd float32) (s1, s2 float32)
	// NormBwd computes dx = rstd·(dy·w − c1 − x̂·c2).
	NormBwd func(dx, dy, x, w []float32, mean, rstd, c1, c2 float32)
	// NormBwdW computes dw += dy·x̂.
	NormBwdW func(dw, dy, x []float32, mean, rstd float32)

	// Rotate turns the pairs (x1, x2) by the angles with cosines c and sines s·sign: y1 = x1·c − x2·s, y2 = x2·c + x1·s.
	Rotate func(y1, y2, x1, x2, c, s []float32, sign float32)
	// RotateBF16 is Rotate on heads, dim elements apart, whose first len(c) elements are x1 and whose next are x2.
	RotateBF16 func(y, x []uint16, c, s []float32, sign float32, heads, dim int)

	// Tile multiplies small matrices: C[m,n] = A[m,k]·B[k,n], or += if acc. A's element (i,j) is at a[i·rs+j·cs]; rows of
	// B and C are ldb and ldc apart. n is a multiple of 16.
	Tile func(c []float32, ldc int, a []float32, rs, cs int, b []float32, ldb, m, n, k int, acc bool)

	// Transpose computes Y = Xᵀ for X [rows,cols]; rows of X and Y are ldx and ldy apart. rows and cols are multiples of 16.
	Transpose func(y []float32, ldy int, x []float32, ldx, rows, cols int)
	// ScaleRows multiplies row i of Y [rows,n] by k[i]; rows are ldy apart, and n is a multiple of 16.
	ScaleRows func(y []float32, ldy int, k []float32, rows, n int)

	// SoftmaxTile takes a tile of scores s [rows,n], a column per query, into a running softmax: it replaces s by
	// exp(s−max), updates the running maxima m and sums l [n], and sets alpha [n] to what earlier results must be
	// multiplied by. A column without a finite score yields zeros.
	SoftmaxTile func(s []float32, rows, n int, m, l, alpha []float32)
	// ExpTile computes s = exp(s−m) for s [rows,n] and m [n].
	ExpTile func(s []float32, rows, n int, m []float32)
	// ScoreGradTile computes d = p·(d−delta) for d, p [rows,n] and delta [n].
	ScoreGradTile func(d, p []float32, rows, n int, delta []float32)

	// Keep computes dropout's factors for elements first, first+1, … of key's stream: 0 where the word is below
	// threshold, else scale.
	Keep func(y []float32, key tensor.RNGKey, first uint64, threshold uint32, scale float32)

	AdamW     func(w, m, v, g []float32, p AdamArgs)                       // an Adam or AdamW step
	AdamWBF16 func(w, m, v []float32, h []uint16, g []float32, p AdamArgs) // AdamW, and h = w, rounded, past the caches

	// NF4 decodes pairs of four-bit codes, the first in the high half of each byte: y = value[code]·k, for an even number.
	NF4 func(y []float32, codes []byte, k float32)

	// DotsNF4 multiplies rows by a matrix in NF4, whose rows are k codes, a multiple of 64, with a scale for each 64: y[r·ldy+n] = Σ
	// x[r,j]·value[n,j], for up to NF4Rows rows r of x [rows,k] and all the rows n that scales are for. Elements of x are in EvenOdd's order.
	// It is nil where there is no such loop.
	DotsNF4 func(y []float32, ldy int, x []float32, rows, k int, codes []byte, scales []float32)

	ToInt8 func(y []int8, x []float32, k float32) // y = k·x, rounded to nearest even; at most 127, at least −127

	FromBF16 func(y []float32, x []uint16) // y = x
	ToBF16   func(y []uint16, x []float32) // y = x, rounded to nearest even
	// FromBF16Rows is FromBF16 for rows of n elements, a multiple of 16; rows are ldx and ldy apart.
	FromBF16Rows func(y []float32, ldy int, x []uint16, ldx, rows, n int)
}

// AdamArgs are the constants of an Adam step: g = GScale·g + L2·w; w −= Decay·w; m = B1·m + C1·g; v = B2·v + C2·g²;
// w −= LR·m / (√v/Root + Eps).
type AdamArgs struct {
	GScale, L2, Decay, B1, C1, B2, C2, LR, Root, Eps float32
}

// Best returns the loops of the best instruction set that the machine has, at most the given one.
func Best(max Level) *Ops {
	o := portable()
	level := min(max, detect())
	o.Level = level
	accelerate(o, level)
	return o
}

// portable returns the loops in plain Go.
func portable() *Ops {
	return &Ops{
		Dot: dot, Sum: sum, SumSq: sumSq, SumSqDev: sumSqDev, Max: maxOf, MaxAbs: maxAbs, ExpSum: expSum,
		Add: add, Sub: sub, Mul: mul, MulAdd: mulAdd, Scale: scale, Axpy: axpy, AddConst: addConst,
		SiLU: siLU, GELU: gelu, GELUTanh: geluTanh, ReLU: relu, Tanh: tanh, Sigmoid: sigmoid, Softcap: softcap,
		SiLUBwd: siLUBwd, GELUBwd: geluBwd, GELUTanhBwd: geluTanhBwd, ReLUBwd: reluBwd, TanhBwd: tanhBwd,
		SigmoidBwd: sigmoidBwd, SoftcapBwd: softcapBwd,
		SwiGLU: swiGLU, SwiGLUBwd: swiGLUBwd,
		Norm: norm, NormDots: normDots, NormBwd: normBwd, NormBwdW: normBwdW,
		Rotate: rotate, Tile: tile, Transpose: transpose, ScaleRows: scaleRows,
		SoftmaxTile: softmaxTile, ExpTile: expTile, ScoreGradTile: scoreGradTile, Keep: keep, AdamW: adamW,
		NF4: nf4, ToInt8: toInt8, FromBF16: fromBF16, ToBF16: toBF16, FromBF16Rows: fromBF16Rows,
	}
}
