package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const evalDir = "../../testdata/eval"

// evaluated is what a run of eval left.
type evaluated struct {
	code     int
	out, err string
}

// evaluate runs eval on the tiny model of testdata/eval.
func evaluate(t *testing.T, args ...string) evaluated {
	t.Helper()
	return evalRunOf(t, append([]string{"eval", "--model", filepath.Join(evalDir, "model"), "--include-path", evalDir, "--bootstrap-iters", "200", "--quiet"}, args...)...)
}

func evalRunOf(t *testing.T, args ...string) evaluated {
	t.Helper()
	code, out, err := mltrain(t, args...)
	return evaluated{code, out, err}
}

func TestEvalTasks(t *testing.T) {
	out := t.TempDir()
	r := evaluate(t, "--tasks", "everything,sums", "--task", filepath.Join(evalDir, "last_word.yaml"), "--limit", "6", "--output", out, "--log-samples", "--json")
	if r.code != 0 {
		t.Fatal(r)
	}
	var printed, written struct {
		Results map[string]map[string]any `json:"results"`
		Config  map[string]any            `json:"config"`
	}
	if err := json.Unmarshal([]byte(r.out), &printed); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(out, ResultsFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &written); err != nil {
		t.Fatal(err)
	}
	for _, res := range []map[string]map[string]any{printed.Results, written.Results} {
		if len(res) != 6 || res["pets"]["acc,none"] == nil || res["sums"]["exact_match_stderr,strict-match"] == nil || res["everything"]["acc,none"] == nil {
			t.Errorf("results: %v", res)
		}
	}
	samples, err := os.ReadFile(filepath.Join(out, "samples_sums.jsonl"))
	if err != nil || strings.Count(string(samples), "\n") != 12 { // two filters
		t.Errorf("samples: %d lines, %v", strings.Count(string(samples), "\n"), err)
	}
	table := evaluate(t, "--tasks", "pets", "--limit", "6")
	if table.code != 0 || !strings.Contains(table.out, "acc_norm") || !strings.Contains(table.out, "±") {
		t.Error(table)
	}
}

// An evaluation that finds its answers in the output directory gives the same results to the bit, and asks nothing.
func TestEvalResumes(t *testing.T) {
	out := t.TempDir()
	args := []string{"--tasks", "pets,sums", "--limit", "5", "--output", out, "--log-samples"}
	if r := evaluate(t, args...); r.code != 0 {
		t.Fatal(r)
	}
	read := func() string {
		var all []string
		for _, name := range []string{ResultsFile, "samples_pets.jsonl", "samples_sums.jsonl"} {
			raw, err := os.ReadFile(filepath.Join(out, name))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, string(raw))
		}
		return strings.Join(all, "\n")
	}
	want := read()
	journal := filepath.Join(out, "responses.jsonl")
	raw, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	whole := string(raw)
	// Killed after the first answers, in the middle of a line.
	lines := strings.SplitAfter(whole, "\n")
	for _, keep := range []string{whole, strings.Join(lines[:4], "") + lines[4][:9], ""} {
		if err := os.WriteFile(journal, []byte(keep), 0o666); err != nil {
			t.Fatal(err)
		}
		if r := evaluate(t, args...); r.code != 0 {
			t.Fatal(r)
		}
		if got := read(); got != want {
			t.Errorf("resumed from %d bytes: other results", len(keep))
		}
		again, err := os.ReadFile(journal)
		if err != nil || len(again) != len(whole) {
			t.Errorf("resumed from %d bytes: a journal of %d bytes, want %d (%v)", len(keep), len(again), len(whole), err)
		}
	}
	other := evalRunOf(t, "eval", "--model", "../../testdata/tiny/model", "--include-path", evalDir, "--tasks", "pets", "--limit", "1", "--num-fewshot", "0", "--output", out)
	if other.code != 1 || !strings.Contains(other.err, "another model") {
		t.Errorf("another model: %v", other)
	}
}

