package infer

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
)

// families are queries as evaluations ask them: examples before every question, questions with several answers.
func families(rng *rand.Rand, vocab int) []Query {
	ids := func(n int) []int32 {
		out := make([]int32, n)
		for i := range out {
			out[i] = int32(rng.IntN(vocab))
		}
		return out
	}
	var out []Query
	shots := ids(12)
	for range 4 {
		context := slices.Concat(shots, ids(1+rng.IntN(9)))
		for range 3 {
			out = append(out, Query{slices.Concat(context, ids(1+rng.IntN(5))), len(context)})
		}
		out = append(out, Query{context, len(shots)}) // ends where others go on
	}
	alone := ids(30)
	out = append(out, Query{alone, 1}, Query{alone, 1}, Query{alone[:1], 1}, Query{alone[:9], 9}, Query{ids(3), 1})
	rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

func scoreShared(t *testing.T, e *Engine, queries []Query, budget int64) [][]TokenScore {
	t.Helper()
	got := make([][]TokenScore, len(queries))
	s := &sharedScorer{e: e, queries: queries, scores: make([][]TokenScore, len(queries)), missing: make([]int, len(queries)), budget: budget,
		done: func(q int, scores []TokenScore) error {
			if got[q] != nil {
				return fmt.Errorf("query %d was reported twice", q)
			}
			got[q] = slices.Clone(scores)
			if scores == nil {
				return fmt.Errorf("query %d has no scores", q)
			}
			return nil
		}}
	if err := s.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return got
}

// Scores that share prefixes are those of each sequence alone, in all families of models, with much cache and with the
// least that works.
func TestScoreSharedEqualsScore(t *testing.T) {
	for _, dir := range goldens(t) {
		e, _ := open(t, dir)
		rng := rand.New(rand.NewPCG(1, 2))
		queries := families(rng, e.Model().Info().VocabSize)
		for _, budget := range []int64{cacheBytes, 1} {
			got := scoreShared(t, e, queries, budget)
			for i, q := range queries {
				alone, err := e.Score(t.Context(), [][]int32{q.IDs})
				if err != nil {
					t.Fatal(err)
				}
				want := alone[0][q.From-1:]
				if len(got[i]) != len(want) {
					t.Fatalf("%s: query %d: %d scores, want %d", filepath.Base(dir), i, len(got[i]), len(want))
				}
				for k, w := range want {
					if g := got[i][k]; math.Abs(g.LogProb-w.LogProb) > 2e-5 || g.Greedy != w.Greedy {
						t.Errorf("%s: query %d, token %d: %+v, want %+v", filepath.Base(dir), i, k, g, w)
					}
				}
			}
		}
	}
}

func TestTrieSharesWhatPays(t *testing.T) {
	long := make([]int32, 40)
	for i := range long {
		long[i] = int32(i)
	}
	with := func(n int, more ...int32) []int32 { return slices.Concat(long[:n], more) }
	for _, c := range []struct {
		name          string
		seqs          [][]int32
		nodes, tokens int
	}{
		{"one context", [][]int32{with(40, 1, 2), with(40, 3), with(40, 4, 5, 6)}, 4, 46},
		{"equal", [][]int32{with(40), with(40), with(40)}, 1, 40},
		{"ends inside", [][]int32{with(40), with(40, 7)}, 2, 41},
		{"too little in common", [][]int32{with(3, 1), with(3, 2)}, 2, 8},
		{"many with little in common", [][]int32{with(6, 1), with(6, 2), with(6, 3), with(6, 4), with(6, 5)}, 6, 11},
		{"two levels", [][]int32{with(20, 80, 1), with(40, 80, 2), with(40, 90, 3), with(40, 90, 4), with(20, 90)}, 7, 20 + 2 + 20 + 2 + 2 + 2 + 1},
		{"nothing", [][]int32{{1, 2}, {3}}, 2, 3},
	} {
		roots, ends := buildTrie(c.seqs)
		nodes, tokens := size(roots)
		if nodes != c.nodes || tokens != c.tokens {
			t.Errorf("%s: %d nodes of %d tokens, want %d of %d", c.name, nodes, tokens, c.nodes, c.tokens)
		}
		for i, n := range ends {
			if n == nil || !slices.Equal(n.ids, c.seqs[i]) {
				t.Errorf("%s: query %d ends at %+v", c.name, i, n)
			}
		}
	}
}

func TestScoreSharedRefuses(t *testing.T) {
	e, _ := open(t, goldens(t)[0])
	for _, q := range []Query{{nil, 1}, {[]int32{1}, 0}, {[]int32{1}, 2}, {[]int32{1, 1 << 20}, 1}} {
		if err := e.ScoreShared(t.Context(), []Query{q}, func(int, []TokenScore) error { return nil }); err == nil {
			t.Errorf("%+v was taken", q)
		}
	}
}

// What is generated after a shared prefix is what each prompt gives alone, and draws go by stream, not by place.
func TestGenerateSharesPrefixes(t *testing.T) {
	e, g := open(t, "../../testdata/models/llama")
	base := slices.Concat(g.InputIDs[0][:6], g.InputIDs[0][:6], g.InputIDs[0][:6])
	prompts := [][]int32{slices.Concat(base, []int32{5}), base, slices.Concat(base, []int32{9, 3})}
	streams := []int{4, 9, 2}
	for _, sampling := range []Sampling{{}, {Temperature: 1, Seed: 3}} {
		together, err := e.Generate(t.Context(), prompts, Options{MaxNewTokens: 8, Sampling: sampling, Streams: streams})
		if err != nil {
			t.Fatal(err)
		}
		for i := range prompts {
			alone, err := e.Generate(t.Context(), prompts[i:i+1], Options{MaxNewTokens: 8, Sampling: sampling, Streams: streams[i : i+1]})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(alone[0].IDs, together[i].IDs) {
				t.Errorf("prompt %d, %+v: %v together, %v alone", i, sampling, together[i].IDs, alone[0].IDs)
			}
		}
	}
}
