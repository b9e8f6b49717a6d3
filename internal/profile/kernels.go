package profile

import (
	"fmt"
	"strconv"

	"github.com/mltrain/mltrain/internal/tensor"
)

var _ tensor.Backend = (*Timer)(nil)

// Gemm measures matrix products by shape and types.
func (t *Timer) Gemm(s tensor.GemmSpec, c, a, b, bias tensor.Tensor) error {
	name := fmt.Sprintf("gemm %s %d×%d×%d", layout(s), s.M, s.N, s.K)
	if a.DType != tensor.F32 || b.DType != tensor.F32 {
		name += fmt.Sprintf(" %v·%v", a.DType, b.DType)
	}
	flops := 2 * float64(s.M) * float64(s.N) * float64(s.K) * float64(max(1, s.Batch))
	return t.run(name, flops, func() error { return t.Backend.Gemm(s, c, a, b, bias) })
}

// GemmShared measures products of one matrix as one kernel where the backend has it, else each by itself.
func (t *Timer) GemmShared(a tensor.Tensor, parts []tensor.GemmPart) error {
	together, ok := t.Backend.(tensor.SharedGemm)
	if !ok {
		for _, p := range parts {
			if err := t.Gemm(p.GemmSpec, p.C, a, p.B, p.Bias); err != nil {
				return err
			}
		}
		return nil
	}
	name, flops := "gemm", 0.0
	for i, p := range parts {
		if i == 0 {
			name = fmt.Sprintf("gemm %s %d×(", layout(p.GemmSpec), p.M)
		} else {
			name += "+"
		}
		name += strconv.Itoa(p.N)
		flops += 2 * float64(p.M) * float64(p.N) * float64(p.K)
	}
	if len(parts) > 0 {
		name += fmt.Sprintf(")×%d", parts[0].K)
		if b := parts[0].B; a.DType != tensor.F32 || b.DType != tensor.F32 {
			name += fmt.Sprintf(" %v·%v", a.DType, b.DType)
		}
	}
	return t.run(name, flops, func() error { return together.GemmShared(a, parts) })
}

// layout writes which operand is transposed, as BLAS does.
func layout(s tensor.GemmSpec) string {
	return map[bool]string{true: "T", false: "N"}[s.TransA] + map[bool]string{true: "T", false: "N"}[s.TransB]
}

// Attention counts 4·MaxQ·MaxK·Heads·HeadDim operations a sequence, half of that if causal.
func (t *Timer) Attention(s tensor.AttnSpec, o, lse, q, k, v, bias tensor.Tensor) error {
	return t.run("attention", attnFLOPs(s), func() error { return t.Backend.Attention(s, o, lse, q, k, v, bias) })
}

// AttentionBwd counts 2.5 times the operations of the forward pass.
func (t *Timer) AttentionBwd(s tensor.AttnSpec, dq, dk, dv, dbias, do, o, lse, delta, q, k, v, bias tensor.Tensor) error {
	return t.run("attention_backward", 2.5*attnFLOPs(s), func() error {
		return t.Backend.AttentionBwd(s, dq, dk, dv, dbias, do, o, lse, delta, q, k, v, bias)
	})
}

func attnFLOPs(s tensor.AttnSpec) float64 {
	f := 4 * float64(s.Seqs) * float64(s.MaxQ) * float64(s.MaxK) * float64(s.Heads*s.HeadDim)
	if s.Causal {
		f /= 2
	}
	return f
}

// Unary measures the kernel.
func (t *Timer) Unary(op tensor.UnaryOp, k float32, y, x tensor.Tensor) error {
	return t.run("unary", 0, func() error { return t.Backend.Unary(op, k, y, x) })
}

// UnaryBwd measures the kernel.
func (t *Timer) UnaryBwd(op tensor.UnaryOp, k float32, dx, dy, x tensor.Tensor, acc bool) error {
	return t.run("unary_backward", 0, func() error { return t.Backend.UnaryBwd(op, k, dx, dy, x, acc) })
}

// Binary measures the kernel.
func (t *Timer) Binary(op tensor.BinaryOp, y, a, b tensor.Tensor, acc bool) error {
	return t.run("binary", 0, func() error { return t.Backend.Binary(op, y, a, b, acc) })
}

// Gate measures the kernel.
func (t *Timer) Gate(s tensor.GateSpec, y, gate, up tensor.Tensor) error {
	return t.run("gate", 0, func() error { return t.Backend.Gate(s, y, gate, up) })
}

// GateBwd measures the kernel.
func (t *Timer) GateBwd(s tensor.GateSpec, dgate, dup, dy, gate, up tensor.Tensor) error {
	return t.run("gate_backward", 0, func() error { return t.Backend.GateBwd(s, dgate, dup, dy, gate, up) })
}

// Reduce measures the kernel.
func (t *Timer) Reduce(op tensor.ReduceOp, y, x tensor.Tensor, axis int, acc bool) error {
	return t.run("reduce", 0, func() error { return t.Backend.Reduce(op, y, x, axis, acc) })
}

// Norm measures the kernel.
func (t *Timer) Norm(s tensor.NormSpec, y, stats, x, w, b tensor.Tensor) error {
	return t.run("norm", 0, func() error { return t.Backend.Norm(s, y, stats, x, w, b) })
}

