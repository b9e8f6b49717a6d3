package data

import (
	"bufio"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Source is one dataset of a run.
type Source struct {
	Path     string            // a file, a directory or a glob
	Split    string            // of a directory: only the files of this split (train, validation, test …); "" takes all; rows: [ParseSplit]
	Layout   Layout            // "" or auto: recognised row by row
	Columns  map[string]string // our key → their column
	Fraction float64           // share of the rows to use, chosen at random; above 1 repeats; 0 means 1
	Weight   float64           // share of the mixture, relative to the other sources' weights; 0: not weighted
}

// ErrNoData is wrapped when a path holds no data files or no rows.
var ErrNoData = errors.New("no data")

var dataExtensions = []string{".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".txt"}

// fileFormat gives a file's data extension and its compression's ("" for none).
func fileFormat(path string) (ext, compression string) {
	ext = strings.ToLower(filepath.Ext(path))
	switch ext {
	case ".gz", ".zst", ".zstd", ".bz2":
		compression = ext
		path = path[:len(path)-len(ext)]
		ext = strings.ToLower(filepath.Ext(path))
	}
	return ext, compression
}

// Expand lists the files of a source, sorted by name.
func (s Source) Expand() ([]string, error) {
	var files []string
	name, _, err := ParseSplit(s.Split)
	if err != nil {
		return nil, fmt.Errorf("dataset %s: %w", s.Path, err)
	}
	s.Split = name
	info, err := os.Stat(s.Path)
	switch {
	case err == nil && info.IsDir():
		err = filepath.WalkDir(s.Path, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if p != s.Path && strings.HasPrefix(d.Name(), ".") {
				if d.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			if ext, _ := fileFormat(p); !d.IsDir() && slices.Contains(dataExtensions, ext) {
				files = append(files, p)
			}
			return nil
		})
		// As in Hugging Face's datasets: where no file is named after a split, all of them are train.
		if s.Split != "train" || slices.ContainsFunc(files, s.inAnySplit) {
			files = slices.DeleteFunc(files, func(p string) bool { return !s.inSplit(p) })
		}
		if err != nil {
			return nil, fmt.Errorf("data directory %s: %w", s.Path, err)
		}
	case err == nil:
		files = []string{s.Path}
	case errors.Is(err, fs.ErrNotExist) && strings.ContainsAny(s.Path, "*?["):
		if files, err = filepath.Glob(s.Path); err != nil {
			return nil, fmt.Errorf("data pattern %s: %w", s.Path, err)
		}
		files = slices.DeleteFunc(files, func(p string) bool { return !s.inSplit(p) })
	default:
		return nil, fmt.Errorf("data: %w", err)
	}
	if len(files) == 0 {
		what := "files ending in " + strings.Join(dataExtensions, ", ") + " (also .gz, .zst, .bz2)"
		if s.Split != "" {
			what = fmt.Sprintf("data files of split %q", s.Split)
		}
		return nil, fmt.Errorf("%w: %s holds no %s", ErrNoData, s.Path, what)
	}
	for _, f := range files {
		if ext, _ := fileFormat(f); !slices.Contains(dataExtensions, ext) {
			return nil, fmt.Errorf("data file %s: unknown extension %q; known are %s, each also with .gz, .zst or .bz2",
				f, ext, strings.Join(dataExtensions, ", "))
		}
	}
	sort.Strings(files)
	return files, nil
}

// splitNames are the names that files of a split go by, as in Hugging Face's datasets.
var splitNames = map[string][]string{
	"train":      {"train", "training"},
	"validation": {"validation", "valid", "val", "dev"},
	"test":       {"test", "testing", "eval", "evaluation"},
}

// inSplit reports whether a file belongs to the split: its name or its folder's is one of the split's names, alone or
// followed by one of - _ . (train-00000-of-00002.parquet, data/train.jsonl, validation/part1.json).
func (s Source) inSplit(path string) bool {
	if s.Split == "" {
		return true
	}
	names := splitNames[s.Split]
	if names == nil {
		names = []string{s.Split}
	}
	if rel, err := filepath.Rel(s.Path, path); err == nil && !strings.ContainsAny(s.Path, "*?[") {
		path = rel
	}
	for _, part := range strings.Split(filepath.ToSlash(path), "/") {
		for _, name := range names {
			rest, ok := strings.CutPrefix(part, name)
			if ok && (rest == "" || strings.ContainsAny(rest[:1], "-_.")) {
				return true
			}
		}
	}
	return false
}

// inAnySplit reports whether a file is named after one of the known splits.
func (s Source) inAnySplit(path string) bool {
	for name := range splitNames {
		if (Source{Path: s.Path, Split: name}).inSplit(path) {
			return true
		}
	}
	return false
}

// openFile opens a data file, decompressed. close ends both.
func openFile(path string) (r io.Reader, closeAll func() error, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("data: %w", err)
	}
	buf := bufio.NewReaderSize(f, 1<<20)
	_, compression := fileFormat(path)
	switch compression {
	case ".gz":
		z, err := gzip.NewReader(buf)
		if err != nil {
			f.Close()
			return nil, nil, fmt.Errorf("data file %s: not a gzip file: %w", path, err)
		}
		return z, f.Close, nil
	case ".zst", ".zstd":
		z, err := zstd.NewReader(buf, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(1<<30))
		if err != nil {
			f.Close()
			return nil, nil, fmt.Errorf("data file %s: not a zstd file: %w", path, err)
		}
		return z, func() error { z.Close(); return f.Close() }, nil
	case ".bz2":
		return bzip2.NewReader(buf), f.Close, nil
	}
	return buf, f.Close, nil
}
