package model

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mltrain/mltrain/internal/nn"
)

// ErrReward is matched by the error about a reward model where a language model is needed.
var ErrReward = errors.New("a reward model scores text and has no words of its own; train it with mltrain reward, use it with transformers")

// scoreSuffix ends the names of the classes of transformers that score a sequence.
const scoreSuffix = "ForSequenceClassification"

// scoreHead is the head of a reward model, as in transformers' classes …ForSequenceClassification with one label.
func scoreHead(b *nn.Builder, hidden int, std float32) Head {
	return Head{W: &b.Root().At("score").OptionalParam("weight", nn.Init{Std: std}, 1, hidden).Param}
}

// scoreClass returns the class of a model that scores sequences, "" if c does not describe one.
func scoreClass(c *config) string {
	list, ok := c.fields["architectures"].([]any)
	if !ok {
		return ""
	}
	for _, a := range list {
		if name, ok := a.(string); ok && strings.HasSuffix(name, scoreSuffix) {
			return name
		}
	}
	return ""
}

// Scores tells whether config.json describes a model that scores sequences.
func Scores(configJSON []byte) bool {
	c, err := parseConfig(configJSON)
	return err == nil && scoreClass(c) != ""
}

// scoreClasses maps model_type to the name before scoreSuffix.
func scoreClasses() map[string]string {
	return map[string]string{
		"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3", "gemma2": "Gemma2", "gemma3_text": "Gemma3Text",
		"phi3": "Phi3", "olmo2": "Olmo2", "gpt2": "GPT2",
	}
}

// RewardConfig returns what the config.json of a reward model says otherwise than that of the model it was made from, for
// transformers' AutoModelForSequenceClassification. pad is the token that fills up sequences: the score is that of the last
// token other than it.
func RewardConfig(configJSON []byte, pad int32) (map[string]any, error) {
	c, err := parseConfig(configJSON)
	if err != nil {
		return nil, err
	}
	typ := c.str("model_type", "")
	class, ok := scoreClasses()[typ]
	if !ok {
		return nil, fmt.Errorf("config.json: %w: no reward models of model_type %q; there are of %s", ErrUnsupported, typ, strings.Join(slices.Sorted(maps.Keys(scoreClasses())), ", "))
	}
	return map[string]any{
		"architectures": []string{class + scoreSuffix}, "num_labels": 1, "pad_token_id": pad,
		"id2label": map[string]string{"0": "LABEL_0"}, "label2id": map[string]int{"LABEL_0": 0},
	}, nil
}
