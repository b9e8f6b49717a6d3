package inspect

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"

	"github.com/mltrain/mltrain/internal/data"
)

// marshal is json.Marshal without HTML escapes.
func marshal(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimRight(b.Bytes(), "\n"), err
}

// maxFaults is how many rows that can't be converted are reported at once.
const maxFaults = 10

// Convert writes all rows of the sources in layout to (auto keeps each row's shape) into a file whose name says the format:
// .jsonl, .json, .csv, .tsv or .parquet, each but Parquet also with .gz or .zst. In CSV and Parquet, lists are written as
// JSON text. t renders chats that become text; it may be nil otherwise. The file appears only when all rows are in it. It
// gives the number of rows written.
func Convert(sources []data.Source, to data.Layout, t data.Template, path string) (rows int, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".tmp*")
	if err != nil {
		return 0, fmt.Errorf("convert: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	w, err := newRowWriter(f, path)
	if err != nil {
		return 0, err
	}
	var faults []string
	err = data.ReadRows(sources, func(r data.Row, fault error) error {
		split := []data.Row{r}
		if to == data.LayoutKTO {
			split = unpaired(r)
		}
		for _, r := range split {
			var o object
			if fault == nil {
				o, fault = recast(r, layoutOf(r, to), t)
			}
			if fault != nil {
				faults = append(faults, fmt.Sprintf("%s: %v", r.Ref, fault))
				if len(faults) == maxFaults {
					return errEnough
				}
				return nil
			}
			rows++
			if err := w.write(o); err != nil {
				return fmt.Errorf("convert: %s: %w", path, err)
			}
		}
		return nil
	})
	if len(faults) > 0 {
		return 0, fmt.Errorf("%w: rows that can't be converted to %s:\n  %s", data.ErrRows, to, strings.Join(faults, "\n  "))
	}
	if err != nil {
		return 0, err
	}
	if err := errors.Join(w.close(), f.Sync(), f.Chmod(0o644), f.Close()); err != nil {
		return 0, fmt.Errorf("convert: %s: %w", path, err)
	}
	return rows, os.Rename(f.Name(), path)
}

func layoutOf(r data.Row, to data.Layout) data.Layout {
	if to == data.LayoutAuto || to == "" {
		return r.Layout
	}
	return to
}

// rowWriter writes rows in one format.
type rowWriter interface {
	write(object) error
	close() error
}

func newRowWriter(f *os.File, path string) (rowWriter, error) {
	var w io.Writer = bufio.NewWriterSize(f, 1<<20)
	closers := []func() error{w.(*bufio.Writer).Flush}
	name := strings.ToLower(path)
	switch ext := filepath.Ext(name); ext {
	case ".gz":
		z := gzip.NewWriter(w)
		w, closers, name = z, append([]func() error{z.Close}, closers...), strings.TrimSuffix(name, ext)
	case ".zst", ".zstd":
		z, err := zstd.NewWriter(w)
		if err != nil {
			return nil, err
		}
		w, closers, name = z, append([]func() error{z.Close}, closers...), strings.TrimSuffix(name, ext)
	}
	finish := func() error {
		var errs []error
		for _, c := range closers {
			errs = append(errs, c())
		}
		return errors.Join(errs...)
	}
	switch filepath.Ext(name) {
	case ".jsonl", ".ndjson":
		return &jsonWriter{w: w, finish: finish}, nil
	case ".json":
		return &jsonWriter{w: w, array: true, finish: finish}, nil
	case ".csv", ".tsv":
		c := csv.NewWriter(w)
		if strings.HasSuffix(name, ".tsv") {
			c.Comma = '\t'
		}
		return &csvWriter{w: c, finish: finish}, nil
	case ".parquet":
		return &parquetWriter{w: w, finish: finish}, nil
	}
	return nil, fmt.Errorf("convert: %s: the name must end in .jsonl, .json, .csv, .tsv or .parquet (the first four also with .gz or .zst)", path)
}

type jsonWriter struct {
	w      io.Writer
	array  bool
	rows   int
	finish func() error
}

func (j *jsonWriter) write(o object) error {
	row, err := o.MarshalJSON()
	if err != nil {
		return err
	}
	before, after := "", "\n"
	if j.array {
		before, after = ",\n", ""
		if j.rows == 0 {
			before = "[\n"
		}
	}
	j.rows++
	_, err = fmt.Fprintf(j.w, "%s%s%s", before, row, after)
	return err
}

func (j *jsonWriter) close() error {
	if j.array {
		end := "\n]\n"
		if j.rows == 0 {
			end = "[]\n"
		}
		if _, err := io.WriteString(j.w, end); err != nil {
			return err
		}
	}
	return j.finish()
}

// cells gives a row's values as text, in the order of columns. All rows must have the columns of the first.
func cells(o object, columns []string) ([]string, error) {
	if len(o) != len(columns) {
		return nil, fmt.Errorf("a row has %d columns, the first row %d (%s); CSV and Parquet need the same in all rows, use .jsonl",
			len(o), len(columns), strings.Join(columns, ", "))
	}
	out := make([]string, len(o))
	for i, f := range o {
		if f.Key != columns[i] {
			return nil, fmt.Errorf("a row has column %q where the first has %q; CSV and Parquet need the same in all rows, use .jsonl", f.Key, columns[i])
		}
		if json.Unmarshal(f.Value, &out[i]) != nil {
			out[i] = string(f.Value)
		}
	}
	return out, nil
}

func keys(o object) []string {
	out := make([]string, len(o))
	for i, f := range o {
		out[i] = f.Key
	}
	return out
}

type csvWriter struct {
	w       *csv.Writer
	columns []string
	finish  func() error
}

func (c *csvWriter) write(o object) error {
	if c.columns == nil {
		c.columns = keys(o)
		if err := c.w.Write(c.columns); err != nil {
			return err
		}
	}
	record, err := cells(o, c.columns)
	if err != nil {
		return err
	}
	return c.w.Write(record)
}

func (c *csvWriter) close() error {
	c.w.Flush()
	return errors.Join(c.w.Error(), c.finish())
}

// parquetWriter writes columns of text.
type parquetWriter struct {
	w       io.Writer
	rows    *parquet.GenericWriter[map[string]string]
	columns []string
	finish  func() error
}

func (p *parquetWriter) write(o object) error {
	if p.columns == nil {
		p.columns = keys(o)
		group := parquet.Group{}
		for _, c := range p.columns {
			group[c] = parquet.Compressed(parquet.String(), &parquet.Zstd)
		}
		p.rows = parquet.NewGenericWriter[map[string]string](p.w, parquet.NewSchema("rows", group))
	}
	record, err := cells(o, p.columns)
	if err != nil {
		return err
	}
	row := make(map[string]string, len(record))
	for i, c := range p.columns {
		row[c] = record[i]
	}
	_, err = p.rows.Write([]map[string]string{row})
	return err
}

func (p *parquetWriter) close() error {
	if p.rows == nil {
		return errors.New("there are no rows, and a Parquet file needs one to know its columns")
	}
	return errors.Join(p.rows.Close(), p.finish())
}
