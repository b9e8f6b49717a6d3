package config

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// decoder turns one YAML value into the Go value of a key.
type decoder struct {
	field *field
	// shell is set for flags and the environment, where everything is text: a
	// number is then fit for a string, and commas part a list.
	shell bool
}

// problem is what is wrong with a YAML node.
type problem struct {
	node *yaml.Node
	text string
}

func (p problem) Error() string { return p.text }

func wrong(n *yaml.Node, format string, args ...any) error {
	return problem{node: n, text: fmt.Sprintf(format, args...)}
}

func expected(n *yaml.Node, what string) error {
	return wrong(n, "expected %s, found %s", what, describe(n))
}

// decode sets v from n.
func (d decoder) decode(n *yaml.Node, v reflect.Value) error {
	n = deref(n)
	switch p := v.Addr().Interface().(type) {
	case *Auto[bool]:
		return decodeAuto(d, n, p)
	case *Auto[int]:
		return decodeAuto(d, n, p)
	case *Auto[float64]:
		return decodeAuto(d, n, p)
	case *Auto[Steps]:
		return decodeAuto(d, n, p)
	case *Steps:
		return d.decodeSteps(n, p)
	case *Targets:
		return d.decodeTargets(n, p)
	case *Resume:
		return d.decodeResume(n, p)
	case *Dataset:
		return d.decodeDataset(n, p)
	}
	switch v.Kind() {
	case reflect.String:
		s, err := d.text(n)
		if err != nil {
			return err
		}
		s, err = d.member(n, s)
		v.SetString(s)
		return err
	case reflect.Bool:
		b, err := boolOf(n)
		v.SetBool(b)
		return err
	case reflect.Int:
		i, err := d.integer(n)
		v.SetInt(int64(i))
		return err
	case reflect.Float64:
		f, err := d.number(n)
		v.SetFloat(f)
		return err
	case reflect.Slice:
		return d.decodeList(n, v)
	case reflect.Map:
		return d.decodeMap(n, v)
	case reflect.Interface:
		s, err := scalarOf(n)
		if err == nil {
			v.Set(reflect.ValueOf(s))
		}
		return err
	}
	return wrong(n, "keys of type %s cannot be read", v.Type())
}

func decodeAuto[T any](d decoder, n *yaml.Node, p *Auto[T]) error {
	if n.Kind == yaml.ScalarNode && n.Value == autoText {
		*p = Auto[T]{}
		return nil
	}
	var v T
	if err := d.decode(n, reflect.ValueOf(&v).Elem()); err != nil {
		var pr problem
		if errors.As(err, &pr) && strings.HasPrefix(pr.text, "expected ") {
			pr.text = "expected auto or " + strings.TrimPrefix(pr.text, "expected ")
			return pr
		}
		return err
	}
	*p = Given(v)
	return nil
}

// text returns the text of a scalar.
func (d decoder) text(n *yaml.Node) (string, error) {
	if n.Kind != yaml.ScalarNode {
		return "", expected(n, d.wanted("a text"))
	}
	if n.Tag != "!!str" && !d.shell && !slices.Contains(d.field.enum, n.Value) {
		if len(d.field.enum) > 0 {
			return "", expected(n, d.wanted("a text"))
		}
		return "", wrong(n, "expected a text, found %s (put it in quotes if you mean it)", describe(n))
	}
	return n.Value, nil
}

// wanted is what, or the list of the values allowed where there is one.
func (d decoder) wanted(what string) string {
	if len(d.field.enum) == 0 {
		return what
	}
	return "one of " + strings.Join(d.field.enum, ", ")
}

// member checks that s is one of the values allowed, and returns its canonical name.
func (d decoder) member(n *yaml.Node, s string) (string, error) {
	if len(d.field.enum) == 0 || slices.Contains(d.field.enum, s) {
		return s, nil
	}
	if to, ok := valueAliases()[d.field.key][s]; ok {
		return to, nil
	}
	if advice, ok := knownValues()[d.field.key][s]; ok {
		return s, wrong(n, "%s is known, but not supported yet; %s", s, advice)
	}
	return s, wrong(n, "expected one of %s, found %q%s", strings.Join(d.field.enum, ", "), s, didYouMean(s, d.field.enum))
}

