package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// ErrUnsupported is wrapped by every error about something in a tokenizer file that this package does not implement.
var ErrUnsupported = errors.New("not supported")

// object is a JSON object with its place in the file. Reading a field marks it as known; close reports those nobody
// asked for. The first fault is kept in err, so a reader may ask for all fields and look at err once.
type object struct {
	path   string
	fields map[string]json.RawMessage
	known  map[string]bool
	err    error
}

// parseObject parses a file as an object.
func parseObject(data []byte) (*object, error) {
	if !json.Valid(data) {
		var v any
		return nil, fmt.Errorf("%s: expected an object: %w", place(""), json.Unmarshal(data, &v))
	}
	return newObject(data, "")
}

// newObject takes raw, a part of a valid file that stands at path, as an object.
func newObject(raw json.RawMessage, path string) (*object, error) {
	fields, ok := scanObject(raw)
	if !ok {
		return nil, fmt.Errorf("%s: expected an object, found %s", place(path), excerpt(raw))
	}
	return &object{path: path, known: map[string]bool{}, fields: fields}, nil
}

func place(path string) string {
	if path == "" {
		return "top level"
	}
	return path
}

// at returns the JSON path of a field.
func (o *object) at(key string) string {
	if o.path == "" {
		return key
	}
	return o.path + "." + key
}

func (o *object) fail(key, format string, args ...any) {
	if o.err == nil {
		o.err = fmt.Errorf("%s: %w", o.at(key), fmt.Errorf(format, args...))
	}
}

// isNull tells whether a value is absent or JSON null.
func isNull(raw json.RawMessage) bool {
	return len(raw) == 0 || bytes.Equal(bytes.TrimSpace(raw), []byte("null"))
}

// raw returns the value of a field, nil when it is absent or null.
func (o *object) raw(key string) json.RawMessage {
	o.known[key] = true
	if v := o.fields[key]; !isNull(v) {
		return v
	}
	return nil
}

func (o *object) has(key string) bool { return !isNull(o.fields[key]) }

// decode reads a required field into dst.
func (o *object) decode(key, want string, dst any) {
	raw := o.raw(key)
	if raw == nil {
		o.fail(key, "is missing: expected %s", want)
		return
	}
	if err := json.Unmarshal(raw, dst); err != nil {
		o.fail(key, "expected %s, found %s", want, excerpt(raw))
	}
}

func (o *object) str(key string) (s string) {
	o.decode(key, "a string", &s)
	return s
}

func (o *object) strOr(key, def string) string {
	if o.raw(key) == nil {
		return def
	}
	return o.str(key)
}

func (o *object) boolean(key string) (b bool) {
	o.decode(key, "true or false", &b)
	return b
}

func (o *object) boolOr(key string, def bool) bool {
	if o.raw(key) == nil {
		return def
	}
	return o.boolean(key)
}

// count reads a required whole number that is not negative and fits an int32.
func (o *object) count(key string) int {
	var f float64
	o.decode(key, "a whole number", &f)
	if f < 0 || f != math.Trunc(f) || f > math.MaxInt32 {
		o.fail(key, "expected a whole number from 0 to %d, found %v", math.MaxInt32, f)
		return 0
	}
	return int(f)
}

func (o *object) countOr(key string, def int) int {
	if o.raw(key) == nil {
		return def
	}
	return o.count(key)
}

// char reads a required string of exactly one rune.
func (o *object) char(key string) rune {
	s := o.str(key)
	r := []rune(s)
	if len(r) != 1 {
		o.fail(key, "expected one character, found %q", s)
		return 0
	}
	return r[0]
}

// oneOf reads a required string that must be one of the values.
func (o *object) oneOf(key string, values ...string) string {
	s := o.str(key)
	if o.err == nil && !slices.Contains(values, s) {
		o.fail(key, "%w: %q; known are %s", ErrUnsupported, s, strings.Join(values, ", "))
	}
	return s
}

// list reads a required array.
func (o *object) list(key string) (l []json.RawMessage) {
	o.decode(key, "an array", &l)
	return l
}

// ignore marks fields that carry nothing for this package.
func (o *object) ignore(keys ...string) {
	for _, k := range keys {
		o.known[k] = true
	}
}

// close returns the first fault, or an error naming all fields that nobody asked for.
func (o *object) close() error {
	if o.err != nil {
		return o.err
	}
	var unknown []string
	for k := range o.fields {
		if !o.known[k] {
			unknown = append(unknown, o.at(k))
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	slices.Sort(unknown)
	return fmt.Errorf("unknown key %s: %w", strings.Join(unknown, ", "), ErrUnsupported)
}

// excerpt shortens a JSON value for an error message.
func excerpt(raw json.RawMessage) string {
	const limit = 60
	s := string(bytes.TrimSpace(raw))
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
