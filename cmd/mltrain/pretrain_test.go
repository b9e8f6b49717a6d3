package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
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

// pretrainArgs train a model from scratch on a few documents, the longest of which is cut.
func pretrainArgs(t *testing.T) []string {
	t.Helper()
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	model := testModel(t)
	var rows strings.Builder
	for i := range 40 {
		fmt.Fprintf(&rows, "{\"text\": %q}\n", strings.Repeat(fmt.Sprintf("Row %d says so. ", i), 1+i%7))
	}
	file := filepath.Join(t.TempDir(), "text.jsonl")
	write(t, file, rows.String())
	return []string{"pretrain", "--model", model, "--data", file, "--quiet", "--set", "train_from_scratch=true", "--set", "max_length=64",
		"--set", "packing=true", "--set", "per_device_train_batch_size=2", "--set", "learning_rate=0.003", "--set", "logging_steps=1"}
}

// A run computes the same at any number of threads, for each way to pack.
func TestPretrainOnAnyNumberOfThreads(t *testing.T) {
	if testing.Short() {
		t.Skip("starts six processes")
	}
	args := pretrainArgs(t)
	for _, packing := range []string{"bfd", "bfd_split", "wrapped"} {
		var weights [][]byte
		for _, procs := range []int{1, 3} {
			out := filepath.Join(t.TempDir(), "run")
			more := append(args, "--output", out, "--max-steps", "6", "--set", "packing_strategy="+packing, "--set", "test_size=0.1", "--set", "gradient_accumulation_steps=2")
			if text, err := child(t, procs, more...).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			weights = append(weights, read(t, filepath.Join(out, "model.safetensors")))
		}
		if !bytes.Equal(weights[0], weights[1]) {
			t.Errorf("%s: 1 thread and 3 give other weights", packing)
		}
	}
}

// With max_tokens the run ends with the step that reaches them, and the learning rate goes by the tokens that were seen.
func TestPretrainByTokens(t *testing.T) {
	args := pretrainArgs(t)
	const total, warmup, peak = 3000, 1000, 0.003
	out := filepath.Join(t.TempDir(), "run")
	more := append(args, "--output", out, "--set", "max_tokens=3000", "--set", "warmup_tokens=1000", "--set", "save_steps=5")
	must(t, more...)
	seen, rates := metrics(t, out, "num_tokens"), metrics(t, out, "learning_rate")
	n := len(seen)
	if seen[n-1] < total || seen[n-2] >= total {
		t.Errorf("the run ends after %v tokens, the step before it after %v", seen[n-1], seen[n-2])
	}
	before := 0.0 // tokens before the step
	for i, rate := range rates {
		want := peak * before / warmup
		if before >= warmup {
			want = peak * (total - before) / (total - warmup)
		}
		if math.Abs(rate-want) > 1e-12 {
			t.Errorf("step %d, after %v tokens: the learning rate is %v, want %v", i+1, before, rate, want)
		}
		before = seen[i]
	}
	whole := read(t, filepath.Join(out, "model.safetensors"))
	for step := 6; step <= n; step++ {
		if err := os.RemoveAll(filepath.Join(out, fmt.Sprintf("checkpoint-%d", step))); err != nil {
			t.Fatal(err)
		}
	}
	must(t, append(more, "--resume")...)
	if !bytes.Equal(whole, read(t, filepath.Join(out, "model.safetensors"))) {
		t.Error("the resumed run ends with other weights")
	}
}

// Parts of a file are trained on and evaluated on, and what is longer than max_length is lost only where it is truncated.
func TestPretrainSplitsAndPacks(t *testing.T) {
	args := pretrainArgs(t)
	tokens := map[string]float64{}
	for _, packing := range []string{"bfd", "bfd_split", "wrapped"} {
		out := filepath.Join(t.TempDir(), "run")
		must(t, append(args, "--output", out, "--set", "packing_strategy="+packing, "--set", "num_train_epochs=1", "--set", "dataset_train_split=train[:90%]",
			"--set", "dataset_test_split=train[90%:]")...)
		seen := metrics(t, out, "num_tokens")
		tokens[packing] = seen[len(seen)-1]
		if l := metrics(t, out, "eval_loss"); len(l) == 0 || math.IsNaN(l[0]) {
			t.Errorf("%s: evaluation losses %v", packing, l)
		}
	}
	// A last piece of one token has nothing to predict and is left out.
	if tokens["bfd_split"] < 0.99*tokens["wrapped"] || tokens["bfd"] > 0.9*tokens["wrapped"] {
		t.Errorf("tokens of an epoch: %v", tokens)
	}
}

// The split of an entry of datasets is what is trained on; dataset_test_split takes other rows of the same files.
func TestTestSplitBesideSplitsOfDatasets(t *testing.T) {
	args := pretrainArgs(t)
	data := args[slices.Index(args, "--data")+1]
	args = slices.DeleteFunc(args, func(a string) bool { return a == "--data" || a == data || a == "--quiet" })
	config := filepath.Join(t.TempDir(), "run.yaml")
	write(t, config, fmt.Sprintf("datasets: [{path: %q, split: 'train[:90%%]'}]\ndataset_test_split: train[90%%:]\n", data))
	code, _, stderr := mltrain(t, append(args, "-c", config, "--output", filepath.Join(t.TempDir(), "run"), "--max-steps", "1")...)
	for _, want := range []string{"training data\nrows read       36 in", "evaluation data\nrows read       4 in"} {
		if code != 0 || !strings.Contains(stderr, want) {
			t.Errorf("exit code %d; %q is missing in %s", code, want, stderr)
		}
	}
}
