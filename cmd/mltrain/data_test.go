package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mltrain/mltrain/internal/data/inspect"
)

// shared finds a folder of test material beside the repository, which a checkout need not have.
func shared(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join("../../../shared", name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no %s: real templates and data are tested only where they are", path)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

// TestDataRenderOracle renders templates of real models through the command and wants the text, or an error, that Python's
// jinja2 gives.
func TestDataRenderOracle(t *testing.T) {
	dir := shared(t, "oracles/chat_templates")
	t.Setenv("SOURCE_DATE_EPOCH", "1721952000")
	var want map[string]map[string]struct {
		Out *string `json:"out"`
	}
	if err := json.Unmarshal(read(t, filepath.Join(dir, "expected.json")), &want); err != nil {
		t.Fatal(err)
	}
	var scenarios map[string]map[string]json.RawMessage
	if err := json.Unmarshal(read(t, filepath.Join(dir, "scenarios.json")), &scenarios); err != nil {
		t.Fatal(err)
	}
	inputs := t.TempDir()
	for name, s := range scenarios {
		s["bos_token"], s["eos_token"] = json.RawMessage(`"<s>"`), json.RawMessage(`"</s>"`)
		raw, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(inputs, name+".json"), string(raw))
	}
	texts, failures := 0, 0
	for name, cases := range want {
		for scenario, w := range cases {
			code, stdout, stderr := mltrain(t, "data", "render", "--template", filepath.Join(dir, "templates", name+".jinja"),
				"--messages", filepath.Join(inputs, scenario+".json"), "--json")
			if w.Out == nil {
				if failures++; code != exitFailed || !strings.HasPrefix(stderr, "error: ") {
					t.Errorf("%s/%s: exit code %d, %s; Python fails", name, scenario, code, stdout)
				}
				continue
			}
			texts++
			var got renderedText
			if code != 0 || json.Unmarshal([]byte(stdout), &got) != nil || got.Text != *w.Out {
				t.Errorf("%s/%s: exit code %d\n got %q\nwant %q\n%s", name, scenario, code, got.Text, *w.Out, stderr)
			}
		}
	}
	if texts == 0 || failures == 0 {
		t.Errorf("%d texts and %d failures were compared", texts, failures)
	}
}

func TestDataRender(t *testing.T) {
	model := testModel(t)
	t.Chdir(t.TempDir())
	write(t, "t.jinja", "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[?]{% endif %}{{ style }}")
	write(t, "chat.json", `{"messages": [{"role": "user", "content": "a<b"}], "add_generation_prompt": true, "bos_token": "^", "style": "!"}`)
	write(t, "list.json", `[{"role": "user", "content": "hi"}]`)
	write(t, "date.jinja", "{{ strftime_now('%Y-%m-%d') }}{% if tools is none and documents is none %} none{% endif %}")
	write(t, "raise.jinja", "{{ raise_exception('no such role') }}")
	t.Setenv("SOURCE_DATE_EPOCH", "86400")
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"--template", "t.jinja", "--messages", "chat.json"}, "^[user]a<b[?]!"},
		{[]string{"--template", "t.jinja", "--messages", "chat.json", "--json"}, "{\n  \"text\": \"^[user]a<b[?]!\"\n}\n"},
		{[]string{"--template", "t.jinja", "--messages", "list.json"}, "[user]hi"},
		{[]string{"--model", model, "--template", "t.jinja", "--messages", "list.json"}, "<s>[user]hi"},
		{[]string{"--template", "date.jinja", "--messages", "list.json"}, "1970-01-02 none"},
		{[]string{"--template", "chatml", "--messages", "list.json"}, "<|im_start|>user\nhi<|im_end|>\n"},
	} {
		if got := must(t, append([]string{"data", "render"}, tc.args...)...); got != tc.want {
			t.Errorf("%q: got %q, want %q", tc.args, got, tc.want)
		}
	}
	write(t, "bad.json", `{"messages": "x"}`)
	write(t, "broken.json", `{"messages": [`)
	write(t, "strings.json", `["x"]`)
	for _, tc := range []struct {
		code int
		want string
		args []string
	}{
		{exitFailed, "no such role", []string{"--template", "raise.jinja", "--messages", "list.json"}},
		{exitFailed, `needed is an object with "messages"`, []string{"--template", "t.jinja", "--messages", "bad.json"}},
		{exitFailed, "broken.json", []string{"--template", "t.jinja", "--messages", "broken.json"}},
		{exitFailed, "message 1 is no object", []string{"--template", "t.jinja", "--messages", "strings.json"}},
		{exitFailed, "has no chat template", []string{"--model", model, "--messages", "list.json"}},
		{exitFailed, "neither a file nor a built-in layout", []string{"--template", "nope", "--messages", "list.json"}},
		{exitUsage, "give --model or --template", []string{"--messages", "list.json"}},
		{exitUsage, "--messages is not given", []string{"--template", "t.jinja"}},
	} {
		code, stdout, stderr := mltrain(t, append([]string{"data", "render"}, tc.args...)...)
		if code != tc.code || stdout != "" || !strings.Contains(stderr, tc.want) {
			t.Errorf("%q: exit code %d, %q, %q", tc.args, code, stdout, stderr)
		}
	}
}

