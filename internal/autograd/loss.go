package autograd

import "github.com/mltrain/mltrain/internal/tensor"

// Loss is what a cross-entropy leaves behind: Rows [R,CECols] as tensor.Kernels.CrossEntropy writes them, and Sums
// [CECols], their sums over R. The summed loss is −Sums[CELogp].
type Loss struct {
	Rows, Sums tensor.Tensor
}

// chunkLogits bounds the elements of the logits that exist at one time: 64 MiB of float32. Fewer would read the head's weight
// from memory more often than the products can hide.
const chunkLogits = 16 << 20

// headChunk returns how many of rows rows get their logits at once: the fewest equal chunks, since a product with one row
// left over takes as long as one with many.
func headChunk(rows, vocab int) int {
	most := max(32, chunkLogits/vocab)
	parts := max(1, (rows+most-1)/most)
	return max(1, (rows+parts-1)/parts)
}

// headRoom returns the rows that logits get memory for. Unlike headChunk it never falls as rows grow, so that what is planned for
// the largest batch is enough for every smaller one.
func headRoom(rows, vocab int) int { return max(1, min(rows, max(32, chunkLogits/vocab))) }

// LinearCrossEntropy computes the cross-entropy of logits x·Wᵀ [R,V] with targets int32 [R], a chunk of rows at a time,
// so that the logits never exist whole. In a Step that records, the gradient of the summed loss flows at once, chunk by
// chunk: into x, and into w if it is trainable. weights float32 [R] multiply the rows of the loss; absent, all are 1.
func (t *Tape) LinearCrossEntropy(spec tensor.CESpec, x *Var, w *Param, targets, weights tensor.Tensor) Loss {
	t.use("linear_cross_entropy", x)
	loss := t.newLoss(x)
	var drow tensor.Tensor
	if !weights.IsZero() {
		drow = t.Alloc(tensor.F32, weights.Len())
		t.check(t.b.Unary(tensor.OpScale, -1, drow, weights))
	}
	t.head(spec, x, w, targets, loss, drow, true, !t.noGrad && t.training)
	if !weights.IsZero() {
		t.check(t.b.Binary(tensor.OpMul, loss.Rows, loss.Rows, weights.View(weights.Len(), 1), false))
	}
	t.check(t.b.Reduce(tensor.ReduceSum, loss.Sums, loss.Rows, 0, false))
	return loss
}

// LinearLogProbs computes the same rows and leaves the gradient to LinearLogProbsBackward, for losses whose derivative
// by each row's log-likelihood is known only once all are.
func (t *Tape) LinearLogProbs(spec tensor.CESpec, x *Var, w *Param, targets tensor.Tensor) Loss {
	t.use("linear_log_probs", x)
	loss := t.newLoss(x)
	t.head(spec, x, w, targets, loss, tensor.Tensor{}, true, false)
	t.check(t.b.Reduce(tensor.ReduceSum, loss.Sums, loss.Rows, 0, false))
	return loss
}

// LinearLogProbsScaled is LinearLogProbs of k times the logits, after their soft cap; nothing flows back through it.
func (t *Tape) LinearLogProbsScaled(spec tensor.CESpec, k float32, x *Var, w *Param, targets tensor.Tensor) Loss {
	t.use("linear_log_probs_scaled", x)
	loss := t.newLoss(x)
	t.eachLogits(x, w, targets, func(lo, hi int, lg tensor.Tensor) {
		s := spec
		if s.SoftCap > 0 {
			t.check(t.b.Unary(tensor.OpSoftcap, s.SoftCap, lg, lg))
			s.SoftCap = 0
		}
		t.check(t.b.Unary(tensor.OpScale, k, lg, lg))
		t.check(t.b.CrossEntropy(s, loss.Rows.RowRange(lo, hi), lg, targets.Slice(lo, hi)))
	})
	t.check(t.b.Reduce(tensor.ReduceSum, loss.Sums, loss.Rows, 0, false))
	return loss
}

