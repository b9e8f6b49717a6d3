package template

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/big"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"
)

// FromJSON reads one JSON value and keeps what Go's maps and numbers lose: the order of keys, the difference between
// 1 and 1.0, and integers of any size. A key that occurs twice keeps its first place and its last value, as in Python.
func FromJSON(data []byte) (Value, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	v, err := decodeJSON(d, 0)
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("bad JSON at byte %d: %w", d.InputOffset(), err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("bad JSON: more text after the value, at byte %d", d.InputOffset())
	}
	return v, nil
}

func decodeJSON(d *json.Decoder, depth int) (Value, error) {
	if depth > maxInputDepth {
		return nil, fmt.Errorf("nested deeper than %d levels: %w", maxInputDepth, ErrLimit)
	}
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Number:
		return jsonNumber(string(t))
	case json.Delim:
		if t == '[' {
			out := []Value{}
			for d.More() {
				x, err := decodeJSON(d, depth+1)
				if err != nil {
					return nil, err
				}
				out = append(out, x)
			}
			_, err := d.Token()
			return out, err
		}
		out := NewDict()
		for d.More() {
			k, err := d.Token()
			if err != nil {
				return nil, err
			}
			x, err := decodeJSON(d, depth+1)
			if err != nil {
				return nil, err
			}
			out.Set(k.(string), x)
		}
		_, err := d.Token()
		return out, err
	}
	return t, nil // nil, bool or string
}

func jsonNumber(s string) (Value, error) {
	if !strings.ContainsAny(s, ".eE") {
		if i, err := strconv.ParseInt(s, 10, 64); err == nil {
			return i, nil
		}
		if n, ok := new(big.Int).SetString(s, 10); ok && n.BitLen() <= maxIntBits {
			return n, nil
		}
		return nil, fmt.Errorf("the number %.40s… is too long: %w", s, ErrLimit)
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !math.IsInf(f, 0) {
		return nil, err
	}
	return f, nil
}

// dumper writes JSON as Python's json.dumps does.
type dumper struct {
	in              *interp
	b               strings.Builder
	ascii, sortKeys bool
	indent          string
	pretty          bool
	itemSep, keySep string
}

// filterToJSON is tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False).
func filterToJSON(in *interp, v Value, a *args) (Value, error) {
	p, err := a.bind("ensure_ascii?", "indent?", "separators?", "sort_keys?")
	if err != nil {
		return nil, err
	}
	d := &dumper{in: in, itemSep: ", ", keySep: ": "}
	d.ascii = given(p[0]) && truth(p[0])
	d.sortKeys = given(p[3]) && truth(p[3])
	if given(p[1]) && p[1] != nil {
		d.pretty, d.itemSep = true, ","
		if s, ok := strOf(p[1]); ok {
			d.indent = s
		} else if n, ok := asIndex(p[1]); ok {
			if n > 1000 {
				return nil, limitError("tojson with an indent of %d", n)
			}
			d.indent = strings.Repeat(" ", int(max(n, 0)))
		} else {
			return nil, failf("tojson: indent must be an integer or a string, not %s", typeName(p[1]))
		}
	}
	if given(p[2]) && p[2] != nil {
		seps, ok := seqOf(p[2])
		if !ok || len(seps) != 2 {
			return nil, failf("tojson: separators must be a pair of strings")
		}
		item, ok1 := strOf(seps[0])
		key, ok2 := strOf(seps[1])
		if !ok1 || !ok2 {
			return nil, failf("tojson: separators must be a pair of strings")
		}
		d.itemSep, d.keySep = item, key
	}
	if err := d.value(v, 0); err != nil {
		return nil, err
	}
	return d.b.String(), nil
}

func (d *dumper) newline(level int) error {
	if !d.pretty {
		return nil
	}
	d.b.WriteByte('\n')
	for range level {
		d.b.WriteString(d.indent)
	}
	return d.in.charge(int64(level*len(d.indent)/32 + 1))
}

func (d *dumper) value(v Value, level int) error {
	if err := d.in.charge(1); err != nil {
		return err
	}
	if d.b.Len() > d.in.maxOutput {
		return limitError("the template makes more than %d bytes of text", d.in.maxOutput)
	}
	if s, ok := strOf(v); ok {
		d.str(s)
		return d.in.charge(int64(len(s) / 32))
	}
	switch v := v.(type) {
	case nil:
		d.b.WriteString("null")
	case bool:
		d.b.WriteString(strconv.FormatBool(v))
	case int64:
		d.b.WriteString(strconv.FormatInt(v, 10))
	case *big.Int:
		d.b.WriteString(v.String())
	case float64:
		d.b.WriteString(jsonFloat(v))
	case *Dict:
		return d.dict(v, level)
	default:
		seq, ok := seqOf(v)
		if !ok {
			return failf("Object of type %s is not JSON serializable", typeName(v))
		}
		return d.seq(seq, level)
	}
	return nil
}

func jsonFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return floatRepr(f)
}

