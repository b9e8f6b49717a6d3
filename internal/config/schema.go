package config

import (
	"embed"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strconv"
	"strings"

	"github.com/invopop/jsonschema"
)

// keySource is the source of the key structs: their doc comments are the
// descriptions of the schema and of the documentation.
//
//go:embed keys_*.go
var keySource embed.FS

// Key is what there is to know about one key of the run config.
type Key struct {
	Name     string
	Group    string // the Go struct that holds it, such as DataKeys
	Doc      string
	Aliases  []string
	Enum     []string // values allowed; empty is any
	Commands []string // commands that read it; empty is all
	NotBuilt []string // values that are refused because nothing acts on them yet; "all" is every value but the default
	Default  any      // under mltrain sft
	// ValueAliases are other names of values, with what they mean.
	ValueAliases map[string]string
}

// Describe returns every key, in order.
func Describe() ([]Key, error) {
	docs, err := fieldDocs()
	if err != nil {
		return nil, err
	}
	root := reflect.TypeFor[Config]()
	def := reflect.ValueOf(Default("sft"))
	var out []Key
	for _, f := range newTable().fields {
		sf := root.FieldByIndex(f.index)
		group := root.Field(f.index[0]).Name
		out = append(out, Key{
			Name: f.key, Group: group, Doc: docs[group+"."+sf.Name], Aliases: f.aliases, Enum: f.enum,
			Commands: f.commands, NotBuilt: notBuiltOf(f.key), Default: plain(def.FieldByIndex(f.index)),
			ValueAliases: valueAliases()[f.key],
		})
	}
	return out, nil
}

