package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// readTree maps every file under dir, by slash path, to its contents.
func readTree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		out[filepath.ToSlash(rel)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func writeTree(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		writeTestFile(t, filepath.Join(dir, filepath.FromSlash(name)), []byte(text))
	}
}

func wantTree(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	if d := cmp.Diff(want, readTree(t, dir)); d != "" {
		t.Errorf("%s (-want +got):\n%s", dir, d)
	}
}

func TestWriteAtomic(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f.txt")
	if err := WriteAtomic(path, writeAll([]byte("one"))); err != nil {
		t.Fatal(err)
	}
	wantTree(t, dir, map[string]string{"f.txt": "one"})
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := WriteAtomic(path, writeAll([]byte("two"))); err != nil {
		t.Fatal(err)
	}
	wantTree(t, dir, map[string]string{"f.txt": "two"})
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o640 {
		t.Errorf("permissions %v (%v), were 0640", st.Mode(), err)
	}

	// A disk that fills up in the middle: the old file stays, nothing else is left, the message says what to do.
	full := &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
	err := WriteAtomic(path, func(w io.Writer) error {
		if _, err := w.Write(make([]byte, 3<<20)); err != nil {
			return err
		}
		return full
	})
	wantErr(t, err, syscall.ENOSPC, path, "free some space")
	wantTree(t, dir, map[string]string{"f.txt": "two"})

	// A writer that panics is the caller's fault, but even then the old file is whole.
	func() {
		defer func() { _ = recover() }()
		_ = WriteAtomic(path, func(io.Writer) error { panic("bug") })
	}()
	if text, err := os.ReadFile(path); err != nil || string(text) != "two" {
		t.Errorf("after a panic: %q, %v", text, err)
	}

	wantErr(t, WriteAtomic(filepath.Join(dir, "no", "f"), writeAll(nil)), os.ErrNotExist, filepath.Join("no", "f"))
	wantErr(t, WriteAtomic(dir, writeAll(nil)), nil, dir, "directory")
}

func TestCommitDir(t *testing.T) {
	dir := t.TempDir()
	final := filepath.Join(dir, "checkpoint-1")
	for _, text := range []string{"first", "second"} { // the second replaces the first
		tmp, err := MakeTempDir(final)
		if err != nil {
			t.Fatal(err)
		}
		writeTree(t, tmp, map[string]string{"a": text, "sub/b": text})
		if err := CommitDir(tmp, final); err != nil {
			t.Fatal(err)
		}
		wantTree(t, dir, map[string]string{"checkpoint-1/a": text, "checkpoint-1/sub/b": text})
		if names := dirNames(t, dir); len(names) != 1 {
			t.Errorf("left behind: %v", names)
		}
	}
	if err := RemoveDir(final); err != nil {
		t.Fatal(err)
	}
	if names := dirNames(t, dir); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
	wantErr(t, RemoveDir(final), os.ErrNotExist, final)
	wantErr(t, CommitDir(filepath.Join(dir, "no"), final), os.ErrNotExist)
	_, err := MakeTempDir(filepath.Join(dir, "no", "x"))
	wantErr(t, err, os.ErrNotExist)
}

func TestMoveAside(t *testing.T) {
	dir := t.TempDir()
	tmp, final := filepath.Join(dir, "tmp"), filepath.Join(dir, "checkpoint-1")
	writeTree(t, dir, map[string]string{"tmp/a": "new", "checkpoint-1/a": "old"})
	old, err := moveAside(tmp, final)
	if err != nil {
		t.Fatal(err)
	}
	wantTree(t, dir, map[string]string{"checkpoint-1/a": "new", filepath.Base(old) + "/a": "old"})
	if _, err := moveAside(tmp, final); !errors.Is(err, os.ErrNotExist) { // the second step fails
		t.Error(err)
	}
	wantTree(t, dir, map[string]string{"checkpoint-1/a": "new", filepath.Base(old) + "/a": "old"})
}

// watch looks at dir again and again until stop is called, which returns how many looks found it without one of the files.
// A look counts only if dir was the same directory before and after it; being held open, its identity is not reused.
func watch(dir string, files map[string]string) (stop func() int) {
	end, partial := make(chan struct{}), make(chan int)
	look := func() bool {
		f, err := os.Open(dir)
		if err != nil {
			return true
		}
		defer f.Close()
		before, err := f.Stat()
		if err != nil {
			return true
		}
		whole := true
		for name := range files {
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				whole = false
			}
		}
		after, err := os.Stat(dir)
		return whole || err != nil || !os.SameFile(before, after)
	}
	go func() {
		n := 0
		for {
			select {
			case <-end:
				partial <- n
				return
			default:
				if !look() {
					n++
				}
			}
		}
	}()
	return func() int {
		close(end)
		return <-partial
	}
}

// A directory that is deleted is never seen with only some of its files.
func TestRemoveDirIsSeenAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "checkpoint-1")
	files := map[string]string{}
	for i := range 60 {
		files[fmt.Sprint("f", i)] = "x"
	}
	stop := watch(dir, files)
	for range 15 {
		tmp, err := MakeTempDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		writeTree(t, tmp, files)
		if err := os.Rename(tmp, dir); err != nil {
			t.Fatal(err)
		}
		if err := RemoveDir(dir); err != nil {
			t.Fatal(err)
		}
	}
	if n := stop(); n > 0 {
		t.Errorf("%d looks saw a directory half deleted", n)
	}
}

func TestCleanTemp(t *testing.T) {
	dir := t.TempDir()
	keep := map[string]string{
		"checkpoint-1/a":                  "1",
		".hidden":                         "user's",
		".x.mltrain-tmp-":                 "no number: not ours",
		"x.mltrain-tmp-1":                 "not hidden: not ours",
		"checkpoint-1/.y.mltrain-tmp-123": "not directly in the directory",
	}
	writeTree(t, dir, keep)
	writeTree(t, dir, map[string]string{
		".checkpoint-2.mltrain-tmp-123/model": "half",
		".metrics.jsonl.mltrain-tmp-9":        "half",
		".checkpoint-1.mltrain-old-5/a":       "0", // its successor came
		".checkpoint-3.mltrain-old-6/a":       "3", // its successor did not
	})
	keep["checkpoint-3/a"] = "3"
	for range 2 {
		if err := CleanTemp(dir); err != nil {
			t.Fatal(err)
		}
		wantTree(t, dir, keep)
	}
	if err := CleanTemp(filepath.Join(dir, "no")); err != nil {
		t.Error("a directory that does not exist:", err)
	}
}

func TestTempNamesAreRecognised(t *testing.T) {
	for _, mark := range []string{tempMark, oldMark} {
		for range 100 {
			name := filepath.Base(tempPath("/a/model.safetensors", mark))
			m := tempName.FindStringSubmatch(name)
			if m == nil || m[1] != "model.safetensors" || !strings.Contains(mark, m[2]) {
				t.Fatalf("%s: %v", name, m)
			}
		}
	}
}

func TestHint(t *testing.T) {
	for _, err := range []error{syscall.ENOSPC, syscall.EROFS, os.ErrPermission} {
		got := hint(err)
		if !errors.Is(got, err) || len(got.Error()) <= len(err.Error()) {
			t.Errorf("hint(%v) = %v", err, got)
		}
	}
	if other := errors.New("other"); hint(other) != other {
		t.Error("a hint for an error it does not know")
	}
}
