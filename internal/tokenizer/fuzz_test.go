package tokenizer

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// use runs everything that takes outside input through a tokenizer: nothing may panic, and the paths must agree.
func use(t *testing.T, tok *Tokenizer, s string) {
	e, err := tok.Encode(s, EncodeOptions{AddSpecialTokens: true})
	ids, err2 := tok.AppendIDs(nil, s, true)
	if (err == nil) != (err2 == nil) {
		t.Fatalf("Encode: %v, AppendIDs: %v", err, err2)
	}
	if err != nil {
		return
	}
	if !slices.Equal(ids, e.IDs) {
		t.Fatalf("%q: AppendIDs %v, Encode %v", s, ids, e.IDs)
	}
	tok.Decode(ids, true)
	stream := tok.NewDecodeStream(false)
	for _, id := range ids {
		stream.Next(id)
	}
	stream.Flush()
	if _, err := tok.EncodePair(s, s, EncodeOptions{AddSpecialTokens: true}); err != nil && tok.trunc == nil {
		t.Fatal(err)
	}
}

func FuzzFromJSON(f *testing.F) {
	g := readGoldens(f)
	small := `{"type":"WordLevel","unk_token":"a","vocab":{"a":0,"b":1}}`
	for i, c := range g.Cases {
		file := map[string]json.RawMessage{}
		for k, v := range c.Tokenizer {
			file[k] = v
		}
		file["model"] = json.RawMessage(small)
		file["added_tokens"] = json.RawMessage(`[{"id":0,"content":"a","special":true}]`)
		raw, err := json.Marshal(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, g.Texts[i%len(g.Texts)])
	}
	for _, m := range []string{
		`{"type":"BPE","vocab":{"a":0,"b":1,"ab":2,"<0x41>":3,"?":4},"merges":["a b"],"unk_token":"?","byte_fallback":true,"fuse_unk":true}`,
		`{"type":"BPE","vocab":{"a":0,"#b":1,"ab":2,"b</w>":3},"merges":[["a","#b"]],"continuing_subword_prefix":"#","end_of_word_suffix":"</w>"}`,
		`{"type":"Unigram","vocab":[["?",0],["a",-1],["ab",-1.5]],"unk_id":0,"byte_fallback":true}`,
		`{"type":"WordPiece","vocab":{"a":0,"##b":1,"?":2},"unk_token":"?","continuing_subword_prefix":"##","max_input_chars_per_word":9}`,
	} {
		f.Add([]byte(`{"model":`+m+`}`), "ab aab\x00é")
	}
	f.Fuzz(func(t *testing.T, raw []byte, s string) {
		if len(raw) > 1<<16 || len(s) > 1<<10 {
			return
		}
		tok, err := FromJSON(raw)
		if err != nil {
			return
		}
		if tok.pad != nil && (tok.pad.fixed > 1<<12 || tok.pad.multiple > 1<<12) {
			return // honest, but slow
		}
		use(t, tok, s)
	})
}

func FuzzEncode(f *testing.F) {
	g := readGoldens(f)
	var toks []*Tokenizer
	for _, c := range g.Cases {
		toks = append(toks, c.load(f, g))
	}
	for i := range toks {
		f.Add(i, g.Texts[i%len(g.Texts)])
	}
	f.Fuzz(func(t *testing.T, i int, s string) {
		if i < 0 || i >= len(toks) || len(s) > 1<<12 {
			return
		}
		if _, err := toks[i].AppendIDs(nil, s, false); (err == nil) != utf8.ValidString(s) && toks[i].trunc == nil {
			t.Fatalf("%q: %v", s, err)
		}
		use(t, toks[i], s)
	})
}

func FuzzDecode(f *testing.F) {
	g := readGoldens(f)
	var toks []*Tokenizer
	for _, c := range g.Cases {
		toks = append(toks, c.load(f, g))
	}
	for i := range toks {
		f.Add(i, []byte{0, 1, 2, 100, 200, 255})
	}
	f.Fuzz(func(t *testing.T, i int, raw []byte) {
		if i < 0 || i >= len(toks) || len(raw) > 1<<10 {
			return
		}
		var ids []int32
		for _, b := range raw {
			ids = append(ids, int32(b)*3-9)
		}
		stream := toks[i].NewDecodeStream(true)
		var b strings.Builder
		for _, id := range ids {
			part := stream.Next(id)
			if !utf8.ValidString(part) {
				t.Fatalf("half a rune: %q", part)
			}
			b.WriteString(part)
		}
		b.WriteString(stream.Flush())
		if want := toks[i].Decode(ids, true); b.String() != want && !strings.Contains(want, "\uFFFD") && !strings.Contains(b.String(), "\uFFFD") {
			t.Fatalf("%s: the stream gave %q, Decode %q", g.Cases[i].Name, b.String(), want)
		}
	})
}

