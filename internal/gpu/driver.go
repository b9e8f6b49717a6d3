package gpu

import (
	"errors"

	"github.com/mltrain/mltrain/internal/tensor"
)

// Ptr is an address in device memory.
type Ptr uint64

// ErrNoMemory is the cause when a device has too little free memory.
var ErrNoMemory = errors.New("out of device memory")

// Info describes a device.
type Info struct {
	Name         string
	Free, Total  int64 // bytes of memory
	Major, Minor int   // compute capability
}

// Driver is what the backend needs of a GPU. Work is done in the order of the calls; all but Download and Sync may return
// before theirs is done, but have copied what they need of the caller's memory.
type Driver interface {
	Info() Info
	// Alloc returns n > 0 bytes, aligned to 256, with undefined contents. It wraps ErrNoMemory when there is no room.
	Alloc(n int64) (Ptr, error)
	Free(p Ptr) error
	Upload(dst Ptr, src []byte) error
	// Download waits for the work before it.
	Download(dst []byte, src Ptr) error
	Copy(dst, src Ptr, n int64) error
	// Set fills n bytes with a value.
	Set(dst Ptr, value byte, n int64) error
	// Load makes a module of a PTX text.
	Load(ptx string) (Module, error)
	// Sync waits for all work and reports its faults.
	Sync() error
}

// Module holds kernels.
type Module interface {
	Function(name string) (Function, error)
}

// Function is a kernel.
type Function interface {
	// Launch runs the kernel on grid blocks of block threads, with shared bytes of dynamic shared memory. params is the
	// block of its parameters, laid out as C does; it may be reused on return.
	Launch(grid, block [3]int, shared int, params []byte) error
}

// Product is a product of bfloat16 matrices in device memory, whose rows begin at multiples of 16 bytes. C is CType, float32 or
// bfloat16; Bias is too, and 0 if there is none.
type Product struct {
	tensor.GemmSpec
	C, A, B, Bias Ptr
	CType         tensor.DType
}

// Multiplier is implemented by drivers that may have a library for products of matrices.
type Multiplier interface {
	// Multiply begins a product. It tells whether it did: false, without an error, leaves the product to mltrain's own kernel.
	Multiply(p Product) (bool, error)
}

// Reserver is implemented by drivers that hold device memory from the start, for a library to work in.
type Reserver interface {
	// Reserved returns the bytes.
	Reserved() int64
}
