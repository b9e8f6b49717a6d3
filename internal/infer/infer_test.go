package infer

import (
	"cmp"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/mltrain/mltrain/internal/checkpoint"
	"github.com/mltrain/mltrain/internal/cpu"
	"github.com/mltrain/mltrain/internal/tensor"
)

type source struct{ *checkpoint.Reader }

func (s source) Lookup(name string) (tensor.DType, string, []int, bool) {
	info, ok := s.Info(name)
	dt, _ := checkpoint.ParseDType(info.DType)
	return dt, info.DType, info.Shape, ok
}

type golden struct {
	InputIDs [][]int32 `json:"input_ids"`
	Lengths  []int
	Greedy   struct{ Prompt, Tokens []int32 }
}

func open(t *testing.T, dir string) (*Engine, golden) {
	t.Helper()
	var g golden
	raw, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &g); err != nil {
		t.Fatal(err)
	}
	configJSON, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(cpu.New(), configJSON, source{r}, 48)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.Close()
		r.Close()
	})
	return e, g
}

func goldens(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../../testdata/models/*/golden.json")
	if err != nil || len(files) < 15 {
		t.Fatalf("%d goldens, %v", len(files), err)
	}
	var dirs []string
	for _, f := range files {
		// transformers changes the frequencies of dynamic RoPE with each new token; mltrain fixes them for a run.
		if dir := filepath.Dir(f); filepath.Base(dir) != "llama-rope-dynamic" {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

func TestGreedyEqualsTransformers(t *testing.T) {
	for _, dir := range goldens(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			e, g := open(t, dir)
			// The golden's prompt alone, and in one batch with others of other lengths.
			prompts := [][]int32{g.InputIDs[2][:g.Lengths[2]], g.Greedy.Prompt, g.InputIDs[1][:3]}
			for _, batch := range [][][]int32{{g.Greedy.Prompt}, prompts} {
				out, err := e.Generate(t.Context(), batch, Options{MaxNewTokens: len(g.Greedy.Tokens)})
				if err != nil {
					t.Fatal(err)
				}
				if got := out[min(1, len(out)-1)].IDs; !slices.Equal(got, g.Greedy.Tokens) {
					t.Errorf("batch of %d: %v, want %v", len(batch), got, g.Greedy.Tokens)
				}
			}
		})
	}
}

// What the cache gives token by token is what one forward pass over the whole text gives.
func TestScoresAgreeWithGeneration(t *testing.T) {
	for _, dir := range goldens(t) {
		e, g := open(t, dir)
		seq := append(slices.Clone(g.Greedy.Prompt), g.Greedy.Tokens...)
		scores, err := e.Score(t.Context(), [][]int32{g.InputIDs[1][:4], seq})
		if err != nil {
			t.Fatal(err)
		}
		for i := len(g.Greedy.Prompt) - 1; i < len(scores[1]); i++ {
			if s := scores[1][i]; !s.Greedy || !(s.LogProb < 0) {
				t.Errorf("%s: token %d: %+v, but generation took it", filepath.Base(dir), i+1, s)
			}
		}
	}
}

func TestStopTokensAndCallbacks(t *testing.T) {
	e, g := open(t, "../../testdata/models/llama")
	want := g.Greedy.Tokens
	out, err := e.Generate(t.Context(), [][]int32{g.Greedy.Prompt}, Options{MaxNewTokens: 12, Stop: []int32{want[3]}})
	if err != nil {
		t.Fatal(err)
	}
	if n := slices.Index(want, want[3]) + 1; !slices.Equal(out[0].IDs, want[:n]) || !out[0].Stopped {
		t.Errorf("stop token: %+v", out[0])
	}
	out, err = e.Generate(t.Context(), [][]int32{g.Greedy.Prompt}, Options{MaxNewTokens: 12, OnToken: func(_ int, id int32) bool { return false }})
	if err != nil || len(out[0].IDs) != 1 || !out[0].Stopped {
		t.Errorf("callback: %+v, %v", out, err)
	}
	if _, err := e.Generate(t.Context(), [][]int32{{9999}}, Options{MaxNewTokens: 1}); err == nil {
		t.Error("a token outside the vocabulary was taken")
	}
	if _, err := e.Generate(t.Context(), [][]int32{{}}, Options{MaxNewTokens: 1}); err == nil {
		t.Error("an empty prompt was taken")
	}
}

// Draws have the frequencies that temperature, top-k and top-p leave.
func TestSampling(t *testing.T) {
	logits := []float32{1, 3, 2, 0, -1}
	for _, c := range []struct {
		name string
		s    Sampling
		keep []int
		temp float64
	}{
		{"all", Sampling{Temperature: 1}, []int{0, 1, 2, 3, 4}, 1},
		{"hot", Sampling{Temperature: 2}, []int{0, 1, 2, 3, 4}, 2},
		{"top-k", Sampling{Temperature: 1, TopK: 2}, []int{1, 2}, 1},
		{"top-p", Sampling{Temperature: 1, TopP: 0.8}, []int{1, 2}, 1},
		{"top-p keeps one", Sampling{Temperature: 1, TopP: 0.01}, []int{1}, 1},
		{"greedy", Sampling{}, []int{1}, 1},
	} {
		var sum float64
		p := make([]float64, len(logits))
		for _, i := range c.keep {
			p[i] = math.Exp(float64(logits[i]) / c.temp)
			sum += p[i]
		}
		const n = 20000
		count := make([]float64, len(logits))
		for i := range n {
			count[c.s.Pick(logits, 0, i)]++
		}
		for i := range p {
			if want := p[i] / sum; !(math.Abs(count[i]/n-want) <= 0.02) || want == 0 && count[i] > 0 {
				t.Errorf("%s: token %d was drawn in %.3f of the cases, want %.3f", c.name, i, count[i]/n, want)
			}
		}
	}
	s := Sampling{Temperature: 1, Seed: 7}
	other := Sampling{Temperature: 1, Seed: 8}
	differ := 0
	for pos := range 50 {
		first := s.Pick(logits, 1, pos)
		if again := s.Pick(logits, 1, pos); again != first {
			t.Fatal("the same draw gives different tokens")
		}
		if other.Pick(logits, 1, pos) != first {
			differ++
		}
	}
	if differ == 0 {
		t.Error("another seed draws the same 50 tokens")
	}
}

// TestLikeliest: what is taken from the heap is in the order of a stable sort, whatever ties there are.
func TestLikeliest(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 200 {
		cands := make([]candidate, n)
		for i := range cands {
			cands[i] = candidate{int32(i), float64(r.IntN(20))}
		}
		want := slices.Clone(cands)
		slices.SortStableFunc(want, func(a, b candidate) int { return cmp.Compare(b.p, a.p) })
		heap := newLikeliest(cands)
		head := heap.take(n / 3)
		if got := append(head, heap.take(n)...); !slices.Equal(got, want) {
			t.Fatalf("%d candidates: %v, want %v", n, got, want)
		}
	}
}
