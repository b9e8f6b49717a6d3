package inspect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/mltrain/mltrain/internal/data"
)

// Finding is one kind of fault, with the rows that have it.
type Finding struct {
	Check   string     `json:"check"`
	Warning bool       `json:"warning,omitempty"` // worth a look, but not a fault
	Rows    int        `json:"rows"`
	Refs    []data.Ref `json:"refs"`             // the first of them
	Detail  string     `json:"detail,omitempty"` // of the first
	What    string     `json:"what"`
	Do      string     `json:"do"`
}

// maxRefs is how many rows a finding names.
const maxRefs = 10

// kinds are the checks, in the order in which they are reported.
var kinds = []Finding{
	{Check: "malformed", What: "the row can't be read", Do: "mend or remove it"},
	{Check: "unknown_shape", What: "nobody knows the row's shape", Do: "rename its keys with a column mapping, or name the type"},
	{Check: "template_rejects", What: "the chat template refuses the conversation", Do: "mend the order of roles, or choose another chat_template"},
	{Check: "outside_vocabulary", What: "a token id lies outside the model's vocabulary", Do: "use the model's own tokenizer, or resize its embeddings"},
	{Check: "unusable", What: "the row can't be used for this kind of training", Do: "convert the data, or choose another command"},
	{Check: "empty", What: "the row is empty", Do: "remove it; training drops it"},
	{Check: "empty_answer", What: "the answer is empty", Do: "remove the row; training drops it"},
	{Check: "chosen_equals_rejected", What: "chosen and rejected are the same", Do: "remove the row; it teaches nothing and training drops it"},
	{Check: "mask_all_zero", What: "no token is trained", Do: "look at the loss weights and at the roles; training drops the row"},
	{Check: "mask_all_one", What: "every token is trained, the prompt's and the user's too",
		Do: "set assistant_only_loss: true, or completion_only_loss: true for prompt/completion rows"},
	{Check: "no_eos_trained", What: "EOS is not trained, so nothing teaches the model to stop",
		Do: "set the tokenizer's eos_token to what ends a turn, or choose a chat_template that writes it"},
	{Check: "double_bos", What: "the row begins with BOS twice", Do: "remove BOS from the text; the tokenizer adds it"},
	{Check: "over_max_length", What: "the row is longer than max_length and is cut", Do: "raise max_length, shorten the row, or pack with bfd_split"},
	{Check: "longer_than_max_length", What: "the row is longer than max_length and is left out", Do: "raise max_length, or shorten the row; a reward model judges whole answers"},
	{Check: "prompt_fills_max_length", What: "cutting to max_length leaves no answer", Do: "raise max_length, or set truncation_mode: keep_end; training drops the row"},
	{Check: "duplicate", What: "the row repeats an earlier one", Do: "remove it, or set drop_duplicates"},
	{Check: "unknown_role", What: "a role that models don't know", Do: "use system, user, assistant or tool"},
	{Check: "ends_without_answer", Warning: true, What: "the conversation does not end with the assistant", Do: "remove what follows the last answer"},
	{Check: "note", Warning: true, What: "", Do: "look at the row with data preview"},
}

var knownRoles = []string{"system", "developer", "user", "assistant", "tool", "function", "ipython", "model"}

// Report is what Check found.
type Report struct {
	Rows     int       `json:"rows"`
	Findings []Finding `json:"findings"`
}

// Failed reports whether there is any fault that is not just a warning.
func (r *Report) Failed() bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return !f.Warning })
}

// CheckNames lists the checks.
func CheckNames() []string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.Check
	}
	return names
}

type checker struct {
	report *Report
	found  map[string]*Finding
	allow  []string
	opt    data.Options
	tok    data.Tokenizer
	seen   map[uint64]bool // hashes of rows
}

// Check looks at every row for what would spoil training. allow names checks to leave out.
func Check(ctx context.Context, sources []data.Source, opt data.Options, tok data.Tokenizer, allow []string) (*Report, error) {
	for _, name := range allow {
		if !slices.Contains(CheckNames(), name) {
			return nil, fmt.Errorf("check %q is not known; known are %s", name, strings.Join(CheckNames(), ", "))
		}
	}
	c := &checker{report: &Report{}, found: map[string]*Finding{}, allow: allow, opt: opt, tok: tok, seen: map[uint64]bool{}}
	opt.DropDuplicates = false
	if err := data.Inspect(ctx, sources, opt, tok, func(in data.Inspected) error { c.row(in); return nil }); err != nil {
		return nil, err
	}
	if c.report.Rows == 0 {
		return nil, fmt.Errorf("%w: the files have no rows", data.ErrNoData)
	}
	for _, k := range kinds {
		for _, key := range slices.Sorted(maps.Keys(c.found)) {
			if f := c.found[key]; f.Check == k.Check {
				c.report.Findings = append(c.report.Findings, *f)
			}
		}
	}
	return c.report, nil
}

func (c *checker) add(check, detail string, in data.Inspected) {
	if slices.Contains(c.allow, check) {
		return
	}
	key := check
	if check == "note" {
		key += " " + detail
	}
	f := c.found[key]
	if f == nil {
		for i := range kinds {
			if kinds[i].Check == check {
				copied := kinds[i]
				f = &copied
			}
		}
		if f.Detail = detail; check == "note" {
			f.What, f.Detail = detail, ""
		}
		c.found[key] = f
	}
	if f.Rows++; len(f.Refs) < maxRefs {
		f.Refs = append(f.Refs, in.Ref)
	}
}

