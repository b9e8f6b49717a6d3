package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// Adapters of every start and learning rate train on from a checkpoint to the same bytes as without a stop, and their files work
// with the model as it is.
func TestAdapterRunsResumeExactly(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	model, data := testModel(t), sums(t, 40)
	for _, set := range [][]string{
		{"init_lora_weights=pissa"}, {"init_lora_weights=pissa_niter_4", "use_rslora=true"}, {"loraplus_lr_ratio=8"}, {"layers_to_transform=[1]"}, {"trainable_token_indices=[5, 20]"}, {"trainable_token_indices=[5, 20]", "bf16=true"}, {"init_lora_weights=gaussian", "use_dora=true", "lora_r=2"},
	} {
		t.Run(strings.Join(set, " "), func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "run")
			args := func(out string, more ...string) []string {
				a := []string{"lora", "--model", model, "--data", data, "--output", out, "--max-steps", "6", "--quiet", "--set", "max_length=40",
					"--set", "lora_r=4", "--set", "lora_dropout=0.1", "--set", "save_steps=2", "--set", "learning_rate=0.003"}
				for _, s := range set {
					a = append(a, "--set", s)
				}
				return append(a, more...)
			}
			must(t, args(out)...)
			resumed := filepath.Join(t.TempDir(), "resumed")
			must(t, args(resumed, "--resume="+filepath.Join(out, "checkpoint-2"))...)
			if !bytes.Equal(read(t, filepath.Join(out, "adapter_model.safetensors")), read(t, filepath.Join(resumed, "adapter_model.safetensors"))) {
				t.Error("the resumed run ended with another adapter")
			}
			generate := []string{"generate", "--model", model, "--adapter", out, "--prompt", "1 + 1 = ", "--max-new-tokens", "30", "--temperature", "1", "--device", "cpu", "--json"}
			if with, without := must(t, generate...), must(t, append(generate, "--num-assistant-tokens", "0")...); with != without {
				t.Errorf("with drafts %s, without %s", with, without)
			}
		})
	}
}

// PEFT refuses layers_to_transform beside "all-linear": the file names the modules.
func TestAllLinearOfSomeLayersIsWrittenAsAList(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	model, out := testModel(t), filepath.Join(t.TempDir(), "run")
	must(t, "lora", "--model", model, "--data", sums(t, 20), "--output", out, "--max-steps", "2", "--quiet", "--set", "max_length=40", "--set", "lora_r=4",
		"--set", "layers_to_transform=[1]", "--set", "save_steps=1")
	var c struct {
		Targets []string `json:"target_modules"`
		Layers  []int    `json:"layers_to_transform"`
	}
	if err := json.Unmarshal(read(t, filepath.Join(out, "adapter_config.json")), &c); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(c.Targets, " "); got != "down_proj gate_proj k_proj o_proj q_proj up_proj v_proj" || len(c.Layers) != 1 || c.Layers[0] != 1 {
		t.Errorf("%+v", c)
	}
	must(t, "generate", "--model", model, "--adapter", out, "--prompt", "1 + 1 = ", "--max-new-tokens", "2")
}

