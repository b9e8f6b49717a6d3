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

	// LossRows [R] are the positions that have a target, and Targets [R] their targets; absent where there is no loss.
	LossRows, Targets tensor.Tensor
}

// Feeder owns the device memory that batches are uploaded to.
type Feeder struct {
	b                                tensor.Backend
	tokens, positions, cu, rows, tgt tensor.Tensor
	host                             []byte
}

// NewFeeder allocates for batches of at most maxTokens tokens in maxSeqs sequences.
func NewFeeder(b tensor.Backend, maxTokens, maxSeqs int) (*Feeder, error) {
	f := &Feeder{b: b, host: make([]byte, 4*(max(maxTokens, maxSeqs)+1))}
	buf, err := b.Alloc(int64(4*(4*maxTokens+maxSeqs+1)), tensor.UseBatch)
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
	return f, nil
}

// Load uploads a batch. targets[i] is the label of position i, or ignore; nil for none.
func (f *Feeder) Load(tokens, positions, cu, targets []int32, maxLen int, ignore int32) (*Batch, error) {
	b := &Batch{Seqs: len(cu) - 1, MaxLen: maxLen}
	var rows, kept []int32
	for i, y := range targets {
		if y != ignore {
			rows, kept = append(rows, int32(i)), append(kept, y)
		}
	}
	for _, m := range []struct {
		dst  *tensor.Tensor
		room tensor.Tensor
		src  []int32
		what string
	}{
		{&b.Tokens, f.tokens, tokens, "tokens"}, {&b.Positions, f.positions, positions, "positions"}, {&b.CuSeqs, f.cu, cu, "sequences"},
		{&b.LossRows, f.rows, rows, "loss rows"}, {&b.Targets, f.tgt, kept, "targets"},
	} {
		if len(m.src) > m.room.Len() {
			return nil, fmt.Errorf("nn: batch of %d %s, room for %d", len(m.src), m.what, m.room.Len())
		}
		*m.dst = m.room.Slice(0, len(m.src))
		if err := UploadInts(f.b, *m.dst, m.src, f.host); err != nil {
			return nil, err
		}
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
