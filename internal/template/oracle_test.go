package template

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// sharedDir finds a folder of test material beside the repository, which a checkout need not have.
func sharedDir(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
	}
	path := filepath.Join(dir, "..", "shared", name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no %s: templates of real models are checked only where they are", path)
	}
	return path
}

type rendering struct {
	Out *string `json:"out"`
	Err string  `json:"err"`
}

// TestOracle renders templates of real models and wants Python's text, or an error where Python has one.
func TestOracle(t *testing.T) {
	dir := sharedDir(t, "oracles/chat_templates")
	var want map[string]map[string]rendering
	readJSON(t, filepath.Join(dir, "expected.json"), &want)
	raw, err := os.ReadFile(filepath.Join(dir, "scenarios.json"))
	if err != nil {
		t.Fatal(err)
	}
	scenarios, err := FromJSON(raw)
	if err != nil {
		t.Fatal(err)
	}
	texts, failures := 0, 0
	for name, cases := range want {
		src, err := os.ReadFile(filepath.Join(dir, "templates", name+".jinja"))
		if err != nil {
			t.Fatal(err)
		}
		tmpl, err := Parse(name, string(src))
		if err != nil {
			t.Error(err)
			continue
		}
		for scenario, w := range cases {
			in, ok := scenarios.(*Dict).Get(scenario)
			if !ok {
				t.Fatalf("no scenario %s", scenario)
			}
			vars := in.(*Dict).clone()
			vars.Set("bos_token", "<s>")
			vars.Set("eos_token", "</s>")
			got, err := tmpl.Render(vars, Options{Now: time.Unix(1721952000, 0).UTC()})
			switch {
			case w.Out == nil:
				failures++
				if err == nil {
					t.Errorf("%s/%s: got %q, Python fails with %s", name, scenario, got.Text, w.Err)
				}
			case err != nil:
				t.Errorf("%s/%s: %v", name, scenario, err)
			case got.Text != *w.Out:
				t.Errorf("%s/%s:\n got %q\nwant %q", name, scenario, got.Text, *w.Out)
			default:
				texts++
			}
		}
	}
	t.Logf("%d texts equal, %d failures fail", texts, failures)
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}
