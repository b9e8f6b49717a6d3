package data

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// maxRowBytes bounds one row: longer ones are surely a mistake in the file, not a row.
const maxRowBytes = 256 << 20

// rawRow is a row as the reader found it; exactly one of json, obj, doc and err is set.
type rawRow struct {
	line, row int
	json      []byte
	obj       map[string]json.RawMessage
	keys      []string // of obj in the order of the file, where that is known
	doc       string   // a text file's text, or a piece of it
	last      bool     // doc: no further piece follows
	err       error
}

func (r rawRow) size() int { return len(r.json) + len(r.doc) + 64 }

// errStop is returned by emit to end reading early.
var errStop = errors.New("stop reading")

// readFile emits the rows of one data file in order. What concerns a single row is in rawRow.err; a fault of the file as a
// whole is returned.
func readFile(path string, emit func(rawRow) error) (err error) {
	ext, compression := fileFormat(path)
	if ext == ".parquet" {
		if compression != "" {
			return fmt.Errorf("data file %s: Parquet is compressed inside; unpack the file", path)
		}
		err = readParquet(path, emit)
	} else {
		var r io.Reader
		var closeAll func() error
		if r, closeAll, err = openFile(path); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, closeAll()) }()
		br := bufio.NewReaderSize(r, 1<<16)
		if bom, _ := br.Peek(3); bytes.Equal(bom, []byte("\xEF\xBB\xBF")) {
			if _, err = br.Discard(3); err != nil {
				return err
			}
		}
		switch ext {
		case ".jsonl", ".ndjson":
			err = readLines(br, emit)
		case ".json":
			err = readJSON(br, emit)
		case ".csv":
			err = readCSV(br, ',', emit)
		case ".tsv":
			err = readCSV(br, '\t', emit)
		case ".txt":
			err = readText(br, emit)
		default:
			err = fmt.Errorf("unknown extension %q", ext)
		}
	}
	if err == nil || errors.Is(err, errStop) {
		return nil
	}
	return fmt.Errorf("data file %s: %w", path, err)
}

// readLines emits one row a line; blank lines are skipped.
func readLines(r *bufio.Reader, emit func(rawRow) error) error {
	var long []byte
	row := 0
	for line := 1; ; line++ {
		long = long[:0]
		var chunk []byte
		var err error
		for {
			chunk, err = r.ReadSlice('\n')
			if !errors.Is(err, bufio.ErrBufferFull) {
				break
			}
			if long = append(long, chunk...); len(long) > maxRowBytes {
				return fmt.Errorf("line %d is longer than %d MiB", line, maxRowBytes>>20)
			}
		}
		if err != nil && err != io.EOF {
			return fmt.Errorf("line %d: %w", line, err)
		}
		text := bytes.TrimSpace(chunk)
		if len(long) > 0 {
			long = append(long, chunk...)
			text = bytes.TrimSpace(long)
		}
		if len(text) > 0 {
			row++
			if err := emit(rawRow{line: line, row: row, json: bytes.Clone(text)}); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
	}
}

// readCSV emits the records after the header. Numbers and such stay text: the row's shape tells what they mean.
func readCSV(r io.Reader, comma rune, emit func(rawRow) error) error {
	c := csv.NewReader(r)
	c.Comma = comma
	c.LazyQuotes = comma == '\t'
	header, err := c.Read()
	if err == io.EOF {
		return nil
	}
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for i, h := range header {
		header[i] = strings.TrimSpace(h)
		if seen[header[i]] {
			return fmt.Errorf("the header names column %q twice", header[i])
		}
		seen[header[i]] = true
	}
	for row := 1; ; row++ {
		record, err := c.Read()
		if err == io.EOF {
			return nil
		}
		line := 0
		if len(record) > 0 {
			line, _ = c.FieldPos(0)
		}
		raw := rawRow{line: line, row: row}
		var parseErr *csv.ParseError
		switch {
		case errors.Is(err, csv.ErrFieldCount):
			raw.err = fmt.Errorf("has %d fields, the header %d", len(record), len(header))
		case errors.As(err, &parseErr):
			return fmt.Errorf("line %d: %w", parseErr.StartLine, parseErr.Err) // quoting is lost from here on
		case err != nil:
			return err
		default:
			raw.obj, raw.keys = make(map[string]json.RawMessage, len(record)), header
			for i, v := range record {
				if !utf8.ValidString(v) {
					raw.err, raw.obj = fmt.Errorf("column %q is not valid UTF-8", header[i]), nil
					break
				}
				if raw.obj[header[i]], err = cellValue(v); err != nil {
					return err
				}
			}
		}
		if err := emit(raw); err != nil {
			return err
		}
	}
}

// cellValue is the text of a CSV or Parquet cell as JSON: messages that are written as JSON text become messages, whatever
// their column is called; all else is a string.
func cellValue(text string) (json.RawMessage, error) {
	if strings.HasPrefix(text, "[{") || strings.HasPrefix(text, "{") {
		raw := json.RawMessage(text)
		if _, err := parseMessages(raw); err == nil {
			return raw, nil
		}
		if _, err := parseMessage(raw); err == nil {
			return raw, nil
		}
	}
	return json.Marshal(text)
}

// documentPiece is how much of a text file is tokenised at once. Longer files are cut after a line break, where no
// tokenizer in use joins what is before and after, unless blank lines meet there.
const documentPiece = 32 << 20

// readText emits the file as one document, in pieces.
func readText(r io.Reader, emit func(rawRow) error) error {
	buf := make([]byte, 0, 1<<20)
	row, line := 1, 1
	for {
		want := documentPiece - len(buf)
		n, err := io.Copy((*sliceWriter)(&buf), io.LimitReader(r, int64(want)))
		if err != nil {
			return err
		}
		end := n < int64(want)
		cut := len(buf)
		if !end {
			cut = lineCut(buf)
		}
		piece := buf[:cut]
		if !utf8.Valid(piece) {
			return errors.New("is not valid UTF-8; convert it first (iconv -f … -t UTF-8)")
		}
		if err := emit(rawRow{line: line, row: row, doc: string(piece), last: end}); err != nil || end {
			return err
		}
		line += bytes.Count(piece, []byte{'\n'})
		buf = append(buf[:0], buf[cut:]...)
		row++
	}
}

type sliceWriter []byte

func (w *sliceWriter) Write(p []byte) (int, error) { *w = append(*w, p...); return len(p), nil }

// lineCut finds the last place after a line break that no blank follows, else the last boundary of a character.
func lineCut(b []byte) int {
	for i := len(b) - 2; i > 0; i-- {
		if b[i] == '\n' && b[i-1] > ' ' && b[i+1] > ' ' {
			return i + 1
		}
	}
	for i := len(b); i > max(0, len(b)-utf8.UTFMax); i-- {
		if r, n := utf8.DecodeLastRune(b[:i]); r != utf8.RuneError || n > 1 {
			return i
		}
	}
	return len(b)
}

// decodeObject reads a JSON row.
func decodeObject(raw []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(raw) {
		return nil, fmt.Errorf("%w: is not valid UTF-8", ErrMalformed)
	}
	var obj map[string]json.RawMessage
	err := json.Unmarshal(raw, &obj)
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return nil, fmt.Errorf("%w: malformed JSON at column %d: %w", ErrMalformed, syntax.Offset, err)
	case err != nil || obj == nil:
		return nil, fmt.Errorf("%w: a row must be a JSON object, found %s", ErrMalformed, kindOf(raw))
	}
	return obj, nil
}
