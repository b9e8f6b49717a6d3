package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Config is what stands beside the tokenizer proper: tokenizer_config.json, special_tokens_map.json and the chat
// template files.
type Config struct {
	// Raw is tokenizer_config.json as it is, nil when there is none.
	Raw map[string]json.RawMessage
	// Class is tokenizer_class.
	Class string
	// ModelMaxLength is model_max_length, 0 when it is not stated or stands for "no limit".
	ModelMaxLength int
	// AddBOS and AddEOS are add_bos_token and add_eos_token, nil when not stated. As in transformers 5, they count
	// only where there is no tokenizer.json: its post-processor has the last word.
	AddBOS, AddEOS *bool
	// SpecialTokens maps bos_token, eos_token, pad_token, unk_token, cls_token, sep_token and mask_token to their text.
	SpecialTokens map[string]string
	// ChatTemplates maps names to Jinja sources; the usual one is "default".
	ChatTemplates map[string]string

	added []AddedToken // of added_tokens_decoder, by id
	named []AddedToken // the special tokens, with id -1
}

// specialTokenKeys are the named special tokens of a configuration, in the order transformers lists them.
var specialTokenKeys = [...]string{"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}

// loadConfig reads the files beside the tokenizer; all are optional.
func loadConfig(dir string) (*Config, error) {
	c := &Config{SpecialTokens: map[string]string{}, ChatTemplates: map[string]string{}}
	var errs []error
	note := func(file string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", filepath.Join(dir, file), err))
		}
	}
	config, err := readObject(filepath.Join(dir, "tokenizer_config.json"))
	note("tokenizer_config.json", err)
	if config != nil {
		c.Raw = config.fields
		note("tokenizer_config.json", c.parse(config))
	}
	special, err := readObject(filepath.Join(dir, "special_tokens_map.json"))
	note("special_tokens_map.json", err)
	if special != nil {
		note("special_tokens_map.json", c.parseSpecialTokens(special))
	}
	note("chat_template.jinja", c.loadTemplates(dir))
	return c, errors.Join(errs...)
}

// readObject reads a JSON object from a file; a file that is not there gives nil.
func readObject(path string) (*object, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseObject(data)
}

func (c *Config) parse(o *object) error {
	c.Class = o.strOr("tokenizer_class", "")
	if o.has("model_max_length") {
		var f float64
		o.decode("model_max_length", "a number", &f)
		if f > 0 && f <= math.MaxInt32 {
			c.ModelMaxLength = int(f)
		}
	}
	for key, dst := range map[string]**bool{"add_bos_token": &c.AddBOS, "add_eos_token": &c.AddEOS} {
		if o.has(key) {
			b := o.boolean(key)
			*dst = &b
		}
	}
	if o.err != nil {
		return o.err
	}
	if err := c.parseSpecialTokens(o); err != nil {
		return err
	}
	if err := c.parseAddedTokens(o); err != nil {
		return err
	}
	return c.parseChatTemplate(o)
}

// parseSpecialTokens takes named special tokens that are not known yet.
func (c *Config) parseSpecialTokens(o *object) error {
	for _, key := range specialTokenKeys {
		if _, known := c.SpecialTokens[key]; known {
			continue
		}
		raw := o.raw(key)
		if raw == nil {
			continue
		}
		t, err := parseTokenSpec(raw, key)
		if err != nil {
			return err
		}
		if t.Content == "" {
			continue
		}
		c.SpecialTokens[key] = t.Content
		c.named = append(c.named, t)
	}
	for _, key := range []string{"additional_special_tokens", "extra_special_tokens"} {
		var list []json.RawMessage
		raw := o.raw(key)
		if raw == nil {
			continue
		}
		if err := json.Unmarshal(raw, &list); err != nil {
			var byName map[string]json.RawMessage // newer files name their extra tokens
			if json.Unmarshal(raw, &byName) != nil {
				return fmt.Errorf("%s: expected an array or an object of tokens, found %s", key, excerpt(raw))
			}
			for _, name := range slices.Sorted(maps.Keys(byName)) {
				list = append(list, byName[name])
			}
		}
		for i, item := range list {
			t, err := parseTokenSpec(item, fmt.Sprintf("%s[%d]", key, i))
			if err != nil {
				return err
			}
			c.named = append(c.named, t)
		}
	}
	return nil
}

// parseTokenSpec reads a special token given as a string or as an object.
func parseTokenSpec(raw json.RawMessage, path string) (AddedToken, error) {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return AddedToken{ID: -1, Content: s, Special: true}, nil
	}
	t, err := parseAddedToken(raw, path, false)
	t.ID, t.Special = -1, true
	return t, err
}