func TestEvalCompare(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	for dir, shots := range map[string]string{a: "2", b: "1"} {
		if r := evaluate(t, "--tasks", "pets_self", "--num-fewshot", shots, "--output", dir, "--log-samples"); r.code != 0 {
			t.Fatal(r)
		}
	}
	r := evalRunOf(t, "eval", "compare", a, b, "--json")
	var out struct {
		Comparison []struct {
			Task, Metric, Test  string
			Rows                int
			A, B, Difference, P float64
			OnlyA               int `json:"only_a"`
			OnlyB               int `json:"only_b"`
		} `json:"comparison"`
	}
	if err := json.Unmarshal([]byte(r.out), &out); err != nil {
		t.Fatal(r, err)
	}
	if len(out.Comparison) != 2 {
		t.Fatalf("%+v", out)
	}
	for _, c := range out.Comparison {
		if c.Task != "pets_self" || c.Rows != 24 || c.Test != "mcnemar" || c.Difference != c.B-c.A || float64(c.OnlyB-c.OnlyA)/24 != c.Difference {
			t.Errorf("%+v", c)
		}
	}
	if r := evalRunOf(t, "eval", "compare", a, b); r.code != 0 || !strings.Contains(r.out, "mcnemar") {
		t.Error(r)
	}
	if r := evalRunOf(t, "eval", "compare", a, t.TempDir()); r.code != 1 || !strings.Contains(r.err, "--log-samples") {
		t.Error(r)
	}
}

func TestEvalBadInput(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return p
	}
	file("rows.jsonl", `{"q":"a","a":"b"}`+"\n"+`{"q":"a"}`+"\n")
	task := func(name, more string) string {
		return file(name, "task: t\noutput_type: generate_until\ntest_split: test\ndataset_path: json\ndataset_kwargs: {data_files: {test: rows.jsonl}}\n"+
			"generation_kwargs: {max_gen_toks: 4}\n"+more)
	}
	for _, c := range []struct {
		name string
		args []string
		code int
		want []string
	}{
		{"unknown task", []string{"--tasks", "gsm8"}, 1, []string{`unknown task "gsm8"`, "did you mean gsm8k?"}},
		{"no data", []string{"--tasks", "gsm8k"}, 1, []string{"task gsm8k", "--data FILE"}},
		{"unknown metric", []string{"--task", task("metric.yaml", "doc_to_text: q\ndoc_to_target: a\nmetric_list: [{metric: exactmatch}]\n")}, 1,
			[]string{`unknown metric "exactmatch"`, "did you mean exact_match?"}},
		{"unknown key", []string{"--task", task("key.yaml", "doc_to_text: q\ndoc_to_target: a\nnum_few_shot: 3\n")}, 1,
			[]string{"key.yaml:9: num_few_shot: unknown key (did you mean num_fewshot?)"}},
		{"function", []string{"--task", task("function.yaml", "doc_to_text: !function utils.text\nprocess_docs: !function utils.docs\ndoc_to_target: a\n")}, 1,
			[]string{"doc_to_text: Python functions are not run here (!function utils.text)", "process_docs: is not available here"}},
		{"missing field", []string{"--task", task("field.yaml", "doc_to_text: q\ndoc_to_target: a\n")}, 1,
			[]string{"rows.jsonl:2", `lacks a field: "a"`, "it has q"}},
		{"template error", []string{"--task", task("template.yaml", "doc_to_text: \"{{ q.upper() + 1 }}\"\ndoc_to_target: q\n")}, 1,
			[]string{"rows.jsonl:1", "doc_to_text:1"}},
		{"template syntax", []string{"--task", task("syntax.yaml", "doc_to_text: \"{{ q\"\ndoc_to_target: q\n")}, 1, []string{"doc_to_text:1", "syntax error"}},
		{"missing name in a template", []string{"--task", task("name.yaml", "doc_to_text: \"{{ question }}\"\ndoc_to_target: q\n")}, 1,
			[]string{"rows.jsonl:1", "'question' is undefined", "it has q, a"}},
		{"unknown filter", []string{"--task", task("filter.yaml", "doc_to_text: q\ndoc_to_target: q\nfilter_list: [{name: x, filter: [{function: take_frist}]}]\n")}, 1,
			[]string{"did you mean take_first?"}},
		{"bad pattern", []string{"--task", task("pattern.yaml", "doc_to_text: q\ndoc_to_target: q\nfilter_list: [{name: x, filter: [{function: regex, regex_pattern: \"(a\"}]}]\n")}, 1,
			[]string{"regular expression"}},
		{"no room", []string{"--task", task("room.yaml", "doc_to_text: q\ndoc_to_target: q\n"), "--gen-kwargs", "max_gen_toks=500"}, 1, []string{"max_gen_toks is 500", "takes 160"}},
		{"several faults", []string{"--tasks", "nonesuch,neither"}, 1, []string{"nonesuch", "neither"}},
		{"samples without a place", []string{"--tasks", "pets", "--log-samples"}, 2, []string{"--output"}},
		{"bad kwargs", []string{"--tasks", "sums", "--gen-kwargs", "max_gen_toks"}, 2, []string{"key=value"}},
		{"beams", []string{"--tasks", "sums", "--gen-kwargs", "num_beams=4"}, 1, []string{"num_beams is not available"}},
		{"too many examples", []string{"--tasks", "pets_self", "--num-fewshot", "99"}, 1, []string{"99 examples", "has 24"}},
	} {
		r := evaluate(t, c.args...)
		if r.code != c.code {
			t.Errorf("%s: code %d, want %d: %s", c.name, r.code, c.code, r.err)
		}
		for _, w := range c.want {
			if !strings.Contains(r.err, w) {
				t.Errorf("%s: %q lacks %q", c.name, r.err, w)
			}
		}
	}
}

