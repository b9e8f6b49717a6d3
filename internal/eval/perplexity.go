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
// text, and so a BOS that the tokenizer prepends, is given and not counted.
type PerplexityResult struct {
	NLL        float64 `json:"nll"`
	Perplexity float64 `json:"perplexity"` // e^NLL
	Tokens     int     `json:"tokens"`
	Rows       int     `json:"rows"`
}

// Encoder turns text into token ids.
type Encoder interface {
	AppendIDs(dst []int32, text string, special bool) ([]int32, error)
}

// Perplexity measures texts whole, each with the special tokens that the tokenizer adds. A text that is longer than the
// model's positions is an error.
func Perplexity(ctx context.Context, e *infer.Engine, tok Encoder, texts []Text) (PerplexityResult, error) {
	var r PerplexityResult
	most := e.Model().Info().MaxPositions
	seqs := make([][]int32, len(texts))
	for i, t := range texts {
		ids, err := tok.AppendIDs(nil, t.Text, true)
		if err != nil {
			return r, fmt.Errorf("line %d: %w", t.Line, err)
		}
		if len(ids) < 2 {
			return r, fmt.Errorf("line %d: the text has %d tokens; needed are two, one to see and one to predict", t.Line, len(ids))
		}
		if len(ids) > most {
			return r, fmt.Errorf("line %d: the text has %d tokens, the model has positions for %d; cut it", t.Line, len(ids), most)
		}
		seqs[i] = ids
	}
	scores, err := e.Score(ctx, seqs)
	if err != nil {
		return r, err
	}
	var sum float64
	for _, row := range scores {
		for _, s := range row {
			sum -= s.LogProb
		}
		r.Tokens += len(row)
	}
	r.Rows = len(texts)
	r.NLL = sum / float64(r.Tokens)
	r.Perplexity = math.Exp(r.NLL)
	return r, nil
}
