package checkpoint

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// config.json of a quantised model says what transformers writes itself, in the same types: it refuses a whole number for
// llm_int8_threshold.
func TestBnBConfigIsThatOfTransformers(t *testing.T) {
	for name, nested := range map[string]bool{"llama": false, "llama-nested": true} {
		raw, err := os.ReadFile(filepath.Join("../../testdata/bnb", name, "config.json"))
		if err != nil {
			t.Fatal(err)
		}
		var theirs struct {
			Quantization map[string]json.RawMessage `json:"quantization_config"`
		}
		if err := json.Unmarshal(raw, &theirs); err != nil {
			t.Fatal(err)
		}
		text, err := RewriteJSON([]byte("{}"), BnBConfig(nested, "float32", nil))
		if err != nil {
			t.Fatal(err)
		}
		var ours struct {
			Quantization map[string]json.RawMessage `json:"quantization_config"`
		}
		if err := json.Unmarshal(text, &ours); err != nil {
			t.Fatal(err)
		}
		if len(ours.Quantization) != len(theirs.Quantization) {
			t.Errorf("%d keys, want %d", len(ours.Quantization), len(theirs.Quantization))
		}
		for k, v := range theirs.Quantization {
			if got := ours.Quantization[k]; string(got) != string(v) {
				t.Errorf("%s is %s, want %s", k, got, v)
			}
		}
	}
}

func TestRewriteJSONRemoves(t *testing.T) {
	for text, want := range map[string]string{
		`{"a": 1, "x": {"y": 2}, "b": 3}`: `{"a": 1, "b": 3}`,
		`{"x": 1, "b": 3}`:                `{ "b": 3}`,
		`{"b": 3, "x": [1, 2]}`:           `{"b": 3}`,
		`{"x": 1}`:                        `{}`,
		`{"b": 3}`:                        `{"b": 3}`,
	} {
		got, err := RewriteJSON([]byte(text), map[string]any{"x": Removed})
		if err != nil || string(got) != want {
			t.Errorf("%s became %s (%v), want %s", text, got, err, want)
		}
	}
	got, err := RewriteJSON([]byte("{\n  \"x\": 1,\n  \"b\": 3\n}\n"), map[string]any{"x": Removed, "b": 4, "c": 5})
	if err != nil || !json.Valid(got) || strings.Contains(string(got), `"x"`) || !strings.Contains(string(got), `"c": 5`) {
		t.Errorf("%s (%v)", got, err)
	}
}
