package tokenizer

import (
	"os"
	"path/filepath"
	"testing"
)

// benchmarkTokenizers are the tokenizers to time: those of a folder made by tools/tokenizer_bench.py, or golden ones.
func benchmarkTokenizers(b *testing.B) (names []string, toks map[string]*Tokenizer, docs []string) {
	b.Helper()
	toks = map[string]*Tokenizer{}
	if dir := os.Getenv("MLTRAIN_TOKENIZER_BENCH"); dir != "" {
		docs, err := readDocs(filepath.Join(dir, "text.bin"))
		if err != nil {
			b.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(dir, "*", "tokenizer.json"))
		if err != nil || len(files) == 0 {
			b.Fatalf("no tokenizers in %s: %v", dir, err)
		}
		for _, f := range files {
			name := filepath.Base(filepath.Dir(f))
			t, err := Load(filepath.Dir(f))
			if err != nil {
				b.Fatal(err)
			}
			names = append(names, name)
			toks[name] = t.WithoutLimits()
		}
		return names, toks, docs
	}
	g := readGoldens(b)
	for _, c := range g.Cases {
		switch c.Name {
		case "BPE byte-level", "BPE byte_fallback", "WordPiece", "Unigram byte_fallback False":
			names = append(names, c.Name)
			toks[c.Name] = c.load(b, g)
		}
	}
	for range 100 {
		docs = append(docs, g.Corpus...)
	}
	return names, toks, docs
}

func size(docs []string) (n int64) {
	for _, d := range docs {
		n += int64(len(d))
	}
	return n
}

// BenchmarkEncode times AppendIDs on one goroutine.
func BenchmarkEncode(b *testing.B) {
	names, toks, docs := benchmarkTokenizers(b)
	for _, name := range names {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size(docs))
			b.ReportAllocs()
			var ids []int32
			for b.Loop() {
				for _, d := range docs {
					var err error
					if ids, err = toks[name].AppendIDs(ids[:0], d, true); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// BenchmarkEncodeCold times AppendIDs with nothing remembered from earlier texts at the start of every pass.
func BenchmarkEncodeCold(b *testing.B) {
	names, toks, docs := benchmarkTokenizers(b)
	for _, name := range names {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size(docs))
			var ids []int32
			for b.Loop() {
				tok := *toks[name]
				tok.cache = newWordCache()
				for _, d := range docs {
					var err error
					if ids, err = tok.AppendIDs(ids[:0], d, true); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// BenchmarkEncodeParallel times AppendIDs on as many goroutines as there are processors, each with all the texts.
func BenchmarkEncodeParallel(b *testing.B) {
	names, toks, docs := benchmarkTokenizers(b)
	for _, name := range names {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size(docs))
			b.RunParallel(func(pb *testing.PB) {
				var ids []int32
				for pb.Next() {
					for _, d := range docs {
						var err error
						if ids, err = toks[name].AppendIDs(ids[:0], d, true); err != nil {
							b.Error(err)
							return
						}
					}
				}
			})
		})
	}
}

// BenchmarkEncodeOffsets times Encode, which keeps offsets.
func BenchmarkEncodeOffsets(b *testing.B) {
	names, toks, docs := benchmarkTokenizers(b)
	for _, name := range names {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size(docs))
			for b.Loop() {
				for _, d := range docs {
					if _, err := toks[name].Encode(d, EncodeOptions{AddSpecialTokens: true}); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// BenchmarkLoad times reading a tokenizer.json.
func BenchmarkLoad(b *testing.B) {
	data, err := os.ReadFile(shared(b, "tokenizers", "qwen3", "tokenizer.json"))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := FromJSON(data); err != nil {
			b.Fatal(err)
		}
	}
}
