package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"unsafe"

	"github.com/edsrzf/mmap-go"
)

// Names of Hugging Face's weight files.
const (
	SingleFile = "model.safetensors"
	IndexFile  = "model.safetensors.index.json"
)

// Info describes one stored tensor.
type Info struct {
	DType string // as the file names it: "F32", "BF16", "F8_E4M3", …
	Shape []int  // [] for a scalar
	Bytes int64  // stored size
	File  string // path of the file that holds it
}

// Reader gives the tensors of one checkpoint, mapped into memory: opening costs the parsing of the headers, and pages are
// read from disk when they are first touched. Its methods, except Close, may be called from several goroutines.
type Reader struct {
	files    []*mappedFile
	tensors  map[string]storedTensor
	names    []string
	metadata map[string]string
	where    string
	closed   bool
}

type storedTensor struct {
	headerTensor
	file *mappedFile
}

// mappedFile is one safetensors file in memory; data is the part after the header.
type mappedFile struct {
	path string
	m    mmap.MMap
	data []byte
	head *header
}

// Open opens the weights of a Hugging Face checkpoint directory: model.safetensors, or else the shards that
// model.safetensors.index.json lists. (When both are there the single file wins, as in transformers.) The errors wrap
// ErrNoWeights or ErrFormat, and list everything found wrong with the files at once.
func Open(dir string) (*Reader, error) {
	if st, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("open checkpoint: %w", err)
	} else if !st.IsDir() {
		return nil, fmt.Errorf("%s: %w: it is a file; give the directory that holds %s", dir, ErrNoWeights, SingleFile)
	}
	single, index := filepath.Join(dir, SingleFile), filepath.Join(dir, IndexFile)
	if _, err := os.Stat(single); err == nil {
		return OpenFile(single)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open checkpoint: %w", err)
	}
	if _, err := os.Stat(index); err == nil {
		return openSharded(dir, index)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open checkpoint: %w", err)
	}
	return nil, noWeights(dir)
}

// noWeights says what a directory without safetensors holds instead, where that helps.
func noWeights(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("open checkpoint: %w", err)
	}
	for _, e := range entries {
		switch filepath.Ext(e.Name()) {
		case ".bin", ".pth", ".pt", ".ckpt":
			return fmt.Errorf("%s: %w: it holds pickled PyTorch weights (%s), which can run code when loaded and are not read; "+
				"convert them to %s, for example with save_pretrained in transformers", dir, ErrNoWeights, e.Name(), SingleFile)
		}
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ".safetensors" {
			return fmt.Errorf("%s: %w: neither %s nor %s is there (but %s is)", dir, ErrNoWeights, SingleFile, IndexFile, e.Name())
		}
	}
	return fmt.Errorf("%s: %w: neither %s nor %s is there", dir, ErrNoWeights, SingleFile, IndexFile)
}

// OpenFile opens one safetensors file of any name. Errors wrap ErrFormat when the file is malformed.
func OpenFile(path string) (*Reader, error) {
	file, err := mapFile(path)
	if err != nil {
		return nil, err
	}
	r := newReader(path)
	r.add(file)
	r.finish()
	return r, nil
}

func newReader(where string) *Reader {
	return &Reader{where: where, tensors: map[string]storedTensor{}, metadata: map[string]string{}}
}

// add takes a file's tensors in and returns the names that another file already has.
func (r *Reader) add(file *mappedFile) (doubles []string) {
	r.files = append(r.files, file)
	for _, t := range file.head.tensors {
		if _, ok := r.tensors[t.name]; ok {
			doubles = append(doubles, t.name)
			continue
		}
		r.tensors[t.name] = storedTensor{t, file}
	}
	for k, v := range file.head.metadata {
		if _, ok := r.metadata[k]; !ok {
			r.metadata[k] = v
		}
	}
	return doubles
}

func (r *Reader) finish() { r.names = slices.Sorted(maps.Keys(r.tensors)) }

// mapFile maps a safetensors file read-only and checks its header.
func mapFile(path string) (*mappedFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open checkpoint: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open checkpoint: %w", err)
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w: not a regular file", path, ErrFormat)
	}
	if st.Size() == 0 {
		return nil, fmt.Errorf("%s: %w: the file is empty", path, ErrFormat)
	}
	m, err := mmap.Map(f, mmap.RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("map %s into memory: %w", path, err)
	}
	head, data, fault := splitHeader(m)
	if fault != "" {
		return nil, errors.Join(faults{fault}.err(path, ErrFormat), m.Unmap())
	}
	h, bad := parseHeader(head, int64(len(data)))
	if len(bad) > 0 {
		return nil, errors.Join(bad.err(path, ErrFormat), m.Unmap())
	}
	return &mappedFile{path: path, m: m, data: data, head: h}, nil
}

// Names lists the tensors, sorted. The caller must not change the slice.
func (r *Reader) Names() []string { return r.names }

// Metadata is the header's free text, conventionally {"format": "pt"}; of shards, all of theirs together.
func (r *Reader) Metadata() map[string]string { return maps.Clone(r.metadata) }

// Info describes a tensor of any dtype, readable or not.
func (r *Reader) Info(name string) (Info, bool) {
	t, ok := r.tensors[name]
	if !ok {
		return Info{}, false
	}
	return Info{DType: t.dtype, Shape: slices.Clone(t.shape), Bytes: t.end - t.begin, File: t.file.path}, true
}

// Bytes is a tensor's data, little-endian and row-major, starting at an address that is a multiple of its element size.
// It is a view of the mapped file, valid until Close and not to be written to; only where the file's header leaves the
// data misaligned it is a copy. Errors wrap ErrNoTensor, ErrDType or ErrClosed.
func (r *Reader) Bytes(name string) ([]byte, error) {
	if r.closed {
		return nil, fmt.Errorf("%s: %w", r.where, ErrClosed)
	}
	t, ok := r.tensors[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w: %q", r.where, ErrNoTensor, name)
	}
	dt, ok := ParseDType(t.dtype)
	if !ok {
		return nil, fmt.Errorf("%s: tensor %q: %w %s (readable: %s)", t.file.path, name, ErrDType, t.dtype, readableDTypes)
	}
	b := t.file.data[t.begin:t.end:t.end]
	if len(b) > 0 && uintptr(unsafe.Pointer(unsafe.SliceData(b)))%uintptr(dt.Size()) != 0 {
		b = slices.Clone(b)
	}
	return b, nil
}

// Release says that a tensor's data will not be read again soon: it need not stay in memory. Slices that Bytes gave stay valid.
func (r *Reader) Release(name string) {
	if t, ok := r.tensors[name]; ok && !r.closed {
		head := int64(len(t.file.m) - len(t.file.data))
		release(t.file.m, head+t.begin, head+t.end)
	}
}

// Close unmaps the files; every slice that Bytes gave becomes invalid. Closing twice is harmless.
func (r *Reader) Close() error {
	var errs []error
	for _, f := range r.files {
		errs = append(errs, f.close())
	}
	r.files, r.closed = nil, true
	return errors.Join(errs...)
}

func (f *mappedFile) close() error {
	if err := f.m.Unmap(); err != nil {
		return fmt.Errorf("unmap %s: %w", f.path, err)
	}
	return nil
}
