package plan

import "testing"

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]int64{
		"24GB": 24e9, "24GiB": 24 << 30, "1.5 M": 3 << 19, "512": 512, "10B": 10, "2kb": 2000, "3K": 3072, "1TiB": 1 << 40,
	} {
		if got, err := ParseBytes(text); err != nil || got != want {
			t.Errorf("%q is %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "GB", "x", "3 apples", "-1", "1e400", "1QB", "9999999TB", "NaN"} {
		if got, err := ParseBytes(text); err == nil {
			t.Errorf("%q is %d", text, got)
		}
	}
}
