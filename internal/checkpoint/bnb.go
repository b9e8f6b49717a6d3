package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unsafe"

	"github.com/mltrain/mltrain/internal/quant"
	"github.com/mltrain/mltrain/internal/tensor"
)

// What bitsandbytes puts behind a weight's name for the tensors that belong to it.
const (
	bnbState      = ".quant_state.bitsandbytes__"
	bnbAbsmax     = ".absmax"
	bnbMap        = ".quant_map"
	bnbNestedAbs  = ".nested_absmax"
	bnbNestedMap  = ".nested_quant_map"
	bnbQuantType  = "nf4"
	quantConfig   = "quantization_config"
	bnbFormatName = "bitsandbytes"
)

// quantState is the JSON that bitsandbytes keeps of a weight.
type quantState struct {
	QuantType       string   `json:"quant_type"`
	BlockSize       int      `json:"blocksize"`
	DType           string   `json:"dtype"`
	Shape           []int    `json:"shape"`
	NestedBlockSize *int     `json:"nested_blocksize,omitempty"`
	NestedDType     string   `json:"nested_dtype,omitempty"`
	NestedOffset    *float64 `json:"nested_offset,omitempty"`
}

// ReadPacked returns the weights of a checkpoint that bitsandbytes holds in NF4, by name, and the names of the tensors that belong
// to them. Codes and scales are views of the reader's files. Other kinds of quantisation, and parts that do not fit together, are
// faults, all of them at once; they wrap ErrFormat.
func ReadPacked(r *Reader) (packed map[string]*quant.Packed, parts map[string]bool, err error) {
	packed, parts = map[string]*quant.Packed{}, map[string]bool{}
	var bad faults
	for _, name := range r.Names() {
		weight, kind, ok := strings.Cut(name, bnbState)
		if !ok {
			continue
		}
		for _, end := range []string{bnbAbsmax, bnbMap, bnbNestedAbs, bnbNestedMap, bnbState + kind} {
			parts[weight+end] = true
		}
		p, err := readPacked(r, weight, kind)
		if err != nil {
			bad = append(bad, fmt.Sprintf("%s: %v", weight, err))
			continue
		}
		packed[weight] = p
	}
	if len(bad) > 0 {
		return nil, nil, bad.err(r.where, ErrFormat)
	}
	return packed, parts, nil
}

func readPacked(r *Reader, weight, kind string) (*quant.Packed, error) {
	raw, err := r.Bytes(weight + bnbState + kind)
	if err != nil {
		return nil, err
	}
	s, n, err := parseQuantState(raw)
	if err != nil {
		return nil, err
	}
	g := getter{r: r, weight: weight}
	p := &quant.Packed{Shape: s.Shape, DType: s.DType, Codes: g.bytes("", quant.PackedBytes(n))}
	for i, v := range g.floats(bnbMap, len(quant.NF4)) {
		if math.Abs(float64(v-quant.NF4[i])) > 1e-6 {
			g.fail("%s: value %d is %g; that of nf4 is %g", bnbMap[1:], i, v, quant.NF4[i])
			break
		}
	}
	blocks := quant.Blocks(n, quant.BlockSize)
	if s.NestedOffset == nil {
		p.Absmax = g.floats(bnbAbsmax, blocks)
		return p, g.err
	}
	p.Nested = &quant.Nested{
		Codes: g.bytes(bnbAbsmax, blocks), Scales: g.floats(bnbNestedAbs, quant.Blocks(blocks, quant.NestedBlock)), Offset: float32(*s.NestedOffset),
	}
	want := quant.DynamicMap(true)
	for i, v := range g.floats(bnbNestedMap, len(want)) {
		if math.Abs(float64(v-want[i])) > 1e-6 {
			g.fail("%s: value %d is %g; that of the signed dynamic map is %g", bnbNestedMap[1:], i, v, want[i])
			break
		}
	}
	return p, g.err
}

// parseQuantState reads what bitsandbytes keeps of a weight, and returns its number of elements.
func parseQuantState(raw []byte) (s quantState, elements int, err error) {
	if err := json.Unmarshal(raw, &s); err != nil {
		return s, 0, fmt.Errorf("quant_state: %v", err)
	}
	if s.QuantType != bnbQuantType {
		return s, 0, fmt.Errorf("quant_type %q is not supported; only nf4 is", s.QuantType)
	}
	if s.BlockSize != quant.BlockSize {
		return s, 0, fmt.Errorf("blocksize %d is not supported; only %d is", s.BlockSize, quant.BlockSize)
	}
	n, ok := tensor.NumElements(s.Shape)
	if !ok || len(s.Shape) != 2 || n != int64(int(n)) {
		return s, 0, fmt.Errorf("shape %v; needed are two sides", s.Shape)
	}
	if !slices.Contains([]string{"float32", "bfloat16", "float16"}, s.DType) {
		return s, 0, fmt.Errorf("dtype %q; needed is float32, bfloat16 or float16", s.DType)
	}
	if s.NestedOffset != nil {
		if s.NestedBlockSize == nil || *s.NestedBlockSize != quant.NestedBlock || s.NestedDType != "" && s.NestedDType != "float32" {
			return s, 0, fmt.Errorf("nested_blocksize and nested_dtype; supported are %d and float32", quant.NestedBlock)
		}
		if !(math.Abs(*s.NestedOffset) <= math.MaxFloat32) {
			return s, 0, fmt.Errorf("nested_offset %g is no float32", *s.NestedOffset)
		}
	}
	return s, int(n), nil
}

