package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// field is one key of the run config, as its struct field declares it.
type field struct {
	key      string
	index    []int // for reflect.Value.FieldByIndex on a Config
	typ      reflect.Type
	aliases  []string
	enum     []string
	commands []string // commands that read the key; empty is all
	bounds   bounds
}

// bounds are the limits that the tags min, max, above and below set.
type bounds struct {
	min, max, above, below *float64
}

// table is every key by canonical name and by alias.
type table struct {
	fields  []field
	byKey   map[string]*field
	byAlias map[string]*field
}

// newTable reads the tags of Config.
func newTable() *table {
	t := &table{byKey: map[string]*field{}, byAlias: map[string]*field{}}
	t.fields = structFields(reflect.TypeFor[Config](), nil)
	for i := range t.fields {
		f := &t.fields[i]
		t.byKey[f.key] = f
		for _, a := range f.aliases {
			t.byAlias[a] = f
		}
	}
	return t
}

// names returns every name that a user may write, canonical names first.
func (t *table) names() []string {
	var names, aliases []string
	for _, f := range t.fields {
		names = append(names, f.key)
		aliases = append(aliases, f.aliases...)
	}
	for _, m := range macros() {
		aliases = append(aliases, m.alias)
	}
	return append(append(names, presetKey), aliases...)
}

func structFields(t reflect.Type, prefix []int) []field {
	var out []field
	for i := range t.NumField() {
		sf := t.Field(i)
		index := append(append([]int{}, prefix...), i)
		if sf.Anonymous {
			out = append(out, structFields(sf.Type, index)...)
			continue
		}
		out = append(out, field{
			key:      sf.Tag.Get("yaml"),
			index:    index,
			typ:      sf.Type,
			aliases:  listTag(sf, "alias"),
			enum:     listTag(sf, "enum"),
			commands: listTag(sf, "for"),
			bounds: bounds{
				min: numberTag(sf, "min"), max: numberTag(sf, "max"),
				above: numberTag(sf, "above"), below: numberTag(sf, "below"),
			},
		})
	}
	return out
}

func listTag(sf reflect.StructField, name string) []string {
	text := sf.Tag.Get(name)
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

func numberTag(sf reflect.StructField, name string) *float64 {
	text, ok := sf.Tag.Lookup(name)
	if !ok {
		return nil
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		// The tags are part of the source, and a test reads all of them.
		return nil
	}
	return &v
}

// check returns what is wrong with v, or "".
func (b bounds) check(v float64) string {
	switch {
	case b.min != nil && v < *b.min:
		return fmt.Sprintf("must be at least %g, found %g", *b.min, v)
	case b.above != nil && v <= *b.above:
		return fmt.Sprintf("must be more than %g, found %g", *b.above, v)
	case b.max != nil && v > *b.max:
		return fmt.Sprintf("must be at most %g, found %g", *b.max, v)
	case b.below != nil && v >= *b.below:
		return fmt.Sprintf("must be less than %g, found %g", *b.below, v)
	}
	return ""
}
