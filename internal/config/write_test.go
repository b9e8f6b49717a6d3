package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
	"pgregory.net/rapid"
)

// configDiff compares two configs in the form in which they are written, which
// makes no difference between a list that is absent and one that is empty.
func configDiff(a, b *Resolved) string {
	values := func(r *Resolved) map[string]any {
		out := map[string]any{}
		for _, k := range Keys() {
			out[k], _ = r.Value(k)
		}
		return out
	}
	return cmp.Diff(values(a), values(b))
}

func TestResolvedConfigCanBeReloaded(t *testing.T) {
	for _, tc := range []struct{ command, text string }{
		{"sft", ""},
		{"lora", "lora_target_modules: [q_proj, v_proj]\nrank_pattern: {Q.proj: 4}\ninit_lora_weights: pissa\nlayers_to_transform: [0, 3]"},
		{"dpo", "rpo_alpha: 0.5\nbf16: true\ncpo_alpha: 1"},
		{"sft", "sample_prompts: ['no', '# x', \"a\\nb: c\", '', '1e3', 'null', \"tab\\t\", ' lead']\nlogging_steps: 0.01\nresume_from_checkpoint: out/checkpoint-3"},
		{"sft", "datasets: [a.jsonl, {path: 'b: c.jsonl', type: text, weight: 2, columns: {text: 'on'}}, ]\n"},
		{"sft", "output_dir: 'no'\nlr_scheduler_type: wsd\nlr_scheduler_kwargs: {num_decay_steps: 10, decay_type: cosine, min_lr_ratio: 1e-9}"},
	} {
		if strings.Contains(tc.text, "weight: 2") {
			tc.text = strings.Replace(tc.text, "[a.jsonl,", "[{path: a.jsonl, weight: 1},", 1)
		}
		first := mustLoad(t, tc.command, tc.text)
		var out bytes.Buffer
		if err := first.WriteYAML(&out, "a header\n\nof three lines"); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(out.String(), "\n"); n != len(Keys())+3 {
			t.Errorf("wrote %d lines for %d keys", n, len(Keys()))
		}
		if d := configDiff(first, mustLoad(t, tc.command, out.String())); d != "" {
			t.Errorf("%s %q: %s", tc.command, tc.text, d)
		}
	}
	r := mustLoad(t, "sft", "seed: 7\nlr: 1e-4\n")
	var out bytes.Buffer
	if err := r.WriteYAMLSet(&out, ""); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff("learning_rate: 0.0001 # run.yaml:2 as lr\nseed: 7 # run.yaml:1\n", sortLines(out.String())); d != "" {
		t.Error(d)
	}
}

func sortLines(s string) string {
	lines := strings.SplitAfter(s, "\n")
	if len(lines) == 3 && lines[0] > lines[1] {
		lines[0], lines[1] = lines[1], lines[0]
	}
	return strings.Join(lines, "")
}

// TestAnyTextSurvives writes texts that look like other YAML values.
func TestAnyTextSurvives(t *testing.T) {
	t.Chdir(t.TempDir())
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.SliceOfN(rapid.OneOf(rapid.String(), rapid.StringMatching(`[-+ 0-9.eE_:#'"{}\[\],&*!|>%@~\t\n]{0,8}`)), 1, 4).Draw(t, "texts")
		for i, s := range texts {
			// YAML has no way to write these but as escapes that decode to U+FFFD.
			texts[i] = strings.ToValidUTF8(s, "?")
		}
		r := newResolved("sft", newTable())
		r.SamplePrompts = texts
		var out bytes.Buffer
		if err := r.WriteYAML(&out, ""); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("run.yaml", out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		back, err := Load(LoadOptions{Command: "sft", Path: "run.yaml"})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(texts, back.SamplePrompts); d != "" {
			t.Fatal(d)
		}
	})
}

