package data

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// DropReason says why a row was left out.
type DropReason string

// The reasons, as the ledger counts them.
const (
	DropEmpty           DropReason = "empty"                   // nothing to tokenise
	DropEmptyCompletion DropReason = "empty_completion"        // prompt without an answer
	DropAllMasked       DropReason = "all_masked"              // no token is trained
	DropPromptFills     DropReason = "prompt_fills_max_length" // truncation leaves nothing trained
	DropTooShort        DropReason = "too_short"               // a single token predicts nothing
	DropIdentical       DropReason = "chosen_equals_rejected"
	DropTooLong         DropReason = "longer_than_max_length" // for a reward model, which judges whole answers
	DropDuplicate       DropReason = "duplicate"
	DropBadRow          DropReason = "bad_row" // faulty, under SkipBadRows
)

// What the ledger warns of, by row.
const (
	WarnNoEOS      = "the tokenizer has no EOS token: nothing teaches the model to stop"
	WarnPrefix     = "the tokenised prompt is not a prefix of prompt+completion; the completion starts where they differ"
	WarnStraddle   = "tokens that lie partly outside an assistant span are trained, as transformers does"
	WarnDoubleBOS  = "the row begins with BOS twice: the text itself writes it"
	WarnEndMarker  = "the chat ends with another special token than EOS; EOS is not trained"
	WarnLost       = "the chat template does not print what the last message says; is it for typed content (images)?"
	WarnCompletion = "completion_only_loss has no effect on rows without a prompt"
)

// sequence is one tokenised row before it is stored.
type sequence struct {
	ids   []int32
	codes []uint8 // loss weights in hundredths; for KTO 1 rejected, 2 desirable
}

// encoded is what became of one row: documents (one, more for windows; prompt, chosen, rejected for a pair), or a reason
// to drop it.
type encoded struct {
	docs      []sequence
	full      int    // tokens before truncation; of the longer answer with its prompt
	sum       uint64 // hash of all tokens and weights before truncation
	drop      DropReason
	truncated bool
	margin    float32 // of a pair
	warnings  []string
}

// Errors about rows that callers tell apart. A template's own error is wrapped with ErrTemplate.
var (
	ErrVocabulary = errors.New("outside the model's vocabulary")
	ErrTemplate   = errors.New("the chat template rejects the row")
	ErrMalformed  = errors.New("malformed row")
)

// encoder turns rows into tokens. It is not safe for concurrent use; each worker has its own.
type encoder struct {
	tok  Tokenizer
	opt  Options
	warn []string
}

func (e *encoder) note(w string) {
	if !slices.Contains(e.warn, w) {
		e.warn = append(e.warn, w)
	}
}

// row encodes a row for the objective.
func (e *encoder) row(r *Row) (encoded, error) {
	e.warn = nil
	var out encoded
	var err error
	switch e.opt.Objective {
	case Preference:
		out, err = e.pair(r)
	case Unpaired:
		out, err = e.unpaired(r)
	default:
		out, err = e.supervised(r)
	}
	out.warnings = e.warn
	if err != nil || out.drop != "" {
		return out, err
	}
	return out, e.checkIDs(out.docs)
}

func (e *encoder) checkIDs(docs []sequence) error {
	for _, d := range docs {
		for i, id := range d.ids {
			if id < 0 || id > maxTokenID || e.opt.Vocab > 0 && int(id) >= e.opt.Vocab {
				return fmt.Errorf("token %d %q has id %d, %w of %d: the tokenizer does not belong to the model, "+
					"or the model's embeddings were not resized", i, e.tok.Token(id), id, ErrVocabulary, e.opt.Vocab)
			}
		}
	}
	return nil
}

func (e *encoder) supervised(r *Row) (encoded, error) {
	var s sequence
	var err error
	switch r.Layout {
	case LayoutText:
		if r.Text == "" {
			return encoded{drop: DropEmpty}, nil
		}
		s, err = e.text(r.Text)
	case LayoutMessages, LayoutShareGPT:
		if len(r.Messages) == 0 {
			return encoded{drop: DropEmpty}, nil
		}
		if e.opt.CompletionOnlyLoss != nil && *e.opt.CompletionOnlyLoss && !e.opt.AssistantOnlyLoss {
			e.note(WarnCompletion)
		}
		s, err = e.chat(r, r.Messages)
	case LayoutPromptCompletion, LayoutAlpaca:
		if r.Completion.Empty() {
			return encoded{drop: DropEmptyCompletion}, nil
		}
		s, err = e.promptCompletion(r)
	case LayoutKTO:
		err = errors.New("is a labelled row (prompt, completion, label): sft would train on the undesirable ones too; " +
			"use a preference objective, or type: prompt_completion to ignore the label")
	default:
		err = errors.New("is a preference row (chosen, rejected), which sft can't train on; use dpo, or convert the data")
	}
	if err != nil {
		return encoded{}, err
	}
	return e.fit(s), nil
}

