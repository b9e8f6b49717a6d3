package data

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
)

// ErrShape is wrapped by the error about a row whose shape nobody knows.
var ErrShape = errors.New("unknown row shape")

const knownShapes = "text | messages | conversations | instruction, output (input) | prompt, completion | " +
	"prompt, chosen, rejected | prompt, completion, label"

// canonicalKeys are the keys that a column mapping may produce.
var canonicalKeys = []string{"text", "messages", "conversations", "instruction", "input", "output", "system", "history", "prompt",
	"completion", "chosen", "rejected", "label", "margin", "tools", "chat_template_kwargs"}

// layoutAliases are the names that users know from other programs.
var layoutAliases = map[string]Layout{
	"": LayoutAuto, "completion": LayoutText, "pretrain": LayoutText, "chat_template": LayoutMessages, "chat": LayoutMessages,
	"openai": LayoutMessages, "conversations": LayoutShareGPT, "prompt-completion": LayoutPromptCompletion,
	"input_output": LayoutPromptCompletion, "dpo": LayoutPreference, "ranking": LayoutPreference, "unpaired": LayoutKTO,
}

// ParseLayout reads a dataset's `type`.
func ParseLayout(name string) (Layout, error) {
	all := []Layout{LayoutAuto, LayoutText, LayoutMessages, LayoutShareGPT, LayoutAlpaca, LayoutPromptCompletion, LayoutPreference, LayoutKTO}
	if l := Layout(name); slices.Contains(all, l) {
		return l, nil
	}
	if l, ok := layoutAliases[name]; ok {
		return l, nil
	}
	return "", fmt.Errorf("dataset type %q is not known; it is one of %v", name, all)
}

// CheckColumns checks a column mapping {our key: their column}.
func CheckColumns(columns map[string]string) error {
	for _, k := range sortedKeys(columns) {
		if !slices.Contains(canonicalKeys, k) {
			return fmt.Errorf("columns: %q is not a key that rows have here; the left side is one of %s, the right side your column",
				k, strings.Join(canonicalKeys, ", "))
		}
		if columns[k] == "" {
			return fmt.Errorf("columns: %q maps to no column", k)
		}
	}
	return nil
}

// ParseRow recognises a row by its keys and brings it into canonical form. columns renames the row's keys beforehand
// (our key → their column); layout, unless auto, says which shape to expect. The errors name the key, not the place.
func ParseRow(obj map[string]json.RawMessage, layout Layout, columns map[string]string) (Row, error) {
	if len(columns) > 0 {
		renamed := make(map[string]json.RawMessage, len(obj))
		taken := map[string]bool{}
		for _, k := range sortedKeys(columns) {
			v, ok := obj[columns[k]]
			if !ok {
				return Row{}, fmt.Errorf("%w: column %q (mapped to %q) is missing; the row has %s", ErrShape, columns[k], k, keyList(obj))
			}
			renamed[k], taken[columns[k]] = v, true
		}
		for k, v := range obj {
			if _, mapped := renamed[k]; !mapped && !taken[k] {
				renamed[k] = v
			}
		}
		obj = renamed
	}
	p := rowParser{obj: obj}
	if layout == LayoutAuto || layout == "" {
		layout = p.recognise()
	}
	r := Row{Layout: layout}
	var err error
	switch layout {
	case LayoutText:
		r.Text, err = p.text("text")
	case LayoutMessages, LayoutShareGPT:
		err = p.chat(&r)
	case LayoutAlpaca:
		err = p.alpaca(&r, true)
	case LayoutPromptCompletion, LayoutKTO:
		err = p.promptCompletion(&r)
	case LayoutPreference:
		err = p.preference(&r)
	default:
		return r, fmt.Errorf("%w: found the keys %s; known are: %s; rename yours with columns: {our key: your column}",
			ErrShape, keyList(obj), knownShapes)
	}
	if err != nil {
		return r, err
	}
	return r, p.templateInputs(&r)
}

type rowParser struct{ obj map[string]json.RawMessage }

func (p rowParser) has(keys ...string) bool {
	for _, k := range keys {
		if v, ok := p.obj[k]; !ok || isNull(v) {
			return false
		}
	}
	return true
}

