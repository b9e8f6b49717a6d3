package predictions

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mltrain/mltrain/internal/eval/sandbox"
)

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// Files of every kind and format, with what is expected of some of their metrics, by hand.
func TestScore(t *testing.T) {
	nan := math.NaN()
	for _, tc := range []struct {
		name, file, text string
		options          Options
		kind             Kind
		want             map[string]float64
		note             string
	}{
		{
			name: "binary", file: "a.jsonl", kind: KindClasses,
			text: `{"label":1,"prediction":1,"score":0.9}
{"label":0,"prediction":1,"score":0.6}
{"label":1,"prediction":1.0,"score":0.6}
{"label":0,"prediction":0,"score":0.1}`,
			want: map[string]float64{"accuracy": 0.75, "precision": 2. / 3, "recall": 1, "roc_auc": 3.5 / 4, "brier": (0.01 + 0.36 + 0.16 + 0.01) / 4},
			note: "of the class 1",
		},
		{
			name: "binary in CSV", file: "a.csv", kind: KindClasses,
			text: "label,prediction,score\nno,no,0.2\nyes,no,0.4\nyes,yes,0.7\n",
			want: map[string]float64{"accuracy": 2. / 3, "recall": 0.5, "roc_auc": 1},
		},
		{
			name: "positive class", file: "a.csv", kind: KindClasses, options: Options{Positive: "no"},
			text: "label,prediction,score\nno,no,0.8\nyes,no,0.4\nyes,yes,0.7\n",
			want: map[string]float64{"precision": 0.5, "recall": 1, "roc_auc": 1}, note: "of the class no",
		},
		{
			name: "scores by name, without predictions", file: "a.json", kind: KindClasses,
			text: `[{"label":"a","scores":{"a":0.7,"b":0.2,"c":0.1}},{"label":"b","scores":{"a":0.5,"b":0.4,"c":0.1}}]`,
			want: map[string]float64{"accuracy": 0.5, "roc_auc_ovr_macro": nan, "log_loss": -(math.Log(0.7) + math.Log(0.4)) / 2},
			note: "the class of the highest score was taken",
		},
		{
			name: "scores in order, no probabilities", file: "a.jsonl", kind: KindClasses,
			text: `{"label":"a","prediction":"a","scores":[3,-1,0]}
{"label":"b","prediction":"c","scores":[1,2,3]}
{"label":"c","prediction":"c","scores":[0,1,9]}`,
			want: map[string]float64{"accuracy": 2. / 3, "roc_auc_ovr_macro": (1 + 1 + 1.) / 3}, note: "log_loss, brier and ece are left out",
		},
		{
			name: "one class", file: "a.jsonl", kind: KindClasses,
			text: `{"label":"a","prediction":"a","score":0.5}`,
			want: map[string]float64{"accuracy": 1, "cohen_kappa": nan, "roc_auc": nan}, note: "roc_auc is not defined",
		},
		{
			name: "zero division left out", file: "a.jsonl", kind: KindClasses, options: Options{ZeroDivision: nan},
			text: `{"label":"a","prediction":"a"}
{"label":"b","prediction":"a"}`,
			want: map[string]float64{"precision_macro": 0.5, "precision": nan},
		},
		{
			name: "texts", file: "a.jsonl", kind: KindTexts,
			text: `{"prediction":"the cat sat on the mat","references":["a cat sat on a mat","Cat sat on mat!"]}
{"prediction":"no","reference":"yes"}`,
			want: map[string]float64{"exact_match": 0.5, "f1": 0.5, "rouge1": 0.4},
		},
		{
			name: "numbers", file: "a.csv", kind: KindNumbers,
			text: "label,prediction\n1.0,1.5\n2.0,2.5\n3.0,3.5\n",
			want: map[string]float64{"mse": 0.25, "rmse": 0.5, "mae": 0.5, "pearson": 1, "kendall": 1},
		},
		{
			name: "whole numbers as regression", file: "a.jsonl", kind: KindNumbers, options: Options{Kind: KindNumbers, HuberDelta: 2},
			text: `{"label":1,"prediction":4}`,
			want: map[string]float64{"mae": 3, "huber": 4, "r2": nan, "spearman": nan}, note: "spearman is not defined",
		},
		{
			name: "tags", file: "a.jsonl", kind: KindSequences,
			text: `{"tags":["B-PER","I-PER","O","B-LOC"],"prediction":["B-PER","I-PER","O","O"]}`,
			want: map[string]float64{"f1_micro": 2. / 3, "precision_micro": 1, "recall_macro": 0.5, "accuracy": 0.75},
		},
		{
			name: "no tags", file: "a.jsonl", kind: KindSequences,
			text: `{"tags":["O"],"prediction":["O"]}`, want: map[string]float64{"f1_micro": 0, "f1_macro": nan}, note: "no entities",
		},
		{
			name: "gains", file: "a.jsonl", kind: KindRanking, options: Options{K: []int{1}},
			text: `{"relevance":[0,1],"scores":[2,1]}
{"relevance":[0,0],"scores":[2,1]}`,
			want: map[string]float64{"mrr": 0.25, "map": 0.5, "recall@1": 0, "ndcg": 0.5 / math.Log2(3)}, note: "1 queries have nothing relevant",
		},
		{
			name: "ids", file: "a.jsonl", kind: KindRanking,
			text: `{"ranking":["x","y","z"],"relevant":["y","missing"]}`,
			want: map[string]float64{"mrr": 0.5, "recall@10": 0.5, "map": 0.25, "precision@1": 0},
		},
		{
			name: "graded ids", file: "a.jsonl", kind: KindRanking, options: Options{K: []int{1}},
			text: `{"ranking":[7,8],"relevant":{"8":3,"7":1}}`, want: map[string]float64{"ndcg@1": 1. / 3},
		},
		{
			name: "pass@k", file: "a.jsonl", kind: KindPasses,
			text: `{"task_id":"t/1","passed":true}
{"task_id":"t/1","passed":false}
{"task_id":2,"passed":false}
{"task_id":2,"passed":false}`,
			options: Options{K: []int{1, 2, 3}},
			want:    map[string]float64{"tasks": 2, "pass@1": 0.25, "pass@2": 0.5}, note: "pass@3 is left out",
		},
		{
			name: "perplexity", file: "a.jsonl", kind: KindLikelihood,
			text: `{"logprobs":[-1,-2]}
{"logprobs":[-3]}`, want: map[string]float64{"nll": 2, "perplexity": math.Exp(2), "tokens": 3},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := Score(t.Context(), file(t, tc.file, tc.text), tc.options)
			if err != nil {
				t.Fatal(err)
			}
			if r.Kind != tc.kind {
				t.Errorf("recognised as %s", r.Kind)
			}
			for name, want := range tc.want {
				got, ok := r.Results.Get(name)
				if !ok || math.IsNaN(got) != math.IsNaN(want) || math.Abs(got-want) > 1e-12 {
					t.Errorf("%s is %g (%v), want %g", name, got, ok, want)
				}
			}
			if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, tc.note) {
				t.Errorf("notes %q lack %q", notes, tc.note)
			}
			raw, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			var back struct{ Results map[string]*float64 }
			if err := json.Unmarshal(raw, &back); err != nil {
				t.Fatal(err)
			}
			for name, want := range tc.want {
				if got := back.Results[name]; (got == nil) != math.IsNaN(want) {
					t.Errorf("%s is %v in JSON", name, got)
				}
			}
			var text strings.Builder
			if err := r.Write(&text); err != nil || !strings.Contains(text.String(), string(tc.kind)) {
				t.Errorf("%v: %s", err, &text)
			}
		})
	}
}