// protoModel writes a small SentencePiece model.
func protoModel(kind uint64, pieces []spPiece, charsMap []byte) []byte {
	var out []byte
	for _, p := range pieces {
		var b []byte
		b = protowire.AppendTag(b, 1, protowire.BytesType)
		b = protowire.AppendString(b, p.text)
		b = protowire.AppendTag(b, 2, protowire.Fixed32Type)
		b = protowire.AppendFixed32(b, 0xBF800000+uint32(len(p.text))<<16)
		b = protowire.AppendTag(b, 3, protowire.VarintType)
		b = protowire.AppendVarint(b, p.kind)
		out = protowire.AppendTag(out, 1, protowire.BytesType)
		out = protowire.AppendBytes(out, b)
	}
	var trainer []byte
	trainer = protowire.AppendTag(trainer, 3, protowire.VarintType)
	trainer = protowire.AppendVarint(trainer, kind)
	for i, p := range pieces {
		if p.kind == spUnknown {
			trainer = protowire.AppendTag(trainer, 40, protowire.VarintType)
			trainer = protowire.AppendVarint(trainer, uint64(i))
		}
	}
	out = protowire.AppendTag(out, 2, protowire.BytesType)
	out = protowire.AppendBytes(out, trainer)
	if charsMap != nil {
		var n []byte
		n = protowire.AppendTag(n, 2, protowire.BytesType)
		n = protowire.AppendBytes(n, charsMap)
		out = protowire.AppendTag(out, 3, protowire.BytesType)
		out = protowire.AppendBytes(out, n)
	}
	return out
}

// spUnknown is the kind of the piece for everything unknown.
const spUnknown = 2

var smallPieces = []spPiece{{"<unk>", 0, spUnknown}, {"<s>", 0, spControl}, {"</s>", 0, spControl}, {"▁", 0, spNormal}, {"a", 0, spNormal},
	{"b", 0, spNormal}, {"ab", 0, spNormal}, {"▁ab", 0, spNormal}, {"<mine>", 0, spUserDefined}}

func TestSentencePieceSmall(t *testing.T) {
	for _, c := range []struct {
		kind uint64
		text string
		want []int32
	}{
		{spBPE, "ab a<mine>b", []int32{7, 3, 4, 8, 5}},
		{spUnigram, "ab  a<mine>b ", []int32{7, 3, 4, 8, 3, 5}},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "tokenizer.model"), protoModel(c.kind, smallPieces, nil), 0o644); err != nil {
			t.Fatal(err)
		}
		config := `{"add_bos_token": true}`
		if err := os.WriteFile(filepath.Join(dir, "tokenizer_config.json"), []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
		tok, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		ids, err := tok.AppendIDs(nil, c.text, true)
		if err != nil {
			t.Fatal(err)
		}
		if want := append([]int32{1}, c.want...); !slices.Equal(ids, want) {
			t.Errorf("kind %d: %q gives %v, want %v", c.kind, c.text, ids, want)
		}
		if id, ok := tok.EOS(); !ok || id != 2 {
			t.Errorf("kind %d: EOS %d %v", c.kind, id, ok)
		}
	}
}

func FuzzSentencePiece(f *testing.F) {
	f.Add(protoModel(spBPE, smallPieces, nil), "ab <mine>")
	f.Add(protoModel(spUnigram, smallPieces, []byte{8, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 'x', 0}), "ab  ab")
	t5 := append([]spPiece{{"<pad>", 0, spControl}, {"</s>", 0, spControl}, {"<unk>", 0, spUnknown}}, smallPieces[3:]...)
	f.Add(protoModel(spUnigram, t5, nil), "ab")
	f.Fuzz(func(t *testing.T, raw []byte, s string) {
		if len(raw) > 1<<16 || len(s) > 1<<10 {
			return
		}
		m, err := parseSentencePiece(raw)
		if err != nil {
			return
		}
		for _, class := range []string{"", "llama", "t5"} {
			config := &Config{SpecialTokens: map[string]string{}}
			tok, err := convertSentencePiece(m, class, config)
			if err != nil {
				continue
			}
			if utf8.ValidString(s) {
				use(t, tok, s)
			}
		}
	})
}

