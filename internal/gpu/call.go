package gpu

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/mltrain/mltrain/internal/tensor"
)

// call checks the operands of one kernel call and launches. It keeps the first fault and makes later steps harmless.
type call struct {
	b      *Backend
	kernel string
	err    error
}

func (c *call) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("gpu: %s: %s", c.kernel, fmt.Sprintf(format, args...))
	}
}

// require fails unless ok.
func (c *call) require(ok bool, format string, args ...any) {
	if !ok {
		c.fail(format, args...)
	}
}

// wrap names the kernel in a driver's error.
func (c *call) wrap(err error) error {
	if err != nil && c.err == nil {
		c.err = fmt.Errorf("gpu: %s: %w", c.kernel, err)
	}
	return c.err
}

// window returns the address of n elements of t's type from t's offset on. It checks that they lie inside of the buffer
// and are aligned.
func (c *call) window(name string, t tensor.Tensor, n int, write bool) Ptr {
	if c.err != nil {
		return 0
	}
	if t.IsZero() {
		c.fail("%s is absent", name)
		return 0
	}
	buf, ok := t.Buf.(*buffer)
	size := int64(t.DType.Size())
	switch {
	case !ok || buf == nil:
		c.fail("%s %v is not in this device's memory", name, t)
	case buf.freed:
		c.fail("%s %v is in memory that was freed", name, t)
	case n < 0 || t.Off < 0 || t.Off > buf.size || int64(n) > (buf.size-t.Off)/size:
		c.fail("%s %v needs %d elements at byte %d of a buffer of %d bytes", name, t, n, t.Off, buf.size)
	case t.Off%size != 0:
		c.fail("%s %v at byte %d is not aligned to its type", name, t, t.Off)
	default:
		if write {
			buf.seen.forget(t.Off, int64(n)*size)
		}
		return buf.at + Ptr(t.Off)
	}
	return 0
}

// typed returns the address of the first n elements of an operand that must have the given type.
func (c *call) typed(name string, t tensor.Tensor, dt tensor.DType, n int, write bool) Ptr {
	if c.err == nil && !t.IsZero() && t.DType != dt {
		c.fail("%s is %v, want %v", name, t, dt)
	}
	return c.window(name, t, n, write)
}

// float checks that an operand is F32 or BF16, and returns its address.
func (c *call) float(name string, t tensor.Tensor, n int, write bool) Ptr {
	if c.err == nil && !t.IsZero() && t.DType != tensor.F32 && t.DType != tensor.BF16 {
		c.fail("%s is %v, want float32 or bfloat16", name, t)
	}
	return c.window(name, t, n, write)
}

// f32 returns the address of the first n elements of an operand that must be F32.
func (c *call) f32(name string, t tensor.Tensor, n int, write bool) Ptr {
	return c.typed(name, t, tensor.F32, n, write)
}

// ids returns the address of n integers, all of which must lie in [0, below) or equal except.
func (c *call) ids(name string, t tensor.Tensor, n, below int, except int32) Ptr {
	p := c.i32(name, t, n)
	if c.err != nil {
		return 0
	}
	for i, id := range c.hostInts(name, t) {
		if id != except && (id < 0 || int(id) >= below) {
			c.fail("%s %d is %d, want 0 to %d", name, i, id, below-1)
			return 0
		}
	}
	return p
}

