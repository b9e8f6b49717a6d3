package backendtest

import (
	"strings"
	"testing"

	"github.com/mltrain/mltrain/internal/tensor"
)

// runErrors calls kernels with operands that do not fit: each must return an error that names the kernel, and none may
// panic or write.
func runErrors(t *testing.T, b tensor.Backend) {
	none := tensor.Tensor{}
	for _, c := range []struct {
		name, want string
		call       func(e *Env, x, y, ids tensor.Tensor) error // x, y float32 [4,6], ids int32 [4]
	}{
		{"gemm beyond memory", "gemm", func(e *Env, x, y, _ tensor.Tensor) error {
			return e.B.Gemm(tensor.GemmSpec{M: 4, N: 60, K: 6, LDA: 6, LDB: 60, LDC: 60, Alpha: 1}, y, x, x, none)
		}},
		{"gemm rows overlap", "gemm", func(e *Env, x, y, _ tensor.Tensor) error {
			return e.B.Gemm(tensor.GemmSpec{M: 4, N: 6, K: 4, LDA: 2, LDB: 6, LDC: 6, Alpha: 1}, y, x, x, none)
		}},
		{"unary length", "unary", func(e *Env, x, y, _ tensor.Tensor) error {
			return e.B.Unary(tensor.OpReLU, 0, y.Slice(0, 5), x)
		}},
		{"unary type", "unary", func(e *Env, x, _, ids tensor.Tensor) error {
			return e.B.Unary(tensor.OpReLU, 0, ids, x.Slice(0, 4))
		}},
		{"unary absent", "unary", func(e *Env, x, _, _ tensor.Tensor) error { return e.B.Unary(tensor.OpReLU, 0, none, x) }},
		{"unary function", "unary", func(e *Env, x, y, _ tensor.Tensor) error { return e.B.Unary(tensor.NumUnaryOps, 0, y, x) }},
		{"unary backward length", "unary", func(e *Env, x, y, _ tensor.Tensor) error {
			return e.B.UnaryBwd(tensor.OpReLU, 0, y, x.Slice(0, 5), x, false)
		}},
		{"binary shape", "binary", func(e *Env, x, y, _ tensor.Tensor) error {
			return e.B.Binary(tensor.OpAdd, y, x, x.Slice(0, 5), false)
		}},
		{"gate stride", "gate", func(e *Env, x, y, _ tensor.Tensor) error {
			return e.B.Gate(tensor.GateSpec{Op: tensor.OpSiLU, Rows: 4, Cols: 6, StrideGate: 5, StrideUp: 6, StrideY: 6}, y, x, x)
		}},
		{"gate backward beyond memory", "gate", func(e *Env, x, y, _ tensor.Tensor) error {
			return e.B.GateBwd(tensor.GateSpec{Op: tensor.OpSiLU, Rows: 40, Cols: 6, StrideGate: 6, StrideUp: 6, StrideY: 6}, y, y, x, x, x)
		}},
		{"reduce axis", "reduce", func(e *Env, x, y, _ tensor.Tensor) error {
			return e.B.Reduce(tensor.ReduceSum, y.Slice(0, 6), x, 2, false)
		}},
		{"reduce length", "reduce", func(e *Env, x, y, _ tensor.Tensor) error {
			return e.B.Reduce(tensor.ReduceSum, y, x, 0, false)
		}},
		{"norm weight", "norm", func(e *Env, x, y, _ tensor.Tensor) error {
			return e.B.Norm(tensor.NormSpec{}, y, y.Slice(0, 8), x, x.Slice(0, 5), none)
		}},
		{"norm backward stats", "norm", func(e *Env, x, y, _ tensor.Tensor) error {
			return e.B.NormBwd(tensor.NormSpec{}, y, none, none, x, x.Slice(0, 7), x, x.Slice(0, 6), false)
		}},
		{"rope position", "rope", func(e *Env, x, y, ids tensor.Tensor) error {
			s := tensor.RopeSpec{Heads: 1, HeadDim: 6, RotaryDim: 6, Sign: 1, StrideX: 6, StrideY: 6}
			return e.B.Rope(s, y, x, x.RowRange(0, 3), ids)
		}},
		{"rope odd dimension", "rope", func(e *Env, x, y, ids tensor.Tensor) error {
			s := tensor.RopeSpec{Heads: 1, HeadDim: 6, RotaryDim: 5, Sign: 1, StrideX: 6, StrideY: 6}
			return e.B.Rope(s, y, x, x, ids)
		}},
		{"gather id", "gather", func(e *Env, x, y, ids tensor.Tensor) error {
			return e.B.Gather(y, x.RowRange(0, 3), ids)
		}},
		{"scatter id", "scatter", func(e *Env, x, y, ids tensor.Tensor) error {
			return e.B.ScatterAdd(y.RowRange(0, 3), x, ids)
		}},
		{"put rows row", "put", func(e *Env, x, y, ids tensor.Tensor) error {
			return e.B.PutRows(y.RowRange(0, 3), x, 6, ids)
		}},
		{"attention heads", "attention", func(e *Env, x, y, ids tensor.Tensor) error {
			s := tensor.AttnSpec{CuQ: ids.Slice(0, 2), CuK: ids.Slice(0, 2), Seqs: 1, MaxQ: 1, MaxK: 1, Heads: 3, KVHeads: 2, HeadDim: 2, StrideQ: 6, StrideK: 4, StrideV: 4, StrideO: 6}
			return e.B.Attention(s, y, y.Slice(0, 12), x, x, x, none)
		}},
		{"attention length above MaxK", "attention", func(e *Env, x, y, ids tensor.Tensor) error {
			s := tensor.AttnSpec{CuQ: ids.Slice(0, 2), CuK: ids.Slice(0, 2), Seqs: 1, MaxQ: 1, Heads: 1, KVHeads: 1, HeadDim: 6, StrideQ: 6, StrideK: 6, StrideV: 6, StrideO: 6}
			return e.B.Attention(s, y, y.Slice(0, 4), x, x, x, none)
		}},
		{"attention backward beyond memory", "attention", func(e *Env, x, y, ids tensor.Tensor) error {
			s := tensor.AttnSpec{CuQ: ids.Slice(0, 2), CuK: ids.Slice(0, 2), Seqs: 1, MaxQ: 1, MaxK: 1, Heads: 1, KVHeads: 1, HeadDim: 600, StrideQ: 600, StrideK: 600, StrideV: 600, StrideO: 600}
			return e.B.AttentionBwd(s, y, y, y, none, x, x, x.Slice(0, 4), y.Slice(0, 4), x, x, x, none)
		}},
		{"attention bias shape", "attention", func(e *Env, x, y, ids tensor.Tensor) error {
			s := tensor.AttnSpec{CuQ: ids.Slice(0, 2), CuK: ids.Slice(0, 2), Seqs: 1, MaxQ: 1, MaxK: 1, Heads: 2, KVHeads: 2, HeadDim: 3, StrideQ: 6, StrideK: 6, StrideV: 6, StrideO: 6}
			return e.B.Attention(s, y, y.Slice(0, 8), x, x, x, x.Slice(0, 3).View(3, 1, 1))
		}},
		{"attention bias too small", "attention", func(e *Env, x, y, ids tensor.Tensor) error {
			s := tensor.AttnSpec{CuQ: ids.Slice(0, 2), CuK: e.Ints("CuK", []int32{0, 2}), Seqs: 1, MaxQ: 1, MaxK: 2, Heads: 1, KVHeads: 1, HeadDim: 6, StrideQ: 6, StrideK: 6, StrideV: 6, StrideO: 6}
			return e.B.Attention(s, y, y.Slice(0, 4), x, x, x, x.Slice(0, 1).View(1, 1, 1))
		}},
		{"attention bias for a query without a key", "attention", func(e *Env, x, y, ids tensor.Tensor) error {
			s := tensor.AttnSpec{CuQ: e.Ints("CuQ", []int32{0, 2}), CuK: ids.Slice(0, 2), Seqs: 1, MaxQ: 2, MaxK: 1, Heads: 1, KVHeads: 1, HeadDim: 6, StrideQ: 6, StrideK: 6, StrideV: 6, StrideO: 6}
			return e.B.Attention(s, y, y.Slice(0, 4), x, x, x, x.Slice(0, 4).View(1, 2, 2))
		}},
		{"attention gradient of no bias", "attention", func(e *Env, x, y, ids tensor.Tensor) error {
			s := tensor.AttnSpec{CuQ: ids.Slice(0, 2), CuK: ids.Slice(0, 2), Seqs: 1, MaxQ: 1, MaxK: 1, Heads: 1, KVHeads: 1, HeadDim: 6, StrideQ: 6, StrideK: 6, StrideV: 6, StrideO: 6}
			return e.B.AttentionBwd(s, y, y, y, y.Slice(0, 1).View(1, 1, 1), x, x, x.Slice(0, 4), y.Slice(0, 4), x, x, x, none)
		}},
		{"cross entropy target", "cross entropy", func(e *Env, x, y, ids tensor.Tensor) error {
			return e.B.CrossEntropy(tensor.CESpec{IgnoreIndex: -100}, y.Slice(0, 16), x.Slice(0, 12).View(4, 3), ids)
		}},
		{"cross entropy backward rows", "cross entropy", func(e *Env, x, y, ids tensor.Tensor) error {
			return e.B.CrossEntropyBwd(tensor.CESpec{IgnoreIndex: -100}, y, x, x.Slice(0, 15), ids, none)
		}},
		{"dropout probability", "dropout", func(e *Env, x, y, _ tensor.Tensor) error { return e.B.Dropout(y, x, 1, testKey, false) }},
		{"optim state", "optim", func(e *Env, x, y, _ tensor.Tensor) error {
			s := tensor.OptSpec{Kind: tensor.AdamW, Step: 1}
			return e.B.Optim(s, []tensor.Segment{{Len: 24}}, none, y, none, none, x, x.Slice(0, 1))
		}},
		{"optim segment", "optim", func(e *Env, x, y, _ tensor.Tensor) error {
			return e.B.Optim(tensor.OptSpec{Step: 1}, []tensor.Segment{{Off: 20, Len: 5}}, none, y, none, none, x, x.Slice(0, 1))
		}},
		{"copy length", "copy", func(e *Env, x, y, _ tensor.Tensor) error { return e.B.Copy(y.Slice(0, 5), x) }},
		{"upload length", "upload", func(e *Env, _, y, _ tensor.Tensor) error { return e.B.Upload(y, []byte{1, 2}) }},
		{"download length", "download", func(e *Env, x, _, _ tensor.Tensor) error { return e.B.Download([]byte{1, 2}, x) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := NewEnv(t, b, c.name)
			defer e.Free()
			x, y := e.In("x", tensor.F32, e.Rand(24), 4, 6), e.Out("y", tensor.F32, 4, 6)
			ids := e.Ints("ids", []int32{0, 1, 2, 3})
			err := c.call(e, x, y, ids)
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q does not name %q", err, c.want)
			}
			for i, v := range e.Read(y) {
				if v == v {
					t.Errorf("element %d was written in spite of %q", i, err)
				}
			}
			e.CheckSentinels()
		})
	}
}
