package nn

import (
	"encoding/binary"
	"fmt"

	"github.com/mltrain/mltrain/internal/tensor"
)

// Batch is what a model computes on: one flat stream of tokens and the boundaries of its sequences. Attention never
// crosses a boundary, so padded rows, rows without padding and packed documents are all the same to a model.
type Batch struct {
	Tokens, Positions tensor.Tensor // int32 [T]
	CuSeqs            tensor.Tensor // int32 [Seqs+1]: where sequences begin, and T
	Seqs, MaxLen      int
	Cache             *Cache // for generation; nil in training
	// Noise is the scale of the noise that training adds to each token's embedding; empty for none.
	Noise []float32

	// Shared replaces CuSeqs and MaxLen in attention where sequences share keys; nil if none do.
	Shared *SharedKeys

	// LossRows [R] are the positions that have a target, Targets [R] their targets, and Weights float32 [R] what their
	// losses are multiplied by, absent if all are 1.
	LossRows, Targets, Weights tensor.Tensor
}

// SharedKeys say which keys the queries of a batch see when several continuations follow one prompt: the keys and values of the
// tokens Rows [K] are gathered, and the queries CuQ[s] … CuQ[s+1] see the gathered rows CuK[s] … CuK[s+1], aligned at the end. The
// prompt is computed once, however many continuations it has.
type SharedKeys struct {
	Rows, CuQ, CuK   tensor.Tensor // int32 [K], [Seqs+1], [Seqs+1]
	Seqs, MaxQ, MaxK int
}

// Feeder owns the device memory that batches are uploaded to.
type Feeder struct {
	b                                tensor.Backend
	tokens, positions, cu, rows, tgt tensor.Tensor
	weights                          tensor.Tensor
	keys, cuK                        tensor.Tensor // absent unless made for shared keys
	host                             []byte
	keep, kept                       []int32
	keptWeights                      []float32
}

// NewFeeder allocates for batches of at most maxTokens tokens in maxSeqs sequences that share maxKeys keys, 0 for none.
func NewFeeder(b tensor.Backend, maxTokens, maxSeqs, maxKeys int) (*Feeder, error) {
	f := &Feeder{
		b: b, host: make([]byte, 4*(max(maxTokens, maxSeqs, maxKeys)+1)),
		keep: make([]int32, 0, maxTokens), kept: make([]int32, 0, maxTokens), keptWeights: make([]float32, 0, maxTokens),
	}
	room := 5*maxTokens + maxSeqs + 1
	if maxKeys > 0 {
		room += maxKeys + maxSeqs + 1
	}
	buf, err := b.Alloc(int64(4*room), tensor.UseBatch)
	if err != nil {
		return nil, err
	}
	off := int64(0)
	for _, p := range []struct {
		t *tensor.Tensor
		n int
	}{{&f.tokens, maxTokens}, {&f.positions, maxTokens}, {&f.rows, maxTokens}, {&f.tgt, maxTokens}, {&f.cu, maxSeqs + 1}} {
		*p.t = tensor.New(buf, off, tensor.I32, p.n)
		off += int64(4 * p.n)
	}
	f.weights = tensor.New(buf, off, tensor.F32, maxTokens)
	if maxKeys > 0 {
		off += int64(4 * maxTokens)
		f.keys, f.cuK = tensor.New(buf, off, tensor.I32, maxKeys), tensor.New(buf, off+int64(4*maxKeys), tensor.I32, maxSeqs+1)
	}
	return f, nil
}

// Close frees the memory of batches.
func (f *Feeder) Close() { f.b.Free(f.tokens.Buf) }

// HostBatch is a Batch in host memory.
type HostBatch struct {
	Tokens, Positions []int32
	Cu                []int32   // where sequences begin, and the number of tokens
	Targets           []int32   // the label of each position, or Ignore; empty for none
	Weights           []float32 // of each position's loss; empty if all are 1
	MaxLen            int       // of the longest sequence
	// LossRows and LossTargets list positions and their labels where one position has several; empty goes by Targets.
	LossRows, LossTargets []int32
	// KeyRows and CuK are SharedKeys.Rows and CuK, empty if nothing is shared; MaxK is the longest run of keys.
	KeyRows, CuK []int32
	MaxK         int
	Ignore       int32
}

// Load uploads a batch. The result is valid until the next Load.
func (f *Feeder) Load(h HostBatch) (*Batch, error) {
	b := &Batch{Seqs: len(h.Cu) - 1, MaxLen: h.MaxLen}
	if len(h.Targets) > cap(f.kept) {
		return nil, fmt.Errorf("nn: batch of %d targets, room for %d", len(h.Targets), cap(f.kept))
	}
	rows, kept, weights := append(f.keep[:0], h.LossRows...), append(f.kept[:0], h.LossTargets...), f.keptWeights[:0]
	for i, y := range h.Targets {
		if y == h.Ignore {
			continue
		}
		rows, kept = append(rows, int32(i)), append(kept, y)
		if len(h.Weights) > 0 {
			weights = append(weights, h.Weights[i])
		}
	}
	if len(h.Weights) > 0 {
		b.Weights = f.weights.Slice(0, len(weights))
		if err := f.b.Upload(b.Weights, f32Bytes(weights)); err != nil {
			return nil, err
		}
	}
	type upload struct {
		dst  *tensor.Tensor
		room tensor.Tensor
		src  []int32
		what string
	}
	uploads := []upload{
		{&b.Tokens, f.tokens, h.Tokens, "tokens"}, {&b.Positions, f.positions, h.Positions, "positions"}, {&b.CuSeqs, f.cu, h.Cu, "sequences"},
		{&b.LossRows, f.rows, rows, "loss rows"}, {&b.Targets, f.tgt, kept, "targets"},
	}
	if len(h.KeyRows) > 0 {
		if f.keys.IsZero() {
			return nil, fmt.Errorf("nn: batch with shared keys, room for none")
		}
		b.Shared = &SharedKeys{Seqs: b.Seqs, MaxQ: h.MaxLen, MaxK: h.MaxK}
		uploads = append(uploads, upload{&b.Shared.Rows, f.keys, h.KeyRows, "keys"}, upload{&b.Shared.CuK, f.cuK, h.CuK, "runs of keys"})
	}
	for _, m := range uploads {
		if len(m.src) > m.room.Len() {
			return nil, fmt.Errorf("nn: batch of %d %s, room for %d", len(m.src), m.what, m.room.Len())
		}
		*m.dst = m.room.Slice(0, len(m.src))
		if err := UploadInts(f.b, *m.dst, m.src, f.host); err != nil {
			return nil, err
		}
	}
	if b.Shared != nil {
		b.Shared.CuQ = b.CuSeqs
	}
	return b, nil
}

// UploadInts copies int32s to the device through the host buffer tmp.
func UploadInts(d tensor.Device, dst tensor.Tensor, src []int32, tmp []byte) error {
	for i, v := range src {
		binary.LittleEndian.PutUint32(tmp[4*i:], uint32(v))
	}
	return d.Upload(dst, tmp[:4*len(src)])
}
