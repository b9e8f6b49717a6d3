package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mltrain/mltrain/internal/checkpoint"
	"github.com/mltrain/mltrain/internal/tensor"
)

// edit changes config.json of a model.
func edit(t *testing.T, dir string, change func(c map[string]any)) {
	t.Helper()
	path := filepath.Join(dir, "config.json")
	var c map[string]any
	if err := json.Unmarshal(read(t, path), &c); err != nil {
		t.Fatal(err)
	}
	change(c)
	raw, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, string(raw))
}

// spoil rewrites the weights of a model: one tensor goes missing, one is too many, one has another shape.
func spoil(t *testing.T, dir string) {
	t.Helper()
	r, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out []checkpoint.Tensor
	for _, name := range r.Names() {
		info, _ := r.Info(name)
		b, err := r.Bytes(name)
		if err != nil {
			t.Fatal(err)
		}
		x := checkpoint.Tensor{Name: name, DType: tensor.F32, Shape: info.Shape, Data: bytes.Clone(b)}
		switch name {
		case "model.layers.0.mlp.up_proj.weight":
			continue
		case "model.norm.weight":
			x.Shape = []int{2, info.Shape[0] / 2}
		case "model.layers.1.mlp.down_proj.weight":
			x.DType = tensor.I32
		}
		out = append(out, x)
	}
	out = append(out, checkpoint.Tensor{Name: "model.layers.9.bonus.weight", DType: tensor.F32, Shape: []int{1}, Data: make([]byte, 4)})
	if err := checkpoint.WriteFile(filepath.Join(dir, "model.safetensors"), out, nil); err != nil {
		t.Fatal(err)
	}
}

// Every kind of bad input is one clear error with exit code 1, before anything is written.
func TestBadInput(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	for _, tc := range []struct {
		name  string
		model func(t *testing.T, dir string)
		data  string // contents of the data file; "-" for no such file
		set   []string
		want  []string
	}{
		{name: "misspelt key", set: []string{"learning_rat=1"}, want: []string{"learning_rat", "did you mean", "learning_rate"}},
		{name: "wrong type", set: []string{"max_length=long", "warmup_ratio=x"}, want: []string{"max_length", "long", "warmup_ratio"}},
		{name: "max_length 0", set: []string{"max_length=0"}, want: []string{"max_length", "0"}},
		{name: "no model", model: func(t *testing.T, dir string) { os.RemoveAll(dir) }, want: []string{"no such directory"}},
		{name: "no config", model: func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, "config.json")) }, want: []string{"config.json is missing"}},
		{name: "config without fields", model: func(t *testing.T, dir string) {
			edit(t, dir, func(c map[string]any) { delete(c, "hidden_size"); c["num_attention_heads"] = "six" })
		}, want: []string{"hidden_size: missing", "num_attention_heads: found \"six\""}},
		{name: "another architecture", model: func(t *testing.T, dir string) {
			edit(t, dir, func(c map[string]any) { c["model_type"] = "mamba" })
		}, want: []string{`"mamba"`, "gpt2", "llama"}},
		{name: "unknown rope", model: func(t *testing.T, dir string) {
			edit(t, dir, func(c map[string]any) {
				c["rope_parameters"] = map[string]any{"rope_type": "longrope", "rope_theta": 1e4}
			})
		}, want: []string{`"longrope" is not supported`}},
		{name: "tensors", model: spoil, want: []string{
			"model.layers.0.mlp.up_proj.weight [57 48]: missing", "model.norm.weight: shape [2 24] in the checkpoint, [48]",
			"model.layers.1.mlp.down_proj.weight: type I32", "model.layers.9.bonus.weight [1]: in the checkpoint, but not part",
		}},
		{name: "truncated weights", model: func(t *testing.T, dir string) {
			path := filepath.Join(dir, "model.safetensors")
			write(t, path, string(read(t, path)[:5000]))
		}, want: []string{"model.safetensors"}},
		{name: "hostile header", model: func(t *testing.T, dir string) {
			head := `{"x":{"dtype":"F32","shape":[1152921504606846976,16],"data_offsets":[0,4]}}`
			raw := binary.LittleEndian.AppendUint64(nil, uint64(len(head)))
			write(t, filepath.Join(dir, "model.safetensors"), string(raw)+head+"\x00\x00\x00\x00")
		}, want: []string{"model.safetensors", "x"}},
		{name: "no data file", data: "-", want: []string{"rows.jsonl"}},
		{name: "malformed row", data: "{\"text\": \"good\"}\n{\"text\": bad}\n", want: []string{"rows.jsonl:2"}},
		{name: "unknown shape", data: "{\"question\": \"a\", \"reply\": \"b\"}\n", want: []string{"rows.jsonl:1", "question", "reply", "columns"}},
		{name: "empty data", data: "\n", want: []string{"rows.jsonl"}},
		{name: "all masked", data: "{\"prompt\": \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\", \"completion\": \"b\"}\n", want: []string{"prompt_fills_max_length"}},
		{name: "ids outside the vocabulary", model: func(t *testing.T, dir string) {
			path := filepath.Join(dir, "tokenizer.json")
			write(t, path, strings.Replace(string(read(t, path)), `"z":93`, `"z":193`, 1))
		}, data: "{\"text\": \"buzz\"}\n", want: []string{"193", "rows.jsonl"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			model, dir := testModel(t), t.TempDir()
			if tc.model != nil {
				tc.model(t, model)
			}
			if tc.data == "" {
				tc.data = "{\"text\": \"hello\"}\n"
			}
			data := filepath.Join(dir, "rows.jsonl")
			if tc.data != "-" {
				write(t, data, tc.data)
			}
			out := filepath.Join(dir, "run")
			args := []string{"sft", "--model", model, "--data", data, "--output", out, "--set", "max_length=40"}
			for _, s := range tc.set {
				if strings.HasPrefix(s, "max_length") {
					args = args[:len(args)-2]
				}
				args = append(args, "--set", s)
			}
			code, stdout, stderr := mltrain(t, args...)
			if code != exitFailed || stdout != "" {
				t.Errorf("exit code %d, stdout %q\n%s", code, stdout, stderr)
			}
			for _, w := range tc.want {
				if !strings.Contains(stderr, w) {
					t.Errorf("the message lacks %q:\n%s", w, stderr)
				}
			}
			if _, err := os.Stat(out); err == nil {
				t.Error("the output directory was made")
			}
		})
	}
}

