package main

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mltrain/mltrain/internal/checkpoint"
	"github.com/mltrain/mltrain/internal/data"
	"github.com/mltrain/mltrain/internal/tokenizer"
)

func newTokenizerCommand(app *App) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "tokenizer",
		Short:   "Make tokenizers",
		Example: `  mltrain tokenizer train --data books/ --vocab-size 8192 --output ./tiny`,
	}
	cmd.AddCommand(newTokenizerTrainCommand(app))
	asGroup(cmd)
	return cmd
}

// TokenizerTrainOptions are the flags of tokenizer train.
type TokenizerTrainOptions struct {
	Data          []string
	Output, Split string
	VocabSize     int
	MinFrequency  int64
	EOS, Pad      string
	Special       []string
	Overwrite     bool
	JSON          bool
}

func newTokenizerTrainCommand(app *App) *cobra.Command {
	o := &TokenizerTrainOptions{}
	cmd := &cobra.Command{
		Use:   "train",
		Short: "Learn a byte-level BPE tokenizer from texts",
		Long: `Learn a byte-level BPE tokenizer from the texts of data files: of every row, whatever
its shape, and of .txt files. The output directory gets tokenizer.json and
tokenizer_config.json in Hugging Face's layout. The same texts give the same files,
in any order.`,
		Example: `  mltrain tokenizer train --data books/ --vocab-size 8192 --output ./tiny
  mltrain tokenizer train --data chats.jsonl --data notes.txt --split llama3 --special-token "<|im_start|>" --output ./tiny`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return runTokenizerTrain(app, o) },
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.Data, "data", nil, "texts, a file or directory (repeatable)")
	f.StringVar(&o.Output, "output", "", "directory of the tokenizer")
	f.IntVar(&o.VocabSize, "vocab-size", 8192, "number of tokens, the 256 bytes and the special tokens included")
	f.Int64Var(&o.MinFrequency, "min-frequency", 2, "how often a pair must occur to become a token")
	f.StringVar(&o.Split, "split", "gpt2", "how text is cut into words: gpt2, llama3 or qwen2")
	f.StringVar(&o.EOS, "eos-token", "<|endoftext|>", "token that ends a text")
	f.StringVar(&o.Pad, "pad-token", "<|pad|>", "token that fills batches up")
	f.StringArrayVar(&o.Special, "special-token", nil, "a further special token (repeatable)")
	f.BoolVar(&o.Overwrite, "overwrite", false, "replace a tokenizer that is there")
	f.BoolVar(&o.JSON, "json", false, "print the result as JSON")
	complete(cmd, "split", []string{"gpt2", "llama3", "qwen2"}, cobra.ShellCompDirectiveNoFileComp)
	// MarkFlagDirname fails only for a flag that does not exist.
	_ = cmd.MarkFlagDirname("output")
	return cmd
}

// tokenizerTrained is what tokenizer train prints with --json.
type tokenizerTrained struct {
	Output    string `json:"output_dir"`
	VocabSize int    `json:"vocab_size"`
	Texts     int    `json:"texts"`
	Bytes     int64  `json:"bytes"`
}

// The files of a tokenizer.
const (
	tokenizerFile       = "tokenizer.json"
	tokenizerConfigFile = "tokenizer_config.json"
)

func runTokenizerTrain(app *App, o *TokenizerTrainOptions) error {
	switch {
	case len(o.Data) == 0:
		return usageErrorf("--data is not given")
	case o.Output == "":
		return usageErrorf("--output is not given")
	case o.MinFrequency < 1:
		return usageErrorf("--min-frequency %d: needed is 1 or more", o.MinFrequency)
	}
	if !o.Overwrite {
		for _, name := range []string{tokenizerFile, tokenizerConfigFile} {
			if _, err := os.Stat(filepath.Join(o.Output, name)); err == nil {
				return fmt.Errorf("%s: there is a %s already; replace it by --overwrite, or choose another --output", o.Output, name)
			}
		}
	}
	res := tokenizerTrained{Output: o.Output}
	special := []string{o.EOS}
	if o.Pad != o.EOS {
		special = append(special, o.Pad)
	}
	file, err := tokenizer.TrainBPE(rowTexts(o.Data, &res), tokenizer.TrainOptions{
		VocabSize: o.VocabSize, MinFrequency: o.MinFrequency, SpecialTokens: append(special, o.Special...), Split: o.Split,
	})
	if err != nil {
		return err
	}
	config, err := checkpoint.RewriteJSON([]byte("{}"), map[string]any{
		"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": o.EOS, "eos_token": o.EOS, "pad_token": o.Pad,
		"clean_up_tokenization_spaces": false,
	})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.Output, 0o777); err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		text []byte
	}{{tokenizerFile, file}, {tokenizerConfigFile, config}} {
		err := checkpoint.WriteAtomic(filepath.Join(o.Output, f.name), func(w io.Writer) error {
			_, err := w.Write(f.text)
			return err
		})
		if err != nil {
			return err
		}
	}
	tok, err := tokenizer.Load(o.Output)
	if err != nil {
		return err
	}
	res.VocabSize = tok.VocabSize()
	if res.VocabSize < o.VocabSize {
		app.Log.Warn(fmt.Sprintf("the texts give only %d tokens of the %d asked for: no other pair occurs %d times", res.VocabSize, o.VocabSize, o.MinFrequency))
	}
	app.Log.Info("trained a tokenizer", "tokens", res.VocabSize, "texts", res.Texts, "bytes", res.Bytes)
	if o.JSON {
		return app.PrintJSON(res)
	}
	_, err = fmt.Fprintln(app.Out, o.Output)
	return err
}

// errNoMoreTexts ends the reading of rows when no more are wanted.
var errNoMoreTexts = errors.New("no more texts are wanted")

// rowTexts yields every text in the rows of the data, and counts them.
func rowTexts(paths []string, count *tokenizerTrained) iter.Seq2[string, error] {
	sources := make([]data.Source, len(paths))
	for i, p := range paths {
		sources[i].Path = p
	}
	return func(yield func(string, error) bool) {
		err := data.ReadRows(sources, func(row data.Row, err error) error {
			if err != nil {
				return fmt.Errorf("%s: %w", row.Ref, err)
			}
			for _, s := range textsOf(&row) {
				count.Texts++
				count.Bytes += int64(len(s))
				if !yield(s, nil) {
					return errNoMoreTexts
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, errNoMoreTexts) {
			yield("", err)
		}
	}
}

// textsOf lists the texts of a row, without those that are empty.
func textsOf(r *data.Row) []string {
	texts := []string{r.Text}
	messages := r.Messages
	for _, p := range []data.Part{r.Prompt, r.Completion, r.Chosen, r.Rejected} {
		texts = append(texts, p.Text)
		messages = slices.Concat(messages, p.Messages)
	}
	for _, m := range messages {
		texts = append(texts, m.Content)
	}
	return slices.DeleteFunc(texts, func(s string) bool { return strings.TrimSpace(s) == "" })
}
