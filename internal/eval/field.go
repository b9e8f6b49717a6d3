package eval

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/mltrain/mltrain/internal/template"
)

// field is a value of a task that is made from a row: the name of a column, a Jinja template, or the value itself.
type field struct {
	name   string // the task's key, for messages
	column string
	tmpl   *template.Template
	value  template.Value // an integer, a list or a mapping
}

// newField reads a key's value. Strings that are no column's name are templates.
func newField(name string, v template.Value, columns []string) (*field, error) {
	text, ok := v.(string)
	switch {
	case v == nil:
		return nil, nil
	case !ok:
		return &field{name: name, value: v}, nil
	case slices.Contains(columns, text):
		return &field{name: name, column: text}, nil
	}
	t, err := template.ParsePlain(name, text)
	if err != nil {
		return nil, err
	}
	return &field{name: name, tmpl: t}, nil
}

// errMissing is wrapped by errors about rows that lack what a task asks of them.
var errMissing = errors.New("the row lacks a field")

// render gives the field's value for a row: any value for columns and fixed values, text for templates.
func (f *field) render(d doc) (v template.Value, isTemplate bool, err error) {
	switch {
	case f.column != "":
		v, ok := d.Get(f.column)
		if !ok {
			return nil, false, fmt.Errorf("%s: %s: %w: %q; it has %s", d.ref, f.name, errMissing, f.column, keyNames(d))
		}
		return v, false, nil
	case f.tmpl == nil:
		return f.value, false, nil
	}
	out, err := f.tmpl.Render(d.Dict, template.Options{})
	if errors.Is(err, template.ErrUndefined) {
		return nil, true, fmt.Errorf("%s: %w: %w; it has %s", d.ref, errMissing, err, keyNames(d))
	}
	if err != nil {
		return nil, true, fmt.Errorf("%s: %w", d.ref, err)
	}
	return out.Text, true, nil
}

func keyNames(d doc) string {
	var names []string
	for _, k := range d.Keys() {
		if s, ok := k.(string); ok {
			names = append(names, s)
		}
	}
	return strings.Join(names, ", ")
}

// text is render for what must be text; a nil field is none.
func (f *field) text(d doc) (string, error) {
	if f == nil {
		return "", nil
	}
	v, _, err := f.render(d)
	if err != nil {
		return "", err
	}
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("%s: %s: expected text, found %s", d.ref, f.name, describe(v))
	}
	return s, nil
}

// number reports whether a rendered template stands for a number, as Python's str.isdigit has it.
func number(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// target is doc_to_target: text, a number (the index of a choice) or a list. withChoices says that the task has choices.
func (f *field) target(d doc, withChoices bool) (template.Value, error) {
	v, isTemplate, err := f.render(d)
	s, isText := v.(string)
	if err != nil || !isTemplate || !isText {
		return v, err
	}
	if n, ok := number(s); ok && withChoices {
		return n, nil
	}
	if len(s) >= 2 && s[0] == '[' && s[len(s)-1] == ']' {
		if list, err := literal(s); err == nil {
			return list, nil
		}
	}
	return s, nil
}

// choices is doc_to_choice: a list of texts.
func (f *field) choices(d doc) ([]string, error) {
	v, isTemplate, err := f.render(d)
	if err != nil {
		return nil, err
	}
	if s, ok := v.(string); ok && isTemplate {
		if v, err = literal(s); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", d.ref, f.name, err)
		}
	}
	if m, ok := v.(*template.Dict); ok {
		list := []template.Value{}
		for _, k := range m.Keys() {
			name, _ := k.(string)
			x, _ := m.Get(name)
			list = append(list, x)
		}
		v = list
	}
	if t, ok := v.(template.Tuple); ok {
		v = []template.Value(t)
	}
	list, ok := v.([]template.Value)
	if !ok || len(list) == 0 {
		return nil, fmt.Errorf("%s: %s: expected a list of choices, found %s", d.ref, f.name, describe(v))
	}
	out := make([]string, len(list))
	for i, x := range list {
		if out[i], ok = x.(string); !ok || out[i] == "" {
			return nil, fmt.Errorf("%s: %s: choice %d is %s, want text", d.ref, f.name, i, describe(x))
		}
	}
	return out, nil
}

// describe shows a value in a message.
func describe(v template.Value) string {
	s, err := template.JSON(v, 0)
	if err != nil {
		return fmt.Sprintf("%T", v)
	}
	if len(s) > 60 {
		s = s[:60] + "…"
	}
	return s
}
