package checkpoint

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/mltrain/mltrain/internal/tensor"
)

func f32(name string, shape []int, values ...float32) Tensor {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return Tensor{Name: name, DType: tensor.F32, Shape: shape, Data: b}
}

// ramp32 is the ramp of tools/goldens/safetensors_golden.py: -n/4, -n/4 + 0.5, ….
func ramp32(n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(i)*0.5 - float32(n)/4
	}
	return out
}

// goldenTensors are those that tools/goldens/safetensors_golden.py stored.
func goldenTensors() []Tensor {
	half := []byte{}
	for _, v := range []uint16{0xbd00, 0xba00, 0xb400, 0x3400, 0x3a00} { // -1.25, -0.75, -0.25, 0.25, 0.75
		half = binary.LittleEndian.AppendUint16(half, v)
	}
	var brain, ids []byte
	for _, v := range ramp32(7) {
		brain = binary.LittleEndian.AppendUint16(brain, uint16(math.Float32bits(v)>>16))
	}
	for i := int32(-2); i < 3; i++ {
		ids = binary.LittleEndian.AppendUint32(ids, uint32(i))
	}
	return []Tensor{
		f32("model.layers.10.weight", []int{3, 4}, ramp32(12)...),
		f32("model.layers.2.weight", []int{2, 3}, ramp32(6)...),
		{Name: "half", DType: tensor.F16, Shape: []int{5}, Data: half},
		{Name: "brain", DType: tensor.BF16, Shape: []int{1, 7}, Data: brain},
		{Name: "ids", DType: tensor.I32, Shape: []int{5}, Data: ids},
		{Name: "codes", DType: tensor.U8, Shape: []int{3}, Data: []byte{0, 1, 2}},
		f32("scalar", nil, 1.5),
		f32("empty", []int{0, 4}),
		f32("quoted \"name\"\\é", []int{1}, 2),
	}
}

// checkContents compares all that a reader gives with the tensors that were written.
func checkContents(t *testing.T, r *Reader, want []Tensor) {
	t.Helper()
	names := []string{}
	for _, w := range want {
		names = append(names, w.Name)
		b, err := r.Bytes(w.Name)
		if err != nil {
			t.Error(err)
			continue
		}
		info, _ := r.Info(w.Name)
		dt, _ := ParseDType(info.DType)
		if !bytes.Equal(b, w.Data) || dt != w.DType || !slices.Equal(info.Shape, w.Shape) || info.Bytes != int64(len(w.Data)) {
			t.Errorf("%s: read %+v %v, wrote %s%v %v", w.Name, info, b, w.DType, w.Shape, w.Data)
		}
	}
	slices.Sort(names)
	if d := cmp.Diff(names, r.Names(), cmpopts.EquateEmpty()); d != "" {
		t.Error(d)
	}
}

const goldenDir = "../../testdata/safetensors"

