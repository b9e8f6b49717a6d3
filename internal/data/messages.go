package data

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// shareGPTRoles maps the values of "from" to roles.
var shareGPTRoles = map[string]string{
	"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant", "bing": "assistant",
	"bard": "assistant", "model": "assistant", "system": "system", "developer": "developer", "observation": "tool", "tool": "tool",
	"function_response": "tool", "function_call": "assistant",
}

// parseMessages reads a list of messages, or a string of JSON that holds one (CSV).
func parseMessages(v json.RawMessage) ([]Message, error) {
	v = unquoteJSON(v)
	var list []json.RawMessage
	if err := json.Unmarshal(v, &list); err != nil || isNull(v) {
		return nil, fmt.Errorf("must be a list of messages, found %s", kindOf(v))
	}
	messages := make([]Message, len(list))
	for i, raw := range list {
		m, err := parseMessage(raw)
		if err != nil {
			return nil, fmt.Errorf("message %d: %w", i, err)
		}
		messages[i] = m
	}
	return messages, nil
}

// parseMessage reads {role, content, …} or ShareGPT's {from, value, …}.
func parseMessage(raw json.RawMessage) (Message, error) {
	fields, err := parseObject(raw)
	if err != nil {
		return Message{}, err
	}
	m := Message{NoContent: true}
	from, weightKey := "", ""
	for _, f := range fields {
		switch f.Key {
		case "role":
			if json.Unmarshal(f.Value, &m.Role) != nil {
				return m, fmt.Errorf("\"role\" must be a string, found %s", kindOf(f.Value))
			}
		case "from":
			if json.Unmarshal(f.Value, &from) != nil {
				return m, fmt.Errorf("\"from\" must be a string, found %s", kindOf(f.Value))
			}
		case "content", "value":
			if !m.NoContent {
				return m, errors.New("has both \"content\" and \"value\"")
			}
			if m.Content, m.NoContent, err = parseContent(f.Value); err != nil {
				return m, fmt.Errorf("%q: %w", f.Key, err)
			}
		case "loss_weight", "weight", "train", "training":
			if isNull(f.Value) {
				continue
			}
			if weightKey != "" {
				return m, fmt.Errorf("has both %q and %q", weightKey, f.Key)
			}
			weightKey = f.Key
			if m.Weight, err = parseWeight(f.Value); err != nil {
				return m, fmt.Errorf("%q: %w", f.Key, err)
			}
		default:
			m.Extra = append(m.Extra, f)
		}
	}
	if m.Role == "" && from != "" {
		role, ok := shareGPTRoles[from]
		if !ok {
			return m, fmt.Errorf("\"from\" is %q; known are human, gpt, system, function_call, observation", from)
		}
		m.Role = role
		if from == "function_call" {
			err = m.takeCall()
		}
	}
	if m.Role == "" {
		return m, fmt.Errorf("has neither \"role\" nor \"from\"; found %s", fieldList(fields))
	}
	return m, err
}

// takeCall turns ShareGPT's function_call, whose value is the JSON of {name, arguments} or a list of them, into tool_calls.
func (m *Message) takeCall() error {
	text := strings.TrimSpace(m.Content)
	var calls []json.RawMessage
	if strings.HasPrefix(text, "[") {
		if err := json.Unmarshal([]byte(text), &calls); err != nil {
			return fmt.Errorf("function_call is not JSON: %w", err)
		}
	} else {
		calls = []json.RawMessage{json.RawMessage(text)}
	}
	var b strings.Builder
	b.WriteByte('[')
	for i, c := range calls {
		if _, err := parseObject(c); err != nil {
			return fmt.Errorf("function_call must be {\"name\": …, \"arguments\": {…}}: %w", err)
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, `{"type": "function", "function": %s}`, c)
	}
	b.WriteByte(']')
	m.Content = ""
	m.Extra = append(m.Extra, Field{Key: "tool_calls", Value: json.RawMessage(b.String())})
	return nil
}

// parseContent reads a string, null, or typed parts of text: {type: text, text: …} or, as LLaMA-Factory has it,
// {type: text, value: …}. Text parts are joined; any other type is an error, for a text model can't see it.
func parseContent(v json.RawMessage) (text string, none bool, err error) {
	if isNull(v) {
		return "", true, nil
	}
	switch bytes.TrimSpace(v)[0] {
	case '"':
		err = json.Unmarshal(v, &text)
		return text, false, err
	case '[':
		var parts []struct {
			Type  *string
			Text  *string
			Value *string
		}
		if err := json.Unmarshal(v, &parts); err != nil {
			return "", false, fmt.Errorf("parts must be {\"type\": \"text\", \"text\": …}: %w", err)
		}
		var b strings.Builder
		for i, p := range parts {
			switch {
			case p.Type != nil && *p.Type != "text":
				return "", false, fmt.Errorf("part %d is of type %q; only text can be trained on", i, *p.Type)
			case p.Text != nil:
				b.WriteString(*p.Text)
			case p.Value != nil:
				b.WriteString(*p.Value)
			default:
				return "", false, fmt.Errorf("part %d has no text", i)
			}
		}
		return b.String(), false, nil
	}
	return "", false, fmt.Errorf("must be a string or a list of parts, found %s", kindOf(v))
}

func parseWeight(v json.RawMessage) (*float64, error) {
	var yes bool
	if json.Unmarshal(v, &yes) == nil {
		w := 0.0
		if yes {
			w = 1
		}
		return &w, nil
	}
	var w float64
	if json.Unmarshal(v, &w) != nil {
		return nil, fmt.Errorf("must be a number or true/false, found %s", kindOf(v))
	}
	if _, err := weightCode(w); err != nil {
		return nil, err
	}
	return &w, nil
}

// parseObject reads a JSON object, keeping the order of its keys.
func parseObject(raw json.RawMessage) ([]Field, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	tok, err := dec.Token()
	if err != nil || tok != json.Delim('{') {
		return nil, fmt.Errorf("must be an object, found %s", kindOf(raw))
	}
	var fields []Field
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return nil, err
		}
		name, _ := key.(string) // an object's keys are strings, or Token fails
		fields = append(fields, Field{Key: name, Value: v})
	}
	_, err = dec.Token()
	return fields, err
}

func fieldList(fields []Field) string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Key
	}
	if len(names) == 0 {
		return "no keys"
	}
	return strings.Join(names, ", ")
}
