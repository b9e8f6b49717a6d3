package config

import (
	"slices"
	"strings"
)

// Closest returns the candidate that name was most likely meant to be, or ""
// when none is near: the one with the fewest edits (insertions, deletions,
// substitutions and swaps of neighbours), at most one for every three letters
// of name and never more than four. Case, and - for _, count for nothing.
func Closest(name string, candidates []string) string {
	limit := min(4, max(1, len(name)/3))
	best, bestDistance := "", limit+1
	for _, c := range candidates {
		if d := editDistance(fold(name), fold(c)); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

func fold(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }

// editDistance is the optimal string alignment distance of a and b in bytes.
func editDistance(a, b string) int {
	// Rows i-2, i-1 and i of the table of distances between prefixes.
	var before []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// didYouMean returns ` (did you mean "x"?)` or "".
func didYouMean(name string, candidates []string) string {
	if c := Closest(name, candidates); c != "" && !slices.Contains(candidates, name) {
		return ` (did you mean "` + c + `"?)`
	}
	return ""
}
