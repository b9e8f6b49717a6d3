package model

import (
	"math"

	"github.com/mltrain/mltrain/internal/autograd"
	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/tensor"
)

// llama is the family of pre-norm decoders with RMSNorm, rotary positions and a gated MLP: Llama, Mistral, Qwen2, Qwen3,
// SmolLM2, Gemma 2 and 3, Phi-3, OLMo-2. What differs between them is read from config.json once, here.
type llama struct {
	info      Info
	embed     *autograd.Param
	padding   int     // the token whose embedding is not trained, as in transformers; −1 for none
	scale     float32 // of the embeddings; 1 for none
	embedDrop float32
	layers    []llamaLayer
	norm      *nn.Norm
	head      Head
}

type llamaLayer struct {
	// A block adds to the residual stream: x += postNorm(block(preNorm(x))). Either norm may be nil.
	preAttn, postAttn, preMLP, postMLP *nn.Norm

	attn   *nn.SelfAttention
	gateUp nn.Linear // fused, or nil
	gate   nn.Linear
	up     nn.Linear
	down   nn.Linear
	act    tensor.UnaryOp
	drop   float32 // on each block's output (Phi-3)
}

// variant is how the members of the family differ in structure.
type variant struct {
	qkvBias, outBias, mlpBias bool
	headNorm                  bool // q and k are normalised head by head (Qwen3, Gemma 3)
	wideNorm                  bool // q and k are normalised over all heads (OLMo-2)
	preNorm, postNorm         bool
	onePlus                   bool // norms multiply by 1 + weight (Gemma)
	fused                     bool // qkv_proj and gate_up_proj (Phi-3)
	names                     [4]string
}

func newLlama(b *nn.Builder, c *config, opts Options) Model {
	typ := c.str("model_type", "")
	prefix := ""
	if typ == "gemma3" {
		if opts.Score {
			c.fault("model_type", "a reward model of a multimodal Gemma 3 is not supported; use its text model (gemma3_text)")
		}
		c, prefix, typ = nestedGemma(b, c)
	}
	v := llamaVariant(c, typ)
	m := &llama{scale: 1}
	m.info = Info{
		Type: typ, VocabSize: c.int("vocab_size"), HiddenSize: c.int("hidden_size"), Layers: c.int("num_hidden_layers"),
		MaxPositions: c.intOr("max_position_embeddings", 2048),
	}
	gemma := typ == "gemma2" || typ == "gemma3_text"
	m.info.TiedHead = c.bool("tie_word_embeddings", gemma)
	std := float32(c.floatOr("initializer_range", 0.02))
	if opts.Positions == 0 {
		opts.Positions = m.info.MaxPositions
	}
	if gemma {
		m.scale = float32(math.Sqrt(float64(m.info.HiddenSize)))
	}
	if typ == "phi3" {
		m.embedDrop = probability(c, opts.Dropout.Embedding, "embd_pdrop", 0)
	}

	b = b.At(prefix + "model")
	if m.padding = c.id("pad_token_id"); m.padding >= m.info.VocabSize {
		c.fault("pad_token_id", "%d is outside the vocabulary of %d", m.padding, m.info.VocabSize)
	}
	m.embed = b.Embedding("embed_tokens", m.info.VocabSize, m.info.HiddenSize, std)
	l := layerBuilder{c: c, v: v, typ: typ, hidden: m.info.HiddenSize, std: std, eps: float32(c.floatOr("rms_norm_eps", 1e-6)), attnDrop: probability(c, opts.Dropout.Attention, "attention_dropout", 0)}
	if typ == "phi3" {
		l.drop = probability(c, opts.Dropout.Residual, "resid_pdrop", 0)
	}
	l.shape()
	m.info.KVDim = l.kvHeads * l.headDim
	l.tables(b, opts.Positions)
	windows := l.windows(m.info.Layers)
	for i := range m.info.Layers {
		m.layers = append(m.layers, l.layer(b.At("layers").At(itoa(i)), windows[i]))
	}
	m.norm = l.norm(b, "norm")
	m.head = Head{W: m.embed, SoftCap: float32(c.floatOr("final_logit_softcapping", 0))}
	root := b.Root().At(prefix + "lm_head")
	switch {
	case opts.Score:
		root.Skip("weight")
		m.head, m.info.TiedHead = scoreHead(b, m.info.HiddenSize, std), false
	case m.info.TiedHead:
		root.Skip("weight")
	default:
		m.head.W = &root.Param("weight", nn.Init{Std: std}, m.info.VocabSize, m.info.HiddenSize).Param
	}
	return m
}

