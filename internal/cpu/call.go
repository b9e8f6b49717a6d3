package cpu

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/mltrain/mltrain/internal/cpu/par"
	"github.com/mltrain/mltrain/internal/cpu/vec"
	"github.com/mltrain/mltrain/internal/tensor"
)

// call checks the operands of one kernel call. It keeps the first fault and makes later checks harmless.
type call struct {
	kernel string
	err    error
}

func (c *call) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("cpu: %s: %s", c.kernel, fmt.Sprintf(format, args...))
	}
}

// require fails unless ok.
func (c *call) require(ok bool, format string, args ...any) {
	if !ok {
		c.fail(format, args...)
	}
}

// window returns the n elements of t's type from t's offset on. This is the only place where bytes become elements: it
// checks that they lie inside the buffer, are aligned, and may be written if write is set.
func (c *call) window(name string, t tensor.Tensor, n int, write bool) unsafe.Pointer {
	if c.err != nil {
		return nil
	}
	if t.IsZero() {
		c.fail("%s is absent", name)
		return nil
	}
	buf, ok := t.Buf.(*buffer)
	if !ok || buf == nil {
		c.fail("%s %v is not in this device's memory", name, t)
		return nil
	}
	size := int64(t.DType.Size())
	switch have := int64(len(buf.mem)); {
	case n < 0 || t.Off < 0 || t.Off > have || int64(n) > (have-t.Off)/size:
		what := ""
		if have == 0 && buf.size > 0 {
			what = " (freed)"
		}
		c.fail("%s %v needs %d elements at byte %d of a buffer of %d bytes%s", name, t, n, t.Off, have, what)
		return nil
	case write && buf.readOnly:
		c.fail("%s %v is in imported memory, which is read-only", name, t)
		return nil
	}
	p := unsafe.Add(unsafe.Pointer(unsafe.SliceData(buf.mem)), t.Off)
	if uintptr(p)%uintptr(size) != 0 {
		c.fail("%s %v at byte %d is not aligned to its type", name, t, t.Off)
		return nil
	}
	return p
}

// floats is a floating-point operand in memory; one of the slices is set.
type floats struct {
	f []float32
	h []uint16
}

// float returns the first n elements of an operand that is F32 or BF16.
func (c *call) float(name string, t tensor.Tensor, n int, write bool) floats {
	if c.err == nil && !t.IsZero() && t.DType != tensor.F32 && t.DType != tensor.BF16 {
		c.fail("%s is %v, want float32 or bfloat16", name, t)
	}
	p := c.window(name, t, n, write)
	switch {
	case c.err != nil:
	case t.DType == tensor.F32:
		return floats{f: unsafe.Slice((*float32)(p), n)}
	default:
		return floats{h: unsafe.Slice((*uint16)(p), n)}
	}
	return floats{}
}

// halves tells whether all operands are bfloat16.
func halves(xs ...floats) bool {
	return !slices.ContainsFunc(xs, func(x floats) bool { return x.h == nil })
}

// in and out return whole float operands.
func (c *call) in(name string, t tensor.Tensor) floats  { return c.float(name, t, t.Len(), false) }
func (c *call) out(name string, t tensor.Tensor) floats { return c.float(name, t, t.Len(), true) }

// f32 returns the first n elements of an operand that must be F32.
func (c *call) f32(name string, t tensor.Tensor, n int, write bool) []float32 {
	if c.err == nil && !t.IsZero() && t.DType != tensor.F32 {
		c.fail("%s is %v, want float32", name, t)
	}
	if p := c.window(name, t, n, write); p != nil && c.err == nil {
		return unsafe.Slice((*float32)(p), n)
	}
	return nil
}

// i32 returns the n elements of an operand that must be I32 of that length.
func (c *call) i32(name string, t tensor.Tensor, n int) []int32 {
	if c.err == nil && !t.IsZero() && t.Len() != n {
		c.fail("%s is %v, want %d elements", name, t, n)
	}
	return c.ints(name, t, false)
}

// i32Out returns the elements of an I32 output.
func (c *call) i32Out(name string, t tensor.Tensor) []int32 { return c.ints(name, t, true) }

