package cpu

import (
	"errors"
	"fmt"
	"maps"
	"unsafe"

	"github.com/mltrain/mltrain/internal/tensor"
)

// ErrNoMemory is the cause when the system refuses memory.
var ErrNoMemory = errors.New("out of memory")

// buffer is memory of the backend: an anonymous mapping for large sizes, whose untouched pages cost nothing and which
// goes back to the system when freed; Go memory for small ones; or the caller's bytes if imported.
type buffer struct {
	mem      []byte // aligned to 64 bytes unless imported
	size     int64
	use      tensor.Use
	counted  bool
	mapping  []byte // set if mem is a mapping
	readOnly bool
}

// Bytes is the size of the buffer.
func (b *buffer) Bytes() int64 { return b.size }

const (
	alignment = 64
	mapAbove  = 1 << 20
)

// Alloc returns zeroed memory.
func (b *Backend) Alloc(bytes int64, use tensor.Use) (tensor.Buffer, error) {
	if bytes < 0 || int64(int(bytes)) != bytes {
		return nil, fmt.Errorf("cpu: alloc of %d bytes for %s: impossible size", bytes, use)
	}
	buf := &buffer{size: bytes, use: use, counted: true}
	if bytes >= mapAbove {
		m, err := mapMemory(int(bytes))
		if err != nil {
			return nil, fmt.Errorf("cpu: alloc of %d bytes for %s: %w: %w", bytes, use, ErrNoMemory, err)
		}
		buf.mapping, buf.mem = m, m
	} else {
		buf.mem = alignedBytes(int(bytes))
	}
	b.count(use, bytes)
	return buf, nil
}

// count adds bytes to what is allocated.
func (b *Backend) count(use tensor.Use, bytes int64) {
	b.mu.Lock()
	b.used[use] += bytes
	b.total += bytes
	b.peak = max(b.peak, b.total)
	b.mu.Unlock()
}

func alignedBytes(n int) []byte {
	raw := make([]byte, n+alignment-1)
	off := int(-uintptr(unsafe.Pointer(unsafe.SliceData(raw))) & (alignment - 1))
	return raw[off : off+n : off+n]
}

// Import returns a read-only buffer over p. The bytes are used where they lie unless they are not aligned for every
// element type: then they are copied. Either way they count as mapped weights.
func (b *Backend) Import(p []byte) (tensor.Buffer, error) {
	if uintptr(unsafe.Pointer(unsafe.SliceData(p)))%4 == 0 {
		b.count(tensor.UseMapped, int64(len(p)))
		return &buffer{mem: p, size: int64(len(p)), use: tensor.UseMapped, counted: true, readOnly: true}, nil
	}
	t, err := b.Alloc(int64(len(p)), tensor.UseMapped)
	if err != nil {
		return nil, err
	}
	buf := t.(*buffer)
	copy(buf.mem, p)
	buf.readOnly = true
	return buf, nil
}

// Free returns the memory of a buffer. Tensors in it must not be used any more; kernels refuse them.
func (b *Backend) Free(t tensor.Buffer) {
	buf, ok := t.(*buffer)
	if !ok || buf == nil {
		return
	}
	b.mu.Lock()
	if buf.counted {
		b.used[buf.use] -= buf.size
		b.total -= buf.size
		buf.counted = false
	}
	mapping := buf.mapping
	buf.mem, buf.mapping = nil, nil
	b.mu.Unlock()
	if mapping != nil {
		unmapMemory(mapping)
	}
}

// Allocated returns the bytes that are allocated now, by purpose, imported memory included.
func (b *Backend) Allocated() map[tensor.Use]int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.used)
}

// Peak returns the most bytes that were allocated at one time, imported memory included.
func (b *Backend) Peak() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.peak
}

// Sync does nothing: every call returns when its work is done.
func (b *Backend) Sync() error { return nil }

// Upload copies host bytes into dst.
func (b *Backend) Upload(dst tensor.Tensor, src []byte) error {
	c := call{kernel: "upload"}
	d := c.bytes("dst", dst, true)
	if c.err == nil && len(src) != len(d) {
		c.fail("%d bytes for %v, which takes %d", len(src), dst, len(d))
	}
	if c.err == nil {
		copy(d, src)
	}
	return c.err
}

// Download copies src to the host.
func (b *Backend) Download(dst []byte, src tensor.Tensor) error {
	c := call{kernel: "download"}
	s := c.bytes("src", src, false)
	if c.err == nil && len(dst) != len(s) {
		c.fail("%d bytes for %v, which takes %d", len(dst), src, len(s))
	}
	if c.err == nil {
		copy(dst, s)
	}
	return c.err
}

// Zero clears dst.
func (b *Backend) Zero(dst tensor.Tensor) error {
	c := call{kernel: "zero"}
	d := c.bytes("dst", dst, true)
	if c.err == nil {
		parts(len(d), 4*grain, func(lo, hi int) { clear(d[lo:hi]) })
	}
	return c.err
}
