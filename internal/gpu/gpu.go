// Package gpu is the GPU backend: tensor.Backend implemented by the PTX kernels of package kernels, over a small Driver.
//
// NewEmulator gives it the interpreter of package ptxvm as its driver, so that every kernel runs, and is tested, without a
// GPU. Work is ordered on one queue; a call checks its operands on the host, launches and returns. Indices (token ids,
// positions, rows, sequence boundaries) are checked too: the backend remembers the integers that were uploaded, so that
// this costs no synchronisation.
package gpu

import (
	"fmt"
	"maps"
	"sync"

	"github.com/mltrain/mltrain/internal/tensor"
	"github.com/mltrain/mltrain/kernels"
)

// Backend computes on one GPU. Its methods may be called from one goroutine at a time, except Alloc and Free.
type Backend struct {
	driver    Driver
	name      string
	texts     map[string]string // PTX of the modules that are not loaded yet
	modules   map[string]Module
	functions map[string]Function
	scratch   *buffer // memory of single kernel calls, which follow one another on the queue
	params    []byte

	mu   sync.Mutex
	used map[tensor.Use]int64
	now  int64 // bytes of used
	peak int64
}

var (
	_ tensor.Backend          = (*Backend)(nil)
	_ tensor.PeakMeter        = (*Backend)(nil)
	_ tensor.Reserver         = (*Backend)(nil)
	_ tensor.Quant4Multiplier = (*Backend)(nil)
	_ tensor.Updater8         = (*Backend)(nil)
)

// New returns a backend over a driver. Kernels are loaded file by file when they are first needed, as a driver takes seconds
// to compile them all, but for one file that tells whether it takes the PTX at all.
func New(d Driver) (*Backend, error) {
	texts, err := kernels.PTX()
	if err != nil {
		return nil, fmt.Errorf("gpu: %w", err)
	}
	b := withKernels(d, texts)
	if _, err := b.module("elementwise"); err != nil {
		return nil, fmt.Errorf("gpu: %w", err)
	}
	return b, nil
}

// withKernels is New with kernels that are given by the name of their source.
func withKernels(d Driver, texts map[string]string) *Backend {
	b := &Backend{
		driver: d, name: d.Info().Name, texts: texts, modules: map[string]Module{}, functions: map[string]Function{}, used: map[tensor.Use]int64{},
	}
	for use, n := range b.Reserved() {
		b.used[use] = n
		b.now += n
	}
	b.peak = b.now
	return b
}

// Reserved returns the memory that the driver holds from the start, for its library of products.
func (b *Backend) Reserved() map[tensor.Use]int64 {
	if r, ok := b.driver.(Reserver); ok && r.Reserved() > 0 {
		return map[tensor.Use]int64{tensor.UseLibrary: r.Reserved()}
	}
	return nil
}

// module returns the kernels of a source, loaded once.
func (b *Backend) module(name string) (Module, error) {
	if m := b.modules[name]; m != nil {
		return m, nil
	}
	text, ok := b.texts[name]
	if !ok {
		return nil, fmt.Errorf("no kernels %q", name)
	}
	m, err := b.driver.Load(text)
	if err != nil {
		return nil, fmt.Errorf("kernels %s: %w", name, err)
	}
	b.modules[name] = m
	delete(b.texts, name)
	return m, nil
}

// Name returns the device's name, like "emulator" or "NVIDIA H100".
func (b *Backend) Name() string { return b.name }

// Allocated returns the bytes that are allocated now, by purpose, without the scratch memory of kernels.
func (b *Backend) Allocated() map[tensor.Use]int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.used)
}

// Peak returns the most bytes that were allocated at one time, without the scratch memory of kernels.
func (b *Backend) Peak() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.peak
}

// Sync waits until all work is done.
func (b *Backend) Sync() error { return b.driver.Sync() }
