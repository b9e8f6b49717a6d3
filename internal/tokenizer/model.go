package tokenizer

import (
	"encoding/json"
	"fmt"
	"math"
)

// token is one id and the bytes of the piece it stands for.
type token struct {
	id         int32
	start, end int
}

// model turns a piece of text into tokens.
type model interface {
	// tokenize appends the tokens of s to dst.
	tokenize(dst []token, s string) ([]token, error)
	tokenToID(s string) (int32, bool)
	idToToken(id int32) (string, bool)
	// size is the number of tokens in the model's own vocabulary.
	size() int
}

// parseModel reads the `model` of a tokenizer.json. Old files leave out the type; then the keys tell, in the
// reference's order: merges mean BPE, a prefix for continuing words WordPiece, an object as vocabulary WordLevel,
// a list Unigram.
func parseModel(raw json.RawMessage, path string) (model, error) {
	if isNull(raw) {
		return nil, fmt.Errorf("%s: is missing", path)
	}
	o, err := newObject(raw, path)
	if err != nil {
		return nil, err
	}
	kind := o.strOr("type", "")
	if kind == "" && o.err == nil {
		kind = guessModel(o)
	}
	var m model
	switch kind {
	case "BPE":
		m = parseBPE(o)
	case "WordPiece":
		m = parseWordPiece(o)
	case "WordLevel":
		m = parseWordLevel(o)
	case "Unigram":
		m = parseUnigram(o)
	case "":
		o.fail("type", "is missing, and the keys fit no known model (BPE, WordPiece, WordLevel, Unigram)")
	default:
		o.fail("type", "%w: model %q; known are BPE, WordPiece, WordLevel, Unigram", ErrUnsupported, kind)
	}
	return m, o.close()
}

func guessModel(o *object) string {
	vocab := o.fields["vocab"]
	switch {
	case o.has("vocab") && o.has("merges"):
		return "BPE"
	case o.has("vocab") && o.has("continuing_subword_prefix") && o.has("max_input_chars_per_word"):
		return "WordPiece"
	case o.has("unk_token") && len(vocab) > 0 && vocab[0] == '{':
		return "WordLevel"
	case len(vocab) > 0 && vocab[0] == '[':
		return "Unigram"
	}
	return ""
}

// vocabulary maps tokens to ids and back.
type vocabulary struct {
	ids    map[string]int32
	tokens []string // by id; "" where an id is not used
	used   []bool
}

func (v *vocabulary) tokenToID(s string) (int32, bool) {
	id, ok := v.ids[s]
	return id, ok
}

func (v *vocabulary) idToToken(id int32) (string, bool) {
	if id < 0 || int(id) >= len(v.tokens) || !v.used[id] {
		return "", false
	}
	return v.tokens[id], true
}

func (v *vocabulary) size() int { return len(v.ids) }

// maxTokenID bounds the ids a file may use, and with them the memory that a few bytes of a file can ask for.
const maxTokenID = 1 << 22

func newVocabulary(ids map[string]int32) (*vocabulary, error) {
	top := int32(-1)
	for s, id := range ids {
		if id < 0 || id >= maxTokenID {
			return nil, fmt.Errorf("token %q has id %d, outside 0 to %d", s, id, maxTokenID-1)
		}
		top = max(top, id)
	}
	v := &vocabulary{ids: ids, tokens: make([]string, top+1), used: make([]bool, top+1)}
	for s, id := range ids {
		if v.used[id] {
			a, b := min(s, v.tokens[id]), max(s, v.tokens[id])
			return nil, fmt.Errorf("tokens %q and %q share the id %d", a, b, id)
		}
		v.tokens[id], v.used[id] = s, true
	}
	return v, nil
}

// parseVocabulary reads the vocab object {token: id}.
func parseVocabulary(o *object) *vocabulary {
	raw := o.raw("vocab")
	if raw == nil {
		o.fail("vocab", "is missing: expected an object of tokens and ids")
		return nil
	}
	ids, err := decodeVocab(raw)
	if err != nil {
		o.fail("vocab", "%w", err)
		return nil
	}
	v, err := newVocabulary(ids)
	if err != nil {
		o.fail("vocab", "%w", err)
		return nil
	}
	return v
}

func decodeVocab(raw []byte) (map[string]int32, error) {
	if ids, ok := scanVocab(raw); ok {
		return ids, nil
	}
	ids := map[string]int32{}
	if err := json.Unmarshal(raw, &ids); err != nil {
		return nil, fmt.Errorf("expected an object of tokens and ids from 0 to %d: %w", math.MaxInt32, err)
	}
	return ids, nil
}
