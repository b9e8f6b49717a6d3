package data

import (
	"fmt"
	"math"
	"slices"
)

// splitMix is SplitMix64 (Steele, Lea, Flood 2014): a tiny generator whose sequence no library update can change.
type splitMix uint64

func (s *splitMix) next() uint64 {
	*s += 0x9E3779B97F4A7C15
	z := uint64(*s)
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// newStream derives an independent stream from a seed and a purpose.
func newStream(seed uint64, purpose ...uint64) *splitMix {
	s := splitMix(seed)
	for _, p := range purpose {
		s = splitMix(s.next() ^ p)
	}
	return &s
}

// below is uniform in 0…n-1 (rejection keeps it exact).
func (s *splitMix) below(n int) int {
	limit := math.MaxUint64 - math.MaxUint64%uint64(n)
	for {
		if v := s.next(); v < limit {
			return int(v % uint64(n))
		}
	}
}

func (s *splitMix) shuffle(list []int32) {
	for i := len(list) - 1; i > 0; i-- {
		j := s.below(i + 1)
		list[i], list[j] = list[j], list[i]
	}
}

// Purposes of streams.
const (
	streamEpoch = iota + 1
	streamBatches
	streamSplit
	streamMix
)

func count(n int) []int32 {
	list := make([]int32, n)
	for i := range list {
		list[i] = int32(i)
	}
	return list
}

// mix lists the rows of the mixture: of each source first its fraction, then, if sources are weighted, as many rows as its
// share. Unweighted sources take part whole. Nil means all rows as they are.
func mix(sources []Source, bounds []int, opt Options) ([]int32, error) {
	weighted, plain := 0, true
	for _, s := range sources {
		if s.Weight > 0 {
			weighted++
		}
		plain = plain && s.Weight == 0 && (s.Fraction == 0 || s.Fraction == 1)
	}
	if plain {
		return nil, nil
	}
	if weighted > 0 && weighted < len(sources) {
		return nil, fmt.Errorf("%w: %d of %d datasets have a weight; give one to all or to none", ErrOptions, weighted, len(sources))
	}
	parts := make([][]int32, len(sources))
	for i, s := range sources {
		fraction := s.Fraction
		if fraction == 0 {
			fraction = 1
		}
		n := bounds[i+1] - bounds[i]
		parts[i] = take(bounds[i], n, int(math.Round(fraction*float64(n))), opt.Seed, uint64(i))
		if len(parts[i]) == 0 && n > 0 {
			return nil, fmt.Errorf("%w: fraction %v of the %d rows of %s is no row", ErrOptions, fraction, n, s.Path)
		}
	}
	if weighted > 0 {
		if err := weigh(sources, parts, opt); err != nil {
			return nil, err
		}
	}
	return slices.Concat(parts...), nil
}

// take chooses want of n rows from first on, in ascending order; more than n rows repeat all of them as often as that takes.
func take(first, n, want int, seed, stream uint64) []int32 {
	var out []int32
	for round := uint64(0); want > 0 && n > 0; round++ {
		all := count(n)
		k := min(n, want)
		if k < n {
			newStream(seed, streamMix, stream, round).shuffle(all)
			all = all[:k]
			slices.Sort(all)
		}
		for _, v := range all {
			out = append(out, v+int32(first))
		}
		want -= k
	}
	return out
}

// weigh cuts (or, with Oversample, repeats) the parts so that their sizes are as the weights: the mixture is the largest
// that uses no row twice, or the smallest that uses all.
func weigh(sources []Source, parts [][]int32, opt Options) error {
	total := math.Inf(1)
	if opt.Oversample {
		total = 0
	}
	for i, s := range sources {
		if len(parts[i]) == 0 {
			return fmt.Errorf("%w: %s has a weight but no rows left", ErrNoData, s.Path)
		}
		t := float64(len(parts[i])) / s.Weight
		if opt.Oversample {
			total = max(total, t)
		} else {
			total = min(total, t)
		}
	}
	for i, s := range sources {
		want := max(1, int(math.Round(total*s.Weight)))
		if want > math.MaxInt32/2 {
			return fmt.Errorf("%w: weight %v of %s would repeat its rows %d times", ErrOptions, s.Weight, s.Path, want/len(parts[i]))
		}
		chosen := take(0, len(parts[i]), want, opt.Seed, uint64(len(sources)+i))
		for k, v := range chosen {
			chosen[k] = parts[i][v]
		}
		parts[i] = chosen
	}
	return nil
}

// Split divides the rows at random, by the seed alone, in a part to train on and one to evaluate on. testSize below 1 is a
// share, else a number of rows. Both keep the order of the rows, and neither may be empty. What became of one row (the pieces
// that SplitLong cuts, the two answers of an unpaired preference, repetitions) stays together.
func (d *Dataset) Split(testSize float64, seed uint64) (train, eval *Dataset, err error) {
	rowOf, n := d.rows()
	k := int(testSize)
	if testSize < 1 {
		k = int(math.Ceil(testSize * float64(n)))
	}
	if !(testSize > 0) || k < 1 || k >= n {
		return nil, nil, fmt.Errorf("%w: test_size %v of %d rows leaves %d to evaluate on and %d to train on; both need some",
			ErrOptions, testSize, n, k, n-k)
	}
	order := count(n)
	newStream(seed, streamSplit).shuffle(order)
	held := make([]bool, n)
	for _, row := range order[:k] {
		held[row] = true
	}
	var parts [2][]int32
	for i, row := range rowOf {
		part := 0
		if held[row] {
			part = 1
		}
		parts[part] = append(parts[part], int32(d.at(i)))
	}
	view := func(index []int32) *Dataset {
		out := *d
		out.index = index
		return &out
	}
	return view(parts[0]), view(parts[1]), nil
}

// rows numbers the rows of the data files that d holds, by first appearance, and gives that of each of d's records.
func (d *Dataset) rows() (rowOf []int32, n int) {
	s := d.store
	// Records of one row follow each other in the store.
	row := make([]int32, s.rows())
	for i, file := 1, 0; i < len(row); i++ {
		row[i] = row[i-1]
		same := s.line[i] == s.line[i-1] && s.row[i] == s.row[i-1]
		for file+1 < len(s.first) && s.first[file+1] <= i {
			same, file = false, file+1
		}
		if !same {
			row[i]++
		}
	}
	number := make([]int32, len(row))
	for i := range number {
		number[i] = -1
	}
	rowOf = make([]int32, d.Len())
	for i := range rowOf {
		r := row[d.at(i)]
		if number[r] < 0 {
			number[r] = int32(n)
			n++
		}
		rowOf[i] = number[r]
	}
	return rowOf, n
}
