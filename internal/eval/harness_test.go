package eval

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/mltrain/mltrain/internal/checkpoint"
	"github.com/mltrain/mltrain/internal/cpu"
	"github.com/mltrain/mltrain/internal/data"
	"github.com/mltrain/mltrain/internal/infer"
	"github.com/mltrain/mltrain/internal/tensor"
	"github.com/mltrain/mltrain/internal/tokenizer"
)

const evalData = "../../testdata/eval"

type source struct{ *checkpoint.Reader }

func (s source) Lookup(name string) (tensor.DType, string, []int, bool) {
	info, ok := s.Info(name)
	dt, _ := checkpoint.ParseDType(info.DType)
	return dt, info.DType, info.Shape, ok
}

// openLM loads a model directory.
func openLM(t testing.TB, dir string, stops ...int32) *LM {
	t.Helper()
	fatal := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	configJSON, err := os.ReadFile(filepath.Join(dir, "config.json"))
	fatal(err)
	r, err := checkpoint.Open(dir)
	fatal(err)
	e, err := infer.New(cpu.New(), configJSON, source{r}, 0)
	fatal(err)
	t.Cleanup(func() {
		e.Close()
		r.Close()
	})
	tok, err := tokenizer.Load(dir)
	fatal(err)
	lm := NewLM(e, tok, stops)
	tmpl, _, err := data.ResolveTemplate("", tok, time.Time{})
	fatal(err)
	lm.UseTemplate(tmpl)
	return lm
}

// selection loads tasks of testdata/eval.
func selection(t testing.TB, names ...string) *Selection {
	t.Helper()
	r, err := NewRegistry(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.AddPath(evalData); err != nil {
		t.Fatal(err)
	}
	if len(r.faults) > 0 {
		t.Fatal(r.faults)
	}
	s, err := r.Select(names)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type goldenRun struct {
	Args struct {
		Tasks             []string       `json:"tasks"`
		Limit             float64        `json:"limit"`
		NumFewshot        *int           `json:"num_fewshot"`
		Seed              *uint64        `json:"fewshot_random_seed"`
		ApplyChatTemplate bool           `json:"apply_chat_template"`
		Multiturn         bool           `json:"fewshot_as_multiturn"`
		System            string         `json:"system_instruction"`
		GenKwargs         map[string]any `json:"gen_kwargs"`
	} `json:"args"`
	Results        map[string]map[string]any   `json:"results"`
	Groups         map[string]map[string]any   `json:"groups"`
	NShot          map[string]int              `json:"n-shot"`
	NSamples       map[string]map[string]int   `json:"n-samples"`
	HigherIsBetter map[string]map[string]bool  `json:"higher_is_better"`
	Samples        map[string][]map[string]any `json:"samples"`
}

func (g goldenRun) options() Options {
	o := Options{Limit: g.Args.Limit, NumFewshot: g.Args.NumFewshot, Seed: 1234, ApplyChatTemplate: g.Args.ApplyChatTemplate,
		Multiturn: g.Args.Multiturn, SystemInstruction: g.Args.System, BootstrapIters: 2000}
	if g.Args.Seed != nil {
		o.Seed = *g.Args.Seed
	}
	for k, v := range g.Args.GenKwargs { // whole numbers, as YAML and the flag give them
		if o.GenKwargs == nil {
			o.GenKwargs = map[string]any{}
		}
		o.GenKwargs[k] = int(v.(float64))
	}
	return o
}

func goldens(t *testing.T) map[string]goldenRun {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(evalData, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var g struct{ Runs map[string]goldenRun }
	if err := json.Unmarshal(raw, &g); err != nil {
		t.Fatal(err)
	}
	if len(g.Runs) < 5 {
		t.Fatalf("%d runs", len(g.Runs))
	}
	return g.Runs
}

// viaJSON is a value as it looks after being written and read.
func viaJSON(t *testing.T, v any) any {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// differ compares values as JSON has them; numbers within rel of each other.
func differ(got, want any, rel float64, path string) []string {
	switch w := want.(type) {
	case float64:
		g, ok := got.(float64)
		if b, isBool := got.(bool); isBool {
			g, ok = truth(b), true
		}
		if !ok || math.Abs(g-w) > rel*max(0.1, math.Abs(w)) {
			return []string{fmt.Sprintf("%s: %v, want %v", path, got, want)}
		}
		return nil
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return []string{fmt.Sprintf("%s: %v, want %v", path, got, want)}
		}
		var out []string
		for i := range w {
			out = append(out, differ(g[i], w[i], rel, fmt.Sprintf("%s[%d]", path, i))...)
		}
		return out
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s: %v, want %v", path, got, want)}
		}
		var out []string
		for k := range w {
			out = append(out, differ(g[k], w[k], rel, path+"."+k)...)
		}
		return out
	}
	if !reflect.DeepEqual(got, want) {
		return []string{fmt.Sprintf("%s: %v, want %v", path, got, want)}
	}
	return nil
}

// Everything that lm-evaluation-harness reports of the same model, files and arguments: the prompts to the letter, counts
// exactly, likelihoods within 1e-5, and standard errors, those of the bootstrap too.
func TestEqualsHarness(t *testing.T) {
	lm := openLM(t, filepath.Join(evalData, "model"), 1)
	for name, g := range goldens(t) {
		t.Run(name, func(t *testing.T) {
			res, err := Evaluate(t.Context(), lm, selection(t, g.Args.Tasks...), g.options(), nil)
			if err != nil {
				t.Fatal(err)
			}
			const rel = 1e-5
			for _, m := range g.Results {
				delete(m, "sample_count")
			}
			for _, m := range g.Groups {
				delete(m, "sample_count")
			}
			var faults []string
			faults = append(faults, differ(viaJSON(t, res.Results), viaJSON(t, g.Results), rel, "results")...)
			if g.Groups != nil {
				faults = append(faults, differ(viaJSON(t, res.Groups), viaJSON(t, g.Groups), rel, "groups")...)
			}
			for task := range res.NShot {
				faults = append(faults, differ(viaJSON(t, res.NShot[task]), viaJSON(t, g.NShot[task]), 0, "n-shot."+task)...)
				faults = append(faults, differ(viaJSON(t, res.NSamples[task]), viaJSON(t, g.NSamples[task]), 0, "n-samples."+task)...)
				faults = append(faults, differ(viaJSON(t, res.HigherIsBetter[task]), viaJSON(t, g.HigherIsBetter[task]), 0, "higher."+task)...)
			}
			rows := 0
			for task, want := range g.Samples {
				got := res.Samples[task]
				if len(got) != len(want) {
					t.Fatalf("%s: %d samples, want %d", task, len(got), len(want))
				}
				for i := range want {
					rows++
					w := want[i]
					delete(w, "metrics") // their order is another
					if args, ok := w["arguments"].([]any); ok && len(args) > 0 {
						if pair, ok := args[0].([]any); ok && len(pair) == 2 {
							if _, isGen := pair[1].(map[string]any); isGen {
								w["arguments"] = []any{[]any{pair[0]}}
								got[i]["arguments"] = []any{[]any{got[i]["arguments"].([]any)[0].([]any)[0]}}
							}
						}
					}
					faults = append(faults, differ(viaJSON(t, got[i]), any(w), rel, fmt.Sprintf("%s[%d]", task, i))...)
				}
			}
			if rows == 0 {
				t.Error("no samples were compared")
			}
			if len(faults) > 12 {
				faults = append(faults[:12], fmt.Sprintf("and %d more", len(faults)-12))
			}
			if len(faults) > 0 {
				t.Error(strings.Join(faults, "\n"))
			}
		})
	}
}