// LinearLogProbsBackward adds the gradient of Σ drow[i]·logp[i], drow float32 [R], computing each chunk's logits again.
func (t *Tape) LinearLogProbsBackward(spec tensor.CESpec, loss Loss, x *Var, w *Param, targets, drow tensor.Tensor) {
	t.use("linear_log_probs_backward", x)
	t.head(spec, x, w, targets, loss, drow, false, !t.noGrad && t.training)
}

func (t *Tape) newLoss(x *Var) Loss {
	return Loss{
		Rows: t.Alloc(tensor.F32, x.Value.Rows(), tensor.CECols),
		Sums: t.Alloc(tensor.F32, tensor.CECols),
	}
}

// eachLogits computes the logits of x [R,C], w [V,C], a chunk of rows lo … hi−1 at a time, and calls fn with each chunk.
func (t *Tape) eachLogits(x *Var, w *Param, targets tensor.Tensor, fn func(lo, hi int, logits tensor.Tensor)) {
	rows, c, vocab := x.Value.Rows(), x.Value.Cols(), w.Shape[0]
	if len(w.Shape) != 2 || w.Shape[1] != c || targets.Len() != rows {
		t.failf("input %v, weight %s %v, targets %v", x.Value, w.Name, w.Shape, targets)
	}
	n := headChunk(rows, vocab)
	logits := t.scratch(tensor.F32, headRoom(rows, vocab), vocab)
	for lo := 0; lo < rows; lo += n {
		hi := min(lo+n, rows)
		lg := logits.t.RowRange(0, hi-lo)
		s := tensor.GemmSpec{M: hi - lo, N: vocab, K: c, LDA: c, LDB: c, LDC: vocab, TransB: true, Alpha: 1}
		t.gemm(s, lg, x.Value.RowRange(lo, hi), w.Value, tensor.Tensor{})
		fn(lo, hi, lg)
	}
	t.pool.release(logits)
}

func (t *Tape) head(spec tensor.CESpec, x *Var, w *Param, targets tensor.Tensor, loss Loss, drow tensor.Tensor, forward, backward bool) {
	train := t.trains(w)
	backward = backward && (train || x.needs)
	var dx tensor.Tensor
	var acc bool
	if backward && x.needs {
		dx, acc = t.gradOut(x)
	}
	// The gradient takes the place of the logits, unless activations have another type: then it is rounded to that, so that
	// its products with x and w are of one type.
	var rounded *block
	if backward && t.ActDType != tensor.F32 {
		rounded = t.scratch(t.ActDType, headRoom(x.Value.Rows(), w.Shape[0]), w.Shape[0])
	}
	t.eachLogits(x, w, targets, func(lo, hi int, lg tensor.Tensor) {
		tg, rc := targets.Slice(lo, hi), loss.Rows.RowRange(lo, hi)
		if forward {
			t.check(t.b.CrossEntropy(spec, rc, lg, tg))
		}
		if !backward {
			return
		}
		var dr tensor.Tensor
		if !drow.IsZero() {
			dr = drow.Slice(lo, hi)
		}
		dl := lg
		if rounded != nil {
			dl = rounded.t.RowRange(0, hi-lo)
		}
		t.check(t.b.CrossEntropyBwd(spec, dl, lg, rc, tg, dr))
		if x.needs {
			c, vocab := x.Value.Cols(), w.Shape[0]
			s := tensor.GemmSpec{M: hi - lo, N: c, K: vocab, LDA: vocab, LDB: c, LDC: c, Alpha: 1, Beta: b2f(acc)}
			t.gemm(s, dx.RowRange(lo, hi), dl, w.Value, tensor.Tensor{})
		}
		if w.Trainable() {
			t.weightGrad(w, dl, x.Value.RowRange(lo, hi), OutIn)
		}
		if w.Tokens.trainable() {
			w.Tokens.headGrad(t, dl, x.Value.RowRange(lo, hi))
		}
	})
	if rounded != nil {
		t.pool.release(rounded)
	}
}
