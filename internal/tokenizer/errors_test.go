package tokenizer

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const wordLevelModel = `"model":{"type":"WordLevel","unk_token":"?","vocab":{"?":0,"a":1}}`

func TestFileErrors(t *testing.T) {
	for _, c := range []struct{ file, want string }{
		{``, "top level: expected an object"},
		{`[]`, "top level: expected an object"},
		{`{}`, "model: is missing"},
		{`{"version":"2.0",` + wordLevelModel + `}`, `version: not supported: "2.0"`},
		{`{"shiny":1,` + wordLevelModel + `}`, "unknown key shiny"},
		{`{"normalizer":{"type":"NFX"},` + wordLevelModel + `}`, `normalizer.type: not supported: normalizer "NFX"`},
		{`{"normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Strip","strip_left":1}]},` + wordLevelModel + `}`,
			"normalizer.normalizers[1].strip_left: expected true or false, found 1"},
		{`{"normalizer":{"type":"Precompiled","precompiled_charsmap":"AAAA"},` + wordLevelModel + `}`, "normalizer.precompiled_charsmap"},
		{`{"pre_tokenizer":{"type":"Split","pattern":{"Regex":"("},"behavior":"Isolated","invert":false},` + wordLevelModel + `}`,
			`pre_tokenizer.pattern: regular expression "("`},
		{`{"pre_tokenizer":{"type":"Split","pattern":{"Glob":"x"},"behavior":"Isolated","invert":false},` + wordLevelModel + `}`,
			`pattern kind "Glob"`},
		{`{"pre_tokenizer":{"type":"Split","pattern":{"String":"x"},"behavior":"Random","invert":false},` + wordLevelModel + `}`,
			`pre_tokenizer.behavior: not supported: "Random"; known are Removed`},
		{`{"pre_tokenizer":{"type":"Metaspace","replacement":"ab"},` + wordLevelModel + `}`, "pre_tokenizer.replacement: expected one character"},
		{`{"pre_tokenizer":{"type":"Metaspace","replacement":"_","prepend_scheme":"sometimes"},` + wordLevelModel + `}`, `"sometimes"`},
		{`{"pre_tokenizer":{"type":"Metaspace","replacement":"_","add_prefix_space":false},` + wordLevelModel + `}`, "add_prefix_space"},
		{`{"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"X","type_id":0}}],"pair":[],"special_tokens":{}},` + wordLevelModel + `}`,
			`post_processor.single[0]: special token "X" is not among special_tokens`},
		{`{"post_processor":{"type":"BertProcessing","cls":["a"],"sep":["b",1]},` + wordLevelModel + `}`, `post_processor.cls: expected ["token", id]`},
		{`{"decoder":{"type":"Rot13"},` + wordLevelModel + `}`, `decoder.type: not supported: decoder "Rot13"`},
		{`{"truncation":{"max_length":1,"stride":2,"strategy":"LongestFirst"},` + wordLevelModel + `}`, "truncation: max_length 1"},
		{`{"padding":{"strategy":"Wide","direction":"Left","pad_id":0,"pad_type_id":0,"pad_token":"?"},` + wordLevelModel + `}`, "padding.strategy"},
		{`{"added_tokens":[{"id":5,"content":"a"}],` + wordLevelModel + `}`, `added_tokens[0]: token "a" has id 5 here but 1 in the model's vocabulary`},
		{`{"added_tokens":[{"id":1,"content":"b"}],` + wordLevelModel + `}`, `added_tokens[0]: token "b" has id 1, which is "a"`},
		{`{"added_tokens":[{"id":2,"content":"b"},{"id":2,"content":"c"}],` + wordLevelModel + `}`, `"b" and "c" share the id 2`},
		{`{"added_tokens":[{"id":2,"content":""}],` + wordLevelModel + `}`, "added_tokens[0].content"},
		{`{"added_tokens":[{"id":2,"content":"b","glow":true}],` + wordLevelModel + `}`, "added_tokens[0].glow"},
		{`{"model":{"type":"GPT9","vocab":{}}}`, `model.type: not supported: model "GPT9"`},
		{`{"model":{"vocab":7}}`, "model.type: is missing"},
		{`{"model":{"type":"BPE","vocab":{"a":0},"merges":["a b"]}}`, `model.merges: entry 0 ("a", "b"): token "b" is not in the vocabulary`},
		{`{"model":{"type":"BPE","vocab":{"a":0},"merges":["a b c"]}}`, `model.merges: entry 0: expected two tokens`},
		{`{"model":{"type":"BPE","vocab":{"a":0},"merges":[],"dropout":0.1}}`, "model.dropout: not supported: BPE dropout of 0.1"},
		{`{"model":{"type":"BPE","vocab":{"a":0,"b":0},"merges":[]}}`, `model.vocab: tokens "a" and "b" share the id 0`},
		{`{"model":{"type":"BPE","vocab":{"a":-1},"merges":[]}}`, `model.vocab: token "a" has id -1`},
		{`{"model":{"type":"BPE","vocab":{"a":99999999},"merges":[]}}`, `model.vocab: token "a" has id 99999999`},
		{`{"model":{"type":"BPE","vocab":{"a":1.5},"merges":[]}}`, "model.vocab"},
		{`{"model":{"type":"Unigram","vocab":[["a"]],"unk_id":0}}`, "model.vocab"},
		{`{"model":{"type":"Unigram","vocab":[["a",-1]],"unk_id":3}}`, "unk_id 3 is outside"},
		{`{"model":{"type":"WordPiece","vocab":{"a":0},"unk_token":"?"}}`, "model.continuing_subword_prefix: is missing"},
	} {
		tok, err := FromJSON([]byte(c.file))
		if err == nil || tok != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\n gives %v\nwant %s", c.file, err, c.want)
		}
	}
	_, err := FromJSON([]byte(`{"normalizer":{"type":"X"},"decoder":{"type":"Y"},"model":{"type":"Z"}}`))
	for _, part := range []string{`"X"`, `"Y"`, `"Z"`} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("several faults at once: %v does not tell of %s", err, part)
		}
	}
	if !errors.Is(err, ErrUnsupported) {
		t.Errorf("%v is not ErrUnsupported", err)
	}
}

