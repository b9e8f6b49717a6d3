package metric

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// load reads a file of testdata/metrics, made by tools/goldens/metrics.py.
func load(t *testing.T, name string, into any) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "..", "testdata", "metrics", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// number is a golden number; the string "nan" stands for one that is none.
type number float64

func (n *number) UnmarshalJSON(raw []byte) error {
	if string(raw) == `"nan"` {
		*n = number(math.NaN())
		return nil
	}
	var f float64
	err := json.Unmarshal(raw, &f)
	*n = number(f)
	return err
}

// near compares to 1e-12 of the larger of 1 and the golden.
func near(t *testing.T, what string, got float64, want number) {
	t.Helper()
	w := float64(want)
	if math.IsNaN(got) != math.IsNaN(w) || math.Abs(got-w) > 1e-12*max(1, math.Abs(w)) {
		t.Errorf("%s: %.17g, want %.17g", what, got, w)
	}
}

func nearAll(t *testing.T, what string, got []float64, want []number) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d numbers, want %d", what, len(got), len(want))
		return
	}
	for i := range got {
		near(t, what, got[i], want[i])
	}
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
