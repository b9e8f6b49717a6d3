package train

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadRun(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ReadRun(dir); !errors.Is(err, ErrNoRun) {
		t.Errorf("an empty directory: %v", err)
	}
	// What transformers' Trainer leaves in a checkpoint, with the bare NaN that only Python reads.
	put("trainer_state.json", `{"global_step": 20, "max_steps": 20, "log_history": [{"step": 10, "loss": 2.5, "epoch": 1}, {"step": 20, "loss": NaN, "epoch": 2}]}`)
	r, err := ReadRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	if done, total := r.Steps(); done != 20 || total != 20 {
		t.Errorf("step %d of %d", done, total)
	}
	if f := r.Findings(); len(f) != 1 || f[0].Kind != "not_finite" {
		t.Errorf("findings %v", f)
	}
	put("metrics.jsonl", `{"step": 1, "loss": 3}
{"step": 2, "loss": 2, "eval_loss": 4}
{"step": 3, "eval_loss": 5}
{"step": 4, "lo`)
	put("run.yaml", "# mltrain sft: the resolved config of this run\nlearning_rate: 0.001 # default\n")
	put("facts.json", `{"max_steps": 9}`)
	if r, err = ReadRun(dir); err != nil {
		t.Fatal(err)
	}
	if best, _ := r.Best("eval_loss"); best != (Point{2, 4}) || len(r.Series("loss")) != 2 || r.Command != "sft" || r.Config["learning_rate"] != "0.001" {
		t.Errorf("best %v, losses %v, command %q, config %v", best, r.Series("loss"), r.Command, r.Config)
	}
	if done, total := r.Steps(); done != 3 || total != 9 {
		t.Errorf("step %d of %d", done, total)
	}
	put("metrics.jsonl", "{}\n[1]\n{}\n")
	put("run.yaml", "a: [")
	_, err = ReadRun(dir)
	for _, s := range []string{"metrics.jsonl:2", "run.yaml"} {
		if err == nil || !strings.Contains(err.Error(), s) {
			t.Errorf("no fault names %s: %v", s, err)
		}
	}
}

func FuzzParseLog(f *testing.F) {
	f.Add([]byte(`{"step": 1, "loss": 3}` + "\n" + `{"st`))
	f.Add([]byte("{}\nnull\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		log, err := parseLog(raw)
		if err != nil {
			return
		}
		r := &Record{Log: log}
		r.Findings()
		r.Steps()
		r.Best("loss")
	})
}