func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("run.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("run.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// toJSON reads YAML as an editor would hand it to a validator of JSON schemas.
func toJSON(t *testing.T, text []byte) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	js, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(js))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestSchemaAcceptsWhatLoadAccepts(t *testing.T) {
	s := compiledSchema(t)
	for _, command := range Commands() {
		var out bytes.Buffer
		if err := mustLoad(t, command, "datasets: [{path: a, columns: {text: b}}]").WriteYAML(&out, ""); err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(toJSON(t, out.Bytes())); err != nil {
			t.Errorf("%s: the resolved defaults: %v", command, err)
		}
	}
	for _, text := range []string{
		"{lr: 1e-4, base_model: x, adapter: qlora, train_on_inputs: false, preset: smoke}",
		"{datasets: a.jsonl}", "{datasets: [a.jsonl, {path: b, type: sharegpt}]}", "{optim: adamw_torch}",
		"{bf16: auto}", "{bf16: true}", "{save_steps: 0.1}", "{init_lora_weights: true, use_peft: true}", "{report_to: tensorboard}",
	} {
		if err := s.Validate(toJSON(t, []byte(text))); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		mustLoad(t, "sft", text)
	}
	for _, text := range []string{
		"{lerning_rate: 1}", "{max_length: 0}", "{optim: adamm}", "{bf16: maybe}", "{datasets: [{pth: a}]}",
		"{datasets: [{path: a, fraction: 2}]}", "{report_to: [wandb]}", "{adapter: full}", "{seed: x}",
	} {
		if err := s.Validate(toJSON(t, []byte(text))); err == nil {
			t.Errorf("%s: the schema accepts it", text)
		}
		faultLines(t, "sft", text)
	}
}

// TestExampleConfigs holds every file in configs/ to the schema and to Load.
func TestExampleConfigs(t *testing.T) {
	files, err := filepath.Glob("../../configs/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no example configs found (%v)", err)
	}
	s := compiledSchema(t)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(toJSON(t, text)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		// Each file says how to run it.
		command := regexp.MustCompile(`# +mltrain (\w+) -c ` + "configs/" + regexp.QuoteMeta(filepath.Base(file))).FindSubmatch(text)
		if command == nil {
			t.Errorf("%s: no comment says: mltrain COMMAND -c configs/%s", file, filepath.Base(file))
			continue
		}
		r, err := Load(LoadOptions{Command: string(command[1]), Path: file})
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if err := errors.Join(r.RequireRun(), Unsupported(r)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestEveryKeyIsDocumented(t *testing.T) {
	keys, err := Describe()
	if err != nil {
		t.Fatal(err)
	}
	if len(keys) != len(Keys()) {
		t.Errorf("described %d keys of %d", len(keys), len(Keys()))
	}
	for _, k := range keys {
		if len(k.Doc) < 10 || !strings.HasSuffix(k.Doc, ".") {
			t.Errorf("%s: doc comment %q", k.Name, k.Doc)
		}
	}
}

// FuzzLoad loads arbitrary YAML: it is accepted, or refused with faults that
// each say something; what is accepted survives being written and read back.
func FuzzLoad(f *testing.F) {
	for _, seed := range []string{
		"", "seed: 1", "a: &x [*x]", "? [a]\n: b", "datasets: [{path: a, columns: {x: y}}, b]", "- a", "lr: .inf", "lr: .nan",
		"lr_scheduler_kwargs: {a: &b {c: d}, e: *b}", "<<: {seed: 1}", "seed: !!binary aGk=", "max_steps: 1e400", "preset: qlora",
		"seed: 0x10\nlora_target: [a, 1, ~]", "freeze: *a", "a: 1\na: 2", "--- \n...\n---", "\x00", "%YAML 9.9\n---\nseed: 1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "run.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Load(LoadOptions{Command: "sft", Path: path})
		if err != nil {
			var fs Faults
			if errors.As(err, &fs) {
				for _, one := range fs {
					if one.Text == "" {
						t.Errorf("a fault without text: %#v", one)
					}
				}
			}
			return
		}
		var out bytes.Buffer
		if err := r.WriteYAML(&out, ""); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		back, err := Load(LoadOptions{Command: "sft", Path: path})
		if err != nil {
			t.Fatalf("cannot read back: %v\n%s", err, out.String())
		}
		if d := configDiff(r, back); d != "" {
			t.Errorf("read back otherwise: %s", d)
		}
	})
}
