package main

import (
	"encoding/csv"
	"encoding/json"
	"strings"
	"testing"
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
	if err := json.Unmarshal([]byte(must(t, "bench", "generate", "--shape", "tiny", "--tokens", "4", "--json")), &r); err != nil || r["tokens_per_second"] <= 0 {
		t.Errorf("%v, %v", r, err)
	}
}

func TestBenchBadInput(t *testing.T) {
	for want, args := range map[string][]string{
		"--seq is too small": {"bench", "step", "--seq", "1"},
		"give --kernels":     {"bench", "step", "--csv"},
		"smollm2-135m":       {"bench", "step", "--shape", "no-such"},
		"--tokens 2":         {"bench", "generate", "--tokens", "1"},
	} {
		if code, _, stderr := mltrain(t, args...); code == 0 || !strings.Contains(stderr, want) {
			t.Errorf("%v: %d, %q", args, code, stderr)
		}
	}
}
