//go:build cuda && linux && (amd64 || arm64)

package cuda

// #include "blas.h"
import "C"

import (
	"fmt"

	"github.com/mltrain/mltrain/internal/gpu"
	"github.com/mltrain/mltrain/internal/tensor"
)

// blasRoom is the memory that cuBLASLt may work in, as NVIDIA recommends for its fastest GPUs. It is taken when a device is
// opened, once, and part of every run's plan: see Reserved.
const blasRoom = 32 << 20

// blas is cuBLASLt on one device. Nothing is looked up twice: what the library needs for a shape is prepared when it is first
// multiplied, and kept. Products come from one goroutine, as all kernels do.
type blas struct {
	lib   *C.mlt_blas
	room  gpu.Ptr
	plans map[C.mlt_product]*C.mlt_plan // nil for shapes that the library does not multiply
}

// FindLibrary looks for cuBLASLt.
func FindLibrary() Library {
	lib, l := openBLAS(nil)
	if lib != nil {
		C.mlt_blas_close(lib)
	}
	return l
}

func openBLAS(ctx C.CUcontext) (*C.mlt_blas, Library) {
	var text [256]C.char
	lib := C.mlt_blas_open(ctx, &text[0], C.size_t(len(text)))
	if lib == nil {
		return nil, Library{Problem: C.GoString(&text[0])}
	}
	v := uint64(C.mlt_blas_version(lib))
	return lib, Library{File: C.GoString(&text[0]), Version: fmt.Sprintf("%d.%d.%d", v/10000, v/100%100, v%100)}
}

// Library returns the library that multiplies for this driver, or why there is none.
func (d *driver) Library() Library { return d.lt }

// Reserved returns the memory that cuBLASLt works in.
func (d *driver) Reserved() int64 {
	if d.blas == nil {
		return 0
	}
	return blasRoom
}

// useLibrary makes the driver multiply by cuBLASLt, if it is there.
func (d *driver) useLibrary() error {
	lib, l := openBLAS(d.queue.ctx)
	if lib == nil {
		d.lt = l
		return nil
	}
	room, err := d.Alloc(blasRoom)
	if err != nil {
		C.mlt_blas_close(lib)
		return fmt.Errorf("%d bytes for cuBLASLt: %w; set %s=off to do without", int64(blasRoom), err, EnvLibrary)
	}
	d.lt, d.blas = l, &blas{lib: lib, room: room, plans: map[C.mlt_product]*C.mlt_plan{}}
	return nil
}

// alignment returns the power of two, up to 256, that addresses are multiples of.
func alignment(p gpu.Ptr) C.uint32_t {
	n := C.uint32_t(256)
	for uint64(p)%uint64(n) != 0 {
		n /= 2
	}
	return n
}

func truth(b bool) C.int {
	if b {
		return 1
	}
	return 0
}

// Multiply begins a product, and tells whether there is a library that does it.
func (d *driver) Multiply(p gpu.Product) (bool, error) {
	if d.blas == nil {
		return false, nil
	}
	key := C.mlt_product{
		trans_a: truth(p.TransA), trans_b: truth(p.TransB), c_is_f32: truth(p.CType == tensor.F32), has_bias: truth(p.Bias != 0), batch: C.int(max(1, p.Batch)),
		m: C.int64_t(p.M), n: C.int64_t(p.N), k: C.int64_t(p.K), lda: C.int64_t(p.LDA), ldb: C.int64_t(p.LDB), ldc: C.int64_t(p.LDC),
		stride_a: C.int64_t(p.StrideA), stride_b: C.int64_t(p.StrideB), stride_c: C.int64_t(p.StrideC),
		align_a: alignment(p.A), align_b: alignment(p.B), align_c: alignment(p.C), align_bias: alignment(p.Bias),
	}
	plan, known := d.blas.plans[key]
	if !known {
		if code := C.mlt_blas_plan(d.blas.lib, &key, C.CUdeviceptr(p.Bias), blasRoom, &plan); code != 0 {
			return false, libraryFault(p, "cublasLtMatmulAlgoGetHeuristic", code)
		}
		d.blas.plans[key] = plan
	}
	if plan == nil {
		return false, nil
	}
	code := C.mlt_blas_run(d.blas.lib, d.queue, plan, C.float(p.Alpha), C.float(p.Beta), C.CUdeviceptr(p.A), C.CUdeviceptr(p.B), C.CUdeviceptr(p.C),
		C.CUdeviceptr(p.Bias), C.CUdeviceptr(d.blas.room))
	if code != 0 {
		return false, libraryFault(p, "cublasLtMatmul", code)
	}
	return true, nil
}

func libraryFault(p gpu.Product, function string, code C.int) error {
	return fmt.Errorf("%s: cuBLAS status %d for %+v into %v; set %s=off to do without the library", function, code, p.GemmSpec, p.CType, EnvLibrary)
}

var (
	_ gpu.Multiplier = (*driver)(nil)
	_ gpu.Reserver   = (*driver)(nil)
)