func TestFaultyRows(t *testing.T) {
	for _, tc := range []struct {
		name, file, text string
		options          Options
		want             []string
	}{
		{name: "empty", file: "a.jsonl", want: []string{"no rows"}},
		{name: "unknown keys", file: "a.jsonl", text: `{"x":1}`, want: []string{":1: cannot tell", "the keys x", "label and prediction"}},
		{name: "missing keys", file: "a.jsonl", text: "{\"label\":\"a\",\"prediction\":\"a\"}\n{\"label\":\"a\"}\n{\"prediction\":\"a\"}",
			want: []string{":2: the key prediction is missing", ":3: the key label is missing"}},
		{name: "null", file: "a.jsonl", text: `{"label":null,"prediction":"a"}`, want: []string{":1: label: expected a class", "null"}},
		{name: "mixture", file: "a.jsonl", text: "{\"label\":1,\"prediction\":1}\n{\"label\":1,\"prediction\":\"1\"}", want: []string{":2: prediction is the text", "all as numbers or all as text"}},
		{name: "score of three", file: "a.jsonl", text: "{\"label\":\"a\",\"prediction\":\"b\",\"score\":0.1}\n{\"label\":\"c\",\"prediction\":\"b\",\"score\":0.1}",
			want: []string{"one number", "3 classes"}},
		{name: "score as text", file: "a.jsonl", text: "{\"label\":0,\"prediction\":1,\"score\":0.1}\n{\"label\":1,\"prediction\":1,\"score\":\"high\"}", want: []string{":2: score: expected a number", `"high"`}},
		{name: "scores too few", file: "a.jsonl", text: `{"label":"a","prediction":"b","scores":[1]}`, want: []string{":1: score: 1 numbers", "2 classes"}},
		{name: "scores without a class", file: "a.jsonl", text: "{\"label\":\"a\",\"prediction\":\"a\",\"scores\":{\"a\":1,\"b\":0}}\n{\"label\":\"a\",\"prediction\":\"b\",\"scores\":{\"a\":1}}",
			want: []string{`:2: score: there is none for the class "b"`}},
		{name: "positive", file: "a.jsonl", text: `{"label":"a","prediction":"b","score":1}`, options: Options{Positive: "z"}, want: []string{`"z" does not occur`, "a, b"}},
		{name: "reference", file: "a.jsonl", text: `{"references":[],"prediction":"b"}`, want: []string{":1: references: expected at least one"}},
		{name: "number", file: "a.csv", text: "label,prediction\n1.5,2\n1.5,x\n", options: Options{Kind: KindNumbers}, want: []string{":3: prediction: expected a number", `"x"`}},
		{name: "infinite", file: "a.jsonl", text: `{"label":1e999,"prediction":1.5}`, want: []string{":1: label: expected a finite number"}},
		{name: "tags", file: "a.jsonl", text: `{"tags":["O","O"],"prediction":["O"]}`, want: []string{":1: 1 predicted tags for 2"}},
		{name: "scheme", file: "a.jsonl", text: `{"tags":["E-A"],"prediction":["O"]}`, options: Options{Scheme: "IOB2"}, want: []string{"row 1", `"E-A"`}},
		{name: "ranking", file: "a.jsonl", text: `{"relevance":[1,2],"scores":[1]}`, want: []string{":1: 1 scores for 2 items"}},
		{name: "ranking twice", file: "a.jsonl", text: `{"ranking":["a","a"],"relevant":["a"]}`, want: []string{":1: ranking names a twice"}},
		{name: "ranking alone", file: "a.jsonl", text: `{"ranking":["a"]}`, want: []string{":1: needed are"}},
		{name: "passed", file: "a.jsonl", text: `{"task_id":"a","passed":"maybe"}`, want: []string{":1: passed: expected true or false"}},
		{name: "logprobs", file: "a.jsonl", text: `{"logprobs":[0.5]}`, want: []string{":1: logprobs: item 1"}},
		{name: "many", file: "a.jsonl", text: `{"label":"a","prediction":"a"}` + strings.Repeat("\n{\"label\":\"a\"}", 14), want: []string{":2:", ":11:", "and 4 more rows"}},
		{name: "broken", file: "a.jsonl", text: "{\"label\":\"a\",\"prediction\":\"a\"}\n{\"label\"", want: []string{":2"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Score(t.Context(), file(t, tc.file, tc.text), tc.options)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v\nlacks %q", err, want)
				}
			}
		})
	}
}

