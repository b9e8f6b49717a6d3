package nn

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/mltrain/mltrain/internal/autograd"
)

// Adapter says which layers get a low-rank adapter (LoRA and its relatives, as Hugging Face PEFT has them) and which
// parameters of the frozen model are trained along. Names are those of PEFT's LoraConfig.
type Adapter struct {
	R       int
	Alpha   float64
	Dropout float64
	RSLoRA  bool // scale Alpha/√R instead of Alpha/R (Kalajdzievski, 2023)
	DoRA    bool
	// RankPattern and AlphaPattern give modules their own R and Alpha, by regular expressions for the end of their names.
	RankPattern  map[string]int
	AlphaPattern map[string]float64
	Target       Target
	Exclude      Target
	Layers       []int    // numbers of the layers that get adapters; empty is all
	Bias         string   // none, all, lora_only: which biases are trained
	Save         []string // modules that are trained whole
	// Init says how new adapters start: "true" draws A as torch.nn.Linear does, "gaussian" from a normal distribution of
	// deviation 1/R, both with B zero; "false" draws B as well; "pissa" and "pissa_niter_N" take the principal part of the weight.
	Init string
	// Tokens are rows of an embedding that are trained, by token id; TokensOf is the end of the embedding's name, "" for the
	// model's own of tokens.
	Tokens   []int
	TokensOf string
	// Source holds a saved adapter; nil makes a new one.
	Source Source
	// FanInFanOut is PEFT's note that weights are stored [in,out]. Layers know that of themselves; it is kept for the file.
	FanInFanOut bool
	// Task is PEFT's task_type: TaskText or TaskScore.
	Task string
}

// What models with an adapter are for, by PEFT's names: to write text, or to score it (reward models).
const (
	TaskText  = "CAUSAL_LM"
	TaskScore = "SEQ_CLS"
)

// Target selects modules by their dotted names.
type Target struct {
	AllLinear bool
	Pattern   string   // a regular expression for the whole name
	Names     []string // ends of names: q_proj, or layers.0.self_attn.q_proj
}

func (t Target) empty() bool { return !t.AllLinear && t.Pattern == "" && len(t.Names) == 0 }

// adapterState is what the Builder knows of the adapter while it builds.
type adapterState struct {
	*Adapter
	pattern, exclude *regexp.Regexp
	ranks, alphas    map[string]*regexp.Regexp
	adapted          map[string]bool // modules with an adapter, by their names in the model
	linears          []string        // all that could have one, by their names in PEFT
	hit              map[string]bool // entries of Target.Names, Save and patterns that matched
	used             map[string]bool // tensors of Source
	weights          []*Weight       // LoRA's own, those of a layer next to each other
	doras            []*DoRALinear
	principals       []principal // what PiSSA starts from
	tokens           []*tokenTable
	merges           map[*autograd.Param]Adapted
}

// layerNumber finds the number of the layer in a module's name, as PEFT does.
var layerNumber = regexp.MustCompile(`^.*\.[^.]*\.(\d+)\.`)

func newAdapterState(a *Adapter, fault func(string, ...any)) *adapterState {
	s := &adapterState{Adapter: a, ranks: map[string]*regexp.Regexp{}, alphas: map[string]*regexp.Regexp{}, adapted: map[string]bool{}, hit: map[string]bool{}, used: map[string]bool{}, merges: map[*autograd.Param]Adapted{}}
	compile := func(what, text, expr string) *regexp.Regexp {
		re, err := regexp.Compile(expr)
		if err != nil {
			fault("%s %q: not a regular expression: %v", what, text, err)
			return regexp.MustCompile(`^\b\B$`) // matches nothing
		}
		return re
	}
	if a.Target.Pattern != "" {
		s.pattern = compile("target_modules", a.Target.Pattern, "^(?:"+a.Target.Pattern+")$")
		if len(a.Layers) > 0 {
			fault("layers_to_transform cannot be used when target_modules is a regular expression; put the numbers into it")
		}
	}
	if a.Exclude.Pattern != "" {
		s.exclude = compile("exclude_modules", a.Exclude.Pattern, "^(?:"+a.Exclude.Pattern+")$")
	}
	for p := range a.RankPattern {
		s.ranks[p] = compile("rank_pattern", p, `^(.*\.)?(?:`+p+`)$`)
	}
	for p := range a.AlphaPattern {
		s.alphas[p] = compile("alpha_pattern", p, `^(.*\.)?(?:`+p+`)$`)
	}
	if a.R < 1 {
		fault("adapter: rank %d; needed is 1 or more", a.R)
	}
	if !slices.Contains([]string{"none", "all", "lora_only"}, a.Bias) {
		fault("adapter: bias %q; needed is none, all or lora_only", a.Bias)
	}
	return s
}

