package data

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mltrain/mltrain/internal/tokenizer"
)

// shared returns the path of a file in ../shared beside the repository, or skips the test.
func shared(t testing.TB, elem ...string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if filepath.Dir(dir) == dir {
			t.Fatal("no go.mod above the test's directory")
		}
		dir = filepath.Dir(dir)
	}
	path := filepath.Join(append([]string{dir, "..", "shared"}, elem...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("%s is not there: this test needs the data beside the repository", path)
	}
	return path
}

func sharedTokenizer(t testing.TB, elem ...string) (Tokenizer, *tokenizer.Tokenizer) {
	t.Helper()
	tok, raw, err := LoadTokenizer(shared(t, elem...))
	if err != nil {
		t.Fatal(err)
	}
	return tok, raw
}

// TestSharedData opens real data of every shape with a real tokenizer and looks at the ledger.
func TestSharedData(t *testing.T) {
	tok, raw := sharedTokenizer(t, "models", "stories260K")
	auto, warning, err := ResolveTemplate("auto", raw, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if auto.Name() != "alpaca" || !strings.Contains(warning, "no chat template") {
		t.Errorf("template %q, warning %q", auto.Name(), warning)
	}
	chatml, _, err := ResolveTemplate("chatml", raw, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, path string
		objective  Objective
		template   Template
		columns    map[string]string
		rows       int
		layout     Layout
		starts     string
	}{
		{"alpaca", "data/chat/alpaca_en_demo.json", Supervised, auto, nil, 999, LayoutAlpaca, "Below is an instruction"},
		{"weighted messages", "data/chat/v1_sft_demo.jsonl", Supervised, chatml, nil, 500, LayoutMessages, "<|im_start|>user"},
		{"preference", "data/preference/dpo_en_demo.json", Preference, chatml, nil, 300, LayoutPreference, ""},
		{"preference as labelled answers", "data/preference/dpo_en_demo.json", Unpaired, chatml, nil, 600, LayoutPreference, ""},
		{"mapped columns", "data/gsm8k/train.jsonl", Supervised, auto, map[string]string{"prompt": "question", "completion": "answer"}, 7473,
			LayoutPromptCompletion, "Natalia sold clips"},
		{"gzip, mapped to text", "data/code/HumanEval.jsonl.gz", Supervised, auto, map[string]string{"text": "prompt"}, 164, LayoutText, "from typing"},
		{"csv", "data/classification/banking77_test.csv", Supervised, auto, nil, 3080, LayoutText, "How do I locate my card?"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			opt := Options{MaxLength: 4096, Vocab: 512, Template: tt.template, Objective: tt.objective}
			ds, ledger, err := Open(t.Context(), []Source{{Path: shared(t, tt.path), Columns: tt.columns}}, opt, tok)
			if err != nil {
				t.Fatal(err)
			}
			if ledger.Rows != tt.rows || ledger.Layouts[tt.layout] != tt.rows || ledger.Kept+ledger.DroppedRows() != tt.rows || ledger.Kept < tt.rows*9/10 {
				t.Errorf("ledger %+v", ledger)
			}
			if tt.objective != Supervised {
				return
			}
			ex, err := ds.Example(0)
			if err != nil {
				t.Fatal(err)
			}
			if text := strings.TrimLeft(strings.TrimPrefix(tok.Decode(ex.IDs), "<s>"), " \n"); !strings.HasPrefix(text, tt.starts) {
				t.Errorf("the first row begins %.60q", text)
			}
			if eos, _ := tok.EOS(); ex.IDs[len(ex.IDs)-1] != eos || ex.Weights[len(ex.IDs)-1] != 1 {
				t.Errorf("the first row ends with %d, weight %v; want a trained EOS", ex.IDs[len(ex.IDs)-1], ex.Weights[len(ex.IDs)-1])
			}
			if ex.IDs[1] == ex.IDs[0] {
				t.Error("BOS twice")
			}
		})
	}
}

