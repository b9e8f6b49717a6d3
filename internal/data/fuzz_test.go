package data

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

var rowSeeds = []string{
	`{"text":"a"}`, `{"prompt":"q","completion":"a","label":true}`, `{"messages":[{"role":"user","content":[{"type":"text","value":"x"}],"loss_weight":0.5}]}`,
	`{"conversations":[{"from":"function_call","value":"{\"name\":\"f\"}"}],"tools":"[{}]"}`,
	`{"instruction":"i","input":"","output":"o","history":[["a","b"]],"system":"s"}`,
	`{"chosen":"ab c","rejected":"ab d"}`, `{"chosen":[{"role":"user","content":"q"}],"rejected":[{"role":"user","content":"r"}]}`,
	`{"chosen":{"from":"gpt","value":"a"},"rejected":{"from":"gpt","value":"b"},"prompt":[]}`, `{"messages":[],"chat_template_kwargs":{"a":1}}`,
	`{"text":null}`, `{"messages":[{"role":"assistant","tool_calls":[{}]}]}`, `[`, `{"a":"\ud800"}`, "{\"text\":\"\xff\"}",
}

// FuzzRow: no row makes the parser or the encoder panic, for any objective, and what is kept has sound tokens.
func FuzzRow(f *testing.F) {
	for _, s := range rowSeeds {
		f.Add([]byte(s), 12)
	}
	f.Fuzz(func(t *testing.T, raw []byte, limit int) {
		opt := toyOptions()
		opt.MaxLength = 2 + (limit&0x7fffffff)%100
		for _, mode := range []TruncationMode{KeepStart, KeepEnd} {
			for _, objective := range []Objective{Supervised, Preference, Unpaired} {
				opt.TruncationMode, opt.Objective = mode, objective
				e := &encoder{tok: toyTokenizer{}, opt: opt}
				for _, r := range e.raw(rawRow{line: 1, row: 1, json: raw}, &Source{}) {
					if r.err != nil || r.drop != "" {
						continue
					}
					if len(r.docs) == 0 {
						t.Fatal("a kept row has no tokens")
					}
					for _, d := range r.docs {
						if len(d.ids) != len(d.codes) || len(d.ids) > opt.MaxLength {
							t.Fatalf("%d ids, %d codes, max_length %d", len(d.ids), len(d.codes), opt.MaxLength)
						}
					}
				}
			}
		}
	})
}

func FuzzJSON(f *testing.F) {
	for _, s := range append(rowSeeds, `[{"text":"a"},{"text":"b"}]`, `[1,2]`, "{}\n{}", `["]"`) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		rows := 0
		err := readJSON(bufio.NewReader(bytes.NewReader(text)), func(r rawRow) error { rows++; return nil })
		var list []json.RawMessage
		if json.Unmarshal(text, &list) == nil && list != nil && (err != nil || rows != len(list)) {
			t.Fatalf("an array of %d gives %d rows, error %v", len(list), rows, err)
		}
	})
}

// FuzzFile: no content of a file of any format makes reading panic.
func FuzzFile(f *testing.F) {
	names := []string{"a.csv", "a.tsv", "a.jsonl", "a.json", "a.txt", "a.parquet", "a.jsonl.gz", "a.jsonl.zst", "a.txt.bz2"}
	f.Add(uint8(0), []byte("a,b\n1,\"2\"\n"))
	f.Add(uint8(2), []byte("{}\n[]\n"))
	f.Add(uint8(5), []byte("PAR1PAR1"))
	f.Add(uint8(6), []byte(gzipped("{}")))
	f.Fuzz(func(t *testing.T, kind uint8, content []byte) {
		path := filepath.Join(t.TempDir(), names[int(kind)%len(names)])
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		readFile(path, func(rawRow) error { return nil })
	})
}

// FuzzCache: a cache file of any content is read or refused.
func FuzzCache(f *testing.F) {
	f.Add([]byte("mltrtok1"))
	f.Add(cacheSeed(f))
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "x.tokens")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		s, _, err := loadCache(path, "key")
		if err != nil {
			return
		}
		defer s.close()
		for i := range s.rows() {
			s.ref(i)
			s.margin(i)
			if _, err := s.read(i, nil); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// cacheSeed is a sound cache file of one row.
func cacheSeed(f *testing.F) []byte {
	path := filepath.Join(f.TempDir(), "x.tokens")
	w, err := newCacheWriter(path)
	if err != nil {
		f.Fatal(err)
	}
	s := &store{arity: 1}
	s.begin("a.jsonl")
	s.add(1, 1, []sequence{whole([]int32{1, 2})})
	s.setMargin(0.5)
	for _, id := range []int32{1, 2} {
		if err := w.token(packToken(id, weightOne)); err != nil {
			f.Fatal(err)
		}
	}
	file, err := w.commit(s, cacheMeta{Key: "key", Arity: 1, Rows: 1, Margins: 1, Tokens: 2, Files: s.files, First: s.first, Bounds: []int{0, 1}, Ledger: &Ledger{}})
	if err != nil {
		f.Fatal(err)
	}
	file.Close()
	content, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	return content
}
