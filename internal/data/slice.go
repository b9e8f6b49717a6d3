package data

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// ErrSplit is wrapped by errors about a split that can't be read, such as train[10:%].
var ErrSplit = errors.New("split")

// Slice is the part of a source's rows from From up to To, both counted from 0 in the order of the files. Negative numbers
// count from the end, and with Percent both are hundredths of the rows. The zero value is all rows.
type Slice struct {
	From, To      int
	Percent       bool
	HasFrom, Upto bool // whether From and To were given
}

var splitPattern = regexp.MustCompile(`^([^\[\]+]*)(?:\[(-?\d+)?(%)?:(-?\d+)?(%)?\])?$`)

// ParseSplit reads a split as Hugging Face's datasets write them: a name, and in brackets the rows to take of it, by number
// (train[100:200]) or in hundredths (train[:90%], train[-10%:]). The name may be left out where the data has no splits.
func ParseSplit(text string) (name string, s Slice, err error) {
	fail := func(why string) (string, Slice, error) {
		return "", Slice{}, fmt.Errorf("%w %q: %s; a split is a name such as train, or a part of one such as train[:90%%], train[90%%:] or train[100:200]",
			ErrSplit, text, why)
	}
	if strings.Contains(text, "+") {
		return fail("splits joined by + are not supported; name the data twice")
	}
	m := splitPattern.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return fail("it is not understood")
	}
	for i, number := range []*int{&s.From, &s.To} {
		digits, percent := m[2+2*i], m[3+2*i] != ""
		if digits == "" {
			if percent {
				return fail("a number is missing before %")
			}
			continue
		}
		if *number, err = strconv.Atoi(digits); err != nil {
			return fail(digits + " is too large")
		}
		if percent && (*number < -100 || *number > 100) {
			return fail(digits + "% is beyond 100%")
		}
		*[]*bool{&s.HasFrom, &s.Upto}[i] = true
		if i == 1 && s.HasFrom && s.Percent != percent {
			return fail("one end is in % and the other is not")
		}
		s.Percent = percent
	}
	return strings.TrimSpace(m[1]), s, nil
}

// whole reports whether all rows are meant.
func (s Slice) whole() bool { return !s.HasFrom && !s.Upto }

// needsTotal reports whether the number of rows must be known to find the slice.
func (s Slice) needsTotal() bool { return s.Percent || s.From < 0 || s.To < 0 }

// Of returns the rows lo…hi-1 of n that are meant. Hundredths are rounded to the nearest row, halves to the even one, as
// datasets does; so [:p%] and [p%:] have every row once between them.
func (s Slice) Of(n int) (lo, hi int) {
	place := func(given bool, v, otherwise int) int {
		if !given {
			return otherwise
		}
		if s.Percent {
			v = int(math.RoundToEven(float64(v) * float64(n) / 100))
		}
		if v < 0 {
			v += n
		}
		return min(max(v, 0), n)
	}
	return place(s.HasFrom, s.From, 0), place(s.Upto, s.To, n)
}

// window is what a Slice comes to: the rows lo…hi-1 of a source.
type window struct{ lo, hi int }

// cut picks the rows of the sources' slices while they are read file by file.
type cut struct {
	owner   []int // source of each file
	windows []window
	next    []int // number of the next row of each source
}

// newCut finds the windows of the sources. Files are read through where the number of their rows must be known.
func newCut(sources []Source, paths []string, owner []int) (*cut, error) {
	c := &cut{owner: owner, windows: make([]window, len(sources)), next: make([]int, len(sources))}
	for i, s := range sources {
		_, slice, err := ParseSplit(s.Split)
		if err != nil {
			return nil, err
		}
		n := math.MaxInt
		if slice.needsTotal() {
			n = 0
			for f, path := range paths {
				if owner[f] != i {
					continue
				}
				err := readFile(path, func(r rawRow) error {
					if !r.continues() {
						n++
					}
					return nil
				})
				if err != nil {
					return nil, err
				}
			}
		}
		w := window{}
		if w.lo, w.hi = slice.Of(n); w.lo >= w.hi {
			return nil, fmt.Errorf("%w: %s: split %s holds no row%s", ErrNoData, s.Path, s.Split, ofRows(n))
		}
		c.windows[i] = w
	}
	return c, nil
}

func ofRows(n int) string {
	if n == math.MaxInt {
		return ""
	}
	return fmt.Sprintf(" of %d", n)
}

// takes reports whether the next row of a file belongs to the slice of its source, and whether any further one can.
func (c *cut) takes(file int, r rawRow) (take, more bool) {
	i := c.owner[file]
	if !r.continues() {
		c.next[i]++
	}
	at, w := c.next[i]-1, c.windows[i]
	return at >= w.lo && at < w.hi, at < w.hi
}

// continues reports whether r is a further piece of a text file.
func (r rawRow) continues() bool { return r.json == nil && r.obj == nil && r.err == nil && r.row > 1 }
