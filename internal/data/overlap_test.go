package data

import (
	"fmt"
	"strings"
	"testing"
)

func TestOverlap(t *testing.T) {
	rows := func(texts ...string) *Dataset {
		var b strings.Builder
		for _, text := range texts {
			fmt.Fprintf(&b, "{\"text\": %q}\n", text)
		}
		ds, _ := open(t, toyOptions(), "rows.jsonl", b.String())
		return ds
	}
	eval := rows("one two", "one two", "three", "four five six")
	for _, c := range []struct {
		train *Dataset
		want  int
	}{
		{rows("two one", "six five four", "seven"), 0},
		{rows("one two", "one two", "nine"), 2},
		{rows("three", "four five six", "four"), 2},
		{eval, 4},
	} {
		got, err := eval.Overlap(c.train)
		if err != nil || got != c.want {
			t.Errorf("%d rows in common, want %d (%v)", got, c.want, err)
		}
	}
}