// nestedGemma finds the text model inside a multimodal Gemma 3: config in text_config, tensors under language_model.
func nestedGemma(b *nn.Builder, c *config) (text *config, prefix, typ string) {
	tied := c.fields["tie_word_embeddings"]
	c = c.sub("text_config")
	if _, ok := c.fields["tie_word_embeddings"]; !ok && c.fields != nil {
		c.fields["tie_word_embeddings"] = tied
	}
	b.IgnoreMore("vision_tower.*", "multi_modal_projector.*")
	// Files written by transformers 4.52 and later say model.language_model.…, older ones language_model.model.….
	if b.Has("model.language_model.embed_tokens.weight") {
		b.Rename("model.", "model.language_model.")
		return c, "", "gemma3_text"
	}
	return c, "language_model.", "gemma3_text"
}

func llamaVariant(c *config, typ string) variant {
	v := variant{preNorm: true, names: [4]string{"input_layernorm", "", "post_attention_layernorm", ""}}
	bias := c.bool("attention_bias", false)
	v.qkvBias, v.outBias, v.mlpBias = bias, bias, c.bool("mlp_bias", false)
	c.refuse("use_bidirectional_attention", false)
	switch typ {
	case "qwen2":
		v.qkvBias, v.outBias = true, false
	case "qwen3":
		v.headNorm = true
	case "gemma2", "gemma3_text":
		v.postNorm, v.onePlus = true, true
		v.headNorm = typ == "gemma3_text"
		v.names = [4]string{"input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"}
	case "olmo2":
		v.preNorm, v.postNorm, v.wideNorm = false, true, true
		v.names = [4]string{"", "post_attention_layernorm", "", "post_feedforward_layernorm"}
	case "phi3":
		v.fused = true
	}
	return v
}

// layerBuilder builds the layers of one model.
type layerBuilder struct {
	c              *config
	v              variant
	typ            string
	hidden         int
	std, eps       float32
	attnDrop, drop float32

	heads, kvHeads, headDim int
	scale, softCap          float32
	inter                   int
	act                     tensor.UnaryOp
	global, local           *nn.Rotary // local is for layers with a window, where they have frequencies of their own
}

// shape reads the sizes of a layer.
func (l *layerBuilder) shape() {
	c := l.c
	l.heads = c.int("num_attention_heads")
	l.kvHeads = c.intOr("num_key_value_heads", l.heads)
	defaultDim := l.hidden / l.heads
	if l.typ == "gemma2" || l.typ == "gemma3_text" {
		defaultDim = 256
	}
	l.headDim = c.intOr("head_dim", defaultDim)
	if !c.has("head_dim") && defaultDim*l.heads != l.hidden && defaultDim != 256 {
		c.fault("hidden_size", "%d is not divisible by num_attention_heads %d", l.hidden, l.heads)
	}
	if l.heads%l.kvHeads != 0 {
		c.fault("num_key_value_heads", "%d does not divide num_attention_heads %d", l.kvHeads, l.heads)
	}
	l.inter = c.int("intermediate_size")
	l.scale = float32(1 / math.Sqrt(c.floatOr("query_pre_attn_scalar", float64(l.headDim))))
	l.softCap = float32(c.floatOr("attn_logit_softcapping", 0))
	key := "hidden_act"
	if c.has("hidden_activation") {
		key = "hidden_activation"
	}
	l.act = activation(c, key, "silu")
}

