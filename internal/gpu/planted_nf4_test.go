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
)

// TestPlantedFaultsNF4 breaks the product that decodes four bits: each fault is found, by the interpreter's rules or by a result
// that differs. The buffers have exactly the size of their operands.
func TestPlantedFaultsNF4(t *testing.T) {
	const m, n, k = 3, 6, 96
	const plain, mma = "nf4_multiply_f32_4", "nf4_multiply_mma_8"
	product := func(t *testing.T, kernel string, plant func(string) string) ([]byte, error) {
		t.Helper()
		module, dt := "nf4", tensor.F32
		if kernel == mma {
			module, dt = "nf4_mma", tensor.BF16
		}
		b := broken(t, module, kernel, plant)
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
				case tensor.BF16:
					raw = binary.LittleEndian.AppendUint16(raw, uint16(0x3f80|h>>25)) // the same
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
		x, y := operand(dt, m, k), operand(dt, m, n)
		if err := b.MulQuant4(y, x, q, tensor.Tensor{}, 0); err != nil {
			return nil, err
		}
		got := make([]byte, y.Bytes())
		if err := b.Download(got, y); err != nil {
			t.Fatal(err)
		}
		return got, nil
	}
	want := map[string][]byte{}
	for _, kernel := range []string{plain, mma} {
		got, err := product(t, kernel, func(s string) string { return s })
		if err != nil {
			t.Fatal(err)
		}
		want[kernel] = got
	}
	for _, tc := range []struct {
		name, kernel, why string // why is what a fault says; empty: the result differs
		find              string
		with              string
		nth               int // which place; −1: all
	}{
		{"the barrier after the table", plain, "without a barrier|nothing has written", `bar\.sync \t0;`, "", 0},
		{"codes of the next sixteen bytes", plain, "past the end", `(ld\.global\.v4\.u32 \t\{.*\}, \[%rd\d+)\]`, "$1+16]", -1},
		{"codes from the second word on", plain, "not aligned", `(ld\.global\.v4\.u32 \t\{.*\}, \[%rd\d+)\]`, "$1+4]", -1},
		{"a store off by one", plain, "past the end", `(st\.global\.f32 \t\[%rd\d+)(\+4)?\]`, "$1+8]", -1},
		{"scales of blocks twice as long", plain, "", `(shr\.s64 \t%rd\d+, %rd\d+), 6;`, "$1, 7;", -1},
		{"the other half of a byte", plain, "", `(shr\.u32 \t%r\d+, %r\d+), 5;`, "$1, 1;", -1},
		{"a shuffle that folds too little", plain, "", `(shfl\.sync\.bfly\.b32\t.*), 8, 31, -1;`, "$1, 0, 31, -1;", -1},
		{"the barrier after the table", mma, "without a barrier|nothing has written", `bar\.sync \t0;`, "", 0},
		{"the barrier before sums are added", mma, "without a barrier|nothing has written", `bar\.sync \t0;`, "", 1},
		{"codes of the next sixteen bytes", mma, "past the end", `(ld\.global\.v4\.u32 \t\{.*\}, \[%rd\d+)\]`, "$1+16]", -1},
		{"a store off by one", mma, "past the end", `(st\.global\.u16 \t\[%rd\d+)\]`, "$1+2]", -1},
		{"scales of blocks twice as long", mma, "", `(shr\.s64 \t%rd\d+, %rd\d+), 6;`, "$1, 7;", -1},
		{"a step of the product left out", mma, "", `mma\.sync.*;`, "", 3},
		{"halves of a step swapped", mma, "", `(mma\.sync\S+ \{.*\}, \{.*\}), \{(%r\d+),(%r\d+)\}`, "$1, {$3,$2}", -1},
	} {
		t.Run(tc.kernel+"/"+tc.name, func(t *testing.T) {
			changed, find := false, regexp.MustCompile(tc.find)
			got, err := product(t, tc.kernel, func(s string) string {
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
			case err == nil && bytes.Equal(got, want[tc.kernel]):
				t.Error("not found: the result is right")
			case tc.why == "" && err == nil:
			case !errors.As(err, &f) || !strings.HasPrefix(f.Kernel, "nf4_multiply") || !regexp.MustCompile(tc.why).MatchString(f.Why):
				t.Errorf("got %v, want %q", err, tc.why)
			}
		})
	}
}
