package inspect

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mltrain/mltrain/internal/data"
)

func setup(t *testing.T) (data.Tokenizer, data.Options) {
	t.Helper()
	tok, raw, err := data.LoadTokenizer("../testdata/trl")
	if err != nil {
		t.Fatal(err)
	}
	tmpl, _, err := data.ResolveTemplate("auto", raw, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return tok, data.Options{MaxLength: 64, Vocab: 420, Template: tmpl}
}

func file(t *testing.T, name string, rows ...string) []data.Source {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(strings.Join(rows, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return []data.Source{{Path: path}}
}

// TestCheck plants one fault of every kind and expects exactly that kind, at its line.
func TestCheck(t *testing.T) {
	const fine = `{"prompt":"two and","completion":" three"}`
	long := strings.Repeat("word ", 200)
	tests := []struct {
		check, row string
		edit       func(*data.Options)
	}{
		{check: "malformed", row: `{"prompt":`},
		{check: "malformed", row: `{"prompt":3,"completion":"x"}`},
		{check: "unknown_shape", row: `{"a":1}`},
		{check: "template_rejects", row: `{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"y</s>"}],"chat_template_kwargs":{"messages":3}}`},
		{check: "outside_vocabulary", row: `{"prompt":"The river runs","completion":"x"}`, edit: func(o *data.Options) { o.Vocab = 300 }},
		{check: "unusable", row: `{"prompt":"a","chosen":"b","rejected":"c"}`},
		{check: "empty", row: `{"text":""}`},
		{check: "empty_answer", row: `{"prompt":"a","completion":""}`},
		{check: "mask_all_zero", row: `{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"y","weight":0}]}`},
		{check: "mask_all_one", row: `{"prompt":"","completion":"all of it"}`},
		{check: "no_eos_trained", row: `{"prompt":"x","completion":"y"}`, edit: func(o *data.Options) { o.NoEOS = true }},
		{check: "double_bos", row: `{"prompt":"<s>x","completion":"y"}`},
		{check: "over_max_length", row: `{"prompt":"x","completion":"` + long + `"}`},
		{check: "prompt_fills_max_length", row: `{"prompt":"` + long + `","completion":"x"}`},
		{check: "duplicate", row: fine},
		{check: "unknown_role", row: `{"prompt":[{"role":"wizard","content":"x"}],"completion":[{"role":"assistant","content":"x</s>"}]}`},
		{check: "ends_without_answer", row: `{"messages":[{"role":"assistant","content":"x</s>","weight":1},{"role":"user","content":"y"}]}`},
	}
	for _, tt := range tests {
		t.Run(tt.check, func(t *testing.T) {
			tok, opt := setup(t)
			rows := []string{fine, "", tt.row}
			if tt.edit != nil { // the option makes every such row faulty
				tt.edit(&opt)
				rows = []string{"", "", tt.row}
			}
			report, err := Check(t.Context(), file(t, "a.jsonl", rows...), opt, tok, nil)
			if err != nil {
				t.Fatal(err)
			}
			var found []string
			for _, f := range report.Findings {
				found = append(found, f.Check)
				if len(f.Refs) != 1 || f.Refs[0].Line != 3 || f.Rows != 1 || f.Do == "" || f.What == "" {
					t.Errorf("finding %+v, want line 3", f)
				}
			}
			if diff := cmp.Diff([]string{tt.check}, found); diff != "" {
				t.Errorf("%s\n%+v", diff, report.Findings)
			}
			if report.Failed() == (tt.check == "ends_without_answer") {
				t.Errorf("failed: %v", report.Failed())
			}
			var text bytes.Buffer
			if err := report.Write(&text); err != nil || !strings.Contains(text.String(), "a.jsonl:3") || !strings.Contains(text.String(), "do:") {
				t.Errorf("%v: %s", err, text.String())
			}
			quiet, err := Check(t.Context(), file(t, "a.jsonl", rows...), opt, tok, []string{tt.check})
			if err != nil || len(quiet.Findings) != 0 {
				t.Errorf("allowed, but found %+v, error %v", quiet, err)
			}
		})
	}
}

func TestCheckPreference(t *testing.T) {
	tok, opt := setup(t)
	opt.Objective = data.Preference
	report, err := Check(t.Context(), file(t, "a.jsonl", `{"prompt":"p","chosen":"a","rejected":"b"}`, `{"prompt":"p","chosen":"a","rejected":"a"}`,
		`{"prompt":"p","chosen":"a","rejected":""}`, `{"prompt":"p","chosen":"a","rejected":"b"}`, `{"prompt":"p","chosen":"a"}`), opt, tok, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, f := range report.Findings {
		got[f.Check] = f.Refs[0].Line
	}
	if diff := cmp.Diff(map[string]int{"chosen_equals_rejected": 2, "empty_answer": 3, "duplicate": 4, "unknown_shape": 5}, got); diff != "" {
		t.Error(diff)
	}
}

func TestCheckClean(t *testing.T) {
	tok, opt := setup(t)
	report, err := Check(t.Context(), file(t, "a.jsonl", `{"prompt":"a","completion":" b"}`, `{"text":"plain text trains all of it"}`), opt, tok, nil)
	if err != nil || report.Failed() || len(report.Findings) > 0 || report.Rows != 2 {
		t.Errorf("%+v, %v", report, err)
	}
	if _, err := Check(t.Context(), file(t, "a.jsonl", `{"text":"a"}`), opt, tok, []string{"spelling"}); err == nil {
		t.Error("an unknown check is accepted")
	}
}

func TestPreview(t *testing.T) {
	tok, opt := setup(t)
	sources := file(t, "a.jsonl", `{"text":"skipped"}`, `{"prompt":"Grüße 🙂 aus","completion":" Köln"}`, `{"text":""}`, `{"x":1}`, `{"text":"not shown"}`)
	rows, err := PreviewRows(t.Context(), sources, opt, tok, 1, 3)
	if err != nil {
		t.Fatal(err)
	}
	var plain, color bytes.Buffer
	for _, p := range rows {
		if err := p.Write(&plain, false); err != nil {
			t.Fatal(err)
		}
		if err := p.Write(&color, true); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"a.jsonl:2  prompt_completion", "<s>Grüße 🙂 aus⟦ Köln</s>⟧\n", "dropped: empty", "faulty: unknown row shape"} {
		if !strings.Contains(plain.String(), want) {
			t.Errorf("no %q in\n%s", want, plain.String())
		}
	}
	if strings.Contains(plain.String(), "\x1b") || !strings.Contains(color.String(), green+" Köln") || !strings.Contains(color.String(), blue+"</s>") {
		t.Errorf("colours: %q", color.String())
	}
	if len(rows) != 3 {
		t.Errorf("%d rows, want 3", len(rows))
	}
}

func TestStatistics(t *testing.T) {
	tok, opt := setup(t)
	opt.MaxLength = 16
	var rows []string
	for i := range 40 {
		rows = append(rows, `{"text":"`+strings.Repeat("2 ", 1+i)+`"}`)
	}
	s, err := Statistics(t.Context(), file(t, "a.jsonl", rows...), opt, tok, 4)
	if err != nil {
		t.Fatal(err)
	}
	if s.Before.Rows != 40 || s.After.Max != 16 || s.Before.Max <= 16 || s.CutTokens == 0 || s.Ledger.Kept != 40 {
		t.Errorf("%+v", s)
	}
	cut := int64(s.Before.Mean*40+.5) - int64(s.After.Mean*40+.5)
	if cut != s.CutTokens {
		t.Errorf("%d tokens cut, the means say %d", s.CutTokens, cut)
	}
	total := 0
	for _, b := range s.Histogram {
		total += b.Rows
	}
	if total != 40 || !(s.Packed > s.Padded && s.Grouped >= s.Padded && s.Packed <= 1) {
		t.Errorf("histogram of %d rows, packed %v, grouped %v, padded %v", total, s.Packed, s.Grouped, s.Padded)
	}
	var out bytes.Buffer
	if err := s.Write(&out); err != nil || !strings.Contains(out.String(), "█") {
		t.Errorf("%v: %s", err, out.String())
	}
}

func TestLengthsByNearestRank(t *testing.T) {
	want := Lengths{Rows: 10, Mean: 5.5, Min: 1, P50: 5, P90: 9, P95: 10, P99: 10, Max: 10}
	if diff := cmp.Diff(want, lengths([]int{10, 9, 8, 7, 6, 5, 4, 3, 2, 1})); diff != "" {
		t.Error(diff)
	}
}

// TestConvertAndBack: a row that goes through another layout and format trains the same tokens.
func TestConvertAndBack(t *testing.T) {
	tok, opt := setup(t)
	const chat = `{"messages":[{"role":"system","content":"s"},{"role":"user","content":"q, \"r\"\nz"},{"role":"assistant","content":"a <b> & 你"}]}`
	const calls = `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{"z":1,"a":2.0}}}]}],"tools":[{"z":1,"a":2}]}`
	tests := []struct {
		row       string
		objective data.Objective
		via       data.Layout
		files     []string
	}{
		{chat, data.Supervised, data.LayoutMessages, []string{"x.jsonl", "x.json", "x.csv", "x.tsv", "x.parquet", "x.jsonl.gz", "x.json.zst"}},
		{chat, data.Supervised, data.LayoutShareGPT, []string{"x.jsonl", "x.parquet"}},
		{calls, data.Supervised, data.LayoutMessages, []string{"x.jsonl", "x.csv", "x.parquet"}},
		{`{"instruction":"i","input":"n","output":"o","system":"s","history":[["a","b"]]}`, data.Supervised, data.LayoutPromptCompletion, []string{"x.json", "x.csv"}},
		{`{"instruction":"i","input":"","output":"o","system":"s","history":[["a","b"]]}`, data.Supervised, data.LayoutAlpaca, []string{"x.json", "x.csv"}},
		{`{"text":"a"}`, data.Supervised, data.LayoutAuto, []string{"x.jsonl", "x.csv"}},
		{`{"prompt":"a","chosen":"b","rejected":"c"}`, data.Preference, data.LayoutPreference, []string{"x.jsonl", "x.csv"}},
		{`{"conversations":[{"from":"human","value":"a"}],"chosen":{"from":"gpt","value":"b"},"rejected":{"from":"gpt","value":"c"}}`, data.Preference,
			data.LayoutPreference, []string{"x.jsonl", "x.parquet"}},
		{`{"prompt":"a","chosen":"b","rejected":"c"}`, data.Unpaired, data.LayoutKTO, []string{"x.jsonl", "x.csv"}},
	}
	for _, tt := range tests {
		opt.Objective = tt.objective
		encode := func(sources []data.Source) (docs [][]int32) {
			t.Helper()
			err := data.Inspect(t.Context(), sources, opt, tok, func(in data.Inspected) error {
				if in.Err != nil {
					return in.Err
				}
				for _, d := range in.Docs {
					docs = append(docs, d.IDs)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return docs
		}
		sources := file(t, "a.jsonl", tt.row)
		want := encode(sources)
		for _, name := range tt.files {
			out := filepath.Join(t.TempDir(), name)
			if _, err := Convert(sources, tt.via, nil, out); err != nil {
				t.Errorf("%s to %s in %s: %v", tt.row, tt.via, name, err)
				continue
			}
			if diff := cmp.Diff(want, encode([]data.Source{{Path: out}})); diff != "" {
				t.Errorf("%s by %s in %s: %s", tt.row, tt.via, name, diff)
			}
		}
	}
}

func TestConvertToText(t *testing.T) {
	_, opt := setup(t)
	out := filepath.Join(t.TempDir(), "x.jsonl")
	n, err := Convert(file(t, "a.jsonl", `{"prompt":"a","completion":"b"}`, `{"messages":[{"role":"assistant","content":"<c>"}]}`), data.LayoutText, opt.Template, out)
	if err != nil || n != 2 {
		t.Fatal(n, err)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for line := range strings.Lines(string(text)) {
		var row struct{ Text string }
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row.Text)
	}
	if diff := cmp.Diff([]string{"ab", "<s><|assistant|>\n<c><|end|>\n"}, rows); diff != "" {
		t.Error(diff)
	}
}

func TestConvertRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		row  string
		to   data.Layout
		file string
	}{
		"no pairs":       {`{"text":"a"}`, data.LayoutPreference, "x.jsonl"},
		"no label":       {`{"prompt":"a","completion":"b"}`, data.LayoutKTO, "x.jsonl"},
		"no template":    {`{"messages":[{"role":"user","content":"x"}]}`, data.LayoutText, "x.jsonl"},
		"calls in share": {`{"messages":[{"role":"assistant","content":"x","tool_calls":[]}]}`, data.LayoutShareGPT, "x.jsonl"},
		"open end":       {`{"messages":[{"role":"user","content":"x"}]}`, data.LayoutAlpaca, "x.jsonl"},
		"unknown format": {`{"text":"a"}`, data.LayoutAuto, "x.yaml"},
		"faulty row":     {`{"text":`, data.LayoutAuto, "x.jsonl"},
	} {
		dir := t.TempDir()
		if n, err := Convert(file(t, "a.jsonl", c.row), c.to, nil, filepath.Join(dir, c.file)); err == nil {
			t.Errorf("%s: %d rows are written", name, n)
		}
		left, err := os.ReadDir(dir)
		if err != nil || len(left) > 0 {
			t.Errorf("%s leaves %v, %v", name, left, err)
		}
	}
	// Rows of different columns don't fit into one CSV.
	_, err := Convert(file(t, "a.jsonl", `{"text":"a"}`, `{"prompt":"a","completion":"b"}`), data.LayoutAuto, nil, filepath.Join(t.TempDir(), "x.csv"))
	if err == nil || !slices.Contains(strings.Fields(err.Error()), ".jsonl") {
		t.Errorf("error %v, want the advice to use .jsonl", err)
	}
}
