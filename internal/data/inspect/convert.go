package inspect

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/mltrain/mltrain/internal/data"
)

// object is a row to write, its keys in order.
type object []data.Field

func (o object) with(key string, value any) (object, error) {
	raw, ok := value.(json.RawMessage)
	if !ok {
		var err error
		if raw, err = marshal(value); err != nil {
			return nil, err
		}
	}
	return append(o, data.Field{Key: key, Value: raw}), nil
}

// MarshalJSON writes the object with its keys in order.
func (o object) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, f := range o {
		if i > 0 {
			out = append(out, ", "...)
		}
		key, err := marshal(f.Key)
		if err != nil {
			return nil, err
		}
		out = append(append(append(out, key...), ": "...), f.Value...)
	}
	return append(out, '}'), nil
}

// recast brings a row into another layout. t renders chats when they become text.
func recast(r data.Row, to data.Layout, t data.Template) (object, error) {
	var o object
	var err error
	put := func(key string, value any) {
		if err == nil {
			o, err = o.with(key, value)
		}
	}
	switch to {
	case data.LayoutText:
		var text string
		if text, err = asText(r, t); err == nil {
			put("text", text)
		}
		return o, err
	case data.LayoutMessages, data.LayoutShareGPT:
		messages, failed := asMessages(r)
		if failed != nil {
			return nil, failed
		}
		if to == data.LayoutMessages {
			put("messages", objects(messages))
			break
		}
		turns, failed := shareGPT(messages)
		if failed != nil {
			return nil, failed
		}
		put("conversations", turns)
	case data.LayoutPromptCompletion:
		prompt, completion, failed := asPromptCompletion(r)
		if failed != nil {
			return nil, failed
		}
		put("prompt", partValue(prompt))
		put("completion", partValue(completion))
	case data.LayoutKTO:
		if r.Layout != data.LayoutKTO {
			return nil, fmt.Errorf("a %s row has no label", r.Layout)
		}
		put("prompt", partValue(r.Prompt))
		put("completion", partValue(r.Completion))
		put("label", r.Label)
	case data.LayoutPreference:
		if r.Layout != data.LayoutPreference {
			return nil, fmt.Errorf("a %s row has no chosen and rejected", r.Layout)
		}
		put("prompt", partValue(r.Prompt))
		put("chosen", partValue(r.Chosen))
		put("rejected", partValue(r.Rejected))
	case data.LayoutAlpaca:
		return asAlpaca(r)
	default:
		return nil, fmt.Errorf("rows can't be converted to %q", to)
	}
	if r.Tools != nil {
		put("tools", r.Tools)
	}
	return o, err
}

// unpaired splits a preference row for a conversion to labelled rows.
func unpaired(r data.Row) []data.Row {
	if r.Layout != data.LayoutPreference {
		return []data.Row{r}
	}
	good, bad := r, r
	good.Layout, good.Completion, good.Label = data.LayoutKTO, r.Chosen, true
	bad.Layout, bad.Completion, bad.Label = data.LayoutKTO, r.Rejected, false
	return []data.Row{good, bad}
}

func asText(r data.Row, t data.Template) (string, error) {
	if r.Layout == data.LayoutText {
		return r.Text, nil
	}
	if r.Layout == data.LayoutPromptCompletion && !r.Prompt.Chat {
		return r.Prompt.Text + r.Completion.Text, nil
	}
	messages, err := asMessages(r)
	if err != nil {
		return "", err
	}
	if t == nil {
		return "", errors.New("a chat becomes text by a chat template; name a model or a template")
	}
	return t.Render(data.Conversation{Messages: messages, Tools: r.Tools, Kwargs: r.Kwargs}, false)
}

func asMessages(r data.Row) ([]data.Message, error) {
	switch r.Layout {
	case data.LayoutMessages, data.LayoutShareGPT:
		return r.Messages, nil
	case data.LayoutAlpaca, data.LayoutPromptCompletion:
		if r.Prompt.Chat {
			return slices.Concat(r.Prompt.Messages, r.Completion.Messages), nil
		}
		return []data.Message{{Role: "user", Content: r.Prompt.Text}, {Role: "assistant", Content: r.Completion.Text}}, nil
	}
	return nil, fmt.Errorf("a %s row is no conversation", r.Layout)
}

