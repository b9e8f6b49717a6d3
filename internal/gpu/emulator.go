package gpu

import (
	"fmt"

	"github.com/mltrain/mltrain/internal/gpu/ptxvm"
	"github.com/mltrain/mltrain/internal/tensor"
)

// emulatorMemory is the most memory that an emulated device has. It is the host's, and taken as it is allocated.
const emulatorMemory = 64 << 30

// NewEmulator returns a backend that runs the GPU's kernels in the PTX interpreter: exact and strict, and thousands of
// times slower than a GPU.
func NewEmulator() (tensor.Backend, error) {
	return New(EmulatorDriver())
}

// EmulatorDriver returns the driver of NewEmulator.
func EmulatorDriver() Driver { return &emulator{mem: ptxvm.NewMemory(emulatorMemory)} }

// emulator is the driver over package ptxvm. Every call is complete when it returns.
type emulator struct{ mem *ptxvm.Memory }

func (e *emulator) Info() Info {
	return Info{Name: "emulator", Free: e.mem.Limit() - e.mem.Used(), Total: e.mem.Limit(), Major: 8, Minor: 0}
}

func (e *emulator) Alloc(n int64) (Ptr, error) {
	p, err := e.mem.Alloc(n)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrNoMemory, err)
	}
	return Ptr(p), nil
}

func (e *emulator) Free(p Ptr) error                       { return e.mem.Free(uint64(p)) }
func (e *emulator) Upload(dst Ptr, src []byte) error       { return e.mem.Write(uint64(dst), src) }
func (e *emulator) Download(dst []byte, src Ptr) error     { return e.mem.Read(dst, uint64(src)) }
func (e *emulator) Copy(dst, src Ptr, n int64) error       { return e.mem.Copy(uint64(dst), uint64(src), n) }
func (e *emulator) Set(dst Ptr, value byte, n int64) error { return e.mem.Set(uint64(dst), value, n) }
func (e *emulator) Sync() error                            { return nil }

func (e *emulator) Load(ptx string) (Module, error) {
	m, err := ptxvm.Load(ptx)
	if err != nil {
		return nil, err
	}
	return emulatorModule{e, m}, nil
}

type emulatorModule struct {
	e *emulator
	m *ptxvm.Module
}

func (m emulatorModule) Function(name string) (Function, error) {
	k := m.m.Kernel(name)
	if k == nil {
		return nil, fmt.Errorf("no kernel %s", name)
	}
	return emulatorFunction{m.e, k}, nil
}

type emulatorFunction struct {
	e *emulator
	k *ptxvm.Kernel
}

func (f emulatorFunction) Launch(grid, block [3]int, shared int, params []byte) error {
	return f.k.Launch(f.e.mem, grid, block, shared, params)
}
