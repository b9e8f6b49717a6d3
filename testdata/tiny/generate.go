// Command tiny writes testdata/tiny: in model a Llama of 40,000 random parameters over single characters, and
// beside it additions to train it on.
//
//	go run testdata/tiny/generate.go testdata/tiny
//
// The result is the same to the byte each time.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/mltrain/mltrain/internal/checkpoint"
	"github.com/mltrain/mltrain/internal/cpu"
	"github.com/mltrain/mltrain/internal/model"
	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/tensor"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: tiny DIR")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(root string) error {
	dir := filepath.Join(root, "model")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	config := map[string]any{
		"architectures": []string{"LlamaForCausalLM"}, "model_type": "llama", "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2,
		"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000,
		"vocab_size": 98, "tie_word_embeddings": true, "hidden_act": "silu", "initializer_range": 0.06, "torch_dtype": "float32",
		"bos_token_id": 1, "eos_token_id": 2,
	}
	configJSON, err := writeJSON(filepath.Join(dir, "config.json"), config)
	if err != nil {
		return err
	}
	if err := weights(dir, configJSON); err != nil {
		return err
	}
	if err := tokenizer(dir); err != nil {
		return err
	}
	return sums(filepath.Join(root, "sums.jsonl"))
}

func writeJSON(path string, v any) ([]byte, error) {
	raw, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return nil, err
	}
	return raw, os.WriteFile(path, append(raw, '\n'), 0o666)
}

// weights draws the parameters as the family initialises them.
func weights(dir string, configJSON []byte) error {
	b := cpu.New()
	builder := nn.NewBuilder(nn.Options{})
	if _, err := model.New(configJSON, builder, model.Options{}); err != nil {
		return err
	}
	store, err := builder.Load(b, 1)
	if err != nil {
		return err
	}
	defer store.Close()
	var out []checkpoint.Tensor
	for _, w := range store.Weights {
		out = append(out, checkpoint.Tensor{Name: w.Name, DType: tensor.F32, Shape: w.Shape, Write: func(wr io.Writer) error {
			raw := make([]byte, w.Value.Bytes())
			if err := b.Download(raw, w.Value); err != nil {
				return err
			}
			_, err := wr.Write(raw)
			return err
		}})
	}
	return checkpoint.WriteFile(filepath.Join(dir, "model.safetensors"), out, map[string]string{"format": "pt"})
}

// tokenizer has a token for every printable ASCII character.
func tokenizer(dir string) error {
	special := []string{"<unk>", "<s>", "</s>"}
	vocab := map[string]int{}
	var added []map[string]any
	for i, s := range special {
		vocab[s] = i
		added = append(added, map[string]any{
			"id": i, "content": s, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true,
		})
	}
	for c := ' '; c <= '~'; c++ {
		vocab[string(c)] = len(vocab)
	}
	if _, err := writeJSON(filepath.Join(dir, "tokenizer.json"), map[string]any{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": added, "normalizer": nil, "pre_tokenizer": nil,
		"post_processor": nil, "decoder": map[string]any{"type": "Fuse"},
		"model": map[string]any{"type": "BPE", "unk_token": "<unk>", "vocab": vocab, "merges": []string{}},
	}); err != nil {
		return err
	}
	_, err := writeJSON(filepath.Join(dir, "tokenizer_config.json"), map[string]any{
		"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>",
		"model_max_length": 128,
	})
	return err
}

// sums writes every addition of two digits once, in random order, but for some that are kept to try the model on.
func sums(path string) error {
	rng := rand.New(rand.NewPCG(1, 1))
	var rows []byte
	for _, i := range rng.Perm(100) {
		x, y := i/10, i%10
		if (x*3+y)%17 == 0 {
			continue
		}
		row, err := json.Marshal(map[string]string{"prompt": fmt.Sprintf("%d+%d=", x, y), "completion": fmt.Sprint(x + y)})
		if err != nil {
			return err
		}
		rows = append(append(rows, row...), '\n')
	}
	return os.WriteFile(path, rows, 0o666)
}
