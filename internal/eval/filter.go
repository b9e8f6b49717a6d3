package eval

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/mltrain/mltrain/internal/template"
)

// filterChain is a named way from what the model wrote to what is scored.
type filterChain struct {
	name  string
	steps []filterFunc
	// first: one of the steps takes a single answer, so that a text is scored and not the list of all repeats.
	first bool
}

// filterFunc changes the answers that one request got.
type filterFunc func(answers []string, d doc) ([]string, error)

// apply runs the chain.
func (c filterChain) apply(answers []string, d doc) ([]string, error) {
	answers = slices.Clone(answers)
	for _, f := range c.steps {
		var err error
		if answers, err = f(answers, d); err != nil {
			return nil, fmt.Errorf("%s: filter %s: %w", d.ref, c.name, err)
		}
	}
	return answers, nil
}

// filterNames are the filters of task files.
func filterNames() []string {
	return []string{"take_first", "take_first_k", "majority_vote", "regex", "multi_choice_regex", "remove_whitespace", "lowercase", "uppercase", "map"}
}

// parseFilters reads filter_list; without one, the first answer is scored as it is.
func (t *Task) parseFilters(closest func(string, []string) string) ([]filterChain, error) {
	list := t.FilterList
	if list == nil {
		list = []filterConfig{{Name: "none"}}
		if !t.needsAll() {
			list[0].Filter = []filterStep{{Function: "take_first"}}
		}
	}
	var out []filterChain
	var faults []error
	seen := map[string]bool{}
	for _, c := range list {
		chain := filterChain{name: c.Name}
		if c.Name == "" || seen[c.Name] {
			faults = append(faults, fmt.Errorf("filter_list: each entry needs a name of its own, found %q", c.Name))
		}
		seen[c.Name] = true
		for _, step := range c.Filter {
			f, err := newFilter(step, closest)
			if err != nil {
				faults = append(faults, fmt.Errorf("filter_list: %s: %w", c.Name, err))
				continue
			}
			if t.OutputType != generateUntil && step.Function != "take_first" {
				faults = append(faults, fmt.Errorf("filter_list: %s: %s works on generated text, and output_type is %s", c.Name, step.Function, t.OutputType))
			}
			chain.steps = append(chain.steps, f)
			chain.first = chain.first || step.Function == "take_first"
		}
		if !chain.first && !t.needsAll() {
			faults = append(faults, fmt.Errorf("filter_list: %s: end it with take_first, so that a single answer is scored", c.Name))
		}
		out = append(out, chain)
	}
	return out, errors.Join(faults...)
}

func newFilter(s filterStep, closest func(string, []string) string) (filterFunc, error) {
	a := filterArgs{step: s}
	var f filterFunc
	switch s.Function {
	case "take_first":
		f = func(answers []string, _ doc) ([]string, error) { return answers[:1], nil }
	case "take_first_k":
		k := a.integer("k", 0)
		if k < 1 {
			a.fault("k is missing or below 1")
		}
		f = func(answers []string, _ doc) ([]string, error) {
			if len(answers) < k {
				return nil, fmt.Errorf("take_first_k: there are %d answers, k is %d; set repeats", len(answers), k)
			}
			return answers[:k], nil
		}
	case "majority_vote":
		f = func(answers []string, _ doc) ([]string, error) { return []string{mostCommon(answers)}, nil }
	case "regex":
		x := a.extractor()
		f = eachAnswer(func(s string, _ doc) (string, error) {
			found, ok, err := x.find(x.re, s)
			if !ok {
				found = x.fallback
			}
			return found, err
		})
	case "multi_choice_regex":
		f = a.multiChoice()
	case "remove_whitespace":
		f = eachAnswer(func(s string, _ doc) (string, error) { return strings.TrimFunc(s, pySpace), nil })
	case "lowercase":
		f = eachAnswer(func(s string, _ doc) (string, error) { return strings.ToLower(s), nil })
	case "uppercase":
		f = eachAnswer(func(s string, _ doc) (string, error) { return strings.ToUpper(s), nil })
	case "map":
		dict := a.texts("mapping_dict")
		other := a.text("default_value", "None")
		f = eachAnswer(func(s string, _ doc) (string, error) {
			if v, ok := dict[s]; ok {
				return v, nil
			}
			return other, nil
		})
	case "custom", "decontaminate", "regex_pos", "format_span":
		return nil, fmt.Errorf("filter %s is not available here", s.Function)
	default:
		hint := "; there are " + strings.Join(filterNames(), ", ")
		if near := closest(s.Function, filterNames()); near != "" {
			hint = " (did you mean " + near + "?)"
		}
		return nil, fmt.Errorf("unknown filter %q%s", s.Function, hint)
	}
	return f, a.err()
}

