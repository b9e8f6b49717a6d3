package data

import "hash/maphash"

// Overlap counts the rows of d whose tokens are those of a row of other. Labels and weights do not count.
func (d *Dataset) Overlap(other *Dataset) (rows int, err error) {
	seed := maphash.MakeSeed()
	var tokens []uint32
	hash := func(ds *Dataset, i int) (uint64, error) {
		var err error
		if tokens, err = ds.store.read(ds.at(i), tokens[:0]); err != nil {
			return 0, err
		}
		var h maphash.Hash
		h.SetSeed(seed)
		for _, t := range tokens {
			id := tokenID(t)
			h.Write([]byte{byte(id), byte(id >> 8), byte(id >> 16), byte(id >> 24)})
		}
		return h.Sum64(), nil
	}
	mine, lengths := map[uint64]int{}, map[int]bool{}
	for i := range d.Len() {
		h, err := hash(d, i)
		if err != nil {
			return 0, err
		}
		mine[h]++
		lengths[d.Length(i)] = true
	}
	for i := range other.Len() {
		if !lengths[other.Length(i)] {
			continue // no row to read: none is as long
		}
		h, err := hash(other, i)
		if err != nil {
			return 0, err
		}
		rows += mine[h]
		delete(mine, h)
	}
	return rows, nil
}
