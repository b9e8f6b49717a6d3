package data

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"

	"github.com/mltrain/mltrain/internal/tokenizer"
)

// tokenizerFiles are the files of a model directory that encoding and rendering depend on.
var tokenizerFiles = []string{"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
	"merges.txt", "vocab.txt", "*.model", "chat_template.jinja"}

// hfTokenizer is a tokenizer.Tokenizer as a Tokenizer, its own truncation and padding switched off as transformers does.
type hfTokenizer struct {
	*tokenizer.Tokenizer
	fingerprint string
}

// LoadTokenizer reads the tokenizer of a model directory.
func LoadTokenizer(dir string) (Tokenizer, *tokenizer.Tokenizer, error) {
	t, err := tokenizer.Load(dir)
	if err != nil {
		return nil, nil, err
	}
	fingerprint, err := FingerprintDir(dir)
	if err != nil {
		return nil, nil, err
	}
	return WrapTokenizer(t, fingerprint), t, nil
}

// WrapTokenizer makes a Tokenizer of a tokenizer.Tokenizer. The fingerprint must tell its files apart (FingerprintDir).
func WrapTokenizer(t *tokenizer.Tokenizer, fingerprint string) Tokenizer {
	return hfTokenizer{Tokenizer: t.WithoutLimits(), fingerprint: fingerprint}
}

// FingerprintDir hashes the tokenizer files of a model directory.
func FingerprintDir(dir string) (string, error) {
	h := sha256.New()
	for _, pattern := range tokenizerFiles {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return "", err
		}
		sort.Strings(files)
		for _, name := range files {
			f, err := os.Open(name)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(h, "%q\n", filepath.Base(name))
			_, err = io.Copy(h, f)
			f.Close()
			if err != nil {
				return "", err
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (t hfTokenizer) EncodeSpans(text string) (ids []int32, start, end []int, err error) {
	enc, err := t.Encode(text, tokenizer.EncodeOptions{})
	if err != nil {
		return nil, nil, nil, err
	}
	start, end = make([]int, enc.Len()), make([]int, enc.Len())
	for i, o := range enc.Offsets {
		start[i], end[i] = o[0], o[1]
	}
	return enc.IDs, start, end, nil
}

func (t hfTokenizer) Token(id int32) string {
	token, _ := t.IDToToken(id)
	return token
}

func (t hfTokenizer) Decode(ids []int32) string { return t.Tokenizer.Decode(ids, false) }

func (t hfTokenizer) Fingerprint() string { return t.fingerprint }
