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

// Whatever a checkpoint says of a weight is refused, or describes a matrix in NF4 whose parts have sizes.
func FuzzQuantState(f *testing.F) {
	for _, text := range []string{
		"", "{}", "null", `{"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [48, 57]}`,
		`{"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [84, 28], "nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": 0.44}`,
		`{"quant_type": "fp4", "blocksize": 64, "dtype": "float32", "shape": [48, 57]}`,
		`{"quant_type": "nf4", "blocksize": 64, "dtype": "float16", "shape": [4294967296, 4294967296]}`,
		`{"quant_type": "nf4", "blocksize": 64, "dtype": "float16", "shape": [-1, -1], "nested_offset": 1e300}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, n, err := parseQuantState(raw)
		if err != nil {
			return
		}
		if len(s.Shape) != 2 || s.Shape[0] < 0 || s.Shape[1] < 0 || n != s.Shape[0]*s.Shape[1] || s.QuantType != "nf4" || s.BlockSize != 64 {
			t.Errorf("%s: %d elements of %+v", raw, n, s)
		}
		if s.NestedOffset != nil && *s.NestedBlockSize != 256 {
			t.Errorf("%s: %+v", raw, s)
		}
	})
}
