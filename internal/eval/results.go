package eval

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/mltrain/mltrain/internal/eval/metric"
	"github.com/mltrain/mltrain/internal/template"
)

// Results are what an evaluation found, with the keys of lm-evaluation-harness: a metric of a filter is "acc,none", its
// standard error "acc_stderr,none", a number or "N/A".
type Results struct {
	Results        map[string]map[string]any   `json:"results"`
	Groups         map[string]map[string]any   `json:"groups,omitempty"`
	GroupSubtasks  map[string][]string         `json:"group_subtasks"`
	Confidence95   map[string]map[string]Range `json:"confidence_95"` // ours: intervals of 95 % for metrics with a standard error
	Versions       map[string]any              `json:"versions"`
	NShot          map[string]int              `json:"n-shot"`
	HigherIsBetter map[string]map[string]bool  `json:"higher_is_better"`
	NSamples       map[string]map[string]int   `json:"n-samples"`
	Configs        map[string]map[string]any   `json:"configs"`
	Config         map[string]any              `json:"config"`
	Samples        map[string][]map[string]any `json:"-"` // of each task, as the harness logs them
	order          []string
}

// Range is a confidence interval.
type Range [2]float64

// Tasks lists tasks and groups in the order in which they were asked for.
func (r *Results) Tasks() []string { return r.order }

// results scores the answers.
func (e *evaluation) results(s *Selection) (*Results, error) {
	r := &Results{
		Results: map[string]map[string]any{}, GroupSubtasks: map[string][]string{}, Confidence95: map[string]map[string]Range{},
		Versions: map[string]any{}, NShot: map[string]int{}, HigherIsBetter: map[string]map[string]bool{}, NSamples: map[string]map[string]int{},
		Configs: map[string]map[string]any{}, Samples: map[string][]map[string]any{},
	}
	for i, t := range e.tasks {
		if err := e.taskResults(r, t, e.rows[i]); err != nil {
			return nil, fmt.Errorf("task %s: %w", t.Task, err)
		}
	}
	for _, g := range s.groups {
		r.order = append(r.order, g.Group)
		r.GroupSubtasks[g.Group] = g.Task
		if len(g.Aggregate) == 0 {
			continue
		}
		m, err := r.groupMetrics(g)
		if err != nil {
			return nil, err
		}
		if r.Groups == nil {
			r.Groups = map[string]map[string]any{}
		}
		r.Groups[g.Group], r.Results[g.Group] = m, m
		r.Versions[g.Group] = version(g.Metadata)
	}
	return r, nil
}

func version(metadata map[string]any) any {
	if v, ok := metadata["version"]; ok {
		return v
	}
	return "Yaml"
}

func (e *evaluation) taskResults(r *Results, t *Task, rows []rowRequests) error {
	alias := t.TaskAlias
	if alias == "" {
		alias = t.Task
	}
	m := map[string]any{"name": t.Task, "alias": alias, "sample_len": len(rows)}
	ranges := map[string]Range{}
	higher := map[string]bool{}
	for _, f := range t.filters {
		values := map[string][]any{}
		for _, row := range rows {
			scores, sample, err := t.scoreRow(row, f, e.passed)
			if err != nil {
				return err
			}
			for name, v := range scores {
				values[name] = append(values[name], v)
			}
			r.Samples[t.Task] = append(r.Samples[t.Task], sample)
		}
		for _, spec := range t.metrics {
			items := values[spec.name]
			if len(items) == 0 {
				continue
			}
			higher[spec.name] = spec.higherIsBetter
			value, se, err := e.aggregate(spec, items)
			if err != nil {
				return fmt.Errorf("%s: %w", spec.name, err)
			}
			m[spec.name+","+f.name] = number64(value)
			m[spec.name+"_stderr,"+f.name] = "N/A"
			if !math.IsNaN(se) {
				m[spec.name+"_stderr,"+f.name] = se
				ranges[spec.name+","+f.name] = confidence(value, se, items)
			}
		}
	}
	r.order = append(r.order, t.Task)
	r.Results[t.Task], r.Confidence95[t.Task], r.HigherIsBetter[t.Task] = m, ranges, higher
	r.Versions[t.Task], r.NShot[t.Task] = version(t.Metadata), *t.NumFewshot
	r.NSamples[t.Task] = map[string]int{"original": t.total, "effective": len(rows)}
	config := t.config()
	r.Configs[t.Task] = config
	if slices.ContainsFunc(t.metrics, func(m metricSpec) bool { return m.name == "bleu" }) {
		var err error
		config["bleu_signature"], err = t.bleuSignature(rows)
		return err
	}
	return nil
}

