package infer

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/mltrain/mltrain/internal/cpu"
	"github.com/mltrain/mltrain/internal/model"
	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/tensor"
)

// drafters skips the test where the CPU has no instructions for drafts: then there are none, and nothing to compare.
func drafters(t *testing.T) {
	t.Helper()
	if cpu.New().DraftRows(false) == 0 {
		t.Skip("this CPU, or this build, has no products with weights in 8 bits")
	}
}

// The pass that checks drafts gives each token the logits that it has alone, to the bit.
func TestRowsAreWhatTheyAreAlone(t *testing.T) {
	drafters(t)
	check := func(name string, e *Engine, g golden) {
		t.Run(name, func(t *testing.T) {
			ids := slices.Concat(g.Greedy.Prompt, g.Greedy.Tokens, g.Greedy.Prompt)
			w := e.store.DraftInfo(e.m.Head().W)
			most := e.b.(tensor.Drafter).DraftRows(w.InOut)
			if rows := e.drafting().rows; w.InOut != (name == "gpt2") || w.Quantised && rows != 0 || !w.Quantised && rows != most {
				t.Fatalf("%+v: %d rows", w, rows)
			}
			from := len(ids) - most
			if err := e.reserve(1, len(ids)); err != nil {
				t.Fatal(err)
			}
			logits := func(from, to int, rows ...int32) []float32 {
				t.Helper()
				x, err := e.logits([]piece{{ids: ids[from:to], from: from}}, rows, to-from > 1)
				if err != nil {
					t.Fatal(err)
				}
				return slices.Clone(x)
			}
			logits(0, from, int32(from-1))
			var alone [][]float32
			for i := range most {
				alone = append(alone, logits(from+i, from+i+1, 0))
			}
			for n := 2; n <= most; n++ {
				rows := make([]int32, n)
				for i := range rows {
					rows[i] = int32(i)
				}
				got := logits(from, from+n, rows...)
				v := len(got) / n
				for i := range n {
					for j, x := range got[i*v : (i+1)*v] {
						if math.Float32bits(x) != math.Float32bits(alone[i][j]) {
							t.Fatalf("row %d of %d: logit %d is %v, alone %v", i, n, j, x, alone[i][j])
						}
					}
				}
			}
		})
	}
	for _, dir := range goldens(t) {
		e, g := open(t, dir)
		check(filepath.Base(dir), e, g)
	}
	_, g := open(t, "../../testdata/models/llama")
	for _, hidden := range []int{32, 64} { // rows of 32 elements are not whole blocks of four bits
		b := cpu.New()
		builder := nn.NewBuilder(nn.Options{Frozen: func(string) bool { return true }, Quantise: &nn.Quantise{Nested: true}})
		config := fmt.Sprintf(`{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": %d, "intermediate_size": 128, "num_hidden_layers": 2,
			"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100, "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000, "hidden_act": "silu"}`, hidden)
		m, err := model.New([]byte(config), builder, model.Options{Dropout: model.NoDropout()})
		if err != nil {
			t.Fatal(err)
		}
		store, err := builder.Load(b, 1)
		if err != nil {
			t.Fatal(err)
		}
		e := Of(b, m, store)
		defer e.Close()
		check(fmt.Sprintf("four bits, %d wide", hidden), e, g)
	}
}

