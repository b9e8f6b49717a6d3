package data

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// toyTokenizer has one token a byte (id = byte + 10), and the special tokens <s> (1), </s> (2), <pad> (0) and <|end|> (3).
// It puts <s> before plain text.
type toyTokenizer struct{ noEOS bool }

var toySpecials = []struct {
	text string
	id   int32
}{{"<pad>", 0}, {"<s>", 1}, {"</s>", 2}, {"<|end|>", 3}}

const toyVocab = 266

func (t toyTokenizer) EncodeSpans(text string) (ids []int32, start, end []int, err error) {
next:
	for i := 0; i < len(text); {
		for _, s := range toySpecials {
			if strings.HasPrefix(text[i:], s.text) {
				ids, start, end = append(ids, s.id), append(start, i), append(end, i+len(s.text))
				i += len(s.text)
				continue next
			}
		}
		ids, start, end = append(ids, int32(text[i])+10), append(start, i), append(end, i+1)
		i++
	}
	return ids, start, end, nil
}

func (t toyTokenizer) AppendIDs(dst []int32, text string, special bool) ([]int32, error) {
	if special {
		dst = append(dst, 1)
	}
	ids, _, _, err := t.EncodeSpans(text)
	return append(dst, ids...), err
}

func (t toyTokenizer) BOS() (int32, bool)      { return 1, true }
func (t toyTokenizer) EOS() (int32, bool)      { return 2, !t.noEOS }
func (t toyTokenizer) PAD() (int32, bool)      { return 0, true }
func (t toyTokenizer) IsSpecial(id int32) bool { return id < 4 }
func (t toyTokenizer) Token(id int32) string   { return t.Decode([]int32{id}) }
func (t toyTokenizer) Fingerprint() string     { return fmt.Sprint("toy", t.noEOS) }
func (t toyTokenizer) Decode(ids []int32) string {
	var b strings.Builder
	for _, id := range ids {
		if id < 4 {
			b.WriteString(toySpecials[id].text)
		} else {
			b.WriteByte(byte(id - 10))
		}
	}
	return b.String()
}

// toyTemplate writes "role: content" and an end marker for every message, e.g. "[user]hi<|end|>".
type toyTemplate struct{ end string }

func (t toyTemplate) Name() string        { return "toy" }
func (t toyTemplate) Fingerprint() string { return "toy" + t.end }

func (t toyTemplate) Render(c Conversation, generationPrompt bool) (string, error) {
	text, _, err := t.AssistantSpans(c)
	if generationPrompt {
		text += "[assistant]"
	}
	return text, err
}

func (t toyTemplate) AssistantSpans(c Conversation) (string, []Span, error) {
	var b strings.Builder
	var spans []Span
	for i, m := range c.Messages {
		if m.Role != "user" && m.Role != "assistant" && m.Role != "system" {
			return "", nil, fmt.Errorf("message %d: role %q is not known to the template", i, m.Role)
		}
		fmt.Fprintf(&b, "[%s]", m.Role)
		start := b.Len()
		b.WriteString(m.Content + t.end)
		if m.Role == "assistant" {
			spans = append(spans, Span{Start: start, End: b.Len(), Message: i})
		}
	}
	return b.String(), spans, nil
}

// marked decodes an example with its trained tokens in braces: "<s>{abc</s>}".
func marked(ex Example) string {
	var b strings.Builder
	on := false
	for i, id := range ex.IDs {
		if trained := ex.Weights[i] != 0; trained != on {
			on = trained
			b.WriteByte("}{"[b2i(on)])
		}
		b.WriteString(toyTokenizer{}.Decode([]int32{id}))
	}
	if on {
		b.WriteByte('}')
	}
	return b.String()
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// write puts files (name, content, name, content …) into a new folder and gives its path.
func write(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func toyOptions() Options {
	return Options{MaxLength: 1000, Vocab: toyVocab, Template: toyTemplate{end: "<|end|>"}}
}

func open(t *testing.T, opt Options, files ...string) (*Dataset, *Ledger) {
	t.Helper()
	ds, ledger, err := Open(t.Context(), []Source{{Path: write(t, files...)}}, opt, toyTokenizer{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ds.Close() })
	return ds, ledger
}

func allMarked(t *testing.T, ds *Dataset) []string {
	t.Helper()
	var out []string
	for i := range ds.Len() {
		ex, err := ds.Example(i)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, marked(ex))
	}
	return out
}
