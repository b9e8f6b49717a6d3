package data

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// A token cache file is: tokens (uint32 LE), index (uint32 LE: lengths, lines, rows, margins), cacheMeta as JSON, then a trailer:
// length of the JSON (uint64), CRC-32C of tokens, index and JSON (uint32 each), magic.
const (
	cacheMagic   = "mltrtok1"
	cacheVersion = 2 // raise whenever the same options give other tokens
	trailerLen   = 8 + 3*4 + len(cacheMagic)
)

// sound checks that files and bounds lie within the rows, in order.
func (m *cacheMeta) sound() bool {
	within := func(list []int) bool {
		return len(list) > 0 && list[0] == 0 && slices.IsSorted(list) && list[len(list)-1] <= m.Rows
	}
	return m.Ledger != nil && len(m.First) == len(m.Files) && within(m.First) && within(m.Bounds) && m.Bounds[len(m.Bounds)-1] == m.Rows
}

// fullHashBytes is up to which size a data file's whole content is hashed; of larger ones size, time of change and the two
// ends are.
const fullHashBytes = 64 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type cacheMeta struct {
	Key     string   `json:"key"`
	Arity   int      `json:"arity"`
	Rows    int      `json:"rows"`
	Margins int      `json:"margins,omitempty"` // rows that a margin is stored of, from the first on
	Tokens  int64    `json:"tokens"`
	Files   []string `json:"files"`
	First   []int    `json:"first"`
	Bounds  []int    `json:"bounds"`
	Ledger  *Ledger  `json:"ledger"`
}

