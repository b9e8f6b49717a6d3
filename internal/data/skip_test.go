package data

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// Faulty rows are an error, or left out, counted and named; a cache made one way does not serve the other.
func TestSkipBadRows(t *testing.T) {
	rows := "{\"text\": \"one two\"}\n{\"text\": 5}\nnot json\n{\"text\": \"three four\"}\n"
	opt := toyOptions()
	opt.CacheDir = t.TempDir()
	path := filepath.Join(write(t, "a.jsonl", rows), "a.jsonl")
	for range 2 {
		opt.SkipBadRows = true
		ds, ledger, err := Open(t.Context(), []Source{{Path: path}}, opt, toyTokenizer{})
		if err != nil {
			t.Fatal(err)
		}
		if ds.Len() != 2 || ledger.Rows != 4 || ledger.Dropped[DropBadRow] != 2 || len(ledger.Warnings) != 2 {
			t.Errorf("%d rows kept, ledger %+v", ds.Len(), ledger)
		}
		for i, at := range []string{"a.jsonl:2", "a.jsonl:3"} {
			if i < len(ledger.Warnings) && !strings.Contains(ledger.Warnings[i].First.String(), at) {
				t.Errorf("warning %+v does not name %s", ledger.Warnings[i], at)
			}
		}
		if err := ds.Close(); err != nil {
			t.Fatal(err)
		}
		opt.SkipBadRows = false
		if _, _, err := Open(t.Context(), []Source{{Path: path}}, opt, toyTokenizer{}); !errors.Is(err, ErrRows) {
			t.Errorf("faulty rows are taken: %v", err)
		}
	}
}
