package tensorboard

import (
	"bytes"
	"encoding/hex"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func replaceFile(path string, write func(io.Writer) error) error {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o666)
}

// clock gives a second later each time, from a fixed one on.
func clock() func() time.Time {
	t := time.Unix(1700000000, 0)
	return func() time.Time {
		t = t.Add(time.Second)
		return t
	}
}

func steps(t *testing.T, dir string) (out []int64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, filePrefix+"*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("event files %v: %v", files, err)
	}
	raw, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for len(raw) > 0 {
		data, rest, ok := nextRecord(raw)
		if !ok {
			t.Fatalf("damaged record after %d", len(out))
		}
		s, ok := stepOf(data)
		if !ok {
			t.Fatalf("no event: %x", data)
		}
		out = append(out, s)
		raw = rest
	}
	return out
}

// The bytes are those that TensorBoard 2.21.0's own RecordWriter makes of the same event.
func TestEqualsTensorBoardsWriter(t *testing.T) {
	var e message
	e.double(1, 1700000001.5)
	e.varint(2, 7)
	var v, s message
	v.text(1, "train/loss")
	v.float(2, 2.25)
	s.bytes(1, v)
	e.bytes(5, s)
	got := hex.EncodeToString(appendRecord(nil, e))
	const want = "200000000000000029eda9500900006040fc54d94110072a130a110a0a747261696e2f6c6f73731500001040605efb9e"
	if got != want {
		t.Errorf("record\n%s, want\n%s", got, want)
	}
}

func TestResumeDropsLaterSteps(t *testing.T) {
	dir, now := filepath.Join(t.TempDir(), "runs"), clock()
	w, err := open(dir, 0, replaceFile, now)
	if err != nil {
		t.Fatal(err)
	}
	var h Histogram
	for _, x := range []float64{-1, 0, 1e-3, math.NaN(), 2} {
		h.Add(x)
	}
	for step := int64(1); step <= 3; step++ {
		for _, err := range []error{w.Scalars(step, map[string]float64{"train/loss": 1, "train/lr": 2}), w.Text(step, "samples", "a"), w.Histogram(step, "g", &h)} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	// A killed process leaves half a record.
	if _, err := w.f.Write([]byte{9, 0, 0}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if w, err = open(dir, 2, replaceFile, now); err != nil {
		t.Fatal(err)
	}
	if err := w.Scalars(3, map[string]float64{"train/loss": 5}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got, want := steps(t, dir), []int64{0, 1, 1, 1, 2, 2, 2, 3}; !equal(got, want) {
		t.Errorf("steps after resuming: %v, want %v", got, want)
	}
	if w, err = open(dir, 0, replaceFile, now); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got := steps(t, dir); !equal(got, []int64{0}) {
		t.Errorf("a new run goes on with the old file: %v", got)
	}
}

func equal(a, b []int64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestHistogramCountsAll(t *testing.T) {
	var h Histogram
	values := []float64{0, 0, 1e-30, -1e-30, 3, -3, 1e25, math.Inf(1)}
	for _, v := range values {
		h.Add(v)
	}
	var n float64
	for i, c := range h.counts {
		n += c
		if c > 0 && i > 0 && h.limits[i-1] > h.max {
			t.Errorf("a value in a bucket from %g", h.limits[i-1])
		}
	}
	if n != 7 || h.num != 7 || h.min != -3 || h.max != 1e25 {
		t.Errorf("counted %g of 7 values, from %g to %g", n, h.min, h.max)
	}
}

func FuzzUpTo(f *testing.F) {
	var e message
	e.varint(2, 3)
	f.Add(appendRecord(appendRecord(nil, e), []byte("x")), int64(5))
	f.Add([]byte{1, 2, 3}, int64(0))
	f.Fuzz(func(t *testing.T, file []byte, step int64) {
		kept := upTo(file, step)
		if again := upTo(kept, step); !bytes.Equal(kept, again) {
			t.Error("what was kept is not kept again")
		}
	})
}
