package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// stateAt is a training state, with tensors, that belongs to one step.
func stateAt(step int64) (*State, []Tensor) {
	s := &State{
		GlobalStep: step, MicroStep: 4 * step, Epoch: float64(step) / 3, TokensSeen: 1<<53 + 1 + step, TrainedTokensSeen: step,
		DataState: json.RawMessage(`{"order":[3,1,2],"at":18446744073709551615}`), RNG: json.RawMessage(`"seed"`),
		Scheduler: json.RawMessage(`{"warmup":1e-05}`), Extra: map[string]json.RawMessage{"best": json.RawMessage(`0.25`)},
		InstructionSet: "avx2", ConfigHash: "c0ffee",
	}
	return s, []Tensor{
		f32("exp_avg.w", []int{2}, float32(step), 2),
		f32("exp_avg_sq.w", []int{2}, float32(step), 4),
		f32("master.w", []int{2}, float32(step), 6),
	}
}

// saveAt writes a small but complete checkpoint.
func saveAt(outputDir string, step int64) (string, error) {
	s, ts := stateAt(step)
	return SaveCheckpoint(outputDir, s, ts, func(dir string) error {
		return errors.Join(
			WriteFile(filepath.Join(dir, SingleFile), []Tensor{f32("w", []int{2}, float32(step), 1)}, nil),
			WriteAtomic(filepath.Join(dir, ConfigFile), writeAll([]byte("{}\n"))),
			WriteTrainerState(dir, &TrainerState{GlobalStep: step}))
	})
}

// checkAt fails unless the checkpoint is whole and all of it is of one step.
func checkAt(path string, step int64) error {
	if err := Verify(path); err != nil {
		return err
	}
	s, r, err := LoadState(path)
	if err != nil {
		return err
	}
	defer r.Close()
	want, tensors := stateAt(step)
	want.Version = StateVersion
	if d := cmp.Diff(compact(want), compact(s)); d != "" {
		return fmt.Errorf("%s: %s", path, d)
	}
	for _, x := range tensors {
		if b, err := r.Bytes(x.Name); err != nil || string(b) != string(x.Data) {
			return fmt.Errorf("%s: tensor %s: %v %v", path, x.Name, b, err)
		}
	}
	model, err := Open(path)
	if err != nil {
		return err
	}
	defer model.Close()
	want32 := f32("w", []int{2}, float32(step), 1)
	if b, err := model.Bytes("w"); err != nil || string(b) != string(want32.Data) {
		return fmt.Errorf("%s: weights %v %v", path, b, err)
	}
	ts, err := ReadTrainerState(path)
	if err != nil {
		return err
	}
	if ts.GlobalStep != step {
		return fmt.Errorf("%s: trainer state of step %d", path, ts.GlobalStep)
	}
	return nil
}