// text tokenises plain text with the tokenizer's special tokens, all of it trained.
func (e *encoder) text(text string) (sequence, error) {
	if e.opt.AssistantOnlyLoss {
		return sequence{}, errors.New("assistant_only_loss needs chat rows, this one has only \"text\"")
	}
	if e.opt.CompletionOnlyLoss != nil && *e.opt.CompletionOnlyLoss {
		e.note(WarnCompletion)
	}
	return e.plain(text)
}

// plain tokenises text with special tokens and EOS.
func (e *encoder) plain(text string) (sequence, error) {
	ids, err := e.tok.AppendIDs(nil, text, true)
	if err != nil {
		return sequence{}, err
	}
	if bos, ok := e.tok.BOS(); ok && len(ids) > 1 && ids[0] == bos && ids[1] == bos {
		e.note(WarnDoubleBOS)
	}
	return whole(e.withEOS(ids)), nil
}

// whole is a sequence all of whose tokens are trained.
func whole(ids []int32) sequence { return sequence{ids: ids, codes: fill(len(ids), weightOne)} }

// withEOS appends EOS unless the ids end with it.
func (e *encoder) withEOS(ids []int32) []int32 {
	if e.opt.NoEOS {
		return ids
	}
	eos, ok := e.tok.EOS()
	if !ok {
		e.note(WarnNoEOS)
		return ids
	}
	if len(ids) > 0 && ids[len(ids)-1] == eos {
		return ids
	}
	return append(ids, eos)
}

// chat renders and tokenises a conversation and weighs its tokens.
func (e *encoder) chat(r *Row, messages []Message) (sequence, error) {
	if e.opt.Template == nil {
		return sequence{}, errors.New("is a chat, but there is no chat template; set chat_template")
	}
	weighed := slices.ContainsFunc(messages, func(m Message) bool { return m.Weight != nil })
	conv := r.conversation(messages)
	if !weighed && !e.opt.AssistantOnlyLoss {
		ids, err := e.render(conv)
		return whole(ids), err
	}
	for i, m := range messages {
		if m.Role != "assistant" && m.Weight != nil && *m.Weight != 0 {
			return sequence{}, fmt.Errorf("message %d (%s) has loss weight %v; only the assistant's messages can carry one, the template "+
				"does not tell where others begin and end", i, m.Role, *m.Weight)
		}
	}
	return e.spans(conv)
}

// render tokenises a whole conversation.
func (e *encoder) render(conv Conversation) ([]int32, error) {
	text, err := e.opt.Template.Render(conv, false)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTemplate, err)
	}
	e.checkPrinted(conv, text)
	ids, err := e.tok.AppendIDs(nil, text, false)
	return e.endChat(ids), err
}

// checkPrinted notes a template that leaves out the last message; its last line will do, for templates rewrite reasoning.
func (e *encoder) checkPrinted(conv Conversation, text string) {
	if len(conv.Messages) == 0 {
		return
	}
	content := strings.TrimSpace(conv.Messages[len(conv.Messages)-1].Content)
	line := strings.TrimSpace(content[strings.LastIndexByte(content, '\n')+1:])
	if !strings.Contains(text, line) {
		e.note(WarnLost)
	}
}

// endChat appends EOS where the chat's last turn has no end marker: no EOS and no other special token but for blanks after
// it.
func (e *encoder) endChat(ids []int32) []int32 {
	eos, ok := e.tok.EOS()
	if !ok || e.opt.NoEOS {
		return e.withEOS(ids)
	}
	for i := len(ids) - 1; i >= 0; i-- {
		if ids[i] == eos {
			return ids
		}
		if e.tok.IsSpecial(ids[i]) {
			e.note(WarnEndMarker)
			return ids
		}
		if !isBlank(e.tok.Decode(ids[i : i+1])) {
			break
		}
	}
	return append(ids, eos)
}

func isBlank(s string) bool {
	for _, r := range s {
		if r != ' ' && r != '\n' && r != '\t' && r != '\r' && r != '▁' {
			return false
		}
	}
	return true
}

// spans weighs the tokens of a conversation by what the assistant says in it.
func (e *encoder) spans(conv Conversation) (sequence, error) {
	text, spans, err := e.opt.Template.AssistantSpans(conv)
	if err != nil {
		return sequence{}, fmt.Errorf("%w: %w", ErrTemplate, err)
	}
	e.checkPrinted(conv, text)
	ids, start, end, err := e.tok.EncodeSpans(text)
	if err != nil {
		return sequence{}, err
	}
	codes := make([]uint8, len(ids), len(ids)+1)
	k, reach := 0, 0
	for i := range ids {
		start[i] = min(start[i], reach) // a blank that offsets leave out belongs to the token after it
		reach = max(reach, end[i])
		for k < len(spans) && spans[k].End <= start[i] {
			k++
		}
		for j := k; j < len(spans) && spans[j].Start < end[i]; j++ {
			if start[i] < spans[j].Start || end[i] > spans[j].End {
				e.note(WarnStraddle)
			}
			code, err := messageCode(conv.Messages, spans[j].Message)
			if err != nil {
				return sequence{}, err
			}
			codes[i] = max(codes[i], code)
		}
	}
	full := e.endChat(ids)
	if len(full) > len(ids) {
		last := len(conv.Messages) - 1
		code := uint8(0)
		if last >= 0 && conv.Messages[last].Role == "assistant" {
			if code, err = messageCode(conv.Messages, last); err != nil {
				return sequence{}, err
			}
		}
		codes = append(codes, code)
	}
	return sequence{ids: full, codes: codes}, nil
}

