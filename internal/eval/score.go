package eval

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/mltrain/mltrain/internal/eval/metric"
	"github.com/mltrain/mltrain/internal/template"
)

// The values that metrics give for a row; what becomes of them is the aggregation's affair.
type (
	// weighted is a sum, such as of log-likelihoods, and what it is counted by.
	weighted struct{ Sum, N float64 }
	// labelled is the index of the right choice and of the one that was taken.
	labelled struct{ Gold, Pred int }
	// texts are the right answers and the one that was given.
	texts struct {
		References []string
		Text       string
	}
	// pair is the right number and the given one.
	pair struct{ Gold, Pred float64 }
	// probabilities are those of all choices, of which Gold is right.
	probabilities struct {
		Gold int
		P    []float64
	}
)

// metricSpec is a metric of a task.
type metricSpec struct {
	name           string
	aggregation    string
	higherIsBetter bool
	match          matchOptions // exact_match
	k              int          // pass@k; 0: another
}

// metricInfo says what a metric is for, and how it is aggregated where the task does not say.
type metricInfo struct {
	kinds       []string
	aggregation string
	higher      bool
}

// metricTable are the metrics by the names of lm-evaluation-harness.
func metricTable() map[string]metricInfo {
	return map[string]metricInfo{
		"acc":             {[]string{loglikelihood, multipleChoice}, "mean", true},
		"acc_norm":        {[]string{multipleChoice}, "mean", true},
		"acc_bytes":       {[]string{multipleChoice}, "mean", true},
		"acc_mutual_info": {[]string{multipleChoice}, "mean", true},
		"brier_score":     {[]string{multipleChoice}, "brier_score", false},
		"f1":              {[]string{multipleChoice}, "f1", true},
		"mcc":             {[]string{multipleChoice}, "matthews_corrcoef", true},
		"exact_match":     {[]string{generateUntil, multipleChoice}, "mean", true},
		"perplexity":      {[]string{loglikelihood}, "perplexity", false},
		"word_perplexity": {[]string{loglikelihoodRolling}, "weighted_perplexity", false},
		"byte_perplexity": {[]string{loglikelihoodRolling}, "weighted_perplexity", false},
		"bits_per_byte":   {[]string{loglikelihoodRolling}, "bits_per_byte", false},
		"bleu":            {[]string{generateUntil}, "bleu", true},
		"ter":             {[]string{generateUntil}, "ter", false},
		"chrf":            {[]string{generateUntil}, "chrf", true},
		"chrf++":          {[]string{generateUntil}, "chrf++", true},
		"rouge1":          {[]string{generateUntil}, "mean", true}, // these and the following are not the harness's
		"rouge2":          {[]string{generateUntil}, "mean", true},
		"rougeL":          {[]string{generateUntil}, "mean", true},
		"rougeLsum":       {[]string{generateUntil}, "mean", true},
		"token_f1":        {[]string{generateUntil}, "mean", true},
		"pearson":         {[]string{generateUntil}, "pearson", true},
		"spearman":        {[]string{generateUntil}, "spearman", true},
		"mae":             {[]string{generateUntil}, "mae", false},
		"bypass":          {[]string{loglikelihood, multipleChoice, generateUntil}, "bypass", true},
	}
}

// defaultMetrics are those of a task that names none.
func defaultMetrics(kind string) []string {
	switch kind {
	case loglikelihood:
		return []string{"perplexity", "acc"}
	case loglikelihoodRolling:
		return []string{"word_perplexity", "byte_perplexity", "bits_per_byte"}
	case multipleChoice:
		return []string{"acc", "acc_norm"}
	}
	return []string{"exact_match"}
}

// parseMetrics reads metric_list.
func (t *Task) parseMetrics(closest func(string, []string) string) ([]metricSpec, error) {
	list := t.MetricList
	if list == nil {
		for _, name := range defaultMetrics(t.OutputType) {
			list = append(list, metricConfig{Metric: name})
		}
	}
	var out []metricSpec
	var faults []error
	for _, c := range list {
		var specs []metricSpec
		var err error
		if c.Metric == "pass@k" {
			specs, err = t.passAtK(c)
		} else {
			var m metricSpec
			m, err = t.parseMetric(c, closest)
			specs = []metricSpec{m}
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("metric_list: %w", err))
			continue
		}
		for _, m := range specs {
			if slices.ContainsFunc(out, func(o metricSpec) bool { return o.name == m.name }) {
				faults = append(faults, fmt.Errorf("metric_list: %s is listed twice", m.name))
			}
			out = append(out, m)
		}
	}
	return out, errors.Join(faults...)
}

