package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// A tokenizer is learnt from rows of any shape, is the same whatever their order, and serves to pretrain with.
func TestTokenizerTrain(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	dir := t.TempDir()
	chats := filepath.Join(dir, "chats.jsonl")
	write(t, chats, strings.Repeat(`{"messages": [{"role": "user", "content": "zebra zebra"}, {"role": "assistant", "content": "zebra"}]}`+"\n", 3))
	text := filepath.Join(dir, "text.txt")
	write(t, text, strings.Repeat("the cat sat on the mat and the dog sat on the log ", 20))
	train := func(out string, args ...string) string {
		return must(t, append([]string{"tokenizer", "train", "--vocab-size", "280", "--quiet", "--output", out}, args...)...)
	}
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	stdout := train(one, "--data", text, "--data", chats, "--json")
	var res tokenizerTrained
	if err := json.Unmarshal([]byte(stdout), &res); err != nil {
		t.Fatal(err)
	}
	if res.VocabSize != 280 || res.Texts != 7 || res.Output != one {
		t.Errorf("result %+v", res)
	}
	train(two, "--data", chats, "--data", text)
	for _, name := range []string{tokenizerFile, tokenizerConfigFile} {
		if !bytes.Equal(read(t, filepath.Join(one, name)), read(t, filepath.Join(two, name))) {
			t.Errorf("%s depends on the order of the data", name)
		}
	}
	var line tokenized
	if err := json.Unmarshal([]byte(must(t, "tokenize", "--model", one, "--text", "zebra the")), &line); err != nil {
		t.Fatal(err)
	}
	if len(line.Tokens) >= len("zebra the") || strings.Join(line.Tokens, "") != "zebraĠthe" {
		t.Errorf("tokens %q", line.Tokens)
	}
	write(t, filepath.Join(one, "config.json"), `{"model_type": "llama", "vocab_size": 280, "hidden_size": 16, "intermediate_size": 32,
		"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
		"initializer_range": 0.02, "tie_word_embeddings": true, "eos_token_id": 0}`)
	must(t, "pretrain", "--model", one, "--data", text, "--output", filepath.Join(dir, "run"), "--max-steps", "2", "--quiet",
		"--set", "train_from_scratch=true", "--set", "max_length=32")
}

func TestTokenizerTrainRefuses(t *testing.T) {
	dir := t.TempDir()
	text, bad, blank := filepath.Join(dir, "a.txt"), filepath.Join(dir, "bad.jsonl"), filepath.Join(dir, "blank.txt")
	write(t, text, "some text some text")
	write(t, bad, "{\"text\": \"fine\"}\n{\"wrong\": 1}\n")
	write(t, blank, " \n")
	there := filepath.Join(dir, "there")
	must(t, "tokenizer", "train", "--data", text, "--vocab-size", "260", "--output", there, "--quiet")
	for _, tc := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--output", "x"}, exitUsage, "--data is not given"},
		{[]string{"--data", text}, exitUsage, "--output is not given"},
		{[]string{"--data", text, "--output", "x", "--min-frequency", "0"}, exitUsage, "--min-frequency 0"},
		{[]string{"--data", text, "--output", there}, exitFailed, "--overwrite"},
		{[]string{"--data", text, "--output", filepath.Join(dir, "x"), "--vocab-size", "100"}, exitFailed, "vocabulary size 100"},
		{[]string{"--data", text, "--output", filepath.Join(dir, "x"), "--split", "words"}, exitFailed, `split "words"`},
		{[]string{"--data", bad, "--output", filepath.Join(dir, "x")}, exitFailed, "bad.jsonl:2"},
		{[]string{"--data", blank, "--output", filepath.Join(dir, "x")}, exitFailed, "no text to train on"},
	} {
		code, _, stderr := mltrain(t, append([]string{"tokenizer", "train"}, tc.args...)...)
		if code != tc.code || !strings.Contains(stderr, tc.want) {
			t.Errorf("%q: exit code %d, %q; wanted %d and %q", tc.args, code, stderr, tc.code, tc.want)
		}
	}
}
