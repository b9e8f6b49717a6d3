package train

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/mltrain/mltrain/internal/autograd"
	"github.com/mltrain/mltrain/internal/cpu"
	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/tensor"
)

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		t.Fatal(err)
	}
}

func f32s(x []float64) []byte {
	raw := make([]byte, 4*len(x))
	for i, v := range x {
		binary.LittleEndian.PutUint32(raw[4*i:], math.Float32bits(float32(v)))
	}
	return raw
}

// vectorStore is a Store of one parameter, a matrix of one row, so that weight decay applies.
func vectorStore(t *testing.T, b tensor.Backend, start []float64) *nn.Store {
	t.Helper()
	n := len(start)
	s := &nn.Store{Offsets: map[*nn.Weight]int{}}
	for _, x := range []*tensor.Tensor{&s.Values, &s.Grads} {
		buf, err := b.Alloc(int64(4*n), tensor.UseWeights)
		if err != nil {
			t.Fatal(err)
		}
		*x = tensor.New(buf, 0, tensor.F32, n)
	}
	if err := b.Upload(s.Values, f32s(start)); err != nil {
		t.Fatal(err)
	}
	w := &nn.Weight{Param: autograd.Param{Name: "w", Shape: []int{1, n}, Value: s.Values, Grad: s.Grads}, Master: s.Values, Decay: true}
	s.Weights, s.Trainable = []*nn.Weight{w}, []*nn.Weight{w}
	s.Offsets[w] = 0
	return s
}

func TestOptimisersEqualPyTorch(t *testing.T) {
	var g struct {
		Start []float64
		Grads [][]float64
		Cases []struct {
			Name, Optimizer string
			Options         struct {
				LR          float64
				Betas       *[2]float64
				Eps         *float64
				WeightDecay *float64 `json:"weight_decay"`
				Momentum    float64
				Nesterov    bool
			}
			Params [][]float64
		}
	}
	readJSON(t, "../../testdata/optim.json", &g)
	for _, c := range g.Cases {
		t.Run(c.Name, func(t *testing.T) {
			o := OptimOptions{Name: c.Optimizer, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Momentum: c.Options.Momentum, Nesterov: c.Options.Nesterov}
			if c.Optimizer == "adamw" {
				o.WeightDecay = 0.01 // PyTorch's default
			}
			if c.Optimizer == "lion" {
				o.Beta2 = 0.99
			}
			if b := c.Options.Betas; b != nil {
				o.Beta1, o.Beta2 = b[0], b[1]
			}
			if e := c.Options.Eps; e != nil {
				o.Eps = *e
			}
			if w := c.Options.WeightDecay; w != nil {
				o.WeightDecay = *w
			}
			b := cpu.New()
			s := vectorStore(t, b, g.Start)
			opt, err := NewOptimizer(b, s, o)
			if err != nil {
				t.Fatal(err)
			}
			for i, grad := range g.Grads {
				if err := b.Upload(s.Grads, f32s(grad)); err != nil {
					t.Fatal(err)
				}
				if _, err := opt.Step(i+1, c.Options.LR, 1); err != nil {
					t.Fatal(err)
				}
				if d, scale := maxDiff(download(t, b, s.Values), c.Params[i]); !(d <= 2e-6*scale) {
					t.Fatalf("step %d: parameters differ by %g", i+1, d)
				}
			}
		})
	}
}

func TestSchedulesEqualTransformers(t *testing.T) {
	var g struct {
		LearningRate float64 `json:"learning_rate"`
		MaxSteps     int     `json:"max_steps"`
		Cases        []struct {
			Name   string
			Type   string `json:"lr_scheduler_type"`
			Warmup int    `json:"warmup_steps"`
			Kwargs map[string]any
			LR     []float64
		}
	}
	readJSON(t, "../../testdata/schedules.json", &g)
	for _, c := range g.Cases {
		t.Run(c.Name, func(t *testing.T) {
			typ := c.Type
			if typ == "warmup_stable_decay" {
				typ = "wsd"
			}
			s, err := NewSchedule(ScheduleOptions{Type: typ, Warmup: c.Warmup, Total: g.MaxSteps, PeakLR: g.LearningRate, Options: c.Kwargs})
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range c.LR {
				if got := g.LearningRate * s(i); !(math.Abs(got-want) <= 1e-9*g.LearningRate+1e-12) {
					t.Fatalf("step %d: learning rate %g, want %g", i, got, want)
				}
			}
		})
	}
}
