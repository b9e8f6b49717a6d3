package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"
)

// talk runs mltrain chat on lines of input.
func talk(t *testing.T, input string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errw bytes.Buffer
	code = execute(t.Context(), newApp(strings.NewReader(input), &out, &errw), append([]string{"chat"}, args...))
	return code, out.String(), errw.String()
}

// saved reads what /save wrote.
func saved(t *testing.T, path string) []savedMessage {
	t.Helper()
	var c struct{ Messages []savedMessage }
	if err := json.Unmarshal(read(t, path), &c); err != nil {
		t.Fatal(err)
	}
	return c.Messages
}

// chatLayout is a short template for the tokenizer of single characters; it shows the whole conversation.
const chatLayout = "{% for m in messages %}{{ m.role[0] }}:{{ m.content }}|{% endfor %}{% if add_generation_prompt %}a:{% endif %}"

// Each answer is that of generate to the conversation so far.
func TestChatRemembers(t *testing.T) {
	model := testModel(t)
	t.Chdir(t.TempDir())
	write(t, "t.jinja", chatLayout)
	args := []string{"--model", model, "--chat-template", "t.jinja", "--temperature", "0", "--max-new-tokens", "5"}
	code, stdout, stderr := talk(t, "one\n\n//two\r\n/save a.json\n/reset\nthree\n/save b.json\n/system S\nfour\n/save c.json\n/exit\nnever", append(args, "--system", "sys")...)
	if code != 0 || strings.Contains(stderr, "error") {
		t.Fatalf("exit code %d, %q", code, stderr)
	}
	var answers strings.Builder
	for file, want := range map[string]string{"a.json": "system:sys user:one assistant user:/two assistant", "b.json": "system:sys user:three assistant", "c.json": "system:S user:four assistant"} {
		var got []string
		for i, m := range saved(t, file) {
			if m.Role != "assistant" {
				got = append(got, m.Role+":"+m.Content)
				continue
			}
			got = append(got, m.Role)
			raw, err := json.Marshal(saved(t, file)[:i])
			if err != nil {
				t.Fatal(err)
			}
			write(t, "so-far.json", string(raw))
			answer := must(t, append([]string{"generate", "--messages", "so-far.json"}, args...)...)
			if answer != m.Content+"\n" {
				t.Errorf("%s: message %d is %q, generate says %q", file, i, m.Content, answer)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", file, got, want)
		}
	}
	for _, file := range []string{"a.json", "b.json", "c.json"} {
		for _, m := range saved(t, file) {
			if m.Role == "assistant" {
				answers.WriteString(m.Content + "\n")
			}
		}
	}
	if stdout != answers.String() {
		t.Errorf("stdout %q, the answers are %q", stdout, answers.String())
	}
}

func TestChatDrawsBySeed(t *testing.T) {
	model := testModel(t)
	var answers []string
	for _, seed := range []string{"7", "7", "8"} {
		code, stdout, stderr := talk(t, "one\ntwo\n", "--model", model, "--chat-template", "chatml", "--temperature", "2", "--top-p", "1", "--seed", seed, "--max-new-tokens", "9")
		if code != 0 {
			t.Fatalf("exit code %d, %q", code, stderr)
		}
		answers = append(answers, stdout)
	}
	if answers[0] != answers[1] || answers[0] == answers[2] {
		t.Errorf("seeds 7, 7 and 8 give %q", answers)
	}
}

func TestChatForgetsTheOldest(t *testing.T) {
	model := testModel(t)
	t.Chdir(t.TempDir())
	write(t, "t.jinja", chatLayout)
	code, _, stderr := talk(t, "first words\nsecond words\nthird words\n/save left.json\n", "--model", model, "--chat-template", "t.jinja",
		"--temperature", "0", "--max-new-tokens", "6", "--context", "42", "--system", "s")
	if code != 0 || !strings.Contains(stderr, "oldest messages are forgotten") {
		t.Fatalf("exit code %d, %q", code, stderr)
	}
	left := saved(t, "left.json")
	if left[0].Role != "system" || left[1].Role != "user" || left[1].Content == "first words" || left[len(left)-2].Content != "third words" {
		t.Errorf("left: %+v", left)
	}
	code, _, stderr = talk(t, strings.Repeat("long ", 20)+"\n", "--model", model, "--chat-template", "t.jinja", "--context", "42")
	if code != exitFailed || !strings.Contains(stderr, "are too long: the context is 42 tokens") {
		t.Errorf("a line beyond the context: exit code %d, %q", code, stderr)
	}
}

func TestChatFaults(t *testing.T) {
	model := testModel(t)
	t.Chdir(t.TempDir())
	write(t, "t.jinja", chatLayout)
	write(t, "strict.jinja", "{{ raise_exception('no') }}")
	write(t, "there.json", "mine")
	args := []string{"--model", model, "--chat-template", "t.jinja"}
	for _, tc := range []struct {
		code        int
		input, want string
		args        []string
	}{
		{exitFailed, "/bogus\n", "no such command: /bogus", args},
		{exitFailed, "/save\n", "needs the name of a file", args},
		{exitFailed, "/save there.json\n", "there.json exists", args},
		{exitFailed, "hi\n", "no", []string{"--model", model, "--chat-template", "strict.jinja"}},
		{exitUsage, "", "--model is not given", nil},
		{exitUsage, "", "--max-new-tokens", append(args, "--max-new-tokens", "0")},
		{exitUsage, "", "--context", append(args, "--context", "1")},
		{exitUsage, "", "--num-assistant-tokens", append(args, "--num-assistant-tokens", "-1")},
		{0, "", "", args},
		{0, "/save new.json\n/save new.json\n/help\n", "/reset", args},
	} {
		code, stdout, stderr := talk(t, tc.input, tc.args...)
		if code != tc.code || stdout != "" || !strings.Contains(stderr, tc.want) {
			t.Errorf("%q: exit code %d, %q, %q", tc.input, code, stdout, stderr)
		}
	}
	if got := string(read(t, "there.json")); got != "mine" {
		t.Errorf("there.json was overwritten: %q", got)
	}
}

// An interrupt ends the wait for a line.
func TestChatIsInterrupted(t *testing.T) {
	model := testModel(t)
	ctx, cancel := context.WithCancel(t.Context())
	in, typist := io.Pipe()
	defer typist.Close()
	var out, errw bytes.Buffer
	done := make(chan int)
	go func() {
		done <- execute(ctx, newApp(in, &out, &errw), []string{"chat", "--model", model, "--max-new-tokens", "2", "--chat-template", "chatml"})
	}()
	if _, err := io.WriteString(typist, "hi\n"); err != nil {
		t.Fatal(err)
	}
	cancel()
	if code := <-done; code != exitInterrupted || !strings.Contains(errw.String(), "interrupted") {
		t.Errorf("exit code %d, %q", code, errw.String())
	}
}
