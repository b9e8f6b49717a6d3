package eval

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/mltrain/mltrain/internal/infer"
)

// Options say how tasks are run.
type Options struct {
	Limit             float64 // rows of each task: all if 0, a share of them below 1
	NumFewshot        *int    // examples; nil is what each task says
	Seed              uint64  // for examples and sampling
	SystemInstruction string
	ApplyChatTemplate bool
	Multiturn         bool           // with a chat template, examples are turns of their own
	GenKwargs         map[string]any // over those of the tasks
	BatchSize         int            // prompts that are continued together; 0: 32, or fewer where their cache would be large
	BootstrapIters    int            // samples for standard errors that need them; 0: no standard errors
	Data              DataFiles      // in place of the files that the tasks name

	// Execute runs programs that the model wrote, and tells of each whether it ran to its end; nil: that is not allowed.
	Execute func(ctx context.Context, programs []string, done func(i int, passed bool) error) error
	// Closest finds the name that was meant among known ones, "" if none; may be nil.
	Closest func(name string, known []string) string
	// Progress is told how many of all requests are answered; may be nil.
	Progress func(done, total int)
	// Warn is told of what does not stop the run; may be nil.
	Warn func(message string)
}

const (
	// chunkTokens is how many tokens are scored between two writings of the journal.
	chunkTokens      = 8192
	defaultBatchSize = 32
)

// request is something asked of the model, by one or several rows.
type request struct {
	kind         string
	context      string // the whole text for loglikelihood_rolling
	continuation string
	gen          genArgs
	repeat       int
	key          string
	queries      []infer.Query
	prompt       []int32
	response     response
	answered     bool
	waiting      int // queries without a result
	sum          float64
	allGreedy    bool
}

// evaluation is a run of several tasks.
type evaluation struct {
	lm       *LM
	o        Options
	journal  *Journal
	tasks    []*Task
	rows     [][]rowRequests // of each task
	requests []*request      // each once
	byKey    map[string]*request
	done     int
	noChoice int             // rows whose target is none of their choices
	passed   map[string]bool // programs that ran to their end
}

// rowRequests are the requests of a row: one for each choice, and of each its repeats.
type rowRequests struct {
	doc      doc
	index    int
	requests [][]*request
}

