package data

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Codes of an unpaired completion's tokens.
const (
	codeUndesirable = 1
	codeDesirable   = 2
)

// pair encodes prompt, chosen and rejected as TRL's DPOTrainer does: the prompt ends where it first differs from either
// prompt+answer.
func (e *encoder) pair(r *Row) (encoded, error) {
	if r.Layout != LayoutPreference {
		return encoded{}, errors.New("is a " + string(r.Layout) + " row; preference training needs prompt, chosen and rejected")
	}
	if r.Chosen.Empty() || r.Rejected.Empty() {
		return encoded{drop: DropEmptyCompletion}, nil
	}
	chosen, a, err := e.split(r, r.Prompt, r.Chosen)
	if err != nil {
		return encoded{}, err
	}
	rejected, b, err := e.split(r, r.Prompt, r.Rejected)
	if err != nil {
		return encoded{}, err
	}
	if slices.Equal(chosen.ids, rejected.ids) {
		return encoded{drop: DropIdentical}, nil
	}
	if !e.opt.Reward {
		return e.fitAnswers(min(a, b), 0, chosen, rejected), nil
	}
	margin, err := parseMargin(r.Margin)
	if err != nil {
		return encoded{}, err
	}
	if n := max(len(chosen.ids), len(rejected.ids)); n > e.opt.MaxLength {
		return encoded{drop: DropTooLong, full: n, sum: hashOf(chosen, rejected)}, nil
	}
	out := e.fitAnswers(min(a, b), 0, chosen, rejected)
	out.margin = margin
	return out, nil
}

// parseMargin reads a number, also from the text of a CSV file; nothing is 0.
func parseMargin(raw json.RawMessage) (float32, error) {
	if isNull(raw) || string(raw) == `""` {
		return 0, nil
	}
	x, err := strconv.ParseFloat(strings.TrimSpace(strings.Trim(string(raw), `"`)), 32)
	if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
		return 0, fmt.Errorf("key \"margin\" must be a number, by how much chosen is better than rejected, found %s", kindOf(raw))
	}
	return float32(x), nil
}

// unpaired encodes a prompt and one labelled answer as TRL's KTOTrainer does. Preference rows go through unpair first.
func (e *encoder) unpaired(r *Row) (encoded, error) {
	if r.Layout != LayoutKTO {
		return encoded{}, errors.New("is a " + string(r.Layout) + " row; kto needs prompt, completion and label, or preference pairs")
	}
	if r.Completion.Empty() {
		return encoded{drop: DropEmptyCompletion}, nil
	}
	s, n, err := e.split(r, r.Prompt, r.Completion)
	if err != nil {
		return encoded{}, err
	}
	code := uint8(codeUndesirable)
	if r.Label {
		code = codeDesirable
	}
	return e.fitAnswers(n, code, s), nil
}

// unpair makes two labelled rows of a preference row.
func unpair(r *Row) []*Row {
	if r.Layout != LayoutPreference {
		return []*Row{r}
	}
	good, bad := *r, *r
	good.Layout, good.Completion, good.Label = LayoutKTO, r.Chosen, true
	bad.Layout, bad.Completion, bad.Label = LayoutKTO, r.Rejected, false
	return []*Row{&good, &bad}
}

// fitAnswers drops what max_length leaves nothing of and lays out the documents: the prompt, then the answers, each at most
// max_length tokens. How they are cut to go together is clip's, at reading: an answer may meet another row's prompt (KTO). A
// prompt that fills max_length is dropped with keep_start, as TRL does.
func (e *encoder) fitAnswers(promptLen int, code uint8, full ...sequence) (out encoded) {
	defer func() {
		out.sum = hashOf(full...) ^ uint64(code)
		for _, s := range full {
			out.full = max(out.full, len(s.ids))
		}
	}()
	limit, keepEnd := e.opt.MaxLength, e.opt.TruncationMode == KeepEnd
	if promptLen >= limit && !keepEnd {
		return encoded{drop: DropPromptFills, truncated: true}
	}
	prompt := full[0].slice(0, promptLen).cut(limit, keepEnd)
	prompt.codes = make([]uint8, len(prompt.ids))
	out.docs = append(out.docs, prompt)
	for _, s := range full {
		out.truncated = out.truncated || len(s.ids) > limit
		answer := s.slice(promptLen, len(s.ids)).cut(limit, keepEnd)
		answer.codes = fill(len(answer.ids), code)
		if len(answer.ids) == 0 || promptLen+len(answer.ids) < 2 {
			return encoded{drop: DropEmptyCompletion}
		}
		out.docs = append(out.docs, answer)
	}
	return out
}

// cut shortens a sequence to n tokens.
func (s sequence) cut(n int, keepEnd bool) sequence {
	switch {
	case len(s.ids) <= n:
		return s
	case keepEnd:
		return s.slice(len(s.ids)-n, len(s.ids))
	}
	return s.slice(0, n)
}

// clip cuts prompt+answer to limit tokens, at the end or (keepEnd) at the front: given the lengths of the two, it tells
// where the prompt begins and where the answer begins and ends.
func clip(prompt, answer, limit int, keepEnd bool) (promptFrom, answerFrom, answerTo int) {
	if !keepEnd {
		return 0, 0, min(answer, max(0, limit-prompt))
	}
	answerFrom = max(0, answer-limit)
	return min(prompt, max(0, prompt+answer-answerFrom-limit)), answerFrom, answer
}