// NormBwd measures the kernel.
func (t *Timer) NormBwd(s tensor.NormSpec, dx, dw, db, dy, stats, x, w tensor.Tensor, acc bool) error {
	return t.run("norm_backward", 0, func() error { return t.Backend.NormBwd(s, dx, dw, db, dy, stats, x, w, acc) })
}

// Rope measures the kernel.
func (t *Timer) Rope(s tensor.RopeSpec, y, x, table, pos tensor.Tensor) error {
	return t.run("rope", 0, func() error { return t.Backend.Rope(s, y, x, table, pos) })
}

// Decode8 measures the kernel.
func (t *Timer) Decode8(x tensor.Tensor, q tensor.Blocks8) error {
	return t.run("decode8", 0, func() error { return t.Backend.Decode8(x, q) })
}

// Encode8 measures the kernel.
func (t *Timer) Encode8(q tensor.Blocks8, x tensor.Tensor) error {
	return t.run("encode8", 0, func() error { return t.Backend.Encode8(q, x) })
}

// Dequant measures the kernel.
func (t *Timer) Dequant(w tensor.Tensor, q tensor.Quant4, row int) error {
	return t.run("dequant", 0, func() error { return t.Backend.Dequant(w, q, row) })
}

// MulQuant4Rows is 0 where the backend has no such kernel.
func (t *Timer) MulQuant4Rows(x tensor.DType) int {
	if m, ok := t.Backend.(tensor.Quant4Multiplier); ok {
		return m.MulQuant4Rows(x)
	}
	return 0
}

// MulQuant4 measures products with a matrix in four bits by shape.
func (t *Timer) MulQuant4(y, x tensor.Tensor, q tensor.Quant4, bias tensor.Tensor, beta float32) error {
	m, ok := t.Backend.(tensor.Quant4Multiplier)
	if !ok {
		return fmt.Errorf("%s has no product with few rows", t.Name())
	}
	flops := 2 * float64(x.Rows()) * float64(q.Rows) * float64(q.Cols)
	return t.run(fmt.Sprintf("nf4_product %d×%d×%d", x.Rows(), q.Rows, q.Cols), flops, func() error { return m.MulQuant4(y, x, q, bias, beta) })
}

// Gather measures the kernel.
func (t *Timer) Gather(y, table, ids tensor.Tensor) error {
	return t.run("gather", 0, func() error { return t.Backend.Gather(y, table, ids) })
}

// ScatterAdd measures the kernel.
func (t *Timer) ScatterAdd(dtable, dy, ids tensor.Tensor) error {
	return t.run("scatter_add", 0, func() error { return t.Backend.ScatterAdd(dtable, dy, ids) })
}

// PutRows measures the kernel.
func (t *Timer) PutRows(dst, src tensor.Tensor, srcStride int, rows tensor.Tensor) error {
	return t.run("put_rows", 0, func() error { return t.Backend.PutRows(dst, src, srcStride, rows) })
}

// CrossEntropy measures the kernel.
func (t *Timer) CrossEntropy(s tensor.CESpec, rows, logits, targets tensor.Tensor) error {
	return t.run("cross_entropy", 0, func() error { return t.Backend.CrossEntropy(s, rows, logits, targets) })
}

// CrossEntropyBwd measures the kernel.
func (t *Timer) CrossEntropyBwd(s tensor.CESpec, dlogits, logits, rows, targets, drow tensor.Tensor) error {
	return t.run("cross_entropy_backward", 0, func() error { return t.Backend.CrossEntropyBwd(s, dlogits, logits, rows, targets, drow) })
}

// Dropout measures the kernel.
func (t *Timer) Dropout(y, x tensor.Tensor, p float32, key tensor.RNGKey, acc bool) error {
	return t.run("dropout", 0, func() error { return t.Backend.Dropout(y, x, p, key, acc) })
}

// SumSq measures the kernel.
func (t *Timer) SumSq(out, x tensor.Tensor, acc bool) error {
	return t.run("sum_sq", 0, func() error { return t.Backend.SumSq(out, x, acc) })
}

// ClipScale measures the kernel.
func (t *Timer) ClipScale(out, sumsq tensor.Tensor, inv, maxNorm float32) error {
	return t.run("clip_scale", 0, func() error { return t.Backend.ClipScale(out, sumsq, inv, maxNorm) })
}

// Optim measures the kernel.
func (t *Timer) Optim(s tensor.OptSpec, segs []tensor.Segment, w, master, s1, s2, g, scale tensor.Tensor) error {
	return t.run("optimizer", 0, func() error { return t.Backend.Optim(s, segs, w, master, s1, s2, g, scale) })
}

// Copy measures the transfer.
func (t *Timer) Copy(dst, src tensor.Tensor) error {
	return t.run("copy", 0, func() error { return t.Backend.Copy(dst, src) })
}

// Zero measures the transfer.
func (t *Timer) Zero(dst tensor.Tensor) error {
	return t.run("zero", 0, func() error { return t.Backend.Zero(dst) })
}

// Upload measures the transfer.
func (t *Timer) Upload(dst tensor.Tensor, src []byte) error {
	return t.run("upload", 0, func() error { return t.Backend.Upload(dst, src) })
}

// Download measures the transfer.
func (t *Timer) Download(dst []byte, src tensor.Tensor) error {
	return t.run("download", 0, func() error { return t.Backend.Download(dst, src) })
}
