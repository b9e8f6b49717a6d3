package tokenizer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// shared returns the path of a file in ../shared beside the repository, or skips the test.
func shared(t testing.TB, elem ...string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the test's directory")
		}
		dir = parent
	}
	path := filepath.Join(append([]string{dir, "..", "shared"}, elem...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("%s is not there: this test needs the data beside the repository", path)
	}
	return path
}

// oracle is what Hugging Face's library gives for a text.
type oracle struct {
	IDs       []int32 `json:"ids"`
	Attention []int   `json:"attention_mask"`
	Plain     []int32 `json:"ids_ns"`
	Decoded   string  `json:"dec"`
	Skipped   string  `json:"dec_skip"`
}

func TestOracles(t *testing.T) {
	dirs := map[string]string{"stories260K": "models"}
	for _, name := range []string{"stories260K", "qwen3", "bert-base-uncased", "all-minilm-l6-v2"} {
		t.Run(name, func(t *testing.T) {
			kind := "tokenizers"
			if d := dirs[name]; d != "" {
				kind = d
			}
			data, err := os.ReadFile(shared(t, kind, name, "tokenizer.json"))
			if err != nil {
				t.Fatal(err)
			}
			tok, err := FromJSON(data)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := os.ReadFile(shared(t, "oracles", "tokenizers", name+".json"))
			if err != nil {
				t.Fatal(err)
			}
			var file map[string]json.RawMessage
			var texts []string
			var want []oracle
			if err := json.Unmarshal(raw, &file); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(file["texts"], &texts); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(file[name], &want); err != nil {
				t.Fatal(err)
			}
			if len(texts) == 0 || len(texts) != len(want) {
				t.Fatalf("%d texts, %d results", len(texts), len(want))
			}
			for i, s := range texts {
				checkOracle(t, tok, s, want[i])
			}
		})
	}
}

func checkOracle(t *testing.T, tok *Tokenizer, s string, want oracle) {
	t.Helper()
	e, err := tok.Encode(s, EncodeOptions{AddSpecialTokens: true})
	if err != nil {
		t.Fatal(err)
	}
	ids, err := tok.AppendIDs([]int32{}, s, true)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := tok.AppendIDs([]int32{}, s, false)
	if err != nil {
		t.Fatal(err)
	}
	if want.Attention != nil {
		got := []int{}
		for _, a := range e.Attention {
			if a {
				got = append(got, 1)
			} else {
				got = append(got, 0)
			}
		}
		if d := cmp.Diff(want.Attention, got); d != "" {
			t.Errorf("%q attention: %s", s, d)
		}
	}
	if d := cmp.Diff(want.IDs, append([]int32{}, e.IDs...)); d != "" {
		t.Errorf("%q Encode: %s", s, d)
	}
	if d := cmp.Diff(want.IDs, ids); d != "" {
		t.Errorf("%q AppendIDs: %s", s, d)
	}
	if d := cmp.Diff(want.Plain, plain); d != "" {
		t.Errorf("%q without special tokens: %s", s, d)
	}
	if got := tok.Decode(ids, false); got != want.Decoded {
		t.Errorf("decode:\n got %q\nwant %q", got, want.Decoded)
	}
	if got := tok.Decode(ids, true); got != want.Skipped {
		t.Errorf("decode without special tokens:\n got %q\nwant %q", got, want.Skipped)
	}
}
