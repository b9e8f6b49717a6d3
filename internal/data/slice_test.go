package data

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// The places are those that Hugging Face's datasets 5.2 finds for these splits.
func TestSliceOf(t *testing.T) {
	for split, want := range map[string]window{
		"train": {0, 25}, "train[:]": {0, 25}, "train[:10%]": {0, 2}, "train[10%:]": {2, 25}, "train[:30%]": {0, 8}, "train[30%:]": {8, 25},
		"train[-10%:]": {23, 25}, "train[:-10%]": {0, 23}, "train[20%:40%]": {5, 10}, "train[3:7]": {3, 7}, "train[-3:]": {22, 25},
		"train[:-3]": {0, 22}, "train[20:99]": {20, 25}, "train[-99:2]": {0, 2}, " train [:1]": {0, 1}, "[5:]": {5, 25}, "train[7:7]": {7, 7},
	} {
		name, s, err := ParseSplit(split)
		if err != nil {
			t.Errorf("%s: %v", split, err)
			continue
		}
		if lo, hi := s.Of(25); lo != want.lo || hi != want.hi {
			t.Errorf("%s of 25 is %d…%d, want %d…%d", split, lo, hi, want.lo, want.hi)
		}
		if wantName := strings.TrimSpace(strings.Split(split, "[")[0]); name != wantName {
			t.Errorf("%s: the name is %q", split, name)
		}
	}
	for split, want := range map[string]string{
		"train[10:%]": "number is missing", "train[1:10%]": "the other is not", "train[:101%]": "beyond 100%", "train[:10%]+test": "joined by +",
		"train[5]": "not understood", "train[::2]": "not understood", "train]": "not understood", "train[:99999999999999999999]": "too large",
	} {
		if _, _, err := ParseSplit(split); !errors.Is(err, ErrSplit) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", split, err, want)
		}
	}
}

// Two parts at one place have every row once between them.
func TestSlicesAreComplementary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, p := rapid.IntRange(0, 1000).Draw(t, "n"), rapid.IntRange(-100, 100).Draw(t, "p")
		_, a, errA := ParseSplit(fmt.Sprintf("x[:%d%%]", p))
		_, b, errB := ParseSplit(fmt.Sprintf("x[%d%%:]", p))
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		lo, mid := a.Of(n)
		next, hi := b.Of(n)
		if lo != 0 || hi != n || mid != next && p != 0 {
			t.Errorf("%d rows at %d%%: %d…%d and %d…%d", n, p, lo, mid, next, hi)
		}
	})
}

func FuzzParseSplit(f *testing.F) {
	for _, s := range []string{"train", "train[:10%]", "[-5:]", "a[1:2]+b", "train[", "x[%:%]"} {
		f.Add(s, 10)
	}
	f.Fuzz(func(t *testing.T, text string, n int) {
		_, s, err := ParseSplit(text)
		if n < 0 || n > 1<<40 || err != nil {
			return
		}
		if lo, hi := s.Of(n); lo < 0 || lo > n || hi < 0 || hi > n {
			t.Errorf("%q of %d is %d…%d", text, n, lo, hi)
		}
	})
}

// A slice runs over the files of a split in order, counts rows that are dropped, and text files as one row each.
func TestOpenSlices(t *testing.T) {
	var one, two strings.Builder
	for i := range 10 {
		fmt.Fprintf(&one, "{\"text\":\"a%d\"}\n\n", i)
		fmt.Fprintf(&two, "{\"text\":\"b%d\"}\n", i)
	}
	dir := write(t, "train-1.jsonl", one.String()+`{"text":""}`+"\n", "train-2.jsonl", two.String(), "test.jsonl", `{"text":"t"}`,
		"text/1.txt", "one", "text/2.txt", strings.Repeat("two ", 20), "text/3.txt", "three")
	opt := toyOptions()
	opt.CacheDir = t.TempDir()
	texts := func(path, split string) string {
		t.Helper()
		ds, ledger, err := Open(t.Context(), []Source{{Path: path, Split: split}}, opt, toyTokenizer{})
		if err != nil {
			t.Fatalf("%s: %v", split, err)
		}
		defer ds.Close()
		if ledger.Rows != ledger.Kept+ledger.DroppedRows() {
			t.Errorf("%s: ledger %+v", split, ledger)
		}
		var out []string
		for i := range ds.Len() {
			ex, err := ds.Example(i)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, strings.Trim(toyTokenizer{}.Decode(ex.IDs), "</s>"))
		}
		return strings.Join(out, " ")
	}
	for _, tc := range []struct{ split, want string }{
		{"train[:2]", "a0 a1"}, {"train[8:12]", "a8 a9 b0"}, {"train[-2:]", "b8 b9"}, {"train[:10%]", "a0 a1"}, {"train[90%:]", "b8 b9"},
		{"train[50%:60%]", "b0 b1"}, {"test[:100%]", "t"}, {"train[:2]", "a0 a1"},
	} {
		if got := texts(dir, tc.split); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.split, got, tc.want)
		}
	}
	if got := texts(dir+"/text", "[2:]"); !strings.Contains(got, "three") || strings.Contains(got, "two") {
		t.Errorf("the third text file is %q", got)
	}
	var rows []string
	err := ReadRows([]Source{{Path: dir, Split: "train[-12:-9]"}}, func(r Row, err error) error {
		rows = append(rows, r.Text)
		return err
	})
	if diff := cmp.Diff([]string{"a9", "", "b0"}, rows); diff != "" || err != nil {
		t.Errorf("ReadRows: %v %s", err, diff)
	}
	for split, want := range map[string]string{"train[21:]": "has no rows", "train[5:5]": "holds no row", "test[:10%]": "holds no row of 1", "train[5": "not understood"} {
		if _, _, err := Open(context.Background(), []Source{{Path: dir, Split: split}}, opt, toyTokenizer{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", split, err, want)
		}
	}
}
