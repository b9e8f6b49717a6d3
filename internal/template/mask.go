package template

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrMask: what the assistant said cannot be told apart from the rest of the text.
var ErrMask = errors.New("no consistent assistant mask")

// Span is a byte range [Start, End) of a rendered conversation that the assistant wrote.
type Span struct {
	Start, End int
	Message    int // index of the message it belongs to
}

// AssistantSpans finds the byte ranges of a conversation's text that are to be trained: what the assistant says and
// the end-of-turn token after it, not the header before it. See MaskChat.
func AssistantSpans(t *Template, in ChatInput) ([][2]int, error) {
	_, spans, err := MaskChat(t, in)
	out := make([][2]int, len(spans))
	for i, s := range spans {
		out[i] = [2]int{s.Start, s.End}
	}
	return out, err
}

// MaskChat renders a conversation without a generation prompt and finds what the assistant wrote in it.
//
// A template with generation marks says so itself. With any other, the text of an assistant message is the difference
// between two beginnings of the conversation: messages[:i] with a generation prompt, and messages[:i+1]. Both must be
// beginnings of the whole text. Where later messages change how the template writes a turn, its end is found by
// exchanging its content instead; if that is not conclusive either, the error wraps ErrMask and says where. Where messages[:i] alone cannot be rendered (the assistant speaks first, or the
// template checks the order of roles), the range begins where the message's content does.
//
// Space that a template puts behind the end-of-turn token belongs to the layout and is left out. Where nothing but
// space follows the content, that space is what ends the turn, and is kept.
func MaskChat(t *Template, in ChatInput) (text string, spans []Span, err error) {
	messages, err := in.messages()
	if err != nil {
		return "", nil, err
	}
	full, err := in.render(t, messages, false)
	if err != nil {
		return "", nil, err
	}
	m := &masker{t: t, in: &in, messages: messages, full: full.Text}
	if len(full.Generation) > 0 && !full.NestedGeneration {
		spans, err = m.marked(full.Generation)
		return full.Text, spans, err
	}
	spans, err = m.differences()
	return full.Text, spans, err
}

// probe is a text that no conversation contains.
const probe = "\ue000\uf8ff"

type masker struct {
	t        *Template
	in       *ChatInput
	messages []Value
	full     string
}

func (m *masker) isAssistant(i int) bool {
	role, _ := m.messages[i].(*Dict).Get("role")
	return role == "assistant" || role == "model"
}

// marked says which message each generation block belongs to: by order when there is one block per assistant message,
// else by counting the blocks of the conversation's beginnings.
func (m *masker) marked(ranges [][2]int) ([]Span, error) {
	var speakers []int
	for i := range m.messages {
		if m.isAssistant(i) {
			speakers = append(speakers, i)
		}
	}
	spans := make([]Span, len(ranges))
	for i, r := range ranges {
		spans[i] = Span{r[0], r[1], -1}
	}
	if len(speakers) == len(ranges) {
		for i := range spans {
			spans[i].Message = speakers[i]
		}
		return spans, nil
	}
	next := 0
	for n, i := range speakers {
		upTo := len(ranges)
		if n < len(speakers)-1 {
			r, err := m.in.render(m.t, m.messages[:i+1], false)
			if err != nil {
				return nil, m.fail(i, "the conversation up to it cannot be rendered: %v", err)
			}
			upTo = min(len(r.Generation), len(ranges))
		}
		for ; next < upTo; next++ {
			spans[next].Message = i
		}
	}
	for i := range spans {
		if spans[i].Message < 0 {
			return nil, fmt.Errorf("%w: %s marks text at byte %d as generated, but the conversation has no assistant message for it",
				ErrMask, m.t.name, spans[i].Start)
		}
	}
	return spans, nil
}

func (m *masker) differences() ([]Span, error) {
	var spans []Span
	last := 0
	for i := range m.messages {
		if !m.isAssistant(i) {
			continue
		}
		end, err := m.end(i)
		if err != nil {
			return nil, err
		}
		start, err := m.start(i, end)
		if err != nil {
			return nil, err
		}
		if start < last || start > end {
			return nil, m.fail(i, "its text would lie at bytes %d to %d, before the text of the message before it ends", start, end)
		}
		last = end
		if end = m.trimmed(i, start, end); end > start {
			spans = append(spans, Span{start, end, i})
		}
	}
	return spans, nil
}

func (m *masker) fail(i int, format string, a ...any) error {
	return fmt.Errorf("%w for message %d with the template %s: %s; use a template with {%% generation %%} marks (built in: %s) or train on every token",
		ErrMask, i, m.t.name, fmt.Sprintf(format, a...), strings.Join(BuiltinNames(), ", "))
}

