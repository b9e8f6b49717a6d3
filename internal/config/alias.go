package config

import (
	"strconv"

	"gopkg.in/yaml.v3"
)

// assign is a canonical key with the value that another name gives it.
type assign struct {
	key  string
	node *yaml.Node
}

// macro is a name of axolotl's, LLaMA-Factory's or an older transformers' that
// is no mere renaming: it inverts a value, or stands for several keys.
type macro struct {
	alias  string
	doc    string
	enum   []string // the texts allowed; nil when the value is no text
	typ    string   // JSON type for the schema
	expand func(n *yaml.Node) ([]assign, error)
}

func macros() []macro {
	return []macro{
		{
			alias: "train_on_inputs", typ: "boolean",
			doc: "The inverse of assistant_only_loss and completion_only_loss (axolotl, LLaMA-Factory).",
			expand: func(n *yaml.Node) ([]assign, error) {
				b, err := boolOf(n)
				only := boolNode(n, !b)
				return []assign{{"assistant_only_loss", only}, {"completion_only_loss", only}}, err
			},
		},
		{
			alias: "adapter", typ: "string", enum: []string{"lora", "qlora"},
			doc: "lora sets use_peft; qlora sets load_in_4bit too (axolotl).",
			expand: func(n *yaml.Node) ([]assign, error) {
				switch n.Value {
				case "lora":
					return []assign{{"use_peft", boolNode(n, true)}}, nil
				case "qlora":
					return []assign{{"use_peft", boolNode(n, true)}, {"load_in_4bit", boolNode(n, true)}}, nil
				}
				return nil, expected(n, "one of lora, qlora (for full fine-tuning leave the key out)")
			},
		},
		{
			alias: "finetuning_type", typ: "string", enum: []string{"lora", "full"},
			doc: "lora sets use_peft, full clears it (LLaMA-Factory).",
			expand: func(n *yaml.Node) ([]assign, error) {
				switch n.Value {
				case "lora", "full":
					return []assign{{"use_peft", boolNode(n, n.Value == "lora")}}, nil
				case "freeze":
					return nil, wrong(n, "freeze is known, but not supported under this key; give patterns with freeze or unfreeze")
				case "oft":
					return nil, wrong(n, "oft is known, but not supported yet; use lora")
				}
				return nil, expected(n, "one of lora, full")
			},
		},
		{
			alias: "quantization_bit", typ: "integer",
			doc: "4 sets load_in_4bit (LLaMA-Factory).",
			expand: func(n *yaml.Node) ([]assign, error) {
				switch f, ok := float(n); {
				case ok && f == 4:
					return []assign{{"load_in_4bit", boolNode(n, true)}}, nil
				case ok && f == 8:
					return nil, wrong(n, "8 bits are known, but not supported yet; use 4")
				}
				return nil, expected(n, "4")
			},
		},
		{
			alias: "lora_target_linear", typ: "boolean",
			doc: "true sets lora_target_modules to all-linear (axolotl).",
			expand: func(n *yaml.Node) ([]assign, error) {
				b, err := boolOf(n)
				if !b {
					return nil, err
				}
				return []assign{{"lora_target_modules", textNode(n, AllLinear)}}, nil
			},
		},
		{
			alias: "group_by_length", typ: "boolean",
			doc: "true sets train_sampling_strategy to group_by_length.",
			expand: func(n *yaml.Node) ([]assign, error) {
				b, err := boolOf(n)
				if !b {
					return nil, err
				}
				return []assign{{"train_sampling_strategy", textNode(n, "group_by_length")}}, nil
			},
		},
		{
			alias: "use_cpu", typ: "boolean",
			doc: "true sets device to cpu.",
			expand: func(n *yaml.Node) ([]assign, error) {
				b, err := boolOf(n)
				if !b {
					return nil, err
				}
				return []assign{{"device", textNode(n, "cpu")}}, nil
			},
		},
		{
			alias: "rpo_alpha", typ: "number",
			doc: "The weight of the sft loss beside the sigmoid loss: loss_type [sigmoid, sft], loss_weights [1, rpo_alpha].",
			expand: func(n *yaml.Node) ([]assign, error) {
				if _, ok := float(n); !ok {
					return nil, expected(n, "a number")
				}
				return []assign{
					{"loss_type", listNode(n, textNode(n, "sigmoid"), textNode(n, "sft"))},
					{"loss_weights", listNode(n, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: "1", Line: n.Line}, n)},
				}, nil
			},
		},
	}
}

// valueAliases holds other names of values, by key. They mean the same thing
// under a name that comes from another program or an older release.
func valueAliases() map[string]map[string]string {
	return map[string]map[string]string{
		"optim": {
			"adamw_torch": "adamw", "adamw_torch_fused": "adamw", "adamw_hf": "adamw",
			"adamw_bnb_8bit": "adamw_8bit", "lion_32bit": "lion",
		},
		"lr_scheduler_type": {"warmup_stable_decay": "wsd"},
		"dtype": {
			"float": "float32", "fp32": "float32", "bf16": "bfloat16", "fp16": "float16", "half": "float16",
		},
		"bnb_4bit_compute_dtype": {"fp32": "float32", "bf16": "bfloat16"},
		"datasets[].type": {
			"completion": "text", "chat_template": "messages", "sharegpt": "conversations",
		},
		"loss_type": {"aot_pair": "aot_unpaired"},
	}
}

func scalarNode(text string) *yaml.Node {
	var n yaml.Node
	n.SetString(text)
	// Let the text decide what it is, as in a file.
	n.Tag = ""
	n.Tag = n.ShortTag()
	return &n
}

func boolNode(at *yaml.Node, b bool) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(b), Line: at.Line}
}

func textNode(at *yaml.Node, s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s, Line: at.Line}
}

func listNode(at *yaml.Node, items ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Content: items, Line: at.Line}
}
