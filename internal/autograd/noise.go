package autograd

import (
	"encoding/binary"
	"math"

	"github.com/mltrain/mltrain/internal/tensor"
)

// noiseChunk is how many elements of noise are made and moved to the device at a time.
const noiseChunk = 1 << 16

// Noise adds uniform noise to x [R,C]: y[r,c] = x[r,c] + scales[r]·u with u from [−1, 1). Outside of Step, inside NoGrad, and
// without scales it returns x. The gradient passes unchanged. It must not be called inside Layer, whose first pass may be outside of the gradient.
//
// Element i of x uses word i mod 4 of block i/4 of the operation's Philox stream, of which the upper 24 bits count: recomputation
// and resumption meet the same noise, on every backend. It is made on the host, in float32.
func (t *Tape) Noise(scales []float32, x *Var) *Var {
	if len(scales) == 0 || !t.training || t.noGrad {
		return x
	}
	t.use("noise", x)
	if len(scales) != x.Value.Rows() {
		t.failf("%d scales for %d rows", len(scales), x.Value.Rows())
	}
	key := t.nextKey()
	noise := t.scratch(tensor.F32, x.Value.Shape()...)
	t.uploadNoise(noise.t, scales, key)
	y := like(t, x.Value, x.Value.DType)
	if y.DType != tensor.F32 {
		// Rounded first, as one adds it in the type of the activations.
		rounded := t.scratch(y.DType, x.Value.Shape()...)
		t.check(t.b.Copy(rounded.t, noise.t))
		t.pool.release(noise)
		noise = rounded
	}
	t.check(t.b.Binary(tensor.OpAdd, y, x.Value, noise.t, false))
	t.pool.release(noise)
	out := t.new(y, x.needs)
	t.record(out, func() {
		if dy := out.take(); dy != nil {
			t.give(x, dy)
		}
	})
	return out
}

// uploadNoise fills dst [R,C] with scales[r]·u.
func (t *Tape) uploadNoise(dst tensor.Tensor, scales []float32, key tensor.RNGKey) {
	cols, flat := dst.Cols(), dst.View(dst.Len())
	raw := make([]byte, 4*min(noiseChunk, dst.Len()))
	for lo := 0; lo < dst.Len(); lo += noiseChunk {
		hi := min(lo+noiseChunk, dst.Len())
		for i := lo; i < hi; i += 4 {
			for j, word := range key.Philox(uint64(i / 4)) {
				if i+j < hi {
					u := float32(word>>8)*(2.0/(1<<24)) - 1
					binary.LittleEndian.PutUint32(raw[4*(i+j-lo):], math.Float32bits(scales[(i+j)/cols]*u))
				}
			}
		}
		t.check(t.b.Upload(flat.Slice(lo, hi), raw[:4*(hi-lo)]))
	}
}