// end is where the text of messages[:i+1] ends in the whole.
func (m *masker) end(i int) (int, error) {
	if i == len(m.messages)-1 {
		return len(m.full), nil
	}
	r, err := m.in.render(m.t, m.messages[:i+1], false)
	if err == nil && strings.HasPrefix(m.full, r.Text) {
		return len(r.Text), nil
	}
	if end, ok := m.endByProbe(i); ok {
		return end, nil
	}
	if err != nil {
		return 0, m.fail(i, "the conversation up to it cannot be rendered: %v", err)
	}
	return 0, m.fail(i, "the template writes it differently once later messages follow: %s", difference(r.Text, m.full))
}

// endByProbe finds the end of message i where later messages change how the template writes it (Qwen 3 drops the
// reasoning of earlier turns, Phi 3 closes the whole text with eos). What closes the turn is what follows the content
// when the message is the last one; it must follow the content in the whole text too, and all that comes after it
// must not depend on the content.
func (m *masker) endByProbe(i int) (int, bool) {
	upTo, ok := m.withProbe(i, i+1)
	if !ok {
		return 0, false
	}
	whole, ok := m.withProbe(i, len(m.messages))
	if !ok {
		return 0, false
	}
	_, closing, _ := strings.Cut(upTo, probe)
	if m.in.EOS != "" {
		if short := strings.TrimRightFunc(strings.TrimSuffix(closing, m.in.EOS), unicode.IsSpace); short != "" {
			closing = short
		}
	}
	closing = strings.TrimRightFunc(closing, unicode.IsSpace)
	_, rest, _ := strings.Cut(whole, probe)
	after, ok := strings.CutPrefix(rest, closing)
	if !ok || closing == "" || !strings.HasSuffix(m.full, closing+after) {
		return 0, false
	}
	return len(m.full) - len(after), true
}

// withProbe renders messages[:n] with the probe as message i's content; ok is false unless it is printed just once.
func (m *masker) withProbe(i, n int) (string, bool) {
	msg := m.messages[i].(*Dict).clone()
	msg.Set("content", probe)
	changed := append([]Value{}, m.messages[:n]...)
	changed[i] = msg
	r, err := m.in.render(m.t, changed, false)
	return r.Text, err == nil && strings.Count(r.Text, probe) == 1
}

// start is where the generation prompt before message i ends in the whole.
func (m *masker) start(i, end int) (int, error) {
	if i > 0 {
		r, err := m.in.render(m.t, m.messages[:i], true)
		if errors.Is(err, ErrLimit) {
			return 0, err
		}
		if err == nil {
			if !strings.HasPrefix(m.full, r.Text) {
				return 0, m.fail(i, "the prompt before it is no beginning of the whole text: %s", difference(r.Text, m.full))
			}
			return len(r.Text), nil
		}
	}
	return m.contentStart(i, end)
}

// contentStart finds where message i's content begins: at the first byte that changes when the content does.
func (m *masker) contentStart(i, end int) (int, error) {
	content, _ := m.messages[i].(*Dict).Get("content")
	if content == nil || content == "" {
		return 0, m.fail(i, "it has no text, and the messages before it cannot be rendered alone")
	}
	changed, ok := m.withProbe(i, i+1)
	if !ok {
		return 0, m.fail(i, "the messages before it cannot be rendered alone, and the template does not print its content as it is")
	}
	return commonPrefix(changed, m.full[:end]), nil
}

func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	for n > 0 && n < len(b) && !utf8.RuneStart(b[n]) {
		n--
	}
	return n
}

// trimmed drops the layout's space after the end-of-turn token of message i.
func (m *masker) trimmed(i, start, end int) int {
	text := m.full[start:end]
	short := strings.TrimRightFunc(text, unicode.IsSpace)
	content, _ := m.messages[i].(*Dict).Get("content")
	if s, ok := content.(string); ok {
		s = strings.TrimSpace(s)
		if s != "" && strings.HasSuffix(short, s) {
			return end
		}
	}
	return start + len(short)
}

// difference shows where a text stops being the beginning of another.
func difference(got, whole string) string {
	n := commonPrefix(got, whole)
	cut := func(s string) string {
		s = s[min(n, len(s)):]
		if r := []rune(s); len(r) > 40 {
			s = string(r[:40]) + "…"
		}
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("at byte %d it is %s, in the whole %s", n, cut(got), cut(whole))
}