// compact takes the indentation out of a state's raw messages, which JSON does not preserve.
func compact(s *State) string {
	text, err := json.Marshal(s)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func TestStateRoundTrip(t *testing.T) {
	out := t.TempDir()
	path, err := saveAt(out, 40)
	if err != nil {
		t.Fatal(err)
	}
	if path != filepath.Join(out, "checkpoint-40") {
		t.Errorf("saved at %s", path)
	}
	if err := checkAt(path, 40); err != nil {
		t.Error(err)
	}
	s, r, err := LoadState(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if !strings.Contains(string(s.DataState), "18446744073709551615") || !strings.Contains(string(s.Scheduler), "1e-05") {
		t.Errorf("numbers were respelt: %s %s", s.DataState, s.Scheduler)
	}

	// What is not set comes back as not set.
	empty := filepath.Join(out, "checkpoint-0")
	if _, err := SaveCheckpoint(out, &State{}, nil, func(string) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := Verify(empty); err != nil {
		t.Error(err)
	}
	zero, zr, err := LoadState(empty)
	if err != nil {
		t.Fatal(err)
	}
	defer zr.Close()
	if d := cmp.Diff(&State{Version: StateVersion}, zero); d != "" || len(zr.Names()) != 0 {
		t.Error(d, zr.Names())
	}
}

func TestSameStateSameBytes(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	for _, dir := range []string{a, b} {
		if _, err := saveAt(dir, 5); err != nil {
			t.Fatal(err)
		}
	}
	wantTree(t, b, readTree(t, a))
}

// Every file of a checkpoint, changed, cut, emptied or removed, is found and named.
func TestVerifyNamesDamage(t *testing.T) {
	out := t.TempDir()
	path, err := saveAt(out, 1)
	if err != nil {
		t.Fatal(err)
	}
	whole := readTree(t, path)
	if len(whole) != 6 {
		t.Fatalf("a checkpoint of %d files", len(whole))
	}
	damages := map[string]func(file string) error{
		"removed": os.Remove,
		"emptied": func(f string) error { return os.Truncate(f, 0) },
		"cut":     func(f string) error { return os.Truncate(f, int64(len(whole[relTo(path, f)])-2)) },
		"grown": func(f string) error {
			return os.WriteFile(f, []byte(whole[relTo(path, f)]+"x"), 0o666)
		},
		"one bit": func(f string) error {
			b := []byte(whole[relTo(path, f)])
			b[len(b)/2] ^= 1
			return os.WriteFile(f, b, 0o666)
		},
	}
	for name := range whole {
		for kind, damage := range damages {
			file := filepath.Join(path, filepath.FromSlash(name))
			if err := damage(file); err != nil {
				t.Fatal(err)
			}
			err := Verify(path)
			if err == nil {
				t.Errorf("%s %s: not found", name, kind)
			} else if !errors.Is(err, ErrTorn) || !strings.Contains(err.Error(), filepath.Base(name)) && !strings.HasSuffix(name, manifestFile) {
				t.Errorf("%s %s: %v", name, kind, err)
			}
			writeTestFile(t, file, []byte(whole[name]))
		}
	}
	if err := Verify(path); err != nil {
		t.Fatal(err)
	}

	// All at once.
	for _, name := range []string{SingleFile, ConfigFile} {
		if err := os.Remove(filepath.Join(path, name)); err != nil {
			t.Fatal(err)
		}
	}
	wantErr(t, Verify(path), ErrTorn, "2 faults", SingleFile, ConfigFile, path)
}

func relTo(dir, file string) string {
	rel, err := filepath.Rel(dir, file)
	if err != nil {
		return err.Error()
	}
	return filepath.ToSlash(rel)
}

func TestForeignStates(t *testing.T) {
	state := func(text string) map[string]string { return map[string]string{"training_state/" + stateFile: text} }
	for _, c := range []struct {
		name       string
		files      map[string]string
		load       error
		loadSays   string
		verify     error
		verifySays string
	}{
		{"a model only", map[string]string{"model.safetensors": "x"}, ErrNoState, "no training state", ErrNoState, "no training state"},
		{"an empty state", map[string]string{"training_state/x": ""}, ErrTorn, "state.json is missing", ErrTorn, "manifest.json is missing"},
		{"no JSON", map[string]string{"training_state/state.json": "{", "training_state/manifest.json": "{"}, ErrTorn, "state.json", ErrTorn, "manifest.json"},
		{"a newer version", map[string]string{"training_state/state.json": `{"version":9}`, "training_state/manifest.json": `{"version":9}`},
			nil, "newer mltrain", nil, "newer mltrain"},
		{"no version", map[string]string{"training_state/state.json": `{}`, "training_state/manifest.json": `{}`}, ErrTorn, "version 0", ErrTorn, "version 0"},
		{"no tensors", state(`{"version":1}`), ErrTorn, stateTensorsFile, ErrTorn, "manifest.json is missing"},
		{"an empty manifest", map[string]string{"training_state/manifest.json": `{"version":1}`}, ErrTorn, "state.json is missing", ErrTorn, "does not list"},
		{"a manifest that leaves", map[string]string{"training_state/manifest.json": `{"version":1,"files":[{"path":"../../etc/passwd"}]}`},
			ErrTorn, "state.json is missing", ErrTorn, "outside the checkpoint"},
		{"a manifest of a directory", map[string]string{"d/x": "", "training_state/manifest.json": `{"version":1,"files":[{"path":"d"}]}`},
			ErrTorn, "state.json is missing", ErrTorn, "d is not a regular file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			writeTree(t, dir, c.files)
			_, _, err := LoadState(dir)
			wantErr(t, err, c.load, c.loadSays, dir)
			wantErr(t, Verify(dir), c.verify, c.verifySays, dir)
		})
	}
}

func TestSaveCheckpointFails(t *testing.T) {
	out := t.TempDir()
	if _, err := saveAt(out, 1); err != nil {
		t.Fatal(err)
	}
	before := readTree(t, out)
	boom := errors.New("boom")
	for _, c := range []struct {
		name    string
		state   *State
		tensors []Tensor
		fill    func(string) error
		want    string
	}{
		{"fill fails", &State{GlobalStep: 2}, nil, func(dir string) error {
			return errors.Join(os.WriteFile(filepath.Join(dir, "half"), nil, 0o666), boom)
		}, "boom"},
		{"replacing fails", &State{GlobalStep: 1}, nil, func(string) error { return boom }, "boom"},
		{"state is no JSON", &State{GlobalStep: 2, RNG: json.RawMessage("{")}, nil, func(string) error { return nil }, "RawMessage"},
		{"tensors cannot be stored", &State{GlobalStep: 2}, []Tensor{{Name: "m"}}, func(string) error { return nil }, `"m"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := SaveCheckpoint(out, c.state, c.tensors, c.fill)
			wantErr(t, err, nil, c.want, "checkpoint-")
			wantTree(t, out, before)
			if names := dirNames(t, out); len(names) != 1 {
				t.Errorf("left behind: %v", names)
			}
		})
	}
}