func eachAnswer(f func(string, doc) (string, error)) filterFunc {
	return func(answers []string, d doc) ([]string, error) {
		for i := range answers {
			var err error
			if answers[i], err = f(answers[i], d); err != nil {
				return nil, err
			}
		}
		return answers, nil
	}
}

// mostCommon is the answer that occurs most often; of several, the first.
func mostCommon(answers []string) string {
	count := map[string]int{}
	for _, a := range answers {
		count[a]++
	}
	best := answers[0]
	for _, a := range answers {
		if count[a] > count[best] {
			best = a
		}
	}
	return best
}

// filterArgs reads the arguments of a step, and finds those that it has not.
type filterArgs struct {
	step   filterStep
	used   []string
	faults []error
}

func (a *filterArgs) fault(format string, args ...any) {
	a.faults = append(a.faults, fmt.Errorf("filter %s: %s", a.step.Function, fmt.Sprintf(format, args...)))
}

func (a *filterArgs) err() error {
	for k := range a.step.Args {
		if !slices.Contains(a.used, k) {
			a.fault("unknown argument %s", k)
		}
	}
	return errors.Join(a.faults...)
}

func (a *filterArgs) get(key string) (any, bool) {
	a.used = append(a.used, key)
	v, ok := a.step.Args[key]
	return v, ok && v != nil
}

func (a *filterArgs) integer(key string, other int) int {
	v, ok := a.get(key)
	if !ok {
		return other
	}
	n, ok := v.(int)
	if !ok {
		a.fault("%s is %v, want a whole number", key, v)
	}
	return n
}

func (a *filterArgs) text(key, other string) string {
	v, ok := a.get(key)
	if !ok {
		return other
	}
	s, ok := v.(string)
	if !ok {
		a.fault("%s is %v, want a text", key, v)
	}
	return s
}

func (a *filterArgs) boolean(key string) bool {
	v, ok := a.get(key)
	if !ok {
		return false
	}
	b, ok := v.(bool)
	if !ok {
		a.fault("%s is %v, want true or false", key, v)
	}
	return b
}

func (a *filterArgs) texts(key string) map[string]string {
	out := map[string]string{}
	v, _ := a.get(key)
	m, ok := v.(map[string]any)
	if !ok {
		a.fault("%s is missing or no mapping", key)
	}
	for k, x := range m {
		s, err := template.String(x)
		if n, isInt := x.(int); isInt {
			s, err = fmt.Sprint(n), nil
		}
		if err != nil {
			a.fault("%s: %v", key, err)
		}
		out[k] = s
	}
	return out
}

// extractor finds the part of an answer that a pattern matches.
type extractor struct {
	re       *template.Regexp
	group    int
	fallback string
}

func (a *filterArgs) extractor() extractor {
	x := extractor{group: a.integer("group_select", 0), fallback: a.text("fallback", "[invalid]")}
	var err error
	if x.re, err = template.CompileRegexp(a.text("regex_pattern", `#### (\-?[0-9\.\,]+)`)); err != nil {
		a.fault("%v", err)
	}
	return x
}

