package gpu

import (
	"encoding/binary"
	"math"
	"regexp"
	"testing"

	"github.com/mltrain/mltrain/internal/gpu/ptxvm"
	"github.com/mltrain/mltrain/internal/tensor"
	"github.com/mltrain/mltrain/kernels"
)

// flashResults runs attention forward and backward on tensor cores with one of the kernels changed, and returns all that
// was written.
func flashResults(t *testing.T, kernel string, plant func(string) string) ([]byte, error) {
	t.Helper()
	texts, err := kernels.PTX()
	if err != nil {
		t.Fatal(err)
	}
	text := texts["attention_mma"]
	from, to := entry(t, text, kernel)
	texts = map[string]string{"attention": texts["attention"], "attention_mma": text[:from] + plant(text[from:to]) + text[to:]}
	b := withKernels(&emulator{mem: ptxvm.NewMemory(1 << 24)}, texts)
	operand := func(raw []byte, dt tensor.DType, shape ...int) tensor.Tensor {
		buf, err := b.Alloc(tensor.New(nil, 0, dt, shape...).Bytes(), tensor.UseActivations)
		if err != nil {
			t.Fatal(err)
		}
		x := tensor.New(buf, 0, dt, shape...)
		if raw != nil {
			if err := b.Upload(x, raw); err != nil {
				t.Fatal(err)
			}
		}
		return x
	}
	const rows, heads, dim = 130, 2, 24
	random := func(seed uint32) tensor.Tensor {
		var raw []byte
		for i := range rows * heads * dim {
			x := float32((uint32(i)+seed)*2654435761>>16&255)/128 - 1
			raw = binary.LittleEndian.AppendUint16(raw, uint16(math.Float32bits(x)>>16))
		}
		return operand(raw, tensor.BF16, rows, heads*dim)
	}
	cu := operand([]byte{0, 0, 0, 0, rows, 0, 0, 0}, tensor.I32, 2)
	s := tensor.AttnSpec{
		CuQ: cu, CuK: cu, Seqs: 1, MaxQ: rows, MaxK: rows, Heads: heads, KVHeads: heads, HeadDim: dim, Causal: true, Scale: 0.3,
		StrideQ: heads * dim, StrideK: heads * dim, StrideV: heads * dim, StrideO: heads * dim,
	}
	q, k, v := random(1), random(2), random(3)
	o, lse, delta := operand(nil, tensor.BF16, rows, heads*dim), operand(nil, tensor.F32, heads, rows), operand(nil, tensor.F32, heads, rows)
	dq, dk, dv := operand(nil, tensor.BF16, rows, heads*dim), operand(nil, tensor.BF16, rows, heads*dim), operand(nil, tensor.BF16, rows, heads*dim)
	if err := b.Attention(s, o, lse, q, k, v, tensor.Tensor{}); err != nil {
		return nil, err
	}
	if err := b.AttentionBwd(s, dq, dk, dv, tensor.Tensor{}, random(4), o, lse, delta, q, k, v, tensor.Tensor{}); err != nil {
		return nil, err
	}
	var all []byte
	for _, x := range []tensor.Tensor{o, lse, dq, dk, dv} {
		raw := make([]byte, x.Bytes())
		if err := b.Download(raw, x); err != nil {
			t.Fatal(err)
		}
		all = append(all, raw...)
	}
	return all, nil
}

// TestPlantedFaultsFlash breaks flash attention: each fault is found, by the interpreter's rules or by a result that
// differs.
func TestPlantedFaultsFlash(t *testing.T) {
	barrier, wait := regexp.MustCompile(`bar\.sync \t0;`), regexp.MustCompile(`cp\.async\.wait_group 0;`)
	swizzle, store := regexp.MustCompile(`xor\.b32\s`), regexp.MustCompile(`(st\.global\.v4\.u32 \t\[%rd\d+)\]`)
	want, err := flashResults(t, "attention_mma_32", func(s string) string { return s })
	if err != nil {
		t.Fatal(err)
	}
	for _, kernel := range []string{"attention_mma_32", "attention_mma_dq_32", "attention_mma_dkv_32"} {
		run := func(t *testing.T, plant func(string) string) ([]byte, error) { return flashResults(t, kernel, plant) }
		expectFound(t, kernel, want, run, []planted{
			{"the barrier before a tile", "without a barrier|unfinished|nothing has written", func(s string) string { return replaceNth(s, barrier, 0, "") }},
			{"the wait for a tile", "unfinished cp.async", func(s string) string { return wait.ReplaceAllString(s, "") }},
			{"a store off by one", "past the end", func(s string) string { return store.ReplaceAllString(s, "$1+16]") }},
			{"a wrong swizzle", "", func(s string) string { return replaceNth(s, swizzle, 0, "or.b32 \t") }},
		})
	}
}
