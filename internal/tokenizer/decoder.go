package tokenizer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// decoder turns tokens into text: it maps a list of strings to another, and the text is the last list, joined.
type decoder interface {
	decode(tokens []string) []string
}

// parseDecoder reads the `decoder` of a tokenizer.json; null gives nil.
func parseDecoder(raw json.RawMessage, path string) (decoder, error) {
	if isNull(raw) {
		return nil, nil
	}
	o, err := newObject(raw, path)
	if err != nil {
		return nil, err
	}
	var d decoder
	switch kind := o.str("type"); kind {
	case "ByteLevel":
		o.ignore("add_prefix_space", "trim_offsets", "use_regex") // the reference's decoder has no use for them either
		d = byteLevelDecoder{}
	case "ByteFallback":
		d = byteFallbackDecoder{}
	case "Fuse":
		d = fuseDecoder{}
	case "Strip":
		d = stripDecoder{o.char("content"), o.count("start"), o.count("stop")}
	case "Replace":
		d = replaceDecoder{parsePattern(o, "pattern"), o.str("content")}
	case "Metaspace":
		m := parseMetaspace(o)
		d = metaspaceDecoder{m.mark, m.scheme != "never"}
	case "WordPiece":
		d = wordPieceDecoder{o.str("prefix"), o.boolean("cleanup")}
	case "BPEDecoder":
		d = bpeDecoder(o.str("suffix"))
	case "CTC":
		d = ctcDecoder{o.str("pad_token"), o.str("word_delimiter_token"), o.boolean("cleanup")}
	case "Sequence":
		var s decoderSequence
		for i, raw := range o.list("decoders") {
			sub, err := parseDecoder(raw, fmt.Sprintf("%s[%d]", o.at("decoders"), i))
			if err != nil {
				return nil, err
			}
			if sub != nil {
				s = append(s, sub)
			}
		}
		d = s
	default:
		o.fail("type", "%w: decoder %q", ErrUnsupported, kind)
	}
	return d, o.close()
}

type decoderSequence []decoder

func (s decoderSequence) decode(tokens []string) []string {
	for _, d := range s {
		tokens = d.decode(tokens)
	}
	return tokens
}

// byteLevelDecoder reads the runes of tokens as bytes, and the bytes as UTF-8.
type byteLevelDecoder struct{}

func (byteLevelDecoder) decode(tokens []string) []string {
	var b []byte
	for _, t := range tokens {
		b = appendBytes(b, t)
	}
	return []string{lossy(b)}
}

// lossy reads bytes as UTF-8 with one U+FFFD for every maximal part of a rune that is cut short (the practice that
// Unicode recommends, chapter 3.9).
func lossy(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var out []byte
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			n = badPrefix(b)
			out = append(out, "\uFFFD"...)
		} else {
			out = append(out, b[:n]...)
		}
		b = b[n:]
	}
	return string(out)
}

// badPrefix returns the length of the longest start of b that begins some rune but is not one, at least 1.
func badPrefix(b []byte) int {
	lo, hi, want := byte(0x80), byte(0xBF), 0
	switch c := b[0]; {
	case c >= 0xC2 && c <= 0xDF:
		want = 1
	case c == 0xE0:
		lo, want = 0xA0, 2
	case c == 0xED:
		hi, want = 0x9F, 2
	case c >= 0xE1 && c <= 0xEF:
		want = 2
	case c == 0xF0:
		lo, want = 0x90, 3
	case c == 0xF4:
		hi, want = 0x8F, 3
	case c >= 0xF1 && c <= 0xF3:
		want = 3
	}
	n := 1
	for n <= want && n < len(b) && b[n] >= lo && b[n] <= hi {
		lo, hi = 0x80, 0xBF
		n++
	}
	return n
}

// byteFallbackDecoder reads runs of tokens <0xNN> as UTF-8; a run that is not UTF-8 becomes one U+FFFD a byte.
type byteFallbackDecoder struct{}

func (byteFallbackDecoder) decode(tokens []string) []string {
	out := make([]string, 0, len(tokens))
	var run []byte
	flush := func() {
		if len(run) == 0 {
			return
		}
		if utf8.Valid(run) {
			out = append(out, string(run))
		} else {
			for range run {
				out = append(out, "\uFFFD")
			}
		}
		run = run[:0]
	}
	for _, t := range tokens {
		if b, ok := byteToken(t); ok {
			run = append(run, b)
			continue
		}
		flush()
		out = append(out, t)
	}
	flush()
	return out
}

