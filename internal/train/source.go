package train

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/mltrain/mltrain/internal/checkpoint"
	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/quant"
	"github.com/mltrain/mltrain/internal/tensor"
)

// Source adapts a checkpoint to the Builder.
type Source struct{ *checkpoint.Reader }

// Lookup returns a tensor's type and shape.
func (s Source) Lookup(name string) (dt tensor.DType, dtypeName string, shape []int, ok bool) {
	info, ok := s.Info(name)
	if !ok {
		return tensor.Invalid, "", nil, false
	}
	dt, _ = checkpoint.ParseDType(info.DType)
	return dt, info.DType, info.Shape, true
}

// ModelSource is the source of a model's checkpoint, quantised by bitsandbytes or not. Kinds of quantisation that mltrain does not
// know are refused by name.
func ModelSource(r *checkpoint.Reader, configJSON []byte) (nn.Source, error) {
	if err := checkpoint.CheckQuantisation(configJSON); err != nil {
		return nil, err
	}
	packed, parts, err := checkpoint.ReadPacked(r)
	if err != nil || len(packed) == 0 {
		return Source{r}, err
	}
	s := packedSource{Source{r}, packed, nil}
	for _, n := range r.Names() {
		if !parts[n] {
			s.names = append(s.names, n)
		}
	}
	return s, nil
}

// packedSource is a checkpoint with weights in NF4.
type packedSource struct {
	Source
	packed map[string]*quant.Packed
	names  []string
}

// Names lists the tensors; what belongs to a quantised weight is none.
func (s packedSource) Names() []string { return s.names }

// Packed returns a weight in four bits.
func (s packedSource) Packed(name string) (*quant.Packed, bool) {
	p, ok := s.packed[name]
	return p, ok
}

// Lookup returns a tensor's type and shape, of a quantised weight those that it had.
func (s packedSource) Lookup(name string) (dt tensor.DType, dtypeName string, shape []int, ok bool) {
	p, ok := s.packed[name]
	if !ok {
		return s.Source.Lookup(name)
	}
	return dtypeOf(p), p.DType, slices.Clone(p.Shape), true
}

func dtypeOf(p *quant.Packed) tensor.DType {
	return map[string]tensor.DType{"float32": tensor.F32, "bfloat16": tensor.BF16, "float16": tensor.F16}[p.DType]
}

// Bytes returns the elements; those of a quantised weight are decoded and rounded to the type that it had.
func (s packedSource) Bytes(name string) ([]byte, error) {
	p, ok := s.packed[name]
	if !ok {
		return s.Source.Bytes(name)
	}
	return decode(p), nil
}

func decode(p *quant.Packed) []byte {
	const part = 1 << 16
	n, scales := p.Len(), p.Scales()
	dt := dtypeOf(p)
	out := make([]byte, 0, n*dt.Size())
	x, raw := make([]float32, min(n, part)), make([]byte, 4*min(n, part))
	for lo := 0; lo < n; lo += part {
		y := x[:min(part, n-lo)]
		quant.DecodeNF4(y, p.Codes, scales, lo)
		for i, v := range y {
			binary.LittleEndian.PutUint32(raw[4*i:], math.Float32bits(v))
		}
		b := raw[:4*len(y)]
		if dt != tensor.F32 {
			b = narrow(b, dt)
		}
		out = append(out, b...)
	}
	return out
}
