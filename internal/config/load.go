package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Flag is a key that was given by a flag of its own.
type Flag struct {
	Name   string   // as the user wrote it, such as --data
	Key    string   // the canonical key that it sets
	Values []string // one, or several for a repeated flag of a list
}

// LoadOptions say where a run config comes from.
type LoadOptions struct {
	Command string   // the command whose defaults hold, one of [Commands]
	Path    string   // the YAML file; empty when there is none
	Set     []string // key=value, as given to --set
	Flags   []Flag   // keys given by flags of their own
}

// Resolved is a run config with the origin of every key.
type Resolved struct {
	Config
	// Command whose defaults hold.
	Command string

	table   *table
	origins map[string]origin
}

func newResolved(command string, t *table) *Resolved {
	return &Resolved{Config: Default(command), Command: command, table: t, origins: map[string]origin{}}
}

// origin is where the value of a key came from.
type origin struct {
	place string // "run.yaml:12"; empty for a default
	name  string // the name used there, when it was not the canonical one
	note  string // what a default depends on
}

func (o origin) String() string {
	switch {
	case o.place == "" && o.note != "":
		return "default " + o.note
	case o.place == "":
		return "default"
	case o.name != "":
		return o.place + " as " + o.name
	}
	return o.place
}

// Origin returns where the value of a canonical key came from: "flag --seed",
// "env MLTRAIN_SEED", "run.yaml:12", "preset smoke" or "default", followed by
// the name used when that was not the canonical one. It returns "" for a name
// that is no canonical key.
func (r *Resolved) Origin(key string) string {
	if o, ok := r.origins[key]; ok {
		return o.String()
	}
	return ""
}

// IsDefault reports whether nobody set the key.
func (r *Resolved) IsDefault(key string) bool { return r.origins[key].place == "" }

const presetKey = "preset"

// ErrCommand is returned for a command that reads no run config.
var ErrCommand = errors.New("no such training command")

// Load reads, merges and checks a run config. Whatever is wrong with its
// content is returned as [Faults]; an unreadable file is an error of its own.
func Load(opt LoadOptions) (*Resolved, error) {
	if !isCommand(opt.Command) {
		return nil, fmt.Errorf("%w: %q (have %s)", ErrCommand, opt.Command, strings.Join(Commands(), ", "))
	}
	l := &loader{table: newTable()}

	fromFlags := l.resolve(l.flagEntries(opt.Set, opt.Flags))
	fromEnv := l.resolve(l.envEntries())
	var fromFile layer
	if opt.Path != "" {
		text, err := os.ReadFile(opt.Path)
		if err != nil {
			return nil, fmt.Errorf("run config: %w", err)
		}
		fromFile = l.resolve(l.fileEntries(opt.Path, text))
	}
	layers := []layer{fromFlags, fromEnv, fromFile}
	if p := firstPreset(layers); p != nil {
		preset, err := l.presetLayer(p)
		if err != nil {
			return nil, err
		}
		layers = append(layers, preset)
	}

	r := l.merge(opt.Command, layers)
	if len(l.faults) == 0 {
		// Rules between keys make sense only once every key is sound.
		l.faults = validate(r)
	}
	if err := l.faults.orNil(); err != nil {
		return nil, err
	}
	return r, nil
}

// entry is one name with its value, as the user wrote it.
type entry struct {
	name   string
	node   *yaml.Node
	source string // origin; for a file, its path
	inFile bool
	shell  bool
}

// place is where n stands.
func (e entry) place(n *yaml.Node) string {
	if !e.inFile {
		return e.source
	}
	if n.Line == 0 {
		n = e.node
	}
	return fmt.Sprintf("%s:%d", e.source, n.Line)
}

// setting is a sound value of a key, with the entry that gave it.
type setting struct {
	value reflect.Value
	from  entry
	macro bool
}

// layer is everything that one source sets, by canonical key.
type layer map[string]setting

type loader struct {
	table  *table
	faults Faults
}

