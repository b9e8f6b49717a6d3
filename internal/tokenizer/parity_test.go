package tokenizer

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

// TestParity compares this package with Hugging Face's library on large texts. tools/tokenizer_parity.py makes the
// material and says how to run this test.
func TestParity(t *testing.T) {
	dir := os.Getenv("MLTRAIN_TOKENIZER_PARITY")
	if dir == "" {
		t.Skip("set MLTRAIN_TOKENIZER_PARITY to a folder made by tools/tokenizer_parity.py")
	}
	folders, err := filepath.Glob(filepath.Join(dir, "*", "ids.bin"))
	if err != nil || len(folders) == 0 {
		t.Fatalf("no ids.bin in %s/*: %v", dir, err)
	}
	docs, err := readDocs(filepath.Join(dir, "text.bin"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range folders {
		folder := filepath.Dir(path)
		t.Run(filepath.Base(folder), func(t *testing.T) {
			tok, err := Load(folder)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			want := make([]int32, len(raw)/4)
			for i := range want {
				want[i] = int32(binary.LittleEndian.Uint32(raw[4*i:]))
			}
			total, bad := 0, 0
			for _, doc := range docs {
				n := int(want[0])
				next := want[1 : 1+n]
				want = want[1+n:]
				total += n
				got, err := tok.AppendIDs(nil, doc, true)
				if err != nil {
					t.Fatal(err)
				}
				e, err := tok.Encode(doc, EncodeOptions{AddSpecialTokens: true})
				if err != nil {
					t.Fatal(err)
				}
				at := max(firstDifference(got, next), firstDifference(e.IDs, next))
				if at < 0 {
					continue
				}
				if bad++; bad <= 5 {
					place := len(doc)
					if at < e.Len() {
						place = e.Offsets[at][0]
					}
					t.Errorf("token %d at byte %d: got %d, want %d, near %q", at, place, window(got, at), window(next, at),
						doc[max(0, place-20):min(len(doc), place+40)])
				}
			}
			if len(want) != 0 {
				t.Errorf("%d ids are left over", len(want))
			}
			t.Logf("%d texts, %d tokens, %d texts differ", len(docs), total, bad)
		})
	}
}

// readDocs reads texts that are each preceded by their length as a uint32.
func readDocs(path string) ([]string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var docs []string
	for len(raw) >= 4 {
		n := binary.LittleEndian.Uint32(raw)
		docs = append(docs, string(raw[4:4+n]))
		raw = raw[4+n:]
	}
	return docs, nil
}

func firstDifference(a, b []int32) int {
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			return i
		}
	}
	return -1
}

func window(ids []int32, at int) []int32 {
	return ids[min(at, len(ids)):min(at+6, len(ids))]
}
