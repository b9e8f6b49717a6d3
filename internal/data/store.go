package data

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"sort"
)

// offsetEvery is how many documents share one stored offset; the lengths give the others.
const offsetEvery = 64

// memoryTokens is how many tokens (4 bytes each) are held in memory when they are on disk as well.
const memoryTokens = 4 << 20

// store holds tokenised rows: arity documents a row (prompt, chosen and rejected are three), one after the other in one flat
// arena, in memory or in a file read by position. The index costs 12 bytes a row and a document.
type store struct {
	arity   int
	files   []string
	first   []int    // first row of each file
	lens    []uint32 // tokens of each document
	offsets []int64  // offset of every offsetEvery-th document, in tokens
	line    []uint32 // of each row
	row     []uint32
	margins []uint32 // float32 bits, by row up to the last that has one
	tokens  int64
	mem     []uint32
	file    *os.File // or the tokens are here, from base on
	base    int64
}

func (s *store) rows() int { return len(s.line) }

// begin starts a file's rows.
func (s *store) begin(file string) {
	s.files = append(s.files, file)
	s.first = append(s.first, s.rows())
}

// add appends a row's index; the tokens go elsewhere (builder).
func (s *store) add(line, row int, docs []sequence) {
	s.line, s.row = append(s.line, uint32(line)), append(s.row, uint32(row))
	for _, d := range docs {
		if len(s.lens)%offsetEvery == 0 {
			s.offsets = append(s.offsets, s.tokens)
		}
		s.lens = append(s.lens, uint32(len(d.ids)))
		s.tokens += int64(len(d.ids))
	}
}

// setMargin gives the row added last its margin.
func (s *store) setMargin(m float32) {
	if m == 0 {
		return
	}
	s.margins = append(s.margins, make([]uint32, s.rows()-len(s.margins))...)
	s.margins[s.rows()-1] = math.Float32bits(m)
}

func (s *store) margin(i int) float64 {
	if i >= len(s.margins) {
		return 0
	}
	return float64(math.Float32frombits(s.margins[i]))
}

func (s *store) ref(i int) Ref {
	f := sort.Search(len(s.first), func(k int) bool { return s.first[k] > i }) - 1
	return Ref{File: s.files[f], Line: int(s.line[i]), Row: int(s.row[i])}
}

// rowLen is the number of tokens of all documents of a row.
func (s *store) rowLen(i int) int {
	n := 0
	for _, l := range s.lens[i*s.arity : (i+1)*s.arity] {
		n += int(l)
	}
	return n
}

// read appends all tokens of row i to dst.
func (s *store) read(i int, dst []uint32) ([]uint32, error) {
	doc := i * s.arity
	off := s.offsets[doc/offsetEvery]
	for d := doc / offsetEvery * offsetEvery; d < doc; d++ {
		off += int64(s.lens[d])
	}
	n := s.rowLen(i)
	if s.file == nil {
		return append(dst, s.mem[off:off+int64(n)]...), nil
	}
	buf := make([]byte, 4*n)
	if _, err := s.file.ReadAt(buf, s.base+4*off); err != nil {
		return dst, fmt.Errorf("token cache %s: row %d: %w", s.file.Name(), i, err)
	}
	for k := range n {
		dst = append(dst, binary.LittleEndian.Uint32(buf[4*k:]))
	}
	return dst, nil
}

func (s *store) close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}