// named tells whether module is one of names or ends in one.
func (s *adapterState) named(module string, names []string) (found bool) {
	for _, n := range names {
		if module == n || strings.HasSuffix(module, "."+n) {
			s.hit[n] = true
			found = true
		}
	}
	return found
}

// targets tells whether a module, by its name in PEFT, gets an adapter. linear is false for embeddings and others, which
// all-linear does not mean.
func (s *adapterState) targets(module string, linear bool) bool {
	switch {
	case s.Target.AllLinear:
		if !linear {
			return false
		}
	case s.pattern != nil:
		if !s.pattern.MatchString(module) {
			return false
		}
	case !s.named(module, s.Target.Names):
		return false
	}
	if s.exclude != nil && s.exclude.MatchString(module) || s.named(module, s.Exclude.Names) {
		return false
	}
	if len(s.Layers) == 0 {
		return true
	}
	m := layerNumber.FindStringSubmatch(module)
	if m == nil {
		return false
	}
	n, err := strconv.Atoi(m[1])
	return err == nil && slices.Contains(s.Layers, n)
}

// rankAndScale returns a module's rank and scale.
func (s *adapterState) rankAndScale(module string, fault func(string, ...any)) (int, float32) {
	r := lookup(s, s.ranks, s.RankPattern, module, "rank_pattern", s.R, fault)
	alpha := lookup(s, s.alphas, s.AlphaPattern, module, "alpha_pattern", s.Alpha, fault)
	if s.RSLoRA {
		return r, float32(alpha / math.Sqrt(float64(r)))
	}
	return r, float32(alpha / float64(r))
}

// lookup finds the value of the pattern that matches module. Several with different values are a fault: which of them PEFT
// takes depends on their order.
func lookup[T comparable](s *adapterState, res map[string]*regexp.Regexp, values map[string]T, module, what string, def T, fault func(string, ...any)) T {
	var found []string
	for p, re := range res {
		if re.MatchString(module) {
			s.hit[p] = true
			found = append(found, p)
		}
	}
	if len(found) == 0 {
		return def
	}
	slices.Sort(found)
	for _, p := range found[1:] {
		if values[p] != values[found[0]] {
			fault("%s: %s: both %q and %q match; make one of them more precise", what, module, found[0], p)
		}
	}
	return values[found[0]]
}

// peftName is the name that a module has in PEFT and transformers, whatever this checkpoint calls it.
func (b *Builder) peftName(full string) string {
	if b.prefix != "" {
		full = b.stored(full)
	}
	if rest, ok := strings.CutPrefix(full, "language_model."); ok {
		return strings.Replace("model.language_model."+strings.TrimPrefix(rest, "model."), "model.language_model.lm_head", "lm_head", 1)
	}
	return full
}

// peftPrefix is what PEFT puts before the names of its tensors.
const peftPrefix = "base_model.model."

// adapt decides what the adapter makes of a parameter of the model: it is frozen, unless it is a bias to train or belongs to a
// module that is trained whole.
func (b *Builder) adapt(w *Weight, module, name string) {
	a := b.adapter
	peft := b.peftName(module)
	switch {
	case a.named(peft, a.Save):
		if a.adapted[module] {
			b.Fault("%s: both in target_modules and in modules_to_save; keep one", peft)
		}
		w.AdapterName = peftPrefix + peft + "." + name
	case name == "bias" && (a.Bias == "all" || a.Bias == "lora_only" && a.adapted[module]):
		w.AdapterName = peftPrefix + peft + "."
		if a.adapted[module] {
			w.AdapterName += "base_layer."
		}
		w.AdapterName += name
	default:
		w.Frozen = true
		if name == "weight" && !a.adapted[module] && !a.Target.AllLinear && a.targets(peft, false) {
			b.Fault("%s: target_modules matches it, but only linear layers and embeddings can have an adapter; a head can be trained whole with modules_to_save", peft)
		}
		return
	}
	b.checkAdapterTensor(w)
}

// adapterParam asks for a parameter of the adapter itself.
func (b *Builder) adapterParam(module, name string, init Init, transposed bool, shape ...int) *autograd.Param {
	full := module + "." + name
	w := &Weight{AdapterName: peftPrefix + b.peftName(module) + "." + name, DType: f32, Decay: len(shape) > 1, Init: init, Transposed: transposed, own: true}
	w.Name, w.Stored, w.Shape = full, w.AdapterName, shape
	w.Frozen = b.opts.Frozen != nil && b.opts.Frozen(full)
	b.weights = append(b.weights, w)
	b.byName[full] = w
	b.adapter.weights = append(b.adapter.weights, w)
	b.checkAdapterTensor(w)
	return &w.Param
}

