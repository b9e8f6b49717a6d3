// Command quickstart writes the texts of the quickstart: stories of a made-up world to train a small model on from
// scratch, questions with answers to fine-tune it on, and other questions to try it on. See testdata/quickstart/README.md.
//
//	go run ./tools/quickstart/*.go DIR
//
// DIR gets stories.jsonl (rows with text), train.jsonl and heldout.jsonl (rows with messages) and questions.tsv (a few
// questions of heldout.jsonl, with what to answer). The facts asked for in heldout.jsonl are told in the stories only: who
// answers has learnt them there, and from train.jsonl how to answer. The files are the same to the byte each time.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: quickstart DIR")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// How much is written.
const (
	storyCount   = 16000
	heldOutOfTen = 4 // facts of ten that are asked for only after training
	waysPerFact  = 3 // wordings in which a fact of the training set is asked for
)

func run(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	w := newWorld(newRandom(1))
	train, held := w.questions(newRandom(2))
	shown := pick(held, newRandom(4))
	var tsv strings.Builder
	for _, q := range shown {
		fmt.Fprintf(&tsv, "%s\t%s\n", q.prompt, q.answer)
	}
	for _, f := range []struct {
		name string
		rows []any
	}{{"stories.jsonl", w.stories(newRandom(3))}, {"train.jsonl", chats(train, newRandom(5))}, {"heldout.jsonl", singles(held)}} {
		if err := writeRows(filepath.Join(dir, f.name), f.rows); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "questions.tsv"), []byte(tsv.String()), 0o666)
}

func writeRows(path string, rows []any) error {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	for _, r := range rows {
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	return os.WriteFile(path, out.Bytes(), 0o666)
}

// random is SplitMix64, which no update of Go changes.
type random uint64

func newRandom(seed uint64) *random {
	r := random(seed)
	r.next()
	return &r
}

func (r *random) next() uint64 {
	*r += 0x9E3779B97F4A7C15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// below is even in 0…n-1 but for 2⁻⁵⁰.
func (r *random) below(n int) int { return int(r.next() % uint64(n)) }

func one[T any](r *random, list []T) T { return list[r.below(len(list))] }

func shuffle[T any](r *random, list []T) {
	for i := len(list) - 1; i > 0; i-- {
		j := r.below(i + 1)
		list[i], list[j] = list[j], list[i]
	}
}