func (c *checker) row(in data.Inspected) {
	c.report.Rows++
	if in.Err != nil {
		check := "unusable"
		for _, k := range []struct {
			err  error
			name string
		}{{data.ErrMalformed, "malformed"}, {data.ErrShape, "unknown_shape"}, {data.ErrTemplate, "template_rejects"}, {data.ErrVocabulary, "outside_vocabulary"}} {
			if errors.Is(in.Err, k.err) {
				check = k.name
				break
			}
		}
		if check == "unusable" && in.Row == nil {
			check = "malformed" // a key of the wrong type, a message without a role …
		}
		c.add(check, in.Err.Error(), in)
		c.roles(in)
		return
	}
	c.roles(in)
	if in.Hash != 0 { // 0: an empty row
		if c.seen[in.Hash] {
			c.add("duplicate", "", in)
		}
		c.seen[in.Hash] = true
	}
	if check, ok := map[data.DropReason]string{data.DropEmpty: "empty", data.DropTooShort: "empty", data.DropEmptyCompletion: "empty_answer",
		data.DropAllMasked: "mask_all_zero", data.DropPromptFills: "prompt_fills_max_length", data.DropIdentical: "chosen_equals_rejected"}[in.Drop]; ok {
		c.add(check, "", in)
		return
	}
	if in.Drop == data.DropTooLong {
		c.add("longer_than_max_length", fmt.Sprintf("%d tokens, max_length %d", in.Full, c.opt.MaxLength), in)
		return
	}
	if in.Truncated {
		c.add("over_max_length", fmt.Sprintf("%d tokens, max_length %d", in.Full, c.opt.MaxLength), in)
	}
	if c.opt.Objective == data.Supervised {
		for k, d := range in.Docs {
			c.mask(in, d, k == len(in.Docs)-1)
		}
	} else {
		c.answers(in)
	}
	for _, w := range in.Warnings {
		if w != data.WarnNoEOS && w != data.WarnDoubleBOS && w != data.WarnEndMarker { // these are checks of their own
			c.add("note", w, in)
		}
	}
}

// mask looks at what of a supervised row is trained.
func (c *checker) mask(in data.Inspected, d data.Example, last bool) {
	bos, hasBOS := c.tok.BOS()
	if hasBOS && len(d.IDs) > 1 && d.IDs[0] == bos && d.IDs[1] == bos {
		c.add("double_bos", "", in)
	}
	if in.Row == nil { // a window of a text file
		return
	}
	eos, hasEOS := c.tok.EOS()
	trainsEOS, all := false, true
	for i, id := range d.IDs {
		if d.Weights[i] != 0 {
			trainsEOS = trainsEOS || hasEOS && id == eos && i > 0
		} else if !(i == 0 && hasBOS && id == bos) {
			all = false
		}
	}
	if last && !trainsEOS && !in.Truncated {
		c.add("no_eos_trained", lastTokens(d, c.tok), in)
	}
	if all && in.Layout != data.LayoutText {
		c.add("mask_all_one", "", in)
	}
}

// lastTokens shows how a row ends.
func lastTokens(d data.Example, tok data.Tokenizer) string {
	return fmt.Sprintf("the row ends with %q", tok.Decode(d.IDs[max(0, len(d.IDs)-4):]))
}

// answers looks at prompt and answers of a preference row.
func (c *checker) answers(in data.Inspected) {
	if bos, ok := c.tok.BOS(); ok && len(in.Docs[0].IDs) > 1 && in.Docs[0].IDs[0] == bos && in.Docs[0].IDs[1] == bos {
		c.add("double_bos", "", in)
	}
	eos, ok := c.tok.EOS()
	for _, d := range in.Docs[1:] {
		if !in.Truncated && (!ok || !slices.Contains(d.IDs, eos)) {
			c.add("no_eos_trained", lastTokens(d, c.tok), in)
			return
		}
	}
}

func (c *checker) roles(in data.Inspected) {
	if in.Row == nil {
		return
	}
	r := in.Row
	messages := slices.Concat(r.Messages, r.Prompt.Messages, r.Completion.Messages, r.Chosen.Messages, r.Rejected.Messages)
	for _, m := range messages {
		if !slices.Contains(knownRoles, m.Role) {
			c.add("unknown_role", fmt.Sprintf("%q", m.Role), in)
			break
		}
	}
	if n := len(r.Messages); n > 0 && r.Messages[n-1].Role != "assistant" && r.Messages[n-1].Role != "model" {
		c.add("ends_without_answer", fmt.Sprintf("it ends with %q", r.Messages[n-1].Role), in)
	}
}

// Write prints the findings, each with its rows and what to do.
func (r *Report) Write(w io.Writer) error {
	var b strings.Builder
	if len(r.Findings) == 0 {
		fmt.Fprintf(&b, "%d rows, nothing to complain about\n", r.Rows)
	}
	for _, f := range r.Findings {
		grade := "FAULT"
		if f.Warning {
			grade = "note "
		}
		fmt.Fprintf(&b, "%s %s: %s (%d of %d rows)\n", grade, f.Check, f.What, f.Rows, r.Rows)
		if f.Detail != "" {
			fmt.Fprintf(&b, "      %s\n", f.Detail)
		}
		refs := make([]string, len(f.Refs))
		for i, ref := range f.Refs {
			refs[i] = ref.String()
		}
		more := ""
		if f.Rows > len(refs) {
			more = fmt.Sprintf(" and %d more", f.Rows-len(refs))
		}
		fmt.Fprintf(&b, "      rows: %s%s\n      do:   %s\n", strings.Join(refs, ", "), more, f.Do)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