// i32 returns the address of an operand of exactly n integers.
func (c *call) i32(name string, t tensor.Tensor, n int) Ptr {
	if c.err == nil && !t.IsZero() && t.Len() != n {
		c.fail("%s is %v, want %d elements", name, t, n)
	}
	return c.typed(name, t, tensor.I32, n, false)
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

// strided returns the address of rows of cols elements of the given type, stride apart.
func (c *call) strided(name string, t tensor.Tensor, dt tensor.DType, rows, cols, stride int, write bool) Ptr {
	return c.typed(name, t, dt, c.extent(name, rows, cols, stride), write)
}

// activation returns the suffix of the kernels for a type of activations.
func (c *call) activation(name string, t tensor.Tensor) string {
	if t.DType != tensor.F32 && t.DType != tensor.BF16 {
		c.require(t.IsZero(), "%s is %v, want float32 or bfloat16", name, t)
		c.fail("%s is absent", name)
	}
	s, _ := typeSuffix(t.DType)
	return s
}

// typeSuffix is how kernels' names spell a type.
func typeSuffix(dt tensor.DType) (string, bool) {
	switch dt {
	case tensor.F32:
		return "f32", true
	case tensor.BF16:
		return "bf16", true
	case tensor.F16:
		return "f16", true
	case tensor.I32:
		return "i32", true
	}
	return "", false
}

// code is the number by which kernels know a type at run time.
func code(t tensor.Tensor) int32 { return int32(t.DType) }

// i32of converts a size that a kernel takes as a 32-bit number.
func (c *call) i32of(n int) int32 {
	c.require(n >= math.MinInt32 && n <= math.MaxInt32, "size %d is beyond 32 bits", n)
	return int32(n)
}

func flag(b bool) int32 {
	if b {
		return 1
	}
	return 0
}

// The most threads of a block, and blocks of a grid-stride launch.
const (
	maxThreads = 256
	maxBlocks  = 4096
)

// each launches a grid-stride kernel over n elements.
func (c *call) each(module, kernel string, n int, args ...any) {
	c.launch(module, kernel, [3]int{min(maxBlocks, blocks(n, maxThreads))}, [3]int{min(maxThreads, roundUp(n, 32))}, args...)
}

// pieces launches a grid-stride kernel over n elements that takes them in pieces of 16 bytes where it can.
func (c *call) pieces(module, kernel string, n int, dt tensor.DType, args ...any) {
	c.each(module, kernel, blocks(n, pieceBytes/max(1, dt.Size())), args...)
}

// pieceBytes is the most that a thread loads at one time, and the alignment that this needs.
const pieceBytes = 16

// pieceThreads returns the threads of a block that takes a row of cols elements in pieces.
func pieceThreads(cols int, dt tensor.DType) int {
	return rowThreads(blocks(cols, pieceBytes/max(1, dt.Size())))
}

// whole tells whether rows of cols elements can be taken in pieces: they and all operands begin at multiples of a piece.
func whole(dt tensor.DType, cols int, operands ...Ptr) bool {
	for _, p := range operands {
		if p%pieceBytes != 0 {
			return false
		}
	}
	return cols*dt.Size()%pieceBytes == 0
}

func blocks(n, size int) int  { return (n + size - 1) / size }
func roundUp(n, m int) int    { return (n + m - 1) / m * m }
func rowThreads(cols int) int { return min(maxThreads, roundUp(max(1, cols), 32)) }

// launch runs a kernel. Arguments are packed as C lays out parameters. A launch of no blocks does nothing.
func (c *call) launch(module, kernel string, grid, block [3]int, args ...any) {
	c.launchShared(module, kernel, grid, block, 0, args...)
}

// launchShared is launch with bytes of dynamic shared memory.
func (c *call) launchShared(module, kernel string, grid, block [3]int, shared int, args ...any) {
	if c.err != nil || grid[0] == 0 {
		return
	}
	f, ok := c.b.functions[kernel]
	if !ok {
		m, err := c.b.module(module)
		if err == nil {
			f, err = m.Function(kernel)
		}
		if err != nil {
			c.err = c.wrap(err)
			return
		}
		c.b.functions[kernel] = f
	}
	c.b.params = pack(c.b.params[:0], args)
	c.err = c.wrap(f.Launch(grid, block, shared, c.b.params))
}

// pack appends arguments, each aligned to its size.
func pack(b []byte, args []any) []byte {
	pad := func(n int) {
		for len(b)%n != 0 {
			b = append(b, 0)
		}
	}
	for _, a := range args {
		switch a := a.(type) {
		case Ptr:
			pad(8)
			b = binary.LittleEndian.AppendUint64(b, uint64(a))
		case int64:
			pad(8)
			b = binary.LittleEndian.AppendUint64(b, uint64(a))
		case uint64:
			pad(8)
			b = binary.LittleEndian.AppendUint64(b, a)
		case int32:
			pad(4)
			b = binary.LittleEndian.AppendUint32(b, uint32(a))
		case uint32:
			pad(4)
			b = binary.LittleEndian.AppendUint32(b, a)
		case float32:
			pad(4)
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(a))
		case []byte: // a structure, aligned to 8
			pad(8)
			b = append(b, a...)
		default:
			panic(fmt.Sprintf("gpu: kernel argument of type %T", a))
		}
	}
	return b
}
