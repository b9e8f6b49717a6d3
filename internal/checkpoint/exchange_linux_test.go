package checkpoint

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// Replacing a directory leaves no moment without one, where the file system can exchange two.
func TestReplacingLeavesNoGap(t *testing.T) {
	parent := t.TempDir()
	a, b := filepath.Join(parent, "a"), filepath.Join(parent, "b")
	writeTree(t, parent, map[string]string{"a/f": "", "b/f": ""})
	if err := exchange(a, b); errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		t.Skip("this file system cannot exchange directories:", err)
	}
	final := filepath.Join(parent, "checkpoint-1")
	var gaps, looks atomic.Int64
	var end atomic.Bool
	done := make(chan struct{})
	writeTree(t, final, map[string]string{"f": "0"})
	go func() {
		defer close(done)
		for !end.Load() {
			looks.Add(1)
			if _, err := os.Stat(final); err != nil {
				gaps.Add(1)
			}
		}
	}()
	for range 60 {
		tmp, err := MakeTempDir(final)
		if err != nil {
			t.Fatal(err)
		}
		writeTree(t, tmp, map[string]string{"f": "1"})
		if err := CommitDir(tmp, final); err != nil {
			t.Fatal(err)
		}
	}
	end.Store(true)
	<-done
	if gaps.Load() > 0 {
		t.Errorf("%d of %d looks found no directory", gaps.Load(), looks.Load())
	}
}
