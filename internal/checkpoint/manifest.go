package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrTorn: a checkpoint's files are not those that were saved: one is missing, cut short or changed.
var ErrTorn = errors.New("the checkpoint is damaged")

// manifest lists every file of a checkpoint. SHA-256 rather than a CRC: it runs at disk speed on processors with SHA
// instructions, and a resumed run that silently starts from changed weights costs more than the seconds saved.
type manifest struct {
	Version int             `json:"version"`
	Files   []manifestEntry `json:"files"`
}

type manifestEntry struct {
	Path   string `json:"path"` // relative to the checkpoint, with slashes
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// writeManifest lists all files now under dir, and writes the list as the last of them.
func writeManifest(dir string) error {
	path := filepath.Join(dir, stateDir, manifestFile)
	m := manifest{Version: StateVersion}
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || file == path {
			return err
		}
		rel, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		size, sum, err := hashFile(file)
		m.Files = append(m.Files, manifestEntry{filepath.ToSlash(rel), size, sum})
		return err
	})
	if err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	text, err := encodeJSON(m)
	if err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	return WriteAtomic(path, writeAll(text))
}

func hashFile(path string) (size int64, sum string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	h := sha256.New()
	size, err = io.CopyBuffer(h, f, make([]byte, 1<<20))
	return size, hex.EncodeToString(h.Sum(nil)), err
}

// Verify holds every file of a checkpoint against its manifest and names all that are missing, have another size or other
// contents. It reads the whole checkpoint. Files that the manifest does not list do not matter. The error wraps ErrNoState
// if there is no training_state at all, ErrTorn if something is wrong.
func Verify(dir string) error {
	path := filepath.Join(dir, stateDir, manifestFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, statErr := os.Stat(filepath.Join(dir, stateDir)); errors.Is(statErr, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", dir, ErrNoState)
		}
		return fmt.Errorf("%s: %w: %s/%s is missing", dir, ErrTorn, stateDir, manifestFile)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %v", dir, ErrTorn, err)
	}
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return fmt.Errorf("%s: %w: %s/%s: %v", dir, ErrTorn, stateDir, manifestFile, err)
	}
	if err := checkVersion(path, m.Version); err != nil {
		return err
	}
	var f faults
	listed := map[string]bool{}
	for _, e := range m.Files {
		listed[e.Path] = true
		checkEntry(dir, e, &f)
	}
	for _, name := range []string{stateFile, stateTensorsFile} {
		if rel := stateDir + "/" + name; !listed[rel] {
			f.add("%s/%s does not list %s", stateDir, manifestFile, rel)
		}
	}
	return f.err(dir, ErrTorn)
}

// checkEntry compares one file with its entry.
func checkEntry(dir string, e manifestEntry, f *faults) {
	local := filepath.FromSlash(e.Path)
	if !filepath.IsLocal(local) {
		f.add("%s/%s lists %q, which is outside the checkpoint", stateDir, manifestFile, e.Path)
		return
	}
	path := filepath.Join(dir, local)
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.add("%s is missing", e.Path)
		return
	case err != nil:
		f.add("%s cannot be read: %v", e.Path, err)
		return
	case !st.Mode().IsRegular():
		f.add("%s is not a regular file", e.Path)
		return
	case st.Size() != e.Size:
		f.add("%s has %d bytes, %d were saved", e.Path, st.Size(), e.Size)
		return
	}
	_, sum, err := hashFile(path)
	switch {
	case err != nil:
		f.add("%s cannot be read: %v", e.Path, err)
	case sum != e.SHA256:
		f.add("%s has changed since it was saved (its SHA-256 differs)", e.Path)
	}
}