func TestReadsReferenceFiles(t *testing.T) {
	r, err := OpenFile(filepath.Join(goldenDir, "golden.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	checkContents(t, r, goldenTensors())

	other, err := OpenFile(filepath.Join(goldenDir, "other_dtypes.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	types := map[string]string{}
	for _, name := range other.Names() {
		info, _ := other.Info(name)
		types[name] = info.DType
		if _, err := other.Bytes(name); (err == nil) != (name == "plain") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if d := cmp.Diff(map[string]string{"f8": "F8_E4M3", "f64": "F64", "i64": "I64", "flag": "BOOL", "plain": "F32"}, types); d != "" {
		t.Error(d)
	}
}

// Our file is byte for byte that of safetensors.torch.save_file, whatever order the tensors are given in.
func TestWritesReferenceBytes(t *testing.T) {
	want, err := os.ReadFile(filepath.Join(goldenDir, "golden.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.safetensors")
	for _, reverse := range []bool{false, true} {
		ts := goldenTensors()
		if reverse {
			slices.Reverse(ts)
		}
		if err := WriteFile(path, ts, map[string]string{"format": "pt"}); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("reversed %v: wrote\n%q\nthe reference program\n%q", reverse, got, want)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		dtypes := []tensor.DType{tensor.F32, tensor.BF16, tensor.F16, tensor.I32, tensor.U8}
		var ts []Tensor
		for _, name := range rapid.SliceOfNDistinct(rapid.StringN(1, 12, -1), 0, 8, rapid.ID[string]).Draw(rt, "names") {
			x := Tensor{Name: name, DType: rapid.SampledFrom(dtypes).Draw(rt, "dtype"),
				Shape: rapid.SliceOfN(rapid.IntRange(0, 4), 0, 4).Draw(rt, "shape")}
			if name == metadataKey {
				continue
			}
			n, ok := x.Bytes()
			if !ok {
				rt.Fatalf("no size of %+v", x)
			}
			x.Data = rapid.SliceOfN(rapid.Byte(), int(n), int(n)).Draw(rt, "data")
			ts = append(ts, x)
		}
		meta := rapid.MapOf(rapid.String(), rapid.String()).Draw(rt, "metadata")
		a, b := filepath.Join(dir, "a.safetensors"), filepath.Join(dir, "b.safetensors")
		if err := WriteFile(a, ts, meta); err != nil {
			rt.Fatal(err)
		}
		r, err := OpenFile(a)
		if err != nil {
			rt.Fatal(err)
		}
		defer r.Close()
		checkContents(t, r, ts)
		if got := r.Metadata(); !maps.Equal(got, meta) {
			rt.Fatalf("metadata %q, wrote %q", got, meta)
		}
		// Written again from what was read, by streaming, the bytes are the same.
		var again []Tensor
		for _, name := range r.Names() {
			info, _ := r.Info(name)
			dt, _ := ParseDType(info.DType)
			again = append(again, Tensor{Name: name, DType: dt, Shape: info.Shape, Write: func(w io.Writer) error {
				data, err := r.Bytes(name)
				for i := 0; err == nil && i < len(data); i++ {
					_, err = w.Write(data[i : i+1])
				}
				return err
			}})
		}
		if err := WriteFile(b, again, r.Metadata()); err != nil {
			rt.Fatal(err)
		}
		first, err1 := os.ReadFile(a)
		second, err2 := os.ReadFile(b)
		if err := errors.Join(err1, err2); err != nil {
			rt.Fatal(err)
		}
		if !bytes.Equal(first, second) {
			rt.Fatal("rewriting changed the file")
		}
		if len(first) < 8 || binary.LittleEndian.Uint64(first)%8 != 0 {
			rt.Fatal("data does not start at a multiple of 8")
		}
	})
}

func TestWriterRefuses(t *testing.T) {
	boom := errors.New("boom")
	write := func(n int) func(io.Writer) error {
		return func(w io.Writer) error {
			_, err := w.Write(make([]byte, n))
			return err
		}
	}
	for _, c := range []struct {
		name    string
		tensors []Tensor
		want    []string
	}{
		{"all faults at once", []Tensor{
			f32("a", []int{2}, 1, 2), f32("a", []int{1}, 1), f32("", []int{1}, 1), f32(metadataKey, []int{1}, 1), f32("\xff", []int{1}, 1),
			f32("short", []int{3}, 1), {Name: "dtype", Shape: []int{1}}, f32("negative", []int{-1}), f32("huge", []int{1 << 40, 1 << 40}),
			{Name: "both", DType: tensor.U8, Shape: []int{1}, Data: []byte{1}, Write: write(1)},
		}, []string{"9 faults", `"a" is given twice`, `"" cannot`, `"__metadata__" cannot`, `"\xff" cannot`, `"short"`, "needs 12 bytes", `"dtype"`,
			`"negative"`, `"huge"`, `"both" has both`}},
		{"too little", []Tensor{{Name: "w", DType: tensor.F32, Shape: []int{2}, Write: write(7)}}, []string{`"w"`, "needs 8 bytes, 7 were written"}},
		{"too much", []Tensor{{Name: "w", DType: tensor.F32, Shape: []int{2}, Write: write(9)}}, []string{`"w"`, "1 bytes more"}},
		{"error from the source", []Tensor{{Name: "w", DType: tensor.F32, Shape: []int{2}, Write: func(io.Writer) error { return boom }}}, []string{`"w"`, "boom"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "x.safetensors")
			err := WriteFile(path, c.tensors, nil)
			wantErr(t, err, nil, append(c.want, path)...)
			if left := dirNames(t, dir); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestSharding(t *testing.T) {
	var ts []Tensor
	for i := range 5 {
		ts = append(ts, f32(fmt.Sprintf("layer.%d", i), []int{2}, float32(i), float32(-i))) // 8 bytes each
	}
	big := f32("big", []int{10}, make([]float32, 10)...)
	for _, c := range []struct {
		name    string
		tensors []Tensor
		max     int64
		want    map[string][]string
	}{
		{"fits", ts, 40, map[string][]string{SingleFile: {"layer.0", "layer.1", "layer.2", "layer.3", "layer.4"}}},
		{"default size", ts, 0, map[string][]string{SingleFile: {"layer.0", "layer.1", "layer.2", "layer.3", "layer.4"}}},
		{"two", ts, 39, map[string][]string{
			"model-00001-of-00002.safetensors": {"layer.0", "layer.1", "layer.2", "layer.3"}, "model-00002-of-00002.safetensors": {"layer.4"}}},
		{"one each", ts[:2], 1, map[string][]string{"model-00001-of-00002.safetensors": {"layer.0"}, "model-00002-of-00002.safetensors": {"layer.1"}}},
		{"big one alone", []Tensor{ts[0], big, ts[1]}, 16, map[string][]string{"model-00001-of-00003.safetensors": {"layer.0"},
			"model-00002-of-00003.safetensors": {"big"}, "model-00003-of-00003.safetensors": {"layer.1"}}},
		{"no tensor", nil, 16, map[string][]string{SingleFile: nil}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			names, err := writeWeights(dir, c.tensors, c.max)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(dirNames(t, dir), slices.Sorted(slices.Values(names))); d != "" {
				t.Error(d)
			}
			r, err := Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			checkContents(t, r, c.tensors)
			for file, tensors := range c.want {
				for _, name := range tensors {
					if info, _ := r.Info(name); filepath.Base(info.File) != file {
						t.Errorf("%s is in %s, want %s", name, info.File, file)
					}
				}
			}
			if len(c.want) == 1 {
				return
			}
			var index struct {
				Metadata  map[string]int64  `json:"metadata"`
				WeightMap map[string]string `json:"weight_map"`
			}
			text, err := os.ReadFile(filepath.Join(dir, IndexFile))
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(text, &index); err != nil {
				t.Fatal(err)
			}
			total := int64(0)
			for _, x := range c.tensors {
				total += int64(len(x.Data))
			}
			if index.Metadata["total_size"] != total || len(index.WeightMap) != len(c.tensors) {
				t.Errorf("index says\n%s", text)
			}
			if !strings.HasPrefix(string(text), "{\n  \"metadata\": {\n    \"total_size\": ") {
				t.Errorf("index is not laid out as Hugging Face does:\n%s", text)
			}
		})
	}
}

// dirNames lists a directory, hidden files included.
func dirNames(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func BenchmarkOpen(b *testing.B) {
	var ts []Tensor
	for i := range 300 {
		ts = append(ts, f32(fmt.Sprintf("model.layers.%d.self_attn.q_proj.weight", i), []int{1, 1}, 1))
	}
	path := filepath.Join(b.TempDir(), "x.safetensors")
	if err := WriteFile(path, ts, nil); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		r, err := OpenFile(path)
		if err != nil {
			b.Fatal(err)
		}
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
