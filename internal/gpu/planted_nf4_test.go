package gpu

import (
	"bytes"
	"encoding/binary"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/mltrain/mltrain/internal/gpu/ptxvm"
	"github.com/mltrain/mltrain/internal/tensor"
	"github.com/mltrain/mltrain/kernels"
)

// TestPlantedFaultsNF4 breaks the product that decodes four bits: each fault is found, by the interpreter's rules or by a result
// that differs. The buffers have exactly the size of their operands.
func TestPlantedFaultsNF4(t *testing.T) {
	const kernel, m, n, k = "nf4_multiply_f32_4", 3, 6, 96
	product := func(t *testing.T, plant func(string) string) ([]byte, error) {
		t.Helper()
		texts, err := kernels.PTX()
		if err != nil {
			t.Fatal(err)
		}
		text := texts["nf4"]
		from, to := entry(t, text, kernel)
		b := withKernels(&emulator{mem: ptxvm.NewMemory(1 << 24)}, map[string]string{"nf4": text[:from] + plant(text[from:to]) + text[to:]})
		operand := func(dt tensor.DType, shape ...int) tensor.Tensor {
			x := tensor.New(nil, 0, dt, shape...)
			buf, err := b.Alloc(x.Bytes(), tensor.UseActivations)
			if err != nil {
				t.Fatal(err)
			}
			x.Buf = buf
			var raw []byte
			for i := range x.Len() {
				h := uint32(i+1) * 2654435761
				switch dt {
				case tensor.F32:
					raw = binary.LittleEndian.AppendUint32(raw, 0x3f800000|h>>9) // between 1 and 2
				default:
					raw = append(raw, byte(h>>24))
				}
			}
			if err := b.Upload(x, raw); err != nil {
				t.Fatal(err)
			}
			return x
		}
		q := tensor.Quant4{Rows: n, Cols: k, Codes: operand(tensor.U8, n*k/2), Absmax: operand(tensor.F32, n*k/64)}
		x, y := operand(tensor.F32, m, k), operand(tensor.F32, m, n)
		if err := b.MulQuant4(y, x, q, tensor.Tensor{}, 0); err != nil {
			return nil, err
		}
		got := make([]byte, y.Bytes())
		if err := b.Download(got, y); err != nil {
			t.Fatal(err)
		}
		return got, nil
	}
	want, err := product(t, func(s string) string { return s })
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, why string // why is what a fault says; empty: the result differs
		find      string
		with      string
		nth       int // which place; −1: all
	}{
		{"the barrier after the table", "without a barrier|nothing has written", `bar\.sync \t0;`, "", 0},
		{"codes of the next sixteen bytes", "past the end", `(ld\.global\.v4\.u32 \t\{.*\}, \[%rd\d+)\]`, "$1+16]", -1},
		{"codes from the second word on", "not aligned", `(ld\.global\.v4\.u32 \t\{.*\}, \[%rd\d+)\]`, "$1+4]", -1},
		{"a store off by one", "past the end", `(st\.global\.f32 \t\[%rd\d+)(\+4)?\]`, "$1+8]", -1},
		{"scales of blocks twice as long", "", `(shr\.s64 \t%rd\d+, %rd\d+), 6;`, "$1, 7;", -1},
		{"the other half of a byte", "", `(shr\.u32 \t%r\d+, %r\d+), 5;`, "$1, 1;", -1},
		{"a shuffle that folds too little", "", `(shfl\.sync\.bfly\.b32\t.*), 8, 31, -1;`, "$1, 0, 31, -1;", -1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			changed, find := false, regexp.MustCompile(tc.find)
			got, err := product(t, func(s string) string {
				broken := find.ReplaceAllString(s, tc.with)
				if tc.nth >= 0 {
					broken = replaceNth(s, find, tc.nth, tc.with)
				}
				changed = broken != s
				return broken
			})
			if !changed {
				t.Fatal("nothing was planted")
			}
			var f *ptxvm.Fault
			switch {
			case err == nil && bytes.Equal(got, want):
				t.Error("not found: the result is right")
			case tc.why == "" && err == nil:
			case !errors.As(err, &f) || !strings.HasPrefix(f.Kernel, "nf4_multiply") || !regexp.MustCompile(tc.why).MatchString(f.Why):
				t.Errorf("got %v, want %q", err, tc.why)
			}
		})
	}
}
