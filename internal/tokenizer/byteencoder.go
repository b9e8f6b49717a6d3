package tokenizer

// byteEncoder is the short cut for the commonest pipeline, a split pattern, byte-level notation and BPE: words go
// from bytes to ids without being written in byte-level notation first.
type byteEncoder struct {
	bpe    *bpe
	scan   scanFunc
	prefix bool             // put a space in front
	ids    [256]int32       // of single bytes
	whole  map[string]int32 // ids of whole words by their bytes, for ignore_merges
}

// newByteEncoder returns the short cut for t, or nil if its pipeline is another.
func newByteEncoder(t *Tokenizer) *byteEncoder {
	m, ok := t.model.(*bpe)
	if !ok || m.prefix != "" || m.suffix != "" {
		return nil
	}
	e := &byteEncoder{bpe: m}
	switch p := t.pre.(type) {
	case byteLevel:
		if !p.useRegex {
			return nil
		}
		e.scan, e.prefix = scanGPT2, p.addPrefixSpace
	case preTokenizerSequence:
		if len(p) != 2 {
			return nil
		}
		s, ok := p[0].(splitter)
		b, ok2 := p[1].(byteLevel)
		if !ok || !ok2 || b.useRegex || b.addPrefixSpace || s.invert || s.behavior != isolated {
			return nil
		}
		known, ok := s.pattern.(scannerPattern)
		if !ok {
			return nil
		}
		e.scan = known.scan
	default:
		return nil
	}
	for b := range e.ids {
		id, ok := m.ids[string(byteRune(byte(b)))]
		if !ok {
			return nil
		}
		e.ids[b] = id
	}
	if m.ignoreMerges {
		e.whole = make(map[string]int32, len(m.ids))
		for s, id := range m.ids {
			if b := appendBytes(nil, s); notation(b) == s {
				e.whole[string(b)] = id
			}
		}
	}
	return e
}

// notation writes bytes in byte-level notation.
func notation(b []byte) string {
	r := make([]rune, len(b))
	for i, c := range b {
		r[i] = byteRune(c)
	}
	return string(r)
}

func (e *byteEncoder) appendIDs(dst []int32, t *Tokenizer, s string) ([]int32, error) {
	w := e.bpe.mergers.Get().(*merger)
	defer e.bpe.mergers.Put(w)
	w.cuts = t.added.plain.cuts(w.cuts[:0], s)
	for _, c := range w.cuts {
		if c.token != nil {
			dst = append(dst, c.token.ID)
			continue
		}
		part := text{s: s[c.start:c.end]}
		if t.norm != nil {
			if err := t.norm.normalize(&part); err != nil {
				return dst, err
			}
		}
		w.inner = t.added.normal.cuts(w.inner[:0], part.s)
		for _, c := range w.inner {
			if c.token != nil {
				dst = append(dst, c.token.ID)
				continue
			}
			dst = e.appendWords(dst, t.cache, w, part.s[c.start:c.end])
		}
	}
	return dst, nil
}

// appendWords splits s into words and appends their ids.
func (e *byteEncoder) appendWords(dst []int32, cache *wordCache, w *merger, s string) []int32 {
	if e.prefix && s != "" && s[0] != ' ' {
		s = " " + s
	}
	for i := 0; i < len(s); {
		j := e.scan(s, i)
		word := s[i:j]
		i = j
		if len(word) == 1 {
			dst = append(dst, e.ids[word[0]])
			continue
		}
		if len(word) > cacheWordLen {
			dst = e.appendWord(dst, w, word)
			continue
		}
		ids, hash, ok := cache.get(word)
		if ok {
			dst = append(dst, ids...)
			continue
		}
		from := len(dst)
		dst = e.appendWord(dst, w, word)
		cache.put(hash, word, dst[from:])
	}
	return dst
}

func (e *byteEncoder) appendWord(dst []int32, w *merger, word string) []int32 {
	if e.whole != nil {
		if id, ok := e.whole[word]; ok {
			return append(dst, id)
		}
	}
	w.symbols = w.symbols[:0]
	for i := range len(word) {
		w.symbols = append(w.symbols, symbol{id: e.ids[word[i]]})
	}
	w.merge(e.bpe.merges)
	for i := range w.symbols {
		dst = append(dst, w.symbols[i].id)
	}
	return dst
}
