package eval

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// taskConfig are the keys of a task file, by the names and with the defaults of lm-evaluation-harness.
type taskConfig struct {
	Task             string         `yaml:"task"`
	TaskAlias        string         `yaml:"task_alias"`
	Tag              stringList     `yaml:"tag"`
	DatasetPath      string         `yaml:"dataset_path"`
	DatasetName      string         `yaml:"dataset_name"`
	DatasetKwargs    map[string]any `yaml:"dataset_kwargs"`
	TrainingSplit    string         `yaml:"training_split"`
	ValidationSplit  string         `yaml:"validation_split"`
	TestSplit        string         `yaml:"test_split"`
	FewshotSplit     string         `yaml:"fewshot_split"`
	DocToText        any            `yaml:"doc_to_text"`
	DocToTarget      any            `yaml:"doc_to_target"`
	DocToChoice      any            `yaml:"doc_to_choice"`
	ChoicesFrom      string         `yaml:"choices_from"` // ours: the distinct values of a column are the choices
	Description      string         `yaml:"description"`
	TargetDelimiter  *string        `yaml:"target_delimiter"`
	FewshotDelimiter *string        `yaml:"fewshot_delimiter"`
	FewshotConfig    fewshotConfig  `yaml:"fewshot_config"`
	NumFewshot       *int           `yaml:"num_fewshot"`
	MetricList       []metricConfig `yaml:"metric_list"`
	OutputType       string         `yaml:"output_type"`
	GenerationKwargs map[string]any `yaml:"generation_kwargs"`
	Repeats          int            `yaml:"repeats"`
	FilterList       []filterConfig `yaml:"filter_list"`
	GenPrefix        string         `yaml:"gen_prefix"`
	UnsafeCode       bool           `yaml:"unsafe_code"`
	Metadata         map[string]any `yaml:"metadata"`

	// Without a list of texts to look for, which there is none of here, these change nothing in the harness either.
	ShouldDecontaminate bool `yaml:"should_decontaminate"`
	DecontQuery         any  `yaml:"doc_to_decontamination_query"`
}

type fewshotConfig struct {
	Sampler          string           `yaml:"sampler"`
	Split            string           `yaml:"split"`
	FewshotIndices   []int            `yaml:"fewshot_indices"`
	Samples          []map[string]any `yaml:"samples"`
	DocToText        any              `yaml:"doc_to_text"`
	DocToTarget      any              `yaml:"doc_to_target"`
	DocToChoice      any              `yaml:"doc_to_choice"`
	GenPrefix        string           `yaml:"gen_prefix"`
	FewshotDelimiter *string          `yaml:"fewshot_delimiter"`
	TargetDelimiter  *string          `yaml:"target_delimiter"`
}

type metricConfig struct {
	Metric         string         `yaml:"metric"`
	Aggregation    string         `yaml:"aggregation"`
	HigherIsBetter *bool          `yaml:"higher_is_better"`
	HFEvaluate     bool           `yaml:"hf_evaluate"`
	Args           map[string]any `yaml:",inline"`
}

type filterConfig struct {
	Name   string       `yaml:"name"`
	Filter []filterStep `yaml:"filter"`
}

type filterStep struct {
	Function string         `yaml:"function"`
	Args     map[string]any `yaml:",inline"`
}

// groupConfig is a set of tasks whose results may be put together.
type groupConfig struct {
	Group      string         `yaml:"group"`
	GroupAlias string         `yaml:"group_alias"`
	Task       stringList     `yaml:"task"`
	Aggregate  []groupMetric  `yaml:"aggregate_metric_list"`
	Metadata   map[string]any `yaml:"metadata"`
}

type groupMetric struct {
	Metric       string     `yaml:"metric"`
	Aggregation  string     `yaml:"aggregation"`
	WeightBySize *bool      `yaml:"weight_by_size"`
	FilterList   stringList `yaml:"filter_list"`
}

// stringList is a string or a list of them.
type stringList []string

func (l *stringList) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		var s string
		if err := n.Decode(&s); err != nil {
			return err
		}
		*l = stringList{s}
		return nil
	}
	for _, c := range n.Content {
		if c.Kind == yaml.MappingNode {
			return fmt.Errorf("line %d: an entry with keys of its own is not read here; give that task or group a file, with include for what it shares", c.Line)
		}
	}
	return n.Decode((*[]string)(l))
}

// refusedKeys are keys of the format that need Python or what this program does not do.
var refusedKeys = map[string]string{
	"process_docs":    "it names a Python function; write the processed rows to a file and give that one",
	"process_results": "it names a Python function; use metric_list and filter_list",
	"custom_dataset":  "it names a Python function; write the rows to a file",
	"class":           "it names a Python class",
	"use_prompt":      "PromptSource is not read; write the prompt as doc_to_text",
	"doc_to_image":    "only text is evaluated",
	"doc_to_audio":    "only text is evaluated",
	"task_list":       "give every task a file of its own, with include for what they share",
}

// taskFS is where task files lie: the built-in ones, or the files of the system, by their absolute path without the leading
// slash.
type taskFS struct {
	fs.FS
	system bool
}

func systemFS() taskFS { return taskFS{os.DirFS("/"), true} }

// show names a file for messages.
func (f taskFS) show(name string) string {
	if !f.system {
		return "built-in task " + name
	}
	if cwd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(cwd, "/"+name); err == nil && !strings.HasPrefix(rel, "..") {
			return rel
		}
	}
	return "/" + name
}

// yamlFile is the top level of a task file, after its includes.
type yamlFile struct {
	path string
	keys []string
	vals map[string]yamlValue
}

