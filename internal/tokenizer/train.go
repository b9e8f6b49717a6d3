package tokenizer

import (
	"bytes"
	"container/heap"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"unicode/utf8"
)

// TrainOptions say what TrainBPE makes.
type TrainOptions struct {
	// VocabSize is the number of tokens in the end, special tokens and the 256 bytes included. There are fewer when
	// the texts have no more pairs to merge.
	VocabSize int
	// MinFrequency is how often a pair must occur to be merged; 0 means 1.
	MinFrequency int64
	// SpecialTokens get the first ids, in this order.
	SpecialTokens []string
	// Split is the pattern that words are cut by: "gpt2", "llama3" or "qwen2".
	Split string
}

// trainSplits maps the names of TrainOptions.Split to patterns.
var trainSplits = map[string]string{"gpt2": patternGPT2, "llama3": patternLlama3, "qwen2": patternQwen2}

// TrainBPE learns a byte-level BPE tokenizer (Sennrich et al. 2016; over bytes as in GPT-2) and returns its
// tokenizer.json. It always merges the pair that occurs most often; of equally frequent pairs, the one with the lower
// ids. The result depends on the texts and options alone, not on the order of the texts, and is what Hugging Face's
// BpeTrainer gives with the byte-level alphabet.
//
// Texts must be valid UTF-8. Special tokens are not looked for in them.
func TrainBPE(texts iter.Seq2[string, error], opts TrainOptions) ([]byte, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	scan := scannerFor(trainSplits[opts.Split])
	counts := map[string]int64{}
	n := 0
	for s, err := range texts {
		if err != nil {
			return nil, err
		}
		if err := checkText(s); err != nil {
			return nil, fmt.Errorf("text %d: %w", n, err)
		}
		n++
		for i := 0; i < len(s); {
			j := scan(s, i)
			counts[s[i:j]]++
			i = j
		}
	}
	if len(counts) == 0 {
		return nil, fmt.Errorf("no text to train on in %d texts", n)
	}
	t := newBPETrainer(counts, opts.SpecialTokens)
	t.train(opts.VocabSize, max(opts.MinFrequency, 1))
	return t.file(opts)
}

func (o TrainOptions) check() error {
	if _, ok := trainSplits[o.Split]; !ok {
		return fmt.Errorf("split %q: %w; known are gpt2, llama3, qwen2", o.Split, ErrUnsupported)
	}
	if least := 256 + len(o.SpecialTokens); o.VocabSize < least || o.VocabSize > maxTokenID {
		return fmt.Errorf("vocabulary size %d: must be from %d (256 bytes and %d special tokens) to %d", o.VocabSize, least,
			len(o.SpecialTokens), maxTokenID)
	}
	seen := map[string]bool{}
	for _, s := range o.SpecialTokens {
		switch {
		case s == "":
			return fmt.Errorf("a special token is empty")
		case !utf8.ValidString(s):
			return fmt.Errorf("special token %q: %w", s, ErrInvalidUTF8)
		case seen[s]:
			return fmt.Errorf("special token %q is given twice", s)
		case utf8.RuneCountInString(s) == 1:
			if r, _ := utf8.DecodeRuneInString(s); len(appendBytes(nil, s)) == 1 {
				return fmt.Errorf("special token %q is how the byte 0x%02X is written", s, appendBytes(nil, string(r))[0])
			}
		}
		seen[s] = true
	}
	return nil
}

// bpeTrainer holds words as sequences of ids and knows in which words each pair occurs.
type bpeTrainer struct {
	tokens []string // by id, in byte-level notation
	ids    map[string]int32
	words  [][]int32
	counts []int64 // of words
	pairs  map[uint64]int64
	queue  pairQueue
	merges []uint64 // in the order learnt; a pair may come again
}

func newBPETrainer(counts map[string]int64, special []string) *bpeTrainer {
	t := &bpeTrainer{ids: map[string]int32{}, pairs: map[uint64]int64{}}
	for _, s := range special {
		t.token(s)
	}
	alphabet := make([]rune, 256)
	for b := range alphabet {
		alphabet[b] = byteRune(byte(b))
	}
	slices.Sort(alphabet)
	for _, r := range alphabet {
		t.token(string(r))
	}
	var byteIDs [256]int32
	for b := range byteIDs {
		byteIDs[b] = t.ids[string(byteRune(byte(b)))]
	}
	places := map[uint64][]int32{}
	for _, w := range slices.Sorted(maps.Keys(counts)) {
		at := int32(len(t.words))
		word := make([]int32, len(w))
		for i := range len(w) {
			word[i] = byteIDs[w[i]]
		}
		t.words = append(t.words, word)
		t.counts = append(t.counts, counts[w])
		for i := 1; i < len(word); i++ {
			p := pairOf(word[i-1], word[i])
			t.pairs[p] += counts[w]
			places[p] = appendOnce(places[p], at)
		}
	}
	t.enqueue(places)
	return t
}

// token returns the id of a token, a new one if need be.
func (t *bpeTrainer) token(s string) int32 {
	id, ok := t.ids[s]
	if !ok {
		id = int32(len(t.tokens))
		t.tokens = append(t.tokens, s)
		t.ids[s] = id
	}
	return id
}

// appendOnce appends x to a list whose last entry is x if x is in it at all.
func appendOnce(list []int32, x int32) []int32 {
	if n := len(list); n > 0 && list[n-1] == x {
		return list
	}
	return append(list, x)
}