// TestDataCheckFindsPlantedFaults plants a fault of each kind in the second row of a file and wants it found there.
func TestDataCheckFindsPlantedFaults(t *testing.T) {
	model := testModel(t)
	t.Chdir(t.TempDir())
	strict := "chat_template=strict.jinja"
	write(t, "strict.jinja", "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"+
		"{% generation %}{{ m.content }}</s>{% endgeneration %}{% endfor %}")
	write(t, "endless.jinja", "{% for m in messages %}{{ m.content }}<unk>{% endfor %}")
	const pair = `{"prompt": "two and", "completion": " three"}`
	const chat = `{"messages": [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]}`
	const better = `{"prompt": "q", "chosen": "yes", "rejected": "no"}`
	for _, tc := range []struct {
		check, fine, row string
		set              string
	}{
		{"no_eos_trained", pair, chat, "chat_template=endless.jinja"},
		{"double_bos", pair, `{"prompt": "<s><s>two", "completion": "three"}`, ""},
		{"mask_all_zero", pair, `{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y", "weight": 0}]}`, ""},
		{"mask_all_one", pair, chat, strict},
		{"template_rejects", pair, `{"messages": [{"role": "user", "content": "x"}, {"role": "user", "content": "y"}]}`, strict},
		{"outside_vocabulary", pair, `{"prompt": "two and", "completion": " {}~"}`, ""},
		{"duplicate", pair, pair, ""},
		{"chosen_equals_rejected", better, `{"prompt": "q", "chosen": "same", "rejected": "same"}`, ""},
		{"over_max_length", pair, `{"prompt": "two and", "completion": "` + strings.Repeat("more ", 30) + `"}`, "max_length=64"},
		{"prompt_fills_max_length", pair, `{"prompt": "` + strings.Repeat("more ", 30) + `", "completion": "x"}`, "max_length=64"},
		{"empty_answer", pair, `{"prompt": "two and", "completion": ""}`, ""},
		{"malformed", pair, `{"prompt": "two`, ""},
		{"unknown_shape", pair, `{"first": "two"}`, ""},
		{"unknown_role", pair, `{"messages": [{"role": "robot", "content": "x"}, {"role": "assistant", "content": "y"}]}`, ""},
	} {
		dir := model
		if tc.check == "outside_vocabulary" {
			dir = filepath.Join(t.TempDir(), "model")
			if err := os.CopyFS(dir, os.DirFS(model)); err != nil {
				t.Fatal(err)
			}
			edit(t, dir, func(c map[string]any) { c["vocab_size"] = 94 }) // { and } are beyond it
		}
		write(t, "rows.jsonl", tc.fine+"\n"+tc.row+"\n")
		args := []string{"data", "check", "--model", dir, "--data", "rows.jsonl", "--json"}
		if !strings.HasPrefix(tc.set, "chat_template=") {
			args = append(args, "--set", "chat_template=chatml")
		}
		if tc.set != "" {
			args = append(args, "--set", tc.set)
		}
		code, stdout, stderr := mltrain(t, args...)
		var got checkedData
		if err := json.Unmarshal([]byte(stdout), &got); err != nil {
			t.Errorf("%s: exit code %d, %s", tc.check, code, stderr)
			continue
		}
		if code != exitFailed || got.OK || got.Report.Rows != 2 || !finds(got.Report, tc.check, 2) {
			t.Errorf("%s: exit code %d, found %s", tc.check, code, stdout)
		}
		if finds(got.Report, tc.check, 1) {
			t.Errorf("%s is found in the good row too: %s", tc.check, stdout)
		}
	}
	write(t, "good.jsonl", pair+"\n")
	if code, stdout, _ := mltrain(t, "data", "check", "--model", model, "--data", "good.jsonl"); code != 0 || !strings.Contains(stdout, "1 rows, nothing") {
		t.Errorf("good.jsonl: exit code %d, %q", code, stdout)
	}
	write(t, "twice.jsonl", pair+"\n"+pair+"\n")
	code, stdout, stderr := mltrain(t, "data", "check", "--model", model, "--data", "twice.jsonl")
	if code != exitFailed || !strings.Contains(stdout, "FAULT duplicate") || !strings.Contains(stdout, "twice.jsonl:2") || !strings.Contains(stdout, "do:") || strings.Contains(stderr, "error") {
		t.Errorf("twice.jsonl: exit code %d, %q, %q", code, stdout, stderr)
	}
	if code, _, _ := mltrain(t, "data", "check", "--model", model, "--data", "twice.jsonl", "--allow", "duplicate"); code != 0 {
		t.Errorf("with the check left out: exit code %d", code)
	}
	if code, _, stderr := mltrain(t, "data", "check", "--model", model, "--data", "twice.jsonl", "--allow", "x"); code != exitUsage || !strings.Contains(stderr, "no such check") {
		t.Errorf("--allow x: exit code %d, %q", code, stderr)
	}
}

