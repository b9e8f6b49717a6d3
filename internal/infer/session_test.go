package infer

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
)

// A session says what the engine says to the whole prompt, and reads only what is new of it.
func TestSessionEqualsGenerate(t *testing.T) {
	for _, dir := range goldens(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			fresh, g := open(t, dir)
			e, _ := open(t, dir)
			s := e.NewSession()
			prompt := slices.Clone(g.Greedy.Prompt)
			more := g.InputIDs[1][:3]
			held := 0
			for turn := range 4 {
				o := Options{MaxNewTokens: 4}
				want, err := fresh.Generate(t.Context(), [][]int32{prompt}, o)
				if err != nil {
					t.Fatal(err)
				}
				got, reused, err := s.Generate(t.Context(), prompt, o)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(got.IDs, want[0].IDs) {
					t.Errorf("turn %d: %v, want %v", turn, got.IDs, want[0].IDs)
				}
				if reused != held {
					t.Errorf("turn %d: %d tokens of %d were not read again, want %d", turn, reused, len(prompt), held)
				}
				held = len(prompt) + len(got.IDs) - 1 // the last token was drawn, not read
				prompt = slices.Concat(prompt, got.IDs, more)
			}
		})
	}
}

// What a session held is not believed after the cache served others, after another beginning, or after a failure.
func TestSessionForgets(t *testing.T) {
	e, g := open(t, goldens(t)[0])
	s := e.NewSession()
	prompt := g.InputIDs[0][:g.Lengths[0]]
	say := func(ids []int32, wantReused int) []int32 {
		t.Helper()
		out, reused, err := s.Generate(t.Context(), ids, Options{MaxNewTokens: 3})
		if err != nil {
			t.Fatal(err)
		}
		if reused != wantReused {
			t.Errorf("%d tokens were not read again, want %d", reused, wantReused)
		}
		return out.IDs
	}
	want := say(prompt, 0)
	same := func(got []int32) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
	same(say(prompt, len(prompt)-1))
	if _, err := e.Generate(t.Context(), [][]int32{g.InputIDs[1][:4]}, Options{MaxNewTokens: 2}); err != nil {
		t.Fatal(err)
	}
	same(say(prompt, 0))
	queries := []Query{{IDs: g.InputIDs[1][:4], From: 1}}
	if err := e.ScoreShared(t.Context(), queries, func(int, []TokenScore) error { return nil }); err != nil {
		t.Fatal(err)
	}
	same(say(prompt, 0))
	other := slices.Clone(prompt)
	other[2]++
	say(other, 2)
	same(say(prompt, 2))
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.Generate(cancelled, other, Options{MaxNewTokens: 3}); err == nil {
		t.Error("a cancelled context gives an answer")
	}
	same(say(prompt, 0))
	for _, bad := range [][]int32{nil, {-1}, {1 << 20}} {
		if _, _, err := s.Generate(t.Context(), bad, Options{MaxNewTokens: 1}); err == nil {
			t.Errorf("%v is generated from", bad)
		}
	}
}
