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

// replaceNth replaces the n-th place where re matches.
func replaceNth(s string, re *regexp.Regexp, n int, with string) string {
	at := re.FindAllStringIndex(s, -1)
	if n >= len(at) {
		return s
	}
	return s[:at[n][0]] + with + s[at[n][1]:]
}

// planted is a fault for a kernel's text.
type planted struct {
	name, why string // why is what the interpreter says, as a pattern; empty: the result may differ instead
	plant     func(string) string
}

// expectFound plants faults one at a time, runs, and fails if the result is as it should be or the interpreter says
// something else.
func expectFound(t *testing.T, kernel string, want []byte, run func(*testing.T, func(string) string) ([]byte, error), faults []planted) {
	for _, tc := range faults {
		t.Run(kernel+"/"+tc.name, func(t *testing.T) {
			changed := false
			got, err := run(t, func(s string) string {
				broken := tc.plant(s)
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
			case !errors.As(err, &f) || !strings.HasPrefix(f.Kernel, kernel) || !regexp.MustCompile(tc.why).MatchString(f.Why):
				t.Errorf("got %v, want %q", err, tc.why)
			}
		})
	}
}

// TestPlantedFaultsTensorCores breaks the product on tensor cores: each fault is found, by the interpreter's rules or by a
// result that differs.
func TestPlantedFaultsTensorCores(t *testing.T) {
	const kernel, m, n, k = "gemm_mma_f32_nt", 136, 24, 72
	barrier, wait0, wait1 := regexp.MustCompile(`bar\.sync \t0;`), regexp.MustCompile(`cp\.async\.wait_group 0;`), regexp.MustCompile(`cp\.async\.wait_group 1;`)
	swizzle, store := regexp.MustCompile(`xor\.b32\s`), regexp.MustCompile(`(st\.global\.f32 \t\[%rd\d+)\]`)
	product := func(t *testing.T, plant func(string) string) ([]byte, error) {
		t.Helper()
		b := broken(t, "gemm_mma", kernel, plant)
		operand := func(dt tensor.DType, rows, cols int) tensor.Tensor {
			buf, err := b.Alloc(int64(rows*cols*dt.Size()), tensor.UseActivations)
			if err != nil {
				t.Fatal(err)
			}
			x := tensor.New(buf, 0, dt, rows, cols)
			if dt == tensor.BF16 {
				var raw []byte
				for i := range rows * cols {
					raw = binary.LittleEndian.AppendUint16(raw, 0x3f80|uint16(uint32(i)*2654435761>>25)) // between 1 and 2
				}
				if err := b.Upload(x, raw); err != nil {
					t.Fatal(err)
				}
			}
			return x
		}
		a, x, c := operand(tensor.BF16, m, k), operand(tensor.BF16, n, k), operand(tensor.F32, m, n)
		if err := b.Gemm(tensor.GemmSpec{TransB: true, M: m, N: n, K: k, LDA: k, LDB: k, LDC: n, Alpha: 1}, c, a, x, tensor.Tensor{}); err != nil {
			return nil, err
		}
		got := make([]byte, c.Bytes())
		if err := b.Download(got, c); err != nil {
			t.Fatal(err)
		}
		return got, nil
	}
	want, err := product(t, func(s string) string { return s })
	if err != nil {
		t.Fatal(err)
	}
	expectFound(t, "gemm_mma", want, product, []planted{
		{"the barrier before the products", "without a barrier|unfinished|nothing has written", func(s string) string { return replaceNth(s, barrier, 0, "") }},
		{"the barrier after the products", "without a barrier|unfinished", func(s string) string { return replaceNth(s, barrier, 1, "") }},
		{"the wait for the tiles", "unfinished cp.async", func(s string) string { return wait1.ReplaceAllString(s, "") }},
		{"the wait for the last tiles", "unfinished cp.async", func(s string) string { return wait0.ReplaceAllString(s, "") }},
		{"a store off by one", "past the end", func(s string) string { return store.ReplaceAllString(s, "$1+4]") }},
		{"a wrong swizzle", "", func(s string) string { return replaceNth(s, swizzle, 0, "or.b32 \t") }},
	})
}
