package eval

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mltrain/mltrain/internal/template"
)

// message is a turn of a prompt. As text, the delimiter follows it.
type message struct {
	role, content string
	delimiter     string
}

// promptOptions say how contexts are put together.
type promptOptions struct {
	system    string // system instruction
	chat      func(messages []message, addGenerationPrompt bool) (string, error)
	multiturn bool // examples are turns of their own
}

// pySpace is Python's str.isspace for a character.
func pySpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

func endsInSpace(s string) bool {
	r, n := utf8.DecodeLastRuneInString(s)
	return n > 0 && pySpace(r)
}

func startsWithSpace(s string) bool {
	r, n := utf8.DecodeRuneInString(s)
	return n > 0 && pySpace(r)
}

// joined puts a delimiter between two texts unless one is empty or there is space already.
func joined(a, b, delimiter string) string {
	if a == "" || b == "" || endsInSpace(a) || startsWithSpace(b) {
		return a + b
	}
	return a + delimiter + b
}

// contexts are the prompts of a row: one, or one for each choice where the choices are contexts. rng draws the examples.
func (t *Task) contexts(d doc, rng *pyRandom, o promptOptions) ([]string, error) {
	description, err := t.description.text(d)
	if err != nil {
		return nil, err
	}
	var before []message
	if s := joined(o.system, description, *t.FewshotDelimiter); s != "" {
		before = append(before, message{role: "system", content: s})
	}
	shots, err := t.examples(d, rng)
	if err != nil {
		return nil, err
	}
	for _, shot := range shots {
		turns, err := t.exampleTurns(shot)
		if err != nil {
			return nil, err
		}
		before = append(before, turns...)
	}
	prefix, err := t.prefix.text(d)
	if err != nil {
		return nil, err
	}
	questions := []string{""}
	delimiter := *t.TargetDelimiter
	if t.multipleInput {
		if questions, err = t.choice.choices(d); err != nil {
			return nil, err
		}
		delimiter = ""
	} else if questions[0], err = t.text.text(d); err != nil {
		return nil, err
	}
	out := make([]string, len(questions))
	for i, q := range questions {
		turns := append(before[:len(before):len(before)], questionTurns(q, prefix, delimiter)...)
		if out[i], err = render(turns, prefix, o); err != nil {
			return nil, fmt.Errorf("%s: %w", d.ref, err)
		}
	}
	return out, nil
}

// questionTurns are the turns of the question itself.
func questionTurns(q, prefix, delimiter string) []message {
	m := message{role: "user", content: q}
	if prefix == "" {
		return []message{m}
	}
	if q != "" && !endsInSpace(q) && !startsWithSpace(prefix) {
		m.delimiter = delimiter
	}
	return []message{m, {role: "assistant", content: prefix}}
}

// exampleTurns are a question and its answer.
func (t *Task) exampleTurns(d doc) ([]message, error) {
	q, err := t.question(d, t.shotText)
	if err != nil {
		return nil, err
	}
	var choices []string
	if t.shotChoice != nil {
		if choices, err = t.shotChoice.choices(d); err != nil {
			return nil, err
		}
	}
	answer, err := t.shotTarget.target(d, t.choice != nil)
	if err != nil {
		return nil, err
	}
	prefix, err := t.shotPrefix.text(d)
	if err != nil {
		return nil, err
	}
	if i, ok := q.(int64); ok {
		if i < 0 || int(i) >= len(choices) {
			return nil, fmt.Errorf("%s: doc_to_text is choice %d of %d", d.ref, i, len(choices))
		}
		q, choices = choices[i], nil
	}
	question, ok := q.(string)
	if !ok {
		return nil, fmt.Errorf("%s: doc_to_text: expected text, found %s", d.ref, describe(q))
	}
	text, err := answerText(answer, choices)
	if err != nil {
		return nil, fmt.Errorf("%s: doc_to_target: %w", d.ref, err)
	}
	c := t.FewshotConfig
	m := message{role: "user", content: question}
	if text == "" {
		if prefix == "" {
			return []message{m}, nil
		}
		return questionTurns(question, prefix, *c.TargetDelimiter), nil
	}
	if prefix == "" || question != "" && !endsInSpace(question) && !startsWithSpace(prefix) {
		m.delimiter = *c.TargetDelimiter
	}
	return []message{m, {"assistant", joined(prefix, text, " "), *c.FewshotDelimiter}}, nil
}

// answerText is the text of a target: a choice where it is an index, the first of several.
func answerText(v template.Value, choices []string) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case int64:
		if choices != nil {
			if v < 0 || int(v) >= len(choices) {
				return "", fmt.Errorf("choice %d of %d", v, len(choices))
			}
			return choices[v], nil
		}
	case []template.Value:
		if len(v) == 0 {
			return "", fmt.Errorf("an empty list")
		}
		return answerText(v[0], choices)
	}
	return template.String(v)
}

// examples draws the examples of a row.
func (t *Task) examples(d doc, rng *pyRandom) ([]doc, error) {
	n := *t.NumFewshot
	if n == 0 {
		return nil, nil
	}
	others := func(docs []doc) []doc {
		var out []doc
		for _, x := range docs {
			if !t.excludeSelf || x.json != d.json {
				out = append(out, x)
			}
		}
		return out
	}
	tooFew := func(have int) error {
		return fmt.Errorf("task %s: %d examples are asked for, the split has %d", t.Task, n, have)
	}
	if t.FewshotConfig.Sampler == "first_n" {
		pool := others(t.fewshot)
		if len(pool) < n {
			return nil, tooFew(len(pool))
		}
		return pool[:n], nil
	}
	draw := func(pool []doc, k int) ([]doc, error) {
		at, err := rng.sample(len(pool), k)
		if err != nil {
			return nil, tooFew(len(pool))
		}
		out := make([]doc, k)
		for i, j := range at {
			out[i] = pool[j]
		}
		return out, nil
	}
	if !t.excludeSelf {
		return draw(t.fewshot, n)
	}
	drawn, err := draw(t.fewshot, n+1)
	if err != nil {
		return nil, err
	}
	if drawn = others(drawn); len(drawn) >= n {
		return drawn[:n], nil
	}
	return draw(others(t.fewshot), n) // the row is there several times
}

// render makes text of turns.
func render(turns []message, prefix string, o promptOptions) (string, error) {
	if o.chat == nil {
		var b strings.Builder
		for _, m := range turns {
			b.WriteString(m.content)
			b.WriteString(m.delimiter)
		}
		return b.String(), nil
	}
	if !o.multiturn {
		turns = singleTurn(turns)
	}
	return o.chat(turns, prefix == "")
}

// singleTurn makes one turn of the user of all but the system's turn and the assistant's at the end.
func singleTurn(turns []message) []message {
	var out []message
	if turns[0].role == "system" {
		out, turns = append(out, turns[0]), turns[1:]
	}
	last := turns[len(turns)-1]
	if last.role == "assistant" {
		turns = turns[:len(turns)-1]
	}
	var b strings.Builder
	for i, m := range turns {
		b.WriteString(m.content)
		if i < len(turns)-1 {
			b.WriteString(m.delimiter)
		}
	}
	out = append(out, message{role: "user", content: b.String()})
	if last.role == "assistant" {
		out = append(out, last)
	}
	return out
}