type yamlValue struct {
	node *yaml.Node
	path string // the file that the value is written in
}

func (f *yamlFile) text(key string) string {
	var s string
	if v, ok := f.vals[key]; ok && v.node.Kind == yaml.ScalarNode {
		s = v.node.Value
	}
	return s
}

// readYAML reads a task file from fsys; with includes, keys of the including file win over those of the included one.
func readYAML(fsys taskFS, name string, includes bool, seen []string) (*yamlFile, error) {
	if slices.Contains(seen, name) {
		return nil, fmt.Errorf("%s: include goes round in a circle: %s", fsys.show(name), strings.Join(append(seen, name), " → "))
	}
	raw, err := fs.ReadFile(fsys.FS, name)
	if err != nil {
		return nil, err
	}
	var top yaml.Node
	if err := yaml.Unmarshal(raw, &top); err != nil {
		return nil, fmt.Errorf("%s: %w", fsys.show(name), err)
	}
	if len(top.Content) != 1 || top.Content[0].Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s: a task file is a mapping", fsys.show(name))
	}
	own := top.Content[0].Content
	f := &yamlFile{path: fsys.show(name), vals: map[string]yamlValue{}}
	for i := 0; i < len(own); i += 2 {
		if own[i].Value != "include" || !includes {
			continue
		}
		var paths stringList
		if err := own[i+1].Decode(&paths); err != nil {
			return nil, fmt.Errorf("%s:%d: include: %w", fsys.show(name), own[i].Line, err)
		}
		for _, p := range paths {
			if !path.IsAbs(p) {
				p = path.Join(path.Dir(name), p)
			}
			base, err := readYAML(fsys, strings.TrimPrefix(p, "/"), true, append(seen, name))
			if err != nil {
				return nil, fmt.Errorf("%s:%d: include: %w", fsys.show(name), own[i].Line, err)
			}
			for _, k := range base.keys {
				f.set(k, base.vals[k])
			}
		}
	}
	for i := 0; i < len(own); i += 2 {
		if own[i].Value != "include" {
			f.set(own[i].Value, yamlValue{own[i+1], f.path})
		}
	}
	return f, nil
}

func (f *yamlFile) set(key string, v yamlValue) {
	if _, ok := f.vals[key]; !ok {
		f.keys = append(f.keys, key)
	}
	f.vals[key] = v
}

// decode fills a config from the file. All unknown and refused keys are reported at once; closest, if not nil, finds the
// name that was meant.
func (f *yamlFile) decode(into any, known []string, closest func(string, []string) string) error {
	var faults []error
	fault := func(v yamlValue, key, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s:%d: %s: %s", v.path, v.node.Line, key, fmt.Sprintf(format, args...)))
	}
	m := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for _, k := range f.keys {
		v := f.vals[k]
		why, refused := refusedKeys[k]
		switch fn := findFunction(v.node); {
		case v.node.Tag == "!!null":
		case refused:
			fault(v, k, "is not available here: %s", why)
		case fn != nil:
			fault(v, k, "Python functions are not run here (!function %s); write it as a template", fn.Value)
		case k == "fewshot_config":
			m.Content = append(m.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: k}, v.node)
			for i := 0; i+1 < len(v.node.Content); i += 2 {
				if inner := v.node.Content[i]; !slices.Contains(fewshotKeys(), inner.Value) {
					fault(yamlValue{inner, v.path}, k, "unknown key %q; there are %s", inner.Value, strings.Join(fewshotKeys(), ", "))
				}
			}
		case !slices.Contains(known, k):
			hint := ""
			if closest != nil {
				if near := closest(k, known); near != "" {
					hint = " (did you mean " + near + "?)"
				}
			}
			fault(v, k, "unknown key%s", hint)
		default:
			m.Content = append(m.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: k}, v.node)
		}
	}
	if len(faults) > 0 {
		return errors.Join(faults...)
	}
	if err := m.Decode(into); err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	return nil
}

// findFunction finds a value with the tag !function.
func findFunction(n *yaml.Node) *yaml.Node {
	if n.Tag == "!function" {
		return n
	}
	for _, c := range n.Content {
		if fn := findFunction(c); fn != nil {
			return fn
		}
	}
	return nil
}

// The keys that files may have; include is taken out before.
func taskKeys() []string {
	return []string{"task", "task_alias", "tag", "dataset_path", "dataset_name", "dataset_kwargs", "training_split", "validation_split",
		"test_split", "fewshot_split", "doc_to_text", "doc_to_target", "doc_to_choice", "choices_from", "description", "target_delimiter",
		"fewshot_delimiter", "fewshot_config", "num_fewshot", "metric_list", "output_type", "generation_kwargs", "repeats", "filter_list",
		"gen_prefix", "unsafe_code", "metadata", "should_decontaminate", "doc_to_decontamination_query"}
}

func fewshotKeys() []string {
	return []string{"sampler", "split", "fewshot_indices", "samples", "doc_to_text", "doc_to_target", "doc_to_choice", "gen_prefix",
		"fewshot_delimiter", "target_delimiter"}
}

func groupKeys() []string {
	return []string{"group", "group_alias", "task", "aggregate_metric_list", "metadata", "tag"}
}

// yamlNames lists the YAML files below a directory of the operating system.
func yamlNames(dir string) ([]string, error) {
	var out []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if ext := filepath.Ext(p); !d.IsDir() && (ext == ".yaml" || ext == ".yml") {
			out = append(out, p)
		}
		return nil
	})
	return out, err
}
