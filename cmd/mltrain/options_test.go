package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A run whose held-out loss only rises stops after early_stopping_patience evaluations and ends with the weights of the best one.
// Resumed after its end, it does not go on.
func TestEarlyStoppingLoadsTheBest(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	model, out := testModel(t), filepath.Join(t.TempDir(), "run")
	args := []string{
		"sft", "--model", model, "--data", sums(t, 12), "--output", out, "--max-steps", "200", "--json", "--resume", "--set", "max_length=40", "--set", "test_size=4",
		"--set", "learning_rate=0.02", "--set", "eval_steps=5", "--set", "save_steps=10", "--set", "load_best_model_at_end=true",
		"--set", "early_stopping_patience=3", "--set", "layer_lr_decay=0.9", "--set", "neftune_noise_alpha=5",
	}
	var first []byte
	for range 2 {
		var r struct {
			Steps        int  `json:"steps"`
			StoppedEarly bool `json:"stopped_early"`
			BestStep     int  `json:"best_step"`
		}
		code, stdout, stderr := mltrain(t, args...)
		if code != 0 {
			t.Fatal(stderr)
		}
		if err := json.Unmarshal([]byte(stdout), &r); err != nil {
			t.Fatal(err)
		}
		if !r.StoppedEarly || r.Steps >= 200 || r.Steps != r.BestStep+15 {
			t.Errorf("stopped %v after step %d, best %d; want a stop three evaluations after the best", r.StoppedEarly, r.Steps, r.BestStep)
		}
		if !strings.Contains(stderr, "early_stopping_patience") {
			t.Errorf("the stop is not told of:\n%s", stderr)
		}
		got := read(t, filepath.Join(out, "model.safetensors"))
		best, err := filepath.Glob(filepath.Join(out, "checkpoint-*", "model.safetensors"))
		if err != nil || len(best) == 0 {
			t.Fatalf("no checkpoints: %v", err)
		}
		found := false
		for _, p := range best {
			found = found || bytes.Equal(read(t, p), got) && strings.Contains(p, "checkpoint-"+strconv.Itoa(r.BestStep)+string(os.PathSeparator))
		}
		if !found {
			t.Errorf("the final weights are not those of step %d", r.BestStep)
		}
		if first == nil {
			first = got
		} else if !bytes.Equal(first, got) {
			t.Error("resumed after its end, the run gives other weights")
		}
	}
}
