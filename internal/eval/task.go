package eval

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mltrain/mltrain/internal/data"
	"github.com/mltrain/mltrain/internal/template"
)

// The kinds of tasks, by what is asked of the model.
const (
	loglikelihood        = "loglikelihood"         // how likely is the target after the context?
	loglikelihoodRolling = "loglikelihood_rolling" // how likely is a whole text?
	multipleChoice       = "multiple_choice"       // which choice is the most likely?
	generateUntil        = "generate_until"        // what does the model write?
)

// Task is a task with its data, ready to make requests.
type Task struct {
	loadedTask
	docs    []doc // to evaluate on
	total   int   // rows that there are
	fewshot []doc // to take examples from

	text, target, choice, prefix, description *field
	shotText, shotTarget, shotChoice          *field
	shotPrefix                                *field
	excludeSelf                               bool // a row is not an example for itself
	multipleInput                             bool // doc_to_text is the index of a choice: choices are contexts
	multipleTarget                            bool // doc_to_target is a list

	gen     genArgs
	metrics []metricSpec
	filters []filterChain
}

// DataFiles are the files that take the place of those that a task names: by the name of a split, "" for all that are not
// named.
type DataFiles map[string][]string

// newTask reads a task's data and checks everything that its file says. closest is that of the registry.
func newTask(t *loadedTask, files DataFiles, numFewshot *int, closest func(string, []string) string) (*Task, error) {
	task := &Task{loadedTask: *t}
	task.setDefaults(numFewshot)
	fail := func(err error) error { return fmt.Errorf("task %s: %w", t.Task, err) }
	if err := task.checkKeys(); err != nil {
		return nil, fail(err)
	}
	var err error
	if task.metrics, err = task.parseMetrics(closest); err != nil {
		return nil, fail(err)
	}
	if task.filters, err = task.parseFilters(closest); err != nil {
		return nil, fail(err)
	}
	if task.OutputType == generateUntil {
		if task.gen, err = parseGenArgs(task.GenerationKwargs, *task.FewshotDelimiter); err != nil {
			return nil, fail(err)
		}
		if err := task.checkRepeats(); err != nil {
			return nil, fail(err)
		}
	}
	if err := task.load(files); err != nil {
		return nil, fail(err)
	}
	if err := task.compile(); err != nil {
		return nil, fail(err)
	}
	return task, nil
}

func (t *Task) setDefaults(numFewshot *int) {
	def := func(p **string, v string) {
		if *p == nil {
			*p = &v
		}
	}
	def(&t.TargetDelimiter, " ")
	def(&t.FewshotDelimiter, "\n\n")
	def(&t.FewshotConfig.TargetDelimiter, *t.TargetDelimiter)
	def(&t.FewshotConfig.FewshotDelimiter, *t.FewshotDelimiter)
	if t.FewshotConfig.Split == "" {
		t.FewshotConfig.Split = t.FewshotSplit
	}
	if t.FewshotConfig.Sampler == "" {
		t.FewshotConfig.Sampler = "default"
	}
	if t.OutputType == "" {
		t.OutputType = generateUntil
	}
	t.Repeats = max(1, t.Repeats)
	// A task that says 0 means it.
	if numFewshot != nil && (t.NumFewshot == nil || *t.NumFewshot != 0) {
		t.NumFewshot = numFewshot
	}
	if t.NumFewshot == nil {
		t.NumFewshot = new(int)
	}
}

func (t *Task) checkKeys() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	kinds := []string{loglikelihood, loglikelihoodRolling, multipleChoice, generateUntil}
	if !slices.Contains(kinds, t.OutputType) {
		fault("output_type %q: there are %s", t.OutputType, strings.Join(kinds, ", "))
	}
	if t.DocToTarget == nil {
		fault("doc_to_target is missing")
	}
	if t.DocToText == nil && t.OutputType != loglikelihoodRolling {
		fault("doc_to_text is missing")
	}
	if t.OutputType == multipleChoice && t.DocToChoice == nil && t.ChoicesFrom == "" {
		fault("doc_to_choice is missing; %s needs it", multipleChoice)
	}
	if t.DocToChoice != nil && t.ChoicesFrom != "" {
		fault("doc_to_choice and choices_from are both given")
	}
	if s := t.FewshotConfig.Sampler; s != "default" && s != "first_n" {
		fault("fewshot_config: sampler %q: there are default and first_n", s)
	}
	if t.TestSplit == "" && t.ValidationSplit == "" {
		fault("test_split or validation_split is missing")
	}
	if *t.NumFewshot < 0 {
		fault("num_fewshot %d is negative", *t.NumFewshot)
	}
	return errors.Join(faults...)
}

