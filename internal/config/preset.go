package config

import (
	"embed"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

//go:embed presets/*.yaml
var presetFiles embed.FS

// Presets returns the names of the built-in presets, sorted.
func Presets() []string {
	// The directory is part of the program and always there.
	files, _ := presetFiles.ReadDir("presets")
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = strings.TrimSuffix(f.Name(), ".yaml")
	}
	return names
}

// presetEntry notes the preset that a layer asks for.
func (l *loader) presetEntry(out layer, e entry) {
	n := deref(e.node)
	if n.Kind != yaml.ScalarNode || n.Value == "" {
		l.report(e, expected(n, "the name of a preset ("+strings.Join(Presets(), ", ")+") or a YAML file"))
		return
	}
	if old, ok := out[presetKey]; ok {
		l.faults.add(e.place(n), presetKey, "given twice (first at %s)", old.from.place(old.from.node))
		return
	}
	out[presetKey] = setting{value: reflect.ValueOf(n.Value), from: e}
}

// firstPreset returns the preset with the highest precedence, or nil.
func firstPreset(layers []layer) *setting {
	for _, lay := range layers {
		if s, ok := lay[presetKey]; ok {
			return &s
		}
	}
	return nil
}

// presetLayer reads a built-in preset, or a preset file.
func (l *loader) presetLayer(s *setting) (layer, error) {
	name := s.value.String()
	var text []byte
	var err error
	switch {
	case slices.Contains(Presets(), name):
		text, err = presetFiles.ReadFile("presets/" + name + ".yaml")
	case strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml"):
		text, err = os.ReadFile(name)
	default:
		l.faults.add(s.from.place(s.from.node), presetKey, "no preset is called %q%s; have %s, or name a .yaml file",
			name, didYouMean(name, Presets()), strings.Join(Presets(), ", "))
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("preset: %w", err)
	}
	entries := l.fileEntries("preset "+name, text)
	for _, e := range entries {
		if e.name == presetKey {
			l.faults.add(e.place(e.node), presetKey, "a preset cannot name another preset")
		}
	}
	entries = slices.DeleteFunc(entries, func(e entry) bool { return e.name == presetKey })
	return l.resolve(entries), nil
}
