package train

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"github.com/mltrain/mltrain/internal/autograd"
	"github.com/mltrain/mltrain/internal/checkpoint"
	"github.com/mltrain/mltrain/internal/data"
	"github.com/mltrain/mltrain/internal/model"
	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/tensor"
)

// Merged says how a merged model compares with its model and adapter on the probe's tokens.
type Merged struct {
	Output       string  `json:"output_dir"`
	Merged       int     `json:"merged_layers"`
	Precision    string  `json:"base_precision"`
	Dequantised  bool    `json:"dequantized_base"` // the base's weights went through NF4
	Tokens       int     `json:"tokens"`
	MaxLogitDiff float64 `json:"max_logit_difference"`
	MaxLogit     float64 `json:"max_logit"`
	KL           float64 `json:"kl"` // mean over the tokens of KL(model with adapter ‖ merged), in nats
}

// loaded is a frozen model on a backend, with an adapter or without.
type loaded struct {
	b      tensor.Backend
	config []byte // config.json
	score  bool   // it is a reward model
	m      model.Model
	store  *nn.Store
	reader *checkpoint.Reader
	packed bool // its weights were in NF4
}

// form says how the linear layers of a frozen model are held.
type form uint8

const (
	asStored    form = iota // in four bits where the checkpoint has them so
	decodedForm             // that decoded
	nf4                     // through NF4, and decoded
	nf4Nested               // through NF4 with double quantisation, and decoded
)

