package eval

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed builtin/*.yaml
var builtinTasks embed.FS

// ErrUnknownTask is wrapped by errors about tasks that no file defines.
var ErrUnknownTask = errors.New("unknown task")

// Registry knows tasks, groups and tags by name, from the built-in files and those that are added.
type Registry struct {
	entries map[string]entry
	tags    map[string][]string // a tag's tasks, in the order in which they were added
	faults  []error             // files in added directories that could not be read
	closest func(name string, known []string) string
}

type entry struct {
	fsys    taskFS
	file    string
	group   bool
	builtin bool
}

// NewRegistry returns a registry with the built-in tasks. closest, which may be nil, finds the name that was meant, "" if none.
func NewRegistry(closest func(name string, known []string) string) (*Registry, error) {
	if closest == nil {
		closest = func(string, []string) string { return "" }
	}
	r := &Registry{entries: map[string]entry{}, tags: map[string][]string{}, closest: closest}
	fsys := taskFS{FS: builtinTasks}
	files, err := fs.Glob(builtinTasks, "builtin/*.yaml")
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if _, err := r.add(fsys, f); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// AddPath adds a task file, or all those below a directory; they win over built-in ones of the same name. It returns the
// names of the tasks and groups that a single file defines. Files below a directory that cannot be read are skipped until a
// name is not found.
func (r *Registry) AddPath(p string) ([]string, error) {
	info, err := os.Stat(p)
	if err != nil {
		return nil, fmt.Errorf("tasks: %w", err)
	}
	abs, err := filepath.Abs(p)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		name, err := r.add(systemFS(), strings.TrimPrefix(filepath.ToSlash(abs), "/"))
		if err == nil && name == "" {
			err = fmt.Errorf("%s: defines no task: the key task is missing", p)
		}
		return []string{name}, err
	}
	files, err := yamlNames(abs)
	if err != nil {
		return nil, fmt.Errorf("tasks: %w", err)
	}
	for _, f := range files {
		if _, err := r.add(systemFS(), strings.TrimPrefix(filepath.ToSlash(f), "/")); err != nil {
			r.faults = append(r.faults, err)
		}
	}
	return nil, nil
}

// add enters a file under the name that it gives its task or group; files without a name are there to be included.
func (r *Registry) add(fsys taskFS, file string) (string, error) {
	f, err := readYAML(fsys, file, false, nil)
	if err != nil {
		return "", err
	}
	e := entry{fsys: fsys, file: file, builtin: !fsys.system}
	name := f.text("group")
	if e.group = name != ""; !e.group {
		name = f.text("task")
	}
	if name == "" {
		return "", nil
	}
	if old, ok := r.entries[name]; ok && !old.builtin && old.file != file {
		return "", fmt.Errorf("%s: task %s is defined in %s already", f.path, name, old.fsys.show(old.file))
	}
	r.entries[name] = e
	if v, ok := f.vals["tag"]; ok && !e.group {
		var tags stringList
		if err := v.node.Decode(&tags); err != nil {
			return "", fmt.Errorf("%s:%d: tag: %w", f.path, v.node.Line, err)
		}
		for _, t := range tags {
			if !slices.Contains(r.tags[t], name) {
				r.tags[t] = append(r.tags[t], name)
			}
		}
	}
	return name, nil
}

// Names lists tasks, groups and tags.
func (r *Registry) Names() (tasks, groups, tags []string) {
	for name, e := range r.entries {
		if e.group {
			groups = append(groups, name)
		} else {
			tasks = append(tasks, name)
		}
	}
	slices.Sort(tasks)
	slices.Sort(groups)
	return tasks, groups, slices.Sorted(maps.Keys(r.tags))
}

// Selection is what was asked for: tasks in order, and the groups that they were asked for in.
type Selection struct {
	configs []*loadedTask
	groups  []*group
}

type loadedTask struct {
	taskConfig
	file    string // for messages
	dir     string // where the file lies, "" for built-in ones
	builtin bool
}

type group struct {
	groupConfig
	tasks []string // all that it holds, also in groups within
}

// Select finds tasks by the names of tasks, groups and tags. Faults of all of them are reported at once.
func (r *Registry) Select(names []string) (*Selection, error) {
	s := &Selection{}
	var faults []error
	for _, name := range names {
		if _, err := r.selectOne(s, name, nil); err != nil {
			faults = append(faults, err)
		}
	}
	return s, errors.Join(faults...)
}

// selectOne adds a name and returns the tasks that it stands for.
func (r *Registry) selectOne(s *Selection, name string, above []string) ([]string, error) {
	if slices.Contains(above, name) {
		return nil, fmt.Errorf("group %s holds itself: %s", name, strings.Join(append(above, name), " → "))
	}
	e, ok := r.entries[name]
	if !ok {
		members, isTag := r.tags[name]
		if !isTag {
			return nil, r.unknown(name)
		}
		return r.selectAll(s, slices.Sorted(slices.Values(members)), append(above, name))
	}
	f, err := readYAML(e.fsys, e.file, true, nil)
	if err != nil {
		return nil, err
	}
	if e.group {
		g := &group{}
		if err := f.decode(&g.groupConfig, groupKeys(), r.closest); err != nil {
			return nil, err
		}
		tasks, err := r.selectAll(s, g.Task, append(above, name))
		g.tasks = tasks
		if !slices.ContainsFunc(s.groups, func(h *group) bool { return h.Group == g.Group }) {
			s.groups = append(s.groups, g)
		}
		return tasks, err
	}
	if slices.ContainsFunc(s.configs, func(t *loadedTask) bool { return t.Task == name }) {
		return []string{name}, nil
	}
	t := &loadedTask{file: f.path, builtin: e.builtin}
	if !e.builtin {
		t.dir = filepath.Dir("/" + e.file)
	}
	if err := f.decode(&t.taskConfig, taskKeys(), r.closest); err != nil {
		return nil, err
	}
	s.configs = append(s.configs, t)
	return []string{name}, nil
}

func (r *Registry) selectAll(s *Selection, names, above []string) ([]string, error) {
	var tasks []string
	var faults []error
	for _, name := range names {
		some, err := r.selectOne(s, name, slices.Clone(above))
		if err != nil {
			faults = append(faults, err)
		}
		tasks = append(tasks, some...)
	}
	return tasks, errors.Join(faults...)
}

func (r *Registry) unknown(name string) error {
	tasks, groups, tags := r.Names()
	known := slices.Concat(tasks, groups, tags)
	hint := "; there are " + strings.Join(known, ", ") + ", and task files by their path"
	if near := r.closest(name, known); near != "" {
		hint = " (did you mean " + near + "?)"
	} else if len(known) > 40 {
		hint = fmt.Sprintf("; %d are known, 'mltrain eval --list-tasks' prints them", len(known))
	}
	if len(r.faults) > 0 {
		hint += fmt.Sprintf("\n%d task files could not be read, the first: %v", len(r.faults), r.faults[0])
	}
	return fmt.Errorf("%w %q%s", ErrUnknownTask, name, hint)
}
