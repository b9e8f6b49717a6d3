package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// member is one key of a JSON object, with its value as it is written and where that value lies in the object's text.
type member struct {
	Key        string
	Value      json.RawMessage
	Start, End int // data[Start:End] is Value
}

// objectMembers splits the JSON object that is the whole of data into its members, in the order of the text.
// encoding/json alone would let the last of two equal keys win silently and repair broken UTF-8; here both are errors,
// since a file that says two things about a tensor cannot be trusted about either.
func objectMembers(data []byte) ([]member, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not valid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	tok, err := dec.Token()
	if err != nil {
		return nil, jsonError(err)
	}
	if tok != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	var out []member
	seen := map[string]bool{}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, jsonError(err)
		}
		key, ok := tok.(string)
		if !ok {
			return nil, fmt.Errorf("invalid JSON: key %v is not a string", tok)
		}
		if seen[key] {
			return nil, fmt.Errorf("key %q appears twice", key)
		}
		seen[key] = true
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, jsonError(err)
		}
		end := int(dec.InputOffset())
		out = append(out, member{Key: key, Value: raw, Start: end - len(raw), End: end})
	}
	if _, err := dec.Token(); err != nil {
		return nil, jsonError(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("invalid JSON: text after the closing brace at byte %d", dec.InputOffset())
	}
	return out, nil
}

// jsonError words a decoding error; the end of the text inside a value reads better as what it means.
func jsonError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("invalid JSON: ends too early")
	}
	return fmt.Errorf("invalid JSON: %w", err)
}
