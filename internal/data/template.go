package data

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/mltrain/mltrain/internal/template"
	"github.com/mltrain/mltrain/internal/tokenizer"
)

// autoTemplate is the layout for models that bring none.
const autoTemplate = "alpaca"

// chatTemplate is a template.Template, bound to a tokenizer's special tokens, as a Template.
type chatTemplate struct {
	name        string
	plain       *template.Template
	tools       *template.Template // for conversations with tools; nil: plain
	special     map[string]string  // bos_token, eos_token, …
	now         time.Time
	fingerprint string
}

// ResolveTemplate finds the chat template that spec means: "auto" (or "") the tokenizer's own, else the built-in layout
// alpaca, with a warning; a built-in name; a name among the tokenizer's own; the path of a Jinja file; or Jinja itself. now
// is what strftime_now sees; zero means the clock (or SOURCE_DATE_EPOCH).
func ResolveTemplate(spec string, tok *tokenizer.Tokenizer, now time.Time) (t Template, warning string, err error) {
	own := tok.ChatTemplates()
	c := &chatTemplate{special: tok.Config().SpecialTokens, now: now}
	source, tools := "", ""
	switch builtin, isBuiltin := template.Builtin(spec); {
	case spec == "" || spec == "auto":
		if source = own["default"]; source != "" {
			c.name, tools = "the model's own", own["tool_use"]
			break
		}
		c.name = autoTemplate
		source, _ = template.Builtin(autoTemplate)
		warning = fmt.Sprintf("the model has no chat template; chats are rendered in the plain layout %q. "+
			"Set chat_template to one of %s, or to a file, to choose another", autoTemplate, strings.Join(template.BuiltinNames(), ", "))
	case isBuiltin:
		c.name, source = spec, builtin
	case own[spec] != "":
		c.name, source = spec, own[spec]
	case strings.Contains(spec, "{%") || strings.Contains(spec, "{{"):
		c.name, source = "inline", spec
	default:
		text, err := os.ReadFile(spec)
		if err != nil {
			return nil, "", fmt.Errorf("chat_template %q is neither auto, nor a built-in name (%s), nor Jinja, nor a file: %w",
				spec, strings.Join(template.BuiltinNames(), ", "), err)
		}
		c.name, source = spec, string(text)
	}
	if c.plain, err = template.Parse(c.name, source); err != nil {
		return nil, "", fmt.Errorf("chat template: %w", err)
	}
	if tools != "" {
		if c.tools, err = template.Parse("tool_use", tools); err != nil {
			return nil, "", fmt.Errorf("chat template: %w", err)
		}
	}
	h := sha256.New()
	special, err := json.Marshal(c.special)
	if err != nil {
		return nil, "", err
	}
	fmt.Fprintf(h, "%q %q %s", source, tools, special)
	if strings.Contains(source+tools, "strftime_now") { // the text changes with the day
		day := now
		if day.IsZero() {
			day = time.Now()
		}
		fmt.Fprintf(h, " %s", day.Format(time.DateOnly))
	}
	c.fingerprint = hex.EncodeToString(h.Sum(nil))
	return c, warning, nil
}

func (c *chatTemplate) Name() string        { return c.name }
func (c *chatTemplate) Fingerprint() string { return c.fingerprint }

func (c *chatTemplate) Render(conv Conversation, generationPrompt bool) (string, error) {
	t, in, err := c.input(conv)
	if err != nil {
		return "", err
	}
	in.AddGenerationPrompt = generationPrompt
	out, err := template.ApplyChat(t, in)
	return out.Text, err
}

func (c *chatTemplate) AssistantSpans(conv Conversation) (string, []Span, error) {
	t, in, err := c.input(conv)
	if err != nil {
		return "", nil, err
	}
	text, found, err := template.MaskChat(t, in)
	spans := make([]Span, len(found))
	for i, s := range found {
		spans[i] = Span(s)
	}
	return text, spans, err
}

// input turns a conversation into what the template sees.
func (c *chatTemplate) input(conv Conversation) (*template.Template, template.ChatInput, error) {
	in := template.ChatInput{BOS: c.special["bos_token"], EOS: c.special["eos_token"], Extra: map[string]any{},
		Options: template.Options{Now: c.now}}
	for k, v := range c.special {
		if k != "bos_token" && k != "eos_token" {
			in.Extra[k] = v
		}
	}
	messages := make([]template.Value, len(conv.Messages))
	for i, m := range conv.Messages {
		d := template.NewDict()
		d.Set("role", m.Role)
		if m.NoContent {
			d.Set("content", nil)
		} else {
			d.Set("content", m.Content)
		}
		for _, f := range m.Extra {
			v, err := template.FromJSON(f.Value)
			if err != nil {
				return nil, in, fmt.Errorf("message %d: %q: %w", i, f.Key, err)
			}
			d.Set(f.Key, v)
		}
		messages[i] = d
	}
	in.Messages = messages
	t := c.plain
	if conv.Tools != nil {
		tools, err := template.FromJSON(conv.Tools)
		if err != nil {
			return nil, in, fmt.Errorf("tools: %w", err)
		}
		in.Tools = tools
		if c.tools != nil {
			t = c.tools
		}
	}
	for _, f := range conv.Kwargs {
		v, err := template.FromJSON(f.Value)
		if err != nil {
			return nil, in, fmt.Errorf("chat_template_kwargs: %q: %w", f.Key, err)
		}
		in.Extra[f.Key] = v
	}
	return t, in, nil
}