// TestSharedTemplates masks a conversation with every real template that gives a mask, and checks that exactly what the
// assistant says is trained.
func TestSharedTemplates(t *testing.T) {
	tok, raw := sharedTokenizer(t, "tokenizers", "qwen3")
	files, err := filepath.Glob(filepath.Join(shared(t, "oracles", "chat_templates", "templates"), "*_training.jinja"))
	if err != nil {
		t.Fatal(err)
	}
	row := `{"messages":[{"role":"user","content":"first question"},{"role":"assistant","content":"first answer"},` +
		`{"role":"user","content":"second question"},{"role":"assistant","content":"second answer"}]}`
	masked := 0
	for _, f := range files {
		tmpl, _, err := ResolveTemplate(f, raw, time.Unix(0, 0))
		if err != nil {
			t.Errorf("%s: %v", filepath.Base(f), err)
			continue
		}
		opt := Options{MaxLength: 4096, Template: tmpl, AssistantOnlyLoss: true}
		ds, ledger, err := Open(t.Context(), []Source{{Path: write(t, "a.jsonl", row)}}, opt, tok)
		if err != nil {
			t.Logf("%s: %v", filepath.Base(f), err)
			continue
		}
		if lost := slices.ContainsFunc(ledger.Warnings, func(w Warning) bool { return w.Text == WarnLost }); lost {
			if !strings.HasPrefix(filepath.Base(f), "idefics3") { // written for typed content only
				t.Errorf("%s: warnings %v", filepath.Base(f), ledger.Warnings)
			}
			continue
		}
		ex, err := ds.Example(0)
		if err != nil {
			t.Fatal(err)
		}
		var trained, rest []int32
		for i, id := range ex.IDs {
			if ex.Weights[i] != 0 {
				trained = append(trained, id)
			} else {
				rest = append(rest, id)
			}
		}
		in, out := tok.Decode(trained), tok.Decode(rest)
		if strings.Count(in, "answer") != 2 || strings.Contains(in, "question") || strings.Contains(out, "answer") || strings.Count(out, "question") != 2 {
			t.Errorf("%s: trained %q, rest %q", filepath.Base(f), in, out)
		}
		masked++
	}
	if masked < 15 {
		t.Errorf("%d of %d templates give a mask", masked, len(files))
	}
}

var streamMB = flag.Int("stream.mb", 4, "size of the file that TestStream makes and streams through tokenising and packing")

// TestStream: memory stays bounded, however long the file: tokens go to disk, rows are read back by position.
// The full run is go test -run TestStream -stream.mb 2048.
func TestStream(t *testing.T) {
	tok, _, err := LoadTokenizer("testdata/trl")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "a.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	w, written := bufio.NewWriter(f), 0
	for i := 0; written < *streamMB<<20; i++ {
		text := strings.Repeat("The river runs past the old mill and under the bridge. ", 4+i*7%30)
		n, err := fmt.Fprintf(w, "{\"text\": %q, \"id\": %d}\n", text, i)
		if err != nil {
			t.Fatal(err)
		}
		written += n
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	debug.FreeOSMemory()
	os.WriteFile("/proc/self/clear_refs", []byte("5"), 0o200) // sets the peak back to what is resident now
	begin := time.Now()
	opt := Options{MaxLength: 1024, Vocab: 420, CacheDir: filepath.Join(dir, "cache")}
	ds, ledger, err := Open(t.Context(), []Source{{Path: dir}}, opt, tok)
	if err != nil {
		t.Fatal(err)
	}
	defer ds.Close()
	built := time.Since(begin)
	l := loaderOf(t, ds, LoaderOptions{BatchSize: 8, Packing: PackBestFit, Shuffle: true})
	var b Batch
	trained := 0
	for i := range l.MicroBatches(0) {
		if err := l.Fill(&b, 0, i); err != nil {
			t.Fatal(err)
		}
		trained += b.Trained
	}
	if int64(trained) != ledger.Trained {
		t.Errorf("%d targets, the ledger says %d", trained, ledger.Trained)
	}
	rss := peakRSS(t)
	t.Logf("%d MB, %d rows, %d tokens: tokenised in %v (%.1f MB/s), an epoch read in %v, packing %.2f%%, peak RSS %d MB", written>>20,
		ledger.Rows, ledger.Tokens, built, float64(written)/1e6/built.Seconds(), time.Since(begin)-built, 100*l.Efficiency(0), rss)
	if rss > 300 {
		t.Errorf("peak RSS is %d MB", rss)
	}
}

// peakRSS is the most memory this process had resident, in MB.
func peakRSS(t *testing.T) int {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("no /proc to read the resident size from")
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if m == nil {
		t.Skip("/proc/self/status has no VmHWM")
	}
	kb, err := strconv.Atoi(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	return kb / 1024
}
