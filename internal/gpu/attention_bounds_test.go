package gpu

import (
	"maps"
	"regexp"
	"strings"
	"testing"

	"github.com/mltrain/mltrain/internal/backendtest"
	"github.com/mltrain/mltrain/internal/gpu/ptxvm"
	"github.com/mltrain/mltrain/kernels"
)

// Attention on random shapes: every element is as near to its reference as the kernels' roundings imply.
func TestAttentionBounds(t *testing.T) {
	b := emulated(t)
	for seed := range uint64(70) {
		shares, err := backendtest.AttentionShares(t, b, seed, true)
		if err != nil {
			t.Fatalf("problem %d: %v", seed, err)
		}
		for name, share := range shares {
			if !(share <= 1) {
				t.Errorf("problem %d: an element of %s is off by %.3g times its bound", seed, name, share)
			}
		}
	}
}

// A product left out of flash attention or a comparison off by one either changes nothing or is found: by the interpreter, or
// by an element beyond its bound.
func TestAttentionBoundsFindFaults(t *testing.T) {
	const problem = 25 // heads of 32, shared key heads, three sequences, a window, dropout
	shares := func(plant func(module, text string) string) (map[string]float64, error) {
		texts, err := kernels.PTX()
		if err != nil {
			t.Fatal(err)
		}
		for module, text := range texts {
			texts[module] = plant(module, text)
		}
		return backendtest.AttentionShares(t, withKernels(&emulator{mem: ptxvm.NewMemory(1 << 24)}, texts), problem, true)
	}
	right, err := shares(func(_, text string) string { return text })
	if err != nil {
		t.Fatal(err)
	}
	off := strings.NewReplacer("setp.lt", "setp.le", "setp.le", "setp.lt", "setp.gt", "setp.ge", "setp.ge", "setp.gt")
	for _, kernel := range []string{"attention_mma_32", "attention_mma_dq_32", "attention_mma_dkv_32"} {
		for _, fault := range []struct {
			name         string
			tries, least int // how many are planted and, at the least, found
			where        *regexp.Regexp
			plant        func(string) string
		}{
			{"a product left out", 3, 1, regexp.MustCompile(`mma\.sync.*;`), func(string) string { return "" }},
			{"a comparison off by one", 4, 0, regexp.MustCompile(`setp\.(lt|le|gt|ge)\.s32`), off.Replace},
		} {
			found := 0
			for i := range fault.tries {
				got, err := shares(func(module, text string) string {
					if module != "attention_mma" {
						return text
					}
					from, to := entry(t, text, kernel)
					places := fault.where.FindAllString(text[from:to], -1)
					n := (2*i + 1) * len(places) / (2 * fault.tries)
					return text[:from] + replaceNth(text[from:to], fault.where, n, fault.plant(places[n])) + text[to:]
				})
				worst := 0.0
				for _, share := range got {
					worst = max(worst, share)
				}
				switch {
				case err != nil || worst > 1:
					found++
				case !maps.Equal(got, right):
					t.Errorf("%s: %s, case %d: the results change, but lie within %.3g of their bounds", kernel, fault.name, i, worst)
				}
			}
			if found < fault.least {
				t.Errorf("%s: %s: %d found of %d, want %d", kernel, fault.name, found, fault.tries, fault.least)
			}
		}
	}
}