// getter reads the tensors of a weight and keeps the first error.
type getter struct {
	r      *Reader
	weight string
	err    error
}

func (g *getter) fail(format string, args ...any) {
	if g.err == nil {
		g.err = fmt.Errorf(format, args...)
	}
}

func (g *getter) tensor(end, dtype string, n int) []byte {
	info, ok := g.r.Info(g.weight + end)
	switch elements, _ := tensor.NumElements(info.Shape); {
	case !ok:
		g.fail("%s is missing", strings.TrimPrefix(end, "."))
	case info.DType != dtype || elements != int64(n):
		g.fail("%s is %s %v; needed are %d elements of %s", strings.TrimPrefix(end, "."), info.DType, info.Shape, n, dtype)
	default:
		raw, err := g.r.Bytes(g.weight + end)
		if err != nil {
			g.fail("%v", err)
		}
		return raw
	}
	return nil
}

func (g *getter) bytes(end string, n int) []byte { return g.tensor(end, "U8", n) }

func (g *getter) floats(end string, n int) []float32 {
	raw := g.tensor(end, "F32", n)
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(raw))), len(raw)/4)
}

// PackedTensors are the tensors by which bitsandbytes keeps a weight.
func PackedTensors(weight string, p *quant.Packed) ([]Tensor, error) {
	s := quantState{QuantType: bnbQuantType, BlockSize: quant.BlockSize, DType: p.DType, Shape: p.Shape}
	f32 := func(end string, x []float32) Tensor {
		return Tensor{Name: weight + end, DType: tensor.F32, Shape: []int{len(x)}, Data: unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))}
	}
	out := []Tensor{
		{Name: weight, DType: tensor.U8, Shape: []int{len(p.Codes), 1}, Data: p.Codes}, f32(bnbMap, quant.NF4[:]),
	}
	if p.Nested == nil {
		out = append(out, f32(bnbAbsmax, p.Absmax))
	} else {
		block, offset, nestedMap := quant.NestedBlock, float64(p.Nested.Offset), quant.DynamicMap(true)
		s.NestedBlockSize, s.NestedDType, s.NestedOffset = &block, "float32", &offset
		out = append(out, Tensor{Name: weight + bnbAbsmax, DType: tensor.U8, Shape: []int{len(p.Nested.Codes)}, Data: p.Nested.Codes},
			f32(bnbNestedAbs, p.Nested.Scales), f32(bnbNestedMap, nestedMap[:]))
	}
	state, err := json.Marshal(s)
	return append(out, Tensor{Name: weight + bnbState + bnbQuantType, DType: tensor.U8, Shape: []int{len(state)}, Data: state}), err
}

// BnBConfig is config.json's quantization_config of a checkpoint in NF4: which modules stay as they are, and whether the scales are
// quantised too.
func BnBConfig(nested bool, computeDType string, skip []string) map[string]any {
	c := map[string]any{
		"quant_method": bnbFormatName, "load_in_4bit": true, "load_in_8bit": false, "_load_in_4bit": true, "_load_in_8bit": false,
		"bnb_4bit_quant_type": bnbQuantType, "bnb_4bit_use_double_quant": nested, "bnb_4bit_compute_dtype": computeDType, "bnb_4bit_quant_storage": "uint8",
		"llm_int8_enable_fp32_cpu_offload": false, "llm_int8_has_fp16_weight": false, "llm_int8_skip_modules": nil, "llm_int8_threshold": json.RawMessage("6.0"), // transformers refuses a whole number
	}
	if len(skip) > 0 {
		c["llm_int8_skip_modules"] = skip
	}
	return map[string]any{quantConfig: c}
}

// ErrQuantised: a model's config.json says that it is quantised in a way that mltrain does not know.
var ErrQuantised = errors.New("quantisation not supported")

// CheckQuantisation refuses quantised checkpoints of other kinds than bitsandbytes' NF4, by name. The error wraps ErrQuantised.
func CheckQuantisation(configJSON []byte) error {
	var c struct {
		Quantization *struct {
			Method     string `json:"quant_method"`
			LoadIn4bit bool   `json:"load_in_4bit"`
			LoadIn8bit bool   `json:"load_in_8bit"`
			QuantType  string `json:"bnb_4bit_quant_type"`
			Storage    string `json:"bnb_4bit_quant_storage"`
		} `json:"quantization_config"`
	}
	if err := json.Unmarshal(configJSON, &c); err != nil || c.Quantization == nil {
		return nil // config.json itself is read and checked elsewhere
	}
	q := c.Quantization
	what := ""
	switch {
	case q.Method != bnbFormatName && q.Method != "":
		what = "quant_method " + q.Method
	case q.LoadIn8bit:
		what = "load_in_8bit"
	case q.QuantType != "" && q.QuantType != bnbQuantType:
		what = "bnb_4bit_quant_type " + q.QuantType
	case q.Storage != "" && q.Storage != "uint8":
		what = "bnb_4bit_quant_storage " + q.Storage
	}
	if what != "" {
		return fmt.Errorf("%s: %s: %w: %s; only bitsandbytes with bnb_4bit_quant_type nf4 is", ConfigFile, quantConfig, ErrQuantised, what)
	}
	return nil
}