// resolve turns entries into values of canonical keys.
func (l *loader) resolve(entries []entry) layer {
	out := layer{}
	for _, e := range entries {
		node := deref(e.node)
		if node.Tag == "!!null" {
			continue // a key without a value is a key not given
		}
		if e.name == presetKey {
			l.presetEntry(out, e)
			continue
		}
		if f := l.table.byKey[e.name]; f != nil {
			l.set(out, f, node, e, false)
			continue
		}
		if f := l.table.byAlias[e.name]; f != nil {
			l.set(out, f, node, e, false)
			continue
		}
		all := macros()
		if at := slices.IndexFunc(all, func(m macro) bool { return m.alias == e.name }); at >= 0 {
			assigns, err := all[at].expand(node)
			l.report(e, err)
			if err == nil {
				for _, a := range assigns {
					l.set(out, l.table.byKey[a.key], a.node, e, true)
				}
			}
			continue
		}
		if advice, ok := knownKeys()[e.name]; ok {
			l.faults.add(e.place(node), e.name, "known, but not supported; %s", advice)
			continue
		}
		l.faults.add(e.place(node), e.name, "unknown key%s", didYouMean(e.name, l.table.names()))
	}
	return out
}

func (l *loader) report(e entry, err error) {
	for _, p := range problems(err) {
		l.faults.add(e.place(p.node), e.name, "%s", p.text)
	}
}

// set puts a value into a layer, unless the layer has one already.
func (l *loader) set(out layer, f *field, node *yaml.Node, e entry, viaMacro bool) {
	v := reflect.New(f.typ).Elem()
	if err := (decoder{field: f, shell: e.shell}).decode(node, v); err != nil {
		l.report(e, err)
		return
	}
	old, taken := out[f.key]
	switch {
	case !taken:
	case (viaMacro || old.macro) && reflect.DeepEqual(old.value.Interface(), v.Interface()):
		return // adapter: qlora beside load_in_4bit: true says the same twice
	case old.from.name == e.name:
		l.faults.add(e.place(e.node), e.name, "given twice (first at %s)", old.from.place(old.from.node))
		return
	default:
		l.faults.add(e.place(e.node), e.name, "both %s and %s set %s (the other at %s); keep one",
			old.from.name, e.name, f.key, old.from.place(old.from.node))
		return
	}
	out[f.key] = setting{value: v, from: e, macro: viaMacro}
}

// merge lays the layers over the command's defaults; the first layer that sets
// a key wins.
func (l *loader) merge(command string, layers []layer) *Resolved {
	r := newResolved(command, l.table)
	l.dropOutranked(layers)
	root := reflect.ValueOf(&r.Config).Elem()
	for _, f := range l.table.fields {
		r.origins[f.key] = origin{}
		for _, lay := range layers {
			if s, ok := lay[f.key]; ok {
				root.FieldByIndex(f.index).Set(s.value)
				r.origins[f.key] = s.origin(f.key)
				break
			}
		}
	}
	r.adaptDefaults()
	return r
}

func (s setting) origin(key string) origin {
	o := origin{place: s.from.place(s.from.node)}
	if s.from.name != key {
		o.name = s.from.name
	}
	return o
}

// dropOutranked removes dataset_name from layers below one that sets datasets,
// and the reverse: --data must win over the dataset_name of a file.
func (l *loader) dropOutranked(layers []layer) {
	for _, pair := range [][2]string{{"datasets", "dataset_name"}, {"warmup_steps", "warmup_ratio"}} {
		for i, lay := range layers {
			_, a := lay[pair[0]]
			_, b := lay[pair[1]]
			if !a && !b {
				continue
			}
			for _, below := range layers[i+1:] {
				if a {
					delete(below, pair[1])
				}
				if b {
					delete(below, pair[0])
				}
			}
		}
	}
}

