package inspect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/mltrain/mltrain/internal/data"
)

// Segment is a run of tokens of one kind.
type Segment struct {
	Text    string  `json:"text"`
	Tokens  int     `json:"tokens"`
	Weight  float32 `json:"weight"` // 0: not trained
	Special bool    `json:"special,omitempty"`
}

// Preview is one row as the model will see it.
type Preview struct {
	Ref       data.Ref        `json:"ref"`
	Layout    data.Layout     `json:"layout"`
	Tokens    int             `json:"tokens"`
	Trained   int             `json:"trained_tokens"`
	Truncated bool            `json:"truncated,omitempty"`
	Drop      data.DropReason `json:"dropped,omitempty"`
	Fault     string          `json:"fault,omitempty"`
	Warnings  []string        `json:"warnings,omitempty"`
	// Documents are the row; or prompt, chosen and rejected; or prompt and completion.
	Documents [][]Segment `json:"documents,omitempty"`
}

var errEnough = errors.New("enough rows")

// PreviewRows shows the first n rows after skip, dropped and faulty ones included.
func PreviewRows(ctx context.Context, sources []data.Source, opt data.Options, tok data.Tokenizer, skip, n int) ([]Preview, error) {
	var out []Preview
	seen := 0
	err := data.Inspect(ctx, sources, opt, tok, func(in data.Inspected) error {
		if seen++; seen <= skip {
			return nil
		}
		if len(out) == n {
			return errEnough
		}
		p := Preview{Ref: in.Ref, Layout: in.Layout, Truncated: in.Truncated, Drop: in.Drop, Warnings: in.Warnings}
		if in.Err != nil {
			p.Fault = in.Err.Error()
		}
		for k, d := range in.Docs {
			answer := opt.Objective != data.Supervised && k > 0
			p.Documents = append(p.Documents, segments(d, answer, tok))
			p.Tokens += len(d.IDs)
			for i, w := range d.Weights {
				if w != 0 && i > 0 || answer {
					p.Trained++
				}
			}
		}
		out = append(out, p)
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return out, err
}

// segments groups tokens of equal weight and kind. Texts are differences of growing decodings, so that tokens that share a
// character or lean on their neighbours come out right.
func segments(d data.Example, answer bool, tok data.Tokenizer) []Segment {
	var out []Segment
	before := ""
	for i := 0; i < len(d.IDs); {
		special, weight := tok.IsSpecial(d.IDs[i]), d.Weights[i]
		j := i + 1
		for j < len(d.IDs) && !special && !tok.IsSpecial(d.IDs[j]) && d.Weights[j] == weight {
			j++
		}
		if answer {
			weight = 1
		}
		s := Segment{Tokens: j - i, Weight: weight, Special: special}
		text := tok.Decode(d.IDs[:j])
		n := 0
		for n < len(before) && n < len(text) && before[n] == text[n] {
			n++
		}
		s.Text, before = text[n:], text
		if special && s.Text == "" {
			s.Text = tok.Token(d.IDs[i])
		}
		out = append(out, s)
		i = j
	}
	return out
}

// Colours of a terminal: trained text green, special tokens blue, the rest grey.
const (
	green, blue, grey, reset = "\x1b[32m", "\x1b[34m", "\x1b[90m", "\x1b[0m"
)

// Write prints the row. With color, trained text is green and special tokens are blue; without, trained text stands in
// ⟦…⟧.
func (p Preview) Write(w io.Writer, color bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s, %d tokens, %d trained", p.Ref, p.Layout, p.Tokens, p.Trained)
	for _, note := range []struct {
		on   bool
		text string
	}{{p.Truncated, "truncated"}, {p.Drop != "", "dropped: " + string(p.Drop)}, {p.Fault != "", "faulty: " + p.Fault}} {
		if note.on {
			fmt.Fprintf(&b, ", %s", note.text)
		}
	}
	b.WriteByte('\n')
	for _, warning := range p.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", warning)
	}
	names := map[int][]string{2: {"prompt", "completion"}, 3: {"prompt", "chosen", "rejected"}}[len(p.Documents)]
	for k, doc := range p.Documents {
		if names != nil {
			fmt.Fprintf(&b, "── %s\n", names[k])
		}
		open := false
		for _, s := range doc {
			trained := s.Weight != 0
			switch {
			case !color:
				if trained != open {
					b.WriteString(map[bool]string{true: "⟦", false: "⟧"}[trained])
					open = trained
				}
				b.WriteString(s.Text)
			case s.Special && trained:
				b.WriteString("\x1b[1m" + blue + s.Text + reset)
			case s.Special:
				b.WriteString(blue + s.Text + reset)
			case trained:
				b.WriteString(green + s.Text + reset)
			default:
				b.WriteString(grey + s.Text + reset)
			}
		}
		if open {
			b.WriteString("⟧")
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}
