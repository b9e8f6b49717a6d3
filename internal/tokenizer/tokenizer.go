package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// ErrInvalidUTF8 is wrapped by errors about text that is not valid UTF-8.
var ErrInvalidUTF8 = errors.New("not valid UTF-8")

// Tokenizer is a loaded tokenizer. It never changes and is safe for concurrent use.
type Tokenizer struct {
	added *addedVocabulary
	norm  normalizer   // may be nil
	pre   preTokenizer // may be nil
	model model
	post  *postProcessor
	dec   decoder // may be nil: tokens are then joined by spaces
	trunc *truncation
	pad   *padding

	fast  *byteEncoder // may be nil: no short cut for this pipeline
	cache *wordCache
	// alwaysTrack is set where a pre-tokenizer asks for places in the original text that only alignment tells.
	alwaysTrack bool

	config *Config
}

// EncodeOptions say how to encode.
type EncodeOptions struct {
	// AddSpecialTokens lets the post-processor put in its tokens (BOS, [CLS], …).
	AddSpecialTokens bool
}

// FromJSON reads a tokenizer.json. Errors name the JSON path of what is wrong, missing or unknown.
func FromJSON(data []byte) (*Tokenizer, error) {
	o, err := parseObject(data)
	if err != nil {
		return nil, fmt.Errorf("tokenizer.json: %w", err)
	}
	t, err := parseTokenizer(o, &Config{})
	if err != nil {
		return nil, fmt.Errorf("tokenizer.json: %w", err)
	}
	return t, nil
}

func parseTokenizer(o *object, config *Config) (*Tokenizer, error) {
	if v := o.strOr("version", "1.0"); v != "1.0" {
		o.fail("version", "%w: %q; known is 1.0", ErrUnsupported, v)
	}
	parts := map[string]json.RawMessage{}
	for _, key := range []string{"truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
		"post_processor", "decoder", "model"} {
		parts[key] = o.raw(key)
	}
	if err := o.close(); err != nil {
		return nil, err
	}
	t := &Tokenizer{config: config}
	var errs []error
	note := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	var err error
	t.norm, err = parseNormalizer(parts["normalizer"], "normalizer")
	note(err)
	t.pre, err = parsePreTokenizer(parts["pre_tokenizer"], "pre_tokenizer")
	note(err)
	t.model, err = parseModel(parts["model"], "model")
	note(err)
	t.post, err = parsePostProcessor(parts["post_processor"], "post_processor")
	note(err)
	t.dec, err = parseDecoder(parts["decoder"], "decoder")
	note(err)
	t.trunc, err = parseTruncation(parts["truncation"], "truncation")
	note(err)
	t.pad, err = parsePadding(parts["padding"], "padding")
	note(err)
	tokens, err := parseAddedTokens(parts["added_tokens"], "added_tokens")
	note(err)
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if tokens, err = config.merge(tokens, t.model); err != nil {
		return nil, err
	}
	return t.finish(tokens)
}

func parseAddedTokens(raw json.RawMessage, path string) ([]AddedToken, error) {
	if isNull(raw) {
		return nil, nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("%s: expected an array, found %s", path, excerpt(raw))
	}
	tokens := make([]AddedToken, len(list))
	for i, item := range list {
		var err error
		if tokens[i], err = parseAddedToken(item, fmt.Sprintf("%s[%d]", path, i), true); err != nil {
			return nil, err
		}
	}
	return tokens, nil
}

// finish checks the parts against each other and prepares what encoding needs.
func (t *Tokenizer) finish(tokens []AddedToken) (*Tokenizer, error) {
	var err error
	if t.added, err = newAddedVocabulary(tokens, t.model, t.norm, "added_tokens"); err != nil {
		return nil, err
	}
	if t.trunc != nil {
		if err := t.trunc.check(added(t.post.single), "truncation"); err != nil {
			return nil, err
		}
	}
	t.cache = newWordCache()
	t.fast = newByteEncoder(t)
	t.alwaysTrack = asksForOrigin(t.pre) && t.norm != nil
	return t, nil
}

// asksForOrigin tells whether a pre-tokenizer acts differently at the start of the original text.
func asksForOrigin(p preTokenizer) bool {
	switch p := p.(type) {
	case metaspace:
		return p.scheme == "first"
	case preTokenizerSequence:
		return slices.ContainsFunc(p, asksForOrigin)
	}
	return false
}

// WithoutLimits returns a tokenizer that neither truncates nor pads, whatever its file says.
func (t *Tokenizer) WithoutLimits() *Tokenizer {
	c := *t
	c.trunc, c.pad = nil, nil
	return &c
}

