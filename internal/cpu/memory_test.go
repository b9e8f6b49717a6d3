package cpu

import (
	"strings"
	"testing"
	"unsafe"

	"github.com/mltrain/mltrain/internal/tensor"
)

func address(t *testing.T, b tensor.Buffer) uintptr {
	t.Helper()
	return uintptr(unsafe.Pointer(unsafe.SliceData(b.(*buffer).mem)))
}

func TestAlloc(t *testing.T) {
	b := New()
	var bufs []tensor.Buffer
	total := int64(0)
	for _, n := range []int64{0, 1, 63, 64, 4097, mapAbove - 1, mapAbove, mapAbove + 5} {
		buf, err := b.Alloc(n, tensor.UseCache)
		if err != nil {
			t.Fatal(err)
		}
		if buf.Bytes() != n {
			t.Errorf("buffer of %d bytes says %d", n, buf.Bytes())
		}
		if n > 0 && address(t, buf)%alignment != 0 {
			t.Errorf("buffer of %d bytes is not aligned", n)
		}
		for i, v := range buf.(*buffer).mem {
			if v != 0 {
				t.Fatalf("byte %d of %d is not zero", i, n)
			}
		}
		for i := range buf.(*buffer).mem {
			buf.(*buffer).mem[i] = 1
		}
		bufs = append(bufs, buf)
		total += n
	}
	if got := b.Allocated()[tensor.UseCache]; got != total {
		t.Errorf("allocated %d, want %d", got, total)
	}
	for _, buf := range bufs {
		b.Free(buf)
		b.Free(buf)
	}
	if got := b.Allocated()[tensor.UseCache]; got != 0 {
		t.Errorf("after Free, %d bytes are allocated", got)
	}
	if err := b.Zero(tensor.New(bufs[4], 0, tensor.U8, 10)); err == nil || !strings.Contains(err.Error(), "freed") {
		t.Errorf("use after Free: %v", err)
	}
	if _, err := b.Alloc(-1, tensor.UseCache); err == nil {
		t.Error("negative size: no error")
	}
}

func TestImport(t *testing.T) {
	b := New()
	host := alignedBytes(64)
	for i := range host {
		host[i] = byte(i)
	}
	for off, copied := range map[int]bool{0: false, 4: false, 1: true, 2: true} {
		buf, err := b.Import(host[off:])
		if err != nil {
			t.Fatal(err)
		}
		if same := address(t, buf) == uintptr(unsafe.Pointer(&host[off])); same == copied {
			t.Errorf("offset %d: copied is %v, want %v", off, !same, copied)
		}
		x := tensor.New(buf, 8, tensor.BF16, 3)
		got := make([]byte, 6)
		if err := b.Download(got, x); err != nil || got[0] != byte(off+8) {
			t.Errorf("offset %d: download gives %v, %v", off, got, err)
		}
		if err := b.Zero(x); err == nil || !strings.Contains(err.Error(), "read-only") {
			t.Errorf("offset %d: writing gives %v", off, err)
		}
		b.Free(buf)
	}
	if got := b.Allocated()[tensor.UseWeights]; got != 0 {
		t.Errorf("after Free, %d bytes are allocated", got)
	}
}

type foreign struct{}

func (foreign) Bytes() int64 { return 100 }

func TestForeignAndMisaligned(t *testing.T) {
	b := New()
	if err := b.Zero(tensor.New(foreign{}, 0, tensor.F32, 2)); err == nil || !strings.Contains(err.Error(), "not in this device's memory") {
		t.Errorf("foreign buffer: %v", err)
	}
	buf, err := b.Alloc(64, tensor.UseBatch)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Zero(tensor.New(buf, 2, tensor.F32, 2)); err == nil || !strings.Contains(err.Error(), "aligned") {
		t.Errorf("misaligned tensor: %v", err)
	}
	if err := b.Zero(tensor.New(buf, 60, tensor.F32, 2)); err == nil || !strings.Contains(err.Error(), "buffer of 64 bytes") {
		t.Errorf("tensor beyond the buffer: %v", err)
	}
}

// Scratch memory is kept: in steady state a call allocates a few closures, whatever the number of rows.
func TestSteadyStateAllocations(t *testing.T) {
	b := New()
	alloc := func(dt tensor.DType, shape ...int) tensor.Tensor {
		n := tensor.New(nil, 0, dt, shape...).Bytes()
		buf, err := b.Alloc(n, tensor.UseActivations)
		if err != nil {
			t.Fatal(err)
		}
		return tensor.New(buf, 0, dt, shape...)
	}
	const cols = 64
	for _, rows := range []int{16, 4096} {
		x, y, w := alloc(tensor.F32, rows, cols), alloc(tensor.BF16, rows, cols), alloc(tensor.F32, cols)
		stats, targets, out := alloc(tensor.F32, rows, 2), alloc(tensor.I32, rows), alloc(tensor.F32, rows, tensor.CECols)
		for name, f := range map[string]func() error{
			"unary":         func() error { return b.Unary(tensor.OpSiLU, 0, y, x) },
			"norm":          func() error { return b.Norm(tensor.NormSpec{Eps: 1}, y, stats, x, w, tensor.Tensor{}) },
			"norm backward": func() error { return b.NormBwd(tensor.NormSpec{}, y, w, w, x, stats, x, w, false) },
			"cross entropy": func() error { return b.CrossEntropy(tensor.CESpec{}, out, x, targets) },
			"sumsq":         func() error { return b.SumSq(w, x, false) },
		} {
			run := func() {
				if err := f(); err != nil {
					t.Fatal(err)
				}
			}
			if n := testing.AllocsPerRun(5, run); n > 20 {
				t.Errorf("%s on %d rows: %v allocations", name, rows, n)
			}
		}
	}
}
