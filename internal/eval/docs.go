package eval

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/mltrain/mltrain/internal/data"
	"github.com/mltrain/mltrain/internal/template"
)

// doc is a row of a task's data.
type doc struct {
	*template.Dict
	ref  data.Ref
	json string // json.dumps(doc, indent=2, ensure_ascii=False): two rows are equal if these are
}

func newDoc(ref data.Ref, fields []data.Field) (doc, error) {
	d := template.NewDict()
	for _, f := range fields {
		v, err := template.FromJSON(f.Value)
		if err != nil {
			return doc{}, fmt.Errorf("%q: %w", f.Key, err)
		}
		d.Set(f.Key, v)
	}
	return doc{Dict: d, ref: ref}, nil
}

// finish computes what is derived of a row whose values are final.
func (d *doc) finish() error {
	var err error
	d.json, err = template.JSON(d.Dict, 2)
	return err
}

// readOptions say how data files are read.
type readOptions struct {
	lines bool     // each line of a text file is a row, as Hugging Face's loader for text has it
	names []string // of the columns of CSV files that have no line with them
}

// readDocs reads the rows of data files.
func readDocs(paths []string, o readOptions) ([]doc, error) {
	var out []doc
	for _, path := range paths {
		first := len(out)
		each := data.EachObject
		if len(o.names) > 0 && isCSV(path) {
			each = func(path string, fn func(data.Ref, []data.Field) error) error {
				return eachHeaderless(path, o.names, fn)
			}
		}
		err := each(path, func(ref data.Ref, fields []data.Field) error {
			d, err := newDoc(ref, fields)
			if err != nil {
				return err
			}
			if o.lines {
				return eachLine(d, func(d doc) { out = append(out, d) })
			}
			out = append(out, d)
			return nil
		})
		if err != nil {
			return nil, err
		}
		if isCSV(path) {
			inferTypes(out[first:])
		}
	}
	for i := range out {
		if err := out[i].finish(); err != nil {
			return nil, fmt.Errorf("%s: %w", out[i].ref, err)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: %w: no rows", strings.Join(paths, ", "), data.ErrNoData)
	}
	return out, nil
}

// eachHeaderless reads the rows of a CSV file whose columns are named elsewhere.
func eachHeaderless(path string, names []string, fn func(data.Ref, []data.Field) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r := csv.NewReader(f)
	if strings.HasSuffix(strings.ToLower(path), ".tsv") {
		r.Comma = '\t'
	}
	r.FieldsPerRecord = len(names)
	for row := 1; ; row++ {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w (column_names names %d columns)", path, err, len(names))
		}
		fields := make([]data.Field, len(names))
		for i, cell := range record {
			if fields[i].Value, err = json.Marshal(cell); err != nil {
				return err
			}
			fields[i].Key = names[i]
		}
		line, _ := r.FieldPos(0)
		if err := fn(data.Ref{File: path, Line: line, Row: row}, fields); err != nil {
			return err
		}
	}
}

func eachLine(d doc, emit func(doc)) error {
	v, _ := d.Get("text")
	text, ok := v.(string)
	if !ok {
		return fmt.Errorf("dataset_path is text, but the file is none")
	}
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		row := template.NewDict()
		row.Set("text", line)
		emit(doc{Dict: row, ref: data.Ref{File: d.ref.File, Line: i + 1, Row: i + 1}})
	}
	return nil
}

func isCSV(path string) bool {
	for _, ext := range []string{".gz", ".zst", ".zstd", ".bz2"} {
		path = strings.TrimSuffix(path, ext)
	}
	ext := strings.ToLower(filepath.Ext(path))
	return ext == ".csv" || ext == ".tsv"
}

// inferTypes turns the texts of a CSV file into what pandas, and so Hugging Face's loader, makes of them, column by column:
// whole numbers, numbers, truth values; an empty cell or one like NA is None.
func inferTypes(rows []doc) {
	if len(rows) == 0 {
		return
	}
	for _, key := range rows[0].Keys() {
		name, _ := key.(string)
		kind, blanks := columnType(rows, name)
		for _, d := range rows {
			v, ok := d.Get(name)
			text, isText := v.(string)
			switch {
			case !ok || !isText:
			case isNA(text):
				d.Set(name, nil)
			default:
				d.Set(name, cell(text, kind, blanks))
			}
		}
	}
}

func isNA(s string) bool {
	return slices.Contains([]string{"", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL",
		"NaN", "None", "n/a", "nan", "null"}, s)
}

// columnType finds the narrowest type that all cells of a column have: int, float, bool or str.
func columnType(rows []doc, name string) (kind string, blanks bool) {
	fits := map[string]bool{"int": true, "float": true, "bool": true}
	seen := false
	for _, d := range rows {
		v, _ := d.Get(name)
		text, ok := v.(string)
		if !ok {
			return "str", false
		}
		if isNA(text) {
			blanks = true
			continue
		}
		seen = true
		text = strings.TrimSpace(text)
		if _, err := strconv.ParseInt(text, 10, 64); err != nil {
			fits["int"] = false
		}
		if _, err := strconv.ParseFloat(text, 64); err != nil || strings.ContainsAny(text, "_xXpP") {
			fits["float"] = false
		}
		if !slices.Contains([]string{"True", "False", "TRUE", "FALSE", "true", "false"}, text) {
			fits["bool"] = false
		}
	}
	for _, kind := range []string{"int", "float", "bool"} {
		if seen && fits[kind] {
			return kind, blanks
		}
	}
	return "str", blanks
}

func cell(text, kind string, blanks bool) template.Value {
	trimmed := strings.TrimSpace(text)
	switch kind {
	case "int":
		i, err := strconv.ParseInt(trimmed, 10, 64)
		if err == nil && !blanks {
			return i
		}
		return float64(i) // a column of integers with gaps is one of floats
	case "float":
		f, _ := strconv.ParseFloat(trimmed, 64)
		return f
	case "bool":
		return strings.EqualFold(trimmed, "true")
	}
	return text
}

// features are the columns of the rows, in the order in which they first occur.
func features(docs []doc) []string {
	var out []string
	seen := map[string]bool{}
	for _, d := range docs {
		for _, k := range d.Keys() {
			if name, ok := k.(string); ok && !seen[name] {
				seen[name] = true
				out = append(out, name)
			}
		}
	}
	return out
}