// TestUnknownKeys puts a key nobody knows into every component of every golden tokenizer: each must be refused by name.
func TestUnknownKeys(t *testing.T) {
	g := readGoldens(t)
	seen := map[string]bool{}
	for _, c := range g.Cases {
		for _, section := range slices.Sorted(maps.Keys(c.Tokenizer)) {
			if section == "model" || section == "version" || section == "added_tokens" || isNull(c.Tokenizer[section]) ||
				seen[string(c.Tokenizer[section])] {
				continue
			}
			seen[string(c.Tokenizer[section])] = true
			var v any
			if err := json.Unmarshal(c.Tokenizer[section], &v); err != nil {
				t.Fatal(err)
			}
			components(v, section, func(o map[string]any, path string) {
				o["zz_new"] = true
				raw, err := json.Marshal(map[string]any{section: v, "model": map[string]any{"type": "WordLevel", "unk_token": "a", "vocab": map[string]int{"a": 0}}})
				if err != nil {
					t.Fatal(err)
				}
				delete(o, "zz_new")
				if _, err := FromJSON(raw); err == nil || !strings.Contains(err.Error(), path+".zz_new") || !errors.Is(err, ErrUnsupported) {
					t.Errorf("%s: unknown key in %s: %v", c.Name, path, err)
				}
			})
		}
	}
	if len(seen) < 80 {
		t.Errorf("only %d components tried", len(seen))
	}
}

// components calls f for every object that is a component of its own.
func components(v any, path string, f func(o map[string]any, path string)) {
	o, ok := v.(map[string]any)
	if !ok {
		return
	}
	f(o, path)
	for _, list := range []string{"normalizers", "pretokenizers", "processors", "decoders"} {
		items, _ := o[list].([]any)
		for i, item := range items {
			components(item, path+"."+list+"["+string(rune('0'+i))+"]", f)
		}
	}
}

