package tokenizer

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestDecodeStream(t *testing.T) {
	for _, dir := range [][]string{{"models", "stories260K"}, {"tokenizers", "qwen3"}} {
		tok, err := Load(shared(t, dir...))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{
			"", "a", "  two  spaces ", "日本語 🎉👩‍👧 é", "x </s> y <|im_end|>  z", strings.Repeat("the quick 🎉 brown\n\n fox 日", 40),
		} {
			for _, skip := range []bool{false, true} {
				ids, err := tok.AppendIDs(nil, s, true)
				if err != nil {
					t.Fatal(err)
				}
				stream := tok.NewDecodeStream(skip)
				var b strings.Builder
				for _, id := range ids {
					part := stream.Next(id)
					if !utf8.ValidString(part) || strings.Contains(part, "\uFFFD") {
						t.Fatalf("%q: half a rune: %q", s, part)
					}
					b.WriteString(part)
				}
				b.WriteString(stream.Flush())
				if want := tok.Decode(ids, skip); b.String() != want {
					t.Errorf("stream of %q:\n got %q\nwant %q", s, b.String(), want)
				}
			}
		}
	}
}

func TestDecodeStreamBrokenBytes(t *testing.T) {
	tok, err := Load(shared(t, "models", "stories260K"))
	if err != nil {
		t.Fatal(err)
	}
	id := func(b byte) int32 { return int32(b) + 3 }
	stream := tok.NewDecodeStream(false)
	var b strings.Builder
	for _, c := range []byte{0xC3, 0xA9, 0xFF} {
		b.WriteString(stream.Next(id(c)))
	}
	b.WriteString(stream.Flush())
	if got := b.String(); got != "é\uFFFD" {
		t.Errorf("got %q", got)
	}
	stream = tok.NewDecodeStream(false)
	b.Reset()
	for range 1000 {
		b.WriteString(stream.Next(id(0xFF)))
	}
	if b.Len() < 900*3 {
		t.Errorf("a stream of broken bytes is held back for too long: %d bytes given", b.Len())
	}
}