// Each bad adapter is one clear error with exit code 1.
func TestAdapterBadInput(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	model, data := testModel(t), sums(t, 20)
	run := filepath.Join(t.TempDir(), "run")
	lora := func(out string, more ...string) []string {
		return append([]string{"lora", "--model", model, "--data", data, "--output", out, "--max-steps", "2", "--set", "max_length=40", "--set", "save_steps=1"}, more...)
	}
	must(t, lora(run, "--set", "lora_r=4", "--quiet")...)
	other, text := testModelOf(t, "qwen2"), filepath.Join(t.TempDir(), "text.jsonl")
	write(t, text, `{"text": "1 + 1 = 2"}`)
	anotherBase := []string{"layers.0.self_attn.q_proj.lora_A.weight: shape [4 48] in the adapter, [4 32] by the model", "made for another base", "so too in 1 other layer)"}
	// The header of a file in fp4 is as long as that of one in nf4.
	fp4 := testModelOf(t, "../bnb/llama")
	weights := filepath.Join(fp4, "model.safetensors")
	write(t, weights, strings.ReplaceAll(string(read(t, weights)), `"quant_type": "nf4"`, `"quant_type": "fp4"`))
	fp4State := []string{"model.layers.0.mlp.down_proj.weight: quant_type \"fp4\" is not supported; only nf4 is", "model.layers.1.self_attn.v_proj.weight"}
	for _, tc := range []struct {
		name string
		args []string
		want []string
	}{
		{"resumed with another rank", lora(run, "--resume", "--set", "lora_r=8"), []string{"q_proj.lora_A.weight: shape [4 48] in the adapter, [8 48]", "another rank"}},
		{"resumed with other targets", lora(run, "--resume", "--set", "lora_r=4", "--set", "lora_target_modules=q_proj,v_proj"), []string{"k_proj.lora_A.weight", "not part of this model"}},
		{"resumed as dora", lora(run, "--resume", "--set", "lora_r=4", "--set", "use_dora=true"), []string{"lora_magnitude_vector [48]: missing"}},
		{"targets that match nothing", lora(t.TempDir()+"/x", "--set", "lora_target_modules=query"), []string{"nothing in the model matches query", "q_proj"}},
		{"rank above a side", lora(t.TempDir()+"/x", "--set", "lora_r=1000"), []string{"rank 1000 is larger than a side"}},
		{"whole training in 4 bits", []string{"sft", "--model", model, "--data", data, "--output", t.TempDir() + "/x", "--set", "max_length=40", "--set", "load_in_4bit=true"}, []string{"load_in_4bit", "use_peft"}},
		{"another 4-bit type", lora(t.TempDir()+"/x", "--set", "load_in_4bit=true", "--set", "bnb_4bit_quant_type=fp4"), []string{"bnb_4bit_quant_type", "fp4", "nf4"}},
		{"pissa in 4 bits", lora(t.TempDir()+"/x", "--set", "init_lora_weights=pissa", "--set", "load_in_4bit=true"), []string{"init_lora_weights", "4 bits"}},
		{"pissa with dora", lora(t.TempDir()+"/x", "--set", "init_lora_weights=pissa", "--set", "use_dora=true"), []string{"init_lora_weights", "use_dora"}},
		{"tokens that are not there", lora(t.TempDir()+"/x", "--set", "trainable_token_indices=[5, 5000]"), []string{"trainable_token_indices: 5000", "0 to"}},
		{"another base, to generate", []string{"generate", "--model", other, "--adapter", run, "--prompt", "1"}, anotherBase},
		{"another base, to evaluate", []string{"eval", "--model", other, "--adapter", run, "--task", "perplexity", "--data", text}, anotherBase},
		{"another base, to merge", []string{"merge", "--model", other, "--adapter", run, "--output", t.TempDir() + "/x"}, anotherBase},
		{"another base, to train on", []string{"lora", "--model", other, "--data", data, "--output", t.TempDir() + "/x", "--set", "max_length=40", "--set", "adapter_name_or_path=" + run}, anotherBase},
		{"unknown quant_type, to generate", []string{"generate", "--model", fp4, "--prompt", "1"}, fp4State},
		{"unknown quant_type, as a base", []string{"lora", "--model", fp4, "--data", data, "--output", t.TempDir() + "/x", "--set", "max_length=40"}, fp4State},
		{"layers that are not there", lora(t.TempDir()+"/x", "--set", "layers_to_transform=[7]"), []string{"nothing in the model matches all-linear in layers [7]"}},
		{"no adapter there", []string{"generate", "--model", model, "--adapter", data[:strings.LastIndexByte(data, '/')], "--prompt", "1"}, []string{"adapter_config.json is missing"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, _, stderr := mltrain(t, tc.args...)
			if code != exitFailed {
				t.Errorf("exit code %d", code)
			}
			for _, w := range tc.want {
				if !strings.Contains(stderr, w) {
					t.Errorf("the message lacks %q:\n%s", w, stderr)
				}
			}
		})
	}
}

// A model that mltrain quantised generates, is measured, bears an adapter, and takes it in; it cannot be trained whole.
func TestQuantizedModelsAreModels(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	model, data, dir := testModel(t), sums(t, 20), t.TempDir()
	small, adapter, merged := filepath.Join(dir, "nf4"), filepath.Join(dir, "adapter"), filepath.Join(dir, "merged")
	table := must(t, "quantize", "--model", model, "--output", small, "--double-quant")
	if !strings.Contains(table, "model.layers.0.mlp.down_proj.weight") || !strings.Contains(table, "14 layers") {
		t.Errorf("%s", table)
	}
	must(t, "generate", "--model", small, "--prompt", "1 + 1 = ", "--max-new-tokens", "2")
	must(t, "lora", "--model", small, "--data", data, "--output", adapter, "--max-steps", "4", "--quiet", "--set", "max_length=40", "--set", "lora_r=4")
	must(t, "generate", "--model", small, "--adapter", adapter, "--prompt", "1 + 1 = ", "--max-new-tokens", "2")
	if out := must(t, "merge", "--model", small, "--adapter", adapter, "--output", merged); !strings.Contains(out, "decoded from NF4") {
		t.Errorf("%s", out)
	}
	must(t, "generate", "--model", merged, "--prompt", "1 + 1 = ", "--max-new-tokens", "2")
	code, _, stderr := mltrain(t, "sft", "--model", small, "--data", data, "--output", filepath.Join(dir, "x"), "--set", "max_length=40")
	if code != exitFailed || !strings.Contains(stderr, "cannot be trained themselves") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	code, _, stderr = mltrain(t, "quantize", "--model", small, "--output", filepath.Join(dir, "y"))
	if code != exitFailed || !strings.Contains(stderr, "in 4 bits already") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}
