package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"math/bits"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/mltrain/mltrain/internal/tensor"
)

// DefaultMaxShardBytes is the size above which a model is split into several files, as Hugging Face does by default.
const DefaultMaxShardBytes = 5_000_000_000

// Tensor is one tensor to be written: little-endian, row-major, given whole as Data or put out by Write when its turn comes,
// so that no more than one has to be in memory.
type Tensor struct {
	Name  string
	DType tensor.DType
	Shape []int // nil for a scalar
	Data  []byte
	Write func(w io.Writer) error
}

// Bytes is the size of the tensor's data; ok is false if the shape or the dtype has none.
func (t *Tensor) Bytes() (n int64, ok bool) {
	size := uint64(t.DType.Size())
	if dtypeName(t.DType) == "" {
		return 0, false
	}
	for _, d := range t.Shape {
		if d < 0 {
			return 0, false
		}
		hi, lo := bits.Mul64(size, uint64(d))
		if hi != 0 || lo > math.MaxInt64 {
			return 0, false
		}
		size = lo
	}
	return int64(size), true
}

// checkTensors reports everything that would make an unreadable file: names that are taken, reserved or no UTF-8, sizes.
func checkTensors(tensors []Tensor) faults {
	var f faults
	seen := map[string]bool{}
	for i := range tensors {
		t := &tensors[i]
		switch {
		case t.Name == "" || t.Name == metadataKey || !utf8.ValidString(t.Name):
			f.add("%q cannot be a tensor's name", t.Name)
		case seen[t.Name]:
			f.add("tensor %q is given twice", t.Name)
		}
		seen[t.Name] = true
		n, ok := t.Bytes()
		switch {
		case !ok:
			f.add("tensor %q: %s%v cannot be stored", t.Name, t.DType, t.Shape)
		case t.Write != nil && t.Data != nil:
			f.add("tensor %q has both Data and Write", t.Name)
		case t.Write == nil && int64(len(t.Data)) != n:
			f.add("tensor %q: %s%v needs %d bytes, its data has %d", t.Name, t.DType, t.Shape, n, len(t.Data))
		}
	}
	return f
}

// storageOrder sorts tensors as the reference program stores them: the widest elements first, so that all are aligned; among
// dtypes of one width and within a dtype in a fixed order, by name last.
func storageOrder(tensors []Tensor) []Tensor {
	rank := func(d tensor.DType) int {
		return slices.Index([]string{"F32", "I32", "BF16", "F16", "U8"}, dtypeName(d))
	}
	out := slices.Clone(tensors)
	slices.SortFunc(out, func(a, b Tensor) int {
		return cmp.Or(cmp.Compare(rank(a.DType), rank(b.DType)), strings.Compare(a.Name, b.Name))
	})
	return out
}

// encodeHeader is the length and the JSON header for tensors in this order, padded with spaces so that data starts at a
// multiple of 8 bytes.
func encodeHeader(tensors []Tensor, metadata map[string]string) ([]byte, error) {
	var b bytes.Buffer
	b.Write(make([]byte, 8))
	b.WriteByte('{')
	comma := ""
	if len(metadata) > 0 {
		fmt.Fprintf(&b, `"%s":{`, metadataKey)
		for i, k := range slices.Sorted(maps.Keys(metadata)) {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, "%s:%s", quoteJSON(k), quoteJSON(metadata[k]))
		}
		b.WriteByte('}')
		comma = ","
	}
	at := int64(0)
	for i := range tensors {
		t := &tensors[i]
		n, _ := t.Bytes()
		if at > math.MaxInt64-n {
			return nil, fmt.Errorf("the tensors together take more than 2⁶³ bytes")
		}
		dims := make([]string, len(t.Shape))
		for j, d := range t.Shape {
			dims[j] = strconv.Itoa(d)
		}
		fmt.Fprintf(&b, `%s%s:{"dtype":"%s","shape":[%s],"data_offsets":[%d,%d]}`, comma, quoteJSON(t.Name), dtypeName(t.DType),
			strings.Join(dims, ","), at, at+n)
		at += n
		comma = ","
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	if b.Len()-8 > maxHeader {
		return nil, fmt.Errorf("the header of %d tensors takes %d bytes, above the format's limit of %d", len(tensors), b.Len()-8, maxHeader)
	}
	out := b.Bytes()
	binary.LittleEndian.PutUint64(out, uint64(len(out)-8))
	return out, nil
}

// quoteJSON is s as a JSON string, without the escapes for HTML.
func quoteJSON(s string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	// A string has no encoding error.
	_ = enc.Encode(s)
	return strings.TrimSuffix(b.String(), "\n")
}

