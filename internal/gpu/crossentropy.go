package gpu

import "github.com/mltrain/mltrain/internal/tensor"

// CrossEntropy writes rows [R,CECols] for logits [R,V] and targets int32 [R].
func (b *Backend) CrossEntropy(s tensor.CESpec, rows, logits, targets tensor.Tensor) error {
	c := call{b: b, kernel: "cross entropy"}
	n, vocab, t := logits.Rows(), logits.Cols(), c.activation("logits", logits)
	c.length("rows", rows, n*tensor.CECols)
	out, lp := c.f32("rows", rows, n*tensor.CECols, true), c.window("logits", logits, logits.Len(), false)
	ids := c.ids("target", targets, n, vocab, s.IgnoreIndex)
	c.launch("crossentropy", "cross_entropy_"+t, [3]int{n}, [3]int{pieceThreads(vocab, logits.DType)}, out, lp, ids, c.i32of(vocab), s.IgnoreIndex,
		s.SoftCap, s.Smoothing)
	return c.err
}

// CrossEntropyBwd computes dlogits = drow·∂logp/∂logits; dlogits may be logits. Logits of float32 may have a gradient in
// bfloat16.
func (b *Backend) CrossEntropyBwd(s tensor.CESpec, dlogits, logits, rows, targets, drow tensor.Tensor) error {
	c := call{b: b, kernel: "cross entropy backward"}
	n, vocab, t := logits.Rows(), logits.Cols(), c.activation("logits", logits)
	c.length("dlogits", dlogits, logits.Len())
	c.length("rows", rows, n*tensor.CECols)
	g := c.activation("dlogits", dlogits)
	c.require(dlogits.DType == logits.DType || logits.DType == tensor.F32, "dlogits is %v, logits are %v", dlogits, logits)
	dp, lp := c.window("dlogits", dlogits, logits.Len(), true), c.window("logits", logits, logits.Len(), false)
	rp := c.f32("rows", rows, n*tensor.CECols, false)
	ids := c.ids("target", targets, n, vocab, s.IgnoreIndex)
	var weights Ptr
	if !drow.IsZero() {
		c.length("drow", drow, n)
		weights = c.f32("drow", drow, n, false)
	}
	c.launch("crossentropy", "cross_entropy_bwd_"+g+"_"+t, [3]int{n}, [3]int{pieceThreads(vocab, dlogits.DType)}, dp, lp, rp, ids, weights, c.i32of(vocab),
		s.IgnoreIndex, s.SoftCap, s.Smoothing)
	return c.err
}
