package autograd

import (
	"slices"

	"github.com/mltrain/mltrain/internal/tensor"
)

// TokenRows are rows of a frozen table that are trained: the embeddings of a few tokens. Whoever updates them writes them into the
// table; here only their gradient is computed.
type TokenRows struct {
	Rows *Param // [n, C]
	IDs  []int  // their places in the table
	// OneHot [V, n] has a 1 where a row of the table is the i-th trained one.
	OneHot tensor.Tensor
}

// trainable tells whether some rows of p get a gradient.
func (r *TokenRows) trainable() bool { return r != nil && r.Rows.Trainable() }

// lookupGrad adds dy, the gradient of the rows that ids looked up, to those of the trained rows. The row padding, unless it is
// negative, gets none.
func (r *TokenRows) lookupGrad(t *Tape, dy, ids tensor.Tensor, padding int) {
	pick := t.scratch(t.ActDType, ids.Len(), r.OneHot.Dim(1))
	table := r.OneHot
	if slices.Contains(r.IDs, padding) {
		masked := t.scratchLike(table)
		t.check(t.b.Copy(masked.t, table))
		t.check(t.b.Zero(masked.t.RowRange(padding, padding+1)))
		t.check(t.b.Gather(pick.t, masked.t, ids))
		t.pool.release(masked)
	} else {
		t.check(t.b.Gather(pick.t, table, ids))
	}
	t.mulAcc(r.Rows, pick.t, dy, 1)
	t.pool.release(pick)
}

// headGrad adds the gradient of the trained rows of a head: for logits x·Wᵀ with gradient dl [R,V] and x [R,C].
func (r *TokenRows) headGrad(t *Tape, dl, x tensor.Tensor) {
	pick := t.scratch(t.ActDType, dl.Rows(), r.OneHot.Dim(1))
	t.mul(pick.t, dl, r.OneHot, 1, 0)
	t.mulAcc(r.Rows, pick.t, x, 1)
	t.pool.release(pick)
}
