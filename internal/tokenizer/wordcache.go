package tokenizer

import (
	"hash/maphash"
	"sync/atomic"
)

// wordCache remembers the ids of words that were tokenized before. It has a fixed number of places, two for each
// hash; readers never wait, and a lost update costs no more than computing a word again.
type wordCache struct {
	seed  maphash.Seed
	slots []atomic.Pointer[cachedWord]
}

type cachedWord struct {
	word string
	ids  []int32
}

const (
	cacheBits    = 16
	cacheWordLen = 48 // longer words hardly ever come back
)

func newWordCache() *wordCache {
	return &wordCache{seed: maphash.MakeSeed(), slots: make([]atomic.Pointer[cachedWord], 1<<cacheBits)}
}

// get returns the ids of a word and the hash to put them under.
func (c *wordCache) get(word string) ([]int32, uint64, bool) {
	h := maphash.String(c.seed, word) & (1<<cacheBits - 1)
	if w := c.slots[h].Load(); w != nil && w.word == word {
		return w.ids, h, true
	}
	if w := c.slots[h^1].Load(); w != nil && w.word == word {
		return w.ids, h, true
	}
	return nil, h, false
}

// put stores a copy of the word and its ids.
func (c *wordCache) put(h uint64, word string, ids []int32) {
	w := &cachedWord{word: string(append([]byte(nil), word...)), ids: append([]int32(nil), ids...)}
	if old := c.slots[h].Load(); old != nil {
		c.slots[h^1].Store(old)
	}
	c.slots[h].Store(w)
}
