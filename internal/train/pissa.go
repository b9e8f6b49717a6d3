package train

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unsafe"

	"github.com/mltrain/mltrain/internal/checkpoint"
	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/tensor"
)

// PiSSA trains A and B on what they leave of the model's weight, W − s·B₀·A₀. Its files hold a plain LoRA adapter to W, as
// save_pretrained of PEFT writes one with path_initial_model_for_weight_conversion: of twice the rank, A' = [A; A₀] and B' = [B, −B₀],
// with W + s·B'·A' = (W − s·B₀·A₀) + s·B·A. Any program that knows LoRA can use it with the model as it is. A resumed run takes
// the halves apart again.

// pissaTensor is the tensor of the file for A or B and its start.
func pissaTensor(e *Engine, w *nn.Weight, start []float32) checkpoint.Tensor {
	isA := isLoraA(w.AdapterName)
	shape := []int{2 * w.Shape[0], w.Shape[1]}
	if !isA {
		shape = []int{w.Shape[0], 2 * w.Shape[1]}
	}
	return checkpoint.Tensor{Name: w.AdapterName, DType: tensor.F32, Shape: shape, Write: func(wr io.Writer) error {
		now := make([]byte, w.Master.Bytes())
		if err := e.Backend.Download(now, w.Master); err != nil {
			return err
		}
		if isA {
			_, err := wr.Write(slices.Concat(now, floatBytes(start)))
			return err
		}
		minus := make([]float32, len(start))
		for i, v := range start {
			minus[i] = -v
		}
		then, row := floatBytes(minus), 4*w.Shape[1]
		for i := range w.Shape[0] {
			if _, err := wr.Write(slices.Concat(now[i*row:(i+1)*row], then[i*row:(i+1)*row])); err != nil {
				return err
			}
		}
		return nil
	}}
}

func isLoraA(name string) bool { return strings.HasSuffix(name, ".lora_A.weight") }

func floatBytes(x []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}

// doubleRank describes an adapter of twice the rank with the same scale.
func doubleRank(c *checkpoint.AdapterConfig) {
	factor := 2.0
	if c.UseRslora {
		factor = math.Sqrt2
	}
	c.R, c.LoraAlpha, c.InitLoraWeights = 2*c.R, factor*c.LoraAlpha, true
	ranks, alphas := map[string]int{}, map[string]float64{}
	for k, v := range c.RankPattern {
		ranks[k] = 2 * v
	}
	for k, v := range c.AlphaPattern {
		alphas[k] = factor * v
	}
	c.RankPattern, c.AlphaPattern = ranks, alphas
}

// pissaHalves is the source of a PiSSA adapter of a run's checkpoint: under a tensor's name what A or B are now, under the name
// with nn.StartSuffix what they were.
type pissaHalves struct{ nn.Source }

// Lookup returns the type and the shape of a half.
func (s pissaHalves) Lookup(name string) (dt tensor.DType, dtypeName string, shape []int, ok bool) {
	name = strings.TrimSuffix(name, nn.StartSuffix)
	dt, dtypeName, shape, ok = s.Source.Lookup(name)
	if axis, halved := halfAxis(name); ok && halved && len(shape) == 2 {
		shape = slices.Clone(shape)
		shape[axis] /= 2
	}
	return dt, dtypeName, shape, ok
}

// halfAxis returns along which axis a tensor is made of two halves, if it is.
func halfAxis(name string) (axis int, ok bool) {
	switch {
	case isLoraA(name):
		return 0, true
	case strings.HasSuffix(name, ".lora_B.weight"):
		return 1, true
	}
	return 0, false
}

// Bytes returns the elements of a half.
func (s pissaHalves) Bytes(name string) ([]byte, error) {
	whole, start := strings.CutSuffix(name, nn.StartSuffix)
	raw, err := s.Source.Bytes(whole)
	axis, halved := halfAxis(whole)
	if err != nil || !halved {
		return raw, err
	}
	dt, dtypeName, shape, _ := s.Source.Lookup(whole)
	if dt != tensor.F32 || len(shape) != 2 || shape[axis]%2 != 0 {
		return nil, fmt.Errorf("%s: %s %v does not hold the two halves of a PiSSA adapter", whole, dtypeName, shape)
	}
	if axis == 0 {
		if start {
			return raw[len(raw)/2:], nil
		}
		return raw[:len(raw)/2], nil
	}
	half, from := 4*shape[1]/2, 0
	if start {
		from = half
	}
	out := make([]byte, 0, len(raw)/2)
	for i := range shape[0] {
		out = append(out, raw[2*half*i+from:][:half]...)
	}
	if start {
		for i := 3; i < len(out); i += 4 {
			out[i] ^= 0x80 // the sign
		}
	}
	return out, nil
}
