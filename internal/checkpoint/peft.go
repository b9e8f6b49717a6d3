package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Files of a PEFT adapter.
const (
	AdapterConfigFile = "adapter_config.json"
	AdapterFile       = "adapter_model.safetensors"
)

// ErrNoAdapter: the directory holds no PEFT adapter.
var ErrNoAdapter = errors.New("no adapter")

// StringOrList is a JSON value that is a string or a list of strings, as PEFT's target_modules.
type StringOrList struct {
	Text string
	List []string
}

// MarshalJSON writes the string if there is one, else the list, or null.
func (s StringOrList) MarshalJSON() ([]byte, error) {
	switch {
	case s.Text != "":
		return json.Marshal(s.Text)
	case s.List != nil:
		return json.Marshal(s.List)
	}
	return []byte("null"), nil
}

// UnmarshalJSON reads a string, a list of strings or null.
func (s *StringOrList) UnmarshalJSON(b []byte) error {
	*s = StringOrList{}
	switch {
	case bytes.Equal(b, []byte("null")):
		return nil
	case len(b) > 0 && b[0] == '"':
		return json.Unmarshal(b, &s.Text)
	}
	return json.Unmarshal(b, &s.List)
}

// AdapterConfig is adapter_config.json: the fields of PEFT's LoraConfig that mltrain acts on. The struct's fields stand in
// the order of their keys, as PEFT sorts them.
type AdapterConfig struct {
	AlphaPattern      map[string]float64 `json:"alpha_pattern"`
	BaseModel         string             `json:"base_model_name_or_path"`
	Bias              string             `json:"bias"`
	ExcludeModules    StringOrList       `json:"exclude_modules"`
	FanInFanOut       bool               `json:"fan_in_fan_out"`
	InferenceMode     bool               `json:"inference_mode"`
	InitLoraWeights   any                `json:"init_lora_weights"`
	LayersToTransform ints               `json:"layers_to_transform"`
	LoraAlpha         float64            `json:"lora_alpha"`
	LoraDropout       float64            `json:"lora_dropout"`
	ModulesToSave     []string           `json:"modules_to_save"`
	PeftType          string             `json:"peft_type"`
	R                 int                `json:"r"`
	RankPattern       map[string]int     `json:"rank_pattern"`
	TargetModules     StringOrList       `json:"target_modules"`
	TaskType          string             `json:"task_type"`
	TokenIndices      TokenIndices       `json:"trainable_token_indices"`
	UseDora           bool               `json:"use_dora"`
	UseRslora         bool               `json:"use_rslora"`
}

// ints is a list of numbers that PEFT also writes as one number.
type ints []int

// UnmarshalJSON reads a list, a number or null.
func (l *ints) UnmarshalJSON(b []byte) error {
	*l = nil
	if len(b) > 0 && b[0] != '[' && !bytes.Equal(b, []byte("null")) {
		b = slices.Concat([]byte("["), b, []byte("]"))
	}
	return json.Unmarshal(b, (*[]int)(l))
}

// TokenIndices are the ids of the tokens whose embeddings are trained: of the module of that name, or of the model's own
// embedding if it is "".
type TokenIndices struct {
	Module string
	IDs    []int
}

