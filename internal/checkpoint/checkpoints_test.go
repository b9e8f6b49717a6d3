package checkpoint

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestList(t *testing.T) {
	out := t.TempDir()
	for _, d := range []string{"checkpoint-100", "checkpoint-20", "checkpoint-0", "checkpoint-007", "checkpoint--3", "checkpoint-best", "checkpoint-",
		"checkpoint-99999999999999999999", ".checkpoint-5.mltrain-tmp-1", "xcheckpoint-5", "runs"} {
		if err := os.Mkdir(filepath.Join(out, d), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	writeTree(t, out, map[string]string{"checkpoint-50": "a file"})
	got, err := List(out)
	if err != nil {
		t.Fatal(err)
	}
	want := []Entry{{StepDir(out, 0), 0}, {StepDir(out, 20), 20}, {StepDir(out, 100), 100}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if got, err := List(filepath.Join(out, "no")); err != nil || len(got) != 0 {
		t.Error(got, err)
	}
	_, err = List(filepath.Join(out, "checkpoint-50"))
	wantErr(t, err, nil, "checkpoint-50")
}

func TestLatest(t *testing.T) {
	out := t.TempDir()
	var warnings []string
	latest := func() (string, bool, error) {
		warnings = nil
		return Latest(out, func(m string) { warnings = append(warnings, m) })
	}
	if _, ok, err := latest(); ok || err != nil || len(warnings) > 0 {
		t.Error("an empty directory:", ok, err, warnings)
	}
	for _, step := range []int64{9, 10, 30} {
		if _, err := saveAt(out, step); err != nil {
			t.Fatal(err)
		}
	}
	if path, ok, err := latest(); path != StepDir(out, 30) || !ok || err != nil || len(warnings) > 0 {
		t.Error(path, ok, err, warnings)
	}

	if err := os.Truncate(filepath.Join(StepDir(out, 30), SingleFile), 5); err != nil {
		t.Fatal(err)
	}
	writeTree(t, out, map[string]string{"checkpoint-40/model.safetensors": "no state"})
	if path, ok, err := latest(); path != StepDir(out, 10) || !ok || err != nil {
		t.Error(path, ok, err)
	}
	if len(warnings) != 2 || !strings.Contains(warnings[0], "checkpoint-40") || !strings.Contains(warnings[0], "no training state") ||
		!strings.Contains(warnings[1], "checkpoint-30") || !strings.Contains(warnings[1], SingleFile) {
		t.Errorf("warned %q", warnings)
	}

	for _, step := range []int64{9, 10} {
		if err := os.Remove(filepath.Join(StepDir(out, step), stateDir, stateTensorsFile)); err != nil {
			t.Fatal(err)
		}
	}
	_, ok, err := latest()
	if ok || len(warnings) != 4 {
		t.Error(ok, warnings)
	}
	wantErr(t, err, ErrTorn, "none of its 4 checkpoints", "--overwrite")

	writeTree(t, out, map[string]string{"checkpoint-50/training_state/manifest.json": `{"version":2}`})
	_, _, err = latest()
	wantErr(t, err, nil, "newer mltrain")
}

func TestRotate(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit int
		keep  []string
		want  []int64
	}{
		{"no limit", 0, nil, []int64{1, 2, 10, 30}},
		{"room left", 9, nil, []int64{1, 2, 10, 30}},
		{"two", 2, nil, []int64{10, 30}},
		{"one", 1, nil, []int64{30}},
		{"best is the oldest", 2, []string{"checkpoint-1"}, []int64{1, 30}},
		{"best beyond the limit", 1, []string{"checkpoint-2"}, []int64{2, 30}},
		{"best and just saved", 1, []string{"/elsewhere/checkpoint-1", "checkpoint-10"}, []int64{1, 10, 30}},
		{"best is the newest", 1, []string{"checkpoint-30"}, []int64{30}},
		{"best is gone", 1, []string{"checkpoint-77", ""}, []int64{30}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := t.TempDir()
			for _, n := range []string{"1", "2", "10", "30"} {
				writeTree(t, out, map[string]string{"checkpoint-" + n + "/f": n})
			}
			for range 2 {
				if err := Rotate(out, c.limit, c.keep...); err != nil {
					t.Fatal(err)
				}
				all, err := List(out)
				if err != nil {
					t.Fatal(err)
				}
				var got []int64
				for _, e := range all {
					got = append(got, e.Step)
				}
				if !slices.Equal(got, c.want) || len(dirNames(t, out)) != len(c.want) {
					t.Errorf("left %v, want %v", dirNames(t, out), c.want)
				}
			}
		})
	}
}