func (p rowParser) recognise() Layout {
	switch {
	case p.has("chosen", "rejected"):
		return LayoutPreference
	case p.has("completion", "label") && p.labelled():
		return LayoutKTO
	case p.has("messages"):
		return LayoutMessages
	case p.has("conversations"):
		return LayoutShareGPT
	case p.has("prompt", "completion"):
		return LayoutPromptCompletion
	case p.has("instruction", "output"):
		return LayoutAlpaca
	case p.has("text"):
		return LayoutText
	}
	return ""
}

// text reads a string key; a missing one is an error.
func (p rowParser) text(key string) (string, error) {
	v, ok := p.obj[key]
	if !ok {
		return "", fmt.Errorf("%w: key %q is missing; the row has %s", ErrShape, key, keyList(p.obj))
	}
	var s string
	if isNull(v) || json.Unmarshal(v, &s) != nil {
		return "", fmt.Errorf("key %q must be a string, found %s", key, kindOf(v))
	}
	return s, nil
}

// optional reads a string key that may be missing or null.
func (p rowParser) optional(key string) (string, error) {
	if !p.has(key) {
		return "", nil
	}
	return p.text(key)
}

func (p rowParser) chat(r *Row) error {
	key := "messages"
	if r.Layout == LayoutShareGPT && p.has("conversations") || !p.has("messages") {
		key = "conversations"
	}
	v, ok := p.obj[key]
	if !ok {
		return fmt.Errorf("%w: neither \"messages\" nor \"conversations\"; the row has %s", ErrShape, keyList(p.obj))
	}
	messages, err := parseMessages(v)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	r.Messages, err = p.withSystem(messages)
	return err
}

// withSystem puts the row's own system text (LLaMA-Factory) before messages that have none.
func (p rowParser) withSystem(messages []Message) ([]Message, error) {
	system, err := p.optional("system")
	if err != nil || system == "" || len(messages) > 0 && messages[0].Role == "system" {
		return messages, err
	}
	return append([]Message{{Role: "system", Content: system}}, messages...), nil
}

// alpaca fills Prompt and, if there is an output, Completion.
func (p rowParser) alpaca(r *Row, output bool) error {
	instruction, err := p.text("instruction")
	if err != nil {
		return err
	}
	input, err := p.optional("input")
	if err != nil {
		return err
	}
	messages, err := p.history()
	if err != nil {
		return err
	}
	if input != "" && instruction != "" {
		instruction += "\n"
	}
	messages = append(messages, Message{Role: "user", Content: instruction + input})
	if messages, err = p.withSystem(messages); err != nil {
		return err
	}
	r.Prompt = Part{Messages: messages, Chat: true}
	if output {
		answer, err := p.text("output")
		if err != nil {
			return err
		}
		r.Completion = Part{Messages: []Message{{Role: "assistant", Content: answer}}, Chat: true}
	}
	return nil
}

// history reads LLaMA-Factory's [[question, answer], …] of earlier turns.
func (p rowParser) history() ([]Message, error) {
	if !p.has("history") || string(p.obj["history"]) == `""` {
		return nil, nil
	}
	raw := p.obj["history"]
	var cell string // a CSV file holds the list as text
	if json.Unmarshal(raw, &cell) == nil {
		raw = json.RawMessage(cell)
	}
	var turns [][]string
	if err := json.Unmarshal(raw, &turns); err != nil {
		return nil, fmt.Errorf("key \"history\" must be a list of [question, answer] pairs: %w", err)
	}
	var messages []Message
	for i, t := range turns {
		if len(t) != 2 {
			return nil, fmt.Errorf("history[%d] must be a [question, answer] pair, found %d texts", i, len(t))
		}
		messages = append(messages, Message{Role: "user", Content: t[0]}, Message{Role: "assistant", Content: t[1]})
	}
	return messages, nil
}