// find gives the match that group_select picks, counted from the end where negative, of its groups the first that is not
// empty, without space around it.
func (x extractor) find(re *template.Regexp, s string) (string, bool, error) {
	all, err := re.FindAll(s)
	if err != nil {
		return "", false, err
	}
	i := x.group
	if i < 0 {
		i += len(all)
	}
	if len(all) == 0 {
		return "", false, nil
	}
	if i < 0 || i >= len(all) {
		return "", false, fmt.Errorf("group_select is %d, the pattern matches %d times", x.group, len(all))
	}
	for _, g := range all[i] {
		if g != "" {
			return strings.TrimFunc(g, pySpace), true, nil
		}
	}
	// A single group, or none, may match nothing: that is an empty answer. Of several, none took part.
	return "", len(all[i]) == 1, nil
}

// multiChoice finds the letter of a choice: by the pattern, else by the text of the choice, else after a colon.
func (a *filterArgs) multiChoice() filterFunc {
	x := a.extractor()
	ignoreCase, ignorePunctuation := a.boolean("ignore_case"), a.boolean("ignore_punctuation")
	ignore := a.patterns("regexes_to_ignore")
	plain := func(s string) (string, error) {
		for _, re := range ignore {
			var err error
			if s, err = re.Replace(s, "", 0); err != nil {
				return "", err
			}
		}
		if ignoreCase {
			s = strings.ToLower(s)
		}
		if ignorePunctuation {
			s = strings.Map(func(r rune) rune {
				if unicode.Is(unicode.P, r) {
					return -1
				}
				return r
			}, s)
		}
		return s, nil
	}
	return eachAnswer(func(s string, d doc) (string, error) {
		found, _, err := x.find(x.re, s)
		if err != nil || found != "" {
			return found, err
		}
		v, _ := d.Get("choices")
		choices, ok := v.([]template.Value)
		if !ok {
			return "", fmt.Errorf("multi_choice_regex: %w: \"choices\", a list", errMissing)
		}
		letters := map[string]string{}
		var texts, names []string
		for i, c := range choices {
			text, ok := c.(string)
			if !ok {
				return "", fmt.Errorf("multi_choice_regex: choice %d is no text", i)
			}
			if text, err = plain(strings.TrimFunc(text, pySpace)); err != nil {
				return "", err
			}
			name := string(rune('A' + i))
			letters[text] = "(" + name + ")"
			texts, names = append(texts, regexp.QuoteMeta(text)), append(names, name)
		}
		slices.SortStableFunc(texts, func(a, b string) int { return len([]rune(b)) - len([]rune(a)) })
		text, err := plain(s)
		if err != nil {
			return "", err
		}
		for _, try := range []struct{ pattern, in string }{
			{strings.Join(texts, "|"), text},
			{`:[\s]*(` + strings.Join(names, "|") + ")", s},
		} {
			re, err := template.CompileRegexp(try.pattern)
			if err != nil {
				return "", err
			}
			found, _, err := x.find(re, try.in)
			if err != nil {
				return "", err
			}
			if letter, ok := letters[found]; ok {
				return letter, nil
			}
			if slices.Contains(names, found) {
				return "(" + found + ")", nil
			}
			if found != "" {
				return found, nil
			}
		}
		return x.fallback, nil
	})
}

func (a *filterArgs) patterns(key string) []*template.Regexp {
	v, ok := a.get(key)
	if !ok {
		return nil
	}
	out, err := compilePatterns(v)
	if err != nil {
		a.fault("%s: %v", key, err)
	}
	return out
}

func compilePatterns(v any) ([]*template.Regexp, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("%v is no list of patterns", v)
	}
	var out []*template.Regexp
	for _, x := range list {
		s, ok := x.(string)
		if !ok {
			return nil, fmt.Errorf("%v is no pattern", x)
		}
		re, err := template.CompileRegexp(s)
		if err != nil {
			return nil, err
		}
		out = append(out, re)
	}
	return out, nil
}
