package template

import "fmt"

// ChatInput is what a chat template is given, by the names that Hugging Face uses.
type ChatInput struct {
	Messages            Value // a list of mappings with role and content
	Tools               Value // a list of JSON schemas, or nil
	Documents           Value // a list of mappings, or nil
	AddGenerationPrompt bool
	BOS, EOS            string         // bos_token and eos_token; undefined in the template when empty
	Extra               map[string]any // further names, e.g. enable_thinking; they win over the ones above
	Options             Options
}

// ApplyChat renders a conversation.
func ApplyChat(t *Template, in ChatInput) (Result, error) {
	messages, err := in.messages()
	if err != nil {
		return Result{}, err
	}
	return in.render(t, messages, in.AddGenerationPrompt)
}

// messages checks the shape of the conversation.
func (in *ChatInput) messages() ([]Value, error) {
	v, err := From(in.Messages)
	if err != nil {
		return nil, err
	}
	list, ok := v.([]Value)
	if !ok {
		return nil, fmt.Errorf("messages must be a list, not %s", typeName(v))
	}
	for i, m := range list {
		if _, ok := m.(*Dict); !ok {
			return nil, fmt.Errorf("message %d must be a mapping with role and content, not %s", i, typeName(m))
		}
	}
	return list, nil
}

func (in *ChatInput) render(t *Template, messages []Value, prompt bool) (Result, error) {
	vars := NewDict()
	vars.Set("messages", messages)
	vars.Set("tools", in.Tools)
	vars.Set("documents", in.Documents)
	vars.Set("add_generation_prompt", prompt)
	if in.BOS != "" {
		vars.Set("bos_token", in.BOS)
	}
	if in.EOS != "" {
		vars.Set("eos_token", in.EOS)
	}
	for k, v := range in.Extra {
		vars.Set(k, v)
	}
	return t.Render(vars, in.Options)
}
