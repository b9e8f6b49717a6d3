package data

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// trlFile is testdata/trl/cases.json, made by testdata/make_trl.py: rows, and what TRL makes of them.
type trlFile struct {
	Cases []struct {
		Name, Kind string
		Rows       []json.RawMessage
		Options    struct {
			MaxLength      int    `json:"max_length"`
			CompletionOnly *bool  `json:"completion_only"`
			AssistantOnly  bool   `json:"assistant_only"`
			Mode           string `json:"mode"`
		}
		Want json.RawMessage
	}
	Packing struct {
		Lengths  []int32
		Capacity int
		Bins     [][]int32
	}
}

func loadTRL(t *testing.T) trlFile {
	t.Helper()
	text, err := os.ReadFile("testdata/trl/cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var f trlFile
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestTRL: ids, masks and truncation of every kind of row are TRL's.
func TestTRL(t *testing.T) {
	tok, raw, err := LoadTokenizer("testdata/trl")
	if err != nil {
		t.Fatal(err)
	}
	tmpl, warning, err := ResolveTemplate("auto", raw, time.Time{})
	if err != nil || warning != "" {
		t.Fatal(err, warning)
	}
	for _, c := range loadTRL(t).Cases {
		t.Run(c.Name, func(t *testing.T) {
			var rows strings.Builder
			for _, r := range c.Rows {
				rows.Write(r)
				rows.WriteByte('\n')
			}
			opt := Options{MaxLength: c.Options.MaxLength, Vocab: 420, Template: tmpl, AssistantOnlyLoss: c.Options.AssistantOnly,
				CompletionOnlyLoss: c.Options.CompletionOnly, TruncationMode: TruncationMode(c.Options.Mode),
				Objective: map[string]Objective{"sft": Supervised, "dpo": Preference, "kto": Unpaired}[c.Kind]}
			ds, _, err := Open(t.Context(), []Source{{Path: write(t, "rows.jsonl", rows.String())}}, opt, tok)
			if err != nil {
				t.Fatal(err)
			}
			switch c.Kind {
			case "sft":
				checkSFT(t, ds, c.Want)
			case "dpo":
				checkDPO(t, ds, c.Want)
			case "kto":
				checkKTO(t, ds, c.Want, len(c.Rows))
			}
		})
	}
}

func checkSFT(t *testing.T, ds *Dataset, raw json.RawMessage) {
	type result struct{ IDs, Labels [][]int32 }
	var want, got result
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	for i := range ds.Len() {
		ex, err := ds.Example(i)
		if err != nil {
			t.Fatal(err)
		}
		labels := slices.Clone(ex.IDs)
		for k, w := range ex.Weights {
			if w == 0 {
				labels[k] = IgnoreIndex
			}
		}
		got.IDs, got.Labels = append(got.IDs, ex.IDs), append(got.Labels, labels)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// checkDPO compares a padded batch of all pairs: ids, what is padding, and what is trained.
func checkDPO(t *testing.T, ds *Dataset, raw json.RawMessage) {
	var want struct {
		InputIDs       [][]int32 `json:"input_ids"`
		AttentionMask  [][]int32 `json:"attention_mask"`
		CompletionMask [][]int32 `json:"completion_mask"`
	}
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	l, err := NewLoader(ds, LoaderOptions{BatchSize: ds.Len()})
	if err != nil {
		t.Fatal(err)
	}
	var b Batch
	if err := l.FillPairs(&b, 0, 0); err != nil {
		t.Fatal(err)
	}
	checkBatch(t, &b, l.Limits())
	checkShared(t, l, &b)
	if b.Sequences() != len(want.InputIDs) {
		t.Fatalf("%d sequences, want %d", b.Sequences(), len(want.InputIDs))
	}
	for s, ids := range want.InputIDs {
		from, to := b.Cu[s], b.Cu[s+1]
		if diff := cmp.Diff(ids, b.Tokens[from:to]); diff != "" {
			t.Errorf("sequence %d: %s", s, diff)
			continue
		}
		attended := 0
		for i := range ids {
			attended += int(want.AttentionMask[s][i])
			trained := i+1 < len(ids) && want.CompletionMask[s][i+1] == 1
			if got := b.Targets[int(from)+i] != IgnoreIndex; got != trained {
				t.Errorf("sequence %d: target %d trained is %v", s, i, got)
			}
		}
		if int(b.Lens[s]) != attended {
			t.Errorf("sequence %d has %d tokens, want %d", s, b.Lens[s], attended)
		}
	}
}

// checkShared holds the layout with shared prompts to the padded one: each answer sees the same tokens, at the same positions, and
// has the same targets.
func checkShared(t *testing.T, l *Loader, padded *Batch) {
	t.Helper()
	if !l.CanShare() {
		return
	}
	var b Batch
	if err := l.FillShared(&b, 0, 0); err != nil {
		t.Fatal(err)
	}
	s, limits, n := b.Shared, l.SharedLimits(), b.Pairs()
	if len(b.Tokens) > limits.Tokens || len(s.KeyRows) > limits.Keys || b.Sequences() > limits.Sequences || b.MaxLen > limits.SeqLen || s.MaxK > limits.MaxK {
		t.Errorf("a batch of %d tokens, %d keys, %d sequences up to %d tokens and %d keys exceeds %+v", len(b.Tokens), len(s.KeyRows), b.Sequences(), b.MaxLen, s.MaxK, limits)
	}
	targets := make([][]int32, 2*n)
	for i, a := range s.LossAnswers {
		targets[a] = append(targets[a], s.LossTargets[i])
	}
	for a := range 2 * n {
		pair, side := a%n, a/n
		seq := 3*pair + 1 + side
		var ids, want []int32
		for i, row := range s.KeyRows[s.CuK[seq]:s.CuK[seq+1]] {
			ids = append(ids, b.Tokens[row])
			if b.Positions[row] != int32(i) {
				t.Errorf("answer %d: key %d has position %d", a, i, b.Positions[row])
			}
		}
		from := padded.Cu[a]
		if diff := cmp.Diff(padded.Tokens[from:from+padded.Lens[a]], ids); diff != "" {
			t.Errorf("answer %d: %s", a, diff)
		}
		for _, y := range padded.Targets[from:padded.Cu[a+1]] {
			if y != IgnoreIndex {
				want = append(want, y)
			}
		}
		if diff := cmp.Diff(want, targets[a]); diff != "" {
			t.Errorf("targets of answer %d: %s", a, diff)
		}
	}
}

func checkKTO(t *testing.T, ds *Dataset, raw json.RawMessage, rows int) {
	type result struct {
		PromptIDs     [][]int32 `json:"prompt_ids"`
		CompletionIDs [][]int32 `json:"completion_ids"`
		KL            [][]int32 `json:"KL_completion_ids"`
		Label         []bool
	}
	var want, got result
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	order := make([]int, 0, ds.Len()) // TRL puts all chosen before all rejected
	for k := range ds.Len() / rows {
		for i := range rows {
			order = append(order, i*(ds.Len()/rows)+k)
		}
	}
	for _, i := range order {
		ex, err := ds.Unpaired(i)
		if err != nil {
			t.Fatal(err)
		}
		got.PromptIDs, got.CompletionIDs = append(got.PromptIDs, ex.Prompt), append(got.CompletionIDs, ex.Completion)
		got.Label = append(got.Label, ex.Desirable)
	}
	got.KL = want.KL
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if ds.Len() != rows {
		return
	}
	l, err := NewLoader(ds, LoaderOptions{BatchSize: rows, PaddingFree: true})
	if err != nil {
		t.Fatal(err)
	}
	var b, kl Batch
	labels, err := l.FillUnpaired(&b, &kl, nil, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	checkBatch(t, &b, l.Limits())
	checkBatch(t, &kl, l.Limits())
	if !slices.Equal(labels, want.Label) {
		t.Errorf("labels %v, want %v", labels, want.Label)
	}
	for s := range rows {
		wantIDs := slices.Concat(want.PromptIDs[s], want.KL[s])
		if diff := cmp.Diff(wantIDs, kl.Tokens[kl.Cu[s]:kl.Cu[s+1]]); diff != "" {
			t.Errorf("mismatched pair %d: %s", s, diff)
		}
	}
}

func TestTRLPacking(t *testing.T) {
	p := loadTRL(t).Packing
	b := packBestFit(p.Lengths, p.Capacity)
	used := 0
	for _, bin := range p.Bins {
		used += len(bin)
	}
	if b.len() != len(p.Bins) || used != len(p.Lengths) {
		t.Fatalf("%d bins, TRL makes %d", b.len(), len(p.Bins))
	}
	for k, want := range p.Bins {
		var got, lengths []int32
		for _, row := range b.bin(int32(k)) {
			got = append(got, p.Lengths[row])
		}
		for _, row := range want {
			lengths = append(lengths, p.Lengths[row])
		}
		if diff := cmp.Diff(lengths, got); diff != "" {
			t.Errorf("bin %d: %s", k, diff)
		}
	}
}
