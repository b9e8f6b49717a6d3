package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mltrain/mltrain/internal/template"
	"github.com/mltrain/mltrain/internal/tokenizer"
)

// DataRenderOptions are the flags of data render.
type DataRenderOptions struct {
	Model, Template, Messages string
	JSON                      bool
}

func newDataRenderCommand(app *App) *cobra.Command {
	o := &DataRenderOptions{}
	cmd := &cobra.Command{
		Use:   "render",
		Short: "Render a chat template",
		Long: `Render a chat with a model's chat template, or with a template file. The file given
with --messages is one JSON object with the template's inputs: messages, tools,
add_generation_prompt, bos_token, eos_token and any other name; or just the list of
messages. The model's special tokens are known to its template. SOURCE_DATE_EPOCH
sets the time that strftime_now sees. The text goes to stdout as it is, without a
newline added.`,
		Example: `  mltrain data render --model ./SmolLM2-135M --messages chat.json
  SOURCE_DATE_EPOCH=1721952000 mltrain data render --template llama3.jinja --messages chat.json --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDataRender(cmd.Context(), app, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.Model, "model", "", "directory with tokenizer files, or org/name on the hub")
	f.StringVar(&o.Template, "template", "", "template file, or the name of a built-in layout: "+strings.Join(template.BuiltinNames(), ", "))
	f.StringVar(&o.Messages, "messages", "", "JSON file with the template's inputs; - is stdin")
	f.BoolVar(&o.JSON, "json", false, `print {"text": …}`)
	return cmd
}

// renderedText is what data render prints with --json.
type renderedText struct {
	Text string `json:"text"`
}

func runDataRender(ctx context.Context, app *App, o *DataRenderOptions) error {
	switch {
	case o.Model == "" && o.Template == "":
		return usageErrorf("give --model or --template")
	case o.Messages == "":
		return usageErrorf("--messages is not given")
	}
	in, err := readChatInput(app, o.Messages)
	if err != nil {
		return err
	}
	tmpl, special, err := renderTemplate(ctx, app, o, in)
	if err != nil {
		return err
	}
	// transformers always gives these, so templates may count on them.
	vars := template.NewDict()
	vars.Set("tools", nil)
	vars.Set("documents", nil)
	vars.Set("add_generation_prompt", false)
	for name, text := range special {
		vars.Set(name, text)
	}
	for _, k := range in.Keys() {
		name, ok := k.(string)
		if !ok {
			continue
		}
		v, _ := in.Get(name)
		vars.Set(name, v)
	}
	out, err := tmpl.Render(vars, template.Options{})
	if err != nil {
		return fmt.Errorf("%s: %w", o.Messages, err)
	}
	if o.JSON {
		return app.PrintJSON(renderedText{out.Text})
	}
	_, err = io.WriteString(app.Out, out.Text)
	return err
}

// readChatInput reads the inputs of a template: an object, or the bare list of messages.
func readChatInput(app *App, path string) (*template.Dict, error) {
	var raw []byte
	var err error
	if path == "-" {
		path = "stdin"
		raw, err = io.ReadAll(app.In)
	} else {
		raw, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, err
	}
	v, err := template.FromJSON(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	in, ok := v.(*template.Dict)
	if !ok {
		in = template.NewDict()
		in.Set("messages", v)
	}
	messages, _ := in.Get("messages")
	list, ok := messages.([]template.Value)
	if !ok {
		return nil, fmt.Errorf("%s: needed is an object with \"messages\", a list, or that list itself", path)
	}
	for i, m := range list {
		if _, ok := m.(*template.Dict); !ok {
			return nil, fmt.Errorf("%s: message %d is no object with role and content", path, i+1)
		}
	}
	return in, nil
}

// renderTemplate finds the template and the special tokens that it knows.
func renderTemplate(ctx context.Context, app *App, o *DataRenderOptions, in *template.Dict) (*template.Template, map[string]string, error) {
	var special, own map[string]string
	if o.Model != "" {
		dir, err := resolveModel(ctx, app, o.Model)
		if err != nil {
			return nil, nil, err
		}
		tok, err := tokenizer.Load(dir)
		if err != nil {
			return nil, nil, err
		}
		special, own = tok.Config().SpecialTokens, tok.ChatTemplates()
	}
	name, source := o.Template, ""
	if o.Template != "" {
		raw, err := os.ReadFile(o.Template)
		if err != nil {
			builtin, ok := template.Builtin(o.Template)
			if !ok || !errors.Is(err, os.ErrNotExist) {
				return nil, nil, fmt.Errorf("--template is neither a file nor a built-in layout (%s): %w", strings.Join(template.BuiltinNames(), ", "), err)
			}
			raw = []byte(builtin)
		}
		source = string(raw)
	} else {
		name, source = "the chat template of "+o.Model, own["default"]
		if tools, _ := in.Get("tools"); tools != nil && own["tool_use"] != "" {
			source = own["tool_use"]
		}
		if source == "" {
			return nil, nil, fmt.Errorf("model %s has no chat template; give one with --template: a file, or one of %s",
				o.Model, strings.Join(template.BuiltinNames(), ", "))
		}
	}
	t, err := template.Parse(name, source)
	return t, special, err
}