func (t *Task) parseMetric(c metricConfig, closest func(string, []string) string) (metricSpec, error) {
	table := metricTable()
	m := metricSpec{name: c.Metric}
	info, ok := table[c.Metric]
	if !ok {
		var known []string
		for name, info := range table {
			if slices.Contains(info.kinds, t.OutputType) {
				known = append(known, name)
			}
		}
		if t.OutputType == generateUntil {
			known = append(known, "pass@k")
		}
		slices.Sort(known)
		hint := "; for " + t.OutputType + " there are " + strings.Join(known, ", ")
		if near := closest(c.Metric, known); near != "" {
			hint = " (did you mean " + near + "?)"
		}
		return m, fmt.Errorf("unknown metric %q%s", c.Metric, hint)
	}
	if !slices.Contains(info.kinds, t.OutputType) {
		return m, fmt.Errorf("%s is a metric of %s, and output_type is %s", c.Metric, strings.Join(info.kinds, " and "), t.OutputType)
	}
	m.aggregation, m.higherIsBetter = info.aggregation, info.higher
	if c.HigherIsBetter != nil {
		m.higherIsBetter = *c.HigherIsBetter
	}
	if a := c.Aggregation; a != "" && a != info.aggregation {
		if info.aggregation != "mean" || !slices.Contains([]string{"mean", "nanmean", "median"}, a) {
			known := aggregationNames()
			hint := ""
			if !slices.Contains(known, a) {
				hint = "; there are " + strings.Join(known, ", ")
				if near := closest(a, known); near != "" {
					hint = " (did you mean " + near + "?)"
				}
			}
			return m, fmt.Errorf("%s is aggregated by %s, not by %q%s", c.Metric, info.aggregation, a, hint)
		}
		m.aggregation = a
	}
	if c.Metric == "exact_match" && t.OutputType == generateUntil {
		var err error
		m.match, err = parseMatch(c.Args)
		return m, err
	}
	for k := range c.Args {
		return m, fmt.Errorf("%s has no argument %s", c.Metric, k)
	}
	return m, nil
}

// matchOptions are what exact_match overlooks.
type matchOptions struct {
	ignore []*template.Regexp
	metric.Matcher
}

func parseMatch(args map[string]any) (matchOptions, error) {
	var o matchOptions
	for k, v := range args {
		var err error
		var ok bool
		switch k {
		case "regexes_to_ignore":
			if v != nil {
				o.ignore, err = compilePatterns(v)
			}
			ok = true
		case "ignore_case":
			o.IgnoreCase, ok = v.(bool)
		case "ignore_punctuation":
			o.IgnorePunctuation, ok = v.(bool)
		case "ignore_numbers":
			o.IgnoreNumbers, ok = v.(bool)
		default:
			err = fmt.Errorf("exact_match has no argument %s; there are regexes_to_ignore, ignore_case, ignore_punctuation, ignore_numbers", k)
			ok = true
		}
		if !ok {
			err = fmt.Errorf("exact_match: %s is %v, want true or false", k, v)
		}
		if err != nil {
			return o, err
		}
	}
	return o, nil
}

// normal is what is compared of a text.
func (o matchOptions) normal(s string) (string, error) {
	for _, re := range o.ignore {
		var err error
		if s, err = re.Replace(s, "", 0); err != nil {
			return "", err
		}
	}
	return o.Prepare(s)
}

// matches reports whether a text is one of the references.
func (o matchOptions) matches(text string, references []string) (bool, error) {
	got, err := o.normal(text)
	if err != nil {
		return false, err
	}
	for _, r := range references {
		want, err := o.normal(r)
		if err != nil || want == got {
			return err == nil, err
		}
	}
	return false, nil
}

// answer is what the model gave for one request.
type answer struct {
	logProb float64
	greedy  bool
	texts   []string // of each repeat
}

// score computes the metrics of a row from its answers, of which the texts are filtered. passed says which programs ran to
// their end.
func (t *Task) score(d doc, answers []answer, passed map[string]bool) (map[string]any, error) {
	switch t.OutputType {
	case loglikelihood:
		a := answers[0]
		return t.pick(map[string]any{"perplexity": a.logProb, "acc": truth(a.greedy)}), nil
	case loglikelihoodRolling:
		text, err := t.target.text(d)
		if err != nil {
			return nil, err
		}
		words := weighted{answers[0].logProb, float64(countWords(text))}
		bytes := weighted{answers[0].logProb, float64(len(text))}
		return t.pick(map[string]any{"word_perplexity": words, "byte_perplexity": bytes, "bits_per_byte": bytes}), nil
	case multipleChoice:
		return t.scoreChoice(d, answers)
	}
	return t.scoreText(d, answers[0], passed)
}

