package eval

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestRegistryFaults(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.yaml":        "include: b.yaml\ntask: a\n",
		"b.yaml":        "include: a.yaml\n",
		"ring.yaml":     "group: ring\ntask: [ring]\n",
		"inline.yaml":   "group: inline\ntask:\n  - pets\n  - {task: pets, num_fewshot: 1}\n",
		"missing.yaml":  "group: missing\ntask: [nobody]\n",
		"noinc.yaml":    "include: nothing.yaml\ntask: noinc\n",
		"shots.yaml":    "task: shots\nfewshot_config: {sampler: first_n, spilt: train}\n",
		"kind.yaml":     "task: kind\nnum_fewshot: many\n",
		"two/same.yaml": "",
	} {
		if text != "" {
			write(t, dir, name, text)
		}
	}
	r, err := NewRegistry(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.AddPath(dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"a": "include goes round in a circle", "ring": "group ring holds itself", "inline": "line 4: an entry with keys of its own",
		"missing": `unknown task "nobody"`, "noinc": "noinc.yaml:1: include", "shots": `unknown key "spilt"`, "kind": "kind.yaml",
	} {
		if _, err := r.Select([]string{name}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	write(t, dir, "list.yaml", "- a\n- b\n")
	if _, err := r.AddPath(filepath.Join(dir, "list.yaml")); err == nil || !strings.Contains(err.Error(), "a task file is a mapping") {
		t.Errorf("a list: %v", err)
	}
	other := t.TempDir()
	if _, err := r.AddPath(write(t, other, "again.yaml", "task: kind\n")); err == nil || !strings.Contains(err.Error(), "is defined in") {
		t.Errorf("two files for one task: %v", err)
	}
	if names, err := r.AddPath(write(t, other, "gsm8k.yaml", "task: gsm8k\n")); err != nil || !slices.Equal(names, []string{"gsm8k"}) {
		t.Errorf("a task of one's own by the name of a built-in one: %v, %v", names, err)
	}
	if _, err := r.AddPath(write(t, other, "base.yaml", "output_type: generate_until\n")); err == nil {
		t.Error("a file without a task was taken")
	}
}

// With one file for all splits, a row is not an example for itself.
func TestRowsAreNotTheirOwnExamples(t *testing.T) {
	dir := t.TempDir()
	var rows strings.Builder
	for i := range 8 {
		fmt.Fprintf(&rows, `{"q":"question %d","a":"answer"}`+"\n", i)
	}
	path := write(t, dir, "rows.jsonl", rows.String())
	for _, sampler := range []string{"default", "first_n"} {
		s := selectFile(t, write(t, dir, sampler+".yaml", "task: "+sampler+"\noutput_type: generate_until\ntraining_split: train\nfewshot_split: train\ntest_split: test\n"+
			"doc_to_text: q\ndoc_to_target: a\nnum_fewshot: 7\nfewshot_config: {sampler: "+sampler+"}\n"))
		task, err := newTask(s.configs[0], DataFiles{"": {path}}, nil, func(string, []string) string { return "" })
		if err != nil {
			t.Fatal(err)
		}
		rng := newPyRandom(3)
		for i, d := range task.docs {
			c, err := task.contexts(d, rng, promptOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if q := fmt.Sprintf("question %d", i); strings.Count(c[0], q) != 1 || strings.Count(c[0], "answer") != 7 {
				t.Errorf("%s, row %d: %q", sampler, i, c[0])
			}
		}
	}
}
