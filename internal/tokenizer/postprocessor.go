package tokenizer

import (
	"encoding/json"
	"fmt"
	"slices"
)

// part is one place in a post-processor's template: a text (sequence 0 or 1) or special tokens (sequence -1).
type part struct {
	sequence int
	typeID   int32
	ids      []int32
	tokens   []string
}

// postProcessor puts special tokens around texts. Every kind the reference has comes down to this.
type postProcessor struct {
	trims        []bool // trim offsets, once for each entry; true keeps the prefix space
	zeroTypes    bool   // type ids become 0
	hasTemplate  bool
	single, pair []part
	// bareTypes says that the template sets type ids even when no special tokens are added.
	bareTypes bool
}

// defaultPost only puts texts one behind the other.
func defaultPost() *postProcessor {
	return &postProcessor{single: []part{{sequence: 0}}, pair: []part{{sequence: 0}, {sequence: 1, typeID: 1}}}
}

// added counts the special tokens of a template.
func added(parts []part) (n int) {
	for _, p := range parts {
		n += len(p.ids)
	}
	return n
}

func (p *postProcessor) template(pair bool) []part {
	if pair {
		return p.pair
	}
	return p.single
}

// apply joins texts (one or two) as the template says.
func (p *postProcessor) apply(texts []*Encoding, addSpecial bool) *Encoding {
	for _, keep := range p.trims {
		for _, e := range texts {
			e.trimOffsets(e.source, keep)
		}
	}
	out := &Encoding{}
	for _, part := range p.template(len(texts) == 2) {
		if part.sequence < 0 {
			if addSpecial {
				for i, id := range part.ids {
					out.add(id, part.tokens[i], [2]int{}, part.typeID, -1, true, true)
				}
			}
			continue
		}
		e := texts[part.sequence]
		typeID := part.typeID
		switch {
		case p.zeroTypes:
			typeID = 0
		case !addSpecial && !p.bareTypes:
			typeID = int32(part.sequence)
		}
		from := out.Len()
		out.extend(e)
		for i := from; i < out.Len(); i++ {
			out.TypeIDs[i] = typeID
		}
	}
	return out
}

// parsePostProcessor reads the `post_processor` of a tokenizer.json.
func parsePostProcessor(raw json.RawMessage, path string) (*postProcessor, error) {
	p := defaultPost()
	if isNull(raw) {
		return p, nil
	}
	return p, p.parse(raw, path)
}

func (p *postProcessor) parse(raw json.RawMessage, path string) error {
	o, err := newObject(raw, path)
	if err != nil {
		return err
	}
	kind := o.str("type")
	if p.hasTemplate && (kind == "TemplateProcessing" || kind == "BertProcessing" || kind == "RobertaProcessing") {
		return fmt.Errorf("%s: %w: a second processor that adds special tokens", path, ErrUnsupported)
	}
	switch kind {
	case "ByteLevel":
		prefix, trim := o.boolean("add_prefix_space"), o.boolean("trim_offsets")
		o.boolOr("use_regex", true)
		if trim {
			p.trims = append(p.trims, prefix)
		}
	case "BertProcessing":
		cls, sep := specialPair(o, "cls"), specialPair(o, "sep")
		p.hasTemplate = true
		p.single = []part{cls, {sequence: 0}, sep}
		sep1 := sep
		sep1.typeID = 1
		p.pair = []part{cls, {sequence: 0}, sep, {sequence: 1, typeID: 1}, sep1}
	case "RobertaProcessing":
		cls, sep := specialPair(o, "cls"), specialPair(o, "sep")
		prefix, trim := o.boolean("add_prefix_space"), o.boolean("trim_offsets")
		if trim {
			p.trims = append(p.trims, prefix)
		}
		p.hasTemplate, p.zeroTypes = true, true
		p.single = []part{cls, {sequence: 0}, sep}
		p.pair = []part{cls, {sequence: 0}, sep, sep, {sequence: 1}, sep}
	case "TemplateProcessing":
		p.hasTemplate, p.bareTypes = true, true
		p.parseTemplate(o)
	case "Sequence":
		for i, raw := range o.list("processors") {
			if err := p.parse(raw, fmt.Sprintf("%s[%d]", o.at("processors"), i)); err != nil {
				return err
			}
		}
	default:
		o.fail("type", "%w: post-processor %q", ErrUnsupported, kind)
	}
	return o.close()
}

