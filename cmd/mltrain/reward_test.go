package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
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
	for _, set := range [][]string{nil, {"use_peft=true", "learning_rate=0.003"}, {"bf16=true"}, {"padding_free=true", "center_rewards_coefficient=0.01"}} {
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

// A run that is killed and resumed ends like an undisturbed one; the head that it drew comes from the checkpoint then.
func TestKilledRewardResumesExactly(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	model, data := testModel(t), preferSums(t, 40)
	for file, set := range map[string][]string{"model.safetensors": nil, "adapter_model.safetensors": {"use_peft=true"}} {
		t.Run(file, func(t *testing.T) {
			killedEqualsWhole(t, func(out string) []string {
				return append(rewardArgs(model, data, out, 40, append(set, "save_strategy=steps", "save_steps=4", "save_total_limit=2")...), "--resume")
			}, file)
		})
	}
}
