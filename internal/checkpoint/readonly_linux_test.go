package checkpoint

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// unprivileged runs f without the right to write everywhere, also when the tests run as root.
func unprivileged(t *testing.T, f func()) {
	t.Helper()
	if os.Getuid() != 0 {
		f()
		return
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its file-system identity
		err := unix.Setfsuid(65534)
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Skip("cannot give up root's rights:", err)
	}
}

// A directory that cannot be written to is found by the guard; were it not, the writers say so and leave all as it was.
func TestReadOnlyOutput(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := saveAt(dir, 1); err != nil {
		t.Fatal(err)
	}
	writeTree(t, dir, map[string]string{"file": "old", ConfigFile: "{}"})
	before := readTree(t, dir)
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Error(err)
		}
	})
	errs := map[string]error{}
	unprivileged(t, func() {
		errs["guard"] = GuardOutput(dir, true, false)
		errs["guard of a directory yet to be made"] = GuardOutput(filepath.Join(dir, "a", "b"), false, false)
		errs["file"] = WriteAtomic(filepath.Join(dir, "file"), writeAll([]byte("new")))
		_, errs["checkpoint"] = saveAt(dir, 2)
		errs["model"] = SaveModel(dir, dir, nil, nil, 0)
		errs["rotation"] = RemoveDir(StepDir(dir, 1))
	})
	for what, err := range errs {
		t.Run(what, func(t *testing.T) { wantErr(t, err, os.ErrPermission, dir, "that you may write to") })
	}
	wantTree(t, dir, before)
}
