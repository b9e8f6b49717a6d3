package gpu

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/mltrain/mltrain/internal/gpu/ptxvm"
	"github.com/mltrain/mltrain/internal/tensor"
	"github.com/mltrain/mltrain/kernels"
)

// entry returns where a kernel's text lies in a module.
func entry(t *testing.T, text, kernel string) (from, to int) {
	t.Helper()
	from = strings.Index(text, ".entry "+kernel+"(")
	if from < 0 {
		t.Fatalf("no kernel %s", kernel)
	}
	return from, from + strings.Index(text[from:], "-- End function")
}

// broken returns a backend that has one module, with a kernel of it changed.
func broken(t *testing.T, module, kernel string, plant func(string) string) *Backend {
	t.Helper()
	texts, err := kernels.PTX()
	if err != nil {
		t.Fatal(err)
	}
	text := texts[module]
	from, to := entry(t, text, kernel)
	return withKernels(&emulator{mem: ptxvm.NewMemory(1 << 24)}, map[string]string{module: text[:from] + plant(text[from:to]) + text[to:]})
}

// TestPlantedFaults breaks kernels that are sound and expects the interpreter to say what is wrong with each.
func TestPlantedFaults(t *testing.T) {
	offset := regexp.MustCompile(`st\.global\.f32 \t\[(%rd\d+)\]`)
	first := regexp.MustCompile(`bar\.sync \t0;`)
	piece := regexp.MustCompile(`st\.global\.v4\.u32 \t\[(%rd\d+)\]`)
	for _, c := range []struct {
		name, module, kernel, want string
		cols                       int // 300: whole pieces of 16 bytes; 301: single elements at the end
		plant                      func(text string) string
	}{
		{"a dropped barrier", "norm", "norm_f32", "without a barrier between|nothing has written", 301, func(s string) string {
			return replaceNth(s, first, 1, "") // the first is for rows in shared memory
		}},
		{"the barrier after a row was copied", "norm", "norm_f32", "without a barrier between|nothing has written", 300, func(s string) string {
			return replaceNth(s, first, 0, "")
		}},
		{"an off-by-one store of a piece", "elementwise", "unary_f32", "past the end", 300, func(s string) string {
			return piece.ReplaceAllString(s, "st.global.v4.u32 \t[$1+16]")
		}},
		{"a piece that begins at its second element", "elementwise", "unary_f32", "not aligned", 300, func(s string) string {
			return piece.ReplaceAllString(s, "st.global.v4.u32 \t[$1+4]")
		}},
		{"an off-by-one store", "elementwise", "unary_f32", "past the end", 301, func(s string) string {
			return offset.ReplaceAllString(s, "st.global.f32 \t[$1+4]")
		}},
		{"an off-by-one load", "elementwise", "unary_f32", "past the end|in no allocation", 301, func(s string) string {
			return regexp.MustCompile(`ld\.global\.f32 \t(%f\d+), \[(%rd\d+)\]`).ReplaceAllString(s, "ld.global.f32 \t$1, [$2+4]")
		}},
		{"a barrier for some threads", "norm", "norm_f32", "barrier|do not take part", 300, func(s string) string {
			return first.ReplaceAllString(s, "@%p1 bar.sync \t0;")
		}},
		{"a store of the wrong width", "elementwise", "unary_f32", "not aligned|past the end", 301, func(s string) string {
			return regexp.MustCompile(`st\.global\.f32 \t(\[%rd\d+\]), (%f\d+);`).ReplaceAllString(s, "st.global.v2.f32 \t$1, {$2, $2};")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			texts, err := kernels.PTX()
			if err != nil {
				t.Fatal(err)
			}
			text := texts[c.module]
			from, to := entry(t, text, c.kernel)
			broken := c.plant(text[from:to])
			if broken == text[from:to] {
				t.Fatal("nothing was planted")
			}
			texts[c.module] = text[:from] + broken + text[to:]
			b := withKernels(&emulator{mem: ptxvm.NewMemory(1 << 24)}, texts)
			alloc := func(shape ...int) tensor.Tensor {
				n := tensor.New(nil, 0, tensor.F32, shape...).Bytes()
				buf, err := b.Alloc(n, tensor.UseActivations)
				if err != nil {
					t.Fatal(err)
				}
				return tensor.New(buf, 0, tensor.F32, shape...)
			}
			x, y, stats, w := alloc(3, c.cols), alloc(3, c.cols), alloc(3, 2), alloc(c.cols)
			if c.module == "norm" {
				err = b.Norm(tensor.NormSpec{Kind: tensor.LayerNorm, Eps: 1}, y, stats, x, w, tensor.Tensor{})
			} else {
				err = b.Unary(tensor.OpReLU, 0, y, x)
			}
			var f *ptxvm.Fault
			if !errors.As(err, &f) {
				t.Fatalf("not found: %v", err)
			}
			if f.Kernel != c.kernel || !regexp.MustCompile(c.want).MatchString(f.Why) {
				t.Errorf("got %v, want %q in %s", f, c.want, c.kernel)
			}
		})
	}
}

// A buffer's mirror must follow uploads and be dropped by what writes over them.
func TestMirror(t *testing.T) {
	var m mirror
	m.remember(0, []byte{1, 2, 3, 4, 5, 6, 7, 8})
	m.remember(4, []byte{9, 9})
	if got := m.get(3, 4); string(got) != "\x04\x09\x09\x07" {
		t.Errorf("got %v", got)
	}
	m.remember(8, []byte{1})
	if m.get(6, 3) != nil {
		t.Error("two uploads count as one")
	}
	m.forget(7, 2)
	if m.get(0, 1) != nil || m.get(8, 1) != nil {
		t.Error("what was written over is remembered")
	}
}

// Work that follows on kernels' integer outputs reads them back.
func TestIndicesFromDevice(t *testing.T) {
	b := emulated(t)
	buf, err := b.Alloc(64, tensor.UseBatch)
	if err != nil {
		t.Fatal(err)
	}
	ids, f := tensor.New(buf, 0, tensor.I32, 2), tensor.New(buf, 16, tensor.F32, 2)
	table, y := tensor.New(buf, 32, tensor.F32, 2, 1), tensor.New(buf, 48, tensor.F32, 2, 1)
	for _, err := range []error{
		b.Upload(ids, []byte{9, 0, 0, 0, 0, 0, 0, 0}), // beyond the table, then written over
		b.Upload(f, []byte{0, 0, 0x80, 0x3f, 0, 0, 0, 0}),
		b.Upload(table, []byte{1, 0, 0, 0, 2, 0, 0, 0}),
		b.Copy(ids, f),
		b.Gather(y, table, ids),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	got := make([]byte, 8)
	if err := b.Download(got, y); err != nil {
		t.Fatal(err)
	}
	if string(got) != "\x02\x00\x00\x00\x01\x00\x00\x00" {
		t.Errorf("got %v", got)
	}
}

func TestOutOfMemory(t *testing.T) {
	b, err := New(&emulator{mem: ptxvm.NewMemory(1 << 20)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Alloc(1<<21, tensor.UseWeights)
	if !errors.Is(err, ErrNoMemory) || !strings.Contains(err.Error(), "2097152 bytes for weights: 1048576 of 1048576 bytes of emulator are free") {
		t.Errorf("got %v", err)
	}
}
