package tokenizer

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// spMark is how SentencePiece writes a space.
const spMark = "▁"

// loadSentencePiece reads a SentencePiece model and gives it the pipeline that transformers (5.17) does. The class in
// tokenizer_config.json decides, else the model_type in config.json:
//
//   - Llama: BPE over the pieces, merges by piece id, a mark put in front of the text;
//   - T5: unigram, with the file's own normalisation, 100 extra ids and </s> behind each text;
//   - nothing said: T5 for a model with T5's special pieces (<pad>, </s>, <unk>), Llama for BPE, else unigram with
//     the file's normalisation and surplus spaces dropped, as transformers' SpmConverter does by default.
func loadSentencePiece(config *Config, paths ...string) (*Tokenizer, error) {
	data, err := os.ReadFile(paths[0])
	if err != nil {
		return nil, err
	}
	m, err := parseSentencePiece(data)
	if err != nil {
		return nil, err
	}
	class, err := spClass(config, filepath.Dir(paths[0]))
	if err != nil {
		return nil, err
	}
	return convertSentencePiece(m, class, config)
}

// spClass names the conversion: llama, t5, or "" when no file says.
func spClass(config *Config, dir string) (string, error) {
	switch class := strings.TrimSuffix(config.Class, "Fast"); class {
	case "LlamaTokenizer":
		return "llama", nil
	case "T5Tokenizer":
		return "t5", nil
	case "", "PreTrainedTokenizer", "TokenizersBackend":
	default:
		return "", fmt.Errorf("%w: tokenizer_class %q with a SentencePiece model (LlamaTokenizer and T5Tokenizer are); "+
			"save it once with transformers to get a tokenizer.json", ErrUnsupported, config.Class)
	}
	o, err := readObject(filepath.Join(dir, "config.json"))
	if err != nil || o == nil {
		return "", err
	}
	var kind string
	if raw := o.raw("model_type"); raw != nil && json.Unmarshal(raw, &kind) != nil {
		return "", fmt.Errorf("config.json: model_type: expected a string, found %s", excerpt(raw))
	}
	switch kind {
	case "llama", "mistral", "mixtral":
		return "llama", nil
	case "t5", "mt5":
		return "t5", nil
	}
	return "", nil
}

func convertSentencePiece(m *spModel, class string, config *Config) (*Tokenizer, error) {
	if class == "" {
		switch {
		case m.kind == spBPE:
			class = "llama"
		case len(m.pieces) > 2 && m.pieces[0].text == "<pad>" && m.pieces[1].text == "</s>" && m.pieces[2].text == "<unk>":
			class = "t5"
		}
	}
	t := &Tokenizer{config: config, post: defaultPost()}
	var err error
	switch class {
	case "llama":
		err = t.fromLlama(m)
	case "t5":
		err = t.fromT5(m)
	default:
		err = t.fromUnigram(m)
	}
	if err != nil {
		return nil, err
	}
	var tokens []AddedToken
	for i, p := range m.pieces {
		if p.kind == spControl || p.kind == spUserDefined {
			tokens = append(tokens, AddedToken{ID: int32(i), Content: p.text, Special: p.kind == spControl})
		}
	}
	if tokens, err = config.merge(tokens, t.model); err != nil {
		return nil, err
	}
	if class != "t5" {
		if err := t.addBOSAndEOS(); err != nil {
			return nil, err
		}
	}
	return t.finish(tokens)
}

// nameTokens gives named special tokens to a configuration that does not have them, where the vocabulary does.
func (t *Tokenizer) nameTokens(names map[string]string) {
	for _, key := range specialTokenKeys {
		s, ok := names[key]
		if _, known := t.config.SpecialTokens[key]; known || !ok {
			continue
		}
		if _, ok := t.model.tokenToID(s); !ok {
			continue
		}
		t.config.SpecialTokens[key] = s
		t.config.named = append(t.config.named, AddedToken{ID: -1, Content: s, Special: true})
	}
}

// fromLlama is transformers' LlamaTokenizer.
func (t *Tokenizer) fromLlama(m *spModel) error {
	ids := make(map[string]int32, len(m.pieces))
	for i, p := range m.pieces {
		ids[p.text] = int32(i)
	}
	v, err := newVocabulary(ids)
	if err != nil {
		return err
	}
	if t.model, err = newBPE(v, spMerges(v), bpeOptions{fuseUnk: true, byteFallback: true}); err != nil {
		return err
	}
	legacy, prefix := false, true
	for key, dst := range map[string]*bool{"legacy": &legacy, "add_prefix_space": &prefix} {
		if raw := t.config.Raw[key]; !isNull(raw) && json.Unmarshal(raw, dst) != nil {
			return fmt.Errorf("tokenizer_config.json: %s: expected true or false, found %s", key, excerpt(raw))
		}
	}
	scheme := "first"
	switch {
	case !prefix:
		scheme = "never"
	case legacy:
		scheme = "always"
	}
	t.pre = metaspace{mark: '▁', scheme: scheme}
	d := decoderSequence{replaceDecoder{literal(spMark), " "}, byteFallbackDecoder{}, fuseDecoder{}}
	if prefix {
		d = append(d, stripDecoder{content: ' ', start: 1})
	}
	t.dec = d
	t.nameTokens(map[string]string{"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"})
	return nil
}

