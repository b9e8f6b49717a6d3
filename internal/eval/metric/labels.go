package metric

import (
	"cmp"
	"slices"
	"strconv"
)

// Labels are the classes of a task in the order in which they are reported.
type Labels struct {
	Names []string
	index map[string]int
}

// NewLabels collects the classes of lists in scikit-learn's order: numbers by
// size when numeric is set, else by code points.
func NewLabels(numeric bool, lists ...[]string) Labels {
	l := Labels{index: map[string]int{}}
	for _, list := range lists {
		for _, name := range list {
			if _, ok := l.index[name]; !ok {
				l.index[name] = 0
				l.Names = append(l.Names, name)
			}
		}
	}
	slices.SortFunc(l.Names, func(a, b string) int {
		if numeric {
			x, errX := strconv.ParseFloat(a, 64)
			y, errY := strconv.ParseFloat(b, 64)
			if errX == nil && errY == nil {
				return cmp.Compare(x, y)
			}
		}
		return cmp.Compare(a, b)
	})
	for i, name := range l.Names {
		l.index[name] = i
	}
	return l
}

// Code is the number of a class, or -1.
func (l Labels) Code(name string) int {
	if i, ok := l.index[name]; ok {
		return i
	}
	return -1
}

// Codes are the numbers of a list of classes.
func (l Labels) Codes(list []string) []int {
	out := make([]int, len(list))
	for i, name := range list {
		out[i] = l.Code(name)
	}
	return out
}
