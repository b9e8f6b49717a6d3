package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tinyRows splits the rows of testdata/tiny: those to train on, and some to evaluate on.
func tinyRows(t *testing.T) (train, eval []string) {
	t.Helper()
	rows := strings.Split(strings.TrimSpace(string(read(t, "../../testdata/tiny/sums.jsonl"))), "\n")
	rng := rand.New(rand.NewPCG(1, 2))
	rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	return rows[10:], rows[:10]
}

func rowsFile(t *testing.T, rows []string) string {
	path := filepath.Join(t.TempDir(), "rows.jsonl")
	write(t, path, strings.Join(rows, "\n")+"\n")
	return path
}

// Runs that go wrong in known ways are told what is wrong, and nothing else; a healthy one is left in peace. Read afterwards, the
// files of the run say the same as the run did.
func TestPlantedPathologies(t *testing.T) {
	train, eval := tinyRows(t)
	bare := make([]string, len(train)) // the prompt leaves room for one token of the answer
	for i := range bare {
		bare[i] = fmt.Sprintf(`{"prompt": "%022d=", "completion": "%d"}`, 12345*i, 999000+i)
	}
	for _, c := range []struct {
		name        string
		train, eval []string
		set         []string
		want        []string
		also        []string // may be found as well: consequences
	}{
		{"healthy", train, eval, nil, nil, nil},
		{"healthy with a fine log", train, eval, []string{"logging_steps=1"}, nil, nil},
		{"learning rate times 100", train, eval, []string{"learning_rate=0.4"}, []string{"learning_rate_too_high"}, []string{"loss_spike", "diverged", "gradient_explosion", "overfit", "plateau"}},
		{"all labels masked but one", bare, nil, nil, []string{"masked"}, []string{"memorised"}},
		{"validation leaked", append(slices.Clone(train), eval...), eval, nil, []string{"leak"}, nil},
		{"two rows", train[:2], eval, nil, []string{"overfit"}, []string{"memorised"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("MLTRAIN_CACHE", t.TempDir())
			out := filepath.Join(t.TempDir(), "run")
			config := filepath.Join(t.TempDir(), "run.yaml")
			text := fmt.Sprintf(`model_name_or_path: ../../testdata/tiny/model
datasets: [{path: %s}]
output_dir: %s
max_length: 24
max_steps: 100
per_device_train_batch_size: 85
padding_free: true
learning_rate: 4e-3
lr_scheduler_type: cosine
warmup_ratio: 0.05
logging_steps: 5
save_strategy: "no"
`, rowsFile(t, c.train), out)
			if c.eval != nil {
				text += fmt.Sprintf("eval_dataset: [{path: %s}]\neval_steps: 10\n", rowsFile(t, c.eval))
			}
			write(t, config, text)
			args := []string{"sft", "-c", config}
			for _, s := range c.set {
				args = append(args, "--set", s)
			}
			code, _, stderr := mltrain(t, args...)
			if code != 0 {
				t.Fatal(stderr)
			}
			var got struct {
				Findings []struct{ Kind, What string } `json:"findings"`
			}
			if err := json.Unmarshal([]byte(must(t, "diagnose", out, "--json")), &got); err != nil {
				t.Fatal(err)
			}
			var kinds []string
			for _, f := range got.Findings {
				kinds = append(kinds, f.Kind)
				if strings.Count(stderr, "warning: "+f.Kind+": "+f.What) != 1 {
					t.Errorf("the run did not say once: %s: %s", f.Kind, f.What)
				}
				if !slices.Contains(c.want, f.Kind) && !slices.Contains(c.also, f.Kind) {
					t.Errorf("found %s: %s", f.Kind, f.What)
				}
			}
			for _, k := range c.want {
				if !slices.Contains(kinds, k) {
					t.Errorf("found %v, not %s", kinds, k)
				}
			}
			if n := strings.Count(stderr, "\n  seen: "); n != len(kinds) {
				t.Errorf("the run said %d things, its files %d", n, len(kinds))
			}
		})
	}
}