func (t *Task) evalSplit() string {
	if t.TestSplit != "" {
		return t.TestSplit
	}
	return t.ValidationSplit
}

// load reads the rows to evaluate on, and those to take examples from if there are to be any.
func (t *Task) load(files DataFiles) error {
	evalFiles, err := t.splitFiles(t.evalSplit(), files)
	if err != nil {
		return err
	}
	read := readOptions{lines: t.DatasetPath == "text" && len(files) == 0}
	if read.names, err = t.columnNames(); err != nil {
		return err
	}
	if t.docs, err = readDocs(evalFiles, read); err != nil {
		return err
	}
	t.total = len(t.docs)
	if *t.NumFewshot == 0 {
		return nil
	}
	c := t.FewshotConfig
	split := c.Split
	t.excludeSelf = split == t.TestSplit
	switch {
	case split != "":
	case c.Samples != nil:
		for i, s := range c.Samples {
			v, err := template.From(s)
			if err != nil {
				return fmt.Errorf("fewshot_config: sample %d: %w", i, err)
			}
			dict, _ := v.(*template.Dict)
			d := doc{Dict: dict, ref: data.Ref{File: t.file + ", fewshot_config: samples", Row: i + 1}}
			if err := d.finish(); err != nil {
				return err
			}
			t.fewshot = append(t.fewshot, d)
		}
		return nil
	case t.TrainingSplit != "":
		split = t.TrainingSplit
	case t.ValidationSplit != "":
		split = t.ValidationSplit
	default:
		split = t.TestSplit
	}
	shotFiles, err := t.splitFiles(split, files)
	if err != nil {
		return err
	}
	if slices.Equal(shotFiles, evalFiles) {
		t.fewshot = t.docs
		t.excludeSelf = t.excludeSelf || len(files) > 0
	} else if t.fewshot, err = readDocs(shotFiles, read); err != nil {
		return err
	}
	if len(c.FewshotIndices) > 0 {
		var some []doc
		for _, i := range c.FewshotIndices {
			if i < 0 || i >= len(t.fewshot) {
				return fmt.Errorf("fewshot_config: fewshot_indices: %d, the split has %d rows", i, len(t.fewshot))
			}
			some = append(some, t.fewshot[i])
		}
		t.fewshot = some
	}
	return nil
}

// columnNames are the names that dataset_kwargs gives the columns of CSV files.
func (t *Task) columnNames() ([]string, error) {
	v, ok := t.DatasetKwargs["column_names"]
	if !ok {
		return nil, nil
	}
	list, _ := v.([]any)
	var out []string
	for _, x := range list {
		name, _ := x.(string)
		if name == "" || slices.Contains(out, name) {
			list = nil
		}
		out = append(out, name)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("dataset_kwargs: column_names is %v, want a list of different names", v)
	}
	return out, nil
}

// splitFiles finds the files of a split: those given, else those of the task's file.
func (t *Task) splitFiles(split string, files DataFiles) ([]string, error) {
	if len(files) > 0 {
		if named, ok := files[split]; ok {
			return named, nil
		}
		if rest, ok := files[""]; ok {
			return rest, nil
		}
		return nil, fmt.Errorf("no data for split %q: give --data %s=FILE (given: %s)", split, split, strings.Join(slices.Sorted(maps.Keys(files)), ", "))
	}
	how := fmt.Sprintf("give a file with --data FILE, or in the task file dataset_path: json (csv, parquet, text) and dataset_kwargs: {data_files: {%s: FILE}}", split)
	switch t.DatasetPath {
	case "json", "csv", "parquet", "text":
	case "":
		return nil, fmt.Errorf("dataset_path is missing: %s", how)
	default:
		dir, err := t.find(t.DatasetPath)
		if err != nil {
			return nil, fmt.Errorf("dataset_path %q is no local directory, and nothing is downloaded: %s", t.DatasetPath, how)
		}
		return data.Source{Path: dir, Split: split}.Expand()
	}
	for k := range t.DatasetKwargs {
		if k != "data_files" && k != "column_names" && k != "trust_remote_code" {
			return nil, fmt.Errorf("dataset_kwargs: %s is not read here; known are data_files and column_names", k)
		}
	}
	var names []any
	switch f := t.DatasetKwargs["data_files"].(type) {
	case nil:
		return nil, fmt.Errorf("no data: %s", how)
	case string:
		names = []any{f}
	case []any:
		names = f
	case map[string]any:
		switch s := f[split].(type) {
		case nil:
			return nil, fmt.Errorf("dataset_kwargs: data_files has no split %q, it has %s", split, strings.Join(slices.Sorted(maps.Keys(f)), ", "))
		case []any:
			names = s
		default:
			names = []any{s}
		}
	default:
		return nil, fmt.Errorf("dataset_kwargs: data_files is %T, want a path, a list of them, or a mapping of splits", f)
	}
	var out []string
	for _, n := range names {
		name, ok := n.(string)
		if !ok {
			return nil, fmt.Errorf("dataset_kwargs: data_files: %v is no path", n)
		}
		p, err := t.find(name)
		if err != nil {
			return nil, err
		}
		expanded, err := data.Source{Path: p}.Expand()
		if err != nil {
			return nil, err
		}
		out = append(out, expanded...)
	}
	return out, nil
}

