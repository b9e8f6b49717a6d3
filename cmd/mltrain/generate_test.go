package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/mltrain/mltrain/internal/cpu"
)

// Where weights in 8 bits would take more than half of what memory there is, nothing is drafted, and the text is the same.
func TestDraftsNeedMemory(t *testing.T) {
	if cpu.New().DraftRows(false) == 0 {
		t.Skip("this CPU, or this build, has no products with weights in 8 bits")
	}
	model := testModel(t)
	texts := map[string]bool{}
	for memory, said := range map[int64]bool{0: false, 1 << 10: true, 1 << 40: false} {
		var out, errw bytes.Buffer
		app := newApp(strings.NewReader(""), &out, &errw)
		app.memory = func() int64 { return memory }
		if code := execute(t.Context(), app, []string{"generate", "--model", model, "--prompt", "1 + 1 = ", "--max-new-tokens", "30", "--device", "cpu"}); code != 0 {
			t.Fatal(errw.String())
		}
		if got := strings.Contains(errw.String(), "no drafts"); got != said {
			t.Errorf("%d bytes are available: %q", memory, errw.String())
		}
		texts[out.String()] = true
	}
	if len(texts) != 1 {
		t.Errorf("the texts differ: %v", texts)
	}
}