// cacheKey hashes all that the tokens depend on. Mixing, shuffling and batching come later and are not part of it.
func cacheKey(sources []Source, paths []string, owner []int, opt Options, tok Tokenizer) (string, error) {
	h := sha256.New()
	template := ""
	if opt.Template != nil {
		template = opt.Template.Fingerprint()
	}
	completionOnly := opt.completionOnly()
	fmt.Fprintf(h, "%d %q %q %d %t %d %d %t %t %q %d %t %t %t %d\n", cacheVersion, tok.Fingerprint(), template, opt.Objective, opt.Reward, opt.MaxLength,
		opt.Vocab, opt.AssistantOnlyLoss, completionOnly, opt.TruncationMode, opt.Overflow, opt.NoEOS, opt.SkipBadRows, opt.DropDuplicates, opt.Limit)
	for i, p := range paths {
		s := sources[owner[i]]
		columns, err := json.Marshal(s.Columns)
		if err != nil {
			return "", err
		}
		abs, err := filepath.Abs(p)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%d %q %q %s\n", owner[i], abs, s.Layout, columns)
		if _, slice, err := ParseSplit(s.Split); err != nil {
			return "", err
		} else if !slice.whole() {
			fmt.Fprintf(h, "%+v\n", slice)
		}
		if err := hashFile(h, p); err != nil {
			return "", fmt.Errorf("data: %w", err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

func hashFile(h hash.Hash, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() <= fullHashBytes {
		_, err = io.Copy(h, f)
		return err
	}
	fmt.Fprintf(h, "%d %d\n", info.Size(), info.ModTime().UnixNano())
	const end = 1 << 20
	for _, off := range []int64{0, info.Size() - end} {
		if _, err := io.Copy(h, io.NewSectionReader(f, off, end)); err != nil {
			return err
		}
	}
	return nil
}

// cacheWriter writes a cache file under a temporary name until commit.
type cacheWriter struct {
	path string
	f    *os.File
	w    *bufio.Writer
	crc  uint32
	buf  []byte
}

func newCacheWriter(path string) (*cacheWriter, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("token cache: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".tmp*")
	if err != nil {
		return nil, fmt.Errorf("token cache: %w", err)
	}
	return &cacheWriter{path: path, f: f, w: bufio.NewWriterSize(f, 1<<20), buf: make([]byte, 0, 1<<16)}, nil
}

func (c *cacheWriter) token(t uint32) error {
	c.buf = binary.LittleEndian.AppendUint32(c.buf, t)
	if len(c.buf) == cap(c.buf) {
		return c.flush()
	}
	return nil
}

// flush writes what is buffered and takes it into the running checksum.
func (c *cacheWriter) flush() error {
	c.crc = crc32.Update(c.crc, castagnoli, c.buf)
	_, err := c.w.Write(c.buf)
	c.buf = c.buf[:0]
	return c.fault(err)
}

func (c *cacheWriter) fault(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("token cache %s: %w; free some space, or set another cache directory (MLTRAIN_CACHE)", c.f.Name(), err)
}

// abandon removes an unfinished file.
func (c *cacheWriter) abandon() {
	c.f.Close()
	os.Remove(c.f.Name())
}

// commit writes index, meta and trailer, and gives the file its name. The open file stays with the caller.
func (c *cacheWriter) commit(s *store, meta cacheMeta) (*os.File, error) {
	if err := c.flush(); err != nil {
		return nil, err
	}
	tokens := c.crc
	c.crc = 0
	for _, list := range [][]uint32{s.lens, s.line, s.row, s.margins} {
		for _, v := range list {
			if err := c.token(v); err != nil {
				return nil, err
			}
		}
	}
	if err := c.flush(); err != nil {
		return nil, err
	}
	text, err := json.Marshal(meta)
	if err != nil {
		return nil, err
	}
	trailer := binary.LittleEndian.AppendUint64(nil, uint64(len(text)))
	for _, crc := range []uint32{tokens, c.crc, crc32.Checksum(text, castagnoli)} {
		trailer = binary.LittleEndian.AppendUint32(trailer, crc)
	}
	trailer = append(trailer, cacheMagic...)
	if _, err := c.w.Write(append(text, trailer...)); err != nil {
		return nil, c.fault(err)
	}
	if err := c.w.Flush(); err != nil {
		return nil, c.fault(err)
	}
	if err := c.f.Sync(); err != nil {
		return nil, c.fault(err)
	}
	if err := os.Rename(c.f.Name(), c.path); err != nil {
		return nil, fmt.Errorf("token cache: %w", err)
	}
	return c.f, nil
}

// errStale says that a cache file can't be used and why; the rows are tokenised again.
var errStale = errors.New("token cache is damaged")

// loadCache opens and checks a cache file. A missing file gives fs.ErrNotExist, a damaged one errStale.
func loadCache(path, key string) (*store, *cacheMeta, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	s, meta, err := readCache(f, key)
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	if s.file == nil {
		f.Close()
	}
	return s, meta, nil
}

func readCache(f *os.File, key string) (*store, *cacheMeta, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	stale := func(why string) error { return fmt.Errorf("%w: %s: %s", errStale, f.Name(), why) }
	size := info.Size()
	trailer := make([]byte, trailerLen)
	if size < int64(trailerLen) {
		return nil, nil, stale("too short")
	}
	if _, err := f.ReadAt(trailer, size-int64(trailerLen)); err != nil {
		return nil, nil, err
	}
	if string(trailer[20:]) != cacheMagic {
		return nil, nil, stale("no trailer")
	}
	n := binary.LittleEndian.Uint64(trailer)
	if n > uint64(size)-uint64(trailerLen) || n > 1<<30 {
		return nil, nil, stale("impossible length")
	}
	crc := func(i int) uint32 { return binary.LittleEndian.Uint32(trailer[8+4*i:]) }
	text := make([]byte, n)
	metaAt := size - int64(trailerLen) - int64(n)
	if _, err := f.ReadAt(text, metaAt); err != nil {
		return nil, nil, err
	}
	var meta cacheMeta
	if crc32.Checksum(text, castagnoli) != crc(2) || json.Unmarshal(text, &meta) != nil {
		return nil, nil, stale("meta checksum")
	}
	if meta.Key != key || meta.Arity < 1 || meta.Arity > 3 || meta.Rows < 0 || int64(meta.Rows) > size || meta.Margins < 0 || meta.Margins > meta.Rows || meta.Tokens < 0 || meta.Tokens > size ||
		!meta.sound() {
		return nil, nil, stale("key or meta")
	}
	docs := int64(meta.Rows) * int64(meta.Arity)
	words := docs + 2*int64(meta.Rows) + int64(meta.Margins)
	if 4*(meta.Tokens+words) != metaAt {
		return nil, nil, stale("sizes don't fit")
	}
	s := &store{arity: meta.Arity, files: meta.Files, first: meta.First, tokens: meta.Tokens}
	hold := meta.Tokens <= memoryTokens
	if hold {
		s.mem = make([]uint32, 0, meta.Tokens)
	} else {
		s.file = f
	}
	if sum, err := scanWords(f, 0, meta.Tokens, func(v uint32) {
		if hold {
			s.mem = append(s.mem, v)
		}
	}); err != nil || sum != crc(0) {
		return nil, nil, errors.Join(err, stale("token checksum"))
	}
	index := make([]uint32, 0, words)
	if sum, err := scanWords(f, 4*meta.Tokens, int64(cap(index)), func(v uint32) { index = append(index, v) }); err != nil || sum != crc(1) {
		return nil, nil, errors.Join(err, stale("index checksum"))
	}
	s.lens, index = index[:docs], index[docs:]
	s.line, s.row, s.margins = index[:meta.Rows], index[meta.Rows:2*meta.Rows], index[2*meta.Rows:]
	var off int64
	for i, l := range s.lens {
		if i%offsetEvery == 0 {
			s.offsets = append(s.offsets, off)
		}
		off += int64(l)
	}
	if off != meta.Tokens {
		return nil, nil, stale("lengths don't fit")
	}
	return s, &meta, nil
}

// scanWords reads n little-endian words from offset on and gives their CRC-32C.
func scanWords(f *os.File, offset, n int64, each func(uint32)) (uint32, error) {
	r := io.NewSectionReader(f, offset, 4*n)
	buf := make([]byte, 1<<18)
	var crc uint32
	for {
		k, err := io.ReadFull(r, buf)
		crc = crc32.Update(crc, castagnoli, buf[:k])
		for b := bytes.NewBuffer(buf[:k/4*4]); b.Len() > 0; {
			each(binary.LittleEndian.Uint32(b.Next(4)))
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return crc, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
