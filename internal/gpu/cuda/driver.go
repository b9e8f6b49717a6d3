//go:build cuda && linux && (amd64 || arm64)

package cuda

// #cgo CFLAGS: -I${SRCDIR}/abi
// #cgo LDFLAGS: -L${SRCDIR}/abi -ldl
// #include <stdlib.h>
// #include "library.h"
import "C"

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/mltrain/mltrain/internal/gpu"
)

// driver is one GPU, with one stream that all work goes to.
type driver struct {
	device  Device
	context cu.CUContext
	queue   C.mlt_queue
	staging staging
	mu      sync.Mutex // held by what uses the staging memory
	lt      Library
	blas    *blas // nil without the library
}

// Open makes the GPU of an index ready. Its errors wrap ErrNoDevice when it is not there or cannot be used.
func Open(index int, o Options) (gpu.Driver, error) {
	p := Probe()
	switch {
	case p.Problem != "":
		return nil, fmt.Errorf("%w: %s", ErrNoDevice, p.Problem)
	case index < 0 || index >= len(p.Devices):
		return nil, fmt.Errorf("%w: no device %d, there are %d", ErrNoDevice, index, len(p.Devices))
	case !p.Devices[index].Usable:
		return nil, fmt.Errorf("%w: %s: %s", ErrNoDevice, p.Devices[index].Name, p.Devices[index].Why)
	}
	d := &driver{device: p.Devices[index]}
	dev, err := cu.GetDevice(index)
	if err != nil {
		return nil, fmt.Errorf("cuda: device %d: %w", index, err)
	}
	if d.context, err = dev.RetainPrimaryCtx(); err != nil {
		return nil, fmt.Errorf("cuda: %s: context: %w", d.device.Name, err)
	}
	d.queue.ctx = *(*C.CUcontext)(unsafe.Pointer(&d.context))
	err = d.current(func() error {
		stream, err := cu.MakeStream(cu.NonBlocking)
		if err != nil {
			return err
		}
		d.queue.stream = *(*C.CUstream)(unsafe.Pointer(&stream))
		return d.staging.open(d.queue)
	})
	if err == nil && !o.OwnProducts {
		err = d.useLibrary()
	}
	if err != nil {
		return nil, fmt.Errorf("cuda: %s: %w", d.device.Name, err)
	}
	return d, nil
}

// current runs calls of package cu with the device's context on their thread.
func (d *driver) current(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cu.SetCurrentContext(d.context); err != nil {
		return err
	}
	return f()
}

// result turns a driver's result into an error.
func result(what string, code C.int) error {
	if code == C.CUDA_SUCCESS {
		return nil
	}
	var text [256]C.char
	C.mlt_error(code, &text[0], C.size_t(len(text)))
	err := fmt.Errorf("cuda: %s: %s", what, C.GoString(&text[0]))
	if code == C.CUDA_ERROR_OUT_OF_MEMORY {
		return fmt.Errorf("%w: %w", gpu.ErrNoMemory, err)
	}
	return err
}

func (d *driver) Info() gpu.Info {
	info := gpu.Info{Name: d.device.Name, Total: d.device.Memory, Major: d.device.Major, Minor: d.device.Minor}
	// A device that is lost has no free memory, and says why at the next call.
	_ = d.current(func() (err error) {
		info.Free, info.Total, err = cu.MemInfo()
		return err
	})
	return info
}

func (d *driver) Alloc(n int64) (p gpu.Ptr, err error) {
	err = d.current(func() error {
		at, err := cu.MemAlloc(n)
		p = gpu.Ptr(at)
		return err
	})
	if err == cu.OutOfMemory {
		return 0, fmt.Errorf("%w: %w", gpu.ErrNoMemory, err)
	}
	return p, err
}

func (d *driver) Free(p gpu.Ptr) error {
	return d.current(func() error { return cu.MemFree(cu.DevicePtr(p)) })
}

func (d *driver) Copy(dst, src gpu.Ptr, n int64) error {
	return result("copy", C.mlt_copy(d.queue, C.CUdeviceptr(dst), C.CUdeviceptr(src), C.size_t(n)))
}

func (d *driver) Set(dst gpu.Ptr, value byte, n int64) error {
	return result("set", C.mlt_set(d.queue, C.CUdeviceptr(dst), C.uchar(value), C.size_t(n)))
}

func (d *driver) Sync() error { return result("synchronize", C.mlt_sync(d.queue)) }

// Upload copies into pinned memory, begins the transfer and returns.
func (d *driver) Upload(dst gpu.Ptr, src []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.staging.upload(d.queue, dst, src)
}

func (d *driver) Download(dst []byte, src gpu.Ptr) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.staging.download(d.queue, dst, src)
}

// module is a loaded PTX text.
type module struct {
	d *driver
	m cu.Module
}

func (d *driver) Load(ptx string) (gpu.Module, error) {
	text := C.CString(ptx)
	defer C.free(unsafe.Pointer(text))
	const logBytes = 4096
	log := (*C.char)(C.calloc(1, logBytes))
	defer C.free(unsafe.Pointer(log))
	m := module{d: d}
	if err := result("load", C.mlt_load(d.queue, text, (*C.CUmodule)(unsafe.Pointer(&m.m)), log, logBytes-1)); err != nil {
		if said := strings.TrimSpace(C.GoString(log)); said != "" {
			err = fmt.Errorf("%w: %s", err, said)
		}
		return nil, err
	}
	return m, nil
}

func (m module) Function(name string) (gpu.Function, error) {
	f := &function{d: m.d, name: name}
	err := m.d.current(func() error {
		fn, err := m.m.Function(name)
		f.f = *(*C.CUfunction)(unsafe.Pointer(&fn))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cuda: no kernel %s: %w", name, err)
	}
	return f, nil
}

// function is a kernel.
type function struct {
	d      *driver
	name   string
	f      C.CUfunction
	shared int // dynamic shared memory that it was allowed
}

// Kernels have this much dynamic shared memory without asking.
const freeShared = 48 << 10

func (f *function) Launch(grid, block [3]int, shared int, params []byte) error {
	if shared > freeShared && shared > f.shared {
		if err := result(f.name+" with "+fmt.Sprint(shared)+" bytes of shared memory", C.mlt_shared(f.d.queue, f.f, C.int(shared))); err != nil {
			return err
		}
		f.shared = shared
	}
	var shape [6]C.uint
	for i := range 3 {
		shape[i], shape[3+i] = C.uint(max(1, grid[i])), C.uint(max(1, block[i]))
	}
	code := C.mlt_launch(f.d.queue, f.f, &shape[0], C.uint(shared), unsafe.Pointer(unsafe.SliceData(params)), C.size_t(len(params)))
	if code == C.CUDA_SUCCESS {
		return nil
	}
	return result(fmt.Sprintf("launch of %s on %v blocks of %v threads", f.name, grid, block), code)
}
