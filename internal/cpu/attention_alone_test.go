package cpu

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/mltrain/mltrain/internal/tensor"
)

// A query that is computed alone has the bits that it has as its sequence's only one, whatever the heads, the window and the cap are.
func TestQueriesAlone(t *testing.T) {
	b := New()
	rng := rand.New(rand.NewPCG(61, 62))
	upload := func(dt tensor.DType, n int, word func(i int) uint32) tensor.Tensor {
		x := tensor.New(nil, 0, dt, n)
		buf, err := b.Alloc(x.Bytes(), tensor.UseActivations)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Free(buf) })
		x.Buf = buf
		raw := make([]byte, 0, 4*n)
		for i := range n {
			raw = binary.LittleEndian.AppendUint32(raw, word(i))
		}
		if err := b.Upload(x, raw); err != nil {
			t.Fatal(err)
		}
		return x
	}
	random := func(int) uint32 { return math.Float32bits(float32(rng.NormFloat64())) }
	ints := func(v ...int32) tensor.Tensor {
		return upload(tensor.I32, len(v), func(i int) uint32 { return uint32(v[i]) })
	}
	read := func(x tensor.Tensor, from, n int) []byte {
		raw := make([]byte, 4*n)
		if err := b.Download(raw, x.Slice(from, from+n)); err != nil {
			t.Fatal(err)
		}
		return raw
	}
	const queries, keys, dim, room = 7, 83, 24, 90
	for _, heads := range [][2]int{{3, 1}, {4, 4}, {16, 2}} {
		for _, window := range []int{0, 20} {
			for _, cap := range []float32{0, 5} {
				h, kv := heads[0], heads[1]
				s := tensor.AttnSpec{
					Heads: h, KVHeads: kv, HeadDim: dim, StrideQ: h * dim, StrideK: kv * dim, StrideV: kv * dim, StrideO: h * dim, Causal: true, Window: window,
					Scale: 0.3, SoftCap: cap, Seqs: 1, CuK: ints(0, room), MaxK: keys,
				}
				q, k, v := upload(tensor.F32, queries*h*dim, random), upload(tensor.F32, room*kv*dim, random), upload(tensor.F32, room*kv*dim, random)
				run := func(s tensor.AttnSpec, q tensor.Tensor, n int) (o, lse tensor.Tensor) {
					o, lse = upload(tensor.F32, n*h*dim, random), upload(tensor.F32, h*n, random)
					if err := b.Attention(s, o, lse, q, k, v, tensor.Tensor{}); err != nil {
						t.Fatal(err)
					}
					return o, lse
				}
				all := s
				all.CuQ, all.UsedK, all.MaxQ, all.Alone = ints(0, queries), ints(keys), queries, true
				o, lse := run(all, q, queries)
				for i := range queries {
					one := s
					one.CuQ, one.UsedK, one.MaxQ = ints(0, 1), ints(int32(keys-queries+1+i)), 1
					o1, lse1 := run(one, q.Slice(i*h*dim, (i+1)*h*dim), 1)
					name := fmt.Sprintf("heads %v, window %d, cap %v: query %d", heads, window, cap, i)
					if !slices.Equal(read(o, i*h*dim, h*dim), read(o1, 0, h*dim)) {
						t.Errorf("%s has another result than alone", name)
					}
					for head := range h {
						if !slices.Equal(read(lse, head*queries+i, 1), read(lse1, head, 1)) {
							t.Errorf("%s, head %d has another log-sum-exp than alone", name, head)
						}
					}
				}
			}
		}
	}
}
