package train

import (
	"cmp"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mltrain/mltrain/internal/checkpoint"
	"github.com/mltrain/mltrain/internal/config"
	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/tensor"
)

// Adapter returns the adapter that a PEFT directory holds, and its reader, which must stay open while the model is loaded and,
// where weights are used in place, as long as it is used.
func Adapter(dir string) (*nn.Adapter, *checkpoint.Reader, error) {
	c, err := checkpoint.ReadAdapterConfig(dir)
	if err != nil {
		return nil, nil, err
	}
	r, err := checkpoint.OpenAdapter(dir)
	if err != nil {
		return nil, nil, err
	}
	a := adapterFrom(c)
	a.Source = Source{r}
	return a, r, nil
}

// adapterFrom is the adapter that a PEFT config describes, without its weights.
func adapterFrom(c *checkpoint.AdapterConfig) *nn.Adapter {
	return &nn.Adapter{
		R: c.R, Alpha: c.LoraAlpha, Dropout: c.LoraDropout, RSLoRA: c.UseRslora, DoRA: c.UseDora, RankPattern: c.RankPattern, AlphaPattern: c.AlphaPattern,
		Target: targetOf(c.TargetModules), Exclude: targetOf(c.ExcludeModules), Layers: c.LayersToTransform, Bias: c.Bias, Save: c.ModulesToSave,
		Init: fmt.Sprint(c.InitLoraWeights), FanInFanOut: c.FanInFanOut, Task: c.TaskType,
		Tokens: c.TokenIndices.IDs, TokensOf: c.TokenIndices.Module,
	}
}

func targetOf(s checkpoint.StringOrList) nn.Target {
	if s.Text == config.AllLinear {
		return nn.Target{AllLinear: true}
	}
	return nn.Target{Pattern: s.Text, Names: s.List}
}

// adapterOf returns the adapter that a run config asks for, or nil. When the run is resumed, or goes on from an adapter, its
// weights come from that directory.
func adapterOf(cfg *config.Config, resumeFrom string) (*nn.Adapter, *checkpoint.Reader, error) {
	if !cfg.UsePeft {
		return nil, nil, nil
	}
	a := &nn.Adapter{
		R: cfg.LoraR, Alpha: cfg.LoraAlpha, Dropout: cfg.LoraDropout, RSLoRA: cfg.UseRslora, DoRA: cfg.UseDora,
		RankPattern: cfg.RankPattern, AlphaPattern: cfg.AlphaPattern, Layers: cfg.LayersToTransform, Bias: cfg.LoraBias, Save: cfg.LoraModulesToSave,
		Target: nn.Target{AllLinear: cfg.LoraTargetModules.IsAllLinear(), Names: cfg.LoraTargetModules.Names}, Init: cfg.InitLoraWeights,
		Tokens: cfg.TrainableTokenIndices,
	}
	if !a.Target.AllLinear {
		a.Target.Pattern = cfg.LoraTargetModules.Pattern
	}
	switch {
	case resumeFrom != "" && cfg.AdapterNameOrPath == "":
		r, err := checkpoint.OpenAdapter(resumeFrom)
		if err != nil {
			return nil, nil, err
		}
		a.Source = Source{r}
		if a.IsPiSSA() {
			a.Source = pissaHalves{a.Source}
		}
		return a, r, nil
	case cfg.AdapterNameOrPath != "":
		// What the adapter is, its own file says; the run decides how it is trained.
		dir := cfg.AdapterNameOrPath
		if resumeFrom != "" {
			dir = resumeFrom
		}
		saved, r, err := Adapter(dir)
		if err != nil {
			return nil, nil, err
		}
		saved.Dropout = cfg.LoraDropout
		return saved, r, nil
	}
	return a, nil, nil
}

