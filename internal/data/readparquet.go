package data

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// readParquet emits the rows of a Parquet file. Nested values become JSON: lists and structs as such.
func readParquet(path string, emit func(rawRow) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	file, err := openParquet(f, info.Size())
	if err != nil {
		return err
	}
	row := 0
	for _, group := range file.RowGroups() {
		rows := group.Rows()
		buf := make([]parquet.Row, 64)
		for {
			n, err := readParquetRows(rows, buf)
			if err != nil && err != io.EOF {
				rows.Close()
				return fmt.Errorf("after row %d: %w", row, err)
			}
			for _, values := range buf[:n] {
				row++
				raw := rawRow{row: row}
				raw.obj, raw.err = assemble(file.Root(), values)
				if err := emit(raw); err != nil {
					rows.Close()
					return err
				}
			}
			if err == io.EOF || n == 0 {
				break
			}
		}
		if err := rows.Close(); err != nil {
			return err
		}
	}
	return nil
}

// openParquet and readParquetRows turn a panic of the library about a damaged file into an error.
func openParquet(r io.ReaderAt, size int64) (file *parquet.File, err error) {
	defer guard(&err)
	var footer [8]byte // length of the metadata, which the library would allocate unseen, and the magic
	if _, err := r.ReadAt(footer[:], size-int64(len(footer))); size < 12 || err != nil || string(footer[4:]) != "PAR1" {
		return nil, errors.New("not a Parquet file: it does not end with PAR1; is it cut off?")
	}
	if n := int64(binary.LittleEndian.Uint32(footer[:])); n > size-12 {
		return nil, fmt.Errorf("damaged Parquet file: metadata of %d bytes in a file of %d", n, size)
	}
	return parquet.OpenFile(r, size, parquet.SkipBloomFilters(true), parquet.SkipPageIndex(true))
}

func readParquetRows(rows parquet.Rows, buf []parquet.Row) (n int, err error) {
	defer guard(&err)
	return rows.ReadRows(buf)
}

func guard(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("damaged Parquet file: %v", p)
	}
}

// assembler rebuilds a record from its columns' values by their repetition and definition levels (Dremel, Melnik et al.
// 2010).
type assembler struct {
	columns [][]parquet.Value // what is left of each leaf column
	out     []byte
}

func assemble(root *parquet.Column, row parquet.Row) (obj map[string]json.RawMessage, err error) {
	defer guard(&err)
	a := assembler{}
	row.Range(func(column int, values []parquet.Value) bool {
		for len(a.columns) <= column {
			a.columns = append(a.columns, nil)
		}
		a.columns[column] = values
		return true
	})
	obj = map[string]json.RawMessage{}
	for _, c := range root.Columns() {
		a.out = nil
		if err := a.node(c, 0, 0); err != nil {
			return nil, fmt.Errorf("column %q: %w", c.Name(), err)
		}
		obj[c.Name()] = a.out
	}
	return obj, nil
}

var errParquetLevels = errors.New("damaged Parquet file: a column ends early")

// next looks at the next value of the first leaf under c.
func (a *assembler) next(c *parquet.Column) (v parquet.Value, ok bool) {
	for !c.Leaf() {
		if len(c.Columns()) == 0 {
			return v, false
		}
		c = c.Columns()[0]
	}
	if i := c.Index(); i < len(a.columns) && len(a.columns[i]) > 0 {
		return a.columns[i][0], true
	}
	return v, false
}

// skip drops one value of each leaf under c: the place-holder of something absent.
func (a *assembler) skip(c *parquet.Column) {
	if c.Leaf() {
		if i := c.Index(); i < len(a.columns) && len(a.columns[i]) > 0 {
			a.columns[i] = a.columns[i][1:]
		}
		return
	}
	for _, child := range c.Columns() {
		a.skip(child)
	}
}

func (a *assembler) node(c *parquet.Column, rep, def int) error {
	if c.Required() {
		return a.content(c, rep, def)
	}
	v, ok := a.next(c)
	if !ok {
		return errParquetLevels
	}
	present := v.DefinitionLevel() > def
	if c.Optional() {
		if !present {
			a.skip(c)
			a.out = append(a.out, "null"...)
			return nil
		}
		return a.content(c, rep, def+1)
	}
	return a.repeated(c, present, rep, def, func() error { return a.content(c, rep+1, def+1) })
}

func (a *assembler) repeated(c *parquet.Column, present bool, rep, def int, element func() error) error {
	a.out = append(a.out, '[')
	if !present {
		a.skip(c)
	}
	for first := true; present; first = false {
		if !first {
			a.out = append(a.out, ',')
		}
		if err := element(); err != nil {
			return err
		}
		v, ok := a.next(c)
		present = ok && v.RepetitionLevel() == rep+1
	}
	a.out = append(a.out, ']')
	return nil
}

func (a *assembler) content(c *parquet.Column, rep, def int) error {
	if c.Leaf() {
		v, ok := a.next(c)
		if !ok {
			return errParquetLevels
		}
		a.skip(c)
		return a.scalar(v)
	}
	children := c.Columns()
	if len(children) == 1 && children[0].Repeated() && isList(c) {
		list := children[0]
		v, ok := a.next(list)
		if !ok {
			return errParquetLevels
		}
		return a.repeated(list, v.DefinitionLevel() > def, rep, def, func() error {
			if inner := list.Columns(); !list.Leaf() && len(inner) == 1 {
				return a.node(inner[0], rep+1, def+1) // the three-level form: list.element
			}
			return a.content(list, rep+1, def+1)
		})
	}
	a.out = append(a.out, '{')
	for i, child := range children {
		if i > 0 {
			a.out = append(a.out, ',')
		}
		name, err := json.Marshal(child.Name())
		if err != nil {
			return err
		}
		a.out = append(a.out, name...)
		a.out = append(a.out, ':')
		if err := a.node(child, rep, def); err != nil {
			return err
		}
	}
	a.out = append(a.out, '}')
	return nil
}

func isList(c *parquet.Column) bool {
	t := c.Type().LogicalType()
	if t == nil {
		return false
	}
	_, list := t.Value.(*format.ListType)
	return list
}

func (a *assembler) scalar(v parquet.Value) error {
	switch v.Kind() {
	case parquet.Boolean:
		a.out = strconv.AppendBool(a.out, v.Boolean())
	case parquet.Int32:
		a.out = strconv.AppendInt(a.out, int64(v.Int32()), 10)
	case parquet.Int64:
		a.out = strconv.AppendInt(a.out, v.Int64(), 10)
	case parquet.Float, parquet.Double:
		x := v.Double()
		if v.Kind() == parquet.Float {
			x = float64(v.Float())
		}
		if math.IsNaN(x) || math.IsInf(x, 0) {
			a.out = append(a.out, "null"...)
			return nil
		}
		a.out = strconv.AppendFloat(a.out, x, 'g', -1, 64)
	case parquet.ByteArray, parquet.FixedLenByteArray:
		if !utf8.Valid(v.ByteArray()) {
			return errors.New("is not valid UTF-8")
		}
		text, err := cellValue(string(v.ByteArray()))
		if err != nil {
			return err
		}
		a.out = append(a.out, text...)
	default:
		if v.IsNull() {
			a.out = append(a.out, "null"...)
			return nil
		}
		return fmt.Errorf("values of kind %s can't be read", v.Kind())
	}
	return nil
}