// checkAdapterTensor holds a weight against the saved adapter, if there is one.
func (b *Builder) checkAdapterTensor(w *Weight) {
	src := b.adapter.Source
	if src == nil {
		return
	}
	want := w.Shape
	if w.Transposed {
		want = []int{w.Shape[1], w.Shape[0]}
	}
	b.adapter.used[w.AdapterName] = true
	dt, dtName, have, ok := src.Lookup(w.AdapterName)
	switch {
	case !ok:
		b.Fault("adapter: %s %v: missing", w.AdapterName, want)
	case !slices.Equal(have, want):
		b.Fault("adapter: %s: shape %v in the adapter, %v by the model: it was made for another base, or with another rank", w.AdapterName, have, want)
	case dt != f32 && dt != bf16 && dt != f16:
		b.Fault("adapter: %s: type %s; needed is float32, bfloat16 or float16", w.AdapterName, dtName)
	}
}

// lowRank makes the adapter of a module [out,in]. For an embedding A is held transposed.
func (b *Builder) lowRank(module string, in, out int, embedding bool) *autograd.LowRank {
	a := b.adapter
	r, scale := a.rankAndScale(b.peftName(module), b.Fault)
	if r > min(in, out) {
		b.Fault("%s: rank %d is larger than a side of the layer's weight [%d,%d]; set lora_r, or its rank_pattern, to at most %d", b.peftName(module), r, out, in, min(in, out))
	}
	l := &autograd.LowRank{Scale: scale, Dropout: float32(a.Dropout)}
	if embedding {
		if a.IsPiSSA() {
			b.Fault("%s: an embedding's adapter cannot start by pissa; leave it out of target_modules", b.peftName(module))
		}
		if a.DoRA {
			b.Fault("%s: DoRA of an embedding is not supported; leave it out of target_modules", b.peftName(module))
		}
		if a.Dropout > 0 {
			l.Dropout = 0 // PEFT has none there: the input is token ids
		}
		l.A = b.adapterParam(module, "lora_embedding_A", Init{}, true, in, r)
		l.B = b.adapterParam(module, "lora_embedding_B", Init{Std: 1}, false, out, r)
		return l
	}
	initA, initB := Init{Uniform: float32(1 / math.Sqrt(float64(in)))}, Init{}
	switch a.Init {
	case "gaussian":
		initA = Init{Std: 1 / float32(r)}
	case "false":
		initB = Init{Uniform: float32(1 / math.Sqrt(float64(r)))}
	}
	l.A = b.adapterParam(module, "lora_A.weight", initA, false, r, in)
	l.B = b.adapterParam(module, "lora_B.weight", initB, false, out, r)
	return l
}

// adaptLinear wraps a linear layer that the adapter targets.
func (b *Builder) adaptLinear(module string, d *Dense, in, out int) Linear {
	l := b.lowRank(module, in, out, false)
	if b.adapter.IsPiSSA() {
		w := b.byName[module+".weight"]
		if w.quantised {
			b.Fault("%s: pissa takes the weight apart in full precision, and it is held in 4 bits; start from the original model, without load_in_4bit", b.peftName(module))
		}
		w.residual = true
		b.adapter.principals = append(b.adapter.principals, principal{module, w, d.Layout, l})
	}
	if b.adapter.merges[d.W] = (Adapted{d.Layout, l, nil}); !b.adapter.DoRA {
		return &LoRALinear{Base: d, LowRank: l}
	}
	b.byName[module+".weight"].whole = true // the lengths of its rows are computed anew in each pass
	m := b.adapterParam(module, "lora_magnitude_vector", Init{Const: 1}, false, out)
	y := &DoRALinear{Base: d, LowRank: l, M: m}
	b.adapter.merges[d.W] = Adapted{d.Layout, l, m}
	b.adapter.doras = append(b.adapter.doras, y)
	return y
}

// Adapted is a weight of the model with what an adapter adds to it: see autograd.Tape.Merged.
type Adapted struct {
	Layout  autograd.Layout
	LowRank *autograd.LowRank
	M       *autograd.Param // DoRA's magnitudes, or nil
}

// LoRALinear is y = x·Wᵀ + b + s·B·A·dropout(x).
type LoRALinear struct {
	Base    *Dense
	LowRank *autograd.LowRank
}

// Forward computes x [R,in] → [R,out].
func (l *LoRALinear) Forward(t *autograd.Tape, x *autograd.Var) *autograd.Var {
	return t.Linears(x, l.layer(t))[0]
}

