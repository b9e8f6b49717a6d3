package tokenizer

import (
	"encoding/json"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func seq(texts []string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, s := range texts {
			if !yield(s, nil) {
				return
			}
		}
	}
}

// trainedModel is the part of a BPE tokenizer.json that training makes.
type trainedModel struct {
	Vocab  map[string]int
	Merges [][2]string
}

func modelOf(t *testing.T, file []byte) trainedModel {
	t.Helper()
	var f struct{ Model trainedModel }
	if err := json.Unmarshal(file, &f); err != nil {
		t.Fatal(err)
	}
	return f.Model
}

func TestTrainEqualsReference(t *testing.T) {
	g := readGoldens(t)
	for _, c := range g.Cases {
		if c.Name != "BPE byte-level" {
			continue
		}
		var n int
		if err := json.Unmarshal(c.Tokenizer["model"], &n); err != nil {
			t.Fatal(err)
		}
		opts := TrainOptions{VocabSize: 340, SpecialTokens: []string{"<s>", "</s>", "<pad>", "<mask>", "<unk>"}, Split: "gpt2"}
		file, err := TrainBPE(seq(g.Corpus), opts)
		if err != nil {
			t.Fatal(err)
		}
		want := trainedModel{}
		if err := json.Unmarshal(g.Models[n], &want); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, modelOf(t, file)); d != "" {
			t.Errorf("-reference +ours\n%s", d)
		}
		backwards := slices.Clone(g.Corpus)
		slices.Reverse(backwards)
		again, err := TrainBPE(seq(backwards), opts)
		if err != nil {
			t.Fatal(err)
		}
		if string(again) != string(file) {
			t.Error("the order of the texts changes the result")
		}
		tok, err := FromJSON(file)
		if err != nil {
			t.Fatal(err)
		}
		s := g.Corpus[0]
		ids, err := tok.AppendIDs(nil, s, false)
		if err != nil {
			t.Fatal(err)
		}
		if got := tok.Decode(ids, false); got != s || len(ids) >= len(s) {
			t.Errorf("%q: %d ids, decoded %q", s, len(ids), got)
		}
	}
}

func TestTrainSplits(t *testing.T) {
	g := readGoldens(t)
	for _, split := range []string{"llama3", "qwen2"} {
		file, err := TrainBPE(seq(g.Corpus), TrainOptions{VocabSize: 300, MinFrequency: 2, SpecialTokens: []string{"<|end|>"}, Split: split})
		if err != nil {
			t.Fatal(err)
		}
		tok, err := FromJSON(file)
		if err != nil {
			t.Fatal(err)
		}
		if tok.fast == nil {
			t.Errorf("%s: no short cut for a trained tokenizer", split)
		}
		ids, err := tok.AppendIDs(nil, "the <|end|>", false)
		if err != nil {
			t.Fatal(err)
		}
		if ids[len(ids)-1] != 0 {
			t.Errorf("%s: special token not found: %v", split, ids)
		}
	}
}

func TestTrainErrors(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		texts iter.Seq2[string, error]
		opts  TrainOptions
		want  string
	}{
		"split":     {seq(nil), TrainOptions{VocabSize: 300, Split: "x"}, `split "x"`},
		"small":     {seq(nil), TrainOptions{VocabSize: 256, Split: "gpt2", SpecialTokens: []string{"<s>"}}, "from 257"},
		"no text":   {seq([]string{""}), TrainOptions{VocabSize: 300, Split: "gpt2"}, "no text"},
		"twice":     {seq(nil), TrainOptions{VocabSize: 300, Split: "gpt2", SpecialTokens: []string{"ab", "ab"}}, "twice"},
		"one byte":  {seq(nil), TrainOptions{VocabSize: 300, Split: "gpt2", SpecialTokens: []string{"Ġ"}}, "byte 0x20"},
		"empty":     {seq(nil), TrainOptions{VocabSize: 300, Split: "gpt2", SpecialTokens: []string{""}}, "empty"},
		"not UTF-8": {seq([]string{"a", "b\xff"}), TrainOptions{VocabSize: 300, Split: "gpt2"}, "text 1: text is not valid UTF-8 at byte 1"},
		"source": {func(yield func(string, error) bool) { yield("", broken) },
			TrainOptions{VocabSize: 300, Split: "gpt2"}, "broken"},
	} {
		if _, err := TrainBPE(c.texts, c.opts); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, c.want)
		}
	}
}

// TestTrainParity compares with a tokenizer that Hugging Face's trainer made from the parity texts.
func TestTrainParity(t *testing.T) {
	dir := os.Getenv("MLTRAIN_TOKENIZER_PARITY")
	if dir == "" {
		t.Skip("set MLTRAIN_TOKENIZER_PARITY to a folder made by tools/tokenizer_parity.py")
	}
	docs, err := readDocs(filepath.Join(dir, "text.bin"))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "trained.json"))
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	file, err := TrainBPE(seq(docs), TrainOptions{VocabSize: 4000, SpecialTokens: []string{"<s>", "</s>"}, Split: "gpt2"})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("trained in %v", time.Since(begin))
	if d := cmp.Diff(modelOf(t, raw), modelOf(t, file)); d != "" {
		t.Errorf("-reference +ours\n%.3000s", d)
	}
}
