package checkpoint

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// maxHeader is the largest header the safetensors reference program accepts, in bytes.
const maxHeader = 100_000_000

// metadataKey is the header's one reserved key: a map of strings, conventionally {"format": "pt"}.
const metadataKey = "__metadata__"

// header is a parsed safetensors header: what each tensor is and where in the data that follows it lies.
type header struct {
	tensors  []headerTensor // by offset
	metadata map[string]string
}

type headerTensor struct {
	name       string
	dtype      string
	shape      []int
	begin, end int64 // bytes from the start of the data
}

// splitHeader takes a whole safetensors file apart: eight bytes of little-endian length N, N bytes of JSON, the data.
// The fault is "" when the file is long enough for what it says.
func splitHeader(file []byte) (head, data []byte, fault string) {
	if bytes.HasPrefix(file, []byte("version https://git-lfs")) {
		return nil, nil, "it is a Git LFS pointer, not the weights; run `git lfs pull` in its repository or download the file itself"
	}
	if len(file) < 8 {
		return nil, nil, fmt.Sprintf("the file has %d bytes, fewer than the 8 of the header length (truncated?)", len(file))
	}
	n := binary.LittleEndian.Uint64(file)
	if n > maxHeader {
		return nil, nil, fmt.Sprintf("header length %d is above the format's limit of %d", n, maxHeader)
	}
	if n > uint64(len(file)-8) {
		return nil, nil, fmt.Sprintf("header length %d goes beyond the end of the file (%d bytes; truncated?)", n, len(file))
	}
	return file[8 : 8+n], file[8+n:], ""
}

// parseHeader reads the JSON header of a safetensors file whose data is dataLen bytes long, and accepts it only if every
// tensor's size is dtype × shape and the tensors tile the data exactly, with no overlap, no hole and nothing left over:
// the format demands it, so that a file has one meaning. Source: the format's description and reference program,
// github.com/huggingface/safetensors. The faults found are returned together; with any, the header is nil.
func parseHeader(head []byte, dataLen int64) (*header, faults) {
	var f faults
	if len(head) == 0 || head[0] != '{' {
		f.add("the header does not start with '{'")
		return nil, f
	}
	members, err := objectMembers(head)
	if err != nil {
		f.add("header: %v", err)
		return nil, f
	}
	h := &header{metadata: map[string]string{}}
	for _, m := range members {
		if m.Key == metadataKey {
			h.metadata = parseMetadata(m.Value, &f)
			continue
		}
		if t, ok := parseEntry(m.Key, m.Value, &f); ok {
			h.tensors = append(h.tensors, t)
		}
	}
	if len(f) == 0 {
		checkTiling(h.tensors, dataLen, &f)
	}
	if len(f) > 0 {
		return nil, f
	}
	return h, nil
}

func parseMetadata(raw json.RawMessage, f *faults) map[string]string {
	out := map[string]string{}
	members, err := objectMembers(raw)
	if err != nil {
		f.add("%s: %v", metadataKey, err)
		return out
	}
	for _, m := range members {
		var s *string
		if err := json.Unmarshal(m.Value, &s); err != nil || s == nil {
			f.add("%s: the value of %q is %s, not a string", metadataKey, m.Key, clip(m.Value))
			continue
		}
		out[m.Key] = *s
	}
	return out
}

// parseEntry reads {"dtype": …, "shape": […], "data_offsets": [begin, end]} of one tensor.
func parseEntry(name string, raw json.RawMessage, f *faults) (t headerTensor, ok bool) {
	t.name = name
	members, err := objectMembers(raw)
	if err != nil {
		f.add("tensor %q: %v", name, err)
		return t, false
	}
	before := len(*f)
	found := map[string]bool{}
	for _, m := range members {
		found[m.Key] = true
		switch m.Key {
		case "dtype":
			if err := json.Unmarshal(m.Value, &t.dtype); err != nil || t.dtype == "" {
				f.add("tensor %q: dtype is %s, not a name such as \"F32\"", name, clip(m.Value))
			}
		case "shape":
			dims, ok := naturals(m.Value)
			if !ok {
				f.add("tensor %q: shape is %s, not a list of whole numbers from 0 to 2⁶³-1", name, clip(m.Value))
			}
			t.shape = make([]int, len(dims))
			for i, d := range dims {
				t.shape[i] = int(d)
			}
		case "data_offsets":
			offs, ok := naturals(m.Value)
			if !ok || len(offs) != 2 {
				f.add("tensor %q: data_offsets is %s, not [begin, end]", name, clip(m.Value))
				break
			}
			if t.begin, t.end = offs[0], offs[1]; t.begin > t.end {
				f.add("tensor %q: data_offsets [%d, %d] end before they begin", name, t.begin, t.end)
			}
		default:
			f.add("tensor %q: unknown key %q", name, m.Key)
		}
	}
	for _, key := range []string{"dtype", "shape", "data_offsets"} {
		if !found[key] {
			f.add("tensor %q: %q is missing", name, key)
		}
	}
	if len(*f) > before {
		return t, false
	}
	checkSize(t, f)
	return t, len(*f) == before
}