// With drafts the same tokens come, in the same order, and end in the same way; some drafts are right and some are not.
func TestDraftsChangeNothing(t *testing.T) {
	drafters(t)
	drafted, right := 0, 0
	for _, dir := range goldens(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			e, g := open(t, dir)
			if e.DraftBytes() == 0 {
				t.Fatal("the engine does not draft")
			}
			prompts := [][]int32{g.Greedy.Prompt, g.InputIDs[2][:g.Lengths[2]], g.InputIDs[1][:3], g.InputIDs[1][:2], g.InputIDs[0][:4]}
			for n := 1; n <= len(prompts); n++ {
				for _, s := range []Sampling{{}, {Temperature: 1, Seed: 3}, {Temperature: 1.5, TopK: 9, TopP: 0.9, Seed: 4}} {
					var told [2][][]int32
					var outs [2][]Sequence
					for i := range 2 {
						told[i] = make([][]int32, n)
						o := Options{MaxNewTokens: 26, Sampling: s, AssistantTokens: 7 * i, Stop: g.Greedy.Tokens[5:6], OnToken: func(seq int, id int32) bool {
							told[i][seq] = append(told[i][seq], id)
							return seq != 1 || len(told[i][seq]) < 13
						}}
						var err error
						if outs[i], err = e.Generate(t.Context(), prompts[:n], o); err != nil {
							t.Fatal(err)
						}
					}
					for seq := range n {
						a, b := outs[0][seq], outs[1][seq]
						if !slices.Equal(a.IDs, b.IDs) || a.Stopped != b.Stopped || !slices.Equal(told[0][seq], told[1][seq]) {
							t.Errorf("%d prompts, %+v: sequence %d is %v (stopped: %v) with drafts, %v (%v) without", n, s, seq, b.IDs, b.Stopped, a.IDs, a.Stopped)
						}
					}
				}
			}
			if e.DraftBytes() != 0 || e.b.Allocated()[tensor.UseDraft] == 0 {
				t.Errorf("after drafts %d bytes are still to come, and %d are there", e.DraftBytes(), e.b.Allocated()[tensor.UseDraft])
			}
			all, hits := e.Drafted()
			drafted, right = drafted+all, right+hits
		})
	}
	if t.Logf("%d of %d drafted tokens were right", right, drafted); right < drafted/2 || right == drafted {
		t.Errorf("%d of %d drafted tokens were right, expected are most, but not all", right, drafted)
	}
}

// A conversation goes on as it would without drafts, whose keys and values are gone when they were wrong.
func TestSessionDrafts(t *testing.T) {
	drafters(t)
	fresh, g := open(t, "../../testdata/models/llama")
	e, _ := open(t, "../../testdata/models/llama")
	s := e.NewSession()
	prompt := slices.Clone(g.Greedy.Prompt)
	for turn := range 2 {
		o := Options{MaxNewTokens: 25 - 12*turn, Sampling: Sampling{Temperature: 1.2, Seed: uint64(turn)}}
		want, err := fresh.Generate(t.Context(), [][]int32{prompt}, o)
		if err != nil {
			t.Fatal(err)
		}
		o.AssistantTokens = 5
		got, _, err := s.Generate(t.Context(), prompt, o)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.IDs, want[0].IDs) {
			t.Errorf("turn %d: %v, want %v", turn, got.IDs, want[0].IDs)
		}
		prompt = slices.Concat(prompt, got.IDs, g.InputIDs[1][:2])
	}
	if all, right := e.Drafted(); all == 0 || right == all {
		t.Errorf("%d of %d drafts were right: wrong ones are needed here", right, all)
	}
}

// Whether to draft, and one more token, follows from how many were right and how sure the last ones are.
func TestOdds(t *testing.T) {
	d := &drafting{pass: 0.3, more: 0.04}
	o := newOdds()
	for range 60 {
		o.see(7, 0, 1+7*0.34)
	}
	for range 200 {
		o.moved(0.1)
		o.moved(-0.1)
	}
	for _, c := range []struct{ margin, least, most float64 }{{0, 0.499, 0.501}, {0.1, 0.84, 0.842}, {0.2, 0.977, 0.978}, {1, 1, 1}} {
		if p := o.sure(float32(c.margin)); p < c.least || p > c.most {
			t.Errorf("a margin of %v where logits move by 0.1: %v is sure, want %v to %v", c.margin, p, c.least, c.most)
		}
	}
	// Eight tokens take 3.38 passes: 2.4 in one, and a draft takes 0.34.
	if !o.worth(0.81, d) || o.worth(0.79, d) {
		t.Error("one more token is worth it above 0.805")
	}
	if !o.begin(d) {
		t.Error("where all are right, nothing is drafted")
	}
	for range 100 {
		o.see(0, 1, 1.34)
	}
	tried := 0
	for range 10 * draftRetry {
		if o.begin(d) {
			tried++
		}
	}
	if tried != 10 {
		t.Errorf("where none is right, %d are drafted in %d passes, want one in %d", tried, 10*draftRetry, draftRetry)
	}
}

func TestSecond(t *testing.T) {
	for _, c := range []struct {
		logits    []float32
		but, want int32
	}{{[]float32{3, 2, 1}, 0, 1}, {[]float32{1, 2, 3}, 2, 1}, {[]float32{1, 3, 3}, 1, 2}, {[]float32{2, 3, 2}, 1, 0}, {[]float32{5, 1}, 0, 1}} {
		if got := second(c.logits, c.but); got != c.want {
			t.Errorf("%v but %d: %d, want %d", c.logits, c.but, got, c.want)
		}
	}
}