// activation maps Hugging Face's name to a kernel.
func activation(c *config, key, fallback string) tensor.UnaryOp {
	name := c.str(key, fallback)
	ops := map[string]tensor.UnaryOp{
		"silu": tensor.OpSiLU, "swish": tensor.OpSiLU, "gelu": tensor.OpGELU, "gelu_python": tensor.OpGELU,
		"gelu_new": tensor.OpGELUTanh, "gelu_pytorch_tanh": tensor.OpGELUTanh, "gelu_fast": tensor.OpGELUTanh,
		"relu": tensor.OpReLU, "tanh": tensor.OpTanh, "sigmoid": tensor.OpSigmoid,
	}
	op, ok := ops[name]
	if !ok {
		c.fault(key, "activation %q is not supported", name)
	}
	return op
}

// tables makes the rotary tables for so many positions.
func (l *layerBuilder) tables(b *nn.Builder, positions int) {
	c := l.c
	p, theta := ropeParams(c, "full_attention")
	partial := p.floatOr("partial_rotary_factor", c.floatOr("partial_rotary_factor", 1))
	dim := int(float64(l.headDim) * partial)
	if dim < 2 || dim%2 != 0 {
		c.fault("head_dim", "%d of %d dimensions would be rotated; needed is a positive even number", dim, l.headDim)
		return
	}
	l.global = &nn.Rotary{Dim: dim, Table: newRope(c, p, theta, dim, positions).table(b, positions)}
	l.local = l.global
	if l.typ != "gemma3_text" {
		return
	}
	lp, ltheta := ropeParams(c, "sliding_attention")
	if !c.has("rope_parameters") {
		// The older spelling scales global layers only and gives local ones a base of their own.
		lp, ltheta = &config{nil, c.path, c.faults}, c.floatOr("rope_local_base_freq", 10000)
	}
	l.local = &nn.Rotary{Dim: dim, Table: newRope(c, lp, ltheta, dim, positions).table(b, positions)}
}

// windows returns each layer's attention window; 0 is unlimited.
func (l *layerBuilder) windows(layers int) []int {
	c := l.c
	w := make([]int, layers)
	window := c.intOr("sliding_window", 0)
	switch l.typ {
	case "llama", "olmo2":
		return w
	case "qwen2", "qwen3":
		if !c.bool("use_sliding_window", false) {
			return w
		}
	}
	if window == 0 {
		return w
	}
	types := c.strings("layer_types")
	if types != nil && len(types) != layers {
		c.fault("layer_types", "has %d entries for %d layers", len(types), layers)
		return w
	}
	pattern := c.intOr("sliding_window_pattern", c.intOr("_sliding_window_pattern", 6))
	for i := range w {
		sliding := true
		switch {
		case types != nil:
			sliding = types[i] == "sliding_attention"
			if !sliding && types[i] != "full_attention" {
				c.fault("layer_types", "%q is not supported", types[i])
			}
		case l.typ == "gemma2":
			sliding = i%2 == 0
		case l.typ == "gemma3_text":
			sliding = (i+1)%pattern != 0
		case l.typ == "qwen2", l.typ == "qwen3":
			sliding = i >= c.intOr("max_window_layers", 28)
		}
		if sliding {
			w[i] = window
		}
	}
	return w
}

func (l *layerBuilder) norm(b *nn.Builder, name string) *nn.Norm {
	if name == "" {
		return nil
	}
	return l.normOf(b, name, l.hidden)
}

func (l *layerBuilder) normOf(b *nn.Builder, name string, dim int) *nn.Norm {
	if l.v.onePlus {
		return b.RMSNorm1p(name, dim, l.eps)
	}
	return b.RMSNorm(name, dim, l.eps)
}

