package data

import (
	"errors"
	"slices"
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
	return e.fitAnswers(min(a, b), 0, chosen, rejected), nil
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

// fitAnswers brings each prompt+answer to max_length and lays out the documents: the prompt, then the answers. A prompt
// that fills max_length is dropped with keep_start, as TRL does. With keep_end the stored prompt is the longest that any
// answer keeps; Pair tells how much of it each one leaves out.
func (e *encoder) fitAnswers(promptLen int, code uint8, full ...sequence) encoded {
	var out encoded
	limit, keepEnd := e.opt.MaxLength, e.opt.TruncationMode == KeepEnd
	if promptLen >= limit && !keepEnd {
		return encoded{drop: DropPromptFills, truncated: true}
	}
	from := promptLen
	for _, s := range full {
		over := max(0, len(s.ids)-limit)
		out.truncated = out.truncated || over > 0
		from = min(from, over)
	}
	if !keepEnd {
		from = 0
	}
	prompt := full[0].slice(from, promptLen)
	prompt.codes = make([]uint8, len(prompt.ids))
	out.docs = append(out.docs, prompt)
	for _, s := range full {
		answer := s.slice(promptLen, len(s.ids))
		if keepEnd {
			answer = answer.slice(max(0, len(answer.ids)-limit), len(answer.ids))
		} else {
			answer = answer.slice(0, min(len(answer.ids), limit-promptLen))
		}
		answer.codes = fill(len(answer.ids), code)
		if len(answer.ids) == 0 || len(prompt.ids)+len(answer.ids) < 2 {
			return encoded{drop: DropEmptyCompletion}
		}
		out.docs = append(out.docs, answer)
	}
	return out
}