// adapterTensors lists the tensors of an adapter's file, in float32.
func adapterTensors(e *Engine) []checkpoint.Tensor {
	var out []checkpoint.Tensor
	for _, w := range e.Store.Weights {
		if w.AdapterName == "" {
			continue
		}
		shape := w.Shape
		if w.Transposed {
			shape = []int{w.Shape[1], w.Shape[0]}
		}
		if start, ok := e.Store.Starts[w]; ok {
			out = append(out, pissaTensor(e, w, start))
			continue
		}
		out = append(out, checkpoint.Tensor{Name: w.AdapterName, DType: tensor.F32, Shape: shape, Write: func(wr io.Writer) error {
			if !w.Transposed {
				return writeAs(wr, e.Backend, w.Master, tensor.F32)
			}
			raw := make([]byte, w.Master.Bytes())
			if err := e.Backend.Download(raw, w.Master); err != nil {
				return err
			}
			t := make([]byte, len(raw))
			for r := range w.Shape[0] {
				for c := range w.Shape[1] {
					copy(t[4*(c*w.Shape[0]+r):][:4], raw[4*(r*w.Shape[1]+c):])
				}
			}
			_, err := wr.Write(t)
			return err
		}})
	}
	slices.SortFunc(out, func(a, b checkpoint.Tensor) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// adapterConfig describes an adapter for PEFT. base is the directory or name of the model.
func adapterConfig(a *nn.Adapter, base, modelType string) *checkpoint.AdapterConfig {
	c := &checkpoint.AdapterConfig{
		BaseModel: base, PeftType: "LORA", TaskType: cmp.Or(a.Task, nn.TaskText), InferenceMode: true, R: a.R, LoraAlpha: a.Alpha, LoraDropout: a.Dropout,
		Bias: a.Bias, UseRslora: a.RSLoRA, UseDora: a.DoRA, RankPattern: a.RankPattern, AlphaPattern: a.AlphaPattern, ModulesToSave: a.Save,
		LayersToTransform: a.Layers, FanInFanOut: a.FanInFanOut || modelType == "gpt2",
		TargetModules: fileTarget(a.Target), ExcludeModules: fileTarget(a.Exclude), InitLoraWeights: initValue(a.Init),
		TokenIndices: checkpoint.TokenIndices{Module: a.TokensOf, IDs: a.Tokens},
	}
	if a.IsPiSSA() {
		doubleRank(c)
	}
	if c.RankPattern == nil {
		c.RankPattern = map[string]int{}
	}
	if c.AlphaPattern == nil {
		c.AlphaPattern = map[string]float64{}
	}
	return c
}

func fileTarget(t nn.Target) checkpoint.StringOrList {
	if t.AllLinear {
		return checkpoint.StringOrList{Text: config.AllLinear}
	}
	return checkpoint.StringOrList{Text: t.Pattern, List: t.Names}
}

// initValue writes init_lora_weights as PEFT does: true and false are no strings.
func initValue(s string) any {
	switch s {
	case "true":
		return true
	case "false":
		return false
	}
	return s
}

// saveAdapter writes the adapter directory.
func saveAdapter(dir string, e *Engine, cfg *config.Config, modelDir string) error {
	base := cfg.ModelNameOrPath
	if abs, err := filepath.Abs(modelDir); err == nil && base == modelDir {
		base = abs
	}
	a := *e.spec.Adapter
	if a.Target.AllLinear && len(a.Layers) > 0 { // PEFT takes layers_to_transform with a list only
		a.Target = nn.Target{Names: adaptedKinds(e.Store)}
	}
	return checkpoint.SaveAdapter(dir, modelDir, adapterConfig(&a, base, e.Model.Info().Type), adapterTensors(e))
}

// adaptedKinds lists the kinds of modules that have an adapter: q_proj and the like.
func adaptedKinds(s *nn.Store) []string {
	var out []string
	for w := range s.Adapted {
		if kind := moduleKind(w.Name); !slices.Contains(out, kind) {
			out = append(out, kind)
		}
	}
	slices.Sort(out)
	return out
}

// TrainableReport says, as PEFT does, how many parameters are trained, in total and by the kind of module.
func TrainableReport(s *nn.Store) string {
	trainable, all := s.TrainableCount(), s.Len()
	var b strings.Builder
	fmt.Fprintf(&b, "trainable params: %s || all params: %s || trainable%%: %.4f", thousands(trainable), thousands(all), 100*float64(trainable)/float64(all))
	counts := map[string]int{}
	var order []string
	for _, w := range s.Trainable {
		kind := moduleKind(w.Name)
		if counts[kind] == 0 {
			order = append(order, kind)
		}
		n := 1
		for _, d := range w.Shape {
			n *= d
		}
		counts[kind] += n
	}
	for _, k := range order {
		fmt.Fprintf(&b, "\n  %-16s %s", k, thousands(counts[k]))
	}
	return b.String()
}

// moduleKind returns the last part of a module's name: q_proj of …layers.0.self_attn.q_proj.lora_A.weight.
func moduleKind(name string) string {
	parts := strings.Split(name, ".")
	for i, p := range parts {
		if strings.HasPrefix(p, "lora_") || i == len(parts)-1 {
			return parts[max(0, i-1)]
		}
	}
	return name
}

// thousands writes a number with commas.
func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// closeReader closes r if there is one.
func closeReader(r *checkpoint.Reader) error {
	if r == nil {
		return nil
	}
	return r.Close()
}

// quantiseOf says how a run holds its frozen linear layers; nil is as they are.
func quantiseOf(cfg *config.Config) *nn.Quantise {
	if !cfg.LoadIn4bit {
		return nil
	}
	return &nn.Quantise{Nested: cfg.UseBnBNestedQuant}
}
