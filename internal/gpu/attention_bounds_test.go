package gpu

import (
	"encoding/binary"
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
	t.Parallel()
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
	t.Parallel()
	const problem = 18 // shared key heads, two sequences, a window, dropout, a bias
	texts, err := kernels.PTX()
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"attention_mma_32", "attention_mma_dq_32", "attention_mma_dkv_32"}
	all := texts["attention_mma"]
	head := all[:strings.Index(all, ".visible .entry")]
	shares := func(kernel string, plant func(text string) string) (map[string]float64, error) {
		few := head
		for _, name := range names {
			from, to := entry(t, all, name)
			text := all[from:to]
			if name == kernel {
				text = plant(text)
			}
			few += ".visible " + text + "\n}\n"
		}
		texts := map[string]string{"attention": texts["attention"], "attention_mma": few}
		return backendtest.AttentionShares(t, withKernels(&emulator{mem: ptxvm.NewMemory(1 << 24)}, texts), problem, true)
	}
	right, err := shares("", nil)
	if err != nil {
		t.Fatal(err)
	}
	off := strings.NewReplacer("setp.lt", "setp.le", "setp.le", "setp.lt", "setp.gt", "setp.ge", "setp.ge", "setp.gt")
	for _, kernel := range names {
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
				got, err := shares(kernel, func(text string) string {
					places := fault.where.FindAllString(text, -1)
					n := (2*i + 1) * len(places) / (2 * fault.tries)
					return replaceNth(text, fault.where, n, fault.plant(places[n]))
				})
				switch {
				case err != nil || worst(got) > 1:
					found++
				case !maps.Equal(got, right):
					t.Errorf("%s: %s, case %d: the results change, but lie within %.3g of their bounds", kernel, fault.name, i, worst(got))
				}
			}
			if found < fault.least {
				t.Errorf("%s: %s: %d found of %d, want %d", kernel, fault.name, found, fault.tries, fault.least)
			}
		}
	}
}

// Loads off by one in the plain kernels are found, of pieces and of single elements.
func TestAttentionBoundsFindPlainFaults(t *testing.T) {
	t.Parallel()
	const problem = 49 // keys begin at multiples of 16 bytes, values do not; a bias
	texts, err := kernels.PTX()
	if err != nil {
		t.Fatal(err)
	}
	pieces := regexp.MustCompile(`(ld\.global\.v4\.u32 \t\{.*\}, \[%rd\d+)(\+-?\d+)?\]`)
	single := regexp.MustCompile(`(ld\.global\.u16 \t%r\d+, \[%rd\d+)(\+-?\d+)?\]`)
	for _, fault := range []struct {
		kernel, name string
		where        *regexp.Regexp
		with         string
	}{
		{"attention_bf16", "pieces", pieces, "$1+16]"},
		{"attention_dq_bf16", "pieces", pieces, "$1+16]"},
		{"attention_dbias_bf16", "pieces", pieces, "$1+16]"},
		{"attention_bf16", "single elements", single, "$1+10]"},
		{"attention_dq_bf16", "single elements", single, "$1+10]"},
		{"attention_dkv_bf16", "single elements", single, "$1+10]"},
		{"attention_dbias_bf16", "single elements", single, "$1+10]"},
	} {
		from, to := entry(t, texts["attention"], fault.kernel)
		text := fault.where.ReplaceAllString(texts["attention"][from:to], fault.with)
		if text == texts["attention"][from:to] {
			t.Errorf("%s: %s: nothing was planted", fault.kernel, fault.name)
		}
		few := map[string]string{"attention": texts["attention"][:from] + text + texts["attention"][to:]}
		shares, err := backendtest.AttentionShares(t, withKernels(&emulator{mem: ptxvm.NewMemory(1 << 24)}, few), problem, true)
		if err == nil && worst(shares) <= 1 {
			t.Errorf("%s: %s: not found", fault.kernel, fault.name)
		}
	}
}

// Wrong indices into the bias are found in every kernel that reads it, and in the one that writes its gradient.
func TestAttentionBoundsFindBiasFaults(t *testing.T) {
	t.Parallel()
	const bias, perHead, rowLen = 24, 88, 96 // where struct Spec has the address, the distance of heads and the length of rows
	add := func(spec []byte, at int, n uint64) {
		binary.LittleEndian.PutUint64(spec[at:], binary.LittleEndian.Uint64(spec[at:])+n)
	}
	length := func(spec []byte) uint32 { return binary.LittleEndian.Uint32(spec[rowLen:]) }
	faults := map[string]func([]byte){
		"the next key":           func(spec []byte) { add(spec, bias, 4) },
		"the next query":         func(spec []byte) { add(spec, bias, 4*uint64(length(spec))) },
		"shorter rows":           func(spec []byte) { binary.LittleEndian.PutUint32(spec[rowLen:], length(spec)-1) },
		"the first head for all": func(spec []byte) { binary.LittleEndian.PutUint64(spec[perHead:], 0) },
	}
	var spoil func(kernel string, params []byte)
	b, err := New(watched{&emulator{mem: ptxvm.NewMemory(1 << 26)}, func(kernel string, params []byte) { spoil(kernel, params) }})
	if err != nil {
		t.Fatal(err)
	}
	for kernels, pattern := range map[string]*regexp.Regexp{
		"forward":   regexp.MustCompile(`^attention_(mma_)?(\d+|bf16)$`),
		"dq":        regexp.MustCompile(`_dq_`),
		"dk and dv": regexp.MustCompile(`_d(k|v|kv)_`),
		"dbias":     regexp.MustCompile(`_dbias_`),
	} {
		for _, problem := range []uint64{67, 11} { // on tensor cores, and in plain arithmetic
			for name, fault := range faults {
				planted := false
				spoil = func(kernel string, params []byte) {
					if pattern.MatchString(kernel) {
						planted = true
						fault(params)
					}
				}
				shares, err := backendtest.AttentionShares(t, b, problem, true)
				if !planted {
					t.Errorf("%s, problem %d: no such kernel was launched", kernels, problem)
				}
				if err == nil && worst(shares) <= 1 {
					t.Errorf("%s, problem %d: %s was not found", kernels, problem, name)
				}
			}
		}
	}
}

func worst(shares map[string]float64) float64 {
	w := 0.0
	for _, share := range shares {
		w = max(w, share)
	}
	return w
}