func (c *Config) parseAddedTokens(o *object) error {
	raw := o.raw("added_tokens_decoder")
	if raw == nil {
		return nil
	}
	var byID map[string]json.RawMessage
	if err := json.Unmarshal(raw, &byID); err != nil {
		return fmt.Errorf("added_tokens_decoder: expected an object of ids and tokens, found %s", excerpt(raw))
	}
	for id, item := range byID {
		path := "added_tokens_decoder." + id
		n, err := strconv.ParseInt(id, 10, 32)
		if err != nil || n < 0 || n >= maxTokenID {
			return fmt.Errorf("%s: expected an id from 0 to %d", path, maxTokenID-1)
		}
		t, err := parseAddedToken(item, path, false)
		if err != nil {
			return err
		}
		t.ID = int32(n)
		c.added = append(c.added, t)
	}
	slices.SortFunc(c.added, func(a, b AddedToken) int { return int(a.ID) - int(b.ID) })
	return nil
}

func (c *Config) parseChatTemplate(o *object) error {
	raw := o.raw("chat_template")
	if raw == nil {
		return nil
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		c.ChatTemplates["default"] = s
		return nil
	}
	var list []struct{ Name, Template *string }
	if json.Unmarshal(raw, &list) == nil {
		for i, t := range list {
			if t.Name == nil || t.Template == nil {
				return fmt.Errorf("chat_template[%d]: needs a name and a template", i)
			}
			c.ChatTemplates[*t.Name] = *t.Template
		}
		return nil
	}
	if json.Unmarshal(raw, &c.ChatTemplates) == nil {
		return nil
	}
	return fmt.Errorf("chat_template: expected a string or an array of {name, template}, found %s", excerpt(raw))
}

// loadTemplates reads chat_template.jinja and additional_chat_templates/NAME.jinja, which take the place of whatever
// tokenizer_config.json holds.
func (c *Config) loadTemplates(dir string) error {
	files := map[string]string{}
	read := func(name, path string) error {
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		files[name] = string(data)
		return nil
	}
	if err := read("default", filepath.Join(dir, "chat_template.jinja")); err != nil {
		return err
	}
	more, err := filepath.Glob(filepath.Join(dir, "additional_chat_templates", "*.jinja"))
	if err != nil {
		return err
	}
	for _, path := range more {
		if err := read(strings.TrimSuffix(filepath.Base(path), ".jinja"), path); err != nil {
			return err
		}
	}
	if len(files) > 0 {
		c.ChatTemplates = files
	}
	return nil
}

// merge gives the added tokens of a tokenizer file together with those of the configuration, as transformers does:
// added_tokens_decoder comes first and its settings win, then named special tokens that are still missing.
func (c *Config) merge(tokens []AddedToken, m model) ([]AddedToken, error) {
	out := slices.Clone(tokens)
	at := map[string]int{}
	next := int32(m.size())
	for i, t := range out {
		at[t.Content] = i
		next = max(next, t.ID+1)
	}
	for _, t := range slices.Concat(c.added, c.named) {
		i, known := at[t.Content]
		switch {
		case known && t.ID < 0, t.Content == "":
			continue
		case known && out[i].ID != t.ID:
			return nil, fmt.Errorf("tokenizer_config.json: added_tokens_decoder.%d: token %q has id %d in the tokenizer's own file",
				t.ID, t.Content, out[i].ID)
		case known:
			out[i] = t
			continue
		}
		if t.ID < 0 {
			if id, ok := m.tokenToID(t.Content); ok {
				t.ID = id
			} else {
				t.ID = next
			}
		}
		next = max(next, t.ID+1)
		at[t.Content] = len(out)
		out = append(out, t)
	}
	return out, nil
}

// Config returns what stands beside the tokenizer proper. It must not be changed.
func (t *Tokenizer) Config() *Config { return t.config }

// ChatTemplates returns the Jinja sources by name; the usual one is "default".
func (t *Tokenizer) ChatTemplates() map[string]string { return maps.Clone(t.config.ChatTemplates) }

// SpecialToken returns the text and id of a named special token such as "bos_token".
func (t *Tokenizer) SpecialToken(key string) (string, int32, bool) {
	s, ok := t.config.SpecialTokens[key]
	if !ok {
		return "", 0, false
	}
	id, ok := t.TokenToID(s)
	return s, id, ok
}

func (t *Tokenizer) specialID(key string) (int32, bool) {
	_, id, ok := t.SpecialToken(key)
	return id, ok
}

// BOS returns the id of the token that begins a text.
func (t *Tokenizer) BOS() (int32, bool) { return t.specialID("bos_token") }

// EOS returns the id of the token that ends a text.
func (t *Tokenizer) EOS() (int32, bool) { return t.specialID("eos_token") }

// PAD returns the id of the token that fills batches up.
func (t *Tokenizer) PAD() (int32, bool) { return t.specialID("pad_token") }

// UNK returns the id of the token for what the vocabulary does not cover.
func (t *Tokenizer) UNK() (int32, bool) { return t.specialID("unk_token") }
