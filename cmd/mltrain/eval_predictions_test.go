package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// Classes in a file give scikit-learn's report (a golden of testdata/metrics)
// on a terminal, and every metric as JSON.
func TestEvalPredictions(t *testing.T) {
	var g struct {
		Labels []struct {
			Name, Report     string
			Truth, Predicted []string
			MCC              any
		}
	}
	if err := json.Unmarshal(read(t, filepath.Join("..", "..", "testdata", "metrics", "classes.json")), &g); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, c := range g.Labels {
		if c.Name != "drawn" && c.Name != "never predicted" && c.Name != "numbers" {
			continue
		}
		var rows strings.Builder
		for i := range c.Truth {
			row := map[string]any{"label": c.Truth[i], "prediction": c.Predicted[i]}
			if c.Name == "numbers" {
				row = map[string]any{"label": json.Number(c.Truth[i]), "prediction": json.Number(c.Predicted[i])}
			}
			line, err := json.Marshal(row)
			if err != nil {
				t.Fatal(err)
			}
			rows.Write(append(line, '\n'))
		}
		path := filepath.Join(dir, c.Name+".jsonl")
		write(t, path, rows.String())
		code, stdout, stderr := mltrain(t, "eval", "--predictions", path)
		if code != 0 || !strings.Contains(stdout, c.Report) {
			t.Errorf("%s: exit %d, printed:\n%s%s\nwithout:\n%s", c.Name, code, stdout, stderr, c.Report)
		}
		code, stdout, _ = mltrain(t, "eval", "--predictions", path, "--json")
		var out struct {
			Type    string
			Rows    int
			Results map[string]any
		}
		if err := json.Unmarshal([]byte(stdout), &out); code != 0 || err != nil {
			t.Fatalf("%s: exit %d, %v", c.Name, code, err)
		}
		if out.Type != "classification" || out.Rows != len(c.Truth) || out.Results["mcc"] != c.MCC {
			t.Errorf("%s: %+v, want mcc %v", c.Name, out, c.MCC)
		}
	}
}

func TestEvalPredictionsRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.jsonl")
	write(t, path, `{"label":"a","prediction":"b"}`+"\n"+`{"label":"a"}`)
	for _, tc := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--predictions", path}, exitFailed, "p.jsonl:2: the key prediction is missing"},
		{[]string{"--predictions", path, "--model", "x"}, exitUsage, "leave out --model"},
		{[]string{"--predictions", path, "--type", "sequences"}, exitUsage, "did you mean sequence?"},
		{[]string{"--predictions", path, "--k", "0"}, exitUsage, "--k"},
		{[]string{"--predictions", path, "--bins", "0"}, exitUsage, "--bins"},
		{[]string{"--predictions", path + "x"}, exitFailed, "p.jsonlx"},
	} {
		code, _, stderr := mltrain(t, append([]string{"eval"}, tc.args...)...)
		if code != tc.code || !strings.Contains(stderr, tc.want) {
			t.Errorf("%v: exit %d, %s; want %d, %q", tc.args, code, stderr, tc.code, tc.want)
		}
	}
	text := filepath.Join(t.TempDir(), "t.jsonl")
	write(t, text, `{"reference":"a","prediction":"b"}`)
	if code, _, stderr := mltrain(t, "eval", "--predictions", text, "--bleu-tokenize", "13b"); code != exitUsage || !strings.Contains(stderr, `"13b" is not one of 13a`) {
		t.Errorf("exit %d, %s", code, stderr)
	}
}

// Completions are run against their problems' tests in a sandbox, and only when that is allowed.
func TestEvalPredictionsRunsCode(t *testing.T) {
	dir := t.TempDir()
	problems, samples := filepath.Join(dir, "problems.jsonl"), filepath.Join(dir, "samples.jsonl")
	write(t, problems, `{"task_id":"T/0","prompt":"def add(a, b):\n","test":"def check(f):\n    assert f(1, 2) == 3","entry_point":"add"}
{"task_id":"T/1","prompt":"def sub(a, b):\n","test":"def check(f):\n    assert f(1, 2) == -1","entry_point":"sub"}`)
	write(t, samples, `{"task_id":"T/0","completion":"    return a + b"}
{"task_id":"T/0","completion":"    return a - b"}
{"task_id":"T/1","completion":"    while True: pass"}
{"task_id":"T/1","completion":"    return a - b\n\nimport sys\nsys.exit(0)"}`)
	args := []string{"eval", "--predictions", samples, "--problems", problems}
	if code, _, stderr := mltrain(t, args...); code != exitFailed || !strings.Contains(stderr, "--allow-code-execution") {
		t.Errorf("exit %d, %s", code, stderr)
	}
	code, stdout, stderr := mltrain(t, append(args, "--allow-code-execution", "--code-timeout", "2s", "--json")...)
	if code == exitFailed && strings.Contains(stderr, "code execution is not available") {
		t.Skip(stderr)
	}
	var out struct {
		Results map[string]float64
		Samples []struct{ Status, Reason string }
	}
	if err := json.Unmarshal([]byte(stdout), &out); code != 0 || err != nil {
		t.Fatalf("exit %d, %v: %s", code, err, stderr)
	}
	if out.Results["pass@1"] != 0.25 || out.Results["tasks"] != 2 {
		t.Errorf("%v", out.Results)
	}
	for i, want := range []string{"passed", "failed", "timed out", "failed"} {
		if out.Samples[i].Status != want {
			t.Errorf("sample %d: %+v, want %s", i, out.Samples[i], want)
		}
	}
	if out.Samples[1].Reason != "AssertionError" {
		t.Errorf("reason %q", out.Samples[1].Reason)
	}
}
