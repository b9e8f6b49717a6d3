package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Training from scratch needs no weights, is the same each time, goes on from a checkpoint, and learns.
func TestPretrainFromScratch(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	model := testModel(t)
	if err := os.Remove(filepath.Join(model, "model.safetensors")); err != nil {
		t.Fatal(err)
	}
	edit(t, model, func(c map[string]any) {
		delete(c, "torch_dtype")
		c["dtype"] = "bfloat16"
	})
	text := filepath.Join(t.TempDir(), "text.txt")
	write(t, text, strings.Repeat("The cat sat on the mat. The dog sat on the log. ", 40))
	args := func(out string, more ...string) []string {
		return append([]string{"pretrain", "--model", model, "--data", text, "--output", out, "--quiet", "--set", "train_from_scratch=true",
			"--set", "max_length=64", "--set", "packing=true", "--set", "learning_rate=0.003", "--set", "save_steps=10", "--set", "logging_steps=10"}, more...)
	}
	var weights [][]byte
	for _, seed := range []string{"1", "1", "2"} {
		out := filepath.Join(t.TempDir(), "run")
		must(t, args(out, "--max-steps", "30", "--seed", seed)...)
		if c := string(read(t, filepath.Join(out, "config.json"))); !strings.Contains(c, `"float32"`) || strings.Contains(c, "bfloat16") {
			t.Errorf("config.json does not say that the weights are float32: %s", c)
		}
		weights = append(weights, read(t, filepath.Join(out, "model.safetensors")))
		if l := metrics(t, out, "loss"); !(l[len(l)-1] < 0.8*l[0]) {
			t.Errorf("seed %s: losses %v", seed, l)
		}
		if seed == "2" {
			continue
		}
		// The run again, from the checkpoint of step 20.
		if err := os.RemoveAll(filepath.Join(out, "checkpoint-30")); err != nil {
			t.Fatal(err)
		}
		must(t, args(out, "--max-steps", "30", "--seed", seed, "--resume")...)
		if !bytes.Equal(weights[0], read(t, filepath.Join(out, "model.safetensors"))) {
			t.Error("the resumed run ends with other weights")
		}
	}
	if !bytes.Equal(weights[0], weights[1]) || bytes.Equal(weights[0], weights[2]) {
		t.Error("the seed does not decide the weights")
	}
}