func (l *LoRALinear) layer(t *autograd.Tape) autograd.LinearLayer {
	layer := l.Base.layer(t)
	if !t.Unadapted() {
		layer.LowRank = l.LowRank
	}
	return layer
}

// DoRALinear is a linear layer whose weight W + s·B·A has rows of length M: see autograd.Tape.DoRA.
type DoRALinear struct {
	Base    *Dense
	LowRank *autograd.LowRank
	M       *autograd.Param
}

// Forward computes x [R,in] → [R,out].
func (l *DoRALinear) Forward(t *autograd.Tape, x *autograd.Var) *autograd.Var {
	if t.Unadapted() {
		return l.Base.Forward(t, x)
	}
	return t.DoRA(x, l.Base.W, l.Base.B, l.Base.Layout, l.LowRank, l.M)
}

// adapterFaults reports what of the adapter's configuration had no effect, and what of its file has no place.
func (b *Builder) adapterFaults() (faults []string) {
	a := b.adapter
	if a == nil {
		return nil
	}
	if a.Source != nil {
		for _, n := range a.Source.Names() {
			if !a.used[n] {
				_, _, shape, _ := a.Source.Lookup(n)
				faults = append(faults, fmt.Sprintf("adapter: %s %v: not part of this model, or not of what adapter_config.json describes", n, shape))
			}
		}
		return faults
	}
	exist := func() string {
		var ends []string
		for _, m := range a.linears {
			if end := m[strings.LastIndexByte(m, '.')+1:]; !slices.Contains(ends, end) {
				ends = append(ends, end)
			}
		}
		return strings.Join(ends, ", ")
	}
	if len(a.adapted) == 0 && !(a.Target.empty() && len(a.Save)+len(a.Tokens) > 0) {
		what := strings.Join(a.Target.Names, ", ") + a.Target.Pattern
		if a.Target.AllLinear {
			what = "all-linear"
		}
		if len(a.Layers) > 0 {
			what += fmt.Sprintf(" in layers %v", a.Layers)
		}
		return append(faults, fmt.Sprintf("target_modules: nothing in the model matches %s; there are %s (full names such as %s)", what, exist(), a.linears[0]))
	}
	for _, n := range a.Target.Names {
		if !a.hit[n] {
			faults = append(faults, fmt.Sprintf("target_modules: nothing in the model matches %s; there are %s", n, exist()))
		}
	}
	for _, n := range a.Save {
		if !a.hit[n] {
			faults = append(faults, fmt.Sprintf("modules_to_save: nothing in the model matches %s", n))
		}
	}
	if len(a.Tokens) > 0 && len(a.tokens) == 0 && len(b.faults) == 0 {
		faults = append(faults, fmt.Sprintf("trainable_token_indices: the model has no embedding %s", a.TokensOf))
	}
	for _, m := range []struct {
		what string
		res  map[string]*regexp.Regexp
	}{{"rank_pattern", a.ranks}, {"alpha_pattern", a.alphas}} {
		for p := range m.res {
			if !a.hit[p] {
				faults = append(faults, fmt.Sprintf("%s: no module with an adapter matches %s", m.what, p))
			}
		}
	}
	slices.Sort(faults)
	return faults
}

// frozenTable takes an embedding's table from the adapter's files if they hold it: PEFT stores it with the adapter.
func (b *Builder) frozenTable(w *Weight, module string) {
	a := b.adapter
	name := peftPrefix + b.peftName(module) + ".base_layer.weight"
	if a.Source == nil {
		return
	}
	_, _, shape, ok := a.Source.Lookup(name)
	if !ok {
		return
	}
	a.used[name] = true
	if !slices.Equal(shape, w.Shape) {
		b.Fault("adapter: %s: shape %v in the adapter, %v by the model", name, shape, w.Shape)
		return
	}
	w.baseLayer = name
}

// CheckTied refuses what trains an embedding that is also the head: an adapter would tear the two apart, and a table trained
// whole is, in PEFT, a copy that the head does not follow. head is the weight that the model's head uses, tied tells whether
// it is the embedding.
func (b *Builder) CheckTied(head *autograd.Param, tied bool) error {
	if !tied || b.adapter == nil {
		return nil
	}
	for _, w := range b.weights {
		if &w.Param == head && (w.LowRank != nil || w.AdapterName != "") {
			return fmt.Errorf("%s: it is the head as well (tie_word_embeddings), and an adapter would change only one of them; leave it out of target_modules and modules_to_save", w.Name)
		}
	}
	return nil
}