// Evaluate runs the selected tasks. Answers that the journal, which may be nil, knows are not asked for again.
func Evaluate(ctx context.Context, lm *LM, s *Selection, o Options, journal *Journal) (*Results, error) {
	if o.Closest == nil {
		o.Closest = func(string, []string) string { return "" }
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	if o.Progress == nil {
		o.Progress = func(int, int) {}
	}
	if o.ApplyChatTemplate && lm.template == nil {
		return nil, errors.New("a chat template is to be applied, but the model has none")
	}
	e := &evaluation{lm: lm, o: o, journal: journal, byKey: map[string]*request{}, passed: map[string]bool{}}
	cut := lm.cut
	var faults []error
	for _, t := range s.configs {
		if len(o.GenKwargs) > 0 {
			merged := map[string]any{}
			for _, m := range []map[string]any{t.GenerationKwargs, o.GenKwargs} {
				for k, v := range m {
					merged[k] = v
				}
			}
			copied := *t
			copied.GenerationKwargs = merged
			t = &copied
		}
		task, err := newTask(t, o.Data, o.NumFewshot, o.Closest)
		if err == nil {
			if _, runs := task.runsCode(); runs && o.Execute == nil {
				err = fmt.Errorf("task %s: %w; --allow-code-execution allows it, in a sandbox", t.Task, ErrCodeExecution)
			}
		}
		if err == nil {
			err = e.ask(task)
		}
		if err != nil {
			faults = append(faults, err)
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	if n := lm.cut - cut; n > 0 {
		o.Warn(fmt.Sprintf("%d of %d prompts are longer than the %d tokens that the model takes and were cut at the beginning", n, len(e.requests), lm.maxLength))
	}
	if e.noChoice > 0 {
		o.Warn(fmt.Sprintf("the target of %d rows is none of their choices: they count as wrong", e.noChoice))
	}
	if err := e.answer(ctx); err != nil {
		return nil, err
	}
	if err := e.execute(ctx); err != nil {
		return nil, err
	}
	return e.results(s)
}

// limit is how many rows of n are used.
func limit(l float64, n int) int {
	switch {
	case l <= 0:
		return n
	case l < 1:
		return int(math.Ceil(l * float64(n)))
	}
	return min(n, int(l))
}

// ask makes the requests of a task.
func (e *evaluation) ask(t *Task) error {
	rng := newPyRandom(e.o.Seed)
	po := promptOptions{system: e.o.SystemInstruction, multiturn: e.o.Multiturn}
	if e.o.ApplyChatTemplate {
		po.chat = e.lm.chat
	}
	var rows []rowRequests
	for i, d := range t.docs[:limit(e.o.Limit, len(t.docs))] {
		r, err := e.askRow(t, d, rng, po)
		if err != nil {
			return fmt.Errorf("task %s: %w", t.Task, err)
		}
		rows = append(rows, rowRequests{d, i, r})
	}
	e.tasks, e.rows = append(e.tasks, t), append(e.rows, rows)
	return nil
}

func (e *evaluation) askRow(t *Task, d doc, rng *pyRandom, po promptOptions) ([][]*request, error) {
	contexts, err := t.contexts(d, rng, po)
	if err != nil {
		return nil, err
	}
	likelihood := func(context, continuation string) request {
		return request{kind: loglikelihood, context: context, continuation: continuation}
	}
	var asked []request
	switch t.OutputType {
	case loglikelihood:
		target, err := t.references(d)
		if err != nil {
			return nil, err
		}
		asked = append(asked, likelihood(contexts[0], target[0]))
	case loglikelihoodRolling:
		text, err := t.target.text(d)
		if err != nil {
			return nil, err
		}
		asked = append(asked, request{kind: loglikelihoodRolling, context: text})
	case multipleChoice:
		if asked, err = t.askChoices(d, contexts, po.chat != nil); err != nil {
			return nil, err
		}
		gold, err := t.rowGold(d)
		if err != nil {
			return nil, err
		}
		if slices.Contains(gold, -1) {
			e.noChoice++
		}
	default:
		if _, err := t.references(d); err != nil { // rather now than after hours of generating
			return nil, err
		}
		asked = append(asked, request{kind: generateUntil, context: contexts[0], gen: t.gen})
	}
	out := make([][]*request, len(asked))
	for i := range asked {
		repeats := t.Repeats
		if asked[i].kind != generateUntil || !asked[i].gen.DoSample {
			repeats = 1 // the answer would be the same
		}
		for k := range repeats {
			r := asked[i]
			r.repeat = k
			shared, err := e.enter(r)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", d.ref, err)
			}
			out[i] = append(out[i], shared)
		}
	}
	return out, nil
}

// askChoices makes a request for each choice, and with acc_mutual_info as many for the choices alone.
func (t *Task) askChoices(d doc, contexts []string, chat bool) ([]request, error) {
	choices, err := t.choice.choices(d)
	if err != nil {
		return nil, err
	}
	delimiter := *t.TargetDelimiter
	if chat && (t.GenPrefix == "" || endsInSpace(t.GenPrefix)) {
		delimiter = "" // the template has put something there
	}
	var out []request
	if t.multipleInput {
		target, err := t.target.target(d, true)
		if err != nil {
			return nil, err
		}
		text, err := answerText(target, nil)
		if err != nil {
			return nil, err
		}
		for _, c := range contexts {
			out = append(out, request{kind: loglikelihood, context: c, continuation: delimiter + text})
		}
	} else {
		for _, c := range choices {
			out = append(out, request{kind: loglikelihood, context: contexts[0], continuation: delimiter + c})
		}
	}
	if slices.ContainsFunc(t.metrics, func(m metricSpec) bool { return m.name == "acc_mutual_info" }) {
		for _, c := range choices {
			out = append(out, request{kind: loglikelihood, continuation: delimiter + c})
		}
	}
	return out, nil
}

// enter adds a request, or finds the same one made before, and tokenises it.
func (e *evaluation) enter(r request) (*request, error) {
	var err error
	if r.kind == generateUntil {
		r.key, err = requestKey(r.kind, r.context, r.gen, r.repeat, e.o.Seed)
	} else {
		r.key, err = requestKey(r.kind, r.context, r.continuation)
	}
	if err != nil {
		return nil, err
	}
	if old, ok := e.byKey[r.key]; ok {
		return old, nil
	}
	switch r.kind {
	case generateUntil:
		r.prompt, err = e.lm.encodePrompt(r.context, r.gen)
	case loglikelihoodRolling:
		r.queries, err = e.lm.windows(r.context)
	default:
		var q infer.Query
		q, err = e.lm.encodePair(r.context, r.continuation)
		r.queries = []infer.Query{q}
	}
	if err != nil {
		return nil, err
	}
	r.response, r.answered = e.journal.get(r.key)
	e.byKey[r.key] = &r
	e.requests = append(e.requests, &r)
	return &r, nil
}

// answer asks the model what is not known yet.
func (e *evaluation) answer(ctx context.Context) error {
	var likelihoods, generations []*request
	for _, r := range e.requests {
		if r.answered {
			e.done++
		}
		if r.kind == generateUntil {
			generations = append(generations, r)
		} else {
			likelihoods = append(likelihoods, r)
		}
	}
	e.o.Progress(e.done, len(e.requests))
	if err := e.score(ctx, likelihoods); err != nil {
		return err
	}
	return e.generate(ctx, generations)
}

// answered reports whether nothing is left to ask of some requests.
func answered(rs []*request) bool {
	return !slices.ContainsFunc(rs, func(r *request) bool { return !r.answered })
}

// score answers likelihood requests in chunks, sorted so that those of a chunk share what they begin with. The chunks do
// not depend on what is known already, so that an interrupted run computes the same numbers when it goes on.
func (e *evaluation) score(ctx context.Context, rs []*request) error {
	rs = slices.DeleteFunc(slices.Clone(rs), func(r *request) bool { return len(r.queries) == 0 && e.empty(r) })
	slices.SortStableFunc(rs, func(a, b *request) int { return slices.Compare(a.queries[0].IDs, b.queries[0].IDs) })
	for lo := 0; lo < len(rs); {
		hi, tokens := lo, 0
		var last []int32
		for ; hi < len(rs); hi++ {
			n := 0
			for _, q := range rs[hi].queries {
				n += len(q.IDs)
			}
			first := rs[hi].queries[0].IDs
			n -= commonPrefix(first, last)
			if hi > lo && tokens+n > chunkTokens {
				break
			}
			tokens, last = tokens+n, first
		}
		if !answered(rs[lo:hi]) {
			if err := e.scoreChunk(ctx, rs[lo:hi]); err != nil {
				return err
			}
		}
		lo = hi
	}
	return nil
}

func commonPrefix(a, b []int32) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// empty answers a request about an empty text.
func (e *evaluation) empty(r *request) bool {
	if !r.answered {
		r.response, r.answered = response{Key: r.key, Greedy: true}, true
		e.done++
	}
	return true
}

func (e *evaluation) scoreChunk(ctx context.Context, rs []*request) error {
	var queries []infer.Query
	var owners []*request
	for _, r := range rs {
		r.waiting, r.sum, r.allGreedy = len(r.queries), 0, true
		for _, q := range r.queries {
			queries, owners = append(queries, q), append(owners, r)
		}
	}
	parts := make([]float64, len(queries))
	err := e.lm.engine.ScoreShared(ctx, queries, func(i int, scores []infer.TokenScore) error {
		r := owners[i]
		for _, s := range scores {
			parts[i] += s.LogProb
			r.allGreedy = r.allGreedy && s.Greedy
		}
		if r.waiting--; r.waiting == 0 && !r.answered {
			e.done++
			e.o.Progress(e.done, len(e.requests))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, r := range owners { // in this order, whichever came first
		r.sum += parts[i]
	}
	var fresh []response
	for _, r := range rs {
		if !r.answered {
			r.response, r.answered = response{Key: r.key, LogProb: r.sum, Greedy: r.allGreedy}, true
			fresh = append(fresh, r.response)
		}
	}
	return e.journal.add(fresh)
}

// generate answers requests for texts in batches: those with equal arguments, the longest prompts first.
func (e *evaluation) generate(ctx context.Context, rs []*request) error {
	groups := map[string][]*request{}
	var keys []string
	for _, r := range rs {
		key, err := requestKey(r.gen)
		if err != nil {
			return err
		}
		if groups[key] == nil {
			keys = append(keys, key)
		}
		groups[key] = append(groups[key], r)
	}
	for _, key := range keys {
		group := groups[key]
		streams := map[*request]int{}
		for i, r := range group {
			streams[r] = i
		}
		slices.SortStableFunc(group, func(a, b *request) int {
			return cmp.Or(len(b.prompt)-len(a.prompt), slices.Compare(a.prompt, b.prompt))
		})
		size := e.o.BatchSize
		if size <= 0 {
			size = min(defaultBatchSize, e.lm.engine.Sequences(len(group[0].prompt)+group[0].gen.MaxGenToks))
		}
		for batch := range slices.Chunk(group, size) {
			if answered(batch) {
				continue
			}
			if err := e.generateBatch(ctx, batch, streams); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *evaluation) generateBatch(ctx context.Context, batch []*request, streams map[*request]int) error {
	prompts := make([]generation, len(batch))
	for i, r := range batch {
		prompts[i] = generation{r.prompt, streams[r]}
	}
	out, err := e.lm.generate(ctx, prompts, batch[0].gen, e.o.Seed, func(ended int) { e.o.Progress(min(e.done+ended, len(e.requests)), len(e.requests)) })
	if err != nil {
		return err
	}
	var fresh []response
	for i, r := range batch {
		if !r.answered {
			r.response, r.answered = response{Key: r.key, Text: &out[i]}, true
			fresh = append(fresh, r.response)
			e.done++
		}
	}
	e.o.Progress(e.done, len(e.requests))
	return e.journal.add(fresh)
}