func messageCode(messages []Message, i int) (uint8, error) {
	if i < 0 || i >= len(messages) || messages[i].Weight == nil {
		return weightOne, nil
	}
	return weightCode(*messages[i].Weight)
}

// split tokenises a prompt alone and followed by an answer. The answer begins at the first token in which the two differ.
func (e *encoder) split(r *Row, prompt, answer Part) (s sequence, promptLen int, err error) {
	var alone []int32
	if prompt.Chat {
		if e.opt.Template == nil {
			return s, 0, errors.New("is a chat, but there is no chat template; set chat_template")
		}
		text, err := e.opt.Template.Render(r.conversation(prompt.Messages), true)
		if err != nil {
			return s, 0, fmt.Errorf("%w: prompt: %w", ErrTemplate, err)
		}
		if alone, err = e.tok.AppendIDs(nil, text, false); err != nil {
			return s, 0, err
		}
		if s, err = e.chat(r, slices.Concat(prompt.Messages, answer.Messages)); err != nil {
			return s, 0, err
		}
	} else {
		if e.opt.AssistantOnlyLoss {
			return s, 0, errors.New("assistant_only_loss needs chat rows, this one has a plain prompt and completion")
		}
		if alone, err = e.tok.AppendIDs(nil, prompt.Text, true); err != nil {
			return s, 0, err
		}
		if s, err = e.plain(prompt.Text + answer.Text); err != nil {
			return s, 0, err
		}
	}
	n := 0
	for n < len(alone) && n < len(s.ids) && alone[n] == s.ids[n] {
		n++
	}
	if n < len(alone) {
		e.note(WarnPrefix)
	}
	return s, n, nil
}

func (e *encoder) promptCompletion(r *Row) (sequence, error) {
	s, n, err := e.split(r, r.Prompt, r.Completion)
	if err == nil && e.opt.completionOnly() {
		clear(s.codes[:n])
	}
	return s, err
}

// fit brings a sequence to max_length and drops it if nothing trained is left.
func (e *encoder) fit(s sequence) (out encoded) {
	defer func() { out.full, out.sum = len(s.ids), hashOf(s) }()
	switch {
	case len(s.ids) == 0:
		return encoded{drop: DropEmpty}
	case len(s.ids) == 1:
		return encoded{drop: DropTooShort}
	case !s.trains():
		return encoded{drop: DropAllMasked}
	}
	n := e.opt.MaxLength
	if len(s.ids) <= n || e.opt.Overflow == KeepLong {
		return encoded{docs: []sequence{s}}
	}
	if e.opt.Overflow == SplitLong {
		return encoded{docs: windows(s, n)}
	}
	kept := s.cut(n, e.opt.TruncationMode == KeepEnd)
	if !kept.trains() {
		return encoded{truncated: true, drop: DropPromptFills}
	}
	return encoded{truncated: true, docs: []sequence{kept}}
}

// windows cuts a sequence every n tokens; windows that train nothing are left out.
func windows(s sequence, n int) []sequence {
	var docs []sequence
	for i := 0; i < len(s.ids); i += n {
		if w := s.slice(i, min(i+n, len(s.ids))); w.trains() {
			docs = append(docs, w)
		}
	}
	return docs
}

// hashOf is FNV-1a over ids and weights: rows of equal hash count as equal.
func hashOf(docs ...sequence) uint64 {
	const prime = 1099511628211
	h := uint64(14695981039346656037)
	for _, d := range docs {
		for i, id := range d.ids {
			h = (h ^ uint64(packToken(id, d.codes[i]))) * prime
		}
		h = (h ^ math.MaxUint32) * prime
	}
	return h
}

func (s sequence) slice(i, j int) sequence { return sequence{ids: s.ids[i:j], codes: s.codes[i:j]} }

// trains reports whether any token but the first, which nothing predicts, carries loss.
func (s sequence) trains() bool {
	return len(s.codes) > 1 && slices.ContainsFunc(s.codes[1:], func(c uint8) bool { return c != 0 })
}

func fill(n int, code uint8) []uint8 {
	codes := make([]uint8, n)
	for i := range codes {
		codes[i] = code
	}
	return codes
}
