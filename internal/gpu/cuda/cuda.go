// Package cuda is the driver of package gpu for NVIDIA GPUs, in programs built with the tag cuda. Such a program needs no
// CUDA SDK to build and only libc to start: libcuda is looked for when a device is asked for.
package cuda

import (
	"errors"

	"github.com/mltrain/mltrain/internal/gpu"
)

// Why there is no device.
var (
	// ErrNotBuilt is returned by a program that was built without the tag cuda.
	ErrNotBuilt = errors.New("this program was built without CUDA (build it with 'make build' where there is a C compiler)")
	// ErrNoDevice is the cause when there is no driver, or no GPU that can be used.
	ErrNoDevice = errors.New("no usable GPU")
)

// Device describes a GPU of this machine.
type Device struct {
	Index          int    `json:"index"`
	Name           string `json:"name"`
	Major          int    `json:"compute_major"`
	Minor          int    `json:"compute_minor"`
	Memory         int64  `json:"memory_bytes"`
	Multiprocs     int    `json:"multiprocessors"`
	SharedPerBlock int    `json:"shared_memory_per_block"` // the most that a kernel can ask for
	Usable         bool   `json:"usable"`
	Why            string `json:"why,omitempty"` // not usable
}

// Driver describes what is installed.
type Driver struct {
	Built   bool     `json:"built_in"`          // this program can use one
	Version string   `json:"version,omitempty"` // the CUDA version that the driver serves: "12.4"
	Devices []Device `json:"devices"`
	Problem string   `json:"problem,omitempty"` // why there is none
}

// EnvLibrary is the variable of the environment that keeps a program from multiplying by cuBLASLt: "off".
const EnvLibrary = "MLTRAIN_CUBLASLT"

// LibraryOf returns the library that multiplies for a driver of this package, or why there is none.
func LibraryOf(d gpu.Driver) Library {
	if l, ok := d.(interface{ Library() Library }); ok {
		return l.Library()
	}
	return Library{}
}

// Library is NVIDIA's library for products of matrices.
type Library struct {
	File    string `json:"file,omitempty"`    // "libcublasLt.so.12"
	Version string `json:"version,omitempty"` // "12.4.1"
	Problem string `json:"problem,omitempty"` // why it is not used
}

// Options say how to use a GPU.
type Options struct {
	// OwnProducts leaves all products to mltrain's own kernels, though cuBLASLt may be there.
	OwnProducts bool
}
