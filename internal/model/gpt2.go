package model

import (
	"math"
	"strconv"

	"github.com/mltrain/mltrain/internal/autograd"
	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/tensor"
)

// gpt2 is GPT-2: LayerNorm, learned positions, a fused query-key-value projection and GELU, with weights stored [in,out].
type gpt2 struct {
	info              Info
	tokens, positions *autograd.Param
	embedDrop         float32
	layers            []gpt2Layer
	norm              *nn.Norm
	head              Head
}

type gpt2Layer struct {
	norm1, norm2 *nn.Norm
	attn         *nn.SelfAttention
	fc, proj     nn.Linear
	act          tensor.UnaryOp
	drop         float32
}

func itoa(i int) string { return strconv.Itoa(i) }

func newGPT2(b *nn.Builder, c *config, opts Options) Model {
	m := &gpt2{}
	hidden, heads := c.int("n_embd"), c.int("n_head")
	positions := c.intOr("n_positions", c.intOr("n_ctx", 1024))
	m.info = Info{
		Type: "gpt2", VocabSize: c.int("vocab_size"), HiddenSize: hidden, Layers: c.int("n_layer"), KVDim: hidden,
		MaxPositions: positions, LearnedPositions: true, TiedHead: c.bool("tie_word_embeddings", true),
	}
	if hidden%heads != 0 {
		c.fault("n_embd", "%d is not divisible by n_head %d", hidden, heads)
	}
	if opts.Positions > positions {
		c.fault("n_positions", "the model has %d positions; sequences of %d do not fit", positions, opts.Positions)
	}
	c.refuse("add_cross_attention", false)
	c.refuse("scale_attn_weights", true)
	c.refuse("scale_attn_by_inverse_layer_idx", false)
	std := float32(c.floatOr("initializer_range", 0.02))
	// The projections back into the residual stream start smaller, by √(2·layers): Radford et al., 2019.
	projStd := std / float32(math.Sqrt(2*float64(m.info.Layers)))
	eps := float32(c.floatOr("layer_norm_epsilon", 1e-5))
	act := activation(c, "activation_function", "gelu_new")
	inner := c.intOr("n_inner", 4*hidden)

	b.Optional("transformer.")
	at := b.At("transformer")
	m.embedDrop = probability(c, opts.Dropout.Embedding, "embd_pdrop", 0.1)
	m.tokens = at.Embedding("wte", m.info.VocabSize, hidden, std)
	m.positions = at.Embedding("wpe", positions, hidden, std)
	for i := range m.info.Layers {
		h := at.At("h").At(itoa(i))
		l := gpt2Layer{norm1: h.LayerNorm("ln_1", hidden, eps), act: act, drop: probability(c, opts.Dropout.Residual, "resid_pdrop", 0.1)}
		l.attn = &nn.SelfAttention{
			Heads: heads, KVHeads: heads, HeadDim: hidden / heads, Causal: true,
			Scale: float32(1 / math.Sqrt(float64(hidden/heads))), Dropout: probability(c, opts.Dropout.Attention, "attn_pdrop", 0.1),
			QKV: h.At("attn").Conv1D("c_attn", hidden, 3*hidden, std),
			Out: h.At("attn").Conv1D("c_proj", hidden, hidden, projStd),
		}
		l.norm2 = h.LayerNorm("ln_2", hidden, eps)
		l.fc = h.At("mlp").Conv1D("c_fc", hidden, inner, std)
		l.proj = h.At("mlp").Conv1D("c_proj", inner, hidden, projStd)
		m.layers = append(m.layers, l)
	}
	m.norm = at.LayerNorm("ln_f", hidden, eps)
	m.head = Head{W: m.tokens}
	root := b.Root().At("lm_head")
	switch {
	case opts.Score:
		root.Skip("weight")
		m.head, m.info.TiedHead = scoreHead(b, hidden, std), false
	case m.info.TiedHead:
		root.Skip("weight")
	default:
		m.head.W = &root.Param("weight", nn.Init{Std: std}, m.info.VocabSize, hidden).Param
	}
	return m
}

func (m *gpt2) Info() Info { return m.info }
func (m *gpt2) Head() Head { return m.head }

func (m *gpt2) Forward(t *autograd.Tape, b *nn.Batch) *autograd.Var {
	x := t.Add(t.Noise(b.Noise, t.Embedding(m.tokens, b.Tokens, -1)), t.Embedding(m.positions, b.Positions, -1))
	x = t.Dropout(m.embedDrop, x)
	for i := range m.layers {
		x = t.Layer(func(in []*autograd.Var) []*autograd.Var {
			return []*autograd.Var{m.layers[i].forward(t, in[0], b, i)}
		}, x)[0]
	}
	return m.norm.Forward(t, x)
}

func (l *gpt2Layer) forward(t *autograd.Tape, x *autograd.Var, b *nn.Batch, layer int) *autograd.Var {
	h := l.attn.Forward(t, l.norm1.Forward(t, x), b, layer)
	x = t.Add(x, t.Dropout(l.drop, h))
	h = t.Unary(l.act, 0, l.fc.Forward(t, l.norm2.Forward(t, x)))
	return t.Add(x, t.Dropout(l.drop, l.proj.Forward(t, h)))
}
