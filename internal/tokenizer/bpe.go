package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"
)

// bpe is byte pair encoding (Sennrich et al. 2016, https://arxiv.org/abs/1508.07909): a word starts as its runes, and
// known pairs of neighbours are merged, the earliest learnt first.
type bpe struct {
	*vocabulary
	merges       *mergeTable
	unk          int32 // noID without
	unkToken     string
	prefix       string // put before every rune of a word but the first
	suffix       string // put behind the last rune
	fuseUnk      bool
	ignoreMerges bool
	byteFallback bool
	byteIDs      [256]int32 // of <0xNN>, noID where missing
	lowRunes     []int32    // ids of single runes below lowRunes' length, noID where missing
	mergers      *sync.Pool
	cuts         bool          // no merge reaches over a mark (▁) from a rune outside crossing
	crossing     map[rune]bool // the last runes of tokens that merge with a token beginning with a mark
}

const noID int32 = -1

const lowRuneCount = 0x3000

// bpeOptions are the settings of a BPE model besides its vocabulary and merges.
type bpeOptions struct {
	unkToken, prefix, suffix            string
	fuseUnk, byteFallback, ignoreMerges bool
}

func parseBPE(o *object) model {
	v := parseVocabulary(o)
	opts := bpeOptions{
		unkToken:     o.strOr("unk_token", ""),
		prefix:       o.strOr("continuing_subword_prefix", ""),
		suffix:       o.strOr("end_of_word_suffix", ""),
		fuseUnk:      o.boolOr("fuse_unk", false),
		byteFallback: o.boolOr("byte_fallback", false),
		ignoreMerges: o.boolOr("ignore_merges", false),
	}
	if o.has("dropout") {
		var p float64
		if o.decode("dropout", "a number", &p); p != 0 {
			o.fail("dropout", "%w: BPE dropout of %v makes tokens depend on chance; set it to null", ErrUnsupported, p)
		}
	}
	o.ignore("dropout")
	merges, err := decodeMerges(o.raw("merges"))
	if err != nil {
		o.fail("merges", "%w", err)
	}
	if o.err != nil {
		return nil
	}
	m, err := newBPE(v, merges, opts)
	if err != nil {
		o.fail("merges", "%w", err)
	}
	return m
}

// decodeMerges reads merges as pairs ["a", "b"] or as strings "a b".
func decodeMerges(raw json.RawMessage) ([][2]string, error) {
	if raw == nil {
		return nil, fmt.Errorf("is missing: expected an array")
	}
	if pairs, ok := scanPairs(raw); ok {
		return pairs, nil
	}
	var pairs [][2]string
	var exact [][]string
	if err := json.Unmarshal(raw, &exact); err == nil {
		pairs = make([][2]string, len(exact))
		for i, p := range exact {
			if len(p) != 2 {
				return nil, fmt.Errorf("entry %d has %d parts, expected 2", i, len(p))
			}
			pairs[i] = [2]string{p[0], p[1]}
		}
		return pairs, nil
	}
	var lines []string
	if err := json.Unmarshal(raw, &lines); err != nil {
		return nil, fmt.Errorf("expected an array of \"a b\" or of [\"a\", \"b\"]: %w", err)
	}
	return parseMergeLines(lines)
}

// parseMergeLines reads lines "a b"; those that start with #version are no merges.
func parseMergeLines(lines []string) ([][2]string, error) {
	pairs := make([][2]string, 0, len(lines))
	for i, line := range lines {
		if strings.HasPrefix(line, "#version") {
			continue
		}
		a, b, ok := strings.Cut(line, " ")
		if !ok || strings.Contains(b, " ") {
			return nil, fmt.Errorf("entry %d: expected two tokens with one space between, found %q", i, line)
		}
		pairs = append(pairs, [2]string{a, b})
	}
	return pairs, nil
}

func newBPE(v *vocabulary, merges [][2]string, opts bpeOptions) (*bpe, error) {
	m := &bpe{
		vocabulary: v, merges: newMergeTable(len(merges)), unk: noID, unkToken: opts.unkToken, prefix: opts.prefix,
		suffix: opts.suffix, fuseUnk: opts.fuseUnk, ignoreMerges: opts.ignoreMerges, byteFallback: opts.byteFallback,
		mergers: &sync.Pool{New: func() any { return new(merger) }},
	}
	for i, p := range merges {
		var ids [3]int32
		if len(p[1]) < len(opts.prefix) {
			return nil, fmt.Errorf("entry %d: %q is shorter than the prefix %q", i, p[1], opts.prefix)
		}
		for k, s := range []string{p[0], p[1], p[0] + p[1][len(opts.prefix):]} {
			id, ok := v.ids[s]
			if !ok {
				return nil, fmt.Errorf("entry %d (%q, %q): token %q is not in the vocabulary", i, p[0], p[1], s)
			}
			ids[k] = id
		}
		m.merges.set(ids[0], ids[1], i, ids[2])
	}
	m.findCuts(merges)
	if opts.unkToken != "" {
		if id, ok := v.ids[opts.unkToken]; ok {
			m.unk = id
		}
	}
	for b := range m.byteIDs {
		m.byteIDs[b] = noID
		if id, ok := v.ids[fmt.Sprintf("<0x%02X>", b)]; ok && opts.byteFallback {
			m.byteIDs[b] = id
		}
	}
	m.lowRunes = make([]int32, lowRuneCount)
	for r := range m.lowRunes {
		m.lowRunes[r] = noID
		if id, ok := v.ids[string(rune(r))]; ok {
			m.lowRunes[r] = id
		}
	}
	return m, nil
}

