package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mltrain/mltrain/internal/tensor"
)

// A run that takes more than there is ends before it reads a weight, and says what it takes, what for, and what would fit. One that fits
// just so trains.
func TestRunsWithoutRoom(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	model, data := testModel(t), sums(t, 20)
	for name, tc := range map[string]struct {
		set  []string
		want []string
	}{
		"full":               {nil, []string{"out of memory", "on cpu", "gradient_checkpointing: true"}},
		"dora in four bits":  {[]string{"use_peft=true", "lora_r=4", "load_in_4bit=true", "use_dora=true"}, []string{"for DoRA, whose norms take whole weights, decoded from 4 bits (model.layers.0.mlp.", "needs", "it fits with"}},
		"lora in four bits":  {[]string{"use_peft=true", "lora_r=4", "load_in_4bit=true"}, []string{"out of memory"}},
		"dora, not in fours": {[]string{"use_peft=true", "lora_r=4", "use_dora=true"}, []string{"out of memory"}},
	} {
		t.Run(name, func(t *testing.T) {
			args := []string{"--model", model, "--data", data, "--max-steps", "1", "--set", "max_length=40"}
			for _, s := range tc.set {
				args = append(args, "--set", s)
			}
			p := planOf(t, args...)
			room := p.Peak - p.Bytes[tensor.UseMapped]
			run := func(memory int64) (int, string) {
				out := filepath.Join(t.TempDir(), "run")
				var stdout, stderr bytes.Buffer
				app := newApp(strings.NewReader(""), &stdout, &stderr)
				app.memory = func() int64 { return memory }
				return execute(t.Context(), app, append([]string{"sft", "--output", out}, args...)), stderr.String()
			}
			code, stderr := run(room - 1)
			if code != exitFailed {
				t.Errorf("exit code %d", code)
			}
			for _, w := range tc.want {
				if !strings.Contains(stderr, w) {
					t.Errorf("the message lacks %q:\n%s", w, stderr)
				}
			}
			if strings.Contains(stderr, "DoRA,") != (name == "dora in four bits") {
				t.Errorf("DoRA is blamed, or is not:\n%s", stderr)
			}
			if code, stderr := run(room); code != exitDone {
				t.Errorf("with room enough: exit code %d\n%s", code, stderr)
			}
		})
	}
}
