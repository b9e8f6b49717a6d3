// Package tensor is the contract between mltrain's engine and its backends: what a tensor is (Tensor, DType), what a
// device does with memory (Device) and which kernels it runs (Kernels).
//
// A backend is a Device and its Kernels. The engine sees nothing else, so that a run on the CPU, on a GPU, in the PTX
// interpreter and in the memory planner is the same code. The package imports nothing of mltrain's.
package tensor

import (
	"fmt"
	"math"
	"strings"
)

// DType is the type of a tensor's elements.
type DType uint8

// The element types that backends know. I32 holds token ids, positions and sequence boundaries; U8 packed codes; I8 rounded weights.
const (
	Invalid DType = iota
	F32
	BF16
	F16
	I32
	U8
	I8
)

// Size returns the bytes that one element takes.
func (d DType) Size() int {
	switch d {
	case F32, I32:
		return 4
	case BF16, F16:
		return 2
	case U8, I8:
		return 1
	}
	return 0
}

// String returns the name that PyTorch gives the type.
func (d DType) String() string {
	switch d {
	case F32:
		return "float32"
	case BF16:
		return "bfloat16"
	case F16:
		return "float16"
	case I32:
		return "int32"
	case U8:
		return "uint8"
	case I8:
		return "int8"
	}
	return "invalid"
}

// MaxRank is the largest number of dimensions a tensor has.
const MaxRank = 4

// Buffer is a run of device memory. Only the device that allocated it knows what is behind it.
type Buffer interface {
	// Bytes is the size of the buffer.
	Bytes() int64
}

// Tensor is a contiguous, typed, row-major window into a Buffer. It owns nothing and is copied freely. The zero Tensor
// stands for "absent" where a kernel has an optional operand.
type Tensor struct {
	Buf   Buffer
	Off   int64 // bytes from the start of Buf
	DType DType
	rank  uint8
	dims  [MaxRank]int
}

// New returns the window of the given shape at byte offset off of buf.
func New(buf Buffer, off int64, dt DType, shape ...int) Tensor {
	t := Tensor{Buf: buf, Off: off, DType: dt, rank: uint8(len(shape))}
	if len(shape) > MaxRank {
		panic("tensor: rank above MaxRank")
	}
	copy(t.dims[:], shape)
	return t
}

// IsZero tells whether t is the absent tensor.
func (t Tensor) IsZero() bool { return t.DType == Invalid }

// Rank returns the number of dimensions.
func (t Tensor) Rank() int { return int(t.rank) }

// Dim returns the size of dimension i; negative i count from the last.
func (t Tensor) Dim(i int) int {
	if i < 0 {
		i += int(t.rank)
	}
	if i < 0 || i >= int(t.rank) {
		panic(fmt.Sprintf("tensor: dimension %d of %v", i, t))
	}
	return t.dims[i]
}

// Shape returns a copy of the dimensions.
func (t Tensor) Shape() []int { return append([]int(nil), t.dims[:t.rank]...) }

// Len returns the number of elements.
func (t Tensor) Len() int {
	n := 1
	for _, d := range t.dims[:t.rank] {
		n *= d
	}
	return n
}

// Bytes returns the number of bytes that the elements take.
func (t Tensor) Bytes() int64 { return int64(t.Len()) * int64(t.DType.Size()) }

// Rows returns the product of all dimensions but the last: the row count of the tensor seen as a matrix.
func (t Tensor) Rows() int {
	n := 1
	for i := 0; i < int(t.rank)-1; i++ {
		n *= t.dims[i]
	}
	return n
}

// Cols returns the last dimension, or 1 for a scalar.
func (t Tensor) Cols() int {
	if t.rank == 0 {
		return 1
	}
	return t.dims[t.rank-1]
}

// View returns the same elements under another shape of equal length.
func (t Tensor) View(shape ...int) Tensor {
	v := New(t.Buf, t.Off, t.DType, shape...)
	if v.Len() != t.Len() {
		panic(fmt.Sprintf("tensor: view of %v as %v", t, v))
	}
	return v
}

// Slice returns elements lo to hi of the flattened tensor as a vector.
func (t Tensor) Slice(lo, hi int) Tensor {
	if lo < 0 || hi < lo || hi > t.Len() {
		panic(fmt.Sprintf("tensor: slice [%d:%d] of %v", lo, hi, t))
	}
	return New(t.Buf, t.Off+int64(lo)*int64(t.DType.Size()), t.DType, hi-lo)
}

// RowRange returns rows lo to hi of the first dimension.
func (t Tensor) RowRange(lo, hi int) Tensor {
	if t.rank == 0 || lo < 0 || hi < lo || hi > t.dims[0] {
		panic(fmt.Sprintf("tensor: rows [%d:%d] of %v", lo, hi, t))
	}
	stride := int64(t.DType.Size())
	for _, d := range t.dims[1:t.rank] {
		stride *= int64(d)
	}
	t.Off += int64(lo) * stride
	t.dims[0] = hi - lo
	return t
}

// SameShape tells whether t and u have equal dimensions.
func (t Tensor) SameShape(u Tensor) bool { return t.rank == u.rank && t.dims == u.dims }

// String formats the type and shape: "float32[512 64]".
func (t Tensor) String() string {
	if t.IsZero() {
		return "none"
	}
	var b strings.Builder
	b.WriteString(t.DType.String())
	fmt.Fprint(&b, t.dims[:t.rank])
	return b.String()
}

// NumElements multiplies a shape that comes from outside. It reports false for a negative dimension or a product that
// does not fit in an int64.
func NumElements(shape []int) (int64, bool) {
	n := int64(1)
	for _, d := range shape {
		if d < 0 {
			return 0, false
		}
		if d != 0 && n > math.MaxInt64/int64(d) {
			return 0, false
		}
		n *= int64(d)
	}
	return n, true
}

// ToBF16 rounds x to bfloat16, to nearest even; a NaN stays a NaN.
func ToBF16(x float32) uint16 {
	u := math.Float32bits(x)
	if u&0x7fffffff > 0x7f800000 {
		return uint16(u>>16) | 0x40
	}
	return uint16((u + 0x7fff + u>>16&1) >> 16)
}

// FromBF16 widens a bfloat16, exactly.
func FromBF16(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// ToF16 rounds x to IEEE binary16, to nearest even; what is too large becomes infinite.
func ToF16(x float32) uint16 {
	u := math.Float32bits(x)
	sign, a := uint16(u>>16)&0x8000, u&0x7fffffff
	switch {
	case a > 0x7f800000:
		return sign | 0x7e00
	case a >= 0x477ff000: // rounds to 65520 or more
		return sign | 0x7c00
	case a < 0x38800000: // subnormal: units of 2^−24
		f := math.Float32frombits(a) * (1 << 24)
		return sign | uint16(math.RoundToEven(float64(f)))
	}
	a += 0xfff + a>>13&1
	return sign | uint16((a-0x38000000)>>13)
}

// FromF16 widens an IEEE binary16, exactly.
func FromF16(h uint16) float32 {
	sign, exp, frac := uint32(h&0x8000)<<16, uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch {
	case exp == 31:
		return math.Float32frombits(sign | 0xff<<23 | frac<<13)
	case exp != 0:
		return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
	}
	f := float32(frac) / (1 << 24)
	if sign != 0 {
		f = -f
	}
	return f
}