// adaptDefaults sets the defaults that depend on other keys.
func (r *Resolved) adaptDefaults() {
	if r.IsDefault("learning_rate") {
		r.LearningRate = defaultLearningRate(r.Command, r.UsePeft)
		if r.UsePeft {
			r.origins["learning_rate"] = origin{note: "with use_peft"}
		}
	}
	if r.IsDefault("eval_strategy") && r.HasEvalData() {
		r.EvalStrategy = "steps"
		r.origins["eval_strategy"] = origin{note: "with data to evaluate on"}
	}
}

// flagEntries reads the command line. Of several --set for one name, the last holds.
func (l *loader) flagEntries(set []string, flags []Flag) []entry {
	var out []entry
	for _, f := range flags {
		if len(f.Values) == 0 {
			continue
		}
		node := scalarNode(f.Values[len(f.Values)-1])
		if known := l.table.byKey[f.Key]; known != nil && known.typ.Kind() == reflect.Slice {
			node = &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
			for _, v := range f.Values {
				node.Content = append(node.Content, scalarNode(v))
			}
		}
		out = append(out, entry{name: f.Key, node: node, source: "flag " + f.Name, shell: true})
	}
	for _, text := range set {
		name, value, ok := strings.Cut(text, "=")
		name = strings.TrimSpace(name)
		if !ok || name == "" {
			l.faults.add("flag --set", "", "expected key=value, found %q", text)
			continue
		}
		e := entry{name: name, source: "flag --set", shell: true}
		var err error
		if e.node, err = shellNode(value); err != nil {
			l.faults.add(e.source, name, "cannot read the value %q: %v", value, err)
			continue
		}
		out = slices.DeleteFunc(out, func(o entry) bool { return o.source == e.source && o.name == name })
		out = append(out, e)
	}
	return out
}

// shellNode reads a value that was typed into a shell: YAML when it is a list
// or a mapping, else the bare text.
func shellNode(value string) (*yaml.Node, error) {
	value = strings.TrimSpace(value)
	if !strings.HasPrefix(value, "[") && !strings.HasPrefix(value, "{") {
		return scalarNode(value), nil
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(value), &doc); err != nil {
		return nil, errors.New(yamlMessage(err))
	}
	return doc.Content[0], nil
}

// fileEntries reads the top level of a YAML file.
func (l *loader) fileEntries(path string, text []byte) []entry {
	dec := yaml.NewDecoder(strings.NewReader(string(text)))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if !errors.Is(err, io.EOF) { // an empty file sets nothing
			l.faults.add(path, "", "%s", yamlMessage(err))
		}
		return nil
	}
	var more yaml.Node
	if err := dec.Decode(&more); err == nil {
		l.faults.add(fmt.Sprintf("%s:%d", path, more.Line), "", "a run config is one document; remove the second one")
	} else if !errors.Is(err, io.EOF) {
		l.faults.add(path, "", "%s", yamlMessage(err))
	}
	if len(doc.Content) == 0 {
		return nil
	}
	root := deref(doc.Content[0])
	if root.Tag == "!!null" {
		return nil
	}
	if root.Kind != yaml.MappingNode {
		l.faults.add(fmt.Sprintf("%s:%d", path, root.Line), "", "expected keys with values (key: value), found %s", describe(root))
		return nil
	}
	var out []entry
	for i := 0; i+1 < len(root.Content); i += 2 {
		k, v := root.Content[i], root.Content[i+1]
		if k.Kind != yaml.ScalarNode || k.Tag == "!!merge" {
			l.faults.add(fmt.Sprintf("%s:%d", path, k.Line), "", "expected a key, found %s", describe(k))
			continue
		}
		if v.Line == 0 {
			v.Line = k.Line
		}
		out = append(out, entry{name: k.Value, node: v, source: filepath.ToSlash(path), inFile: true})
	}
	return out
}

// yamlMessage is the text of an error of the YAML library without its prefix.
func yamlMessage(err error) string { return strings.TrimPrefix(err.Error(), "yaml: ") }
