package eval

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.WriteFile(p, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return p
}

// selectFile selects the tasks of a file.
func selectFile(t *testing.T, path string) *Selection {
	t.Helper()
	r, err := NewRegistry(nil)
	if err != nil {
		t.Fatal(err)
	}
	names, err := r.AddPath(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.Select(names)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const codeTask = `task: code
unsafe_code: true
output_type: generate_until
dataset_path: json
dataset_kwargs: {data_files: {test: code.jsonl}}
test_split: test
doc_to_text: q
doc_to_target: "check({{f}})"
repeats: 4
generation_kwargs: {until: ["\n"], max_gen_toks: 6, do_sample: true, temperature: 1.2}
metric_list:
  - {metric: pass@k, k: [1, 3]}
`

func TestPassAtK(t *testing.T) {
	lm := openLM(t, filepath.Join(evalData, "model"), 1)
	dir := t.TempDir()
	write(t, dir, "code.jsonl", `{"q":"Question: 3 + 4?\nAnswer:","f":"x"}`+"\n"+`{"q":"Ann has a","f":"y"}`+"\n")
	s := selectFile(t, write(t, dir, "code.yaml", codeTask))
	if _, err := Evaluate(t.Context(), lm, s, Options{Seed: 1}, nil); !errors.Is(err, ErrCodeExecution) {
		t.Errorf("without leave to run code: %v", err)
	}
	var ran []string
	o := Options{Seed: 1, Execute: func(_ context.Context, programs []string, done func(int, bool) error) error {
		ran = append(ran, programs...)
		for i, p := range programs {
			if err := done(i, len(p)%2 == 0); err != nil {
				return err
			}
		}
		return nil
	}}
	res, err := Evaluate(t.Context(), lm, s, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	var pass1, pass3 float64
	for i, sample := range res.Samples["code"] {
		answers, _ := sample["filtered_resps"].([]any)[0].([]string)
		if len(answers) != 4 {
			t.Fatalf("row %d: answers %q", i, answers)
		}
		q := []string{"Question: 3 + 4?\nAnswer:", "Ann has a"}[i]
		right := 0
		for _, a := range answers {
			p := q + a + "\n" + "check(" + []string{"x", "y"}[i] + ")"
			if !slices.Contains(ran, p) {
				t.Errorf("program %q was not run", p)
			}
			right += int(truth(len(p)%2 == 0))
		}
		// Of the four ways to leave one of four answers out, those are wrong that leave the only right one out.
		wrong := map[int]float64{0: 1, 1: 0.25}[right]
		pass1, pass3 = pass1+float64(right)/4/2, pass3+(1-wrong)/2
	}
	m := res.Results["code"]
	if d := differ(m["pass@1,none"], pass1, 1e-12, "pass@1"); d != nil {
		t.Error(d)
	}
	if d := differ(m["pass@3,none"], pass3, 1e-12, "pass@3"); d != nil {
		t.Error(d)
	}
	again, err := Evaluate(t.Context(), lm, s, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := differ(viaJSON(t, again.Samples), viaJSON(t, res.Samples), 0, "again"); d != nil {
		t.Error("the same seed draws other answers", d)
	}
	o.GenKwargs = map[string]any{"do_sample": false, "temperature": 0}
	if _, err := Evaluate(t.Context(), lm, s, o, nil); err == nil || !strings.Contains(err.Error(), "pass@3 needs as many answers") {
		t.Errorf("greedy answers for pass@3: %v", err)
	}
}

// A run that is interrupted keeps what it has, and ends with the same results to the bit.
func TestInterruptedRunGoesOn(t *testing.T) {
	lm := openLM(t, filepath.Join(evalData, "model"), 1)
	s := selection(t, "pets", "passages", "sums")
	o := Options{Seed: 1234, BatchSize: 4, BootstrapIters: 100}
	want, err := Evaluate(t.Context(), lm, s, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), JournalFile)
	kept := -1
	for stopAt := 40; ; stopAt += 60 {
		j, err := OpenJournal(path, "model")
		if err != nil {
			t.Fatal(err)
		}
		if j.Len() < kept {
			t.Fatalf("%d answers, before there were %d", j.Len(), kept)
		}
		kept = j.Len()
		ctx, cancel := context.WithCancel(t.Context())
		o.Progress = func(done, _ int) {
			if done >= stopAt {
				cancel()
			}
		}
		got, err := Evaluate(ctx, lm, s, o, j)
		cancel()
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if errors.Is(err, context.Canceled) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if stopAt == 40 {
			t.Fatal("the run was not interrupted")
		}
		if d := differ(viaJSON(t, got.Samples), viaJSON(t, want.Samples), 0, "samples"); d != nil {
			t.Error(d[:min(len(d), 5)])
		}
		if d := differ(viaJSON(t, got.Results), viaJSON(t, want.Results), 0, "results"); d != nil {
			t.Error(d)
		}
		break
	}
}

// A text that is longer than the input is predicted once, each token from what the windows say.
func TestStridedPerplexity(t *testing.T) {
	ids := make([]int32, 23)
	for i := range ids {
		ids[i] = int32(i)
	}
	for _, c := range []struct{ size, stride int }{{8, 4}, {8, 8}, {8, 1}, {30, 15}, {23, 23}, {2, 1}} {
		next := int32(1)
		for k, q := range strides(ids, c.size, c.stride) {
			if len(q.IDs) > c.size || k > 0 && q.From < c.size-c.stride {
				t.Errorf("%+v: window %d: %+v", c, k, q)
			}
			for _, id := range q.IDs[q.From:] {
				if id != next {
					t.Fatalf("%+v: token %d is predicted, want %d", c, id, next)
				}
				next++
			}
		}
		if int(next) != len(ids) && c.stride < c.size {
			t.Errorf("%+v: %d of %d tokens are predicted", c, next, len(ids))
		}
	}

	lm := openLM(t, filepath.Join(evalData, "model"))
	text := strings.Repeat("Ann has a dog. The dog says woof. ", 30)
	got, err := lm.Perplexity(t.Context(), []Text{{text, 1}, {"Ben has a cat.", 2}}, 50)
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	n := 0
	for _, s := range []string{text, "Ben has a cat."} {
		all, err := lm.tok.AppendIDs(nil, s, true)
		if err != nil {
			t.Fatal(err)
		}
		done := 1 // as transformers' documentation has it
		for begin := 0; done < len(all); begin += 50 {
			end := min(begin+lm.maxLength, len(all))
			scores, err := lm.engine.Score(t.Context(), [][]int32{all[begin:end]})
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range scores[0][done-begin-1:] {
				sum -= x.LogProb
				n++
			}
			done = end
		}
	}
	if got.Tokens != n || math.Abs(got.NLL-sum/float64(n)) > 1e-6 || got.Rows != 2 {
		t.Errorf("%+v, want nll %v over %d tokens", got, sum/float64(n), n)
	}
	if b := math.Exp(sum / float64(len(text)+14)); math.Abs(got.BytePerplexity-b) > 1e-6 {
		t.Errorf("per byte %v, want %v", got.BytePerplexity, b)
	}
	if _, err := lm.Perplexity(t.Context(), []Text{{text, 1}}, 1000); err == nil {
		t.Error("a stride beyond the input was taken")
	}
}

func TestEncodePair(t *testing.T) {
	lm := openLM(t, filepath.Join(evalData, "model"))
	joinedIDs := func(s string) []int32 {
		ids, err := lm.tok.AppendIDs(nil, s, true)
		if err != nil {
			t.Fatal(err)
		}
		return ids
	}
	for _, c := range []struct{ context, continuation string }{{"Ann has a", " dog"}, {"Ann has a ", "dog"}, {"Ann has a", "dog"}, {"Ann \n ", "has"}} {
		q, err := lm.encodePair(c.context, c.continuation)
		if err != nil {
			t.Fatal(err)
		}
		if want := joinedIDs(c.context + c.continuation); !slices.Equal(q.IDs, want) {
			t.Errorf("%+v: %v, want the tokens of the whole %v", c, q.IDs, want)
		}
		if from := len(joinedIDs(strings.TrimRight(c.context, " \n"))); q.From != from {
			t.Errorf("%+v: the continuation begins at %d, want %d", c, q.From, from)
		}
	}
	if q, err := lm.encodePair("", "dog"); err != nil || q.From != 1 || q.IDs[0] != 0 || q.IDs[1] == 0 {
		t.Errorf("without context: %+v, %v", q, err)
	}
	if q, err := lm.encodePair("<s>Ann", " has"); err != nil || q.IDs[1] == 0 {
		t.Errorf("a context that begins with BOS got another: %+v, %v", q, err)
	}
	long := strings.Repeat("dog cat ", 200)
	if q, err := lm.encodePair(long, "cow"); err != nil || len(q.IDs) != lm.maxLength+1 || q.From >= len(q.IDs) {
		t.Errorf("a long context: %d tokens from %d, %v", len(q.IDs), q.From, err)
	}
	for _, c := range [][2]string{{"Ann", ""}, {"", ""}, {"Ann", long}} {
		if _, err := lm.encodePair(c[0], c[1]); err == nil {
			t.Errorf("%.20q, %.20q was taken", c[0], c[1])
		}
	}
}

// What is cut or cannot be right is said.
func TestWarnings(t *testing.T) {
	lm := openLM(t, filepath.Join(evalData, "model"), 1)
	var said []string
	o := Options{Seed: 1234, Limit: 8, Warn: func(m string) { said = append(said, m) }}
	shots := 9
	o.NumFewshot = &shots
	if _, err := Evaluate(t.Context(), lm, selection(t, "pets_self"), o, nil); err != nil {
		t.Fatal(err)
	}
	all := strings.Join(said, "\n")
	for _, want := range []string{"prompts are longer than the 160 tokens", "rows is none of their choices"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q lacks %q", all, want)
		}
	}
	said = nil
	if _, err := Evaluate(t.Context(), lm, selection(t, "pets"), Options{Limit: 3, Warn: o.Warn}, nil); err != nil || said != nil {
		t.Errorf("%q, %v", said, err)
	}
}

func TestCompare(t *testing.T) {
	a, b := Paired{}, Paired{}
	for i := range 20 {
		k := string(rune('a' + i))
		a[k], b[k] = truth(i < 10), truth(i < 9 || i >= 14) // 1 only A has right, 6 only B
	}
	d, err := Compare("t", "acc,none", a, b)
	if err != nil {
		t.Fatal(err)
	}
	// Two-sided, of 7 throws: 2·(C(7,0) + C(7,1)) / 2⁷.
	if d.Test != "mcnemar" || d.OnlyA != 1 || d.OnlyB != 6 || math.Abs(d.P-0.125) > 1e-12 || math.Abs(d.Diff-0.25) > 1e-12 || d.Rows != 20 {
		t.Errorf("%+v", d)
	}
	if same, err := Compare("t", "acc,none", a, a); err != nil || same.P != 1 || same.Diff != 0 {
		t.Errorf("%+v, %v", same, err)
	}
	for k := range a {
		a[k] = float64(k[0]) * 0.01
		b[k] = a[k] + 0.001*float64(int(k[0])%3)
	}
	d, err = Compare("t", "chrf,none", a, b)
	if err != nil || d.Test != "paired bootstrap" || d.P > 0.01 || d.Diff <= 0 || d.CI95[0] <= 0 {
		t.Errorf("a difference in nearly all rows: %+v, %v", d, err)
	}
	for k := range a {
		b[k] = a[k] + 0.5*float64(int(k[0])%2) - 0.25
	}
	if d, err = Compare("t", "chrf,none", a, b); err != nil || d.P < 0.5 {
		t.Errorf("as often better as worse: %+v, %v", d, err)
	}
	if _, err := Compare("t", "m", Paired{"x": 1}, Paired{"y": 1}); !errors.Is(err, ErrNothingCommon) {
		t.Errorf("nothing in common: %v", err)
	}
}

// The built-in tasks are sound, and read what they are for.
func TestBuiltinTasks(t *testing.T) {
	r, err := NewRegistry(nil)
	if err != nil {
		t.Fatal(err)
	}
	tasks, _, _ := r.Names()
	dir := t.TempDir()
	rows := map[string]string{
		"alpaca":            `{"instruction":"Say a","input":"","output":"a"}`,
		"gsm8k":             `{"question":"How many?","answer":"One\n#### 1"}`,
		"humaneval":         `{"prompt":"def f():\n","test":"def check(c): pass","entry_point":"f"}`,
		"humaneval_sampled": `{"prompt":"def f():\n","test":"def check(c): pass","entry_point":"f"}`,
		"preference_choice": `{"conversations":[{"from":"human","value":"Hi"}],"chosen":{"value":"Hello"},"rejected":{"value":"No"}}`,
		"text":              `{"text":"a b"}`,
	}
	csvs := map[string]string{"banking77": "text,category\nmy card,card\nmy pin,pin\n", "sts": "a b,a c,2.5\na,a,5.0\n"}
	for _, name := range tasks {
		s, err := r.Select([]string{name})
		if err != nil {
			t.Error(err)
			continue
		}
		path := write(t, dir, name+".jsonl", rows[name]+"\n")
		if text, ok := csvs[name]; ok {
			path = write(t, dir, name+".csv", text)
		} else if rows[name] == "" {
			t.Errorf("%s has no row in this test", name)
			continue
		}
		zero := 0
		task, err := newTask(s.configs[0], DataFiles{"": {path}}, &zero, r.closest)
		if err != nil {
			t.Error(err)
			continue
		}
		contexts, err := task.contexts(task.docs[0], newPyRandom(0), promptOptions{})
		if err != nil || len(contexts) != 1 {
			t.Errorf("%s: %q, %v", name, contexts, err)
		}
	}
}

func FuzzLiteral(f *testing.F) {
	for _, s := range []string{"['a', 1, (None, 2.5)]", `'\x41\n' "b"`, "[[[", "('a',)", "'''x'''"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := literal(s)
		if err == nil {
			if _, err := json.Marshal(plainJSON{v}); err != nil && !strings.Contains(err.Error(), "invalid") {
				t.Errorf("%q gives %v, which cannot be written: %v", s, v, err)
			}
		}
	})
}

func FuzzTaskFile(f *testing.F) {
	files, err := filepath.Glob(filepath.Join(evalData, "*.yaml"))
	if err != nil || len(files) < 5 {
		f.Fatal(files, err)
	}
	for _, p := range files {
		raw, err := os.ReadFile(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(raw))
	}
	f.Add(codeTask)
	dir := f.TempDir()
	data := filepath.Join(dir, "rows.jsonl")
	if err := os.WriteFile(data, []byte(`{"question":"a","answer":"b","label":0,"text":"x y"}`+"\n"), 0o666); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p := filepath.Join(t.TempDir(), "task.yaml")
		if err := os.WriteFile(p, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		r := &Registry{entries: map[string]entry{}, tags: map[string][]string{}, closest: func(string, []string) string { return "" }}
		names, err := r.AddPath(p)
		if err != nil {
			return
		}
		s, err := r.Select(names)
		if err != nil {
			return
		}
		for _, c := range s.configs {
			task, err := newTask(c, DataFiles{"": {data}}, nil, r.closest)
			if err != nil {
				continue
			}
			for _, d := range task.docs {
				_, _ = task.contexts(d, newPyRandom(1), promptOptions{}) // an error is an answer, a panic is none
			}
		}
	})
}