func TestSentencePieceClasses(t *testing.T) {
	t5 := append([]spPiece{{"<pad>", 0, spControl}, {"</s>", 0, spControl}, {"<unk>", 0, spUnknown}}, smallPieces[3:]...)
	llama := string(protoModel(spUnigram, smallPieces, nil))
	for name, c := range map[string]struct {
		files map[string]string
		text  string
		want  []int32
	}{
		"T5 by its pieces":     {map[string]string{"spiece.model": string(protoModel(spUnigram, t5, nil))}, " ab  ab<extra_id_0>", []int32{7, 7, 108, 1}},
		"T5 by class":          {map[string]string{"spiece.model": string(protoModel(spUnigram, t5, nil)), "tokenizer_config.json": `{"tokenizer_class":"T5Tokenizer","extra_ids":2}`}, "ab<extra_id_0>", []int32{7, 10, 1}},
		"T5 by config.json":    {map[string]string{"x.model": string(protoModel(spUnigram, t5, nil)), "config.json": `{"model_type":"t5"}`}, "ab", []int32{7, 1}},
		"Llama by config.json": {map[string]string{"tokenizer.model": llama, "config.json": `{"model_type":"llama"}`}, "ab</s>ab", []int32{7, 2, 6}},
		"Llama, legacy":        {map[string]string{"tokenizer.model": llama, "tokenizer_config.json": `{"tokenizer_class":"LlamaTokenizerFast","legacy":true,"add_eos_token":true}`}, "ab</s>ab", []int32{7, 2, 7, 2}},
		"Llama, no prefix":     {map[string]string{"tokenizer.model": llama, "tokenizer_config.json": `{"tokenizer_class":"LlamaTokenizer","add_prefix_space":false}`}, "ab ab", []int32{6, 7}},
	} {
		tok, err := Load(folder(t, c.files))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		ids, err := tok.AppendIDs(nil, c.text, true)
		if err != nil || !slices.Equal(ids, c.want) {
			t.Errorf("%s: %q gives %v, %v; want %v", name, c.text, ids, err, c.want)
		}
	}
}

// TestScansEqualJSON holds the quick readers equal to encoding/json.
func TestScansEqualJSON(t *testing.T) {
	for _, s := range []string{
		`{}`, ` { } `, `{"a":1}`, "{\n\t\"a\" : 1 , \"b\\u00e9\\\"\":-7}", `{"a":{"b":[1,"}",{"c":"\\"}],"d":null},"e":"x,y","f":[[],[{}]],"g":1e9,"h":true}`,
		`{"a":1,"a":2}`, `{"\ud800":1}`,
	} {
		var want map[string]json.RawMessage
		if err := json.Unmarshal([]byte(s), &want); err != nil {
			t.Fatal(err)
		}
		got, ok := scanObject([]byte(s))
		if !ok || len(got) != len(want) {
			t.Errorf("%s: %v %v", s, got, ok)
		}
		for k, v := range want {
			if string(got[k]) != string(v) {
				t.Errorf("%s: %s is %s, want %s", s, k, got[k], v)
			}
		}
		var ids map[string]int32
		if json.Unmarshal([]byte(s), &ids) != nil {
			continue
		}
		if got, ok := scanVocab([]byte(s)); !ok || !maps.Equal(got, ids) {
			t.Errorf("%s: vocabulary %v %v, want %v", s, got, ok, ids)
		}
	}
	for s, want := range map[string][][2]string{`[]`: nil, `[ ["a" , "b"],["\n","\"]"] ]`: {{"a", "b"}, {"\n", "\"]"}}} {
		if got, ok := scanPairs([]byte(s)); !ok || !slices.Equal(got, want) {
			t.Errorf("%s: %q %v", s, got, ok)
		}
	}
	for _, s := range []string{`[["a"]]`, `[["a","b","c"]]`, `["a b"]`, `{}`, `[["a",1]]`} {
		if got, ok := scanPairs([]byte(s)); ok {
			t.Errorf("%s read as pairs %q", s, got)
		}
	}
}
