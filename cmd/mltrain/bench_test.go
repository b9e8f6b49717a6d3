package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/mltrain/mltrain/internal/cpu"
)

func TestBenchStep(t *testing.T) {
	for _, extra := range [][]string{nil, {"--lora-rank", "4"}, {"--bf16", "--gradient-checkpointing"}} {
		out := must(t, append([]string{"bench", "step", "--shape", "tiny", "--seq", "33", "--batch", "2", "--steps", "3", "--warmup", "1", "--kernels", "--json"}, extra...)...)
		var r benched
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatal(err)
		}
		if len(r.Times) != 3 || r.Tokens != 66 || r.Seconds <= 0 || r.PeakRSS <= 0 || r.Bytes <= 0 || len(r.Kernels) < 8 {
			t.Errorf("%v: got %s", extra, out)
		}
	}
	rows, err := csv.NewReader(strings.NewReader(must(t, "bench", "step", "--shape", "tiny", "--seq", "9", "--steps", "1", "--kernels", "--shapes", "--csv"))).ReadAll()
	if err != nil || len(rows) < 10 {
		t.Errorf("%v, %v", rows, err)
	}
}

func TestBenchGenerate(t *testing.T) {
	var r map[string]float64
	for _, drafts := range []int{0, 7} {
		args := []string{"bench", "generate", "--shape", "tiny", "--tokens", "40", "--num-assistant-tokens", strconv.Itoa(drafts), "--device", "cpu"}
		if err := json.Unmarshal([]byte(must(t, append(args, "--json")...)), &r); err != nil || r["tokens_per_second"] <= 0 {
			t.Errorf("%v, %v", r, err)
		}
		want := drafts > 0 && cpu.New().DraftRows(false) > 0
		if got := r["drafted"] > 0; got != want || r["drafted_right"] > r["drafted"] {
			t.Errorf("at most %d drafts: %v", drafts, r)
		}
		if out := must(t, args...); strings.Contains(out, "drafted tokens were right") != want {
			t.Errorf("at most %d drafts: %s", drafts, out)
		}
	}
}

func TestBenchKernels(t *testing.T) {
	for device, only := range map[string]string{"cpu": "", "emulator": "nf4 linear M=16|adamw|attention backward causal 32"} {
		var r benchedKernels
		if err := json.Unmarshal([]byte(must(t, "bench", "kernels", "--tiny", "--rounds", "1", "--device", device, "--only", only, "--json")), &r); err != nil {
			t.Fatal(err)
		}
		want := 3
		if only == "" {
			want = 5 + 2*3 + 2*3
		}
		if len(r.Kernels) != want {
			t.Errorf("%s: %d kernels, want %d: %+v", device, len(r.Kernels), want, r)
		}
		for _, k := range r.Kernels {
			if k.Seconds <= 0 || (k.Bytes > 0) == (k.FLOPs > 0) {
				t.Errorf("%s: %+v", device, k)
			}
		}
	}
}

func TestBenchBadInput(t *testing.T) {
	for want, args := range map[string][]string{
		"--seq is too small": {"bench", "step", "--seq", "1"},
		"give --kernels":     {"bench", "step", "--csv"},
		"smollm2-135m":       {"bench", "step", "--shape", "no-such"},
		"--tokens 2":         {"bench", "generate", "--tokens", "1"},
		"assistant-tokens -": {"bench", "generate", "--num-assistant-tokens", "-1"},
		"matches no kernel":  {"bench", "kernels", "--tiny", "--device", "cpu", "--only", "no-such"},
		"--only":             {"bench", "kernels", "--only", "("},
	} {
		if code, _, stderr := mltrain(t, args...); code == 0 || !strings.Contains(stderr, want) {
			t.Errorf("%v: %d, %q", args, code, stderr)
		}
	}
}

// At the level debug the log of a run says where its time goes; the result is the same.
func TestDebugLogHasABreakdown(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	model, data := testModel(t), sums(t, 12)
	run := func() (dir, stderr string) {
		dir = filepath.Join(t.TempDir(), "run")
		code, _, stderr := mltrain(t, "sft", "--model", model, "--data", data, "--output", dir, "--max-steps", "4", "--set", "max_length=40", "--set", "logging_steps=2")
		if code != 0 {
			t.Fatal(stderr)
		}
		return dir, stderr
	}
	plain, quiet := run()
	t.Setenv("MLTRAIN_LOG", "debug")
	measured, log := run()
	if strings.Contains(quiet, "time by kernel") || strings.Count(log, "time by kernel") != 2 || !strings.Contains(log, "attention_backward") {
		t.Errorf("the log has no breakdown for each of its two lines:\n%s", log)
	}
	if !bytes.Equal(read(t, filepath.Join(plain, "model.safetensors")), read(t, filepath.Join(measured, "model.safetensors"))) {
		t.Error("measuring changed the weights")
	}
}