// specialPair reads ["[CLS]", 101].
func specialPair(o *object, key string) part {
	p := part{sequence: -1}
	var pair []json.RawMessage
	o.decode(key, "a token and its id", &pair)
	var s string
	var id int32
	if o.err == nil && (len(pair) != 2 || json.Unmarshal(pair[0], &s) != nil || json.Unmarshal(pair[1], &id) != nil || id < 0) {
		o.fail(key, `expected ["token", id], found %s`, excerpt(o.fields[key]))
	}
	p.ids, p.tokens = []int32{id}, []string{s}
	return p
}

func (p *postProcessor) parseTemplate(o *object) {
	special := map[string]part{}
	var raw map[string]json.RawMessage
	o.decode("special_tokens", "an object", &raw)
	for name, v := range raw {
		s, err := newObject(v, o.at("special_tokens")+"."+name)
		if err != nil {
			o.err = err
			return
		}
		q := part{sequence: -1}
		s.str("id")
		s.decode("ids", "an array of ids", &q.ids)
		s.decode("tokens", "an array of tokens", &q.tokens)
		if s.err == nil && len(q.ids) != len(q.tokens) {
			s.fail("ids", "has %d entries, but tokens has %d", len(q.ids), len(q.tokens))
		}
		if s.err == nil && slices.ContainsFunc(q.ids, func(id int32) bool { return id < 0 }) {
			s.fail("ids", "must not be negative")
		}
		if err := s.close(); err != nil && o.err == nil {
			o.err = err
		}
		special[name] = q
	}
	p.single = parseTemplateParts(o, "single", special)
	p.pair = parseTemplateParts(o, "pair", special)
	if o.err == nil && !(slices.ContainsFunc(p.pair, func(q part) bool { return q.sequence == 0 }) &&
		slices.ContainsFunc(p.pair, func(q part) bool { return q.sequence == 1 })) {
		o.fail("pair", "must use both sequences, A and B")
	}
	if slices.ContainsFunc(p.single, func(q part) bool { return q.sequence == 1 }) {
		o.fail("single", "must not use the sequence B")
	}
}

func parseTemplateParts(o *object, key string, special map[string]part) []part {
	var parts []part
	for i, raw := range o.list(key) {
		path := fmt.Sprintf("%s[%d]", key, i)
		var piece map[string]struct {
			ID     *string `json:"id"`
			TypeID *int32  `json:"type_id"`
		}
		if err := json.Unmarshal(raw, &piece); err != nil || len(piece) != 1 {
			o.fail(path, `expected {"SpecialToken": …} or {"Sequence": …}, found %s`, excerpt(raw))
			return nil
		}
		for kind, v := range piece {
			if v.ID == nil || v.TypeID == nil || *v.TypeID < 0 {
				o.fail(path, "needs an id and a type_id of at least 0")
				return nil
			}
			switch {
			case kind == "SpecialToken":
				q, ok := special[*v.ID]
				if !ok {
					o.fail(path, "special token %q is not among special_tokens", *v.ID)
				}
				q.typeID = *v.TypeID
				parts = append(parts, q)
			case kind == "Sequence" && *v.ID == "A":
				parts = append(parts, part{sequence: 0, typeID: *v.TypeID})
			case kind == "Sequence" && *v.ID == "B":
				parts = append(parts, part{sequence: 1, typeID: *v.TypeID})
			default:
				o.fail(path, "%w: %s %q", ErrUnsupported, kind, *v.ID)
			}
		}
	}
	return parts
}
