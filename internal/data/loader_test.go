package data

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// rowsOf makes a dataset whose row i is a text of lengths[i] tokens, BOS and EOS included.
func rowsOf(t testing.TB, opt Options, lengths ...int) *Dataset {
	t.Helper()
	var b strings.Builder
	for i, n := range lengths {
		fmt.Fprintf(&b, "{\"text\":%q}\n", strings.Repeat(string(rune('a'+i%26)), n-2))
	}
	dir := t.(*testing.T)
	ds, _, err := Open(t.Context(), []Source{{Path: write(dir, "a.jsonl", b.String())}}, opt, toyTokenizer{})
	if err != nil {
		t.Fatal(err)
	}
	return ds
}

func batchOf(t *testing.T, l *Loader, epoch, i int) *Batch {
	t.Helper()
	b, err := l.Batch(epoch, i)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func loaderOf(t *testing.T, ds *Dataset, opt LoaderOptions) *Loader {
	t.Helper()
	l, err := NewLoader(ds, opt)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

var public = cmpopts.IgnoreUnexported(Batch{})

func TestPaddedBatch(t *testing.T) {
	ds := rowsOf(t, toyOptions(), 4, 3)
	got := batchOf(t, loaderOf(t, ds, LoaderOptions{BatchSize: 2}), 0, 0)
	a, b := int32('a'+10), int32('b'+10)
	want := &Batch{
		Tokens:    []int32{1, a, a, 2, 1, b, 2, 0},
		Positions: []int32{0, 1, 2, 3, 0, 1, 2, 3},
		Targets:   []int32{a, a, 2, -100, b, 2, -100, -100},
		Cu:        []int32{0, 4, 8}, Lens: []int32{4, 3}, Rows: []Ref{ds.Ref(0), ds.Ref(1)},
		MaxLen: 4, Trained: 5, Padding: 1, Weights: []float32{},
	}
	if diff := cmp.Diff(want, got, public); diff != "" {
		t.Error(diff)
	}
}

func TestPaddingFreeBatch(t *testing.T) {
	ds := rowsOf(t, toyOptions(), 4, 3)
	got := batchOf(t, loaderOf(t, ds, LoaderOptions{BatchSize: 2, PaddingFree: true}), 0, 0)
	if got.Padding != 0 || !slices.Equal(got.Cu, []int32{0, 4, 7}) || got.Targets[3] != IgnoreIndex || got.Positions[4] != 0 || got.Trained != 5 {
		t.Errorf("%+v", got)
	}
}

// TestPadIsEOS: where EOS also pads, the EOS that ends the document is trained and the padding is not.
func TestPadIsEOS(t *testing.T) {
	ds := rowsOf(t, toyOptions(), 4, 3)
	ds.padID = 2
	got := batchOf(t, loaderOf(t, ds, LoaderOptions{BatchSize: 2}), 0, 0)
	if got.Targets[5] != 2 || got.Targets[6] != IgnoreIndex || got.Padding != 1 || got.Lens[1] != 3 {
		t.Errorf("%+v", got)
	}
}

func TestPackBestFit(t *testing.T) {
	// The example of TRL's documentation, its rows cut to 4 first.
	b := packBestFit([]int32{4, 2, 3, 1}, 4)
	var got [][]int32
	for k := range b.len() {
		got = append(got, b.bin(int32(k)))
	}
	if diff := cmp.Diff([][]int32{{0}, {2, 3}, {1}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestPackBestFitProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		capacity := rapid.IntRange(1, 200).Draw(t, "capacity")
		lengths := rapid.SliceOfN(rapid.Int32Range(1, int32(capacity)), 1, 300).Draw(t, "lengths")
		b := packBestFit(lengths, capacity)
		seen := make([]int, len(lengths))
		total, small := 0, 0
		for k := range b.len() {
			sum := 0
			for _, row := range b.bin(int32(k)) {
				seen[row]++
				sum += int(lengths[row])
			}
			if sum > capacity || sum == 0 {
				t.Fatalf("bin %d holds %d of %d", k, sum, capacity)
			}
			if 2*sum <= capacity {
				small++
			}
			total += sum
		}
		if i := slices.IndexFunc(seen, func(n int) bool { return n != 1 }); i >= 0 {
			t.Fatalf("row %d is packed %d times", i, seen[i])
		}
		if small > 1 {
			t.Fatalf("%d bins are at most half full: two of them would fit into one", small)
		}
	})
}

// The tokens of a micro-batch are known without filling it.
func TestTokensOfMicroBatches(t *testing.T) {
	opt := toyOptions()
	opt.MaxLength = 16
	ds := rowsOf(t, opt, 9, 3, 4, 12, 5, 16, 3, 7, 7, 10, 4, 6, 3)
	for name, lo := range map[string]LoaderOptions{
		"padded": {BatchSize: 3}, "padding-free": {BatchSize: 3, PaddingFree: true}, "grouped": {BatchSize: 3, GroupByLength: true},
		"packed": {BatchSize: 2, Packing: PackBestFit}, "wrapped": {BatchSize: 2, Packing: PackWrapped}, "last dropped": {BatchSize: 3, DropLast: true},
	} {
		lo.Shuffle = true
		l := loaderOf(t, ds, lo)
		for epoch := range 2 {
			for i := range l.MicroBatches(epoch) {
				b := batchOf(t, l, epoch, i)
				if n, err := l.Tokens(epoch, i); err != nil || n != len(b.Tokens)-b.Padding {
					t.Errorf("%s: micro-batch %d of epoch %d has %d tokens, found %d, %v", name, i, epoch, len(b.Tokens)-b.Padding, n, err)
				}
			}
		}
		if _, err := l.Tokens(0, l.MicroBatches(0)); err == nil {
			t.Errorf("%s: a micro-batch beyond the last has tokens", name)
		}
	}
}

// TestEveryTargetOnce: whatever the layout, an epoch holds every row's tokens in order, and every target once.
func TestEveryTargetOnce(t *testing.T) {
	lengths := []int{9, 3, 4, 12, 5, 16, 3, 7, 7, 10, 4, 6, 3}
	opt := toyOptions()
	opt.MaxLength = 16
	ds := rowsOf(t, opt, lengths...)
	targets := 0
	for _, n := range lengths {
		targets += n - 1
	}
	for name, lo := range map[string]LoaderOptions{
		"padded": {BatchSize: 3}, "padding-free": {BatchSize: 3, PaddingFree: true},
		"grouped": {BatchSize: 3, GroupByLength: true}, "packed": {BatchSize: 2, Packing: PackBestFit},
	} {
		for _, shuffle := range []bool{false, true} {
			lo.Shuffle, lo.Seed = shuffle, 7
			l := loaderOf(t, ds, lo)
			for epoch := range 3 {
				trained, seen := 0, map[Ref]int{}
				for i := range l.MicroBatches(epoch) {
					b := batchOf(t, l, epoch, i)
					checkBatch(t, b, l.Limits())
					trained += b.Trained
					for _, r := range b.Rows {
						seen[r]++
					}
				}
				if trained != targets || len(seen) != len(lengths) {
					t.Errorf("%s: epoch %d trains %d of %d targets in %d rows", name, epoch, trained, targets, len(seen))
				}
			}
		}
	}
}

// checkBatch holds a batch's invariants.
func checkBatch(t *testing.T, b *Batch, lim Limits) {
	t.Helper()
	n := len(b.Tokens)
	if len(b.Positions) != n || len(b.Targets) != n || int(b.Cu[len(b.Cu)-1]) != n || b.Cu[0] != 0 || len(b.Rows) != len(b.Lens) {
		t.Fatalf("shapes: %+v", b)
	}
	if n > lim.Tokens || b.Sequences() > lim.Sequences || b.MaxLen > lim.SeqLen {
		t.Fatalf("%d tokens, %d sequences, longest %d are over the limits %+v", n, b.Sequences(), b.MaxLen, lim)
	}
	trained, padding := 0, 0
	for s := range b.Lens {
		from, to := b.Cu[s], b.Cu[s+1]
		end := from + b.Lens[s]
		padding += int(to - end)
		for i := from; i < to; i++ {
			if b.Positions[i] != i-from {
				t.Fatalf("position of %d is %d", i, b.Positions[i])
			}
			target := b.Targets[i]
			if i+1 >= end && target != IgnoreIndex || target != IgnoreIndex && target != b.Tokens[i+1] {
				t.Fatalf("target of %d is %d", i, target)
			}
			if target != IgnoreIndex {
				trained++
			}
		}
	}
	if trained != b.Trained || padding != b.Padding {
		t.Fatalf("counted %d trained and %d padding, batch says %d and %d", trained, padding, b.Trained, b.Padding)
	}
}

func TestWrapped(t *testing.T) {
	opt := toyOptions()
	opt.MaxLength, opt.Overflow = 8, KeepLong
	lengths := []int{20, 3, 5, 8, 30, 4}
	ds := rowsOf(t, opt, lengths...)
	total := 0
	for _, n := range lengths {
		total += n
	}
	for _, shuffle := range []bool{false, true} {
		l := loaderOf(t, ds, LoaderOptions{BatchSize: 2, Packing: PackWrapped, Shuffle: shuffle, Seed: 3})
		tokens := 0
		for i := range l.MicroBatches(0) {
			b := batchOf(t, l, 0, i)
			checkBatch(t, b, l.Limits())
			tokens += len(b.Tokens)
			if i+1 < l.MicroBatches(0) && len(b.Tokens) != 16 {
				t.Errorf("micro-batch %d has %d tokens, want 16", i, len(b.Tokens))
			}
		}
		if tokens != total {
			t.Errorf("%d tokens, want %d", tokens, total)
		}
	}
	if _, err := NewLoader(ds, LoaderOptions{BatchSize: 2}); err == nil {
		t.Error("rows longer than max_length are batched without packing")
	}
}

func TestSplitLong(t *testing.T) {
	opt := toyOptions()
	opt.MaxLength, opt.Overflow = 8, SplitLong
	ds := rowsOf(t, opt, 20, 3, 9)
	var got []int
	for i := range ds.Len() {
		got = append(got, ds.Length(i))
	}
	if diff := cmp.Diff([]int{8, 8, 4, 3, 8}, got); diff != "" { // the window of one token trains nothing
		t.Error(diff)
	}
}

// TestOrder: the order depends on seed and epoch only, not on goroutines, the cache or what was asked before.
func TestOrder(t *testing.T) {
	var lengths []int
	for i := range 200 {
		lengths = append(lengths, 3+i*7%50)
	}
	opt := toyOptions()
	opt.MaxLength = 64
	order := func(procs int, lo LoaderOptions, epochs ...int) (out []string) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		l := loaderOf(t, rowsOf(t, opt, lengths...), lo)
		for _, e := range epochs {
			line := ""
			for i := range l.MicroBatches(e) {
				for _, r := range batchOf(t, l, e, i).Rows {
					line += fmt.Sprintf(" %d", r.Line)
				}
			}
			out = append(out, line)
		}
		return out
	}
	for _, lo := range []LoaderOptions{{BatchSize: 4}, {BatchSize: 4, GroupByLength: true}, {BatchSize: 4, Packing: PackBestFit}, {BatchSize: 4, Packing: PackWrapped}} {
		lo.Shuffle, lo.Seed = true, 42
		one := order(1, lo, 0, 1, 2)
		four := order(4, lo, 2, 1, 0)
		if one[0] != four[2] || one[1] != four[1] || one[2] != four[0] {
			t.Errorf("%+v: order depends on GOMAXPROCS or on history", lo)
		}
		if one[0] == one[1] {
			t.Errorf("%+v: epochs 0 and 1 have the same order", lo)
		}
		lo.Seed = 43
		if other := order(2, lo, 0); other[0] == one[0] {
			t.Errorf("%+v: the seed changes nothing", lo)
		}
	}
}

func TestGroupByLengthPadsLess(t *testing.T) {
	var lengths []int
	for i := range 400 {
		lengths = append(lengths, 3+i*37%60)
	}
	ds := rowsOf(t, toyOptions(), lengths...)
	plain := loaderOf(t, ds, LoaderOptions{BatchSize: 8, Shuffle: true})
	grouped := loaderOf(t, ds, LoaderOptions{BatchSize: 8, Shuffle: true, GroupByLength: true})
	if p, g := plain.Efficiency(0), grouped.Efficiency(0); !(g > 0.95 && p < 0.7) {
		t.Errorf("efficiency %v grouped, %v plain", g, p)
	}
}

func TestFillAllocatesNothing(t *testing.T) {
	ds := rowsOf(t, toyOptions(), 50, 40, 30, 20)
	l := loaderOf(t, ds, LoaderOptions{BatchSize: 4})
	var b Batch
	if err := l.Fill(&b, 0, 0); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(50, func() {
		if err := l.Fill(&b, 0, 0); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations a batch", n)
	}
}

func TestLoaderErrors(t *testing.T) {
	ds := rowsOf(t, toyOptions(), 5, 5, 5)
	for _, lo := range []LoaderOptions{{}, {BatchSize: 4, DropLast: true}, {BatchSize: 1, Packing: "ffd"},
		{BatchSize: 1, Packing: PackBestFit, GroupByLength: true}} {
		if _, err := NewLoader(ds, lo); err == nil {
			t.Errorf("%+v is accepted", lo)
		}
	}
	l := loaderOf(t, ds, LoaderOptions{BatchSize: 2})
	for _, i := range []int{-1, 2} {
		if _, err := l.Batch(0, i); err == nil {
			t.Errorf("micro-batch %d is given", i)
		}
	}
	if n := loaderOf(t, ds, LoaderOptions{BatchSize: 2, DropLast: true}).MicroBatches(0); n != 1 {
		t.Errorf("%d full micro-batches, want 1", n)
	}
}