func loadFrozen(b tensor.Backend, dir string, adapter *nn.Adapter, positions int, f form) (*loaded, error) {
	raw, err := os.ReadFile(filepath.Join(dir, checkpoint.ConfigFile))
	if err != nil {
		return nil, err
	}
	r, err := checkpoint.Open(dir)
	if err != nil {
		return nil, err
	}
	source, err := ModelSource(r, raw)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if _, packed := source.(nn.PackedSource); !packed && f >= nf4 {
		if source, err = inNF4(r, raw, f == nf4Nested); err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	builder := nn.NewBuilder(nn.Options{Source: source, Decode: f != asStored, Frozen: func(string) bool { return true }, Ignore: model.Ignored, Adapter: adapter})
	score := adapter != nil && adapter.Task == nn.TaskScore || model.Scores(raw)
	m, err := model.New(raw, builder, model.Options{Positions: positions, Dropout: model.NoDropout(), Score: score})
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if err := builder.CheckTied(m.Head().W, m.Info().TiedHead); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	s, err := builder.Load(b, 0)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	_, packed := source.(nn.PackedSource)
	return &loaded{b, raw, score, m, s, r, packed}, nil
}

func (l *loaded) close() error {
	l.store.Close()
	return l.reader.Close()
}

// logits returns the logits [T,V] of one sequence; of a reward model the scores [T,1] of its beginnings.
func (l *loaded) logits(ids []int32) ([]float64, error) {
	f, err := nn.NewFeeder(l.b, len(ids), 1, 0)
	if err != nil {
		return nil, err
	}
	pos := make([]int32, len(ids))
	for i := range pos {
		pos[i] = int32(i)
	}
	batch, err := f.Load(nn.HostBatch{Tokens: ids, Positions: pos, Cu: []int32{0, int32(len(ids))}, MaxLen: len(ids)})
	if err != nil {
		return nil, err
	}
	t := autograd.NewTape(l.b)
	defer t.Close()
	var out []float64
	err = t.Run("logits", func() {
		head := l.m.Head()
		y := t.Linear(l.m.Forward(t, batch), head.W, nil, autograd.OutIn)
		if head.SoftCap > 0 {
			y = t.Unary(tensor.OpSoftcap, head.SoftCap, y)
		}
		raw := make([]byte, y.Value.Bytes())
		if err := l.b.Download(raw, y.Value); err != nil {
			t.Fail("logits", err)
		}
		out = make([]float64, y.Value.Len())
		for i := range out {
			out[i] = readF32(raw[4*i:])
		}
	})
	return out, err
}

// Merge puts an adapter into its model's weights, computing in float32 and rounding to the model's own types, and writes a full
// checkpoint. A model in 4 bits is decoded first. The result is loaded again and compared with model and adapter on the sequence probe.
func Merge(b tensor.Backend, modelDir, adapterDir, output string, probe []int32) (*Merged, error) {
	return merge(b, modelDir, adapterDir, output, probe, decodedForm)
}

// MergeNF4 is Merge into what load_in_4bit made of the model, with double quantisation or without: the very weights that the adapter
// was trained on.
func MergeNF4(b tensor.Backend, modelDir, adapterDir, output string, probe []int32, nested bool) (*Merged, error) {
	f := nf4
	if nested {
		f = nf4Nested
	}
	return merge(b, modelDir, adapterDir, output, probe, f)
}

func merge(b tensor.Backend, modelDir, adapterDir, output string, probe []int32, f form) (res *Merged, err error) {
	if err := checkpoint.GuardOutput(output, false, false); err != nil {
		return nil, err
	}
	adapter, files, err := Adapter(adapterDir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, files.Close()) }()
	l, err := loadFrozen(b, modelDir, adapter, len(probe), f)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	want, err := l.logits(probe)
	if err != nil {
		return nil, err
	}
	res = &Merged{Output: output, Merged: len(l.store.Adapted), Tokens: len(probe), Dequantised: l.packed}
	var tensors []checkpoint.Tensor
	for _, t := range modelTensors(&Engine{Backend: b, Store: l.store}, l.reader) {
		w := weightOf(l.store, t.Name)
		if w == nil {
			tensors = append(tensors, t)
			continue
		}
		if a, ok := l.store.Adapted[w]; ok {
			t.Write = func(wr io.Writer) error {
				tape := autograd.NewTape(b)
				defer tape.Close()
				return tape.Merged(&w.Param, a.Layout, a.LowRank, a.M, func(v tensor.Tensor) error { return writeAs(wr, b, v, w.DType) })
			}
			res.Precision = w.DType.String()
		}
		tensors = append(tensors, t)
	}
	overrides := map[string]any{}
	if l.score {
		tok, _, err := data.LoadTokenizer(modelDir)
		if err != nil {
			return nil, err
		}
		if overrides, err = model.RewardConfig(l.config, data.PadID(tok)); err != nil {
			return nil, err
		}
	}
	overrides["quantization_config"] = checkpoint.Removed
	if err := checkpoint.SaveModel(output, modelDir, tensors, overrides, 0); err != nil {
		return nil, err
	}
	merged, err := loadFrozen(b, output, nil, len(probe), asStored)
	if err != nil {
		return nil, fmt.Errorf("the merged model: %w", err)
	}
	defer func() { err = errors.Join(err, merged.close()) }()
	got, err := merged.logits(probe)
	if err != nil {
		return nil, err
	}
	res.compare(want, got)
	return res, nil
}

func weightOf(s *nn.Store, stored string) *nn.Weight {
	for _, w := range s.Weights {
		if w.Stored == stored {
			return w
		}
	}
	return nil
}

// compare fills in the differences between two sets of logits [Tokens,V].
func (m *Merged) compare(want, got []float64) {
	v := len(want) / m.Tokens
	for t := range m.Tokens {
		p, q := want[t*v:][:v], got[t*v:][:v]
		lp, lq := logSumExp(p), logSumExp(q)
		for i := range p {
			m.MaxLogitDiff = max(m.MaxLogitDiff, math.Abs(p[i]-q[i]))
			m.MaxLogit = max(m.MaxLogit, math.Abs(p[i]))
			m.KL += math.Exp(p[i]-lp) * ((p[i] - lp) - (q[i] - lq)) / float64(m.Tokens)
		}
	}
}

func logSumExp(x []float64) float64 {
	top := math.Inf(-1)
	for _, v := range x {
		top = max(top, v)
	}
	var sum float64
	for _, v := range x {
		sum += math.Exp(v - top)
	}
	return top + math.Log(sum)
}
