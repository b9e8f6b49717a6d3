package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// quickstartFile is a file of testdata/quickstart, by its name in SHA256SUMS.
func quickstartFile(name string) string {
	home := filepath.Join("..", "..", "testdata", "quickstart")
	if _, err := os.Stat(filepath.Join(home, name)); err == nil {
		return filepath.Join(home, name)
	}
	return filepath.Join(home, "model", name)
}

// The quickstart's files are what its recipe makes: the texts are written and the tokenizer is learnt anew, the model is that
// of the recorded hash, and its training begins with the recorded losses. `make quickstart-model-check` does all of it.
func TestQuickstartRecipe(t *testing.T) {
	const wantFiles = 10
	sums := map[string]string{}
	for line := range strings.Lines(string(read(t, quickstartFile("SHA256SUMS")))) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		sums[name] = sum
	}
	if len(sums) != wantFiles {
		t.Fatalf("SHA256SUMS has %d files, want %d", len(sums), wantFiles)
	}
	made := t.TempDir()
	sources, err := filepath.Glob("../../tools/quickstart/*.go")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", append(append([]string{"run"}, sources...), made)...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	start := filepath.Join(made, "start")
	must(t, "tokenizer", "train", "--quiet", "--data", filepath.Join(made, "stories.jsonl"), "--vocab-size", "448", "--output", start,
		"--special-token", "<|system|>", "--special-token", "<|user|>", "--special-token", "<|assistant|>")
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		sum := func(path string) string { return fmt.Sprintf("%x", sha256.Sum256(read(t, path))) }
		if name != "stories.jsonl" {
			if got := sum(quickstartFile(name)); got != sums[name] {
				t.Errorf("%s has the hash %s, recorded is %s", name, got, sums[name])
			}
		}
		for _, path := range []string{filepath.Join(made, name), filepath.Join(start, name)} {
			if _, err := os.Stat(path); err == nil && sum(path) != sums[name] {
				t.Errorf("%s is made with the hash %s, recorded is %s", name, sum(path), sums[name])
			}
		}
	}
	if testing.Short() {
		return
	}

	for _, name := range []string{"config.json", "chat_template.jinja"} {
		write(t, filepath.Join(start, name), string(read(t, filepath.Join("..", "..", "tools", "quickstart", name))))
	}
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	out := filepath.Join(made, "model")
	// The learning rate rises to 0.004 in 50 steps: these are the first 20 of them.
	must(t, "pretrain", "-c", "../../configs/quickstart-pretrain.yaml", "--quiet", "--model", start, "--data", filepath.Join(made, "stories.jsonl"),
		"--output", out, "--max-steps", "20", "--set", "warmup_steps=20", "--set", "learning_rate=0.0016")
	want := jsonLines(t, quickstartFile("metrics.jsonl"))[0]
	got := jsonLines(t, filepath.Join(out, "metrics.jsonl"))[0]
	for _, key := range []string{"step", "loss", "grad_norm", "learning_rate", "num_tokens"} {
		g, ok1 := got[key].(float64)
		w, ok2 := want[key].(float64)
		// Other instruction sets round otherwise.
		if !ok1 || !ok2 || math.Abs(g-w) > 1e-3*math.Abs(w) {
			t.Errorf("after 20 steps %s is %v, recorded is %v", key, got[key], want[key])
		}
	}
}

func jsonLines(t *testing.T, path string) []map[string]any {
	t.Helper()
	var out []map[string]any
	lines := bufio.NewScanner(bytes.NewReader(read(t, path)))
	for lines.Scan() {
		var m map[string]any
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		out = append(out, m)
	}
	if len(out) == 0 {
		t.Fatalf("%s is empty", path)
	}
	return out
}

// A conversation is read from where the model left off, not from its beginning, whether typed or piped.
func TestChatReadsOnlyWhatIsNew(t *testing.T) {
	t.Setenv("MLTRAIN_LOG", "debug")
	model := filepath.Join("..", "..", "testdata", "quickstart", "model")
	code, stdout, stderr := talk(t, "Where does Mira live?\nWhat does Ivo do?\nWhat is 1 plus 2?\n/reset\nWhere does Mira live?\n",
		"--model", model, "--temperature", "0", "--max-new-tokens", "8")
	if code != 0 {
		t.Fatalf("exit code %d, %q", code, stderr)
	}
	_, first, _ := talk(t, "Where does Mira live?\n", "--model", model, "--temperature", "0", "--max-new-tokens", "8")
	var all, anew []int
	for line := range strings.Lines(stderr) {
		var a, b int
		if n, _ := fmt.Sscanf(line, "debug: the conversation was read tokens=%d of which anew=%d", &a, &b); n == 2 {
			all, anew = append(all, a), append(anew, b)
		}
	}
	if len(all) != 4 {
		t.Fatalf("%d turns of 4 are in the log: %q", len(all), stderr)
	}
	for i := 1; i < 3; i++ {
		// What was said before is there but for the answer's last token and where a text is cut into tokens otherwise.
		if anew[i] > all[i]-all[i-1] || anew[i] < 1 {
			t.Errorf("turn %d: %d tokens of %d are read anew, the turn before had %d", i+1, anew[i], all[i], all[i-1])
		}
	}
	if all[3] != all[0] || anew[3] >= all[3] {
		t.Errorf("after /reset %d of %d tokens are read anew", anew[3], all[3])
	}
	if !strings.HasPrefix(stdout, first) || !strings.HasSuffix(stdout, first) {
		t.Errorf("after /reset the answer is another one: %q, alone it is %q", stdout, first)
	}
}
