package tokenizer

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// goldenFile is testdata/goldens.json, written by tools/goldens/tokenizer_goldens.py with Hugging Face's library.
type goldenFile struct {
	Corpus   []string
	Texts    []string
	Models   []json.RawMessage
	Cases    []goldenCase
	Decoding struct {
		Lists    [][]string
		Decoders []struct {
			Name    string
			Decoder json.RawMessage
			Results []*string
		}
	}
	Digests map[string]string
}

type goldenCase struct {
	Name      string
	Tokenizer map[string]json.RawMessage
	Texts     []string
	Results   []goldenResult
	Pieces    []goldenResult
	Pairs     []struct {
		A, B           string
		Special, Plain goldenResult
	}
}

type goldenResult struct {
	IDs       []int32
	Tokens    []string
	Offsets   []int
	Types     []int32
	Special   []int
	Attention []int
	Plain     []int32
	Decoded   *string
	Skipped   *string
}

var goldens = sync.OnceValues(func() (*goldenFile, error) {
	raw, err := os.ReadFile("testdata/goldens.json")
	if err != nil {
		return nil, err
	}
	g := &goldenFile{}
	return g, json.Unmarshal(raw, g)
})

func readGoldens(t testing.TB) *goldenFile {
	t.Helper()
	g, err := goldens()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// load builds the tokenizer of a case, its model put in place of the number that stands for it.
func (c goldenCase) load(t testing.TB, g *goldenFile) *Tokenizer {
	t.Helper()
	var n int
	if err := json.Unmarshal(c.Tokenizer["model"], &n); err != nil {
		t.Fatal(err)
	}
	file := map[string]json.RawMessage{}
	for k, v := range c.Tokenizer {
		file[k] = v
	}
	file["model"] = g.Models[n]
	raw, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := FromJSON(raw)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// flat is an Encoding in the form of a golden result.
func flat(e *Encoding) goldenResult {
	r := goldenResult{IDs: append([]int32{}, e.IDs...), Tokens: append([]string{}, e.Tokens...),
		Types: append([]int32{}, e.TypeIDs...), Offsets: []int{}, Special: []int{}, Attention: []int{}}
	bit := map[bool]int{true: 1}
	for i := range e.IDs {
		r.Offsets = append(r.Offsets, e.Offsets[i][0], e.Offsets[i][1])
		r.Special = append(r.Special, bit[e.SpecialMask[i]])
		r.Attention = append(r.Attention, bit[e.Attention[i]])
	}
	return r
}

func TestGoldens(t *testing.T) {
	g := readGoldens(t)
	for _, c := range g.Cases {
		t.Run(c.Name, func(t *testing.T) {
			tok := c.load(t, g)
			texts := c.Texts
			if texts == nil {
				texts = g.Texts
			}
			if len(texts) != len(c.Results)+len(c.Pieces) {
				t.Fatalf("%d texts, %d results", len(texts), len(c.Results)+len(c.Pieces))
			}
			for i, want := range c.Pieces {
				e, err := tok.Encode(texts[i], EncodeOptions{})
				if err != nil {
					t.Fatal(err)
				}
				got := flat(e)
				if d := cmp.Diff(want, goldenResult{Tokens: got.Tokens, Offsets: got.Offsets}); d != "" {
					t.Errorf("%q: -want +got\n%s", texts[i], d)
				}
				checkPieces(t, tok, texts[i], want.Tokens)
			}
			for i, want := range c.Results {
				checkGolden(t, tok, texts[i], want)
			}
			for _, p := range c.Pairs {
				for special, want := range map[bool]goldenResult{true: p.Special, false: p.Plain} {
					e, err := tok.EncodePair(p.A, p.B, EncodeOptions{AddSpecialTokens: special})
					if err != nil {
						t.Fatal(err)
					}
					if d := cmp.Diff(want, flat(e)); d != "" {
						t.Errorf("pair %q %q, special %v: -want +got\n%s", p.A, p.B, special, d)
					}
				}
			}
		})
	}
}

// checkPieces compares the pieces that the model gets without alignment.
func checkPieces(t *testing.T, tok *Tokenizer, s string, want []string) {
	t.Helper()
	pieces, err := tok.pieces(nil, s, false)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for _, p := range pieces {
		got = append(got, p.s)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%q without alignment: -want +got\n%s", s, d)
	}
}

func checkGolden(t *testing.T, tok *Tokenizer, s string, want goldenResult) {
	t.Helper()
	e, err := tok.Encode(s, EncodeOptions{AddSpecialTokens: true})
	if err != nil {
		t.Fatal(err)
	}
	plain := want.Plain
	if plain == nil {
		plain = want.IDs
	}
	decoded, skipped := want.Decoded, want.Skipped
	if skipped == nil {
		skipped = decoded
	}
	want.Plain, want.Decoded, want.Skipped = nil, nil, nil
	if d := cmp.Diff(want, flat(e)); d != "" {
		t.Errorf("%q: -want +got\n%s", s, d)
	}
	for special, want := range map[bool][]int32{true: want.IDs, false: plain} {
		ids, err := tok.AppendIDs([]int32{7}, s, special)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(append([]int32{7}, want...), ids); d != "" {
			t.Errorf("%q AppendIDs special %v: -want +got\n%s", s, special, d)
		}
	}
	if decoded == nil {
		return
	}
	for skip, want := range map[bool]string{false: *decoded, true: *skipped} {
		if got := tok.Decode(e.IDs, skip); got != want {
			t.Errorf("%q decoded, skip %v:\n got %q\nwant %q", s, skip, got, want)
		}
	}
}

func TestDecoders(t *testing.T) {
	g := readGoldens(t)
	for _, c := range g.Decoding.Decoders {
		d, err := parseDecoder(c.Decoder, "decoder")
		if err != nil {
			t.Fatal(err)
		}
		for i, list := range g.Decoding.Lists {
			if c.Results[i] == nil {
				d.decode(list) // the reference panics; this must not
				continue
			}
			if got := strings.Join(d.decode(list), ""); got != *c.Results[i] {
				t.Errorf("%s of %q:\n got %q\nwant %q", c.Name, list, got, *c.Results[i])
			}
		}
	}
}

// TestDigests compares what normalizers and pre-tokenizers make of every code point.
func TestDigests(t *testing.T) {
	g := readGoldens(t)
	normalizers := map[string]normalizer{
		"NFC": nfc, "NFD": nfd, "NFKC": nfkc, "NFKD": nfkd, "Lowercase": lowercase{}, "StripAccents": stripAccents{},
		"BertNormalizer": bertNormalizer{true, true, true, true}, "Nmt": nmt{},
	}
	pres := map[string]preTokenizer{
		"Whitespace": wordsAndSymbols{}, "WhitespaceSplit": splitter{pattern: runeFunc(isSpace), behavior: removed},
		"Punctuation": splitter{pattern: runeFunc(isPunctuation), behavior: isolated},
		"Digits":      splitter{pattern: runeFunc(isNumeric), behavior: isolated}, "UnicodeScripts": unicodeScripts{},
		"BertPreTokenizer": bertPreTokenizer{}, "ByteLevel": byteLevel{useRegex: true},
	}
	if len(g.Digests) != len(normalizers)+len(pres) {
		t.Fatalf("%d digests, expected %d", len(g.Digests), len(normalizers)+len(pres))
	}
	for name, n := range normalizers {
		checkDigest(t, name, g.Digests[name], func(h hash.Hash, i int, r rune) error {
			x := text{s: "a" + string(r)}
			err := n.normalize(&x)
			if i > 0 {
				x.s = "\x00a" + x.s
			} else {
				x.s = "a" + x.s
			}
			h.Write([]byte(x.s))
			return err
		})
	}
	for name, p := range pres {
		var parts []piece
		checkDigest(t, name, g.Digests[name], func(h hash.Hash, _ int, r rune) error {
			var err error
			parts, err = p.split(parts[:0], piece{text{s: "a" + string(r) + "b1"}, notAdded})
			sep := ""
			for _, part := range parts {
				h.Write([]byte(sep + part.s))
				sep = "\x00"
			}
			h.Write([]byte{1})
			return err
		})
	}
}

func checkDigest(t *testing.T, name, want string, add func(h hash.Hash, i int, r rune) error) {
	t.Helper()
	h := sha256.New()
	i := 0
	for r := rune(0); r <= 0x10FFFF; r++ {
		if r >= 0xD800 && r <= 0xDFFF {
			continue
		}
		if err := add(h, i, r); err != nil {
			t.Fatal(err)
		}
		i++
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		t.Errorf("%s over all code points: digest %s, want %s", name, got, want)
	}
}

func ExampleTokenizer_AppendIDs() {
	tok, err := FromJSON([]byte(`{"model": {"type": "WordLevel", "unk_token": "?", "vocab": {"?": 0, "hello": 1, "world": 2}},
		"pre_tokenizer": {"type": "Whitespace"}}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	ids, err := tok.AppendIDs(nil, "hello new world", false)
	fmt.Println(ids, err)
	// Output: [1 0 2] <nil>
}
