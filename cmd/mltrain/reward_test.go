package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mltrain/mltrain/internal/checkpoint"
)

func rewardArgs(model, data, out string, steps int, set ...string) []string {
	args := dpoArgs(model, data, out, steps, set...)
	args[0] = "reward"
	return args
}

// configOf reads config.json of a model.
func configOf(t *testing.T, dir string) (c struct {
	Architectures []string
	NumLabels     int            `json:"num_labels"`
	PadTokenID    *int           `json:"pad_token_id"`
	Label2ID      map[string]int `json:"label2id"`
	TaskType      string         `json:"task_type"`
	ModulesToSave []string       `json:"modules_to_save"`
}) {
	t.Helper()
	for _, name := range []string{"config.json", "adapter_config.json"} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if os.IsNotExist(err) {
			continue
		}
		if err == nil {
			err = json.Unmarshal(raw, &c)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// shapes lists the tensors of a file that are not of layers.
func shapes(t *testing.T, path string) string {
	t.Helper()
	r, err := checkpoint.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var list []string
	for _, name := range r.Names() {
		if info, _ := r.Info(name); !strings.Contains(name, "layers.") {
			list = append(list, fmt.Sprint(name, info.Shape))
		}
	}
	return strings.Join(list, " ")
}

// A reward model tells right from wrong on rows that it has not seen, and is saved as transformers and PEFT have it.
func TestReward(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	model, data := testModel(t), preferSums(t, 80)
	for _, set := range [][]string{nil, {"use_peft=true", "learning_rate=0.003"}, {"use_peft=true", "learning_rate=0.003", "load_in_4bit=true"}, {"bf16=true"}, {"padding_free=true", "center_rewards_coefficient=0.01"}} {
		out := filepath.Join(t.TempDir(), "run")
		must(t, rewardArgs(model, data, out, 60, append(set, "test_size=0.25", "eval_steps=60")...)...)
		if acc, margin := metrics(t, out, "eval_accuracy"), metrics(t, out, "eval_margin"); !(acc[0] > 0.6) || !(margin[0] > 0) {
			t.Errorf("%v: on held-out rows accuracy %v, margin %v", set, acc, margin)
		}
		lo, mean, hi := metrics(t, out, "min_reward"), metrics(t, out, "mean_reward"), metrics(t, out, "max_reward")
		if len(lo) != 60 || !(lo[59] < mean[59] && mean[59] < hi[59]) {
			t.Errorf("%v: rewards from %v to %v, mean %v", set, lo, hi, mean)
		}
		c := configOf(t, out)
		if set != nil && set[0] == "use_peft=true" {
			if c.TaskType != "SEQ_CLS" || fmt.Sprint(c.ModulesToSave) != "[score]" {
				t.Errorf("adapter_config.json: %+v", c)
			}
			if got := shapes(t, filepath.Join(out, "adapter_model.safetensors")); got != "base_model.model.score.weight[1 48]" {
				t.Errorf("the adapter holds %s", got)
			}
			continue
		}
		if fmt.Sprint(c.Architectures) != "[LlamaForSequenceClassification]" || c.NumLabels != 1 || c.PadTokenID == nil || len(c.Label2ID) != 1 {
			t.Errorf("config.json: %+v", c)
		}
		if got := shapes(t, filepath.Join(out, "model.safetensors")); !strings.HasSuffix(got, " score.weight[1 48]") || strings.Contains(got, "lm_head") {
			t.Errorf("the model holds %s", got)
		}
	}
}

// Training goes on from a reward model, full or an adapter, with the scores that it gave, and a merged adapter is one.
func TestRewardGoesOn(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	model, data := testModel(t), preferSums(t, 40)
	evaluations := func(out string) []float64 {
		return append(metrics(t, out, "eval_loss"), metrics(t, out, "eval_mean_reward")...)
	}
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	set := []string{"test_size=0.25", "eval_steps=100", "eval_on_start=true", "per_device_eval_batch_size=10"}
	onlyLast := func(v []float64) []float64 { return []float64{v[1], v[3]} }
	onlyFirst := func(v []float64) []float64 { return []float64{v[0], v[2]} }
	must(t, rewardArgs(model, data, at("full"), 20, set...)...)
	must(t, rewardArgs(at("full"), data, at("more"), 1, set...)...)
	if was, is := onlyLast(evaluations(at("full"))), onlyFirst(evaluations(at("more"))); fmt.Sprint(was) != fmt.Sprint(is) {
		t.Errorf("loss and mean reward %v, trained on %v", was, is)
	}
	peft := append(set, "use_peft=true", "learning_rate=0.003", "lora_r=4")
	must(t, rewardArgs(model, data, at("lora"), 20, peft...)...)
	must(t, rewardArgs(model, data, at("more-lora"), 1, append(peft, "adapter_name_or_path="+at("lora"))...)...)
	want := onlyLast(evaluations(at("lora")))
	if is := onlyFirst(evaluations(at("more-lora"))); fmt.Sprint(want) != fmt.Sprint(is) {
		t.Errorf("loss and mean reward %v, the adapter trained on %v", want, is)
	}
	must(t, "merge", "--model", model, "--adapter", at("lora"), "--output", at("merged"))
	if c := configOf(t, at("merged")); fmt.Sprint(c.Architectures) != "[LlamaForSequenceClassification]" || c.PadTokenID == nil {
		t.Errorf("config.json of the merged model: %+v", c)
	}
	must(t, rewardArgs(at("merged"), data, at("more-merged"), 1, set...)...)
	for i, is := range onlyFirst(evaluations(at("more-merged"))) {
		if !(math.Abs(is-want[i]) <= 1e-5) {
			t.Errorf("loss and mean reward %v, merged %v", want[i], is)
		}
	}
	// Nothing else takes a reward model for a language model.
	for _, args := range [][]string{
		{"generate", "--model", at("full"), "--prompt", "1"}, {"generate", "--model", model, "--adapter", at("lora"), "--prompt", "1"},
		{"eval", "--model", at("full"), "--task", "perplexity", "--data", data}, dpoArgs(at("full"), data, at("dpo"), 1),
		dpoArgs(model, data, at("dpo"), 1, "use_peft=true", "adapter_name_or_path="+at("lora")),
	} {
		if code, _, stderr := mltrain(t, args...); code != 1 || !strings.Contains(stderr, "a reward model scores text") {
			t.Errorf("%v: exit code %d, %q", args, code, stderr)
		}
	}
}

func TestRewardBadInput(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	model, data := testModel(t), preferSums(t, 8)
	for _, c := range [][2]string{
		{`{"prompt": "1 + 1 = ", "chosen": "2"}`, "prompt, chosen, rejected"},
		{`{"prompt": "1 + 1 = ", "completion": "2"}`, "preference training needs"},
		{`{"prompt": "1", "chosen": "2", "rejected": "3", "margin": "much"}`, `key "margin" must be a number`},
		{`{"prompt": "1", "chosen": "2", "rejected": "3", "margin": [1]}`, `key "margin" must be a number`},
		{`{"prompt": "1", "chosen": "2", "rejected": "3", "margin": 1e99}`, `key "margin" must be a number`},
	} {
		row, want := c[0], c[1]
		bad := filepath.Join(t.TempDir(), "bad.jsonl")
		write(t, bad, row+"\n")
		if code, _, stderr := mltrain(t, rewardArgs(model, bad, filepath.Join(t.TempDir(), "run"), 2)...); code != 1 || !strings.Contains(stderr, want) || !strings.Contains(stderr, "bad.jsonl:1") {
			t.Errorf("%s: exit code %d, %q", row, code, stderr)
		}
	}
	if code, _, stderr := mltrain(t, rewardArgs(model, data, filepath.Join(t.TempDir(), "run"), 2, "truncation_mode=keep_end")...); code != 1 || !strings.Contains(stderr, "judges whole answers") {
		t.Errorf("truncation_mode: exit code %d, %q", code, stderr)
	}
	if code, _, stderr := mltrain(t, rewardArgs("../../testdata/models/gemma3", data, filepath.Join(t.TempDir(), "run"), 2)...); code != 1 || !strings.Contains(stderr, "multimodal Gemma 3") {
		t.Errorf("multimodal: exit code %d, %q", code, stderr)
	}
	mixed := filepath.Join(t.TempDir(), "mixed.jsonl")
	write(t, mixed, string(read(t, data))+`{"prompt": "1", "chosen": "2", "rejected": "2"}
{"prompt": "1", "chosen": "", "rejected": "2"}
{"prompt": "1", "chosen": "2", "rejected": "`+strings.Repeat("1", 50)+`"}
`)
	code, stdout, _ := mltrain(t, "data", "check", "--command", "reward", "--model", model, "--data", mixed, "--set", "max_length=40")
	if want := "mixed.jsonl:11"; code != exitFailed || !strings.Contains(stdout, "FAULT longer_than_max_length") || !strings.Contains(stdout, want) || strings.Contains(stdout, "over_max_length") {
		t.Errorf("data check: exit code %d, %q lacks %q", code, stdout, want)
	}
	args := rewardArgs(model, mixed, filepath.Join(t.TempDir(), "run"), 2)
	args = slices.DeleteFunc(args, func(s string) bool { return s == "--quiet" })
	code, _, stderr := mltrain(t, args...)
	for _, want := range []string{"chosen_equals_rejected", "empty_completion", "longer_than_max_length", "AutoModelForSequenceClassification"} {
		if code != 0 || !strings.Contains(stderr, want) {
			t.Errorf("exit code %d: the report lacks %q:\n%s", code, want, stderr)
		}
	}
}

// A run that is killed and resumed ends like an undisturbed one; the head that it drew comes from the checkpoint then.
func TestKilledRewardResumesExactly(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	model, data := testModel(t), preferSums(t, 40)
	for file, set := range map[string][]string{"model.safetensors": nil, "adapter_model.safetensors": {"use_peft=true"}} {
		t.Run(file, func(t *testing.T) {
			killedEqualsWhole(t, func(out string) []string {
				return append(rewardArgs(model, data, out, 40, append(set, "save_strategy=steps", "save_steps=4", "save_total_limit=2")...), "--resume")
			}, killed{1, 3, []string{file}, []string{"loss"}})
		})
	}
}
