package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sync"
	"unicode/utf8"
)

// unigram is SentencePiece's unigram language model (Kudo 2018, https://arxiv.org/abs/1804.10959): every token has a
// log probability, and the segmentation with the highest sum wins (Viterbi).
type unigram struct {
	*vocabulary
	scores       []float64
	trie         *byteTrie
	unk          int32 // noID without
	unkScore     float64
	byteFallback bool
	byteIDs      [256]int32
	paths        *sync.Pool
}

// unkPenalty is how far an unknown rune scores below the least likely token.
const unkPenalty = 10

type scoredToken struct {
	token string
	score float64
}

func (s *scoredToken) UnmarshalJSON(raw []byte) error {
	var pair []json.RawMessage
	if err := json.Unmarshal(raw, &pair); err != nil {
		return err
	}
	if len(pair) != 2 {
		return fmt.Errorf("expected [token, score], found %s", excerpt(raw))
	}
	if err := json.Unmarshal(pair[0], &s.token); err != nil {
		return err
	}
	return json.Unmarshal(pair[1], &s.score)
}

func parseUnigram(o *object) model {
	var list []scoredToken
	if raw := o.raw("vocab"); raw == nil {
		o.fail("vocab", "is missing: expected an array of [token, score]")
	} else if err := json.Unmarshal(raw, &list); err != nil {
		o.fail("vocab", "expected an array of [token, score]: %w", err)
	}
	unk := noID
	if o.has("unk_id") {
		unk = int32(o.count("unk_id"))
	}
	o.ignore("unk_id")
	fallback := o.boolOr("byte_fallback", false)
	if o.err != nil {
		return nil
	}
	m, err := newUnigram(list, unk, fallback)
	if err != nil {
		o.err = fmt.Errorf("%s: %w", o.path, err)
		return nil
	}
	return m
}

func newUnigram(list []scoredToken, unk int32, byteFallback bool) (*unigram, error) {
	if len(list) >= maxTokenID {
		return nil, fmt.Errorf("vocabulary of %d tokens is above %d", len(list), maxTokenID)
	}
	if unk != noID && int(unk) >= len(list) {
		return nil, fmt.Errorf("unk_id %d is outside the vocabulary of %d tokens", unk, len(list))
	}
	m := &unigram{
		vocabulary: &vocabulary{ids: make(map[string]int32, len(list)), tokens: make([]string, len(list)), used: make([]bool, len(list))},
		scores:     make([]float64, len(list)), trie: newByteTrie(), unk: unk, byteFallback: byteFallback,
		paths: &sync.Pool{New: func() any { return new([]pathNode) }},
	}
	lowest := math.Inf(1)
	for i, s := range list {
		m.ids[s.token], m.tokens[i], m.used[i], m.scores[i] = int32(i), s.token, true, s.score
		lowest = min(lowest, s.score)
	}
	for s, id := range m.ids {
		if s != "" {
			m.trie.add(s, id)
		}
	}
	m.unkScore = lowest - unkPenalty
	for b := range m.byteIDs {
		m.byteIDs[b] = noID
		if id, ok := m.ids[fmt.Sprintf("<0x%02X>", b)]; ok && byteFallback {
			m.byteIDs[b] = id
		}
	}
	return m, nil
}

func (m *unigram) size() int { return len(m.tokens) }

var errNoUnk = errors.New("the text has a character that no token covers, and the model has no unk_id")

// pathNode is the best way to segment the text up to a place.
type pathNode struct {
	score float64
	from  int32 // where the last token begins; -1 while no way is known
	id    int32
}

func (m *unigram) tokenize(dst []token, s string) ([]token, error) {
	if s == "" {
		return dst, nil
	}
	buf := m.paths.Get().(*[]pathNode)
	defer m.paths.Put(buf)
	best := (*buf)[:0]
	for range len(s) + 1 {
		best = append(best, pathNode{from: -1})
	}
	*buf = best
	for i := 0; i < len(s); {
		_, width := utf8.DecodeRuneInString(s[i:])
		score := best[i].score
		single := false
		at := trieRoot
		for j := i; j < len(s); {
			if at = m.trie.step(at, s[j]); at == trieNone {
				break
			}
			j++
			id := m.trie.value(at)
			if id == noID {
				continue
			}
			if n := &best[j]; n.from < 0 || score+m.scores[id] > n.score {
				*n = pathNode{score + m.scores[id], int32(i), id}
			}
			single = single || j == i+width
		}
		if !single {
			if n := &best[i+width]; n.from < 0 || score+m.unkScore > n.score {
				if m.unk == noID {
					return dst, errNoUnk
				}
				*n = pathNode{score + m.unkScore, int32(i), m.unk}
			}
		}
		i += width
	}
	return m.trace(dst, best, s)
}