// part reads a prompt or an answer: a string, a list of messages or one ShareGPT or OpenAI message.
func (p rowParser) part(key string) (Part, error) {
	v, ok := p.obj[key]
	if !ok {
		return Part{}, fmt.Errorf("%w: key %q is missing; the row has %s", ErrShape, key, keyList(p.obj))
	}
	v = bytes.TrimSpace(v)
	switch {
	case len(v) > 0 && v[0] == '"':
		s, err := p.text(key)
		return Part{Text: s}, err
	case len(v) > 0 && v[0] == '[':
		messages, err := parseMessages(v)
		if err != nil {
			err = fmt.Errorf("%s: %w", key, err)
		}
		return Part{Messages: messages, Chat: true}, err
	case len(v) > 0 && v[0] == '{':
		m, err := parseMessage(v)
		if err != nil {
			err = fmt.Errorf("%s: %w", key, err)
		}
		return Part{Messages: []Message{m}, Chat: true}, err
	}
	return Part{}, fmt.Errorf("key %q must be a string or a list of messages, found %s", key, kindOf(v))
}

func (p rowParser) promptCompletion(r *Row) (err error) {
	if r.Layout == LayoutKTO {
		if r.Label, err = p.label(); err != nil {
			return err
		}
		if !p.has("completion") { // LLaMA-Factory's KTO rows: a whole conversation with a label
			if err := p.chat(r); err != nil {
				return err
			}
			n := len(r.Messages) - 1
			if n < 1 || r.Messages[n].Role != "assistant" {
				return errors.New("a labelled conversation must end with the assistant's message that the label is about")
			}
			r.Prompt, r.Completion = Part{Messages: r.Messages[:n:n], Chat: true}, Part{Messages: r.Messages[n:], Chat: true}
			r.Messages = nil
			return nil
		}
	}
	if r.Prompt, err = p.part("prompt"); err != nil {
		return err
	}
	if r.Completion, err = p.part("completion"); err != nil {
		return err
	}
	unify(&r.Prompt, &r.Completion)
	if r.Prompt.Chat {
		r.Prompt.Messages, err = p.withSystem(r.Prompt.Messages)
	}
	return err
}

// label reads true/false, 1/0 (also 1.0/0.0 and, from CSV, as text).
func (p rowParser) label() (bool, error) {
	v, ok := p.obj["label"]
	if !ok {
		return false, fmt.Errorf("%w: key \"label\" is missing; the row has %s", ErrShape, keyList(p.obj))
	}
	switch strings.ToLower(strings.Trim(string(bytes.TrimSpace(v)), `"`)) {
	case "true", "1", "1.0":
		return true, nil
	case "false", "0", "0.0":
		return false, nil
	}
	return false, fmt.Errorf("key \"label\" must be true (desirable) or false, found %s", kindOf(v))
}

func (p rowParser) labelled() bool { _, err := p.label(); return err == nil }

func (p rowParser) preference(r *Row) (err error) {
	if p.has("margin") {
		r.Margin = p.obj["margin"]
	}
	if r.Chosen, err = p.part("chosen"); err != nil {
		return err
	}
	if r.Rejected, err = p.part("rejected"); err != nil {
		return err
	}
	if r.Chosen.Chat != r.Rejected.Chat {
		return fmt.Errorf("chosen is %s but rejected is %s; both must be of one kind", partKind(r.Chosen), partKind(r.Rejected))
	}
	switch {
	case p.has("prompt"):
		r.Prompt, err = p.part("prompt")
	case p.has("conversations") || p.has("messages"):
		c := Row{Layout: LayoutShareGPT}
		err = p.chat(&c)
		r.Prompt = Part{Messages: c.Messages, Chat: true}
	case p.has("instruction"):
		err = p.alpaca(r, false)
	default:
		return extractPrompt(r)
	}
	if err != nil {
		return err
	}
	if !r.Prompt.Chat && r.Chosen.Chat && opensWith(r.Chosen, r.Prompt.Text) && opensWith(r.Rejected, r.Prompt.Text) {
		return extractPrompt(r) // chosen and rejected repeat the prompt
	}
	unify(&r.Prompt, &r.Chosen)
	unify(&r.Prompt, &r.Rejected)
	if r.Prompt.Chat {
		r.Prompt.Messages, err = p.withSystem(r.Prompt.Messages)
	}
	return err
}

