package nn

import (
	"errors"
	"fmt"

	"github.com/mltrain/mltrain/internal/quant"
	"github.com/mltrain/mltrain/internal/tensor"
)

// encodeChunk is how many elements are quantised at once while a weight is loaded: a multiple of a block, so that a model never
// exists in full precision.
const encodeChunk = 1 << 20

// placeQuantised gives w memory for four-bit codes and scales, and notes how they are made.
func (s *Store) placeQuantised(w *Weight, src Source, nested bool) error {
	rows, cols := w.Shape[0], w.Shape[1]
	n := rows * cols
	blocks := quant.Blocks(n, quant.BlockSize)
	q := &tensor.Quant4{Rows: rows, Cols: cols}
	for _, part := range []struct {
		t  *tensor.Tensor
		dt tensor.DType
		n  int
		on bool
	}{
		{&q.Codes, tensor.U8, quant.PackedBytes(n), true}, {&q.Absmax, tensor.F32, blocks, !nested}, {&q.AbsCodes, tensor.U8, blocks, nested},
		{&q.AbsScales, tensor.F32, quant.Blocks(blocks, quant.NestedBlock), nested},
	} {
		if !part.on {
			continue
		}
		buf, err := s.alloc(int64(part.n*part.dt.Size()), tensor.UseWeights)
		if err != nil {
			return err
		}
		*part.t = tensor.New(buf, 0, part.dt, part.n)
	}
	if nested {
		if err := s.addScaleMap(); err != nil {
			return err
		}
		q.Map = s.scaleMap
	}
	w.Quant = q
	s.fill = append(s.fill, func(seed uint64) error {
		if err := s.fillQuantised(w, src, seed); err != nil {
			return fmt.Errorf("%s: %w", w.Stored, err)
		}
		return nil
	})
	return nil
}

func (s *Store) addScaleMap() error {
	if !s.scaleMap.IsZero() {
		return nil
	}
	values := quant.DynamicMap(true)
	buf, err := s.alloc(int64(4*len(values)), tensor.UseTables)
	if err != nil {
		return err
	}
	s.scaleMap = tensor.New(buf, 0, tensor.F32, len(values))
	s.fill = append(s.fill, func(uint64) error { return s.b.Upload(s.scaleMap, f32Bytes(values[:])) })
	return nil
}

// fillQuantised quantises a weight, a part at a time, and uploads it.
func (s *Store) fillQuantised(w *Weight, src Source, seed uint64) error {
	n := w.Shape[0] * w.Shape[1]
	q := w.Quant
	if p := w.packed; p != nil {
		defer release(src, w.Stored)
		if p.Nested != nil {
			return errors.Join(s.b.Upload(q.Codes, p.Codes), s.uploadNested(q, *p.Nested))
		}
		return errors.Join(s.b.Upload(q.Codes, p.Codes), s.b.Upload(q.Absmax, f32Bytes(p.Absmax)))
	}
	read, err := w.reader(src, seed)
	if err != nil {
		return err
	}
	if src != nil {
		defer release(src, w.Stored)
	}
	absmax := make([]float32, quant.Blocks(n, quant.BlockSize))
	codes := make([]byte, quant.PackedBytes(min(n, encodeChunk)))
	for lo := 0; lo < n; lo += encodeChunk {
		hi := min(lo+encodeChunk, n)
		part := codes[:quant.PackedBytes(hi-lo)]
		quant.EncodeNF4(part, absmax[lo/quant.BlockSize:], read(lo, hi))
		if err := s.b.Upload(q.Codes.Slice(lo/2, lo/2+len(part)), part); err != nil {
			return err
		}
	}
	if q.AbsCodes.IsZero() {
		return s.b.Upload(q.Absmax, f32Bytes(absmax))
	}
	return s.uploadNested(q, quant.EncodeNested(absmax))
}

func (s *Store) uploadNested(q *tensor.Quant4, nested quant.Nested) error {
	q.Offset = nested.Offset
	if err := s.b.Upload(q.AbsCodes, nested.Codes); err != nil {
		return err
	}
	return s.b.Upload(q.AbsScales, f32Bytes(nested.Scales))
}

// reader returns elements lo … hi−1 of a weight as it is held here, in float32.
func (w *Weight) reader(src Source, seed uint64) (func(lo, hi int) []float32, error) {
	if src == nil {
		if w.flipped {
			x := transpose(w.Init.draw(0, elements(w.Shape), w.Name, seed), w.Shape[1], w.Shape[0])
			return func(lo, hi int) []float32 { return x[lo:hi] }, nil
		}
		return func(lo, hi int) []float32 { return w.Init.draw(lo, hi, w.Name, seed) }, nil
	}
	name, dt := locate(w, src)
	raw, err := src.Bytes(name)
	if err != nil {
		return nil, err
	}
	if w.flipped {
		x := transpose(widen(raw, dt, elements(w.Shape)), w.Shape[1], w.Shape[0])
		return func(lo, hi int) []float32 { return x[lo:hi] }, nil
	}
	size := dt.Size()
	return func(lo, hi int) []float32 { return widen(raw[lo*size:hi*size], dt, hi-lo) }, nil
}

// Pack quantises the weights that Options.Quantise is for, one after the other, and calls fn with each: in [out,in], whatever the
// checkpoint's layout, and what it loses.
func (b *Builder) Pack(fn func(w *Weight, p *quant.Packed, l quant.Loss) error) error {
	if err := b.Err(); err != nil {
		return err
	}
	for _, w := range b.weights {
		if !w.quantised {
			continue
		}
		read, err := w.reader(b.opts.Source, 0)
		if err != nil {
			return fmt.Errorf("%s: %w", w.Stored, err)
		}
		p, loss := quant.Pack(elements(w.Shape), b.opts.Quantise.Nested, read)
		p.Shape, p.DType = w.Shape, w.DType.String()
		if err := fn(w, p, loss); err != nil {
			return err
		}
		if b.opts.Source != nil {
			release(b.opts.Source, w.Stored)
		}
	}
	return nil
}
