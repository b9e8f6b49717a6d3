package gpu

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mltrain/mltrain/internal/tensor"
)

// buffer is an allocation.
type buffer struct {
	at    Ptr
	size  int64
	use   tensor.Use
	freed bool
	seen  mirror
}

// Bytes is the size of the buffer.
func (b *buffer) Bytes() int64 { return b.size }

// mirror holds what was uploaded to a buffer and not overwritten since, in small uploads: integers that later calls
// check. Parts do not overlap.
type mirror struct{ parts []mirrored }

type mirrored struct {
	off  int64
	data []byte
}

// The largest upload that is remembered, and the most parts of a buffer.
const (
	mirrorBytes = 4 << 20
	mirrorParts = 64
)

// forget drops what overlaps a range.
func (m *mirror) forget(off, n int64) {
	kept := m.parts[:0]
	for _, p := range m.parts {
		if p.off+int64(len(p.data)) <= off || p.off >= off+n {
			kept = append(kept, p)
		}
	}
	clear(m.parts[len(kept):])
	m.parts = kept
}

// remember keeps an upload. A part of the same place and size is reused.
func (m *mirror) remember(off int64, data []byte) {
	for _, p := range m.parts {
		if p.off <= off && off+int64(len(data)) <= p.off+int64(len(p.data)) {
			copy(p.data[off-p.off:], data)
			return
		}
	}
	m.forget(off, int64(len(data)))
	if len(data) <= mirrorBytes && len(m.parts) < mirrorParts {
		m.parts = append(m.parts, mirrored{off, append([]byte(nil), data...)})
	}
}

// get returns n remembered bytes, or nil.
func (m *mirror) get(off, n int64) []byte {
	for _, p := range m.parts {
		if p.off <= off && off+n <= p.off+int64(len(p.data)) {
			return p.data[off-p.off:][:n]
		}
	}
	return nil
}

// Alloc returns zeroed memory.
func (b *Backend) Alloc(bytes int64, use tensor.Use) (tensor.Buffer, error) {
	if bytes < 0 {
		return nil, fmt.Errorf("gpu: alloc of %d bytes for %s: impossible size", bytes, use)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	buf, err := b.alloc(bytes, use)
	if err != nil {
		return nil, err
	}
	b.used[use] += bytes
	b.now += bytes
	b.peak = max(b.peak, b.now)
	return buf, nil
}

func (b *Backend) alloc(bytes int64, use tensor.Use) (*buffer, error) {
	at, err := b.driver.Alloc(max(1, bytes))
	if err != nil {
		if errors.Is(err, ErrNoMemory) {
			info := b.driver.Info()
			return nil, fmt.Errorf("gpu: alloc of %d bytes for %s: %d of %d bytes of %s are free: %w", bytes, use, info.Free, info.Total, b.name, err)
		}
		return nil, fmt.Errorf("gpu: alloc of %d bytes for %s: %w", bytes, use, err)
	}
	if err := b.driver.Set(at, 0, max(1, bytes)); err != nil {
		return nil, errors.Join(fmt.Errorf("gpu: alloc of %d bytes for %s: %w", bytes, use, err), b.driver.Free(at))
	}
	return &buffer{at: at, size: bytes, use: use}, nil
}

// Room returns the bytes that a run can have: what is free, and what is allocated already.
func (b *Backend) Room() int64 {
	free := b.driver.Info().Free
	b.mu.Lock()
	defer b.mu.Unlock()
	return free + b.now
}

// Free returns the memory of a buffer. Tensors in it must not be used any more; kernels refuse them.
func (b *Backend) Free(t tensor.Buffer) {
	buf, ok := t.(*buffer)
	if !ok || buf == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if buf.freed {
		return
	}
	buf.freed = true
	b.used[buf.use] -= buf.size
	b.now -= buf.size
	// A driver that cannot free has lost its device; the next call reports that.
	_ = b.driver.Free(buf.at)
}

// temp returns n bytes of scratch memory for one kernel call, with undefined contents.
func (b *Backend) temp(c *call, n int64) Ptr {
	if c.err != nil {
		return 0
	}
	if b.scratch == nil || b.scratch.size < n {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.scratch != nil {
			c.err = b.driver.Free(b.scratch.at)
			b.scratch = nil
		}
		if c.err == nil {
			b.scratch, c.err = b.alloc(max(n, 1<<16), "kernel scratch")
		}
		if c.err != nil {
			return 0
		}
	}
	return b.scratch.at
}

// Upload copies host bytes into dst.
func (b *Backend) Upload(dst tensor.Tensor, src []byte) error {
	c := call{b: b, kernel: "upload"}
	p := c.window("dst", dst, dst.Len(), false)
	c.require(c.err != nil || int64(len(src)) == dst.Bytes(), "%d bytes for %v, which takes %d", len(src), dst, dst.Bytes())
	if c.err != nil || len(src) == 0 {
		return c.err
	}
	dst.Buf.(*buffer).seen.remember(dst.Off, src)
	return c.wrap(b.driver.Upload(p, src))
}

// Download waits for the queue and copies src to the host.
func (b *Backend) Download(dst []byte, src tensor.Tensor) error {
	c := call{b: b, kernel: "download"}
	p := c.window("src", src, src.Len(), false)
	c.require(c.err != nil || int64(len(dst)) == src.Bytes(), "%d bytes for %v, which takes %d", len(dst), src, src.Bytes())
	if c.err != nil || len(dst) == 0 {
		return c.err
	}
	return c.wrap(b.driver.Download(dst, p))
}

// Zero clears dst.
func (b *Backend) Zero(dst tensor.Tensor) error {
	c := call{b: b, kernel: "zero"}
	p := c.window("dst", dst, dst.Len(), true)
	if c.err != nil || dst.Len() == 0 {
		return c.err
	}
	return c.wrap(b.driver.Set(p, 0, dst.Bytes()))
}

// Copy copies element by element; types may differ, rounding to nearest even. Integers saturate, and NaN becomes 0.
func (b *Backend) Copy(dst, src tensor.Tensor) error {
	c := call{b: b, kernel: "copy"}
	c.require(dst.Len() == src.Len(), "dst %v and src %v differ in length", dst, src)
	to, from := c.window("dst", dst, dst.Len(), true), c.window("src", src, src.Len(), false)
	if c.err != nil || src.Len() == 0 {
		return c.err
	}
	if dst.DType == src.DType {
		return c.wrap(b.driver.Copy(to, from, src.Bytes()))
	}
	suffix, ok := typeSuffix(dst.DType)
	suffix2, ok2 := typeSuffix(src.DType)
	c.require(ok && ok2, "cannot convert src %v to dst %v", src, dst)
	c.pieces("elementwise", "cast_"+suffix+"_"+suffix2, src.Len(), smaller(dst.DType, src.DType), to, from, int64(src.Len()))
	return c.err
}

// smaller returns the type whose elements take less memory.
func smaller(a, b tensor.DType) tensor.DType {
	if a.Size() < b.Size() {
		return a
	}
	return b
}

// hostInts returns the integers of a tensor, as they were uploaded or else read back.
func (c *call) hostInts(name string, t tensor.Tensor) []int32 {
	c.window(name, t, t.Len(), false)
	if c.err != nil {
		return nil
	}
	raw := t.Buf.(*buffer).seen.get(t.Off, t.Bytes())
	if raw == nil {
		raw = make([]byte, t.Bytes())
		if err := c.b.Download(raw, t); err != nil {
			c.err = err
			return nil
		}
	}
	out := make([]int32, t.Len())
	for i := range out {
		out[i] = int32(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return out
}