// fieldDocs returns the doc comment of every field as "Struct.Field", and of
// every struct as "Struct", on one line each.
func fieldDocs() (map[string]string, error) {
	files, err := keySource.ReadDir(".")
	if err != nil {
		return nil, err
	}
	docs := map[string]string{}
	for _, file := range files {
		text, err := keySource.ReadFile(file.Name())
		if err != nil {
			return nil, err
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file.Name(), text, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		for _, decl := range tree.Decls {
			gen, ok := decl.(*ast.GenDecl)
			if !ok || gen.Tok != token.TYPE {
				continue
			}
			for _, spec := range gen.Specs {
				ts := spec.(*ast.TypeSpec)
				docs[ts.Name.Name] = oneLine(gen.Doc.Text())
				if st, ok := ts.Type.(*ast.StructType); ok {
					for _, f := range st.Fields.List {
						for _, name := range f.Names {
							docs[ts.Name.Name+"."+name.Name] = oneLine(f.Doc.Text())
						}
					}
				}
			}
		}
	}
	return docs, nil
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// Schema returns the JSON schema (draft 2020-12) of a run config. Editors use
// it to complete and check one; it knows the aliases too.
func Schema() ([]byte, error) {
	docs, err := fieldDocs()
	if err != nil {
		return nil, err
	}
	reflector := jsonschema.Reflector{
		Anonymous:      true,
		ExpandedStruct: true,
		DoNotReference: true,
		FieldNameTag:   "yaml",
		LookupComment: func(t reflect.Type, name string) string {
			if name == "" {
				return docs[t.Name()]
			}
			return docs[t.Name()+"."+name]
		},
		Mapper: schemaOf,
	}
	s := reflector.Reflect(&Config{})
	s.Title = "mltrain run config"
	s.Description = "Keys of a run config. Names follow Hugging Face transformers, PEFT and TRL."
	s.Required = nil
	if err := finishSchema(s, newTable().fields, reflect.ValueOf(Default("sft"))); err != nil {
		return nil, err
	}
	addAliases(s)
	return json.MarshalIndent(s, "", "  ")
}

// schemaOf gives the types that are written otherwise than Go would.
func schemaOf(t reflect.Type) *jsonschema.Schema {
	auto := &jsonschema.Schema{Const: autoText}
	either := func(s ...*jsonschema.Schema) *jsonschema.Schema { return &jsonschema.Schema{AnyOf: s} }
	typ := func(name string) *jsonschema.Schema { return &jsonschema.Schema{Type: name} }
	list := func(item *jsonschema.Schema) *jsonschema.Schema {
		return &jsonschema.Schema{Type: "array", Items: item}
	}
	switch t {
	case reflect.TypeFor[Auto[bool]]():
		return either(auto, typ("boolean"))
	case reflect.TypeFor[Auto[int]]():
		return either(auto, typ("integer"))
	case reflect.TypeFor[Auto[float64]](), reflect.TypeFor[Auto[Steps]]():
		return either(auto, typ("number"))
	case reflect.TypeFor[Steps]():
		return typ("number")
	case reflect.TypeFor[Targets]():
		return either(typ("string"), list(typ("string")))
	case reflect.TypeFor[Resume]():
		return either(typ("boolean"), typ("string"))
	case reflect.TypeFor[[]string]():
		return either(typ("string"), list(typ("string")))
	case reflect.TypeFor[[]int]():
		return either(typ("integer"), list(typ("integer")))
	case reflect.TypeFor[[]float64]():
		return either(typ("number"), list(typ("number")))
	case reflect.TypeFor[map[string]any]():
		return &jsonschema.Schema{Type: "object", AdditionalProperties: either(typ("number"), typ("string"), typ("boolean"))}
	case reflect.TypeFor[[]Dataset]():
		docs, err := fieldDocs()
		if err != nil {
			return nil // Schema has failed on the same error before
		}
		r := jsonschema.Reflector{
			Anonymous: true, ExpandedStruct: true, DoNotReference: true, FieldNameTag: "yaml", Mapper: schemaOf,
			LookupComment: func(t reflect.Type, name string) string { return docs[t.Name()+"."+name] },
		}
		one := r.Reflect(&Dataset{})
		one.Version = ""
		one.Required = []string{"path"}
		fields := structFields(reflect.TypeFor[Dataset](), nil)
		if err := finishSchema(one, fields, reflect.ValueOf(newDataset(""))); err != nil {
			return nil
		}
		item := either(typ("string"), one)
		return either(typ("string"), one, list(item))
	}
	return nil
}

// finishSchema adds enums, bounds and defaults to the properties.
func finishSchema(s *jsonschema.Schema, fields []field, def reflect.Value) error {
	for _, f := range fields {
		p, ok := s.Properties.Get(f.key)
		if !ok {
			return fmt.Errorf("schema: key %s is missing", f.key)
		}
		p.Default = plain(def.FieldByIndex(f.index))
		key := f.key
		if def.Type() == reflect.TypeFor[Dataset]() {
			key = "datasets[]." + key
		}
		for _, q := range withParts(p) {
			switch q.Type {
			case "string":
				for _, e := range f.enum {
					q.Enum = append(q.Enum, e)
				}
				for _, other := range sortedKeys(valueAliases()[key]) {
					q.Enum = append(q.Enum, other)
				}
			case "integer", "number":
				setBounds(q, f.bounds)
			}
		}
		if f.key == "init_lora_weights" {
			// YAML's own true and false are meant as well.
			p.Type, p.AnyOf = "", []*jsonschema.Schema{{Type: "boolean"}, {Type: "string", Enum: p.Enum}}
			p.Enum = nil
		}
	}
	return nil
}

// withParts returns p and every alternative and item within it.
func withParts(p *jsonschema.Schema) []*jsonschema.Schema {
	out := []*jsonschema.Schema{p}
	for _, q := range p.AnyOf {
		if q.Properties == nil {
			out = append(out, withParts(q)...)
		}
	}
	if p.Items != nil && p.Items.Properties == nil {
		out = append(out, withParts(p.Items)...)
	}
	return out
}

func setBounds(s *jsonschema.Schema, b bounds) {
	number := func(v *float64) json.Number {
		if v == nil {
			return ""
		}
		return json.Number(strconv.FormatFloat(*v, 'g', -1, 64))
	}
	s.Minimum, s.Maximum = number(b.min), number(b.max)
	s.ExclusiveMinimum, s.ExclusiveMaximum = number(b.above), number(b.below)
}

// addAliases adds the other names of the keys, after the keys themselves.
func addAliases(s *jsonschema.Schema) {
	for _, f := range newTable().fields {
		p, _ := s.Properties.Get(f.key)
		for _, a := range f.aliases {
			q := *p
			q.Default = nil
			q.Description = "Alias of " + f.key + ". " + p.Description
			s.Properties.Set(a, &q)
		}
	}
	for _, m := range macros() {
		q := &jsonschema.Schema{Type: m.typ, Description: m.doc}
		for _, e := range m.enum {
			q.Enum = append(q.Enum, e)
		}
		s.Properties.Set(m.alias, q)
	}
	s.Properties.Set(presetKey, &jsonschema.Schema{
		Type:        "string",
		Description: "Values to start from: " + strings.Join(Presets(), ", ") + ", or a YAML file. Everything else wins over it.",
	})
}
