package cpu

import "github.com/mltrain/mltrain/internal/tensor"

// bias is what attention adds to scores, or its gradient: [heads, n, n], by the position of the query, then of the key.
// The zero value stands for none.
type bias struct {
	x        []float32
	heads, n int
}

// biasOf checks a bias against the lengths of the sequences.
func (a *attn) biasOf(c *call, name string, t tensor.Tensor, write bool) bias {
	if t.IsZero() || c.err != nil {
		return bias{}
	}
	shape := t.Shape()
	if len(shape) != 3 || shape[0] != 1 && shape[0] != a.Heads || shape[1] != shape[2] {
		c.fail("%s is %v, want [%d or 1, n, n]", name, t, a.Heads)
		return bias{}
	}
	y := bias{heads: shape[0], n: shape[1]}
	for i := range a.Seqs {
		nq, nk := int(a.cuQ[i+1]-a.cuQ[i]), a.keys(i)
		c.require(nq <= nk && nk <= y.n, "sequence %d has %d queries and %d keys: want no more queries than keys, nor keys than the %d of the bias", i, nq, nk, y.n)
	}
	y.x = c.f32(name, t, t.Len(), write)
	return y
}

// query returns the head of lane r and the key position at which its query stands.
func (a *attn) query(l *lanes, r int) (head, pos int) {
	r += l.first
	return l.kvh*a.group + r%a.group, r/a.group + l.nk - l.nq
}

// row returns the elements of a query, by key; nil if there is no bias.
func (b bias) row(head, pos int) []float32 {
	if b.x == nil {
		return nil
	}
	if b.heads == 1 {
		head = 0
	}
	return b.x[(head*b.n+pos)*b.n:][:b.n]
}

// biasRoom returns the size of addBias's scratch for a number of lanes.
func (a *attn) biasRoom(lanes int) int {
	if a.bias.x == nil {
		return 0
	}
	return 2 * lanes * keyTile
}

// addBias adds the bias to scores s [n, padded] of keys j0 to j0+n; tmp has room for two tiles.
func (a *attn) addBias(l *lanes, s []float32, j0, n int, tmp []float32) {
	if a.bias.x == nil {
		return
	}
	rows, t := tmp[:l.padded*keyTile], tmp[l.padded*keyTile:] // by lane, by key
	for r := range l.n {
		copy(rows[r*keyTile:r*keyTile+n], a.bias.row(a.query(l, r))[j0:])
	}
	a.b.v.Transpose(t, l.padded, rows, keyTile, l.padded, roundUp(n, 16))
	a.b.v.Add(s[:n*l.padded], s, t)
}

// addBiasGrad adds the gradients ds [n, padded] of scores to dbias; tmp has room for two tiles.
func (g *gradients) addBiasGrad(l *lanes, ds []float32, j0, n int, tmp []float32) {
	g.b.v.Transpose(tmp, keyTile, ds, l.padded, roundUp(n, 16), l.padded)
	for r := range l.n {
		if lo, hi := g.window(l, r, r+1, j0, n); lo < hi {
			d := g.dbias.row(g.query(l, r))[j0+lo : j0+hi]
			g.b.v.Add(d, d, tmp[r*keyTile+lo:])
		}
	}
}
