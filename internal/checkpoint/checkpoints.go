package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Entry is one checkpoint-<step> directory of a run.
type Entry struct {
	Path string
	Step int64
}

const stepPrefix = "checkpoint-"

// StepDir is the path of the checkpoint of a step within a run's output directory.
func StepDir(outputDir string, step int64) string {
	return filepath.Join(outputDir, stepPrefix+strconv.FormatInt(step, 10))
}

// parseStep is the step of a name like checkpoint-40; names such as checkpoint-040 or checkpoint-best are not ours.
func parseStep(name string) (int64, bool) {
	digits, ok := strings.CutPrefix(name, stepPrefix)
	if !ok {
		return 0, false
	}
	step, err := strconv.ParseInt(digits, 10, 64)
	return step, err == nil && step >= 0 && strconv.FormatInt(step, 10) == digits
}

// List returns the checkpoints in a run's directory by step, the oldest first, whole or not. A directory that does not
// exist has none.
func List(outputDir string) ([]Entry, error) {
	entries, err := os.ReadDir(outputDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list checkpoints: %w", err)
	}
	var out []Entry
	for _, e := range entries {
		if step, ok := parseStep(e.Name()); ok && e.IsDir() {
			out = append(out, Entry{filepath.Join(outputDir, e.Name()), step})
		}
	}
	slices.SortFunc(out, func(a, b Entry) int { return cmpInt64(a.Step, b.Step) })
	return out, nil
}

// SaveCheckpoint writes outputDir/checkpoint-<GlobalStep> as a whole: fill puts the model (or adapter) and whatever else
// belongs to the checkpoint into a temporary directory, the training state follows, everything is synced, and only
// then the directory gets its name. A checkpoint of the same step is replaced. On an error nothing of the new one is left, and
// every older checkpoint is untouched.
func SaveCheckpoint(outputDir string, state *State, tensors []Tensor, fill func(dir string) error) (path string, err error) {
	path = StepDir(outputDir, state.GlobalStep)
	if err := os.MkdirAll(outputDir, 0o777); err != nil {
		return "", fmt.Errorf("save checkpoint: %w", hint(err))
	}
	tmp, err := MakeTempDir(path)
	if err != nil {
		return "", fmt.Errorf("save checkpoint: %w", err)
	}
	if err = fill(tmp); err == nil {
		err = SaveState(tmp, state, tensors)
	}
	if err == nil {
		err = CommitDir(tmp, path)
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("save checkpoint %s: %w", path, err), os.RemoveAll(tmp))
	}
	return path, nil
}

// Latest finds the newest checkpoint of a run that Verify finds whole. Those it skips on the way are told to warn, with the
// reason. ok is false when the directory has no checkpoint at all, so that a run may start afresh; when it has some and
// none is whole the error wraps ErrTorn, since starting afresh would then be a decision for the user.
func Latest(outputDir string, warn func(message string)) (path string, ok bool, err error) {
	all, err := List(outputDir)
	if err != nil {
		return "", false, err
	}
	for _, e := range slices.Backward(all) {
		err := Verify(e.Path)
		switch {
		case err == nil:
			return e.Path, true, nil
		case errors.Is(err, ErrTorn), errors.Is(err, ErrNoState):
			warn(fmt.Sprintf("skipping %v", err))
		default:
			return "", false, err
		}
	}
	if len(all) == 0 {
		return "", false, nil
	}
	return "", false, fmt.Errorf("%s: %w: none of its %d checkpoints can be resumed from (newest: %s); restore one, or start anew with --overwrite",
		outputDir, ErrTorn, len(all), filepath.Base(all[len(all)-1].Path))
}

// Rotate deletes the oldest checkpoints until at most limit are left (save_total_limit); limit ≤ 0 keeps all. Those in keep
// are never deleted, nor is the one of the highest step, even if that leaves more than limit: pass the best checkpoint and the
// one just saved (after a resume that skipped a damaged checkpoint, the one just saved has not the highest step).
// Each is renamed before it is deleted, so that no half-deleted checkpoint is ever seen.
func Rotate(outputDir string, limit int, keep ...string) error {
	all, err := List(outputDir)
	if err != nil || limit <= 0 {
		return err
	}
	kept := map[string]bool{}
	for _, path := range keep {
		kept[filepath.Base(path)] = true
	}
	excess := len(all) - limit
	for i, e := range all {
		if excess <= 0 || i == len(all)-1 {
			break
		}
		if kept[filepath.Base(e.Path)] {
			continue
		}
		if err := RemoveDir(e.Path); err != nil {
			return err
		}
		excess--
	}
	return nil
}
