package data

import (
	"slices"
	"testing"
)

// Margins come from the rows, as numbers or as CSV's text, and from the cache; rows that are too long are left out and counted.
func TestRewardRows(t *testing.T) {
	files := write(t, "a.jsonl", `{"prompt": "p", "chosen": "ab", "rejected": "b", "margin": 0.25}
{"prompt": "p", "chosen": "abcdefghijklmnopqrstuvwxyz", "rejected": "b", "margin": 7}
{"prompt": "p", "chosen": "ab", "rejected": "c"}
{"prompt": "p", "chosen": "ab", "rejected": "d", "margin": null}
{"prompt": "p", "chosen": "ab", "rejected": "e", "margin": "-1.5"}
{"prompt": "p", "chosen": "ab", "rejected": "f"}
`)
	opt := toyOptions()
	opt.Objective, opt.Reward, opt.MaxLength, opt.CacheDir = Preference, true, 8, t.TempDir()
	for _, cached := range []bool{false, true} {
		ds, l, err := Open(t.Context(), []Source{{Path: files}}, opt, toyTokenizer{})
		if err != nil {
			t.Fatal(err)
		}
		defer ds.Close()
		var margins []float64
		for i := range ds.Len() {
			margins = append(margins, ds.Margin(i))
		}
		if want := []float64{0.25, 0, 0, -1.5, 0}; !slices.Equal(margins, want) || l.Dropped[DropTooLong] != 1 || l.Cached != cached {
			t.Errorf("margins %v, want %v; dropped %v; cached %v", margins, want, l.Dropped, l.Cached)
		}
	}
}

// The scored token is the last that is not the padding token, also where that ends the text.
func TestTargetLast(t *testing.T) {
	b := Batch{Tokens: []int32{5, 6, 0, 7, 8, 9, 0, 0, 0}, Cu: []int32{0, 3, 6, 9}, Lens: []int32{2, 3, 3}, Targets: make([]int32, 9), Weights: make([]float32, 9)}
	b.TargetLast(0)
	const none = IgnoreIndex
	// The second answer to a shared prompt is nothing but padding: the prompt's end is scored; so is the first token of all padding.
	s := Batch{Tokens: []int32{5, 6, 7, 0, 0, 0, 8, 0}, Cu: []int32{0, 2, 4, 5, 6, 7, 8}, Lens: []int32{2, 2, 1, 1, 1, 1}, Shared: &SharedPrompts{}}
	s.TargetLast(0)
	if want := []int32{2, 6, 1, 5}; !slices.Equal(s.Shared.LossRows, want) || !slices.Equal(s.Shared.LossAnswers, []int32{0, 1, 2, 3}) || s.Trained != 4 {
		t.Errorf("scored are %v, want %v", s.Shared.LossRows, want)
	}
	if want := []int32{none, 6, none, none, none, 9, 0, none, none}; !slices.Equal(b.Targets, want) || len(b.Weights) != 0 || b.Trained != 3 {
		t.Errorf("targets %v, want %v", b.Targets, want)
	}
}