// spMerges recovers merges from the pieces: every way to cut a piece into two others, by the piece's id, the shortest
// left part first.
func spMerges(v *vocabulary) [][2]string {
	type merge struct {
		id, left int
		pair     [2]string
	}
	var all []merge
	for id, s := range v.tokens {
		left := 0
		for i := range s {
			if i > 0 {
				left++
				_, a := v.ids[s[:i]]
				_, b := v.ids[s[i:]]
				if a && b {
					all = append(all, merge{id, left, [2]string{s[:i], s[i:]}})
				}
			}
		}
	}
	slices.SortStableFunc(all, func(a, b merge) int {
		return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.left, b.left))
	})
	pairs := make([][2]string, len(all))
	for i, m := range all {
		pairs[i] = m.pair
	}
	return pairs
}

// spScores is the vocabulary of a unigram model.
func spScores(m *spModel) []scoredToken {
	list := make([]scoredToken, len(m.pieces))
	for i, p := range m.pieces {
		list[i] = scoredToken{p.text, float64(p.score)}
	}
	return list
}

// fromT5 is transformers' T5Tokenizer.
func (t *Tokenizer) fromT5(m *spModel) error {
	const unk = 2
	if m.unkID != unk {
		return fmt.Errorf("%w: a T5 tokenizer with unk_id %d instead of %d", ErrUnsupported, m.unkID, unk)
	}
	extra := 100
	if raw := t.config.Raw["extra_ids"]; !isNull(raw) {
		if err := json.Unmarshal(raw, &extra); err != nil || extra < 0 || extra > maxTokenID {
			return fmt.Errorf("tokenizer_config.json: extra_ids: expected a whole number, found %s", excerpt(raw))
		}
	}
	list := spScores(m)
	for i := extra - 1; i >= 0; i-- {
		s := fmt.Sprintf("<extra_id_%d>", i)
		list = append(list, scoredToken{token: s})
		t.config.named = append(t.config.named, AddedToken{ID: -1, Content: s, Special: true})
	}
	var err error
	if t.model, err = newUnigram(list, unk, false); err != nil {
		return err
	}
	if len(m.charsMap) > 0 {
		if t.norm, err = newCharsMap(m.charsMap); err != nil {
			return err
		}
	}
	t.pre = preTokenizerSequence{splitter{pattern: runeFunc(isSpace), behavior: removed}, metaspace{'▁', "always", true}}
	t.dec = metaspaceDecoder{'▁', true}
	t.nameTokens(map[string]string{"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"})
	const end = "</s>"
	id, ok := t.model.tokenToID(end)
	if !ok {
		return fmt.Errorf("a T5 tokenizer without %s", end)
	}
	sep := part{sequence: -1, ids: []int32{id}, tokens: []string{end}}
	t.post = &postProcessor{hasTemplate: true, bareTypes: true, single: []part{{}, sep},
		pair: []part{{}, sep, {sequence: 1}, sep}}
	return nil
}

// fromUnigram is transformers' SpmConverter as it is without a model's own class.
func (t *Tokenizer) fromUnigram(m *spModel) error {
	var err error
	if t.model, err = newUnigram(spScores(m), m.unkID, m.byteFallback); err != nil {
		return err
	}
	var n normalizerSequence
	if len(m.charsMap) > 0 {
		c, err := newCharsMap(m.charsMap)
		if err != nil {
			return err
		}
		n = append(n, c)
	}
	if m.dropSpaces {
		n = append(n, strip{right: true}, replace{spaceRuns{}, spMark})
	}
	t.norm = n
	scheme := "always"
	if !m.dummyPrefix {
		scheme = "never"
	}
	t.pre = metaspace{'▁', scheme, true}
	t.dec = metaspaceDecoder{'▁', m.dummyPrefix}
	names := map[string]string{"unk_token": m.unkPiece}
	if m.bosID >= 0 {
		names["bos_token"] = m.bosPiece
	}
	if m.eosID >= 0 {
		names["eos_token"] = m.eosPiece
	}
	t.nameTokens(names)
	return nil
}
