package judge

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/mltrain/mltrain/internal/data"
)

// ErrRows is wrapped when a file's rows cannot be judged.
var ErrRows = errors.New("rows to judge")

// Row is something to judge: an answer to a prompt, or two of them.
type Row struct {
	At        data.Ref
	Prompt    string
	Response  string    // of a rubric
	Pair      [2]string // of a comparison
	Reference string    // a right answer, if there is one
}

// The keys of rows, in the order of preference.
var (
	promptKeys    = []string{"prompt", "instruction", "question"}
	responseKeys  = []string{"response", "prediction", "completion", "answer"}
	firstKeys     = []string{"response_a", "chosen"}
	secondKeys    = []string{"response_b", "rejected"}
	referenceKeys = []string{"reference"}
)

// ReadRows reads what is to be judged: rows with prompt and response, or with
// prompt, response_a and response_b; reference is optional. Whether they are
// pairs follows from the first. At most limit rows are read; 0 is all.
func ReadRows(path string, limit int) (rows []Row, pairs bool, err error) {
	var faults []error
	err = data.EachObject(path, func(at data.Ref, fields []data.Field) error {
		if limit > 0 && len(rows)+len(faults) == limit {
			return data.ErrEnough
		}
		cells := map[string]json.RawMessage{}
		for _, f := range fields {
			cells[f.Key] = f.Value
		}
		if len(rows)+len(faults) == 0 {
			_, pairs = find(cells, firstKeys)
		}
		row, err := readRow(cells, pairs)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", at, err))
			if len(faults) == 10 {
				return data.ErrEnough
			}
			return nil
		}
		row.At = at
		rows = append(rows, row)
		return nil
	})
	if err = errors.Join(append(faults, err)...); err != nil {
		return nil, false, err
	}
	if len(rows) == 0 {
		return nil, false, fmt.Errorf("%w: %s has none", ErrRows, path)
	}
	return rows, pairs, nil
}

func find(cells map[string]json.RawMessage, keys []string) (string, bool) {
	for _, k := range keys {
		if _, ok := cells[k]; ok {
			return k, true
		}
	}
	return keys[0], false
}

func readRow(cells map[string]json.RawMessage, pairs bool) (Row, error) {
	var r Row
	var faults []error
	read := func(into *string, keys []string, needed bool) {
		key, ok := find(cells, keys)
		if !ok {
			if needed {
				faults = append(faults, fmt.Errorf("the key %s is missing", key))
			}
			return
		}
		if err := json.Unmarshal(cells[key], into); err != nil {
			faults = append(faults, fmt.Errorf("%s: expected text", key))
		}
	}
	read(&r.Prompt, promptKeys, true)
	read(&r.Reference, referenceKeys, false)
	if pairs {
		read(&r.Pair[0], firstKeys, true)
		read(&r.Pair[1], secondKeys, true)
	} else {
		read(&r.Response, responseKeys, true)
	}
	return r, errors.Join(faults...)
}
