package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ErrNoTokenizer is wrapped when a directory holds no tokenizer file.
var ErrNoTokenizer = errors.New("no tokenizer found")

// Load reads the tokenizer of a model directory: tokenizer.json if it is there, else a SentencePiece model
// (tokenizer.model, spiece.model, sentencepiece.bpe.model or the only *.model), else vocab.json with merges.txt.
// tokenizer_config.json, special_tokens_map.json, chat_template.jinja and additional_chat_templates/ are taken along.
func Load(dir string) (*Tokenizer, error) {
	config, err := loadConfig(dir)
	if err != nil {
		return nil, err
	}
	for _, source := range []struct {
		files []string
		read  func(config *Config, paths ...string) (*Tokenizer, error)
	}{
		{[]string{"tokenizer.json"}, loadJSON},
		{[]string{"tokenizer.model"}, loadSentencePiece},
		{[]string{"spiece.model"}, loadSentencePiece},
		{[]string{"sentencepiece.bpe.model"}, loadSentencePiece},
		{[]string{"*.model"}, loadSentencePiece},
		{[]string{"vocab.json", "merges.txt"}, loadGPT2},
	} {
		paths, err := findAll(dir, source.files)
		if err != nil {
			return nil, err
		}
		if paths == nil {
			continue
		}
		t, err := source.read(config, paths...)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", strings.Join(paths, " and "), err)
		}
		t.config = config
		return t, nil
	}
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoTokenizer, err)
	}
	return nil, fmt.Errorf("%s: %w: expected tokenizer.json, a SentencePiece .model, or vocab.json and merges.txt", dir, ErrNoTokenizer)
}

// findAll returns the paths of the files if all of them are there. A pattern must fit exactly one file.
func findAll(dir string, names []string) ([]string, error) {
	var paths []string
	for _, name := range names {
		if strings.Contains(name, "*") {
			entries, err := os.ReadDir(dir)
			if errors.Is(err, fs.ErrNotExist) {
				return nil, nil
			} else if err != nil {
				return nil, err
			}
			var found []string
			for _, e := range entries {
				if ok, err := filepath.Match(name, e.Name()); err == nil && ok && !e.IsDir() {
					found = append(found, filepath.Join(dir, e.Name()))
				}
			}
			if len(found) > 1 {
				return nil, fmt.Errorf("%s: %d files fit %s, and none has a usual name: keep one", dir, len(found), name)
			}
			if len(found) == 0 {
				return nil, nil
			}
			paths = append(paths, found[0])
			continue
		}
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		} else if err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

func loadJSON(config *Config, paths ...string) (*Tokenizer, error) {
	data, err := os.ReadFile(paths[0])
	if err != nil {
		return nil, err
	}
	o, err := parseObject(data)
	if err != nil {
		return nil, err
	}
	return parseTokenizer(o, config)
}

// loadGPT2 reads vocab.json and merges.txt, the files of GPT-2's own tokenizer.
func loadGPT2(config *Config, paths ...string) (*Tokenizer, error) {
	vocab, err := os.ReadFile(paths[0])
	if err != nil {
		return nil, err
	}
	if !json.Valid(vocab) {
		var v any
		return nil, json.Unmarshal(vocab, &v)
	}
	ids, err := decodeVocab(vocab)
	if err != nil {
		return nil, err
	}
	v, err := newVocabulary(ids)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(paths[1])
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n")
	if n := len(lines); n > 0 && lines[n-1] == "" {
		lines = lines[:n-1]
	}
	merges, err := parseMergeLines(lines)
	if err != nil {
		return nil, err
	}
	m, err := newBPE(v, merges, bpeOptions{})
	if err != nil {
		return nil, err
	}
	t := &Tokenizer{model: m, pre: byteLevel{useRegex: true}, dec: byteLevelDecoder{}, post: defaultPost(), config: config}
	if _, ok := v.ids[endOfText]; ok && len(config.SpecialTokens) == 0 {
		for _, key := range []string{"bos_token", "eos_token", "unk_token"} {
			config.SpecialTokens[key] = endOfText
		}
		config.named = append(config.named, AddedToken{ID: -1, Content: endOfText, Special: true})
	}
	tokens, err := config.merge(nil, m)
	if err != nil {
		return nil, err
	}
	if err := t.addBOSAndEOS(); err != nil {
		return nil, err
	}
	return t.finish(tokens)
}

// endOfText is GPT-2's one special token.
const endOfText = "<|endoftext|>"

// addBOSAndEOS makes a post-processor from add_bos_token and add_eos_token, for tokenizers without one of their own.
func (t *Tokenizer) addBOSAndEOS() error {
	var before, after []part
	for _, x := range []struct {
		flag *bool
		key  string
		dst  *[]part
	}{{t.config.AddBOS, "bos_token", &before}, {t.config.AddEOS, "eos_token", &after}} {
		if x.flag == nil || !*x.flag {
			continue
		}
		s, ok := t.config.SpecialTokens[x.key]
		if !ok {
			continue // as in transformers, there is nothing to add
		}
		id, ok := t.model.tokenToID(s)
		if !ok {
			return fmt.Errorf("add_%s is set, but %q is not in the vocabulary", x.key, s)
		}
		*x.dst = []part{{sequence: -1, ids: []int32{id}, tokens: []string{s}}}
	}
	p := &postProcessor{hasTemplate: true, bareTypes: true}
	with := func(parts []part, typeID int32) (out []part) {
		for _, q := range parts {
			q.typeID = typeID
			out = append(out, q)
		}
		return out
	}
	p.single = append(append(with(before, 0), part{sequence: 0}), with(after, 0)...)
	p.pair = append(append(append(p.single[:len(p.single):len(p.single)], with(before, 1)...), part{sequence: 1, typeID: 1}), with(after, 1)...)
	t.post = p
	return nil
}