// A model with an adapter answers as the model that the adapter was merged into.
func TestEvalAdapter(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	dir := t.TempDir()
	base := filepath.Join(evalDir, "model")
	adapter, merged := filepath.Join(dir, "adapter"), filepath.Join(dir, "merged")
	must(t, "lora", "--model", base, "--data", filepath.Join(evalDir, "data", "stories.jsonl"), "--output", adapter, "--max-steps", "6", "--quiet",
		"--set", "max_length=40", "--set", "learning_rate=0.02", "--set", "report_to=none")
	must(t, "merge", "--model", base, "--adapter", adapter, "--output", merged, "--quiet")
	results := func(args ...string) map[string]float64 {
		out := filepath.Join(dir, "out")
		all := append([]string{"eval", "--tasks", "last_word,pets", "--include-path", evalDir, "--limit", "8", "--json", "--quiet", "--bootstrap-iters", "0",
			"--output", out, "--overwrite"}, args...)
		var res struct {
			Results map[string]map[string]any `json:"results"`
		}
		if err := json.Unmarshal([]byte(must(t, all...)), &res); err != nil {
			t.Fatal(err)
		}
		numbers := map[string]float64{}
		for task, m := range res.Results {
			for k, v := range m {
				if x, ok := v.(float64); ok {
					numbers[task+" "+k] = x
				}
			}
		}
		return numbers
	}
	with, into, without := results("--model", base, "--adapter", adapter), results("--model", merged), results("--model", base)
	if len(with) < 6 {
		t.Fatal(with)
	}
	for k, x := range with {
		if math.Abs(x-into[k]) > 1e-4*max(1, math.Abs(x)) {
			t.Errorf("%s: %v with the adapter, %v merged", k, x, into[k])
		}
	}
	if math.Abs(with["last_word perplexity,none"]-without["last_word perplexity,none"]) < 1e-3 {
		t.Error("the adapter makes no difference")
	}
}