// findCuts works out where a text may be cut without a change in the outcome: before a mark (▁), if no merge joins
// what stands before it with what begins with it. Then words are merged on their own, and can be remembered.
func (m *bpe) findCuts(merges [][2]string) {
	if _, ok := m.ids[spMark]; !ok || m.prefix != "" || m.suffix != "" || m.ignoreMerges {
		return
	}
	m.crossing = map[rune]bool{}
	for _, p := range merges {
		if !strings.HasPrefix(p[1], spMark) {
			continue
		}
		if _, isByte := byteToken(p[0]); isByte || p[0] == m.unkToken {
			return // such a token may stand for any rune
		}
		r, _ := utf8.DecodeLastRuneInString(p[0])
		m.crossing[r] = true
	}
	m.cuts = true
}

// nextCut returns the end of the part of s that begins at i and can be tokenized on its own.
func (m *bpe) nextCut(s string, i int) int {
	if !m.cuts {
		return len(s)
	}
	for j := i + 1; j < len(s); {
		k := strings.Index(s[j:], spMark)
		if k < 0 {
			break
		}
		j += k
		if r, _ := utf8.DecodeLastRuneInString(s[:j]); !m.crossing[r] {
			return j
		}
		j += len(spMark)
	}
	return len(s)
}

func (m *bpe) tokenize(dst []token, s string) ([]token, error) {
	if s == "" {
		return dst, nil
	}
	if m.ignoreMerges {
		if id, ok := m.ids[s]; ok {
			return append(dst, token{id, 0, len(s)}), nil
		}
	}
	w := m.mergers.Get().(*merger)
	defer m.mergers.Put(w)
	w.symbols = w.symbols[:0]
	if err := m.addRunes(w, s); err != nil {
		return nil, err
	}
	w.merge(m.merges)
	for i, x := range w.symbols {
		end := w.length
		if i+1 < len(w.symbols) {
			end = int(w.symbols[i+1].start)
		}
		dst = append(dst, token{x.id, int(x.start), end})
	}
	return dst, nil
}

// runeID returns the id of the rune r that is the bytes [i, j) of s, as it stands in its place.
func (m *bpe) runeID(s string, r rune, i, j int) (int32, bool) {
	if m.prefix == "" && m.suffix == "" {
		if r < lowRuneCount {
			id := m.lowRunes[r]
			return id, id != noID
		}
		id, ok := m.ids[s[i:j]]
		return id, ok
	}
	id, ok := m.ids[m.decorated(s, i, j)]
	return id, ok
}

// decorated is the rune at [i, j) of s with the prefix and suffix its place calls for.
func (m *bpe) decorated(s string, i, j int) string {
	part := s[i:j]
	if i > 0 {
		part = m.prefix + part
	}
	if j == len(s) {
		part += m.suffix
	}
	return part
}

// addRunes fills w with the symbols of the runes of s. Lengths count as in the reference: symbols lie side by side
// from 0 on, so a rune that gives no symbol shifts the ones after it.
func (m *bpe) addRunes(w *merger, s string) error {
	at := 0
	add := func(id int32, n int) {
		w.symbols = append(w.symbols, symbol{id: id, start: int32(at)})
		at += n
	}
	unkLen := 0 // bytes of unknown runes that wait to become a symbol
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		j := i + n
		if id, ok := m.runeID(s, r, i, j); ok {
			if unkLen > 0 {
				add(m.unk, unkLen)
				unkLen = 0
			}
			add(id, n)
			i = j
			continue
		}
		if m.byteFallback {
			if bytes := m.decorated(s, i, j); m.hasBytes(bytes) {
				for k := range len(bytes) {
					add(m.byteIDs[bytes[k]], 1)
				}
				i = j
				continue
			}
		}
		if m.unkToken != "" {
			if m.unk == noID {
				return fmt.Errorf("the unknown token %q is not in the vocabulary", m.unkToken)
			}
			if unkLen > 0 && !m.fuseUnk {
				add(m.unk, unkLen)
				unkLen = 0
			}
			unkLen += n
		}
		i = j
	}
	if unkLen > 0 {
		add(m.unk, unkLen)
	}
	w.length = at
	return nil
}

func (m *bpe) hasBytes(s string) bool {
	for i := range len(s) {
		if m.byteIDs[s[i]] == noID {
			return false
		}
	}
	return true
}