// bleuSignature says how BLEU came about, as sacrebleu prints it.
func (t *Task) bleuSignature(rows []rowRequests) (string, error) {
	references := make([][]string, len(rows))
	for i, row := range rows {
		var err error
		if references[i], err = t.references(row.doc); err != nil {
			return "", err
		}
	}
	return metric.BLEU{}.Signature(references)
}

// number64 makes what JSON cannot hold a text.
func number64(x float64) any {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return fmt.Sprint(x)
	}
	return x
}

func (e *evaluation) aggregate(spec metricSpec, items []any) (value, se float64, err error) {
	a, ok := aggregations()[spec.aggregation]
	if !ok {
		return 0, 0, fmt.Errorf("unknown aggregation %q", spec.aggregation)
	}
	if value, err = a.of(items); err != nil {
		return 0, 0, err
	}
	se, err = stderr(a, items, e.o.BootstrapIters)
	return value, se, err
}

// confidence is the interval of 95 %: Wilson's (1927) for shares of rows, else that of a normal distribution.
func confidence(value, se float64, items []any) Range {
	const z = 1.959963984540054
	share := true
	for _, v := range items {
		x, ok := v.(float64)
		share = share && ok && (x == 0 || x == 1)
	}
	if !share {
		return Range{value - z*se, value + z*se}
	}
	n := float64(len(items))
	centre := (value + z*z/(2*n)) / (1 + z*z/n)
	half := z / (1 + z*z/n) * math.Sqrt(value*(1-value)/n+z*z/(4*n*n))
	return Range{max(0, centre-half), min(1, centre+half)}
}

// scoreRow scores a row after a filter, and gives what is logged of it.
func (t *Task) scoreRow(row rowRequests, f filterChain, passed map[string]bool) (map[string]any, map[string]any, error) {
	answers := make([]answer, len(row.requests))
	arguments, resps, filtered := []any{}, []any{}, []any{}
	for i, repeats := range row.requests {
		r := repeats[0]
		if r.kind != generateUntil {
			answers[i] = answer{logProb: r.response.LogProb, greedy: r.response.Greedy}
			resp := []any{r.response.LogProb, r.response.Greedy}
			if r.kind == loglikelihoodRolling {
				arguments = append(arguments, []any{r.context})
				resps, filtered = append(resps, []any{r.response.LogProb}), append(filtered, r.response.LogProb)
				continue
			}
			arguments = append(arguments, []any{r.context, r.continuation})
			resps, filtered = append(resps, []any{resp}), append(filtered, resp)
			continue
		}
		var raw []string
		for _, r := range repeats {
			raw = append(raw, *r.response.Text)
		}
		texts, err := row.texts(f)
		if err != nil {
			return nil, nil, err
		}
		answers[i] = answer{texts: texts}
		arguments = append(arguments, []any{r.context, r.gen})
		resps = append(resps, raw)
		if t.needsAll() {
			filtered = append(filtered, texts)
		} else {
			filtered = append(filtered, texts[0])
		}
	}
	scores, err := t.score(row.doc, answers, passed)
	if err != nil {
		return nil, nil, err
	}
	target, err := t.target.target(row.doc, t.choice != nil)
	if err != nil {
		return nil, nil, err
	}
	text, err := template.String(target)
	if err != nil {
		return nil, nil, err
	}
	var names []string
	for name := range scores {
		names = append(names, name)
	}
	slices.Sort(names)
	prompt := row.requests[0][0].context
	sample := map[string]any{
		"doc_id": row.index, "doc": json.RawMessage(row.doc.json), "target": plainJSON{target}, "arguments": arguments, "resps": resps,
		"filtered_resps": filtered, "filter": f.name, "metrics": names, "doc_hash": hash(row.doc.json), "prompt_hash": hash(prompt),
		"target_hash": hash(text),
	}
	for name, v := range scores {
		sample[name] = logged(v)
	}
	return scores, sample, nil
}

