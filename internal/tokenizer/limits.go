package tokenizer

import (
	"encoding/json"
	"fmt"
	"math"
)

// truncation cuts encodings to a length, special tokens included.
type truncation struct {
	maxLength int
	stride    int
	strategy  string // LongestFirst, OnlyFirst, OnlySecond
	left      bool   // keep the end
}

func parseTruncation(raw json.RawMessage, path string) (*truncation, error) {
	if isNull(raw) {
		return nil, nil
	}
	o, err := newObject(raw, path)
	if err != nil {
		return nil, err
	}
	t := &truncation{
		maxLength: o.count("max_length"),
		stride:    o.count("stride"),
		strategy:  o.oneOf("strategy", "LongestFirst", "OnlyFirst", "OnlySecond"),
	}
	if o.has("direction") {
		t.left = o.oneOf("direction", "Left", "Right") == "Left"
	}
	o.ignore("direction")
	return t, o.close()
}

// check reports settings that leave no room for text.
func (t *truncation) check(addedSingle int, path string) error {
	if room := t.maxLength - addedSingle; room < t.stride {
		return fmt.Errorf("%s: max_length %d less %d special tokens is below stride %d", path, t.maxLength, addedSingle, t.stride)
	}
	return nil
}

// lengths returns how many tokens to keep of texts with n1 and n2 tokens (n2 < 0: there is no second text) when
// special tokens take up `added` places.
func (t *truncation) lengths(n1, n2, added int) (int, int, error) {
	limit := t.maxLength - added
	if limit < 0 {
		return 0, 0, fmt.Errorf("truncation: max_length %d has no room for %d special tokens", t.maxLength, added)
	}
	total := n1 + max(n2, 0)
	if total <= limit {
		return n1, n2, nil
	}
	if limit == 0 {
		return 0, min(n2, 0), nil
	}
	k1, k2 := n1, n2
	switch {
	case t.strategy == "LongestFirst" && n2 < 0:
		k1 = limit
	case t.strategy == "LongestFirst":
		short := min(n1, n2)
		long := short
		if short <= limit {
			long = max(short, limit-short)
		}
		if short+long > limit {
			short = limit / 2
			long = short + limit%2
		}
		k1, k2 = short, long
		if n1 > n2 {
			k1, k2 = long, short
		}
	case t.strategy == "OnlyFirst":
		k1 = n1 - (total - limit)
	case n2 < 0:
		return 0, 0, fmt.Errorf("truncation: strategy OnlySecond needs a second text")
	default:
		k2 = n2 - (total - limit)
	}
	if k1 <= 0 && t.strategy == "OnlyFirst" || k2 <= 0 && t.strategy == "OnlySecond" {
		return 0, 0, fmt.Errorf("truncation: %s leaves nothing of a text to bring %d tokens down to %d", t.strategy, total, limit)
	}
	for _, k := range [][2]int{{k1, n1}, {k2, n2}} {
		if k[0] > 0 && k[0] < k[1] && t.stride >= k[0] {
			return 0, 0, fmt.Errorf("truncation: stride %d must be less than the %d tokens that are kept", t.stride, k[0])
		}
	}
	return k1, k2, nil
}

// span gives the part of n tokens that is kept when there is room for k.
func (t *truncation) span(n, k int) (int, int) {
	if k >= n {
		return 0, n
	}
	if t.left {
		return n - k, n
	}
	return 0, k
}

// padding fills encodings up.
type padding struct {
	fixed    int // length to pad to; -1 for the length of the longest
	multiple int
	left     bool
	id       int32
	typeID   int32
	token    string
}

func parsePadding(raw json.RawMessage, path string) (*padding, error) {
	if isNull(raw) {
		return nil, nil
	}
	o, err := newObject(raw, path)
	if err != nil {
		return nil, err
	}
	p := &padding{
		fixed:    -1,
		multiple: o.countOr("pad_to_multiple_of", 0),
		left:     o.oneOf("direction", "Left", "Right") == "Left",
		id:       int32(o.count("pad_id")),
		typeID:   int32(o.count("pad_type_id")),
		token:    o.str("pad_token"),
	}
	var name string
	var fixed struct{ Fixed *int }
	strategy := o.raw("strategy")
	switch {
	case json.Unmarshal(strategy, &name) == nil && name == "BatchLongest":
	case json.Unmarshal(strategy, &fixed) == nil && fixed.Fixed != nil && *fixed.Fixed >= 0 && *fixed.Fixed <= maxPadding:
		p.fixed = *fixed.Fixed
	default:
		o.fail("strategy", `%w: expected "BatchLongest" or {"Fixed": 0 to %d}, found %s`, ErrUnsupported, maxPadding, excerpt(strategy))
	}
	if p.multiple > maxPadding {
		o.fail("pad_to_multiple_of", "%d is above %d", p.multiple, maxPadding)
	}
	return p, o.close()
}

// maxPadding bounds the length a file may ask every text to be padded to.
const maxPadding = 1 << 22

// length returns the padded length of n tokens.
func (p *padding) length(n int) int {
	want := n
	if p.fixed >= 0 {
		want = p.fixed
	}
	if p.multiple > 0 && want%p.multiple > 0 && want < math.MaxInt32 {
		want += p.multiple - want%p.multiple
	}
	return max(want, n)
}

// pad fills e up.
func (p *padding) pad(e *Encoding) {
	n := p.length(e.Len()) - e.Len()
	if n == 0 {
		return
	}
	fill := &Encoding{}
	for range n {
		fill.add(p.id, p.token, [2]int{}, p.typeID, -1, true, false)
	}
	if p.left {
		fill.extend(e)
		*e = *fill
		return
	}
	e.extend(fill)
}