func boolOf(n *yaml.Node) (bool, error) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!bool" {
		return strings.EqualFold(n.Value, "true"), nil
	}
	return false, expected(n, "true or false")
}

// float parses a number as Go and YAML 1.2 write it: 1e-5 is one.
func float(n *yaml.Node) (float64, bool) {
	if n.Kind != yaml.ScalarNode || n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(n.Value, "_", ""), 64)
	return f, err == nil && !math.IsNaN(f) && !math.IsInf(f, 0)
}

func (d decoder) number(n *yaml.Node) (float64, error) {
	f, ok := float(n)
	if !ok {
		return 0, expected(n, "a number")
	}
	if text := d.field.bounds.check(f); text != "" {
		return f, wrong(n, "%s", text)
	}
	return f, nil
}

// integer accepts 1e3 as well as 1000.
func (d decoder) integer(n *yaml.Node) (int, error) {
	f, ok := float(n)
	if !ok || f != math.Trunc(f) {
		return 0, expected(n, "a whole number")
	}
	if math.Abs(f) > 1<<53 {
		return 0, wrong(n, "%s is too large", n.Value)
	}
	if text := d.field.bounds.check(f); text != "" {
		return int(f), wrong(n, "%s", text)
	}
	return int(f), nil
}

func (d decoder) decodeSteps(n *yaml.Node, p *Steps) error {
	f, err := d.number(n)
	if err != nil {
		return err
	}
	if f >= 1 && f != math.Trunc(f) {
		return expected(n, "a whole number of steps, or a part of the run below 1")
	}
	*p = Steps(f)
	return nil
}

func (d decoder) decodeTargets(n *yaml.Node, p *Targets) error {
	if n.Kind == yaml.ScalarNode && !(d.shell && strings.Contains(n.Value, ",")) {
		s, err := d.text(n)
		if err != nil {
			return err
		}
		if s == "" {
			return wrong(n, "expected all-linear, a list of module names, or a regular expression, found an empty text")
		}
		if s == "all" { // LLaMA-Factory's word
			s = AllLinear
		}
		*p = Targets{Pattern: s}
		return nil
	}
	var names []string
	if err := d.decodeList(n, reflect.ValueOf(&names).Elem()); err != nil {
		return err
	}
	if len(names) == 0 {
		return wrong(n, "expected all-linear, a list of module names, or a regular expression, found an empty list")
	}
	if slices.Equal(names, []string{"all"}) || slices.Equal(names, []string{AllLinear}) {
		*p = Targets{Pattern: AllLinear}
		return nil
	}
	*p = Targets{Names: names}
	return nil
}

func (d decoder) decodeResume(n *yaml.Node, p *Resume) error {
	if b, err := boolOf(n); err == nil {
		*p = Resume{On: b}
		return nil
	}
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" && !d.shell || n.Value == "" {
		return expected(n, "true, false or the path of a checkpoint")
	}
	*p = Resume{On: true, Path: n.Value}
	return nil
}

// decodeList sets the slice v. A single value stands for a list of one.
func (d decoder) decodeList(n *yaml.Node, v reflect.Value) error {
	items := []*yaml.Node{n}
	switch {
	case n.Kind == yaml.SequenceNode:
		items = n.Content
	case n.Kind == yaml.MappingNode && v.Type().Elem() != reflect.TypeFor[Dataset]():
		return expected(n, "a list")
	case d.shell && n.Kind == yaml.ScalarNode && strings.Contains(n.Value, ","):
		items = nil
		for part := range strings.SplitSeq(n.Value, ",") {
			items = append(items, scalarNode(strings.TrimSpace(part)))
		}
	}
	if len(items) == 0 {
		v.SetZero() // an empty list is one that was not given
		return nil
	}
	list := reflect.MakeSlice(v.Type(), len(items), len(items))
	var errs []error
	for i, item := range items {
		if err := d.decode(item, list.Index(i)); err != nil {
			errs = append(errs, err)
		}
	}
	v.Set(list)
	return errors.Join(errs...)
}