func (c *call) ints(name string, t tensor.Tensor, write bool) []int32 {
	if c.err == nil && !t.IsZero() && t.DType != tensor.I32 {
		c.fail("%s is %v, want int32", name, t)
	}
	if p := c.window(name, t, t.Len(), write); p != nil && c.err == nil {
		return unsafe.Slice((*int32)(p), t.Len())
	}
	return nil
}

// bytes returns the memory of a tensor of any type.
func (c *call) bytes(name string, t tensor.Tensor, write bool) []byte {
	if p := c.window(name, t, t.Len(), write); p != nil && c.err == nil {
		return unsafe.Slice((*byte)(p), t.Bytes())
	}
	return nil
}

// half returns the memory of a 16-bit tensor.
func (c *call) half(name string, t tensor.Tensor, write bool) []uint16 {
	if p := c.window(name, t, t.Len(), write); p != nil && c.err == nil {
		return unsafe.Slice((*uint16)(p), t.Len())
	}
	return nil
}

// length fails unless t has n elements.
func (c *call) length(name string, t tensor.Tensor, n int) {
	c.require(t.Len() == n, "%s is %v, want %d elements", name, t, n)
}

// extent returns the elements from the first to the last of rows of cols elements, stride apart.
func (c *call) extent(name string, rows, cols, stride int) int {
	if rows < 0 || cols < 0 || rows > 1 && stride < cols {
		c.fail("%s has %d rows of %d elements with stride %d", name, rows, cols, stride)
	}
	if rows == 0 || cols == 0 || c.err != nil {
		return 0
	}
	if stride > 0 && rows-1 > (1<<62)/stride {
		c.fail("%s has %d rows with stride %d: too large", name, rows, stride)
		return 0
	}
	return (rows-1)*stride + cols
}

// strided returns an operand of rows of cols elements, stride apart.
func (c *call) strided(name string, t tensor.Tensor, rows, cols, stride int, write bool) floats {
	return c.float(name, t, c.extent(name, rows, cols, stride), write)
}

// read returns elements lo to lo+n in float32: in place, or converted into tmp.
func (x floats) read(v *vec.Ops, lo, n int, tmp []float32) []float32 {
	if x.h == nil {
		return x.f[lo : lo+n : lo+n]
	}
	tmp = tmp[:n]
	v.FromBF16(tmp, x.h[lo:lo+n])
	return tmp
}

// dst returns where to compute elements lo to lo+n: in place, or in tmp. flush must follow.
func (x floats) dst(lo, n int, tmp []float32) []float32 {
	if x.h == nil {
		return x.f[lo : lo+n : lo+n]
	}
	return tmp[:n]
}

// flush stores what was computed in dst's slice.
func (x floats) flush(v *vec.Ops, lo int, d []float32) {
	if x.h != nil {
		v.ToBF16(x.h[lo:lo+len(d)], d)
	}
}

// store writes d to the elements from lo on, or adds it; tmp is for conversion.
func (x floats) store(v *vec.Ops, lo int, d []float32, acc bool, tmp []float32) {
	switch {
	case x.h == nil && acc:
		y := x.f[lo : lo+len(d)]
		v.Add(y, y, d)
	case x.h == nil:
		copy(x.f[lo:lo+len(d)], d)
	case acc:
		tmp = tmp[:len(d)]
		v.FromBF16(tmp, x.h[lo:lo+len(d)])
		v.Add(tmp, tmp, d)
		v.ToBF16(x.h[lo:lo+len(d)], tmp)
	default:
		v.ToBF16(x.h[lo:lo+len(d)], d)
	}
}

// zero clears elements lo to hi.
func (x floats) zero(lo, hi int) {
	if x.h != nil {
		clear(x.h[lo:hi])
	} else {
		clear(x.f[lo:hi])
	}
}

// parts runs f over [0,n) in parts of at most size, in parallel.
func parts(n, size int, f func(lo, hi int)) {
	if n <= 0 {
		return
	}
	par.Do((n+size-1)/size, func(i int) { f(i*size, min(n, (i+1)*size)) })
}

// rowParts runs f over rows of cols elements in parts of about grain elements, in parallel.
func rowParts(rows, cols int, f func(lo, hi int)) { parts(rows, max(1, grain/max(1, cols)), f) }

// pieces calls f for the pieces of [lo,hi).
func pieces(lo, hi int, f func(lo, n int)) {
	for ; lo < hi; lo += piece {
		f(lo, min(piece, hi-lo))
	}
}
