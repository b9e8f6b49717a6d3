package main

import (
	"bytes"
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
		{"init_lora_weights=pissa"}, {"init_lora_weights=pissa_niter_4", "use_rslora=true"}, {"loraplus_lr_ratio=8"}, {"init_lora_weights=gaussian", "use_dora=true"},
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
			must(t, "generate", "--model", model, "--adapter", out, "--prompt", "1 + 1 = ", "--max-new-tokens", "2")
		})
	}
}
