package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// AddedToken is a token that is looked for in the text itself, before the model sees it.
type AddedToken struct {
	ID         int32
	Content    string
	SingleWord bool // only where no word character touches it
	LStrip     bool // takes white space before it along
	RStrip     bool // takes white space behind it along
	Normalized bool // looked for in the normalised text, by its own normalised form
	Special    bool // left out by Decode with skipSpecial
}

func parseAddedToken(raw json.RawMessage, path string, withID bool) (AddedToken, error) {
	o, err := newObject(raw, path)
	if err != nil {
		return AddedToken{}, err
	}
	t := AddedToken{
		Content:    o.str("content"),
		SingleWord: o.boolOr("single_word", false),
		LStrip:     o.boolOr("lstrip", false),
		RStrip:     o.boolOr("rstrip", false),
		Special:    o.boolOr("special", false),
	}
	t.Normalized = o.boolOr("normalized", !t.Special)
	if withID {
		t.ID = int32(o.count("id"))
	}
	o.ignore("__type")
	return t, o.close()
}

// addedVocabulary holds all added tokens and finds them in text.
type addedVocabulary struct {
	tokens     []AddedToken // in the order of the file
	byContent  map[string]int
	byID       map[int32]int
	decodeForm map[int32]string // of normalized tokens whose normalised form differs
	special    map[string]bool
	plain      *finder // tokens looked for in the text as given
	normal     *finder // tokens looked for in the normalised text
}

// newAddedVocabulary checks the tokens against the model and prepares the search.
func newAddedVocabulary(tokens []AddedToken, m model, n normalizer, path string) (*addedVocabulary, error) {
	a := &addedVocabulary{byContent: map[string]int{}, byID: map[int32]int{}, decodeForm: map[int32]string{},
		special: map[string]bool{}}
	for i, t := range tokens {
		where := fmt.Sprintf("%s[%d]", path, i)
		if t.Content == "" {
			return nil, fmt.Errorf("%s.content: must not be empty", where)
		}
		if !utf8.ValidString(t.Content) {
			return nil, fmt.Errorf("%s.content: %w", where, ErrInvalidUTF8)
		}
		if t.ID < 0 || t.ID >= maxTokenID {
			return nil, fmt.Errorf("%s.id: %d is outside 0 to %d", where, t.ID, maxTokenID-1)
		}
		if id, ok := m.tokenToID(t.Content); ok && id != t.ID {
			return nil, fmt.Errorf("%s: token %q has id %d here but %d in the model's vocabulary", where, t.Content, t.ID, id)
		} else if old, used := m.idToToken(t.ID); !ok && used {
			return nil, fmt.Errorf("%s: token %q has id %d, which is %q in the model's vocabulary", where, t.Content, t.ID, old)
		}
		if k, ok := a.byContent[t.Content]; ok {
			if a.tokens[k] == t {
				continue
			}
			return nil, fmt.Errorf("%s: token %q is added twice, with different settings", where, t.Content)
		}
		if k, ok := a.byID[t.ID]; ok {
			return nil, fmt.Errorf("%s: tokens %q and %q share the id %d", where, a.tokens[k].Content, t.Content, t.ID)
		}
		a.byContent[t.Content] = len(a.tokens)
		a.byID[t.ID] = len(a.tokens)
		a.tokens = append(a.tokens, t)
		if t.Special {
			a.special[t.Content] = true
		}
	}
	a.plain, a.normal = &finder{}, &finder{}
	for i := range a.tokens {
		t := &a.tokens[i]
		form := t.Content
		if t.Normalized && n != nil {
			x := text{s: form}
			if err := n.normalize(&x); err != nil {
				return nil, fmt.Errorf("%s[%d]: normalising %q: %w", path, i, form, err)
			}
			if x.s != form {
				form = x.s
				a.decodeForm[t.ID] = form
			}
		}
		f := a.plain
		if t.Normalized {
			f = a.normal
		}
		if form == "" {
			return nil, fmt.Errorf("%s[%d]: token %q is empty once normalised, so it can never be found", path, i, t.Content)
		}
		f.add(form, t)
	}
	return a, nil
}

// finder looks for many strings at once: at each place the longest one that begins there, from left to right.
type finder struct {
	nodes []finderNode
	first [256]bool
	start string // the one byte all begin with, if there is just one
}

type finderNode struct {
	next  map[byte]int32
	token *AddedToken
}

func (f *finder) add(s string, t *AddedToken) {
	if len(f.nodes) == 0 {
		f.nodes = append(f.nodes, finderNode{})
		f.start = s[:1]
	}
	if f.start != s[:1] {
		f.start = ""
	}
	f.first[s[0]] = true
	at := int32(0)
	for i := range len(s) {
		n := f.nodes[at].next[s[i]]
		if n == 0 {
			n = int32(len(f.nodes))
			f.nodes = append(f.nodes, finderNode{})
			if f.nodes[at].next == nil {
				f.nodes[at].next = map[byte]int32{}
			}
			f.nodes[at].next[s[i]] = n
		}
		at = n
	}
	f.nodes[at].token = t
}

// next finds the first token in s from i on: its place and the token, nil if there is none.
func (f *finder) next(s string, i int) (start, end int, found *AddedToken) {
	if len(f.nodes) == 0 {
		return 0, 0, nil
	}
	for ; i < len(s); i++ {
		if f.start != "" {
			k := strings.IndexByte(s[i:], f.start[0])
			if k < 0 {
				return 0, 0, nil
			}
			i += k
		} else if !f.first[s[i]] {
			continue
		}
		at := int32(0)
		for j := i; j < len(s); j++ {
			n := f.nodes[at].next[s[j]]
			if n == 0 {
				break
			}
			at = n
			if t := f.nodes[at].token; t != nil {
				end, found = j+1, t
			}
		}
		if found != nil {
			return i, end, found
		}
	}
	return 0, 0, nil
}

// cut is a stretch of text: ordinary (token nil) or an added token.
type cut struct {
	start, end int
	token      *AddedToken
}

// cuts divides s into added tokens and what lies between them.
func (f *finder) cuts(dst []cut, s string) []cut {
	done, from := 0, 0
	for {
		start, end, t := f.next(s, from)
		if t == nil {
			break
		}
		from = end
		if t.SingleWord {
			before, _ := utf8.DecodeLastRuneInString(s[:start])
			after, _ := utf8.DecodeRuneInString(s[end:])
			if start > 0 && isWord(before) || end < len(s) && isWord(after) {
				continue
			}
		}
		if t.LStrip {
			start = max(len(strings.TrimRightFunc(s[:start], isSpace)), done)
		}
		if t.RStrip {
			end = len(s) - len(strings.TrimLeftFunc(s[end:], isSpace))
		}
		if done < start {
			dst = append(dst, cut{done, start, nil})
		}
		dst = append(dst, cut{start, end, t})
		done = end
	}
	if done < len(s) {
		dst = append(dst, cut{done, len(s), nil})
	}
	return dst
}
