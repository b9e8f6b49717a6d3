package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// store is one repository's part of the cache.
type store struct {
	cache string
	ref   Ref
}

var (
	commitHash = regexp.MustCompile(`^[0-9a-f]{40}$`)
	etagName   = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*$`)
)

func (s store) root() string                  { return filepath.Join(s.cache, s.ref.folder()) }
func (s store) blob(etag string) string       { return filepath.Join(s.root(), "blobs", etag) }
func (s store) snapshot(commit string) string { return filepath.Join(s.root(), "snapshots", commit) }

// commit tells which commit a revision was at when last asked.
func (s store) commit() (string, bool) {
	if commitHash.MatchString(s.ref.Revision) {
		return s.ref.Revision, true
	}
	b, err := os.ReadFile(filepath.Join(s.root(), "refs", filepath.FromSlash(s.ref.Revision)))
	c := strings.TrimSpace(string(b))
	return c, err == nil && commitHash.MatchString(c)
}

func (s store) setCommit(commit string) error {
	if commit == s.ref.Revision {
		return nil
	}
	if old, ok := s.commit(); ok && old == commit {
		return nil
	}
	return writeFile(filepath.Join(s.root(), "refs", filepath.FromSlash(s.ref.Revision)), []byte(commit))
}

// writeFile writes a file under a temporary name and renames it.
func writeFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// has reports whether a file of a commit is complete in the cache.
func (s store) has(commit, file string) bool {
	info, err := os.Stat(filepath.Join(s.snapshot(commit), filepath.FromSlash(file)))
	return err == nil && info.Mode().IsRegular()
}

// files lists what the cache holds of a commit.
func (s store) files(commit string) ([]string, error) {
	dir := s.snapshot(commit)
	var out []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		if rel = filepath.ToSlash(rel); s.has(commit, rel) {
			out = append(out, rel)
		}
		return nil
	})
	return out, err
}

// link makes a commit's file point at a blob, relatively, so that the cache can be moved. Where links are not to be had
// (Windows), the file is copied.
func (s store) link(commit, file, etag string) error {
	dst := filepath.Join(s.snapshot(commit), filepath.FromSlash(file))
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return err
	}
	src, err := filepath.Rel(filepath.Dir(dst), s.blob(etag))
	if err != nil {
		return err
	}
	if old, err := os.Readlink(dst); err == nil && old == src {
		return nil
	}
	tmp := fmt.Sprintf("%s.%d.tmp", dst, time.Now().UnixNano())
	if err := os.Symlink(src, tmp); err != nil {
		return copyFile(s.blob(etag), dst)
	}
	if err := os.Rename(tmp, dst); err != nil {
		os.Remove(tmp)
		return err
	}
	return nil
}

func copyFile(src, dst string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.CreateTemp(filepath.Dir(dst), ".tmp-*")
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	err = errors.Join(err, out.Chmod(0o644), out.Close())
	if err == nil {
		err = os.Rename(out.Name(), dst)
	}
	if err != nil {
		os.Remove(out.Name())
	}
	return err
}

// lock waits until no other process writes a blob, and keeps others from it until unlock is called.
func (s store) lock(ctx context.Context, etag string) (unlock func(), err error) {
	path := filepath.Join(s.cache, ".locks", s.ref.folder(), etag+".lock")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		ok, err := tryLock(f)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if ok {
			return func() { f.Close() }, nil
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// cached answers from the cache alone: the snapshot of the revision, if what is wanted of it is there.
func (s store) cached(o Options) (string, error) {
	commit, ok := s.commit()
	if !ok {
		return "", fmt.Errorf("%w: %s was never fetched into %s", ErrOffline, s.ref, s.cache)
	}
	have, err := s.files(commit)
	if err != nil {
		return "", fmt.Errorf("%w: %s has no files of commit %s in %s", ErrOffline, s.ref, commit, s.cache)
	}
	want, err := choose(s.ref, o, have)
	if err != nil {
		return "", fmt.Errorf("%w: %v", ErrOffline, err)
	}
	if missing := s.missingShards(commit, want); len(missing) > 0 {
		return "", fmt.Errorf("%w: %s lacks %s", ErrOffline, s.ref, strings.Join(missing, ", "))
	}
	return s.result(commit), nil
}

// missingShards names the weight files that an index speaks of and the cache has not.
func (s store) missingShards(commit string, files []string) []string {
	var missing []string
	seen := map[string]bool{}
	for _, f := range files {
		if !strings.HasSuffix(f, ".index.json") {
			continue
		}
		var index struct {
			WeightMap map[string]string `json:"weight_map"`
		}
		raw, err := os.ReadFile(filepath.Join(s.snapshot(commit), filepath.FromSlash(f)))
		if err != nil || json.Unmarshal(raw, &index) != nil {
			continue
		}
		for _, shard := range index.WeightMap {
			if !seen[shard] && safePath(shard) && !s.has(commit, shard) {
				missing = append(missing, shard)
			}
			seen[shard] = true
		}
	}
	return missing
}

// result is the path that Resolve returns: the file that the reference names, else the folder.
func (s store) result(commit string) string {
	dir := s.snapshot(commit)
	if s.ref.Path == "" || isPattern(s.ref.Path) {
		return dir
	}
	return filepath.Join(dir, filepath.FromSlash(s.ref.Path))
}
