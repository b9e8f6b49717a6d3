package template

import (
	"fmt"
	"math/big"
	"sort"
	"unicode/utf8"
)

// Value is anything a template can hold. From outside these are given: nil (None), bool, int64, *big.Int, float64,
// string, []Value (a list), Tuple and *Dict. [From] and [FromJSON] make them.
type Value = any

// Tuple is Python's tuple.
type Tuple []Value

// Dict is a mapping that keeps the order in which its keys were first set, as Python's dict does.
type Dict struct {
	keys  []Value
	vals  []Value
	index map[any]int
}

// NewDict returns an empty mapping.
func NewDict() *Dict { return &Dict{} }

// Len returns the number of entries.
func (d *Dict) Len() int { return len(d.keys) }

// Set stores a value under a string key; a key that exists keeps its place.
func (d *Dict) Set(key string, v Value) { d.set(key, key, v) }

// Get returns the value under a string key.
func (d *Dict) Get(key string) (Value, bool) { return d.lookup(key) }

// Keys returns the keys in order. The caller must not change the slice.
func (d *Dict) Keys() []Value { return d.keys }

// smallDict is the size up to which a scan beats a hash index.
const smallDict = 8

func (d *Dict) find(hash any) (int, bool) {
	if d.index != nil {
		i, ok := d.index[hash]
		return i, ok
	}
	for i, k := range d.keys {
		if s, ok := k.(string); ok {
			if s == hash {
				return i, true
			}
			continue
		}
		if h, err := hashKey(k); err == nil && h == hash {
			return i, true
		}
	}
	return 0, false
}

func (d *Dict) lookup(hash any) (Value, bool) {
	if i, ok := d.find(hash); ok {
		return d.vals[i], true
	}
	return nil, false
}

func (d *Dict) set(key Value, hash any, v Value) {
	if i, ok := d.find(hash); ok {
		d.vals[i] = v
		return
	}
	d.keys, d.vals = append(d.keys, key), append(d.vals, v)
	switch {
	case d.index != nil:
		d.index[hash] = len(d.keys) - 1
	case len(d.keys) > smallDict:
		d.index = make(map[any]int, 2*len(d.keys))
		for i, k := range d.keys {
			if h, err := hashKey(k); err == nil {
				d.index[h] = i
			}
		}
	}
}

func (d *Dict) clone() *Dict {
	c := &Dict{keys: append([]Value(nil), d.keys...), vals: append([]Value(nil), d.vals...)}
	if d.index != nil {
		c.index = make(map[any]int, len(d.index))
		for k, v := range d.index {
			c.index[k] = v
		}
	}
	return c
}

// markup is a string that the template called safe: joined by + to a plain string, it escapes that string.
type markup string

// undefined is the result of looking up what is not there: it prints as nothing, is false and empty, and fails with
// its message in any other use.
type undefined struct {
	msg    string
	unsafe bool
	lax    bool // prints as nothing in plain templates too
}

// namespace is the one object whose attributes a template may set.
type namespace struct{ attrs *Dict }

// rangeVal is Python's range.
type rangeVal struct{ start, stop, step int64 }

func (r rangeVal) len() int64 {
	switch {
	case r.step > 0 && r.start < r.stop:
		return (r.stop-r.start-1)/r.step + 1
	case r.step < 0 && r.start > r.stop:
		return (r.start-r.stop-1)/(-r.step) + 1
	}
	return 0
}

// dictView is what keys(), values() and items() return: "dict_keys", "dict_values" or "dict_items".
type dictView struct {
	d    *Dict
	kind string
}

func (v dictView) at(i int) Value {
	switch v.kind {
	case "dict_keys":
		return v.d.keys[i]
	case "dict_values":
		return v.d.vals[i]
	}
	return Tuple{v.d.keys[i], v.d.vals[i]}
}

// generator is a one-shot iterator, as map, select and their like return. It has no length and is always true.
type generator struct {
	next func() (Value, bool, error)
}

// groupTuple is one group of the groupby filter: a tuple whose fields also have names.
type groupTuple struct {
	grouper Value
	list    []Value
}

// function is a callable: a global, a bound method or a caller.
type function struct {
	name   string
	unsafe bool
	call   func(in *interp, a *args) (Value, error)
}