// plainJSON writes a template's value as JSON.
type plainJSON struct{ v template.Value }

func (p plainJSON) MarshalJSON() ([]byte, error) {
	s, err := template.JSON(p.v, 0)
	return []byte(s), err
}

// logged is a metric's value of a row as the harness logs it: a list where it is several.
func logged(v any) any {
	switch v := v.(type) {
	case weighted:
		return []any{v.Sum, v.N}
	case labelled:
		return []any{v.Gold, v.Pred}
	case probabilities:
		return []any{v.Gold, v.P}
	case pair:
		return []any{v.Gold, v.Pred}
	case texts:
		return []any{v.References, v.Text}
	}
	return v
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// config is the task's file as it was understood.
func (t *Task) config() map[string]any {
	c := map[string]any{
		"task": t.Task, "output_type": t.OutputType, "doc_to_text": t.DocToText, "doc_to_target": t.DocToTarget, "num_fewshot": *t.NumFewshot,
		"target_delimiter": *t.TargetDelimiter, "fewshot_delimiter": *t.FewshotDelimiter, "repeats": t.Repeats, "file": t.file,
		"test_split": t.evalSplit(),
	}
	if t.DocToChoice != nil {
		c["doc_to_choice"] = t.DocToChoice
	}
	if t.OutputType == generateUntil {
		c["generation_kwargs"] = t.gen
	}
	var metrics []map[string]any
	for _, m := range t.metrics {
		metrics = append(metrics, map[string]any{"metric": m.name, "aggregation": m.aggregation, "higher_is_better": m.higherIsBetter})
	}
	c["metric_list"] = metrics
	return c
}

// groupMetrics puts the metrics of a group's tasks together: their mean, by the number of rows unless the group says
// otherwise, and its standard error.
func (r *Results) groupMetrics(g *group) (map[string]any, error) {
	alias := g.GroupAlias
	if alias == "" {
		alias = g.Group
	}
	out := map[string]any{"name": g.Group, "alias": alias}
	rows := 0
	for _, t := range g.tasks {
		n, _ := r.Results[t]["sample_len"].(int)
		rows += n
	}
	out["sample_len"] = rows
	for _, a := range g.Aggregate {
		if a.Aggregation != "" && a.Aggregation != "mean" {
			return nil, fmt.Errorf("group %s: aggregate_metric_list: %s: aggregation is %q, and there is mean only", g.Group, a.Metric, a.Aggregation)
		}
		filters := a.FilterList
		if filters == nil {
			filters = r.filtersOf(a.Metric, g.tasks)
		}
		for _, f := range filters {
			r.groupMetric(out, g.tasks, a, f)
		}
	}
	return out, nil
}

// filtersOf lists the filters that a metric of some tasks is given for.
func (r *Results) filtersOf(metric string, tasks []string) []string {
	var out []string
	for _, t := range tasks {
		for key := range r.Results[t] {
			if len(key) > len(metric) && key[:len(metric)+1] == metric+"," && !slices.Contains(out, key[len(metric)+1:]) {
				out = append(out, key[len(metric)+1:])
			}
		}
	}
	slices.Sort(out)
	return out
}

func (r *Results) groupMetric(out map[string]any, tasks []string, a groupMetric, filter string) {
	byRows := a.WeightBySize == nil || *a.WeightBySize
	key, seKey := a.Metric+","+filter, a.Metric+"_stderr,"+filter
	var sum, weight, variance, pooled, rows, k float64
	known := true
	for _, t := range tasks {
		v, ok := r.Results[t][key].(float64)
		if !ok {
			continue
		}
		n, _ := r.Results[t]["sample_len"].(int)
		w := 1.0
		if byRows {
			w = float64(n)
		}
		sum, weight, rows, k = sum+w*v, weight+w, rows+float64(n), k+1
		se, ok := r.Results[t][seKey].(float64)
		known = known && ok
		variance += se * se
		pooled += (float64(n) - 1) * se * se * float64(n)
	}
	if k == 0 {
		return
	}
	out[key], out[seKey] = sum/weight, "N/A"
	switch {
	case !known:
	case byRows && rows > k:
		out[seKey] = math.Sqrt(pooled / (rows - k) / rows)
	case !byRows:
		out[seKey] = math.Sqrt(variance) / k
	}
}
