package train

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/quant"
	"github.com/mltrain/mltrain/internal/tensor"
)

const (
	// min8bit is the number of elements below which a parameter's states stay float32, as in bitsandbytes (min_8bit_size).
	min8bit = 4096
	// chunk8bit is how many elements have their states decoded at one time: a multiple of a block.
	chunk8bit = 1 << 18
)

// states8 are Adam's moments in 8 bits (Dettmers et al., 2022): a mean with a sign, a mean of squares without, in blocks of 256 that begin
// anew with every parameter. They are decoded, updated in float32 and encoded again, a part at a time.
type states8 struct {
	b tensor.Backend
	// s1 and s2 are the states of small parameters.
	s1, s2 tensor.Tensor
	q1, q2 tensor.Blocks8
	// d1 and d2 hold what is decoded.
	d1, d2  tensor.Tensor
	regions []region8
	buffers []tensor.Buffer
}

// region8 is a parameter and where its states are: elements at of s1 and s2, or of the codes.
type region8 struct {
	off, n, at int
	small      bool
	segment    int // of the Optimizer
}

// newStates8 allocates the states of a store's trainable parameters. segmentOf gives the segment that a parameter belongs to.
func newStates8(b tensor.Backend, s *nn.Store, segmentOf func(off int) int) (*states8, error) {
	st := &states8{b: b}
	small, codes, longest := 0, 0, 0
	for _, w := range s.Trainable {
		r := region8{off: s.Offsets[w], n: w.Master.Len(), small: w.Master.Len() < min8bit}
		r.segment = segmentOf(r.off)
		if r.small {
			r.at = small
			small += r.n
		} else {
			r.at = codes
			codes += quant.Blocks(r.n, quant.StateBlock) * quant.StateBlock
			longest = max(longest, min(r.n, chunk8bit))
		}
		st.regions = append(st.regions, r)
	}
	alloc := func(dt tensor.DType, n int) (tensor.Tensor, error) {
		if n == 0 {
			return tensor.Tensor{}, nil
		}
		buf, err := b.Alloc(int64(n*dt.Size()), tensor.UseOptimizer)
		if err != nil {
			return tensor.Tensor{}, err
		}
		st.buffers = append(st.buffers, buf)
		return tensor.New(buf, 0, dt, n), nil
	}
	blocks := codes / quant.StateBlock
	var errs []error
	for _, p := range []struct {
		t  *tensor.Tensor
		dt tensor.DType
		n  int
	}{
		{&st.s1, tensor.F32, small}, {&st.s2, tensor.F32, small}, {&st.q1.Codes, tensor.U8, codes}, {&st.q2.Codes, tensor.U8, codes},
		{&st.q1.Absmax, tensor.F32, blocks}, {&st.q2.Absmax, tensor.F32, blocks}, {&st.q1.Map, tensor.F32, 256}, {&st.q2.Map, tensor.F32, 256},
		{&st.d1, tensor.F32, longest}, {&st.d2, tensor.F32, longest},
	} {
		var err error
		*p.t, err = alloc(p.dt, p.n)
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	st.q1.Signed = true
	for _, q := range []tensor.Blocks8{st.q1, st.q2} {
		values := quant.DynamicMap(q.Signed)
		raw := make([]byte, 4*len(values))
		for i, v := range values {
			binary.LittleEndian.PutUint32(raw[4*i:], math.Float32bits(v))
		}
		if err := b.Upload(q.Map, raw); err != nil {
			return nil, err
		}
	}
	return st, nil
}

func (st *states8) close() {
	for _, b := range st.buffers {
		st.b.Free(b)
	}
}

// all describes all parameters for a backend that updates them in one go.
func (st *states8) all(segs []tensor.Segment) []tensor.Region8 {
	out := make([]tensor.Region8, len(st.regions))
	for i, r := range st.regions {
		seg := segs[r.segment]
		seg.Off, seg.Len = r.off, r.n
		out[i] = tensor.Region8{Segment: seg, At: r.at, Plain: r.small}
	}
	return out
}

// step updates the parameters, a part at a time. The scale must be finite: re-encoding rounds.
func (st *states8) step(spec tensor.OptSpec, segs []tensor.Segment, w, master, g, scale tensor.Tensor) error {
	for _, r := range st.regions {
		update := func(lo, hi int, s1, s2 tensor.Tensor) error {
			seg := segs[r.segment]
			seg.Off, seg.Len = 0, hi-lo
			var copied tensor.Tensor
			if !w.IsZero() {
				copied = w.Slice(r.off+lo, r.off+hi)
			}
			return st.b.Optim(spec, []tensor.Segment{seg}, copied, master.Slice(r.off+lo, r.off+hi), s1, s2, g.Slice(r.off+lo, r.off+hi), scale)
		}
		if r.small {
			if err := update(0, r.n, st.s1.Slice(r.at, r.at+r.n), st.s2.Slice(r.at, r.at+r.n)); err != nil {
				return err
			}
			continue
		}
		for lo := 0; lo < r.n; lo += chunk8bit {
			hi := min(lo+chunk8bit, r.n)
			q1, q2 := part8(st.q1, r.at+lo, r.at+hi), part8(st.q2, r.at+lo, r.at+hi)
			d1, d2 := st.d1.Slice(0, hi-lo), st.d2.Slice(0, hi-lo)
			err := errors.Join(st.b.Decode8(d1, q1), st.b.Decode8(d2, q2), update(lo, hi, d1, d2), st.b.Encode8(q1, d1), st.b.Encode8(q2, d2))
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// part8 is elements lo … hi−1, lo a multiple of a block.
func part8(q tensor.Blocks8, lo, hi int) tensor.Blocks8 {
	first := lo / quant.StateBlock
	q.Codes, q.Absmax = q.Codes.Slice(lo, hi), q.Absmax.Slice(first, first+quant.Blocks(hi-lo, quant.StateBlock))
	return q
}

// tensors returns the states by name.
func (st *states8) tensors() map[string]tensor.Tensor {
	m := map[string]tensor.Tensor{}
	for name, t := range map[string]tensor.Tensor{
		"s1": st.s1, "s2": st.s2, "s1.codes": st.q1.Codes, "s2.codes": st.q2.Codes, "s1.absmax": st.q1.Absmax, "s2.absmax": st.q2.Absmax,
	} {
		if !t.IsZero() {
			m[name] = t
		}
	}
	return m
}
