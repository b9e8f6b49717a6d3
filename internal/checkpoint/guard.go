package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ErrOutputInUse: the output directory already holds a run or a model.
var ErrOutputInUse = errors.New("the output directory already holds a run")

// GuardOutput checks, before any work is done, that a run may write into dir: that it holds no run or model yet, unless
// the run resumes it or may overwrite it, and that it (or, if it does not exist yet, the nearest directory above it) can be
// written to. It leaves nothing behind. Errors wrap ErrOutputInUse, or the system's error.
func GuardOutput(dir string, resume, overwrite bool) error {
	if resume && overwrite {
		return fmt.Errorf("--resume and --overwrite exclude each other: one goes on with the run in %s, the other throws it away", dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		if st, statErr := os.Stat(dir); statErr == nil && !st.IsDir() {
			return fmt.Errorf("output directory %s is a file; choose another name", dir)
		}
		return fmt.Errorf("output directory: %w", hint(err))
	}
	if !resume && !overwrite {
		if found := runTraces(entries); len(found) > 0 {
			return fmt.Errorf("%s: %w (%s); go on with it by --resume, replace it by --overwrite, or choose another --output",
				dir, ErrOutputInUse, strings.Join(found, ", "))
		}
	}
	return probeWritable(dir)
}

// runTraces names what in a directory shows that a run or a model lives there, at most four things.
func runTraces(entries []fs.DirEntry) []string {
	var found []string
	for _, e := range entries {
		_, isCheckpoint := parseStep(e.Name())
		if isCheckpoint || ownWeights.MatchString(e.Name()) ||
			slices.Contains([]string{"run.yaml", "adapter_model.safetensors", trainerStateFile, "metrics.jsonl"}, e.Name()) {
			found = append(found, e.Name())
		}
	}
	const shown = 4
	if len(found) > shown {
		found = append(found[:shown], "…")
	}
	return found
}

// probeWritable creates and removes a file in dir or in the nearest directory above it that exists.
func probeWritable(dir string) error {
	at, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("output directory: %w", err)
	}
	for {
		st, err := os.Stat(at)
		if err == nil && !st.IsDir() {
			return fmt.Errorf("output directory %s: %s is a file; choose another name", dir, at)
		}
		if err == nil {
			break
		}
		if parent := filepath.Dir(at); errors.Is(err, fs.ErrNotExist) && parent != at {
			at = parent
			continue
		}
		return fmt.Errorf("output directory %s cannot be made: %w", dir, hint(err))
	}
	probe := tempPath(filepath.Join(at, "probe"), tempMark)
	f, err := os.OpenFile(probe, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return fmt.Errorf("output directory %s cannot be written to: %w", dir, hint(err))
	}
	if err := errors.Join(f.Close(), os.Remove(probe)); err != nil {
		return fmt.Errorf("output directory %s: %w", dir, err)
	}
	return nil
}

// ClearRun deletes what an earlier run left in dir, for --overwrite: its checkpoints, metrics, resolved config, trainer state
// and temporary files. The final model stays until the new one replaces it, so that a run may train on top of what it finds
// there. Call it when nothing else can go wrong any more.
//
// inUse are paths that the new run reads, such as its model: if one lies within what would be deleted, nothing is, and the
// error says so.
func ClearRun(dir string, inUse ...string) error {
	all, err := List(dir)
	if err != nil {
		return err
	}
	for _, path := range inUse {
		for _, e := range all {
			if within(path, e.Path) {
				return fmt.Errorf("--overwrite would delete %s, which this run reads (%s); choose another --output", e.Path, path)
			}
		}
	}
	if err := CleanTemp(dir); err != nil {
		return err
	}
	for _, e := range all {
		if err := RemoveDir(e.Path); err != nil {
			return err
		}
	}
	for _, name := range []string{"run.yaml", "metrics.jsonl", "samples.jsonl", "facts.json", trainerStateFile} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("clear the output directory: %w", hint(err))
		}
	}
	events, err := filepath.Glob(filepath.Join(dir, "runs", "events.out.tfevents.*.mltrain"))
	if err != nil {
		return fmt.Errorf("clear the output directory: %w", err)
	}
	for _, path := range events {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("clear the output directory: %w", hint(err))
		}
	}
	return nil
}

// within says whether path is dir or lies below it, whatever links lead there.
func within(path, dir string) bool {
	d, err := os.Stat(dir)
	if err != nil {
		return false
	}
	at, err := filepath.Abs(path)
	if err != nil {
		return false
	}
	if real, err := filepath.EvalSymlinks(at); err == nil {
		at = real
	}
	for {
		if st, err := os.Stat(at); err == nil && os.SameFile(st, d) {
			return true
		}
		parent := filepath.Dir(at)
		if parent == at {
			return false
		}
		at = parent
	}
}