// pieces appends to out what comes of a text that is taken through added tokens, normalizer and pre-tokenizer.
func (t *Tokenizer) pieces(out []piece, s string, track bool) ([]piece, error) {
	whole := text{s: s, track: track || t.alwaysTrack}
	for _, c := range t.added.plain.cuts(nil, s) {
		part := whole.slice(c.start, c.end)
		if c.token != nil {
			out = append(out, piece{part, c.token.ID})
			continue
		}
		if t.norm != nil {
			if err := t.norm.normalize(&part); err != nil {
				return nil, err
			}
		}
		for _, c := range t.added.normal.cuts(nil, part.s) {
			p := piece{part.slice(c.start, c.end), notAdded}
			switch {
			case c.token != nil:
				p.added = c.token.ID
				out = append(out, p)
			case t.pre == nil:
				out = append(out, p)
			default:
				var err error
				if out, err = t.pre.split(out, p); err != nil {
					return nil, err
				}
			}
		}
	}
	return slices.DeleteFunc(out, func(p piece) bool { return p.s == "" }), nil
}

// checkText reports text that is not UTF-8, or too long for 32-bit positions.
func checkText(s string) error {
	if len(s) > math.MaxInt32/4 {
		return fmt.Errorf("text of %d bytes is too long to encode at once: the limit is %d", len(s), math.MaxInt32/4)
	}
	if utf8.ValidString(s) {
		return nil
	}
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			return fmt.Errorf("text is %w at byte %d (0x%02X)", ErrInvalidUTF8, i, s[i])
		}
		i += n
	}
	return nil
}

// encodeText encodes one text up to the model, as the sequence given (0 or 1).
func (t *Tokenizer) encodeText(s string, sequence int32) (*Encoding, error) {
	if err := checkText(s); err != nil {
		return nil, err
	}
	pieces, err := t.pieces(nil, s, true)
	if err != nil {
		return nil, err
	}
	e := &Encoding{source: s}
	var tokens []token
	for _, p := range pieces {
		if p.added != notAdded {
			o := p.original(0, len(p.s))
			e.add(p.added, p.s, [2]int{o.start, o.end}, sequence, sequence, false, true)
			continue
		}
		if tokens, err = t.model.tokenize(tokens[:0], p.s); err != nil {
			return nil, err
		}
		for _, k := range tokens {
			o := p.original(k.start, k.end)
			e.add(k.id, t.value(k, p.s), [2]int{o.start, o.end}, sequence, sequence, false, true)
		}
	}
	return e, nil
}

// value spells a token of the piece s. A unigram model gives what it does not know back as it is.
func (t *Tokenizer) value(k token, s string) string {
	if u, ok := t.model.(*unigram); ok && k.id == u.unk {
		return s[k.start:k.end]
	}
	value, _ := t.model.idToToken(k.id)
	return value
}

// Encode tokenizes a text, with offsets and masks.
func (t *Tokenizer) Encode(text string, opts EncodeOptions) (*Encoding, error) {
	e, err := t.encodeText(text, 0)
	if err != nil {
		return nil, err
	}
	return t.complete([]*Encoding{e}, opts)
}

// EncodePair tokenizes two texts as one sequence, as the post-processor joins pairs.
func (t *Tokenizer) EncodePair(text, pair string, opts EncodeOptions) (*Encoding, error) {
	a, err := t.encodeText(text, 0)
	if err != nil {
		return nil, err
	}
	b, err := t.encodeText(pair, 1)
	if err != nil {
		return nil, fmt.Errorf("second text: %w", err)
	}
	return t.complete([]*Encoding{a, b}, opts)
}

// complete truncates, post-processes and pads.
func (t *Tokenizer) complete(texts []*Encoding, opts EncodeOptions) (*Encoding, error) {
	if t.trunc != nil {
		room := 0
		if opts.AddSpecialTokens {
			room = added(t.post.template(len(texts) == 2))
		}
		n := [2]int{texts[0].Len(), -1}
		if len(texts) == 2 {
			n[1] = texts[1].Len()
		}
		k1, k2, err := t.trunc.lengths(n[0], n[1], room)
		if err != nil {
			return nil, err
		}
		for i, k := range []int{k1, k2}[:len(texts)] {
			texts[i].window(t.trunc.span(n[i], k))
		}
	}
	e := t.post.apply(texts, opts.AddSpecialTokens)
	if t.pad != nil {
		t.pad.pad(e)
	}
	return e, nil
}

