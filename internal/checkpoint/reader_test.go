package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
)

// rawFile is a safetensors file of any header text, for files that no sound writer makes.
func rawFile(header string, data []byte) []byte {
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(out, header...), data...)
}

func writeTestFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
}

// wantErr fails unless err wraps kind and its text holds every part.
func wantErr(t *testing.T, err, kind error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if kind != nil && !errors.Is(err, kind) {
		t.Errorf("error %q does not wrap %q", err, kind)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error does not say %q:\n%v", p, err)
		}
	}
}

// hostileHeaders are headers over 8 bytes of data that must be refused, and what the refusal says.
var hostileHeaders = []struct{ name, header, want string }{
	{"empty header", ``, "does not start with '{'"},
	{"leading space", ` {}`, "does not start with '{'"},
	{"a list", `[]`, "does not start with '{'"},
	{"cut JSON", `{"a":{"dtype":"F32","shape":[2]`, "ends too early"},
	{"not JSON", `{a}`, "invalid JSON"},
	{"text after the end", `{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}x`, "invalid JSON"},
	{"second object", `{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}{}`, "after the closing brace"},
	{"not UTF-8", "{\"\xff\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", "not valid UTF-8"},
	{"tensor twice", `{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, `key "a" appears twice`},
	{"tensor twice by escape", `{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"\u0061":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, `key "a" appears twice`},
	{"key twice", `{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, `tensor "a": key "dtype" appears twice`},
	{"no dtype", `{"a":{"shape":[2],"data_offsets":[0,8]}}`, `tensor "a": "dtype" is missing`},
	{"no shape", `{"a":{"dtype":"F32","data_offsets":[0,8]}}`, `tensor "a": "shape" is missing`},
	{"no offsets", `{"a":{"dtype":"F32","shape":[2]}}`, `tensor "a": "data_offsets" is missing`},
	{"unknown key", `{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}}`, `tensor "a": unknown key "x"`},
	{"entry is a number", `{"a":1}`, `tensor "a": not a JSON object`},
	{"dtype is a number", `{"a":{"dtype":5,"shape":[2],"data_offsets":[0,8]}}`, `dtype is 5`},
	{"dtype is null", `{"a":{"dtype":null,"shape":[2],"data_offsets":[0,8]}}`, `dtype is null`},
	{"shape is a number", `{"a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}}`, `shape is 2`},
	{"shape is null", `{"a":{"dtype":"F32","shape":null,"data_offsets":[0,8]}}`, `shape is null`},
	{"negative dimension", `{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}`, `shape is [-2]`},
	{"fractional dimension", `{"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}}`, `shape is [2.0]`},
	{"dimension with exponent", `{"a":{"dtype":"F32","shape":[2e0],"data_offsets":[0,8]}}`, `shape is [2e0]`},
	{"dimension as text", `{"a":{"dtype":"F32","shape":["2"],"data_offsets":[0,8]}}`, `shape is ["2"]`},
	{"dimension null", `{"a":{"dtype":"F32","shape":[null],"data_offsets":[0,8]}}`, `shape is [null]`},
	{"dimension of 2^64", `{"a":{"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,8]}}`, `shape is [18446744073709551616]`},
	{"2^60 elements", `{"a":{"dtype":"F32","shape":[1152921504606846976],"data_offsets":[0,8]}}`, "takes more than 2⁶¹ bytes"},
	{"2^58 elements", `{"a":{"dtype":"F32","shape":[288230376151711744],"data_offsets":[0,8]}}`, "needs 1152921504606846976 bytes"},
	{"2^60 squared", `{"a":{"dtype":"F32","shape":[1152921504606846976,1152921504606846976],"data_offsets":[0,8]}}`, "more elements than"},
	{"product wraps to 2", `{"a":{"dtype":"F32","shape":[9223372036854775807,2],"data_offsets":[0,8]}}`, "more elements than"},
	{"bits overflow", `{"a":{"dtype":"F64","shape":[4611686018427387904],"data_offsets":[0,8]}}`, "takes more than 2⁶¹ bytes"},
	{"half a byte", `{"a":{"dtype":"F4","shape":[15],"data_offsets":[0,8]}}`, "not a whole number of bytes"},
	{"zero hides overflow", `{"a":{"dtype":"F32","shape":[0,9223372036854775807,9223372036854775807],"data_offsets":[0,0]}}`, "more elements than"},
	{"three offsets", `{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}}`, "data_offsets is [0,8,8]"},
	{"negative offset", `{"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}`, "data_offsets is [-8,0]"},
	{"offsets backwards", `{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}`, "end before they begin"},
	{"size too small", `{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}`, "F32[3] needs 12 bytes"},
	{"size too big", `{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}`, "F32[1] needs 4 bytes"},
	{"beyond the file", `{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}`, "ends at byte 16 of the data, but the file has only 8"},
	{"far beyond the file", `{"a":{"dtype":"U8","shape":[8],"data_offsets":[9223372036854775799,9223372036854775807]}}`, "belong to no tensor"},
	{"bytes left over", `{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, "the last 4 bytes of the file belong to no tensor"},
	{"no tensor at all", `{}`, "the last 8 bytes of the file belong to no tensor"},
	{"hole", `{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}`, "bytes 2 to 4 of the data belong to no tensor"},
	{"hole at the start", `{"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}`, "bytes 0 to 4 of the data belong to no tensor"},
	{"overlap", `{"a":{"dtype":"U8","shape":[6],"data_offsets":[0,6]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}`, `tensors "a" and "b" overlap`},
	{"same bytes twice", `{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}`, `tensors "a" and "b" overlap`},
	{"empty tensor within another", `{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[0],"data_offsets":[4,4]}}`, `overlap`},
	{"metadata is a list", `{"__metadata__":[],"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, "__metadata__: not a JSON object"},
	{"metadata of numbers", `{"__metadata__":{"x":1},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, `the value of "x" is 1, not a string`},
	{"metadata of null", `{"__metadata__":{"x":null},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, `the value of "x" is null, not a string`},
}

func TestHostileHeaders(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	for _, c := range hostileHeaders {
		t.Run(c.name, func(t *testing.T) {
			writeTestFile(t, path, rawFile(c.header, make([]byte, 8)))
			_, err := OpenFile(path)
			wantErr(t, err, ErrFormat, path, c.want)
		})
	}
}

func TestHostileFiles(t *testing.T) {
	sound := rawFile(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, make([]byte, 8))
	length := func(n uint64) []byte { return append(binary.LittleEndian.AppendUint64(nil, n), "{}"...) }
	path := filepath.Join(t.TempDir(), "x.safetensors")
	for _, c := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "the file is empty"},
		{"seven bytes", make([]byte, 7), "7 bytes, fewer than the 8"},
		{"header of nothing", make([]byte, 8), "does not start with '{'"},
		{"header one byte too long", length(3), "beyond the end of the file"},
		{"header of 100 MB and one", length(maxHeader + 1), "above the format's limit"},
		{"header of 2^64-1", length(1<<64 - 1), "above the format's limit"},
		{"cut in the header", sound[:20], "truncated"},
		{"cut in the data", sound[:len(sound)-1], "truncated"},
		{"Git LFS pointer", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"), "git lfs pull"},
		{"HTML page", []byte("<!DOCTYPE html><html><body>404</body></html>"), "above the format's limit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			writeTestFile(t, path, c.file)
			_, err := OpenFile(path)
			wantErr(t, err, ErrFormat, path, c.want)
		})
	}
	t.Run("every cut of a sound file", func(t *testing.T) {
		for n := range len(sound) {
			writeTestFile(t, path, sound[:n])
			_, err := OpenFile(path)
			wantErr(t, err, ErrFormat)
		}
	})
	t.Run("directory", func(t *testing.T) {
		_, err := OpenFile(t.TempDir())
		wantErr(t, err, ErrFormat, "not a regular file")
	})
	t.Run("missing", func(t *testing.T) {
		_, err := OpenFile(path + ".no")
		wantErr(t, err, os.ErrNotExist, path)
	})
}

func TestAllFaultsAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	writeTestFile(t, path, rawFile(`{"a":{"shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[9],"data_offsets":[0,8]},"c":3}`, make([]byte, 8)))
	_, err := OpenFile(path)
	wantErr(t, err, ErrFormat, "3 faults", `"a"`, `"b"`, `"c"`)

	var many strings.Builder
	for i := range 100 {
		fmt.Fprintf(&many, `"t%d":0,`, i)
	}
	writeTestFile(t, path, rawFile("{"+strings.TrimSuffix(many.String(), ",")+"}", nil))
	_, err = OpenFile(path)
	wantErr(t, err, ErrFormat, "100 faults", "and 80 more")
}

func TestReadsOddButSoundFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "odd.safetensors")
	data := []byte{9, 1, 0, 0, 0, 2, 0, 0, 0, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8}
	header := `{"u":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},` +
		`"f":{"data_offsets":[1,9],"shape":[2],"dtype":"F32"},` +
		`"f8":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[9,11]},` +
		`"new":{"dtype":"Q3_X","shape":[5],"data_offsets":[11,19]},` +
		`"empty":{"dtype":"BF16","shape":[0,7],"data_offsets":[19,19]},` +
		`"none":{"dtype":"F16","shape":[3,0],"data_offsets":[9,9]},` +
		`"__metadata__":{"format":"pt","é":"ü"}}` + "   "
	writeTestFile(t, path, rawFile(header, data))
	r, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"empty", "f", "f8", "new", "none", "u"}, r.Names()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]string{"format": "pt", "é": "ü"}, r.Metadata()); d != "" {
		t.Error(d)
	}
	info, ok := r.Info("f8")
	if d := cmp.Diff(Info{DType: "F8_E4M3", Shape: []int{2}, Bytes: 2, File: path}, info); d != "" || !ok {
		t.Error(ok, d)
	}
	if _, ok := r.Info("no"); ok {
		t.Error("info of a tensor that is not there")
	}
	b, err := r.Bytes("f")
	if err != nil || !bytes.Equal(b, data[1:9]) {
		t.Errorf("misaligned tensor: %v, %v", b, err)
	}
	if uintptr(unsafe.Pointer(&b[0]))%4 != 0 {
		t.Error("misaligned tensor was not copied to an aligned address")
	}
	for _, name := range []string{"empty", "none"} {
		if b, err := r.Bytes(name); err != nil || b == nil || len(b) != 0 {
			t.Errorf("%s: %v, %v", name, b, err)
		}
	}
	_, err = r.Bytes("f8")
	wantErr(t, err, ErrDType, "F8_E4M3", `"f8"`, path)
	_, err = r.Bytes("new")
	wantErr(t, err, ErrDType, "Q3_X")
	_, err = r.Bytes("no")
	wantErr(t, err, ErrNoTensor, `"no"`)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal("second Close:", err)
	}
	_, err = r.Bytes("u")
	wantErr(t, err, ErrClosed)
}

func TestOpenDirectory(t *testing.T) {
	one := func(name string) []byte {
		return rawFile(`{"`+name+`":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, []byte(name + name)[:2])
	}
	for _, c := range []struct {
		name  string
		files map[string][]byte
		kind  error
		want  []string // parts of the error; without kind, the tensors' names
	}{
		{"single", map[string][]byte{SingleFile: one("a")}, nil, []string{"a"}},
		{"single before shards", map[string][]byte{SingleFile: one("a"), IndexFile: []byte("{")}, nil, []string{"a"}},
		{"shards", map[string][]byte{"x.safetensors": one("a"), "y.safetensors": one("b"),
			IndexFile: []byte(`{"metadata":{"total_size":1},"weight_map":{"a":"x.safetensors","b":"y.safetensors"}}`)}, nil, []string{"a", "b"}},
		{"tensor the index forgot", map[string][]byte{
			"x.safetensors": rawFile(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"c":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, []byte{1, 2}),
			IndexFile:       []byte(`{"weight_map":{"a":"x.safetensors"}}`)}, nil, []string{"a", "c"}},
		{"many faults", map[string][]byte{"x.safetensors": one("a"), "y.safetensors": one("a"), "z.safetensors": []byte("x"),
			IndexFile: []byte(`{"weight_map":{"a":"x.safetensors","b":"y.safetensors","c":"z.safetensors","d":"gone.safetensors","a2":"x.safetensors"}}`)},
			ErrFormat, []string{"5 faults", `tensor "a" is in two shards, x.safetensors and y.safetensors`, "shard gone.safetensors is missing",
				"z.safetensors", `tensor "b" is not in y.safetensors`, `tensor "a2" is not in x.safetensors`}},
		{"wrong shard", map[string][]byte{"x.safetensors": one("a"), "y.safetensors": one("b"),
			IndexFile: []byte(`{"weight_map":{"a":"y.safetensors","b":"x.safetensors"}}`)}, ErrFormat,
			[]string{`tensor "a" is in x.safetensors, not in y.safetensors`, `tensor "b" is in y.safetensors, not in x.safetensors`}},
		{"index is no JSON", map[string][]byte{IndexFile: []byte("{")}, ErrFormat, []string{IndexFile, "ends too early"}},
		{"index without map", map[string][]byte{IndexFile: []byte("{}")}, ErrFormat, []string{`"weight_map" is missing`}},
		{"index with empty map", map[string][]byte{IndexFile: []byte(`{"weight_map":{}}`)}, ErrFormat, []string{"weight_map is empty"}},
		{"index names a tensor twice", map[string][]byte{IndexFile: []byte(`{"weight_map":{"a":"x","a":"y"}}`)}, ErrFormat, []string{`key "a" appears twice`}},
		{"index leaves its directory", map[string][]byte{IndexFile: []byte(`{"weight_map":{"a":"../x.safetensors","b":"/etc/passwd","c":"d/x","d":"","e":3}}`)},
			ErrFormat, []string{"5 faults", "../x.safetensors", "/etc/passwd", `"d/x"`, `"e" is 3`}},
		{"nothing", nil, ErrNoWeights, []string{"neither"}},
		{"pickle", map[string][]byte{"pytorch_model.bin": {1}}, ErrNoWeights, []string{"pytorch_model.bin", "convert", "safetensors"}},
		{"pth", map[string][]byte{"consolidated.00.pth": {1}}, ErrNoWeights, []string{"consolidated.00.pth", "safetensors"}},
		{"other name", map[string][]byte{"adapter_model.safetensors": one("a")}, ErrNoWeights, []string{"adapter_model.safetensors"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, data := range c.files {
				writeTestFile(t, filepath.Join(dir, name), data)
			}
			r, err := Open(dir)
			if c.kind != nil {
				wantErr(t, err, c.kind, append(c.want, dir)...)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if d := cmp.Diff(c.want, r.Names()); d != "" {
				t.Error(d)
			}
			for _, name := range r.Names() {
				if _, err := r.Bytes(name); err != nil {
					t.Error(err)
				}
			}
		})
	}
	_, err := Open(filepath.Join(t.TempDir(), "no"))
	wantErr(t, err, os.ErrNotExist)
	file := filepath.Join(t.TempDir(), SingleFile)
	writeTestFile(t, file, one("a"))
	_, err = Open(file)
	wantErr(t, err, ErrNoWeights, file, "give the directory")
}

// FuzzHeader: no header makes the parser panic, and one that it accepts keeps every tensor within the data, tiles the data
// and agrees with its own shapes.
func FuzzHeader(f *testing.F) {
	for _, c := range hostileHeaders {
		f.Add([]byte(c.header), int64(8))
	}
	f.Add([]byte(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"__metadata__":{"format":"pt"}}  `), int64(8))
	f.Add([]byte(`{"a":{"dtype":"F4","shape":[2,8],"data_offsets":[0,8]},"b":{"dtype":"ZZ","shape":[],"data_offsets":[8,9]}}`), int64(9))
	f.Fuzz(func(t *testing.T, head []byte, dataLen int64) {
		if dataLen < 0 {
			return
		}
		h, bad := parseHeader(head, dataLen)
		if (h == nil) != (len(bad) > 0) {
			t.Fatalf("header %v with faults %v", h, bad)
		}
		if h == nil {
			return
		}
		at := int64(0)
		for _, x := range h.tensors {
			if x.begin != at || x.end < x.begin || x.end > dataLen {
				t.Fatalf("tensor %+v does not follow byte %d of %d", x, at, dataLen)
			}
			at = x.end
			n := int64(1)
			for _, d := range x.shape {
				n *= int64(d)
			}
			if width, ok := dtypeBits[x.dtype]; ok && n*width != 8*(x.end-x.begin) {
				t.Fatalf("tensor %+v: size and shape differ", x)
			}
		}
		if at != dataLen {
			t.Fatalf("tensors end at %d of %d", at, dataLen)
		}
	})
}

// FuzzIndex: no index makes the parser panic or names a file outside its directory.
func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"metadata":{"total_size":1},"weight_map":{"a":"x.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":"../x"}}`))
	f.Add([]byte(`{"weight_map":[]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, bad := parseIndex(text)
		for name, shard := range m {
			if len(bad) == 0 && filepath.Base(shard) != shard {
				t.Fatalf("%q is in %q", name, shard)
			}
		}
	})
}
