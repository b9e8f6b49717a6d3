package eval

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/mltrain/mltrain/internal/data"
	"github.com/mltrain/mltrain/internal/template"
)

type pythonGoldens struct {
	Random []struct {
		Seed    uint64
		N, K    int
		Sample  [][]int
		Choices []int
		Random  float64
	}
	Literals []struct {
		Src   string
		Value any
		Error string
	}
	Findall []struct {
		Pattern, Text string
		Groups        int
		Found         []any
	}
	Sub []struct {
		Pattern, Repl, Text, Out string
		Count                    int
	}
	Templates []struct {
		Src   string
		Doc   json.RawMessage
		Value *string
		Error string
	}
	Filters []struct {
		Steps []map[string]any
		Out   []string
	}
	Votes       []string
	VoteAnswers [][]string `json:"vote_answers"`
	Answers     []string
	Doc         json.RawMessage
	Matches     []struct {
		Prediction, Reference string
		Args                  map[string]any
		Match                 float64
	}
	Words []struct {
		Text  string
		Words int
	}
	Stderr []struct {
		Aggregation string
		Items       []any
		Value       float64
		Stderr      *float64
	}
}

func readPython(t *testing.T) pythonGoldens {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(evalData, "python.json"))
	if err != nil {
		t.Fatal(err)
	}
	var g pythonGoldens
	if err := json.Unmarshal(raw, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

func TestRandomEqualsPython(t *testing.T) {
	for _, c := range readPython(t).Random {
		r := newPyRandom(c.Seed)
		for i, want := range c.Sample {
			got, err := r.sample(c.N, c.K)
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("seed %d: sample %d: %v, want %v (%v)", c.Seed, i, got, want, err)
			}
		}
		got := make([]int, len(c.Choices))
		r.choices(got, c.N)
		if !slices.Equal(got, c.Choices) {
			t.Errorf("seed %d: choices %v, want %v", c.Seed, got, c.Choices)
		}
		if f := r.float64(); f != c.Random {
			t.Errorf("seed %d: random %v, want %v", c.Seed, f, c.Random)
		}
	}
}

func TestLiteralsEqualPython(t *testing.T) {
	for _, c := range readPython(t).Literals {
		got, err := literal(c.Src)
		if (err != nil) != (c.Error != "") {
			t.Errorf("%q: %v, %v; Python: %v %s", c.Src, got, err, c.Value, c.Error)
			continue
		}
		if d := differ(viaJSON(t, plainJSON{got}), c.Value, 0, c.Src); err == nil && d != nil {
			t.Error(d)
		}
	}
}