// From turns Go values into template values: nil, bool, every common integer and float type, string, slices of any, of
// string or of maps, map[string]any (keys in sorted order, Go's maps having none), and template values themselves,
// which it returns as they are. It changes nothing in place.
func From(v any) (Value, error) {
	foreign, err := isForeign(v, 0)
	if err != nil || !foreign {
		return v, err
	}
	return from(v)
}

const maxInputDepth = 500

// isForeign reports whether a value contains Go values that need converting, and refuses what is nested too deeply.
func isForeign(v any, depth int) (bool, error) {
	if depth > maxInputDepth {
		return false, fmt.Errorf("value is nested deeper than %d levels: %w", maxInputDepth, ErrLimit)
	}
	var items []Value
	switch v := v.(type) {
	case nil, bool, int64, float64, string, *big.Int, undefined:
		return false, nil
	case *Dict:
		if v == nil {
			return true, nil
		}
		items = v.vals
	case []Value:
		items = v
	case Tuple:
		items = v
	case map[string]any:
		for _, x := range v {
			if _, err := isForeign(x, depth+1); err != nil {
				return true, err
			}
		}
		return true, nil
	default:
		return true, nil
	}
	found := false
	for _, x := range items {
		foreign, err := isForeign(x, depth+1)
		if err != nil {
			return false, err
		}
		found = found || foreign
	}
	return found, nil
}

func from(v any) (Value, error) {
	switch v := v.(type) {
	case nil, bool, int64, float64, string, *big.Int, undefined:
		return v, nil
	case int:
		return int64(v), nil
	case int32:
		return int64(v), nil
	case uint32:
		return int64(v), nil
	case uint64:
		return normInt(new(big.Int).SetUint64(v)), nil
	case float32:
		return float64(v), nil
	case *Dict:
		if v == nil {
			return nil, nil
		}
		d := &Dict{keys: v.keys, index: v.index}
		var err error
		d.vals, err = fromSlice(v.vals)
		return d, err
	case []string:
		return fromSlice(v)
	case []any:
		return fromSlice(v)
	case Tuple:
		out, err := fromSlice(v)
		return Tuple(out), err
	case []map[string]any:
		return fromSlice(v)
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		d := NewDict()
		for _, k := range keys {
			x, err := from(v[k])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", k, err)
			}
			d.Set(k, x)
		}
		return d, nil
	}
	return nil, fmt.Errorf("a template cannot hold a Go value of type %T", v)
}

func fromSlice[T any](v []T) ([]Value, error) {
	out := make([]Value, len(v))
	for i := range v {
		x, err := from(v[i])
		if err != nil {
			return nil, err
		}
		out[i] = x
	}
	return out, nil
}

// typeName gives Python's name of a value's type.
func typeName(v Value) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int64, *big.Int:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case markup:
		return "Markup"
	case []Value:
		return "list"
	case Tuple, groupTuple:
		return "tuple"
	case *Dict:
		return "dict"
	case undefined:
		return "Undefined"
	case *namespace:
		return "Namespace"
	case rangeVal:
		return "range"
	case dictView:
		return v.kind
	case *generator:
		return "generator"
	case *function:
		return "function"
	case *macro:
		return "Macro"
	case *loopContext:
		return "LoopContext"
	case *cycler:
		return "Cycler"
	}
	return "object"
}

// truth is Python's bool().
func truth(v Value) bool {
	switch v := v.(type) {
	case nil, undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case markup:
		return v != ""
	}
	if n, ok := length(v); ok {
		return n != 0
	}
	return true
}

// length is Python's len(); ok is false for what has none.
func length(v Value) (n int, ok bool) {
	switch v := v.(type) {
	case string:
		return utf8.RuneCountInString(v), true
	case markup:
		return utf8.RuneCountInString(string(v)), true
	case []Value:
		return len(v), true
	case Tuple:
		return len(v), true
	case groupTuple:
		return 2, true
	case *Dict:
		return v.Len(), true
	case dictView:
		return v.d.Len(), true
	case rangeVal:
		return int(v.len()), true
	case undefined:
		return 0, true
	case *loopContext:
		return v.length(), true
	}
	return 0, false
}

// strOf gives the text of a string or of a safe string.
func strOf(v Value) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case markup:
		return string(v), true
	}
	return "", false
}

// seqOf gives the elements of a list or tuple.
func seqOf(v Value) ([]Value, bool) {
	switch v := v.(type) {
	case []Value:
		return v, true
	case Tuple:
		return v, true
	case groupTuple:
		return []Value{v.grouper, v.list}, true
	}
	return nil, false
}
