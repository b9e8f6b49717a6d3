package config

import (
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Value returns the value of a canonical key as YAML and JSON write it (bool,
// int, float64, string, or lists and maps of them), and whether there is such
// a key.
func (r *Resolved) Value(key string) (any, bool) {
	f := r.table.byKey[key]
	if f == nil {
		return nil, false
	}
	return plain(reflect.ValueOf(&r.Config).Elem().FieldByIndex(f.index)), true
}

// Keys returns every canonical key in the order of the documentation.
func Keys() []string { return fieldKeys(newTable().fields) }

// plain turns the value of a key into bools, numbers, strings, lists and maps.
func plain(v reflect.Value) any {
	switch x := v.Interface().(type) {
	case Auto[bool]:
		return plainAuto(x)
	case Auto[int]:
		return plainAuto(x)
	case Auto[float64]:
		return plainAuto(x)
	case Auto[Steps]:
		if s, ok := x.Get(); ok {
			return plain(reflect.ValueOf(s))
		}
		return autoText
	case Steps:
		if x >= 1 || x == 0 {
			return int(x)
		}
		return float64(x)
	case Targets:
		if x.Names != nil {
			return x.Names
		}
		return x.Pattern
	case Resume:
		if x.Path != "" {
			return x.Path
		}
		return x.On
	case []Dataset:
		out := make([]any, len(x))
		for i, d := range x {
			out[i] = plainDataset(d)
		}
		return out
	}
	switch v.Kind() {
	case reflect.Slice:
		if v.Len() == 0 {
			return []string{}
		}
	case reflect.Map:
		if v.Len() == 0 {
			return map[string]any{}
		}
	}
	return v.Interface()
}

func plainAuto[T any](a Auto[T]) any {
	if v, ok := a.Get(); ok {
		return v
	}
	return autoText
}

// plainDataset leaves out what has its default.
func plainDataset(d Dataset) map[string]any {
	out := map[string]any{}
	v, def := reflect.ValueOf(d), reflect.ValueOf(newDataset(d.Path))
	for _, f := range structFields(v.Type(), nil) {
		x := v.FieldByIndex(f.index)
		if f.key == "path" || !reflect.DeepEqual(x.Interface(), def.FieldByIndex(f.index).Interface()) {
			out[f.key] = plain(x)
		}
	}
	return out
}

// WriteYAML writes the config as a run config that [Load] reads back to the
// same values, each key with its origin as a comment:
//
//	learning_rate: 0.0001 # run.yaml:3 as lr
//
// The first line of the output is the header, as a comment, when it is not
// empty.
func (r *Resolved) WriteYAML(w io.Writer, header string) error {
	return r.writeYAML(w, header, func(string) bool { return true })
}

// WriteYAMLSet writes only the keys that somebody set, in the form of
// [Resolved.WriteYAML].
func (r *Resolved) WriteYAMLSet(w io.Writer, header string) error {
	return r.writeYAML(w, header, func(key string) bool { return !r.IsDefault(key) })
}

func (r *Resolved) writeYAML(w io.Writer, header string, want func(key string) bool) error {
	var b strings.Builder
	if header != "" {
		for line := range strings.SplitSeq(header, "\n") {
			b.WriteString(strings.TrimRight("# "+line, " ") + "\n")
		}
	}
	root := reflect.ValueOf(&r.Config).Elem()
	for _, f := range r.table.fields {
		if !want(f.key) {
			continue
		}
		fmt.Fprintf(&b, "%s: %s # %s\n", f.key, flow(reflect.ValueOf(plain(root.FieldByIndex(f.index)))), r.Origin(f.key))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// flow writes a value in YAML on one line.
func flow(v reflect.Value) string {
	if v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Slice:
		items := make([]string, v.Len())
		for i := range items {
			items[i] = flow(v.Index(i))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case reflect.Map:
		var items []string
		for it := v.MapRange(); it.Next(); {
			items = append(items, quoted(it.Key().String())+": "+flow(it.Value()))
		}
		slices.Sort(items)
		return "{" + strings.Join(items, ", ") + "}"
	case reflect.Float64:
		return number(v.Float())
	case reflect.String:
		return quoted(v.String())
	}
	return fmt.Sprint(v.Interface())
}

// number writes 2.0e-05 rather than 2e-05, which readers of YAML 1.1 such as
// PyYAML take for a text.
func number(f float64) string {
	text := strconv.FormatFloat(f, 'g', -1, 64)
	if mantissa, exponent, ok := strings.Cut(text, "e"); ok && !strings.Contains(mantissa, ".") {
		return mantissa + ".0e" + exponent
	}
	return text
}

// quoted writes a text, in quotes unless no reader of YAML 1.1 or 1.2 can take
// it for anything else. All escapes of Go's are escapes of YAML's too.
func quoted(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_./-", r)
	}
	first := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	switch {
	case s == "", first != 0, s[0] == '-', strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }),
		scalarNode(s).Tag != "!!str",
		slices.Contains([]string{"yes", "no", "on", "off", "y", "n"}, strings.ToLower(s)):
		return strconv.Quote(s)
	}
	return s
}