// byteToken reads <0xNN>. Like Rust's from_str_radix, it takes a plus sign for a digit's place: <0x+A> is 10.
func byteToken(t string) (byte, bool) {
	if len(t) != 6 || t[:3] != "<0x" || t[5] != '>' {
		return 0, false
	}
	hex := func(c byte) (byte, bool) {
		switch {
		case c >= '0' && c <= '9':
			return c - '0', true
		case c >= 'a' && c <= 'f':
			return c - 'a' + 10, true
		case c >= 'A' && c <= 'F':
			return c - 'A' + 10, true
		}
		return 0, false
	}
	low, ok := hex(t[4])
	if !ok {
		return 0, false
	}
	if t[3] == '+' {
		return low, true
	}
	high, ok := hex(t[3])
	return high<<4 | low, ok
}

// fuseDecoder joins all tokens.
type fuseDecoder struct{}

func (fuseDecoder) decode(tokens []string) []string {
	return []string{strings.Join(tokens, "")}
}

// stripDecoder removes up to start and stop of one rune from the ends of every token.
type stripDecoder struct {
	content     rune
	start, stop int
}

func (d stripDecoder) decode(tokens []string) []string {
	c := string(d.content)
	out := make([]string, len(tokens))
	for i, t := range tokens {
		// As in the reference, a token may lose the same runes at both ends only if there are enough.
		left, right := 0, 0
		for left < d.start && strings.HasPrefix(t[left*len(c):], c) {
			left++
		}
		for right < d.stop && strings.HasSuffix(t[:len(t)-right*len(c)], c) {
			right++
		}
		if (left+right)*len(c) > len(t) {
			out[i] = ""
			continue
		}
		out[i] = t[left*len(c) : len(t)-right*len(c)]
	}
	return out
}

// replaceDecoder puts content in place of every match, token by token.
type replaceDecoder struct {
	pattern pattern
	content string
}

func (d replaceDecoder) decode(tokens []string) []string {
	out := make([]string, len(tokens))
	for i, t := range tokens {
		out[i] = t
		x := text{s: t}
		if err := (replace(d)).normalize(&x); err == nil {
			out[i] = x.s // a pattern that gives up leaves its token alone
		}
	}
	return out
}

// metaspaceDecoder turns marks into spaces, except those of the first token when marks were put in front.
type metaspaceDecoder struct {
	mark     rune
	prefixed bool
}

func (d metaspaceDecoder) decode(tokens []string) []string {
	out := make([]string, len(tokens))
	for i, t := range tokens {
		space := " "
		if i == 0 && d.prefixed {
			space = ""
		}
		out[i] = strings.ReplaceAll(t, string(d.mark), space)
	}
	return out
}

// wordPieceDecoder puts spaces between words; tokens with the prefix continue one.
type wordPieceDecoder struct {
	prefix  string
	cleanup bool
}

func (d wordPieceDecoder) decode(tokens []string) []string {
	out := make([]string, len(tokens))
	for i, t := range tokens {
		if i > 0 {
			if rest, ok := strings.CutPrefix(t, d.prefix); ok {
				t = rest
			} else {
				t = " " + t
			}
		}
		if d.cleanup {
			t = cleanup(t)
		}
		out[i] = t
	}
	return out
}

// cleanup takes out the spaces that splitting English text leaves before punctuation and short forms.
func cleanup(s string) string {
	if !strings.Contains(s, " ") {
		return s
	}
	for _, p := range [...][2]string{{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"}, {" n't", "n't"},
		{" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}} {
		s = strings.ReplaceAll(s, p[0], p[1])
	}
	return s
}

// bpeDecoder turns the suffix that ends words into a space, except in the last token.
type bpeDecoder string

func (d bpeDecoder) decode(tokens []string) []string {
	out := make([]string, len(tokens))
	for i, t := range tokens {
		space := " "
		if i == len(tokens)-1 {
			space = ""
		}
		out[i] = strings.ReplaceAll(t, string(d), space)
	}
	return out
}

// ctcDecoder drops repetitions and padding (connectionist temporal classification).
type ctcDecoder struct {
	pad, delimiter string
	cleanup        bool
}

func (d ctcDecoder) decode(tokens []string) []string {
	var out []string
	for _, t := range slices.Compact(slices.Clone(tokens)) {
		t = strings.ReplaceAll(t, d.pad, "")
		if d.cleanup {
			t = strings.ReplaceAll(cleanup(t), d.delimiter, " ")
		}
		if t != "" {
			out = append(out, t)
		}
	}
	return out
}
