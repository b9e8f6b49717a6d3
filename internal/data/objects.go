package data

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// EachObject calls fn with the rows of a data file in any of the known formats, in order, as they are: no layout is looked
// for in them. Keys are in the order of the file (Parquet: in alphabetical order); the cells of CSV files are strings. A text
// file is one row, {"text": …}. Errors, fn's too, name the row.
func EachObject(path string, fn func(Ref, []Field) error) error {
	var text bytes.Buffer
	return readFile(path, func(r rawRow) error {
		ref := Ref{File: path, Line: r.line, Row: r.row}
		fields, err := objectFields(r, &text)
		if err == nil && fields != nil {
			err = fn(ref, fields)
		}
		if errors.Is(err, errStop) {
			return err
		}
		if err != nil {
			return fmt.Errorf("%s: %w", ref, err)
		}
		return nil
	})
}

// ErrEnough, returned by the callback of EachObject, ends the reading without an error.
var ErrEnough = errStop

func objectFields(r rawRow, text *bytes.Buffer) ([]Field, error) {
	switch {
	case r.err != nil:
		return nil, r.err
	case r.obj != nil:
		keys := r.keys
		if keys == nil {
			keys = sortedKeys(r.obj)
		}
		fields := make([]Field, len(keys))
		for i, k := range keys {
			fields[i] = Field{k, r.obj[k]}
		}
		return fields, nil
	case r.json != nil:
		return orderedFields(r.json)
	}
	text.WriteString(r.doc)
	if !r.last {
		return nil, nil
	}
	raw, err := json.Marshal(text.String())
	return []Field{{"text", raw}}, err
}

// orderedFields reads the members of a JSON object in their order; of a key that occurs twice the last one counts.
func orderedFields(raw []byte) ([]Field, error) {
	if _, err := decodeObject(raw); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	fields := []Field{}
	at := map[string]int{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		name, _ := key.(string)
		if i, ok := at[name]; ok {
			fields[i].Value = value
			continue
		}
		at[name] = len(fields)
		fields = append(fields, Field{name, value})
	}
	return fields, nil
}