// opensWith reports whether the first user message of a whole conversation is text.
func opensWith(p Part, text string) bool {
	for i, m := range p.Messages {
		if m.Role == "user" {
			return m.Content == text && i+1 < len(p.Messages)
		}
	}
	return false
}

// extractPrompt splits off what chosen and rejected have in common: whole messages, or the text up to where they
// differ, less a space right before (TRL's extract_prompt).
func extractPrompt(r *Row) error {
	if !r.Chosen.Chat {
		a, b := r.Chosen.Text, r.Rejected.Text
		n := 0
		for n < len(a) && n < len(b) && a[n] == b[n] {
			n++
		}
		for n > 0 && (n == len(a) || n == len(b) || !isBoundary(a, n) || !isBoundary(b, n)) {
			n--
		}
		if n > 0 && a[n-1] == ' ' {
			n--
		}
		r.Prompt, r.Chosen.Text, r.Rejected.Text = Part{Text: a[:n]}, a[n:], b[n:]
		return nil
	}
	a, b := r.Chosen.Messages, r.Rejected.Messages
	n := 0
	for n < len(a) && n < len(b) && sameMessage(a[n], b[n]) {
		n++
	}
	if n == len(a) || n == len(b) { // equal up to the end: the last message is the answer
		n = min(len(a), len(b)) - 1
	}
	if n < 1 {
		return errors.New("there is no \"prompt\", and chosen and rejected have no first message in common to take as one")
	}
	r.Prompt = Part{Messages: a[:n:n], Chat: true}
	r.Chosen.Messages, r.Rejected.Messages = a[n:], b[n:]
	return nil
}

func isBoundary(s string, n int) bool { return n >= len(s) || s[n]&0xC0 != 0x80 }

func sameMessage(a, b Message) bool {
	return a.Role == b.Role && a.Content == b.Content && a.NoContent == b.NoContent &&
		slices.EqualFunc(a.Extra, b.Extra, func(x, y Field) bool { return x.Key == y.Key && bytes.Equal(x.Value, y.Value) })
}

// unify turns a plain prompt or answer into a message when the other is one.
func unify(prompt, answer *Part) {
	switch {
	case prompt.Chat && !answer.Chat:
		*answer = Part{Messages: []Message{{Role: "assistant", Content: answer.Text}}, Chat: true}
	case !prompt.Chat && answer.Chat:
		*prompt = Part{Messages: []Message{{Role: "user", Content: prompt.Text}}, Chat: true}
	}
}

// templateInputs reads tools (a list, or a string that holds one) and chat_template_kwargs.
func (p rowParser) templateInputs(r *Row) error {
	if p.has("tools") {
		v := unquoteJSON(p.obj["tools"])
		var list []json.RawMessage
		if len(bytes.TrimSpace(v)) > 0 {
			if err := json.Unmarshal(v, &list); err != nil {
				return fmt.Errorf("key \"tools\" must be a list of functions (or a string of JSON with one), found %s", kindOf(v))
			}
		}
		if len(list) > 0 {
			r.Tools = v
		}
	}
	if p.has("chat_template_kwargs") {
		fields, err := parseObject(unquoteJSON(p.obj["chat_template_kwargs"]))
		if err != nil {
			return fmt.Errorf("key \"chat_template_kwargs\": %w", err)
		}
		r.Kwargs = fields
	}
	return nil
}

// unquoteJSON gives the text of a JSON string, anything else as it is: CSV and Parquet hold nested values as text.
func unquoteJSON(v json.RawMessage) json.RawMessage {
	var s string
	if json.Unmarshal(v, &s) == nil {
		return json.RawMessage(s)
	}
	return v
}

func partKind(p Part) string {
	if p.Chat {
		return "a list of messages"
	}
	return "text"
}

func isNull(v json.RawMessage) bool { return len(v) == 0 || string(bytes.TrimSpace(v)) == "null" }

// kindOf names a JSON value for error messages.
func kindOf(v json.RawMessage) string {
	v = bytes.TrimSpace(v)
	if len(v) == 0 {
		return "nothing"
	}
	switch v[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

func keyList(obj map[string]json.RawMessage) string {
	if len(obj) == 0 {
		return "no keys"
	}
	return strings.Join(sortedKeys(obj), ", ")
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