func asPromptCompletion(r data.Row) (prompt, completion data.Part, err error) {
	switch r.Layout {
	case data.LayoutAlpaca, data.LayoutPromptCompletion:
		return r.Prompt, r.Completion, nil
	case data.LayoutMessages, data.LayoutShareGPT:
		n := len(r.Messages) - 1
		if n < 1 || r.Messages[n].Role != "assistant" {
			return prompt, completion, errors.New("the conversation does not end with an answer of the assistant to something")
		}
		return data.Part{Messages: r.Messages[:n], Chat: true}, data.Part{Messages: r.Messages[n:], Chat: true}, nil
	}
	return prompt, completion, fmt.Errorf("a %s row has no prompt and completion", r.Layout)
}

// asAlpaca writes instruction, input and output, with system and history where there are any. Nothing may be lost: other
// roles, tools and calls are errors.
func asAlpaca(r data.Row) (object, error) {
	messages, err := asMessages(r)
	if err != nil {
		return nil, err
	}
	if r.Tools != nil {
		return nil, errors.New("alpaca rows have no place for tools")
	}
	system := ""
	if len(messages) > 0 && messages[0].Role == "system" {
		system, messages = messages[0].Content, messages[1:]
	}
	history := [][2]string{}
	for i := 0; i < len(messages); i += 2 {
		if i+1 >= len(messages) || messages[i].Role != "user" || messages[i+1].Role != "assistant" || len(messages[i].Extra)+len(messages[i+1].Extra) > 0 {
			return nil, fmt.Errorf("alpaca rows need user and assistant in turn, with text alone; message %d is another", i)
		}
		history = append(history, [2]string{messages[i].Content, messages[i+1].Content})
	}
	if len(history) == 0 {
		return nil, errors.New("the conversation has no turn")
	}
	last := history[len(history)-1]
	var o object
	fields := []data.Field{}
	for _, f := range []struct {
		key   string
		value any
		keep  bool
	}{{"instruction", last[0], true}, {"input", "", true}, {"output", last[1], true}, {"system", system, system != ""},
		{"history", history[:len(history)-1], len(history) > 1}} {
		if f.keep {
			if o, err = object(fields).with(f.key, f.value); err != nil {
				return nil, err
			}
			fields = o
		}
	}
	return o, nil
}

// partValue is a prompt or an answer as JSON: a string or a list of messages.
func partValue(p data.Part) any {
	if p.Chat {
		return objects(p.Messages)
	}
	return p.Text
}

// objects writes messages as they were read, content parts joined.
func objects(messages []data.Message) []object {
	out := make([]object, len(messages))
	for i, m := range messages {
		content := json.RawMessage("null")
		if !m.NoContent {
			content, _ = marshal(m.Content) // a string always can be
		}
		role, _ := marshal(m.Role)
		o := object{{Key: "role", Value: role}, {Key: "content", Value: content}}
		if m.Weight != nil {
			weight, _ := marshal(*m.Weight) // finite: parsing checked it
			o = append(o, data.Field{Key: "weight", Value: weight})
		}
		out[i] = append(o, m.Extra...)
	}
	return out
}

func shareGPT(messages []data.Message) ([]object, error) {
	names := map[string]string{"user": "human", "assistant": "gpt", "system": "system", "tool": "observation"}
	out := make([]object, len(messages))
	for i, m := range messages {
		name, ok := names[m.Role]
		if !ok || len(m.Extra) > 0 {
			return nil, fmt.Errorf("message %d (%s) can't be written as ShareGPT without losing something", i, m.Role)
		}
		var err error
		if out[i], err = out[i].with("from", name); err != nil {
			return nil, err
		}
		if out[i], err = out[i].with("value", m.Content); err != nil {
			return nil, err
		}
		if m.Weight != nil {
			if out[i], err = out[i].with("weight", *m.Weight); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}