// decodeMap sets the map v, whose keys are strings.
func (d decoder) decodeMap(n *yaml.Node, v reflect.Value) error {
	if n.Kind != yaml.MappingNode {
		return expected(n, "a mapping (name: value)")
	}
	if len(n.Content) == 0 {
		v.SetZero()
		return nil
	}
	m := reflect.MakeMap(v.Type())
	var errs []error
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := deref(n.Content[i])
		if k.Kind != yaml.ScalarNode {
			errs = append(errs, expected(k, "a name"))
			continue
		}
		if m.MapIndex(reflect.ValueOf(k.Value)).IsValid() {
			errs = append(errs, wrong(k, "%q is given twice", k.Value))
			continue
		}
		e := reflect.New(v.Type().Elem()).Elem()
		if err := d.decode(n.Content[i+1], e); err != nil {
			errs = append(errs, err)
			continue
		}
		m.SetMapIndex(reflect.ValueOf(k.Value), e)
	}
	v.Set(m)
	return errors.Join(errs...)
}

// scalarOf returns a bool, int, float64 or string.
func scalarOf(n *yaml.Node) (any, error) {
	if n.Kind != yaml.ScalarNode {
		return nil, expected(n, "a number, a text, true or false")
	}
	if b, err := boolOf(n); err == nil {
		return b, nil
	}
	if f, ok := float(n); ok {
		if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			return int(f), nil
		}
		return f, nil
	}
	return n.Value, nil
}

// decodeDataset reads one entry of a list of datasets.
func (d decoder) decodeDataset(n *yaml.Node, p *Dataset) error {
	if n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
		s, err := d.text(n)
		if err == nil && s == "" {
			err = wrong(n, "expected a path, found an empty text")
		}
		*p = newDataset(s)
		return err
	}
	if n.Kind != yaml.MappingNode {
		return expected(n, "a path, or a mapping with the key path")
	}
	*p = newDataset("")
	v := reflect.ValueOf(p).Elem()
	fields := structFields(v.Type(), nil)
	var errs []error
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, val := deref(n.Content[i]), deref(n.Content[i+1])
		at := slices.IndexFunc(fields, func(f field) bool { return f.key == k.Value })
		switch {
		case at < 0:
			errs = append(errs, wrong(k, "unknown key %q in a dataset%s", k.Value, didYouMean(k.Value, fieldKeys(fields))))
			continue
		case seen[k.Value]:
			errs = append(errs, wrong(k, "%q is given twice", k.Value))
			continue
		case val.Tag == "!!null":
			continue
		}
		seen[k.Value] = true
		inner := decoder{field: &fields[at], shell: d.shell}
		// The value aliases of datasets[].type are filed under that name.
		inner.field.key = "datasets[]." + inner.field.key
		if err := inner.decode(val, v.FieldByIndex(fields[at].index)); err != nil {
			errs = append(errs, nameIt(err, k.Value))
		}
		inner.field.key = k.Value
	}
	if p.Path == "" && len(errs) == 0 {
		errs = append(errs, wrong(n, "a dataset needs a path"))
	}
	return errors.Join(errs...)
}

// nameIt puts the inner key before the text of each problem in err.
func nameIt(err error, key string) error {
	var errs []error
	for _, p := range problems(err) {
		errs = append(errs, problem{node: p.node, text: key + ": " + p.text})
	}
	return errors.Join(errs...)
}

// problems flattens what decode returned.
func problems(err error) []problem {
	if err == nil {
		return nil
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var out []problem
		for _, e := range many.Unwrap() {
			out = append(out, problems(e)...)
		}
		return out
	}
	var p problem
	if errors.As(err, &p) {
		return []problem{p}
	}
	return []problem{{node: &yaml.Node{}, text: err.Error()}}
}

func fieldKeys(fs []field) []string {
	keys := make([]string, len(fs))
	for i, f := range fs {
		keys[i] = f.key
	}
	return keys
}

// deref follows a YAML alias (*name) to its anchor.
func deref(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

// describe says in words what a node holds.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "a mapping"
	}
	switch n.Tag {
	case "!!null":
		return "nothing"
	case "!!bool":
		return n.Value
	case "!!int", "!!float":
		return "the number " + n.Value
	}
	return "the text " + strconv.Quote(shorten(n.Value))
}

func shorten(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