func (d *dumper) seq(items []Value, level int) error {
	if len(items) == 0 {
		d.b.WriteString("[]")
		return nil
	}
	if err := d.in.push(); err != nil {
		return err
	}
	defer d.in.pop()
	d.b.WriteByte('[')
	for i, x := range items {
		if i > 0 {
			d.b.WriteString(d.itemSep)
		}
		if err := d.newline(level + 1); err != nil {
			return err
		}
		if err := d.value(x, level+1); err != nil {
			return err
		}
	}
	if err := d.newline(level); err != nil {
		return err
	}
	d.b.WriteByte(']')
	return nil
}

func (d *dumper) dict(v *Dict, level int) error {
	if v.Len() == 0 {
		d.b.WriteString("{}")
		return nil
	}
	if err := d.in.push(); err != nil {
		return err
	}
	defer d.in.pop()
	order := make([]int, v.Len())
	for i := range order {
		order[i] = i
	}
	if d.sortKeys {
		var failed error
		sort.SliceStable(order, func(i, j int) bool {
			less, err := d.in.order("<", v.keys[order[i]], v.keys[order[j]])
			if err != nil {
				failed = err
			}
			return less
		})
		if failed != nil {
			return failed
		}
	}
	d.b.WriteByte('{')
	for n, i := range order {
		if n > 0 {
			d.b.WriteString(d.itemSep)
		}
		if err := d.newline(level + 1); err != nil {
			return err
		}
		key, err := jsonKey(v.keys[i])
		if err != nil {
			return err
		}
		d.str(key)
		d.b.WriteString(d.keySep)
		if err := d.value(v.vals[i], level+1); err != nil {
			return err
		}
	}
	if err := d.newline(level); err != nil {
		return err
	}
	d.b.WriteByte('}')
	return nil
}

func jsonKey(k Value) (string, error) {
	switch k := k.(type) {
	case string:
		return k, nil
	case markup:
		return string(k), nil
	case nil:
		return "null", nil
	case bool:
		return strconv.FormatBool(k), nil
	case int64:
		return strconv.FormatInt(k, 10), nil
	case *big.Int:
		return k.String(), nil
	case float64:
		return jsonFloat(k), nil
	}
	return "", failf("keys must be str, int, float, bool or None, not %s", typeName(k))
}

func (d *dumper) str(s string) {
	d.b.WriteByte('"')
	start := 0
	flush := func(end, next int) {
		d.b.WriteString(s[start:end])
		start = next
	}
	for i, r := range s {
		n := utf8.RuneLen(r)
		if r == utf8.RuneError {
			_, n = utf8.DecodeRuneInString(s[i:])
		}
		switch {
		case r == '"' || r == '\\':
			flush(i, i)
			d.b.WriteByte('\\')
		case r < ' ':
			flush(i, i+1)
			if j := strings.IndexByte("\n\r\t\f\b", byte(r)); j >= 0 {
				d.b.WriteString([]string{`\n`, `\r`, `\t`, `\f`, `\b`}[j])
			} else {
				fmt.Fprintf(&d.b, `\u%04x`, r)
			}
		case d.ascii && r >= utf8.RuneSelf && r < 0x10000:
			flush(i, i+n)
			fmt.Fprintf(&d.b, `\u%04x`, r)
		case d.ascii && r >= 0x10000:
			flush(i, i+n)
			fmt.Fprintf(&d.b, `\u%04x\u%04x`, 0xd800+(r-0x10000)>>10, 0xdc00+(r-0x10000)&0x3ff)
		}
	}
	flush(len(s), len(s))
	d.b.WriteByte('"')
}
