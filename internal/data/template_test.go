package data

import (
	"strings"
	"testing"
	"time"
)

func TestResolveTemplate(t *testing.T) {
	_, raw, err := LoadTokenizer("testdata/trl")
	if err != nil {
		t.Fatal(err)
	}
	conv := Conversation{Messages: []Message{{Role: "user", Content: "q"}, {Role: "assistant", Content: "a"}}}
	path := write(t, "t.jinja", "{{ eos_token }}{{ messages[0].content }}") + "/t.jinja"
	seen := map[string]string{}
	for spec, want := range map[string]string{
		"auto": "<s><|user|>\nq<|end|>\n<|assistant|>\na<|end|>\n", "": "<s><|user|>\nq<|end|>\n<|assistant|>\na<|end|>\n",
		"chatml": "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\na<|im_end|>\n", path: "</s>q", "{{ pad_token }}": "<pad>",
		"{{ strftime_now('%Y') }}": "2024",
	} {
		tmpl, warning, err := ResolveTemplate(spec, raw, time.Date(2024, 5, 6, 0, 0, 0, 0, time.UTC))
		if err != nil || warning != "" {
			t.Errorf("%q: %v %s", spec, err, warning)
			continue
		}
		if got, err := tmpl.Render(conv, false); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", spec, got, err, want)
		}
		if other, dup := seen[tmpl.Fingerprint()]; dup && spec != "" && spec != "auto" {
			t.Errorf("%q has the fingerprint of %q", spec, other)
		}
		seen[tmpl.Fingerprint()] = spec
	}
	for spec, want := range map[string]string{"chatlm": "neither auto, nor a built-in name (alpaca, chatml", "{% if %}": "chat template"} {
		if _, _, err := ResolveTemplate(spec, raw, time.Time{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", spec, err, want)
		}
	}
	one, _, _ := ResolveTemplate("{{ strftime_now('%Y') }}", raw, time.Unix(0, 0))
	two, _, _ := ResolveTemplate("{{ strftime_now('%Y') }}", raw, time.Unix(1e6, 0))
	if one.Fingerprint() == two.Fingerprint() {
		t.Error("a template with the date keeps its fingerprint on another day")
	}
}

// TestTemplateInputs: key order of tools, calls and kwargs reaches the template unchanged.
func TestTemplateInputs(t *testing.T) {
	_, raw, err := LoadTokenizer("testdata/trl")
	if err != nil {
		t.Fatal(err)
	}
	tmpl, _, err := ResolveTemplate("{{ tools | tojson }} {{ messages[0].tool_calls | tojson }} {{ messages[0].content is none }} {{ mode }}", raw, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	obj, err := decodeObject([]byte(`{"messages":[{"role":"assistant","content":null,"tool_calls":[{"z":1,"a":{"y":2.0,"b":null}}]}],` +
		`"tools":"[{\"name\":\"f\",\"args\":{\"q\":1,\"c\":2}}]","chat_template_kwargs":{"mode":"fast"}}`))
	if err != nil {
		t.Fatal(err)
	}
	row, err := ParseRow(obj, LayoutAuto, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := tmpl.Render(row.conversation(row.Messages), false)
	want := `[{"name": "f", "args": {"q": 1, "c": 2}}] [{"z": 1, "a": {"y": 2.0, "b": null}}] True fast`
	if err != nil || got != want {
		t.Errorf("%s, %v\nwant %s", got, err, want)
	}
}