func finds(r *inspect.Report, check string, line int) bool {
	for _, f := range r.Findings {
		if f.Check != check {
			continue
		}
		for _, ref := range f.Refs {
			if ref.Line == line {
				return true
			}
		}
	}
	return false
}

// TestDataCheckOnRealData holds the reports to what is known of the files.
func TestDataCheckOnRealData(t *testing.T) {
	model, dir := shared(t, "tokenizers/qwen3"), shared(t, "data")
	for _, tc := range []struct {
		file string
		rows int
		code int
		want map[string]int // check → rows
	}{
		{"chat/v1_sft_demo.jsonl", 500, exitFailed, map[string]int{"duplicate": 1}},
		{"chat/alpaca_en_demo.json", 999, exitFailed, map[string]int{"duplicate": 14}},
		{"preference/dpo_en_demo.json", 300, exitFailed, map[string]int{"over_max_length": 55, "prompt_fills_max_length": 35, "duplicate": 5}},
	} {
		code, stdout, stderr := mltrain(t, "data", "check", "--model", model, "--data", filepath.Join(dir, tc.file), "--json")
		var got checkedData
		if err := json.Unmarshal([]byte(stdout), &got); err != nil {
			t.Fatalf("%s: %v, %s", tc.file, err, stderr)
		}
		if code != tc.code || got.Report.Rows != tc.rows || len(got.Findings) != len(tc.want) {
			t.Errorf("%s: exit code %d, %s", tc.file, code, stdout)
		}
		for _, f := range got.Findings {
			if f.Rows != tc.want[f.Check] {
				t.Errorf("%s: %s in %d rows, want %d", tc.file, f.Check, f.Rows, tc.want[f.Check])
			}
		}
	}
}

