package data

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func ptr[T any](v T) *T { return &v }

func TestMasks(t *testing.T) {
	tests := []struct {
		name, row, want string
		edit            func(*Options)
	}{
		{name: "text", row: `{"text":"ab"}`, want: "{<s>ab</s>}"},
		{name: "text that ends with EOS", row: `{"text":"ab</s>"}`, want: "{<s>ab</s>}"},
		{name: "text without EOS", row: `{"text":"ab"}`, want: "{<s>ab}", edit: func(o *Options) { o.NoEOS = true }},
		{name: "messages", row: `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}`,
			want: "{[user]q<|end|>[assistant]a<|end|>}"},
		{name: "assistant only", row: `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"},
			{"role":"user","content":"r"},{"role":"assistant","content":"b"}]}`,
			want: "[user]q<|end|>[assistant]{a<|end|>}[user]r<|end|>[assistant]{b<|end|>}",
			edit: func(o *Options) { o.AssistantOnlyLoss = true }},
		{name: "EOS appended where a turn has no end", row: `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}`,
			want: "{[user]q[assistant]a</s>}", edit: func(o *Options) { o.Template = toyTemplate{} }},
		{name: "appended EOS is the assistant's", row: `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}`,
			want: "[user]q[assistant]{a</s>}", edit: func(o *Options) { o.Template = toyTemplate{}; o.AssistantOnlyLoss = true }},
		{name: "template writes EOS and a line break", row: `{"messages":[{"role":"assistant","content":"a"}]}`,
			want: "{[assistant]a</s>\n}", edit: func(o *Options) { o.Template = toyTemplate{end: "</s>\n"} }},
		{name: "message weights", row: `{"messages":[{"role":"user","content":[{"type":"text","value":"q"}],"loss_weight":0.0},
			{"role":"assistant","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}],"loss_weight":1.0}]}`,
			want: "[user]q<|end|>[assistant]{ab<|end|>}"},
		{name: "one assistant message is not trained", row: `{"messages":[{"role":"assistant","content":"a","train":false},
			{"role":"user","content":"q"},{"role":"assistant","content":"b"}]}`,
			want: "[assistant]a<|end|>[user]q<|end|>[assistant]{b<|end|>}"},
		{name: "prompt and completion", row: `{"prompt":"q:","completion":"a"}`, want: "<s>q:{a</s>}"},
		{name: "completion_only_loss false", row: `{"prompt":"q:","completion":"a"}`, want: "{<s>q:a</s>}",
			edit: func(o *Options) { o.CompletionOnlyLoss = ptr(false) }},
		{name: "conversational prompt and completion", row: `{"prompt":[{"role":"user","content":"q"}],"completion":[{"role":"assistant","content":"a"}]}`,
			want: "[user]q<|end|>[assistant]{a<|end|>}"},
		{name: "alpaca", row: `{"instruction":"do","input":"it","output":"done"}`, want: "[user]do\nit<|end|>[assistant]{done<|end|>}"},
		{name: "alpaca with history and system", row: `{"instruction":"q","input":"","output":"a","system":"s","history":[["x","y"]]}`,
			want: "[system]s<|end|>[user]x<|end|>[assistant]y<|end|>[user]q<|end|>[assistant]{a<|end|>}"},
		{name: "sharegpt", row: `{"conversations":[{"from":"human","value":"q"},{"from":"gpt","value":"a"}],"system":"s"}`,
			want: "{[system]s<|end|>[user]q<|end|>[assistant]a<|end|>}"},
		{name: "cut at the end", row: `{"text":"abcdef"}`, want: "{<s>ab}", edit: func(o *Options) { o.MaxLength = 3 }},
		{name: "cut at the start", row: `{"text":"abcdef"}`, want: "{ef</s>}",
			edit: func(o *Options) { o.MaxLength, o.TruncationMode = 3, KeepEnd }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			opt := toyOptions()
			if tt.edit != nil {
				tt.edit(&opt)
			}
			ds, ledger := open(t, opt, "a.json", "["+tt.row+"]")
			if diff := cmp.Diff([]string{tt.want}, allMarked(t, ds)); diff != "" {
				t.Error(diff)
			}
			ex, err := ds.Example(0)
			if err != nil {
				t.Fatal(err)
			}
			trained := 0
			for _, w := range ex.Weights[1:] {
				if w != 0 {
					trained++
				}
			}
			if ledger.Rows != 1 || ledger.Kept != 1 || int(ledger.Tokens) != len(ex.IDs) || int(ledger.Trained) != trained {
				t.Errorf("ledger %+v does not fit %d tokens, %d trained", ledger, len(ex.IDs), trained)
			}
		})
	}
}