// Encode writes a safetensors file of these tensors to w. The bytes depend on the tensors and the metadata alone, not on
// the order they come in.
func Encode(w io.Writer, tensors []Tensor, metadata map[string]string) error {
	if err := checkTensors(tensors).err("safetensors", ErrFormat); err != nil {
		return err
	}
	ordered := storageOrder(tensors)
	head, err := encodeHeader(ordered, metadata)
	if err != nil {
		return err
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	for i := range ordered {
		if err := writeTensor(w, &ordered[i]); err != nil {
			return err
		}
	}
	return nil
}

func writeTensor(w io.Writer, t *Tensor) error {
	if t.Write == nil {
		_, err := w.Write(t.Data)
		return err
	}
	n, _ := t.Bytes()
	c := &exactWriter{w: w, left: n}
	if err := t.Write(c); err != nil {
		return fmt.Errorf("tensor %q: %w", t.Name, err)
	}
	if c.left != 0 {
		return fmt.Errorf("tensor %q: %s%v needs %d bytes, %d were written", t.Name, t.DType, t.Shape, n, n-c.left)
	}
	return nil
}

// exactWriter refuses more than left bytes: they would shift every tensor that follows.
type exactWriter struct {
	w    io.Writer
	left int64
}

func (e *exactWriter) Write(p []byte) (int, error) {
	if int64(len(p)) > e.left {
		return 0, fmt.Errorf("%d bytes more than its shape has", int64(len(p))-e.left)
	}
	n, err := e.w.Write(p)
	e.left -= int64(n)
	return n, err
}

// WriteFile writes one safetensors file atomically (see WriteAtomic). Hugging Face's programs want the metadata
// {"format": "pt"}.
func WriteFile(path string, tensors []Tensor, metadata map[string]string) error {
	return WriteAtomic(path, func(w io.Writer) error { return Encode(w, tensors, metadata) })
}

// weightFile is one file of a model: its name and its tensors.
type weightFile struct {
	name    string
	tensors []Tensor
}

// shard distributes tensors over files of at most maxBytes, in their order; a tensor larger than that has a file of its
// own. One file is called model.safetensors, several model-00001-of-00002.safetensors and so on.
func shard(tensors []Tensor, maxBytes int64) []weightFile {
	var groups [][]Tensor
	used := int64(0)
	for _, t := range tensors {
		n, _ := t.Bytes()
		if len(groups) == 0 || (used > 0 && used+n > maxBytes) {
			groups = append(groups, nil)
			used = 0
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], t)
		used += n
	}
	if len(groups) <= 1 {
		return []weightFile{{SingleFile, tensors}}
	}
	files := make([]weightFile, len(groups))
	for i, g := range groups {
		files[i] = weightFile{fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(groups)), g}
	}
	return files
}

// encodeIndex is model.safetensors.index.json for several files, with sorted keys as Hugging Face writes it.
func encodeIndex(files []weightFile) ([]byte, error) {
	var index struct {
		Metadata struct {
			TotalSize int64 `json:"total_size"`
		} `json:"metadata"`
		WeightMap map[string]string `json:"weight_map"`
	}
	index.WeightMap = map[string]string{}
	for _, f := range files {
		for i := range f.tensors {
			n, _ := f.tensors[i].Bytes()
			index.Metadata.TotalSize += n
			index.WeightMap[f.tensors[i].Name] = f.name
		}
	}
	return encodeJSON(index)
}

// encodeJSON is v as Hugging Face's programs write JSON files: two spaces of indent, a newline at the end.
func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// writeWeights writes a model's weight files into dir, a directory that nobody reads yet, and returns their names with the
// index, if there is one, last.
func writeWeights(dir string, tensors []Tensor, maxShardBytes int64) ([]string, error) {
	if maxShardBytes <= 0 {
		maxShardBytes = DefaultMaxShardBytes
	}
	if err := checkTensors(tensors).err("model weights", ErrFormat); err != nil {
		return nil, err
	}
	var names []string
	files := shard(tensors, maxShardBytes)
	for _, f := range files {
		encode := func(w io.Writer) error { return Encode(w, f.tensors, map[string]string{"format": "pt"}) }
		if err := writeSynced(filepath.Join(dir, f.name), 0o666, encode); err != nil {
			return nil, fmt.Errorf("write %s: %w", f.name, err)
		}
		names = append(names, f.name)
	}
	if len(files) == 1 {
		return names, nil
	}
	index, err := encodeIndex(files)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", IndexFile, err)
	}
	if err := writeSynced(filepath.Join(dir, IndexFile), 0o666, writeAll(index)); err != nil {
		return nil, fmt.Errorf("write %s: %w", IndexFile, err)
	}
	return append(names, IndexFile), nil
}

// writeAll is the write function of a file whose bytes are at hand.
func writeAll(data []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}
}