// Everything that shows a run: TensorBoard's files, samples, the commands about runs.
func TestRunsAreShown(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	train, eval := tinyRows(t)
	root := t.TempDir()
	a, b := filepath.Join(root, "a"), filepath.Join(root, "b")
	args := func(out string, more ...string) []string {
		return append([]string{
			"sft", "--model", "../../testdata/tiny/model", "--data", rowsFile(t, train), "--output", out, "--max-steps", "20", "--set", "max_length=24", "--set", "logging_steps=2",
			"--set", "learning_rate=0.004", "--set", "gradient_accumulation_steps=2", "--set", "eval_steps=10", "--set", "eval_dataset=" + rowsFile(t, eval),
		}, more...)
	}
	code, _, stderr := mltrain(t, args(a, "--set", "report_to=tensorboard", "--set", "log_gradient_histograms=true", "--set", "log_gradient_noise_scale=true",
		"--set", "sample_prompts=3+4=", "--set", "sample_max_new_tokens=4")...)
	if code != 0 {
		t.Fatal(stderr)
	}
	for _, s := range []string{"85 rows of", "tokens a step", "sample at step 10: 3+4= → ", "files:", "samples.jsonl", "best", "next:"} {
		if !strings.Contains(stderr, s) {
			t.Errorf("%q is not shown:\n%s", s, stderr)
		}
	}
	if n := strings.Count(string(read(t, filepath.Join(a, "samples.jsonl"))), "\n"); n != 2 {
		t.Errorf("%d samples, want one for each evaluation", n)
	}
	if v := metrics(t, a, "gradient_noise_scale"); len(v) == 0 {
		t.Error("no gradient noise scale is logged")
	}
	events, err := filepath.Glob(filepath.Join(a, "runs", "events.out.tfevents.*"))
	if err != nil || len(events) != 1 {
		t.Fatalf("event files %v: %v", events, err)
	}
	text := string(read(t, events[0]))
	for _, tag := range []string{"train/loss", "eval/loss", "samples/1", "gradients/model.embed_tokens.weight"} {
		if !strings.Contains(text, tag) {
			t.Errorf("no %s in the event file", tag)
		}
	}
	must(t, args(b, "--set", "save_steps=7", "--quiet")...)
	if string(read(t, filepath.Join(a, "model.safetensors"))) != string(read(t, filepath.Join(b, "model.safetensors"))) {
		t.Error("answers and reports change what is learnt")
	}
	if err := os.Remove(filepath.Join(b, "trainer_state.json")); err != nil {
		t.Fatal(err)
	}
	ls := must(t, "runs", "ls", root)
	for _, s := range []string{a, b, "20/20", "testdata/tiny/model"} {
		if !strings.Contains(ls, s) {
			t.Errorf("runs ls does not show %q:\n%s", s, ls)
		}
	}
	show := must(t, "runs", "show", a)
	for _, s := range []string{"best", "a loss  b eval_loss, steps 2 to 20", "learning_rate, steps", "grad_norm, steps"} {
		if !strings.Contains(show, s) {
			t.Errorf("runs show does not show %q:\n%s", s, show)
		}
	}
	compare := must(t, "runs", "compare", a, b)
	for _, s := range []string{"save_steps", "report_to", "a " + a + "  b " + b} {
		if !strings.Contains(compare, s) {
			t.Errorf("runs compare does not show %q:\n%s", s, compare)
		}
	}
	if strings.Contains(compare, "learning_rate ") {
		t.Errorf("runs compare shows keys that are the same:\n%s", compare)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"runs", "show", root}, exitFailed, "holds no run"},
		{[]string{"runs", "compare", a}, exitUsage, "2 or more"},
		{[]string{"runs", "show", a, "--metric", "nonsense"}, exitFailed, "nothing is logged under nonsense"},
		{[]string{"runs", "show", a, "--width", "1"}, exitUsage, "--width"},
		{[]string{"diagnose"}, exitUsage, "takes the directory"},
		{[]string{"diagnose", root}, exitFailed, "holds no run"},
	} {
		if code, _, stderr := mltrain(t, c.args...); code != c.code || !strings.Contains(stderr, c.says) {
			t.Errorf("%v: exit code %d, %q", c.args, code, stderr)
		}
	}
}