func TestOutputInUseIsRefused(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	model, data, out := testModel(t), sums(t, 8), filepath.Join(t.TempDir(), "run")
	args := []string{"sft", "--model", model, "--data", data, "--output", out, "--max-steps", "1", "--quiet", "--set", "max_length=40"}
	must(t, args...)
	before := read(t, filepath.Join(out, "model.safetensors"))
	code, _, stderr := mltrain(t, append(args, "--set", "learning_rate=0.1")...)
	if code != exitFailed || !strings.Contains(stderr, "--resume") || !strings.Contains(stderr, "--overwrite") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if !bytes.Equal(before, read(t, filepath.Join(out, "model.safetensors"))) {
		t.Error("the refused run changed the model")
	}
	must(t, append(args, "--overwrite", "--set", "learning_rate=0.1")...)
	if bytes.Equal(before, read(t, filepath.Join(out, "model.safetensors"))) {
		t.Error("--overwrite left the old model")
	}
}

func TestNonFiniteLossStopsTheRun(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	model, data, out := testModel(t), sums(t, 8), filepath.Join(t.TempDir(), "run")
	code, _, stderr := mltrain(t, "sft", "--model", model, "--data", data, "--output", out, "--max-steps", "50", "--set", "max_length=40",
		"--set", "learning_rate=1e30", "--set", "optim=sgd", "--set", "max_grad_norm=0", "--set", "lr_scheduler_type=constant")
	if code != exitFailed {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for _, w := range []string{"not a finite number", "sums.jsonl:", "learning_rate"} {
		if !strings.Contains(stderr, w) {
			t.Errorf("the message lacks %q:\n%s", w, stderr)
		}
	}
}
