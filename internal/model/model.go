// Package model builds transformer models from a Hugging Face config.json: one file per family, forward code only.
//
// A family is a function from config.json to a Model. It asks the nn.Builder for its layers by the names that Hugging
// Face gives the parameters and never learns whether a layer is dense, quantised, adapted or frozen. To add an
// architecture, write its file and list it in families.
package model

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mltrain/mltrain/internal/autograd"
	"github.com/mltrain/mltrain/internal/nn"
)

// Model maps tokens to hidden states.
type Model interface {
	// Forward computes the hidden states [T,C] that the head takes: after the last norm.
	Forward(t *autograd.Tape, b *nn.Batch) *autograd.Var
	// Head returns the projection to the vocabulary, or to the score (Options.Score).
	Head() Head
	// Info describes the model.
	Info() Info
}

// Head is the language-model head: logits = softcap(x·Wᵀ).
type Head struct {
	W       *autograd.Param
	SoftCap float32
}

// Info is what others need to know about a model's shape.
type Info struct {
	Type         string // model_type
	VocabSize    int
	HiddenSize   int
	Layers       int
	KVDim        int // elements of a token's keys (and of its values) in one layer
	MaxPositions int // max_position_embeddings
	// LearnedPositions: positions beyond MaxPositions do not exist. With rotary positions they are only untrained.
	LearnedPositions bool
	// TiedHead: the head is the token embedding.
	TiedHead bool
}

// Options are what a run decides about a model, beside its config.json.
type Options struct {
	// Positions is the largest number of positions that a sequence will have: tables are made for that many. 0 means
	// max_position_embeddings.
	Positions int
	// Dropout overrides the dropout probabilities of config.json.
	Dropout Dropout
	// Score makes a reward model: the head is score.weight [1,C], without bias, instead of the language model's. It is drawn at
	// random if the checkpoint has none.
	Score bool
}

// Dropout holds probabilities by place; nil keeps config.json's.
type Dropout struct{ Attention, Residual, Embedding *float32 }

// NoDropout switches all dropout off.
func NoDropout() Dropout {
	var p float32
	return Dropout{&p, &p, &p}
}

// probability reads a dropout probability of config.json unless it is overridden.
func probability(c *config, override *float32, key string, def float64) float32 {
	if override != nil {
		return *override
	}
	return float32(c.floatOr(key, def))
}

type family struct {
	types []string // values of model_type
	build func(*nn.Builder, *config, Options) Model
}

func families() []family {
	return []family{
		{[]string{"llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text", "gemma3", "phi3", "olmo2"}, newLlama},
		{[]string{"gpt2"}, newGPT2},
	}
}

// Supported lists the values of model_type that New knows.
func Supported() []string {
	var types []string
	for _, f := range families() {
		types = append(types, f.types...)
	}
	slices.Sort(types)
	return types
}

// ErrUnsupported is matched by errors about an architecture that mltrain does not have.
var ErrUnsupported = errors.New("unsupported architecture")

// New builds the model that config.json describes. Faults of the configuration are reported together; faults of the
// checkpoint's tensors are collected by the Builder.
func New(configJSON []byte, b *nn.Builder, opts Options) (Model, error) {
	c, err := parseConfig(configJSON)
	if err != nil {
		return nil, err
	}
	typ := c.str("model_type", "")
	if class := scoreClass(c); class != "" && !opts.Score {
		return nil, fmt.Errorf("config.json: %w (%s)", ErrReward, class)
	}
	if b.Task() == nn.TaskScore && !opts.Score {
		return nil, fmt.Errorf("adapter: %w (task_type %s)", ErrReward, nn.TaskScore)
	}
	for _, f := range families() {
		if !slices.Contains(f.types, typ) {
			continue
		}
		m := f.build(b, c, opts)
		if err := c.err(); err != nil {
			return nil, err
		}
		return m, nil
	}
	if typ == "" {
		return nil, fmt.Errorf("config.json: model_type is missing; needed is one of %s", strings.Join(Supported(), ", "))
	}
	return nil, fmt.Errorf("config.json: %w: model_type %q; supported are %s", ErrUnsupported, typ, strings.Join(Supported(), ", "))
}

// ignored matches tensors that checkpoints carry and no model needs: buffers that are constants.
var ignored = nn.Matcher("rotary_emb.inv_freq", ".attn.masked_bias", "attn.bias")

// Ignored tells whether a tensor of a checkpoint is a constant that models compute themselves.
func Ignored(name string) bool {
	return ignored(name) && !strings.Contains(name, "c_attn")
}