func (l *layerBuilder) layer(b *nn.Builder, window int) llamaLayer {
	v := l.v
	nq, nkv := l.heads*l.headDim, l.kvHeads*l.headDim
	a := &nn.SelfAttention{
		Heads: l.heads, KVHeads: l.kvHeads, HeadDim: l.headDim, Causal: true, Window: window,
		Scale: l.scale, SoftCap: l.softCap, Dropout: l.attnDrop, Rotary: l.global,
	}
	if window > 0 {
		a.Rotary = l.local
	}
	y := llamaLayer{attn: a, act: l.act, drop: l.drop}
	y.preAttn = l.norm(b, v.names[0])
	at := b.At("self_attn")
	if v.fused {
		a.QKV = at.Linear("qkv_proj", l.hidden, nq+2*nkv, v.qkvBias, l.std)
	} else {
		a.Q = at.Linear("q_proj", l.hidden, nq, v.qkvBias, l.std)
		a.K = at.Linear("k_proj", l.hidden, nkv, v.qkvBias, l.std)
		a.V = at.Linear("v_proj", l.hidden, nkv, v.qkvBias, l.std)
	}
	a.Out = at.Linear("o_proj", nq, l.hidden, v.outBias, l.std)
	switch {
	case v.headNorm:
		a.QNorm, a.KNorm = l.normOf(at, "q_norm", l.headDim), l.normOf(at, "k_norm", l.headDim)
	case v.wideNorm:
		a.QNorm, a.KNorm = l.normOf(at, "q_norm", nq), l.normOf(at, "k_norm", nkv)
	}
	y.postAttn, y.preMLP = l.norm(b, v.names[1]), l.norm(b, v.names[2])
	mlp := b.At("mlp")
	if v.fused {
		y.gateUp = mlp.Linear("gate_up_proj", l.hidden, 2*l.inter, v.mlpBias, l.std)
	} else {
		y.gate = mlp.Linear("gate_proj", l.hidden, l.inter, v.mlpBias, l.std)
		y.up = mlp.Linear("up_proj", l.hidden, l.inter, v.mlpBias, l.std)
	}
	y.down = mlp.Linear("down_proj", l.inter, l.hidden, v.mlpBias, l.std)
	y.postMLP = l.norm(b, v.names[3])
	return y
}

func (m *llama) Info() Info { return m.info }
func (m *llama) Head() Head { return m.head }

func (m *llama) Forward(t *autograd.Tape, b *nn.Batch) *autograd.Var {
	x := t.Embedding(m.embed, b.Tokens, m.padding)
	if m.scale != 1 {
		x = t.Scale(embedScale(m.scale, t.ActDType), x)
	}
	x = t.Dropout(m.embedDrop, t.Noise(b.Noise, x))
	for i := range m.layers {
		x = t.Layer(func(in []*autograd.Var) []*autograd.Var {
			return []*autograd.Var{m.layers[i].forward(t, in[0], b, i)}
		}, x)[0]
	}
	return m.norm.Forward(t, x)
}

// embedScale rounds the scale to the activations' type, as Gemma does.
func embedScale(s float32, dt tensor.DType) float32 {
	if dt != tensor.BF16 {
		return s
	}
	u := math.Float32bits(s)
	u += 0x7fff + u>>16&1
	return math.Float32frombits(u &^ 0xffff)
}

func (l *llamaLayer) forward(t *autograd.Tape, x *autograd.Var, b *nn.Batch, layer int) *autograd.Var {
	x = l.block(t, x, l.preAttn, l.postAttn, func(h *autograd.Var) *autograd.Var {
		return l.attn.Forward(t, h, b, layer)
	})
	return l.block(t, x, l.preMLP, l.postMLP, func(h *autograd.Var) *autograd.Var {
		if l.gateUp != nil {
			return l.down.Forward(t, t.GateSplit(l.act, l.gateUp.Forward(t, h)))
		}
		g := nn.Forward(t, h, l.gate, l.up)
		return l.down.Forward(t, t.Gate(l.act, g[0], g[1]))
	})
}

func (l *llamaLayer) block(t *autograd.Tape, x *autograd.Var, pre, post *nn.Norm, f func(*autograd.Var) *autograd.Var) *autograd.Var {
	h := x
	if pre != nil {
		h = pre.Forward(t, h)
	}
	h = f(h)
	if post != nil {
		h = post.Forward(t, h)
	}
	return t.Add(x, t.Dropout(l.drop, h))
}