// pick keeps what the task asks for.
func (t *Task) pick(all map[string]any) map[string]any {
	out := map[string]any{}
	for _, m := range t.metrics {
		if v, ok := all[m.name]; ok {
			out[m.name] = v
		}
	}
	return out
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// countWords is the number of pieces that runs of space cut a text into, empty ones at the ends included.
func countWords(text string) int {
	n, inSpace := 1, false
	for _, r := range text {
		space := pySpace(r)
		if space && !inSpace {
			n++
		}
		inSpace = space
	}
	return n
}

// gold is the index of the right choice, or of all right ones; −1 for what is none of the choices.
func (t *Task) gold(d doc, choices []string) ([]int, error) {
	var v template.Value
	var err error
	if t.multipleInput {
		v, err = t.question(d, t.text)
	} else {
		v, err = t.target.target(d, true)
	}
	if err != nil {
		return nil, err
	}
	list, ok := v.([]template.Value)
	if !ok {
		list = []template.Value{v}
	}
	out := make([]int, len(list))
	for i, x := range list {
		switch x := x.(type) {
		case int64:
			out[i] = int(x)
			if x < 0 || int(x) >= len(choices) {
				out[i] = -1
			}
		case bool:
			out[i] = int(truth(x))
		case string:
			out[i] = slices.Index(choices, x)
		default:
			return nil, fmt.Errorf("%s: doc_to_target: expected the index of a choice or its text, found %s", d.ref, describe(x))
		}
	}
	return out, nil
}

// rowGold is gold for a row's own choices.
func (t *Task) rowGold(d doc) ([]int, error) {
	choices, err := t.choice.choices(d)
	if err != nil {
		return nil, err
	}
	return t.gold(d, choices)
}

func (t *Task) scoreChoice(d doc, answers []answer) (map[string]any, error) {
	choices, err := t.choice.choices(d)
	if err != nil {
		return nil, err
	}
	gold, err := t.gold(d, choices)
	if err != nil {
		return nil, err
	}
	n := len(choices)
	lls, byChars, byBytes, mutual := make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n)
	for i, c := range choices {
		lls[i] = answers[i].logProb
		byChars[i] = lls[i] / float64(utf8.RuneCountInString(c))
		byBytes[i] = lls[i] / float64(len(c))
		if len(answers) == 2*n {
			mutual[i] = lls[i] - answers[n+i].logProb
		}
	}
	greedy := false
	for _, g := range gold {
		greedy = greedy || g >= 0 && answers[g].greedy
	}
	right := func(x []float64) float64 { return truth(slices.Contains(gold, argmax(x))) }
	return t.pick(map[string]any{
		"acc": right(lls), "acc_norm": right(byChars), "acc_bytes": right(byBytes), "acc_mutual_info": right(mutual),
		"exact_match": truth(greedy), "f1": labelled{gold[0], argmax(lls)}, "mcc": labelled{gold[0], argmax(lls)},
		"brier_score": probabilities{gold[0], softmax(lls)},
	}), nil
}

// argmax is the index of the first largest number.
func argmax(x []float64) int {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return best
}

func softmax(x []float64) []float64 {
	top := x[argmax(x)]
	out := make([]float64, len(x))
	var sum float64
	for i, v := range x {
		out[i] = math.Exp(v - top)
		sum += out[i]
	}
	for i := range out {
		out[i] /= sum
	}
	return out
}

// references are the right answers of a row as texts.
func (t *Task) references(d doc) ([]string, error) {
	v, err := t.target.target(d, t.choice != nil)
	if err != nil {
		return nil, err
	}
	var choices []string
	if t.choice != nil {
		if choices, err = t.choice.choices(d); err != nil {
			return nil, err
		}
	}
	list, ok := v.([]template.Value)
	if !ok || !t.multipleTarget {
		list = []template.Value{v}
	}
	out := make([]string, len(list))
	for i, x := range list {
		if n, ok := x.(int64); ok && choices != nil {
			if n < 0 || int(n) >= len(choices) {
				return nil, fmt.Errorf("%s: doc_to_target is choice %d of %d", d.ref, n, len(choices))
			}
			out[i] = choices[n]
			continue
		}
		if out[i], err = template.String(x); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (t *Task) scoreText(d doc, a answer, passed map[string]bool) (map[string]any, error) {
	references, err := t.references(d)
	if err != nil {
		return nil, err
	}
	text := a.texts[0]
	out := map[string]any{}
	var rouge *metric.ROUGEScores
	for _, m := range t.metrics {
		var v any
		switch m.name {
		case "exact_match":
			var ok bool
			ok, err = m.match.matches(text, references)
			v = truth(ok)
		case "bleu", "ter", "chrf", "chrf++":
			v = texts{references, text}
		case "rouge1", "rouge2", "rougeL", "rougeLsum":
			if rouge == nil {
				var scores metric.ROUGEScores
				scores, err = metric.ROUGE{}.Score(text, references)
				rouge = &scores
			}
			v = map[string]metric.PRF{"rouge1": rouge.ROUGE1, "rouge2": rouge.ROUGE2, "rougeL": rouge.ROUGEL, "rougeLsum": rouge.ROUGELsum}[m.name].F
		case "token_f1":
			v = metric.TokenF1(text, references)
		case "pearson", "spearman", "mae":
			v, err = numberPair(references[0], text)
		case "bypass":
			continue
		default:
			v, err = t.scorePassed(d, a.texts, m.k, passed)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", d.ref, m.name, err)
		}
		out[m.name] = v
	}
	return out, nil
}

// numberPair reads the right number and the given one.
func numberPair(reference, text string) (pair, error) {
	var p pair
	var err error
	if p.Gold, err = strconv.ParseFloat(strings.TrimSpace(reference), 64); err != nil {
		return p, fmt.Errorf("the target %.40q is no number", reference)
	}
	if p.Pred, err = strconv.ParseFloat(strings.TrimSpace(text), 64); err != nil {
		return p, fmt.Errorf("the answer %.40q is no number; a regex filter with a number as its fallback gives one always", text)
	}
	return p, nil
}
