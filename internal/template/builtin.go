package template

import (
	"embed"
	"sort"
	"strings"
)

//go:embed builtin/*.jinja
var builtinFiles embed.FS

// Builtin returns the source of a named template for models that ship none: alpaca, chatml, gemma, llama2, llama3,
// mistral, phi3, qwen, vicuna or zephyr. Each has generation marks around what the assistant says, its end-of-turn
// token included.
func Builtin(name string) (src string, ok bool) {
	if strings.ContainsAny(name, "/.") {
		return "", false
	}
	b, err := builtinFiles.ReadFile("builtin/" + name + ".jinja")
	return string(b), err == nil
}

// BuiltinNames lists the names that Builtin knows, sorted.
func BuiltinNames() []string {
	entries, err := builtinFiles.ReadDir("builtin")
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".jinja"))
	}
	sort.Strings(names)
	return names
}