// find resolves a path from the working directory, as Hugging Face's datasets does, else from the task file's.
func (t *Task) find(name string) (string, error) {
	_, err := os.Stat(name)
	if err == nil || filepath.IsAbs(name) || t.dir == "" || strings.ContainsAny(name, "*?[") {
		return name, err
	}
	beside := filepath.Join(t.dir, name)
	if _, err := os.Stat(beside); err != nil {
		return "", fmt.Errorf("%s is neither in the working directory nor beside %s", name, t.file)
	}
	return beside, nil
}

// compile makes the fields, and looks at the first row for what kind of task it is, as the reference does.
func (t *Task) compile() error {
	columns := features(t.docs)
	shots := slices.Concat(columns, features(t.fewshot))
	if t.ChoicesFrom != "" {
		list, err := t.distinct(t.ChoicesFrom)
		if err != nil {
			return err
		}
		t.DocToChoice = list
	}
	c := t.FewshotConfig
	or := func(v, other any) any {
		if v != nil {
			return v
		}
		return other
	}
	var faults []error
	compile := func(name string, v any, columns []string) *field {
		if v == "" && name != "doc_to_text" {
			return nil
		}
		value, err := template.From(v)
		if err == nil {
			var f *field
			if f, err = newField(name, value, columns); err == nil {
				return f
			}
		}
		faults = append(faults, fmt.Errorf("%s: %w", t.file, err))
		return nil
	}
	if t.DocToText == nil {
		t.DocToText = ""
	}
	t.text = compile("doc_to_text", t.DocToText, columns)
	t.target = compile("doc_to_target", t.DocToTarget, columns)
	t.choice = compile("doc_to_choice", t.DocToChoice, columns)
	t.prefix = compile("gen_prefix", t.GenPrefix, columns)
	t.description = compile("description", t.Description, columns)
	t.shotText = compile("doc_to_text", or(c.DocToText, t.DocToText), shots)
	t.shotTarget = compile("doc_to_target", or(c.DocToTarget, t.DocToTarget), shots)
	t.shotChoice = compile("doc_to_choice", or(c.DocToChoice, t.DocToChoice), shots)
	shotPrefix := c.GenPrefix
	if shotPrefix == "" {
		shotPrefix = t.GenPrefix
	}
	t.shotPrefix = compile("gen_prefix", shotPrefix, shots)
	if len(faults) > 0 {
		return errors.Join(faults...)
	}
	first := t.docs[0]
	if t.choice != nil {
		text, err := t.question(first, t.text)
		if err != nil {
			return err
		}
		_, t.multipleInput = text.(int64)
	}
	target, err := t.target.target(first, t.choice != nil)
	if err != nil {
		return err
	}
	_, t.multipleTarget = target.([]template.Value)
	return nil
}

// distinct lists the different values of a column, sorted.
func (t *Task) distinct(column string) ([]string, error) {
	seen := map[string]bool{}
	for _, d := range slices.Concat(t.docs, t.fewshot) {
		v, ok := d.Get(column)
		if !ok {
			return nil, fmt.Errorf("%s: choices_from: %w: %q; it has %s", d.ref, errMissing, column, keyNames(d))
		}
		s, err := template.String(v)
		if err != nil {
			return nil, err
		}
		seen[s] = true
	}
	return slices.Sorted(maps.Keys(seen)), nil
}

// question is doc_to_text: text, or the index of a choice where there are choices.
func (t *Task) question(d doc, f *field) (template.Value, error) {
	v, isTemplate, err := f.render(d)
	if s, ok := v.(string); ok && isTemplate && t.choice != nil && err == nil {
		if n, ok := number(s); ok {
			return n, nil
		}
	}
	return v, err
}
