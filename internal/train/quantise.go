package train

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mltrain/mltrain/internal/checkpoint"
	"github.com/mltrain/mltrain/internal/model"
	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/quant"
)

// Quantised says what quantising a model's linear layers took from them.
type Quantised struct {
	Output      string           `json:"output_dir"`
	Layers      []QuantisedLayer `json:"layers"`
	BytesBefore int64            `json:"bytes_before"` // of all tensors
	Bytes       int64            `json:"bytes"`
}

// QuantisedLayer is a weight with its error.
type QuantisedLayer struct {
	Name  string `json:"name"`
	Shape []int  `json:"shape"` // [out, in]
	quant.Loss
}

// pack quantises the linear layers of a model, except the head: see nn.Builder.Pack.
func pack(src nn.Source, configJSON []byte, nested bool, fn func(w *nn.Weight, p *quant.Packed, l quant.Loss) error) error {
	b := nn.NewBuilder(nn.Options{
		Source: src, Frozen: func(string) bool { return true }, Ignore: model.Ignored, Quantise: &nn.Quantise{Nested: nested},
	})
	if _, err := model.New(configJSON, b, model.Options{Dropout: model.NoDropout(), Score: model.Scores(configJSON)}); err != nil {
		return err
	}
	return b.Pack(fn)
}

// inNF4 is a source whose linear layers went through NF4.
func inNF4(r *checkpoint.Reader, configJSON []byte, nested bool) (nn.Source, error) {
	s := packedSource{Source{r}, map[string]*quant.Packed{}, r.Names()}
	err := pack(s.Source, configJSON, nested, func(w *nn.Weight, p *quant.Packed, _ quant.Loss) error {
		s.packed[w.Stored] = p
		return nil
	})
	return s, err
}

// Quantise writes the model in modelDir with its linear layers in NF4, as bitsandbytes keeps them: embeddings, head and norms stay
// as they are. computeDType is the type that programs are told to multiply in. The quantised model is held in memory, the original a
// tensor at a time.
func Quantise(modelDir, output string, nested bool, computeDType string) (q *Quantised, err error) {
	if err := checkpoint.GuardOutput(output, false, false); err != nil {
		return nil, err
	}
	configJSON, err := os.ReadFile(filepath.Join(modelDir, checkpoint.ConfigFile))
	if err != nil {
		return nil, err
	}
	r, err := checkpoint.Open(modelDir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	src, err := ModelSource(r, configJSON)
	if err != nil {
		return nil, err
	}
	if _, ok := src.(nn.PackedSource); ok {
		return nil, fmt.Errorf("model %s is in 4 bits already", modelDir)
	}
	q = &Quantised{Output: output}
	packed := map[string]*quant.Packed{}
	used := map[string]bool{}
	err = pack(src, configJSON, nested, func(w *nn.Weight, p *quant.Packed, l quant.Loss) error {
		packed[w.Stored] = p
		used[topOf(w.Stored)] = true
		q.Layers = append(q.Layers, QuantisedLayer{w.Stored, p.Shape, l})
		return nil
	})
	if err != nil {
		return nil, err
	}
	var tensors []checkpoint.Tensor
	for _, name := range r.Names() {
		info, _ := r.Info(name)
		q.BytesBefore += info.Bytes
		if p, ok := packed[name]; ok {
			parts, err := checkpoint.PackedTensors(name, p)
			if err != nil {
				return nil, err
			}
			tensors = append(tensors, parts...)
			continue
		}
		dt, ok := checkpoint.ParseDType(info.DType)
		if !ok {
			return nil, fmt.Errorf("%s: type %s cannot be written", name, info.DType)
		}
		tensors = append(tensors, checkpoint.Tensor{Name: name, DType: dt, Shape: info.Shape, Write: func(w io.Writer) error {
			b, err := r.Bytes(name)
			if err == nil {
				_, err = w.Write(b)
			}
			return err
		}})
	}
	for i := range tensors {
		n, _ := tensors[i].Bytes()
		q.Bytes += n
	}
	return q, checkpoint.SaveModel(output, modelDir, tensors, checkpoint.BnBConfig(nested, computeDType, leftAlone(r.Names(), used)), 0)
}

// topOf is the first part of a name behind "model.".
func topOf(name string) string {
	top, _, _ := strings.Cut(strings.TrimPrefix(name, "model."), ".")
	return top
}

// leftAlone lists the parts of a checkpoint, such as a vision tower, that have no quantised weight but could have, for programs that
// would otherwise look for one in every linear layer. It is nil for a model of text, where they know what to leave.
func leftAlone(names []string, used map[string]bool) []string {
	var out []string
	for _, n := range names {
		top := topOf(n)
		towers := strings.Contains(top, "vision") || strings.Contains(top, "projector") || strings.Contains(top, "audio")
		if towers && !used[top] && !slices.Contains(out, top) {
			out = append(out, top)
		}
	}
	if len(out) > 0 {
		out = append(out, "lm_head")
	}
	return out
}
