package checkpoint

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"
)

// Temporary names are .NAME.mltrain-tmp-N beside what will be called NAME: hidden from listings of checkpoints, on the same
// file system so that renaming is atomic, and unmistakably ours, so that CleanTemp may delete them. A directory that has
// been moved out of the way of its successor is .NAME.mltrain-old-N: it is complete, and put back if the successor
// never came.
const (
	tempMark = ".mltrain-tmp-"
	oldMark  = ".mltrain-old-"
)

var tempName = regexp.MustCompile(`^\.(.+)\.mltrain-(tmp|old)-[0-9]+$`)

// tempPath is a fresh temporary name for path.
func tempPath(path, mark string) string {
	return filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s%s%d", filepath.Base(path), mark, rand.Uint64()))
}

// WriteAtomic replaces path by what write puts out: the bytes go to a temporary file in the same directory, which is synced
// and renamed to path, and then the directory is synced. Whenever the process or the machine dies, path is the whole old
// file or the whole new one. On an error the temporary file is removed and the old file stays. A file that was there keeps
// its permissions.
func WriteAtomic(path string, write func(w io.Writer) error) error {
	mode := fs.FileMode(0o666)
	st, err := os.Stat(path)
	exists := err == nil
	if exists {
		if st.IsDir() {
			return fmt.Errorf("write %s: it is a directory", path)
		}
		mode = st.Mode().Perm()
	}
	tmp := tempPath(path, tempMark)
	if err := writeSynced(tmp, mode, write); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if exists { // creation was subject to the umask
		if err := os.Chmod(tmp, mode); err != nil {
			return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(tmp))
		}
	}
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, hint(err)), os.Remove(tmp))
	}
	return syncDir(filepath.Dir(path))
}

// writeSynced creates the file path, which must not exist, fills it and waits until it is on the disk. On an error
// nothing is left of it.
func writeSynced(path string, mode fs.FileMode, write func(w io.Writer) error) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return hint(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(hint(err), os.Remove(path))
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	err = write(w)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// hint adds to the errors of a disk that cannot be written what a user may do about it.
func hint(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%w; free some space or choose another output directory (nothing was overwritten)", err)
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; choose an output directory that you may write to", err)
	}
	return err
}

// syncDir makes a directory's entries durable.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" { // directories cannot be synced there, and need not be
		return nil
	}
	return syncPath(dir)
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}

// syncTree makes everything under dir durable, the deepest first.
func syncTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case e.IsDir():
			err = syncTree(path)
		case e.Type().IsRegular():
			err = syncPath(path)
		}
		if err != nil {
			return err
		}
	}
	return syncDir(dir)
}

// MakeTempDir creates a directory beside final, in which to build what CommitDir will give that name.
func MakeTempDir(final string) (string, error) {
	tmp := tempPath(final, tempMark)
	if err := os.Mkdir(tmp, 0o777); err != nil {
		return "", fmt.Errorf("create %s: %w", final, hint(err))
	}
	return tmp, nil
}

// CommitDir syncs every file under tmp and gives the directory the name final, in the same parent directory. A directory that
// is already called so is replaced, and deleted afterwards: on Linux the two are exchanged in one step; elsewhere the old
// one is moved aside first, and CleanTemp puts it back if the process died between the two steps.
func CommitDir(tmp, final string) error {
	if err := syncTree(tmp); err != nil {
		return err
	}
	parent := filepath.Dir(final)
	_, err := os.Lstat(final)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.Rename(tmp, final); err != nil {
			return fmt.Errorf("commit %s: %w", final, hint(err))
		}
		return syncDir(parent)
	case err != nil:
		return fmt.Errorf("commit %s: %w", final, err)
	}
	old := tmp
	if err := exchange(tmp, final); err != nil {
		if old, err = moveAside(tmp, final); err != nil {
			return fmt.Errorf("commit %s: %w", final, hint(err))
		}
	}
	if err := syncDir(parent); err != nil {
		return err
	}
	if err := os.RemoveAll(old); err != nil {
		return fmt.Errorf("remove the old %s: %w", final, err)
	}
	return nil
}

// moveAside replaces final by tmp in two steps and returns where the old directory is now. CleanTemp knows that name, and
// puts the directory back if the second step never came.
func moveAside(tmp, final string) (old string, err error) {
	old = tempPath(final, oldMark)
	if err := os.Rename(final, old); err != nil {
		return "", err
	}
	if err := os.Rename(tmp, final); err != nil {
		return "", errors.Join(err, os.Rename(old, final))
	}
	return old, nil
}

// RemoveDir deletes a directory so that a process that dies while deleting leaves no directory of that name with half its
// files: it is renamed to a temporary name first.
func RemoveDir(dir string) error {
	tmp := tempPath(dir, tempMark)
	if err := os.Rename(dir, tmp); err != nil {
		return fmt.Errorf("remove %s: %w", dir, hint(err))
	}
	if err := syncDir(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.RemoveAll(tmp); err != nil {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	return nil
}

// CleanTemp deletes what killed processes left half-written directly in dir, and puts back a complete directory that was
// moved aside for a successor that never came. Call it when a run starts, and not while another run writes there. A
// directory that does not exist is clean.
func CleanTemp(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("clean up: %w", err)
	}
	for _, e := range entries {
		m := tempName.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		path, final := filepath.Join(dir, e.Name()), filepath.Join(dir, m[1])
		if _, err := os.Lstat(final); m[2] == "old" && errors.Is(err, fs.ErrNotExist) {
			if err := os.Rename(path, final); err != nil {
				return fmt.Errorf("put back %s: %w", final, hint(err))
			}
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("clean up: %w", hint(err))
		}
	}
	return syncDir(dir)
}
