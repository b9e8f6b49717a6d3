package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// pending is a part of the run config that can be written but that no code
// acts on yet.
type pending struct {
	keys []string
	// values are the values not there yet; empty is every value but the default.
	values []string
	// commands for which it is not there yet; empty is all.
	commands []string
}

// notBuilt lists what the program cannot do yet. Whoever builds something
// removes its line here; nothing else refuses it.
func notBuilt() []pending {
	return []pending{
		// Number formats.
		{keys: []string{"dtype"}},
		// Data.
		{keys: []string{"streaming", "model_revision"}},
	}
}

// notBuiltOf lists the values of a key that are refused; "all" is every value but the default.
func notBuiltOf(key string) (values []string) {
	for _, p := range notBuilt() {
		if !slices.Contains(p.keys, key) {
			continue
		}
		of := p.values
		if len(of) == 0 {
			of = []string{"all"}
		}
		for _, v := range of {
			if len(p.commands) > 0 {
				v += " (" + strings.Join(p.commands, ", ") + ")"
			}
			values = append(values, v)
		}
	}
	return values
}

// Unsupported refuses what the config asks for and the program cannot do yet,
// all of it at once and by name, so that no key is silently without effect.
func Unsupported(r *Resolved) error {
	var fs Faults
	def := Default(r.Command)
	root := reflect.ValueOf(&r.Config).Elem()
	for _, p := range notBuilt() {
		if len(p.commands) > 0 && !slices.Contains(p.commands, r.Command) {
			continue
		}
		for _, key := range p.keys {
			f := r.table.byKey[key]
			place := r.origins[key].place
			value := root.FieldByIndex(f.index)
			if len(p.values) == 0 {
				if !sameValue(&r.Config, &def, *f) {
					fs.add(place, key, "not supported yet; remove it")
				}
				continue
			}
			for _, v := range p.values {
				if holds(value, v) {
					fs.add(place, key, "%s is not supported yet", v)
				}
			}
		}
	}
	return fs.orNil()
}

// holds reports whether a text, or a list of texts, is or has s.
func holds(v reflect.Value, s string) bool {
	if v.Kind() != reflect.Slice {
		return fmt.Sprint(v.Interface()) == s
	}
	for i := range v.Len() {
		if fmt.Sprint(v.Index(i).Interface()) == s {
			return true
		}
	}
	return false
}