func TestTextErrors(t *testing.T) {
	tok, err := FromJSON([]byte(`{` + wordLevelModel + `}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []func() error{
		func() error { _, err := tok.Encode("ab\xffc", EncodeOptions{}); return err },
		func() error { _, err := tok.EncodePair("a", "ab\xffc", EncodeOptions{}); return err },
		func() error { ids, err := tok.AppendIDs([]int32{9}, "ab\xffc", true); _ = ids[0]; return err },
	} {
		if err := f(); !errors.Is(err, ErrInvalidUTF8) || !strings.Contains(err.Error(), "at byte 2 (0xFF)") {
			t.Errorf("broken UTF-8: %v", err)
		}
	}
	if s := tok.Decode([]int32{1, -5, 1 << 30, 0}, false); s != "a ?" {
		t.Errorf("ids without a token: %q", s)
	}
}

// folder writes files into a new directory.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestLoadErrors(t *testing.T) {
	gpt2 := map[string]string{"vocab.json": `{"a":0}`, "merges.txt": "#version: 0.2\na b\n"}
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"nothing":        {nil, "expected tokenizer.json"},
		"two models":     {map[string]string{"a.model": "", "b.model": ""}, "2 files fit *.model"},
		"not a model":    {map[string]string{"tokenizer.model": "hello"}, "not a valid SentencePiece model"},
		"empty model":    {map[string]string{"tokenizer.model": ""}, "no pieces"},
		"other class":    {map[string]string{"tokenizer.model": string(protoModel(spBPE, smallPieces, nil)), "tokenizer_config.json": `{"tokenizer_class":"XLMRobertaTokenizer"}`}, `tokenizer_class "XLMRobertaTokenizer"`},
		"word model":     {map[string]string{"tokenizer.model": string(protoModel(3, smallPieces, nil))}, "model type 3"},
		"merges":         {gpt2, `token "b" is not in the vocabulary`},
		"vocab only":     {map[string]string{"vocab.json": `{"a":0}`}, "expected tokenizer.json"},
		"config":         {map[string]string{"tokenizer_config.json": `[]`, "tokenizer.json": `{` + wordLevelModel + `}`}, "tokenizer_config.json: top level: expected an object"},
		"special token":  {map[string]string{"tokenizer_config.json": `{"bos_token":3}`, "tokenizer.json": `{` + wordLevelModel + `}`}, "bos_token: expected an object, found 3"},
		"chat template":  {map[string]string{"tokenizer_config.json": `{"chat_template":3}`, "tokenizer.json": `{` + wordLevelModel + `}`}, "chat_template: expected a string"},
		"decoder id":     {map[string]string{"tokenizer_config.json": `{"added_tokens_decoder":{"x":{"content":"b"}}}`, "tokenizer.json": `{` + wordLevelModel + `}`}, "added_tokens_decoder.x: expected an id"},
		"decoder clash":  {map[string]string{"tokenizer_config.json": `{"added_tokens_decoder":{"3":{"content":"a"}}}`, "tokenizer.json": `{"added_tokens":[{"id":1,"content":"a"}],` + wordLevelModel + `}`}, `token "a" has id 1`},
		"tokenizer.json": {map[string]string{"tokenizer.json": `{"model":{"type":"Q"}}`}, `tokenizer.json: model.type: not supported: model "Q"`},
	} {
		if _, err := Load(folder(t, c.files)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q in it", name, err, c.want)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "gone")); !errors.Is(err, ErrNoTokenizer) {
		t.Errorf("no directory: %v", err)
	}
}

func TestLoadConfig(t *testing.T) {
	dir := folder(t, map[string]string{
		"tokenizer.json": `{"added_tokens":[{"id":1,"content":"a","special":false}],"pre_tokenizer":{"type":"WhitespaceSplit"},` + wordLevelModel + `}`,
		"tokenizer_config.json": `{"bos_token":{"content":"<s>","lstrip":true,"__type":"AddedToken"},"eos_token":"a","pad_token":null,"add_bos_token":true,
			"model_max_length":1000000000000000019884624838656,"tokenizer_class":"X","additional_special_tokens":["<x>"],
			"added_tokens_decoder":{"2":{"content":"<s>","special":true},"1":{"content":"a","special":true}},
			"chat_template":[{"name":"default","template":"D"},{"name":"tool_use","template":"T"}],"anything":{"else":1}}`,
		"special_tokens_map.json": `{"eos_token":"ignored","unk_token":"?"}`,
	})
	tok, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	c := tok.Config()
	if c.Class != "X" || c.ModelMaxLength != 0 || c.AddBOS == nil || !*c.AddBOS || c.AddEOS != nil || c.Raw["anything"] == nil {
		t.Errorf("config %+v", c)
	}
	for name, want := range map[string]int32{"bos_token": 2, "eos_token": 1, "unk_token": 0} {
		if _, id, ok := tok.SpecialToken(name); !ok || id != want {
			t.Errorf("%s: %d %v", name, id, ok)
		}
	}
	if _, ok := tok.PAD(); ok {
		t.Error("null pad token found")
	}
	if id, ok := tok.TokenToID("<x>"); !ok || id != 3 || tok.VocabSize() != 4 {
		t.Errorf("<x> is %d %v, vocabulary %d", id, ok, tok.VocabSize())
	}
	if !tok.IsSpecial(1) || !tok.IsSpecial(2) || tok.IsSpecial(7) {
		t.Error("special tokens")
	}
	templates := tok.ChatTemplates()
	if len(templates) != 2 || templates["default"] != "D" || templates["tool_use"] != "T" {
		t.Errorf("templates %v", templates)
	}
	// tokenizer.json's post-processor has the last word: no BOS here.
	ids, err := tok.AppendIDs(nil, "<s>b a", true)
	if err != nil || !slices.Equal(ids, []int32{2, 0, 1}) {
		t.Errorf("ids %v, %v", ids, err)
	}
	for name, content := range map[string]string{"chat_template.jinja": "J", "additional_chat_templates/rag.jinja": "R"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if tok, err = Load(dir); err != nil {
		t.Fatal(err)
	}
	if templates = tok.ChatTemplates(); len(templates) != 2 || templates["default"] != "J" || templates["rag"] != "R" {
		t.Errorf("templates with files %v", templates)
	}
}

func TestLoadGPT2(t *testing.T) {
	vocab := map[string]int{}
	for b := range 256 {
		vocab[string(byteRune(byte(b)))] = b
	}
	vocab["he"], vocab["Ġhe"], vocab["<|endoftext|>"] = 256, 257, 258
	raw, err := json.Marshal(vocab)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"vocab.json": string(raw), "merges.txt": "#version: 0.2\r\nh e\r\nĠ he\r\n"}
	tok, err := Load(folder(t, files))
	if err != nil {
		t.Fatal(err)
	}
	ids, err := tok.AppendIDs(nil, "he he<|endoftext|>", true)
	if err != nil || !slices.Equal(ids, []int32{256, 257, 258}) {
		t.Errorf("ids %v, %v", ids, err)
	}
	if id, ok := tok.EOS(); !ok || id != 258 {
		t.Errorf("EOS %d %v", id, ok)
	}
	files["tokenizer_config.json"] = `{"bos_token":"<|endoftext|>","eos_token":"<|endoftext|>","add_bos_token":true,"add_eos_token":true}`
	if tok, err = Load(folder(t, files)); err != nil {
		t.Fatal(err)
	}
	e, err := tok.EncodePair("he", " he", EncodeOptions{AddSpecialTokens: true})
	if err != nil || !slices.Equal(e.IDs, []int32{258, 256, 258, 258, 257, 258}) || !slices.Equal(e.SequenceIDs, []int32{-1, 0, -1, -1, 1, -1}) {
		t.Errorf("pair %v, %v", e, err)
	}
}

func TestSentencePieceTruncated(t *testing.T) {
	whole := protoModel(spUnigram, smallPieces, []byte{4, 0, 0, 0, 0, 0, 0, 0, 'x', 0})
	for n := range whole {
		if m, err := parseSentencePiece(whole[:n]); err == nil && len(m.pieces) == 0 {
			t.Errorf("%d bytes give a model without pieces", n)
		}
	}
}
