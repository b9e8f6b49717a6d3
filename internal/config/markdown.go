package config

import (
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
)

// Markdown writes the reference of the run config: every key with its other names, defaults, allowed values and meaning,
// made from the structs, their tags and their doc comments.
func Markdown(w io.Writer) error {
	keys, err := Describe()
	if err != nil {
		return err
	}
	docs, err := fieldDocs()
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString(markdownHead)
	fmt.Fprintf(&b, "Presets are %s; `preset: NAME` starts from one, `preset: FILE.yaml` from a file.\n", codes(Presets()))
	group := ""
	for _, k := range keys {
		if k.Group != group {
			group = k.Group
			title, about, _ := strings.Cut(docs[group], " ")
			fmt.Fprintf(&b, "\n## %s\n\nKeys that %s\n\n| key | default | meaning |\n|-|-|-|\n", strings.TrimSuffix(title, "Keys"), about)
		}
		writeKey(&b, k, defaultsByCommand(k))
	}
	b.WriteString("\n## Entries of datasets and eval_dataset\n\nAn entry is a path, or a mapping with these keys:\n\n| key | default | meaning |\n|-|-|-|\n")
	def := reflect.ValueOf(newDataset(""))
	for _, f := range structFields(def.Type(), nil) {
		sf := def.Type().FieldByIndex(f.index)
		k := Key{Name: f.key, Doc: docs["Dataset."+sf.Name], Enum: f.enum, ValueAliases: valueAliases()["datasets[]."+f.key]}
		writeKey(&b, k, defaultText(plain(def.FieldByIndex(f.index))))
	}
	b.WriteString("\n## Names that stand for more than one key\n\n| name | meaning |\n|-|-|\n")
	for _, m := range macros() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", m.alias, cell(m.doc))
	}
	_, err = io.WriteString(w, b.String())
	return err
}

const markdownHead = `# The run config

This page is made by ` + "`make docs`" + ` from the source; a test holds it to be current.

A run config is a YAML file: ` + "`mltrain COMMAND -c run.yaml`" + `. A key may also be given as ` + "`--set key=value`" + `, or in the environment as
` + "`MLTRAIN_KEY=value`" + `. A flag wins over the environment, that over the file, that over a preset, that over the default.
` + "`mltrain config show -c run.yaml`" + ` prints every key with its value and where that came from, ` + "`mltrain config check`" + ` all faults at once,
` + "`mltrain config schema`" + ` a JSON schema for editors. A key that a command does not read, and one that is not built yet, is an error.

Where a default differs between commands they are named. Other names in the second line of a key are those of axolotl, LLaMA-Factory and
older releases of Hugging Face's libraries; they mean the same. "auto" leaves the choice to the program, once model and device are known.
`

func writeKey(b *strings.Builder, k Key, def string) {
	name := "`" + k.Name + "`"
	if len(k.Aliases) > 0 {
		name += "<br>" + codes(k.Aliases)
	}
	doc := k.Doc
	if len(k.Enum) > 0 {
		doc += " One of " + codes(k.Enum) + "."
	}
	var also []string
	for _, other := range sortedKeys(k.ValueAliases) {
		also = append(also, fmt.Sprintf("`%s` for `%s`", other, k.ValueAliases[other]))
	}
	if len(also) > 0 {
		doc += " Also " + strings.Join(also, ", ") + "."
	}
	if len(k.Commands) > 0 {
		doc += " Read by " + strings.Join(k.Commands, ", ") + "."
	}
	if len(k.NotBuilt) > 0 {
		doc += " **Not built yet:** " + strings.Join(k.NotBuilt, ", ") + "."
	}
	fmt.Fprintf(b, "| %s | %s | %s |\n", name, cell(def), cell(doc))
}

// defaultsByCommand gives the default that most commands have, and those of the others by name.
func defaultsByCommand(k Key) string {
	commands := k.Commands
	if len(commands) == 0 {
		commands = Commands()
	}
	index := newTable().byKey[k.Name].index
	var texts []string
	var by [][]string // commands of each text
	for _, c := range commands {
		def := Default(c)
		text := defaultText(plain(reflect.ValueOf(def).FieldByIndex(index)))
		i := slices.Index(texts, text)
		if i < 0 {
			i = len(texts)
			texts, by = append(texts, text), append(by, nil)
		}
		by[i] = append(by[i], c)
	}
	if len(texts) == 1 {
		return texts[0]
	}
	parts := make([]string, len(texts))
	for i, text := range texts {
		parts[i] = fmt.Sprintf("%s (%s)", text, strings.Join(by[i], ", "))
	}
	return strings.Join(parts, "<br>")
}

// defaultText shows a value as YAML writes it; what is empty is not shown.
func defaultText(v any) string {
	text := flow(reflect.ValueOf(v))
	switch text {
	case `""`, "[]", "{}":
		return ""
	}
	return "`" + text + "`"
}

func codes(list []string) string { return "`" + strings.Join(list, "`, `") + "`" }

// cell makes a text fit for a cell of a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