// MarshalJSON writes a list, an object of one list, or null.
func (t TokenIndices) MarshalJSON() ([]byte, error) {
	if t.Module != "" {
		return json.Marshal(map[string][]int{t.Module: t.IDs})
	}
	return json.Marshal(t.IDs)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (t *TokenIndices) UnmarshalJSON(b []byte) error {
	*t = TokenIndices{}
	if len(b) == 0 || b[0] != '{' {
		return json.Unmarshal(b, &t.IDs)
	}
	var m map[string][]int
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	if len(m) > 1 {
		return fmt.Errorf("trainable_token_indices names %d modules; only one is supported", len(m))
	}
	for t.Module, t.IDs = range m {
	}
	return nil
}

// withoutEffect are keys of LoraConfig that say nothing about what an adapter computes.
var withoutEffect = []string{
	"auto_mapping", "peft_version", "revision", "megatron_core", "ensure_weight_tying", "layers_pattern", "loftq_config", "eva_config", "corda_config",
	"lora_ga_config", "qalora_group_size",
}

// ReadAdapterConfig reads the adapter_config.json of a directory. Options of PEFT that would change the result and that mltrain
// does not have are refused by name, all at once. The error wraps ErrNoAdapter if there is none.
func ReadAdapterConfig(dir string) (*AdapterConfig, error) {
	path := filepath.Join(dir, AdapterConfigFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w: %s is missing", dir, ErrNoAdapter, AdapterConfigFile)
	}
	if err != nil {
		return nil, err
	}
	c, err := ParseAdapterConfig(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// changesBase are the beginnings of values of init_lora_weights with which PEFT changes the base model when it loads an adapter, and
// that mltrain does not know how to follow.
var changesBase = []string{"olora", "corda", "loftq", "lora_ga"}

// ParseAdapterConfig reads the text of an adapter_config.json: see ReadAdapterConfig.
func ParseAdapterConfig(text []byte) (*AdapterConfig, error) {
	members, err := objectMembers(text)
	if err != nil {
		return nil, err
	}
	c := &AdapterConfig{Bias: "none"}
	if err := json.Unmarshal(text, c); err != nil {
		return nil, err
	}
	var f []string
	if c.PeftType != "LORA" {
		f = append(f, fmt.Sprintf("peft_type is %q; only LORA is supported", c.PeftType))
	}
	if c.R < 1 {
		f = append(f, fmt.Sprintf("r is %d; needed is 1 or more", c.R))
	}
	if !(math.Abs(c.LoraAlpha) <= math.MaxFloat32) || !(c.LoraDropout >= 0 && c.LoraDropout < 1) {
		f = append(f, fmt.Sprintf("lora_alpha %g, lora_dropout %g: needed are a float32 and a number from 0 to below 1", c.LoraAlpha, c.LoraDropout))
	}
	for _, k := range slices.Sorted(maps.Keys(c.RankPattern)) {
		if c.RankPattern[k] < 1 {
			f = append(f, fmt.Sprintf("rank_pattern: %s is %d; needed is 1 or more", k, c.RankPattern[k]))
		}
	}
	for _, l := range c.LayersToTransform {
		if l < 0 {
			f = append(f, fmt.Sprintf("layers_to_transform: layers count from 0, found %d", l))
		}
	}
	switch v := c.InitLoraWeights.(type) {
	case nil, bool:
	case string:
		if slices.ContainsFunc(changesBase, func(p string) bool { return strings.HasPrefix(v, p) }) {
			f = append(f, fmt.Sprintf("init_lora_weights is %q, which changes the base model and is not supported; have PEFT convert it to a plain LoRA adapter", v))
		}
	default:
		f = append(f, fmt.Sprintf("init_lora_weights is %v; needed is true, false or a name", v))
	}
	known, err := adapterKeys()
	if err != nil {
		return nil, err
	}
	for _, m := range members {
		idle := slices.Contains([]string{"null", "false", "{}", "[]", `""`, "0"}, string(bytes.Join(bytes.Fields(m.Value), nil)))
		if !idle && !slices.Contains(known, m.Key) && !slices.Contains(withoutEffect, m.Key) {
			f = append(f, fmt.Sprintf("%s is %s, which is not supported", m.Key, m.Value))
		}
	}
	if len(f) > 0 {
		return nil, errors.New(strings.Join(f, "; "))
	}
	return c, nil
}

// adapterKeys lists the keys of AdapterConfig.
func adapterKeys() ([]string, error) {
	text, err := json.Marshal(AdapterConfig{})
	if err != nil {
		return nil, err
	}
	members, err := objectMembers(text)
	keys := make([]string, len(members))
	for i, m := range members {
		keys[i] = m.Key
	}
	return keys, err
}

// OpenAdapter opens the tensors of a PEFT adapter directory.
func OpenAdapter(dir string) (*Reader, error) {
	path := filepath.Join(dir, AdapterFile)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Join(dir, "adapter_model.bin")); err == nil {
			return nil, fmt.Errorf("%s: %w: it holds pickled weights (adapter_model.bin), which can run code when loaded and are not read; save it from PEFT with safe_serialization", dir, ErrNoAdapter)
		}
		return nil, fmt.Errorf("%s: %w: %s is missing", dir, ErrNoAdapter, AdapterFile)
	}
	return OpenFile(path)
}

// SaveAdapter writes a PEFT adapter into the directory dst, which is made if need be: adapter_config.json with sorted keys and
// the tensors as adapter_model.safetensors, each under a temporary name first, the tensors last; and, for whoever loads the
// adapter, the tokenizer and chat template of srcDir.
func SaveAdapter(dst, srcDir string, c *AdapterConfig, tensors []Tensor) error {
	if err := os.MkdirAll(dst, 0o777); err != nil {
		return fmt.Errorf("save adapter: %w", hint(err))
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(c); err != nil {
		return fmt.Errorf("save adapter: %w", err)
	}
	for _, name := range tokenizerFiles {
		b, err := os.ReadFile(filepath.Join(srcDir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = WriteAtomic(filepath.Join(dst, name), writeAll(b))
		}
		if err != nil {
			return fmt.Errorf("save adapter: copy %s: %w", name, err)
		}
	}
	if err := WriteAtomic(filepath.Join(dst, AdapterConfigFile), writeAll(text.Bytes())); err != nil {
		return fmt.Errorf("save adapter: %w", err)
	}
	if err := WriteFile(filepath.Join(dst, AdapterFile), tensors, map[string]string{"format": "pt"}); err != nil {
		return fmt.Errorf("save adapter: %w", err)
	}
	return nil
}

// tokenizerFiles are what goes along with an adapter.
var tokenizerFiles = []string{"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "tokenizer.model", "chat_template.jinja"}