func TestDataPreviewStatsConvert(t *testing.T) {
	model := testModel(t)
	t.Chdir(t.TempDir())
	write(t, "rows.jsonl", `{"prompt": "2+2=", "completion": "4"}`+"\n"+`{"prompt": "1+2=", "completion": "3"}`+"\n")
	write(t, "pairs.jsonl", `{"prompt": "q", "chosen": "yes", "rejected": "no"}`+"\n")
	preview := func(args ...string) string {
		return must(t, append([]string{"data", "preview", "--model", model}, args...)...)
	}
	if got := preview("--data", "rows.jsonl", "--rows", "1"); !strings.Contains(got, "\n2+2=⟦4</s>⟧\n") || strings.Contains(got, "1+2") || strings.Contains(got, "\x1b") {
		t.Errorf("piped: %q", got)
	}
	if got := preview("--data", "rows.jsonl", "--skip", "1", "--color", "always"); !strings.Contains(got, "\x1b[32m3\x1b[0m") || strings.Contains(got, "⟦") || strings.Contains(got, "2+2") {
		t.Errorf("in colour: %q", got)
	}
	if got := preview("--data", "pairs.jsonl"); !strings.Contains(got, "── chosen\n⟦yes</s>⟧") || !strings.Contains(got, "── rejected\n⟦no</s>⟧") {
		t.Errorf("pairs: %q", got)
	}
	var rows struct{ Rows []inspect.Preview }
	if err := json.Unmarshal([]byte(preview("--data", "rows.jsonl", "--json")), &rows); err != nil || len(rows.Rows) != 2 || rows.Rows[0].Trained != 2 {
		t.Errorf("JSON: %v %+v", err, rows)
	}
	var s inspect.Stats
	if err := json.Unmarshal([]byte(must(t, "data", "stats", "--model", model, "--data", "rows.jsonl", "--json")), &s); err != nil || s.Ledger.Rows != 2 || s.After.Max != 6 || s.BatchSize != 8 {
		t.Errorf("stats: %v %+v", err, s)
	}
	must(t, "data", "convert", "--data", "rows.jsonl", "--to", "messages", "--output", "chats.jsonl")
	if got := string(read(t, "chats.jsonl")); !strings.Contains(got, `"role":"assistant","content":"4"`) {
		t.Errorf("converted: %s", got)
	}
	if got := must(t, "data", "convert", "--data", "chats.jsonl", "--output", "rows.parquet", "--json"); !strings.Contains(got, `"rows": 2`) {
		t.Errorf("to Parquet: %s", got)
	}
	must(t, "data", "convert", "--data", "rows.parquet", "--to", "text", "--model", model, "--set", "chat_template=chatml", "--output", "text.csv")
	if got := string(read(t, "text.csv")); !strings.Contains(got, "<|im_start|>user\n2+2=<|im_end|>") {
		t.Errorf("as text: %s", got)
	}
	for _, tc := range []struct {
		code int
		want string
		args []string
	}{
		{exitFailed, "text.csv exists", []string{"convert", "--data", "rows.jsonl", "--output", "text.csv"}},
		{exitUsage, "--to", []string{"convert", "--data", "rows.jsonl", "--to", "poem", "--output", "x.csv"}},
		{exitUsage, "--output is not given", []string{"convert", "--data", "rows.jsonl"}},
		{exitUsage, "--data is not given", []string{"check", "--model", model}},
		{exitUsage, "--model is not given", []string{"check", "--data", "rows.jsonl"}},
		{exitUsage, "--color", []string{"preview", "--model", model, "--data", "rows.jsonl", "--color", "blue"}},
		{exitUsage, "--command", []string{"stats", "--model", model, "--data", "rows.jsonl", "--command", "stf"}},
		{exitFailed, "absent.jsonl", []string{"stats", "--model", model, "--data", "absent.jsonl"}},
	} {
		code, _, stderr := mltrain(t, append([]string{"data"}, tc.args...)...)
		if code != tc.code || !strings.Contains(stderr, tc.want) {
			t.Errorf("%q: exit code %d, %q", tc.args, code, stderr)
		}
	}
}
