package template

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func conversation(turns ...string) []any {
	var out []any
	for i := 0; i < len(turns); i += 2 {
		out = append(out, map[string]any{"role": turns[i], "content": turns[i+1]})
	}
	return out
}

func mustParse(t *testing.T, name, src string) *Template {
	t.Helper()
	tmpl, err := Parse(name, src)
	if err != nil {
		t.Fatal(err)
	}
	return tmpl
}

func said(t *testing.T, tmpl *Template, in ChatInput) []string {
	t.Helper()
	text, spans, err := MaskChat(tmpl, in)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, s := range spans {
		out = append(out, text[s.Start:s.End])
	}
	return out
}

func TestBuiltin(t *testing.T) {
	chat := conversation("system", "Be brief.", "user", "Hi", "assistant", "Hello!", "user", "Bye", "assistant", "Ciao.")
	for _, c := range []struct {
		name, text, prompt string
		said               []string
	}{
		{"chatml",
			"<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\nCiao.<|im_end|>\n",
			"<|im_start|>assistant\n", []string{"Hello!<|im_end|>", "Ciao.<|im_end|>"}},
		{"qwen",
			"<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\nCiao.<|im_end|>\n",
			"<|im_start|>assistant\n", []string{"Hello!<|im_end|>", "Ciao.<|im_end|>"}},
		{"llama3",
			"<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nHello!<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nCiao.<|eot_id|>",
			"<|start_header_id|>assistant<|end_header_id|>\n\n", []string{"Hello!<|eot_id|>", "Ciao.<|eot_id|>"}},
		{"llama2",
			"<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Hello! </s><s>[INST] Bye [/INST] Ciao. </s>",
			"", []string{" Hello! </s>", " Ciao. </s>"}},
		{"mistral",
			"<s>[INST] Be brief.\n\nHi [/INST] Hello!</s>[INST] Bye [/INST] Ciao.</s>",
			"", []string{" Hello!</s>", " Ciao.</s>"}},
		{"gemma",
			"<s><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\nHello!<end_of_turn>\n<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\nCiao.<end_of_turn>\n",
			"<start_of_turn>model\n", []string{"Hello!<end_of_turn>", "Ciao.<end_of_turn>"}},
		{"phi3",
			"<|system|>\nBe brief.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nHello!<|end|>\n<|user|>\nBye<|end|>\n<|assistant|>\nCiao.<|end|>\n</s>",
			"<|assistant|>\n", []string{"Hello!<|end|>", "Ciao.<|end|>"}},
		{"zephyr",
			"<|system|>\nBe brief.</s>\n<|user|>\nHi</s>\n<|assistant|>\nHello!</s>\n<|user|>\nBye</s>\n<|assistant|>\nCiao.</s>\n",
			"<|assistant|>\n", []string{"Hello!</s>", "Ciao.</s>"}},
		{"vicuna",
			"<s>Be brief. USER: Hi ASSISTANT: Hello!</s>USER: Bye ASSISTANT: Ciao.</s>",
			"ASSISTANT:", []string{" Hello!</s>", " Ciao.</s>"}},
		{"alpaca",
			"<s>Be brief.\n\n### Instruction:\nHi\n\n### Response:\nHello!</s>\n\n### Instruction:\nBye\n\n### Response:\nCiao.</s>",
			"### Response:\n", []string{"Hello!</s>", "Ciao.</s>"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			src, ok := Builtin(c.name)
			if !ok {
				t.Fatal("missing")
			}
			tmpl := mustParse(t, c.name, src)
			in := ChatInput{Messages: chat, BOS: "<s>", EOS: "</s>"}
			got, err := ApplyChat(tmpl, in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.text, got.Text); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.said, said(t, tmpl, in)); diff != "" {
				t.Errorf("marked: %s", diff)
			}
			// A conversation's beginning with a generation prompt leads to what the assistant says next.
			begin, err := ApplyChat(tmpl, ChatInput{Messages: chat[:4], BOS: "<s>", EOS: "</s>", AddGenerationPrompt: true})
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(c.text, begin.Text) || !strings.HasSuffix(begin.Text, c.prompt) {
				t.Errorf("prompt %q", begin.Text)
			}
			if rest := c.text[len(begin.Text):]; !strings.HasPrefix(rest, c.said[1]) {
				t.Errorf("after the prompt comes %q, want %q", rest, c.said[1])
			}
		})
	}
	if len(BuiltinNames()) != 10 {
		t.Errorf("names: %v", BuiltinNames())
	}
	if _, ok := Builtin("../chat"); ok {
		t.Error("a path is no name")
	}
}