// trace follows the best path back and appends its tokens; unknown neighbours become one token, or bytes.
func (m *unigram) trace(dst []token, best []pathNode, s string) ([]token, error) {
	begin := len(dst)
	for end := len(s); end > 0; {
		n := best[end]
		start := int(n.from)
		if n.id == m.unk && m.unk != noID {
			for start > 0 && best[start].id == m.unk {
				start = int(best[start].from)
			}
			// A run of unknown runes may still spell a token.
			if id, ok := m.ids[s[start:end]]; ok {
				dst = append(dst, token{id, start, end})
			} else if m.byteFallback && m.hasBytes(s[start:end]) {
				for k := end - 1; k >= start; k-- {
					dst = append(dst, token{m.byteIDs[s[k]], start, end})
				}
			} else {
				dst = append(dst, token{m.unk, start, end})
			}
		} else {
			dst = append(dst, token{n.id, start, end})
		}
		end = start
	}
	tail := dst[begin:]
	for i, j := 0, len(tail)-1; i < j; i, j = i+1, j-1 {
		tail[i], tail[j] = tail[j], tail[i]
	}
	return dst, nil
}

func (m *unigram) hasBytes(s string) bool {
	for i := range len(s) {
		if m.byteIDs[s[i]] == noID {
			return false
		}
	}
	return true
}

// byteTrie maps strings to ids byte by byte. Its edges are in a hash table with open addressing, built once.
type byteTrie struct {
	low   [256]int32 // the root's edges
	ids   []int32    // by node
	edges []trieEdge
	used  int
	shift uint
}

type trieEdge struct {
	key  uint64 // node<<8 | byte; the root's edges are in low, so 0 means free
	next int32
}

const (
	trieRoot int32 = 0
	trieNone int32 = -1
)

func newByteTrie() *byteTrie {
	t := &byteTrie{ids: []int32{noID}, edges: make([]trieEdge, 64), shift: 64 - 6}
	for i := range t.low {
		t.low[i] = trieNone
	}
	return t
}

func (t *byteTrie) add(s string, id int32) {
	at := trieRoot
	for i := range len(s) {
		next := t.step(at, s[i])
		if next == trieNone {
			next = int32(len(t.ids))
			t.ids = append(t.ids, noID)
			if at == trieRoot {
				t.low[s[i]] = next
			} else {
				t.insert(trieEdge{uint64(at)<<8 | uint64(s[i]), next})
			}
		}
		at = next
	}
	t.ids[at] = id
}

func (t *byteTrie) insert(e trieEdge) {
	if 2*t.used >= len(t.edges) {
		old := t.edges
		t.edges = make([]trieEdge, 2*len(old))
		t.shift--
		for _, e := range old {
			if e.key != 0 {
				t.edges[t.slot(e.key)] = e
			}
		}
	}
	t.edges[t.slot(e.key)] = e
	t.used++
}

// slot is where the edge with a key is, or where it would go.
func (t *byteTrie) slot(key uint64) uint64 {
	i := key * 0x9E3779B97F4A7C15 >> t.shift
	for t.edges[i].key != key && t.edges[i].key != 0 {
		i = (i + 1) & uint64(len(t.edges)-1)
	}
	return i
}

// step follows the edge b from a node.
func (t *byteTrie) step(at int32, b byte) int32 {
	if at == trieRoot {
		return t.low[b]
	}
	if e := &t.edges[t.slot(uint64(at)<<8|uint64(b))]; e.key != 0 {
		return e.next
	}
	return trieNone
}

func (t *byteTrie) value(at int32) int32 { return t.ids[at] }