func TestFractionalWeight(t *testing.T) {
	ds, _ := open(t, toyOptions(), "a.jsonl",
		`{"messages":[{"role":"user","content":"q","weight":0},{"role":"assistant","content":"a","weight":0.25}]}`)
	l, err := NewLoader(ds, LoaderOptions{BatchSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Batch(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := len(b.Tokens)
	if got := b.Weights[n-3:]; got[0] != 0.25 || got[1] != 0.25 || got[2] != 0 || b.Trained != 2 {
		t.Errorf("weights %v, %d trained; want .25 for the answer's byte and its end", got, b.Trained)
	}
}

func TestDropped(t *testing.T) {
	rows := []string{
		`{"text":""}`, `{"text":"keep me"}`, `{"text":"longer than the limit of sixteen"}`,
		`{"prompt":"p","completion":""}`, `{"prompt":"this prompt fills it","completion":"x"}`,
		`{"messages":[]}`, `{"messages":[{"role":"assistant","content":"a","weight":0}]}`, `{"text":"keep me"}`,
	}
	opt := toyOptions()
	opt.MaxLength, opt.DropDuplicates = 16, true
	ds, ledger := open(t, opt, "a.jsonl", strings.Join(rows, "\n"))
	want := map[DropReason]int{DropEmpty: 2, DropEmptyCompletion: 1, DropPromptFills: 1, DropAllMasked: 1, DropDuplicate: 1}
	if diff := cmp.Diff(want, ledger.Dropped); diff != "" {
		t.Error(diff)
	}
	if ledger.Rows != 8 || ledger.Kept != 2 || ds.Len() != 2 || ledger.Truncated != 2 {
		t.Errorf("ledger %+v", ledger)
	}
	var table strings.Builder
	if err := ledger.Write(&table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"8 in 1 files", "2 empty", "1 duplicate", "truncated", "16"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("table lacks %q:\n%s", want, table.String())
		}
	}
}

func TestNothingLeft(t *testing.T) {
	for name, files := range map[string][]string{
		"all masked": {"a.jsonl", `{"messages":[{"role":"assistant","content":"a","weight":0}]}`},
		"no rows":    {"a.jsonl", "\n\n"},
		"no files":   {"readme.md", "x"},
		"empty text": {"a.txt", ""},
	} {
		_, _, err := Open(t.Context(), []Source{{Path: write(t, files...)}}, toyOptions(), toyTokenizer{})
		if !errors.Is(err, ErrNoData) {
			t.Errorf("%s: error %v, want ErrNoData", name, err)
		}
	}
}

func TestFaultyRows(t *testing.T) {
	tests := []struct{ name, row, want string }{
		{"malformed", `{"text": "a`, "malformed JSON at column"},
		{"not an object", `[1]`, "must be a JSON object, found a list"},
		{"unknown shape", `{"question":"q","answer":"a"}`, "found the keys answer, question; known are: text"},
		{"text is a number", `{"text":3}`, `key "text" must be a string, found a number`},
		{"role unknown to the template", `{"messages":[{"role":"wizard","content":"x"}]}`, `role "wizard"`},
		{"message without role", `{"messages":[{"content":"x"}]}`, `message 0: has neither "role" nor "from"; found content`},
		{"image", `{"messages":[{"role":"user","content":[{"type":"image","image":"x"}]}]}`, `part 0 is of type "image"`},
		{"weight on user", `{"messages":[{"role":"user","content":"x","weight":1}]}`, "only the assistant's messages"},
		{"negative weight", `{"messages":[{"role":"assistant","content":"x","weight":-1}]}`, "between 0 and 2.55"},
		{"preference row", `{"prompt":"p","chosen":"a","rejected":"b"}`, "use dpo"},
		{"labelled row", `{"prompt":"p","completion":"a","label":true}`, "type: prompt_completion"},
		{"invalid UTF-8", "{\"text\":\"\xff\"}", "not valid UTF-8"},
		{"ShareGPT role", `{"conversations":[{"from":"elf","value":"x"}]}`, `"from" is "elf"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := write(t, "a.jsonl", "{\"text\":\"fine\"}\n\n"+tt.row+"\n")
			_, _, err := Open(t.Context(), []Source{{Path: dir}}, toyOptions(), toyTokenizer{})
			if !errors.Is(err, ErrRows) || !strings.Contains(fmt.Sprint(err), "a.jsonl:3: ") || !strings.Contains(fmt.Sprint(err), tt.want) {
				t.Errorf("error %v\nwant a.jsonl:3 and %q", err, tt.want)
			}
		})
	}
}

func TestFaultsTogether(t *testing.T) {
	var rows []string
	for i := range 5000 {
		if i%50 == 7 {
			rows = append(rows, `{"text":`)
		} else {
			rows = append(rows, `{"text":"fine"}`)
		}
	}
	dir := write(t, "a.jsonl", strings.Join(rows, "\n"))
	_, _, err := Open(t.Context(), []Source{{Path: dir}}, toyOptions(), toyTokenizer{})
	text := fmt.Sprint(err)
	if n := strings.Count(text, "a.jsonl:"); n != maxFaults || !strings.Contains(text, "a.jsonl:8:") || !strings.Contains(text, "a.jsonl:458:") {
		t.Errorf("%d faults in %s", n, text)
	}
}

func TestVocabulary(t *testing.T) {
	opt := toyOptions()
	opt.Vocab = 100
	_, _, err := Open(t.Context(), []Source{{Path: write(t, "a.jsonl", `{"text":"Az"}`)}}, opt, toyTokenizer{})
	if want := `a.jsonl:1: token 2 "z" has id 132, outside the model's vocabulary of 100`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %s", err, want)
	}
}