// TestMarksEqualDifferences: where both ways to a mask exist, they agree.
func TestMarksEqualDifferences(t *testing.T) {
	chats := [][]any{
		conversation("user", "Hi", "assistant", "Hello!", "user", "Bye", "assistant", "Ciao."),
		conversation("system", "S", "user", "q\n", "assistant", "a 你好"),
	}
	for _, name := range BuiltinNames() {
		src, _ := Builtin(name)
		marked := mustParse(t, name, src)
		plain := mustParse(t, name, strings.NewReplacer("{%- generation -%}", "{%- if true -%}", "{%- endgeneration -%}", "{%- endif -%}").Replace(src))
		if plain.HasGeneration() {
			t.Fatalf("%s still has marks", name)
		}
		for _, chat := range chats {
			in := ChatInput{Messages: chat, BOS: "<s>", EOS: "</s>"}
			want, got := said(t, marked, in), said(t, plain, in)
			if name == "phi3" { // without marks, the eos behind the last turn counts as its end
				got[len(got)-1] = strings.TrimSuffix(got[len(got)-1], "\n</s>")
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
	}
}

func TestMask(t *testing.T) {
	const plain = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{{ '\n' }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
	const strict = "{% if messages|length == 0 or messages[0].role != 'user' or messages[-1].role == 'user' %}{{ raise_exception('order') }}{% endif %}" + plain
	const forgets = "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' and not loop.last %}{{ m.content.split('</think>')[-1] }}{% else %}{{ m.content }}{% endif %}</>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
	const noEnd = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
	const shouts = "{% for m in messages %}<{{ m.role }}>{% if loop.last %}{{ m.content }}{% else %}{{ m.content|upper }}{% endif %}{{ '!' if loop.last else '?' }}{% endfor %}"
	const inMacro = "{% macro say(m) %}{% generation %}{{ m.content }}</>{% endgeneration %}{% endmacro %}{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}{{ say(m) }}{% else %}{{ m.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
	const twice = "{% for m in messages %}{% if m.role == 'assistant' %}{% if m.think %}{% generation %}({{ m.think }}){% endgeneration %}{% endif %}:{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %};{% endfor %}"
	two := conversation("user", "a", "assistant", "b", "user", "c", "assistant", "d")
	for _, c := range []struct {
		name, src string
		messages  []any
		want      []string
		message   []int
		fails     bool
	}{
		{"differences", plain, two, []string{"b</>", "d</>"}, []int{1, 3}, false},
		{"no assistant", plain, conversation("user", "a"), nil, nil, false},
		{"assistant first", plain, conversation("assistant", "x", "user", "y"), []string{"x</>"}, []int{0}, false},
		{"two in a row", plain, conversation("user", "a", "assistant", "b", "assistant", "c"), []string{"b</>", "c</>"}, []int{1, 2}, false},
		{"order checked", strict, two, []string{"b</>", "d</>"}, []int{1, 3}, false},
		{"reasoning dropped", forgets, conversation("user", "a", "assistant", "t</think>b", "user", "c", "assistant", "u</think>d"), []string{"b</>", "u</think>d</>"}, []int{1, 3}, false},
		{"a newline ends the turn", noEnd, two, []string{"b\n", "d\n"}, []int{1, 3}, false},
		{"rewritten", shouts, two, nil, nil, true},
		{"marks in a macro", inMacro, two, []string{"b</>", "d</>"}, []int{1, 3}, false},
		{"several marks", twice, []any{
			map[string]any{"role": "user", "content": "a"},
			map[string]any{"role": "assistant", "content": "b", "think": "t"},
			map[string]any{"role": "user", "content": "c"},
			map[string]any{"role": "assistant", "content": "d"},
		}, []string{"(t)", "b", "d"}, []int{1, 1, 3}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, spans, err := MaskChat(mustParse(t, c.name, c.src), ChatInput{Messages: c.messages})
			if c.fails {
				if !errors.Is(err, ErrMask) {
					t.Fatalf("got %v, %v", spans, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			var message []int
			for _, s := range spans {
				got, message = append(got, text[s.Start:s.End]), append(message, s.Message)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.message, message); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestChatInput(t *testing.T) {
	tmpl := mustParse(t, "t", "{{ bos_token is defined }} {{ tools is none }} {{ documents is none }} {{ think }} {{ messages|length }}")
	got, err := ApplyChat(tmpl, ChatInput{Messages: conversation("user", "x"), Extra: map[string]any{"think": true}})
	if err != nil || got.Text != "False True True True 1" {
		t.Errorf("%q %v", got.Text, err)
	}
	for _, bad := range []any{nil, "x", []any{"x"}, map[string]any{}} {
		if _, err := ApplyChat(tmpl, ChatInput{Messages: bad}); err == nil {
			t.Errorf("messages %v accepted", bad)
		}
	}
	qwen := mustParse(t, "qwen", func() string { s, _ := Builtin("qwen"); return s }())
	messages, err := FromJSON([]byte(`[{"role":"user","content":"w?"},
		{"role":"assistant","content":"","tool_calls":[{"type":"function","function":{"name":"f","arguments":{"b":1,"a":[2.0]}}}]},
		{"role":"tool","content":"22"},{"role":"tool","content":"23"},{"role":"assistant","reasoning_content":"hm","content":[{"type":"text","text":"ok"}]}]`))
	if err != nil {
		t.Fatal(err)
	}
	tools, err := FromJSON([]byte(`[{"type":"function","function":{"name":"f"}}]`))
	if err != nil {
		t.Fatal(err)
	}
	in := ChatInput{Messages: messages, Tools: tools}
	want := []string{"<tool_call>\n{\"name\": \"f\", \"arguments\": {\"b\": 1, \"a\": [2.0]}}\n</tool_call><|im_end|>", "<think>\nhm\n</think>\n\nok<|im_end|>"}
	if diff := cmp.Diff(want, said(t, qwen, in)); diff != "" {
		t.Error(diff)
	}
	r, err := ApplyChat(qwen, in)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"<tools>\n{\"type\": \"function\", \"function\": {\"name\": \"f\"}}\n</tools>",
		"<|im_start|>user\n<tool_response>\n22\n</tool_response>\n<tool_response>\n23\n</tool_response><|im_end|>\n"} {
		if !strings.Contains(r.Text, part) {
			t.Errorf("no %q in %q", part, r.Text)
		}
	}
}