// Programs are put together from rows and problems, and what becomes of them is counted.
func TestScoreCode(t *testing.T) {
	problems := file(t, "problems.jsonl", `{"task_id":"p/0","prompt":"def f():\n","test":"def check(g): pass","entry_point":"f"}`)
	rows := `{"task_id":"p/0","completion":"    return 1"}
{"task_id":"p/0","completion":"    return 2"}
{"task_id":"own","completion":"    x","prompt":"def h():\n","test":"T","entry_point":"h"}`
	var got []string
	run := func(_ context.Context, programs []string, done func(int, sandbox.Verdict) error) error {
		got = programs
		for i := range programs {
			status := sandbox.Failed
			if i != 1 {
				status = sandbox.Passed
			}
			if err := done(i, sandbox.Verdict{Status: status, Reason: "r"}); err != nil {
				return err
			}
		}
		return nil
	}
	r, err := Score(t.Context(), file(t, "a.jsonl", rows), Options{Problems: problems, RunCode: run})
	if err != nil {
		t.Fatal(err)
	}
	if got[1] != "def f():\n    return 2\ndef check(g): pass\ncheck(f)" || got[2] != "def h():\n    x\nT\ncheck(h)" {
		t.Errorf("programs %q", got)
	}
	if p, _ := r.Results.Get("pass@1"); p != 0.75 || r.Samples[1].Status != sandbox.Failed || r.Samples[1].Reason != "r" {
		t.Errorf("pass@1 %g, %+v", p, r.Samples)
	}
	for text, want := range map[string]string{
		rows:                               "--allow-code-execution",
		`{"task_id":"q","completion":"x"}`: `no problem "q"`,
		`{"task_id":"q","completion":7,"test":"t","prompt":"p"}`: "the key entry_point is missing",
	} {
		o := Options{Problems: problems, RunCode: run}
		if text == rows {
			o.RunCode = nil
		}
		if _, err := Score(t.Context(), file(t, "b.jsonl", text), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func FuzzScore(f *testing.F) {
	f.Add(`{"label":1,"prediction":0,"score":[0.5]}`)
	f.Add(`{"references":["a"],"prediction":"b"}`)
	f.Add(`{"tags":["B-A",""],"prediction":["I","-"]}`)
	f.Add(`{"ranking":[1],"relevant":{"a":"x"}}`)
	f.Add(`{"relevance":[-1],"scores":[1e308]}`)
	f.Add(`{"task_id":[],"passed":1}`)
	f.Add(`{"label":"a","scores":{"a":1}}`)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, line string) {
		path := filepath.Join(dir, "fuzz.jsonl")
		if err := os.WriteFile(path, []byte(line), 0o666); err != nil {
			t.Fatal(err)
		}
		r, err := Score(t.Context(), path, Options{})
		if err != nil {
			return
		}
		if _, err := json.Marshal(r); err != nil {
			t.Errorf("%q: %v", line, err)
		}
	})
}