func (t *bpeTrainer) enqueue(places map[uint64][]int32) {
	for p, at := range places {
		if n := t.pairs[p]; n > 0 {
			heap.Push(&t.queue, pairEntry{p, n, at})
		}
	}
}

// train merges pairs until there are size tokens or no pair occurs minFrequency times.
func (t *bpeTrainer) train(size int, minFrequency int64) {
	for len(t.tokens) < size && len(t.queue) > 0 {
		top := heap.Pop(&t.queue).(pairEntry)
		// A count may have changed since it was queued. As in the reference, the count of a merged pair itself stays:
		// when the same pair comes up again from other words, it is merged again, right away.
		if n := t.pairs[top.pair]; n != top.count {
			top.count = n
			heap.Push(&t.queue, top)
			continue
		}
		if top.count < minFrequency {
			return
		}
		a, b := int32(top.pair>>32), int32(top.pair&0xFFFFFFFF)
		made := t.token(t.tokens[a] + t.tokens[b])
		t.merges = append(t.merges, top.pair)
		places := map[uint64][]int32{}
		for _, at := range top.words {
			t.mergeWord(at, a, b, made, places)
		}
		t.enqueue(places)
	}
}

// mergeWord merges a pair in one word and notes the pairs that come and go.
func (t *bpeTrainer) mergeWord(at, a, b, made int32, places map[uint64][]int32) {
	word, count := t.words[at], t.counts[at]
	change := func(x, y int32, by int64) {
		p := pairOf(x, y)
		t.pairs[p] += by
		if by > 0 {
			places[p] = appendOnce(places[p], at)
		}
	}
	out := word[:0]
	for i := 0; i < len(word); i++ {
		if word[i] != a || i+1 >= len(word) || word[i+1] != b {
			out = append(out, word[i])
			continue
		}
		if n := len(out); n > 0 {
			change(out[n-1], a, -count)
			change(out[n-1], made, count)
		}
		if i+2 < len(word) {
			change(b, word[i+2], -count)
			change(made, word[i+2], count)
		}
		out = append(out, made)
		i++
	}
	t.words[at] = out
}

// pairEntry is a pair in the queue, with the words it was seen in.
type pairEntry struct {
	pair  uint64
	count int64
	words []int32
}

// pairQueue has the most frequent pair on top, and of several the one with the lowest ids.
type pairQueue []pairEntry

func (q pairQueue) Len() int { return len(q) }

func (q pairQueue) Less(i, j int) bool {
	switch {
	case q[i].count != q[j].count:
		return q[i].count > q[j].count
	case q[i].pair != q[j].pair:
		return q[i].pair < q[j].pair
	}
	return q[i].words[0] < q[j].words[0]
}

func (q pairQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push is for container/heap.
func (q *pairQueue) Push(x any) { *q = append(*q, x.(pairEntry)) }

// Pop is for container/heap.
func (q *pairQueue) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}

// file writes the tokenizer.json.
func (t *bpeTrainer) file(opts TrainOptions) ([]byte, error) {
	last := map[uint64]int{}
	for i, p := range t.merges {
		last[p] = i
	}
	merges := [][2]string{}
	for i, p := range t.merges {
		if last[p] == i {
			merges = append(merges, [2]string{t.tokens[p>>32], t.tokens[p&0xFFFFFFFF]})
		}
	}
	level := map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": opts.Split == "gpt2"}
	pre := any(level)
	if opts.Split != "gpt2" {
		split := map[string]any{"type": "Split", "pattern": map[string]string{"Regex": trainSplits[opts.Split]},
			"behavior": string(isolated), "invert": false}
		pre = map[string]any{"type": "Sequence", "pretokenizers": []any{split, level}}
	}
	added := []any{}
	for i, s := range opts.SpecialTokens {
		added = append(added, map[string]any{"id": i, "content": s, "single_word": false, "lstrip": false, "rstrip": false,
			"normalized": false, "special": true})
	}
	vocab, err := orderedVocab(t.tokens)
	if err != nil {
		return nil, err
	}
	file := struct {
		Version       string `json:"version"`
		Truncation    any    `json:"truncation"`
		Padding       any    `json:"padding"`
		AddedTokens   []any  `json:"added_tokens"`
		Normalizer    any    `json:"normalizer"`
		PreTokenizer  any    `json:"pre_tokenizer"`
		PostProcessor any    `json:"post_processor"`
		Decoder       any    `json:"decoder"`
		Model         any    `json:"model"`
	}{Version: "1.0", AddedTokens: added, PreTokenizer: pre, PostProcessor: level, Decoder: level, Model: struct {
		Type         string          `json:"type"`
		Dropout      any             `json:"dropout"`
		UnkToken     any             `json:"unk_token"`
		Prefix       any             `json:"continuing_subword_prefix"`
		Suffix       any             `json:"end_of_word_suffix"`
		FuseUnk      bool            `json:"fuse_unk"`
		ByteFallback bool            `json:"byte_fallback"`
		IgnoreMerges bool            `json:"ignore_merges"`
		Vocab        json.RawMessage `json:"vocab"`
		Merges       [][2]string     `json:"merges"`
	}{Type: "BPE", Vocab: vocab, Merges: merges}}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(file); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// orderedVocab writes {token: id} in the order of ids.
func orderedVocab(tokens []string) (json.RawMessage, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	out.WriteByte('{')
	for id, s := range tokens {
		if id > 0 {
			out.WriteByte(',')
		}
		if err := enc.Encode(s); err != nil {
			return nil, err
		}
		fmt.Fprintf(&out, ":%d", id)
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}