// AppendIDs appends the ids of a text to dst: the same ids as Encode gives, without the cost of offsets.
func (t *Tokenizer) AppendIDs(dst []int32, text string, addSpecial bool) ([]int32, error) {
	if err := checkText(text); err != nil {
		return dst, err
	}
	parts := t.post.single
	if !addSpecial {
		parts = []part{{sequence: 0}}
	}
	begin := len(dst)
	var err error
	for _, p := range parts {
		if p.sequence < 0 {
			dst = append(dst, p.ids...)
			continue
		}
		from := len(dst)
		if dst, err = t.appendTextIDs(dst, text); err != nil {
			return dst[:begin], err
		}
		if t.trunc != nil {
			room := 0
			if addSpecial {
				room = added(t.post.single)
			}
			n := len(dst) - from
			k, _, err := t.trunc.lengths(n, -1, room)
			if err != nil {
				return dst[:begin], err
			}
			i, j := t.trunc.span(n, k)
			dst = dst[:from+copy(dst[from:], dst[from+i:from+j])]
		}
	}
	if t.pad != nil {
		n := len(dst) - begin
		fill := slices.Repeat([]int32{t.pad.id}, t.pad.length(n)-n)
		if t.pad.left {
			dst = slices.Insert(dst, begin, fill...)
		} else {
			dst = append(dst, fill...)
		}
	}
	return dst, nil
}

// appendTextIDs is encodeText for ids alone.
func (t *Tokenizer) appendTextIDs(dst []int32, s string) ([]int32, error) {
	if t.fast != nil {
		return t.fast.appendIDs(dst, t, s)
	}
	buf := pieceBuffers.Get().(*[]piece)
	defer recycle(buf)
	pieces, err := t.pieces((*buf)[:0], s, false)
	if err != nil {
		return dst, err
	}
	*buf = pieces
	var tokens []token
	for _, p := range pieces {
		if p.added != notAdded {
			dst = append(dst, p.added)
			continue
		}
		if dst, tokens, err = t.appendParts(dst, tokens, p.s); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// appendParts appends the model's ids of one piece, part by part where the model allows it.
func (t *Tokenizer) appendParts(dst []int32, tokens []token, s string) ([]int32, []token, error) {
	m, ok := t.model.(*bpe)
	if !ok || !m.cuts {
		return t.appendPiece(dst, tokens, s)
	}
	var err error
	for i := 0; i < len(s) && err == nil; {
		j := m.nextCut(s, i)
		dst, tokens, err = t.appendPiece(dst, tokens, s[i:j])
		i = j
	}
	return dst, tokens, err
}

// appendPiece appends the model's ids of one piece, from the cache if it was seen before.
func (t *Tokenizer) appendPiece(dst []int32, tokens []token, s string) ([]int32, []token, error) {
	short := len(s) <= cacheWordLen
	var hash uint64
	if short {
		ids, h, ok := t.cache.get(s)
		if ok {
			return append(dst, ids...), tokens, nil
		}
		hash = h
	}
	tokens, err := t.model.tokenize(tokens[:0], s)
	if err != nil {
		return dst, tokens, err
	}
	from := len(dst)
	for _, k := range tokens {
		dst = append(dst, k.id)
	}
	if short {
		t.cache.put(hash, s, dst[from:])
	}
	return dst, tokens, nil
}

// Decode turns ids into text. Ids that no token has are left out, and with skipSpecial so are special tokens.
func (t *Tokenizer) Decode(ids []int32, skipSpecial bool) string {
	tokens := make([]string, 0, len(ids))
	for _, id := range ids {
		s, ok := t.decodeToken(id)
		if !ok || skipSpecial && t.added.special[s] {
			continue
		}
		tokens = append(tokens, s)
	}
	if t.dec == nil {
		return strings.Join(tokens, " ")
	}
	return strings.Join(t.dec.decode(tokens), "")
}

// decodeToken is the string a decoder gets for an id.
func (t *Tokenizer) decodeToken(id int32) (string, bool) {
	if k, ok := t.added.byID[id]; ok {
		if form, ok := t.added.decodeForm[id]; ok {
			return form, true
		}
		return t.added.tokens[k].Content, true
	}
	return t.model.idToToken(id)
}

// TokenToID returns the id of a token, spelt as in the vocabulary.
func (t *Tokenizer) TokenToID(s string) (int32, bool) {
	if k, ok := t.added.byContent[s]; ok {
		return t.added.tokens[k].ID, true
	}
	return t.model.tokenToID(s)
}

// IDToToken returns the token of an id, spelt as in the vocabulary.
func (t *Tokenizer) IDToToken(id int32) (string, bool) {
	if k, ok := t.added.byID[id]; ok {
		return t.added.tokens[k].Content, true
	}
	return t.model.idToToken(id)
}

// VocabSize returns the number of tokens, added ones included. Ids may have gaps, so an id can be larger.
func (t *Tokenizer) VocabSize() int {
	n := t.model.size()
	for _, a := range t.added.tokens {
		if _, ok := t.model.tokenToID(a.Content); !ok {
			n++
		}
	}
	return n
}

// AddedTokens returns the added tokens in the order of their file.
func (t *Tokenizer) AddedTokens() []AddedToken { return slices.Clone(t.added.tokens) }

// IsSpecial tells whether Decode leaves an id out when asked to skip special tokens.
func (t *Tokenizer) IsSpecial(id int32) bool {
	k, ok := t.added.byID[id]
	return ok && t.added.special[t.added.tokens[k].Content]
}