func TestRegexpsEqualPython(t *testing.T) {
	g := readPython(t)
	for _, c := range g.Findall {
		re, err := template.CompileRegexp(c.Pattern)
		if err != nil {
			t.Error(err)
			continue
		}
		found, err := re.FindAll(c.Text)
		if err != nil {
			t.Error(err)
		}
		got := make([]any, len(found))
		for i, f := range found {
			got[i] = f
			if len(f) == 1 {
				got[i] = f[0]
			}
		}
		if d := differ(viaJSON(t, got), any(c.Found), 0, c.Pattern); d != nil {
			t.Error(d)
		}
	}
	for _, c := range g.Sub {
		re, err := template.CompileRegexp(c.Pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := re.Replace(c.Text, c.Repl, c.Count); err != nil || got != c.Out {
			t.Errorf("%q → %q in %q: %q, %v; want %q", c.Pattern, c.Repl, c.Text, got, err, c.Out)
		}
	}
	for _, bad := range []string{"(a", "(?P<x", "(?P=x)", "[a", "*"} {
		if _, err := template.CompileRegexp(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestPlainTemplatesEqualJinja(t *testing.T) {
	for _, c := range readPython(t).Templates {
		doc, err := template.FromJSON(c.Doc)
		if err != nil {
			t.Fatal(err)
		}
		tmpl, err := template.ParsePlain("t", c.Src)
		if err != nil {
			t.Errorf("%q: %v", c.Src, err)
			continue
		}
		got, err := tmpl.Render(doc, template.Options{})
		switch {
		case (err != nil) != (c.Error != ""):
			t.Errorf("%q: %q, %v; Python: %v %s", c.Src, got.Text, err, c.Value, c.Error)
		case err == nil && got.Text != *c.Value:
			t.Errorf("%q: %q, want %q", c.Src, got.Text, *c.Value)
		}
	}
}

func pythonDoc(t *testing.T, raw json.RawMessage) doc {
	t.Helper()
	v, err := template.FromJSON(raw)
	if err != nil {
		t.Fatal(err)
	}
	dict, _ := v.(*template.Dict)
	return doc{Dict: dict, ref: data.Ref{File: "test", Row: 1}}
}

func TestFiltersEqualHarness(t *testing.T) {
	g := readPython(t)
	none := func(string, []string) string { return "" }
	d := pythonDoc(t, g.Doc)
	for _, c := range g.Filters {
		var conf filterConfig
		conf.Name = "f"
		for _, s := range c.Steps {
			step := filterStep{Args: map[string]any{}}
			for k, v := range s {
				f, isNumber := v.(float64)
				switch {
				case k == "function":
					step.Function, _ = v.(string)
				case isNumber:
					step.Args[k] = int(f)
				default:
					step.Args[k] = v
				}
			}
			conf.Filter = append(conf.Filter, step)
		}
		task := Task{loadedTask: loadedTask{taskConfig: taskConfig{OutputType: generateUntil, FilterList: []filterConfig{conf}}}}
		chains, err := task.parseFilters(none)
		if err != nil {
			t.Fatal(err)
		}
		for i, a := range g.Answers {
			got, err := chains[0].apply([]string{a}, d)
			if err != nil || got[0] != c.Out[i] {
				t.Errorf("%v of %q: %q, %v; want %q", c.Steps, a, got, err, c.Out[i])
			}
		}
	}
	for i, answers := range g.VoteAnswers {
		if got := mostCommon(answers); got != g.Votes[i] {
			t.Errorf("vote of %v: %q, want %q", answers, got, g.Votes[i])
		}
	}
}

func TestMatchesEqualHarness(t *testing.T) {
	g := readPython(t)
	for _, c := range g.Matches {
		o, err := parseMatch(c.Args)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := o.matches(c.Prediction, []string{c.Reference}); err != nil || truth(got) != c.Match {
			t.Errorf("%+v: %v, %v", c, got, err)
		}
	}
	for _, c := range g.Words {
		if got := countWords(c.Text); got != c.Words {
			t.Errorf("%q has %d words, want %d", c.Text, got, c.Words)
		}
	}
}

// items turns values as JSON has them into those that an aggregation takes.
func items(t *testing.T, aggregation string, in []any) []any {
	t.Helper()
	out := make([]any, len(in))
	for i, v := range in {
		list, _ := v.([]any)
		num := func(k int) float64 { x, _ := list[k].(float64); return x }
		switch aggregation {
		case "f1", "matthews_corrcoef":
			out[i] = labelled{int(num(0)), int(num(1))}
		case "weighted_perplexity", "bits_per_byte":
			out[i] = weighted{num(0), num(1)}
		case "bleu", "chrf":
			ref, _ := list[0].(string)
			hyp, _ := list[1].(string)
			out[i] = texts{[]string{ref}, hyp}
		case "brier_score":
			p := probabilities{Gold: int(num(0))}
			for _, x := range list[1].([]any) {
				p.P = append(p.P, x.(float64))
			}
			out[i] = p
		default:
			out[i] = v
		}
	}
	return out
}

func TestAggregationsEqualHarness(t *testing.T) {
	for _, c := range readPython(t).Stderr {
		a := aggregations()[c.Aggregation]
		in := items(t, c.Aggregation, c.Items)
		got, err := a.of(in)
		if err != nil || math.Abs(got-c.Value) > 1e-9*math.Abs(c.Value) {
			t.Errorf("%s: %v, want %v (%v)", c.Aggregation, got, c.Value, err)
		}
		se, err := stderr(a, in, 2000)
		if err != nil || math.IsNaN(se) != (c.Stderr == nil) || c.Stderr != nil && math.Abs(se-*c.Stderr) > 1e-9 {
			t.Errorf("%s: standard error %v, want %v (%v)", c.Aggregation, se, c.Stderr, err)
		}
	}
}
