// Package eval measures models on data.
package eval

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/mltrain/mltrain/internal/infer"
)

// Text is a row to measure on.
type Text struct {
	Text string
	Line int
}

// ReadTexts reads the "text" of rows of a JSONL file, at most limit of them; 0 is all.
func ReadTexts(path string, limit int) ([]Text, error) {
	var out []Text
	err := EachText(path, func(t Text) error {
		out = append(out, t)
		if len(out) == limit {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: no rows", path)
	}
	return out, nil
}

var errEnough = errors.New("enough rows")

// EachText calls fn with the "text" of each row of a JSONL file, one at a time. Errors, fn's too, name file and line.
func EachText(path string, fn func(Text) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<16)
	for line := 1; ; line++ {
		raw, readErr := r.ReadBytes('\n')
		if readErr != nil && readErr != io.EOF {
			return fmt.Errorf("%s:%d: %w", path, line, readErr)
		}
		if len(bytes.TrimSpace(raw)) > 0 {
			var row struct {
				Text *string `json:"text"`
			}
			if err := json.Unmarshal(raw, &row); err != nil {
				return fmt.Errorf("%s:%d: %w; a row is one JSON object a line", path, line, err)
			}
			if row.Text == nil {
				return fmt.Errorf("%s:%d: the key text is missing; a row is {\"text\": …}", path, line)
			}
			if err := fn(Text{*row.Text, line}); err != nil {
				return fmt.Errorf("%s:%d: %w", path, line, err)
			}
		}
		if readErr == io.EOF {
			return nil
		}
	}
}

// PerplexityResult is the likelihood of texts under a model. NLL is the mean over tokens of −ln p; the first token of a
// text, and so a BOS that the tokenizer prepends, is given and not counted. Per word and byte, the sum is divided by the
// number of pieces that space cuts the texts into, or of bytes in UTF-8, so that models with other tokenizers compare.
type PerplexityResult struct {
	NLL            float64 `json:"nll"`
	Perplexity     float64 `json:"perplexity"` // e^NLL
	WordPerplexity float64 `json:"word_perplexity"`
	BytePerplexity float64 `json:"byte_perplexity"`
	BitsPerByte    float64 `json:"bits_per_byte"`
	Tokens         int     `json:"tokens"`
	Words          int     `json:"words"`
	Bytes          int     `json:"bytes"`
	Rows           int     `json:"rows"`
}

// Perplexity measures texts, each with the special tokens that the tokenizer adds. A text that is longer than the model's
// input is read in windows of that length which begin every stride tokens (0: half the length), so that each token is
// predicted once and, but for those of the first window, from at least length − stride tokens; the measure of
// https://huggingface.co/docs/transformers/perplexity.
func (m *LM) Perplexity(ctx context.Context, texts []Text, stride int) (PerplexityResult, error) {
	var r PerplexityResult
	if stride < 0 || stride > m.maxLength {
		return r, fmt.Errorf("stride %d: needed is 1 to the %d tokens that the model takes, or 0 for half of them", stride, m.maxLength)
	}
	if stride == 0 {
		stride = max(1, m.maxLength/2)
	}
	var queries []infer.Query
	for _, t := range texts {
		ids, err := m.tok.AppendIDs(nil, t.Text, true)
		if err != nil {
			return r, fmt.Errorf("line %d: %w", t.Line, err)
		}
		if len(ids) < 2 {
			return r, fmt.Errorf("line %d: the text has %d tokens; needed are two, one to see and one to predict", t.Line, len(ids))
		}
		queries = append(queries, strides(ids, m.maxLength, stride)...)
		r.Words += countWords(t.Text)
		r.Bytes += len(t.Text)
	}
	sums := make([]float64, len(queries))
	err := m.engine.ScoreShared(ctx, queries, func(i int, scores []infer.TokenScore) error {
		for _, s := range scores {
			sums[i] -= s.LogProb
		}
		r.Tokens += len(scores)
		return nil
	})
	if err != nil {
		return r, err
	}
	var sum float64
	for _, s := range sums {
		sum += s
	}
	r.Rows = len(texts)
	r.NLL = sum / float64(r.Tokens)
	r.Perplexity = math.Exp(r.NLL)
	r.WordPerplexity = math.Exp(sum / float64(r.Words))
	r.BytePerplexity = math.Exp(sum / float64(r.Bytes))
	r.BitsPerByte = sum / float64(r.Bytes) / math.Ln2
	return r, nil
}
