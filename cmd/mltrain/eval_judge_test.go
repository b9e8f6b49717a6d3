package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// A judge that goes down in the middle costs nothing: the same command goes on from what is kept.
func TestEvalJudge(t *testing.T) {
	t.Setenv("JUDGE_KEY", "sk-1")
	var asked atomic.Int32
	var up atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer sk-1" {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		if n := asked.Add(1); n > 2 && !up.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, `{"choices":[{"message":{"content":"good [[8]]"}}],"usage":{"prompt_tokens":50,"completion_tokens":4}}`)
	}))
	defer server.Close()
	dir := t.TempDir()
	rows := filepath.Join(dir, "rows.jsonl")
	write(t, rows, `{"prompt":"p","response":"r"}
{"prompt":"q","response":"r"}
{"prompt":"s","response":"r"}`)
	args := []string{"eval", "judge", "--data", rows, "--endpoint", server.URL, "--model", "m", "--api-key-env", "JUDGE_KEY",
		"--output", filepath.Join(dir, "judged.jsonl"), "--concurrency", "1", "--attempts", "1"}
	code, _, stderr := mltrain(t, args...)
	if code != exitFailed || !strings.Contains(stderr, "503") || !strings.Contains(stderr, "2 of 3 judgements are kept") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	up.Store(true)
	code, stdout, stderr := mltrain(t, append(args, "--json", "--price-in", "1")...)
	var out struct {
		Score   struct{ Mean float64 }
		Resumed int
		Cost    float64 `json:"cost_usd"`
	}
	if err := json.Unmarshal([]byte(stdout), &out); code != 0 || err != nil {
		t.Fatalf("exit %d, %v: %s", code, err, stderr)
	}
	if out.Score.Mean != 8 || out.Resumed != 2 || out.Cost != 150e-6 || asked.Load() != 4 {
		t.Errorf("%+v after %d requests", out, asked.Load())
	}
	if code, stdout, _ = mltrain(t, args...); code != 0 || !strings.Contains(stdout, "score: 8.000 ± 0.000 of 10") {
		t.Errorf("exit %d: %s", code, stdout)
	}

	t.Setenv("JUDGE_KEY", "")
	code, _, stderr = mltrain(t, append(args, "--output", filepath.Join(dir, "other.jsonl"))...)
	if code != exitFailed || !strings.Contains(stderr, "JUDGE_KEY is not set") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	for _, tc := range [][]string{{"--scale", "1"}, {"--concurrency", "0"}, {"--endpoint", ""}, {"--output", ""}} {
		if code, _, stderr := mltrain(t, append(args, tc...)...); code != exitUsage {
			t.Errorf("%v: exit %d, %s", tc, code, stderr)
		}
	}
}
