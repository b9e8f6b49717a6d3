package plan

import "github.com/mltrain/mltrain/internal/tensor"

var _ tensor.Backend = (*Counter)(nil)

// Gemm counts 2·M·N·K operations.
func (c *Counter) Gemm(s tensor.GemmSpec, _, _, _, _ tensor.Tensor) error {
	c.FLOPs += 2 * float64(s.M) * float64(s.N) * float64(s.K) * float64(max(1, s.Batch))
	return nil
}

// Attention counts 4·MaxQ·MaxK·Heads·HeadDim operations a sequence, half of that if causal.
func (c *Counter) Attention(s tensor.AttnSpec, _, _, _, _, _, _ tensor.Tensor) error {
	c.FLOPs += attnFLOPs(s)
	return nil
}

// AttentionBwd counts 2.5 times the forward pass: five products instead of two.
func (c *Counter) AttentionBwd(s tensor.AttnSpec, _, _, _, _, _, _, _, _, _, _, _, _ tensor.Tensor) error {
	c.FLOPs += 2.5 * attnFLOPs(s)
	return nil
}

func attnFLOPs(s tensor.AttnSpec) float64 {
	f := 4 * float64(s.Seqs) * float64(s.MaxQ) * float64(s.MaxK) * float64(s.Heads*s.HeadDim)
	if s.Causal {
		f /= 2
	}
	return f
}

// The other kernels are bound by memory and count no operations.

// Unary does nothing.
func (c *Counter) Unary(tensor.UnaryOp, float32, tensor.Tensor, tensor.Tensor) error { return nil }

// UnaryBwd does nothing.
func (c *Counter) UnaryBwd(tensor.UnaryOp, float32, tensor.Tensor, tensor.Tensor, tensor.Tensor, bool) error {
	return nil
}

// Binary does nothing.
func (c *Counter) Binary(tensor.BinaryOp, tensor.Tensor, tensor.Tensor, tensor.Tensor, bool) error {
	return nil
}

// Gate does nothing.
func (c *Counter) Gate(tensor.GateSpec, tensor.Tensor, tensor.Tensor, tensor.Tensor) error {
	return nil
}

// GateBwd does nothing.
func (c *Counter) GateBwd(tensor.GateSpec, tensor.Tensor, tensor.Tensor, tensor.Tensor, tensor.Tensor, tensor.Tensor) error {
	return nil
}

// Reduce does nothing.
func (c *Counter) Reduce(tensor.ReduceOp, tensor.Tensor, tensor.Tensor, int, bool) error { return nil }

// Norm does nothing.
func (c *Counter) Norm(tensor.NormSpec, tensor.Tensor, tensor.Tensor, tensor.Tensor, tensor.Tensor, tensor.Tensor) error {
	return nil
}

// NormBwd does nothing.
func (c *Counter) NormBwd(tensor.NormSpec, tensor.Tensor, tensor.Tensor, tensor.Tensor, tensor.Tensor, tensor.Tensor, tensor.Tensor, tensor.Tensor, bool) error {
	return nil
}

// Rope does nothing.
func (c *Counter) Rope(tensor.RopeSpec, tensor.Tensor, tensor.Tensor, tensor.Tensor, tensor.Tensor) error {
	return nil
}

// Decode8 does nothing.
func (c *Counter) Decode8(tensor.Tensor, tensor.Blocks8) error { return nil }

// Encode8 does nothing.
func (c *Counter) Encode8(tensor.Blocks8, tensor.Tensor) error { return nil }

// Dequant does nothing.
func (c *Counter) Dequant(tensor.Tensor, tensor.Quant4, int) error { return nil }

// Gather does nothing.
func (c *Counter) Gather(tensor.Tensor, tensor.Tensor, tensor.Tensor) error { return nil }

// ScatterAdd does nothing.
func (c *Counter) ScatterAdd(tensor.Tensor, tensor.Tensor, tensor.Tensor) error { return nil }

// PutRows does nothing.
func (c *Counter) PutRows(tensor.Tensor, tensor.Tensor, int, tensor.Tensor) error { return nil }

// CrossEntropy does nothing.
func (c *Counter) CrossEntropy(tensor.CESpec, tensor.Tensor, tensor.Tensor, tensor.Tensor) error {
	return nil
}

// CrossEntropyBwd does nothing.
func (c *Counter) CrossEntropyBwd(tensor.CESpec, tensor.Tensor, tensor.Tensor, tensor.Tensor, tensor.Tensor, tensor.Tensor) error {
	return nil
}

// Dropout does nothing.
func (c *Counter) Dropout(tensor.Tensor, tensor.Tensor, float32, tensor.RNGKey, bool) error {
	return nil
}

// SumSq does nothing.
func (c *Counter) SumSq(tensor.Tensor, tensor.Tensor, bool) error { return nil }

// ClipScale does nothing.
func (c *Counter) ClipScale(tensor.Tensor, tensor.Tensor, float32, float32) error { return nil }

// Optim does nothing.
func (c *Counter) Optim(tensor.OptSpec, []tensor.Segment, tensor.Tensor, tensor.Tensor, tensor.Tensor, tensor.Tensor, tensor.Tensor, tensor.Tensor) error {
	return nil
}