// checkSize holds the bytes of a tensor against dtype × shape, without overflow for shapes such as [2⁶⁰, 2⁶⁰].
func checkSize(t headerTensor, f *faults) {
	elements := uint64(1)
	zero := false
	for _, d := range t.shape {
		if d == 0 {
			zero = true
			continue
		}
		hi, lo := bits.Mul64(elements, uint64(d))
		if hi != 0 || lo > math.MaxInt64 {
			f.add("tensor %q: shape %v has more elements than 2⁶³-1", t.name, t.shape)
			return
		}
		elements = lo
	}
	if zero {
		elements = 0
	}
	width, known := dtypeBits[t.dtype]
	if !known {
		return
	}
	hi, lo := bits.Mul64(elements, uint64(width))
	switch {
	case hi != 0:
		f.add("tensor %q: %s%v takes more than 2⁶¹ bytes", t.name, t.dtype, t.shape)
		return
	case lo%8 != 0:
		f.add("tensor %q: %s%v is not a whole number of bytes", t.name, t.dtype, t.shape)
		return
	}
	if have := uint64(t.end - t.begin); have != lo/8 {
		f.add("tensor %q: %s%v needs %d bytes, but data_offsets [%d, %d] give %d", t.name, t.dtype, t.shape, lo/8, t.begin, t.end, have)
	}
}

// checkTiling sorts the tensors by offset and holds them against each other and the length of the data.
func checkTiling(ts []headerTensor, dataLen int64, f *faults) {
	slices.SortFunc(ts, func(a, b headerTensor) int {
		switch {
		case a.begin != b.begin:
			return cmpInt64(a.begin, b.begin)
		case a.end != b.end:
			return cmpInt64(a.end, b.end)
		}
		return strings.Compare(a.name, b.name)
	})
	at, last := int64(0), ""
	for _, t := range ts {
		switch {
		case t.begin > at:
			f.add("bytes %d to %d of the data belong to no tensor (before %q)", at, t.begin, t.name)
		case t.begin < at:
			f.add("tensors %q and %q overlap: one ends at byte %d, the other begins at %d", last, t.name, at, t.begin)
		}
		if t.end >= at {
			at, last = t.end, t.name
		}
	}
	switch {
	case at > dataLen:
		f.add("tensor %q ends at byte %d of the data, but the file has only %d (truncated?)", last, at, dataLen)
	case at < dataLen:
		f.add("the last %d bytes of the file belong to no tensor", dataLen-at)
	}
}

func cmpInt64(a, b int64) int {
	if a < b {
		return -1
	}
	return 1
}

// naturals reads a JSON list of whole numbers in int64's non-negative range; 1.0, 1e3 and "1" are none.
func naturals(raw json.RawMessage) ([]int64, bool) {
	var list []json.Number
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if len(raw) == 0 || raw[0] != '[' || bytes.ContainsAny(raw, `"n`) || dec.Decode(&list) != nil {
		return nil, false
	}
	out := make([]int64, len(list))
	for i, n := range list {
		v, err := strconv.ParseInt(n.String(), 10, strconv.IntSize)
		if err != nil || v < 0 || n.String() == "-0" {
			return nil, false
		}
		out[i] = v
	}
	return out, true
}

// clip shortens a piece of a file for a message.
func clip(raw []byte) string {
	const limit = 60
	r := []rune(string(raw))
	if len(r) <= limit {
		return string(r)
	}
	return string(r[:limit]) + "…"
}
