package checkpoint

import (
	"os"
	"path/filepath"
	"testing"
)

func TestGuardOutput(t *testing.T) {
	for _, c := range []struct {
		name              string
		files             map[string]string
		resume, overwrite bool
		kind              error
		want              []string // nil: allowed
	}{
		{"empty", nil, false, false, nil, nil},
		{"other files", map[string]string{"notes.txt": "", "runs/x": "", "checkpoint-best/x": ""}, false, false, nil, nil},
		{"a run", map[string]string{"run.yaml": "", "checkpoint-5/x": ""}, false, false, ErrOutputInUse,
			[]string{"run.yaml", "checkpoint-5", "--resume", "--overwrite"}},
		{"a model", map[string]string{"model.safetensors": ""}, false, false, ErrOutputInUse, []string{"model.safetensors"}},
		{"a sharded model", map[string]string{"model-00001-of-00002.safetensors": ""}, false, false, ErrOutputInUse, []string{"model-00001"}},
		{"an adapter", map[string]string{"adapter_model.safetensors": ""}, false, false, ErrOutputInUse, []string{"adapter_model.safetensors"}},
		{"many", map[string]string{"checkpoint-1/x": "", "checkpoint-2/x": "", "checkpoint-3/x": "", "checkpoint-4/x": "", "checkpoint-5/x": ""}, false, false,
			ErrOutputInUse, []string{"checkpoint-4, …"}},
		{"resume", map[string]string{"run.yaml": "", "checkpoint-5/x": ""}, true, false, nil, nil},
		{"overwrite", map[string]string{"run.yaml": "", "checkpoint-5/x": ""}, false, true, nil, nil},
		{"both", nil, true, true, nil, []string{"exclude each other"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			writeTree(t, dir, c.files)
			err := GuardOutput(dir, c.resume, c.overwrite)
			if c.want == nil && err != nil {
				t.Error(err)
			}
			if c.want != nil {
				wantErr(t, err, c.kind, append(c.want, dir)...)
			}
			want := c.files
			if want == nil {
				want = map[string]string{}
			}
			wantTree(t, dir, want)
		})
	}
	dir := t.TempDir()
	if err := GuardOutput(filepath.Join(dir, "a", "b", "c"), false, false); err != nil {
		t.Error("a directory yet to be made:", err)
	}
	if names := dirNames(t, dir); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
	writeTree(t, dir, map[string]string{"file": ""})
	for _, path := range []string{"file", "file/out"} {
		wantErr(t, GuardOutput(filepath.Join(dir, path), false, false), nil, filepath.Join(dir, path))
	}
}

func TestClearRun(t *testing.T) {
	dir := t.TempDir()
	run := map[string]string{"checkpoint-5/x": "", "checkpoint-10/x": "", "run.yaml": "", "metrics.jsonl": "", "trainer_state.json": "",
		".checkpoint-11.mltrain-tmp-3/x": "half"}
	rest := map[string]string{"model.safetensors": "m", "config.json": "{}", "notes.txt": "mine", "checkpoint-best/x": "mine"}
	writeTree(t, dir, run)
	writeTree(t, dir, rest)
	before := readTree(t, dir)

	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(filepath.Join(dir, "checkpoint-5"), link); err != nil {
		t.Fatal(err)
	}
	for _, used := range []string{filepath.Join(dir, "checkpoint-5"), filepath.Join(dir, "checkpoint-10", "x"), link} {
		wantErr(t, ClearRun(dir, "elsewhere", used), nil, "--overwrite would delete", used)
		wantTree(t, dir, before)
	}
	for range 2 {
		if err := ClearRun(dir, dir, filepath.Join(dir, "model.safetensors"), "elsewhere"); err != nil {
			t.Fatal(err)
		}
		wantTree(t, dir, rest)
	}
	if err := ClearRun(filepath.Join(dir, "no")); err != nil {
		t.Error("a directory that does not exist:", err)
	}
}
