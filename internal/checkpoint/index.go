package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxIndex bounds the shard index we are ready to hold in memory; a real one has about 100 bytes a tensor.
const maxIndex = maxHeader

// openSharded opens all shards that an index lists. A shard that is missing or malformed, a tensor that is not in the shard
// the index says and a tensor that two shards hold are reported together. A tensor that a listed shard holds without the
// index knowing of it is readable too, as in transformers, which loads shards whole.
func openSharded(dir, index string) (*Reader, error) {
	weightMap, err := readIndex(index)
	if err != nil {
		return nil, err
	}
	r := newReader(index)
	var f faults
	failed := map[string]bool{}
	for _, shard := range slices.Compact(slices.Sorted(maps.Values(weightMap))) {
		file, err := mapFile(filepath.Join(dir, shard))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			f.add("shard %s is missing", shard)
		case err != nil:
			f.add("%v", err)
		default:
			for _, name := range r.add(file) {
				f.add("tensor %q is in two shards, %s and %s", name, filepath.Base(r.tensors[name].file.path), shard)
			}
			continue
		}
		failed[shard] = true
	}
	for _, name := range slices.Sorted(maps.Keys(weightMap)) {
		shard := weightMap[name]
		if failed[shard] {
			continue
		}
		t, ok := r.tensors[name]
		switch {
		case !ok:
			f.add("tensor %q is not in %s, as the index says, nor in any other shard", name, shard)
		case t.file.path != filepath.Join(dir, shard):
			f.add("tensor %q is in %s, not in %s as the index says", name, filepath.Base(t.file.path), shard)
		}
	}
	if err := f.err(index, ErrFormat); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	r.finish()
	return r, nil
}

// readIndex reads {"metadata": {"total_size": …}, "weight_map": {tensor: shard}} and returns the weight map. total_size is
// not held against the shards: published checkpoints often get it wrong, and the shards' own headers are exact.
func readIndex(path string) (map[string]string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open checkpoint: %w", err)
	}
	if st.Size() > maxIndex {
		return nil, faults{fmt.Sprintf("the index has %d bytes, above the limit of %d", st.Size(), maxIndex)}.err(path, ErrFormat)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("open checkpoint: %w", err)
	}
	weightMap, f := parseIndex(text)
	return weightMap, f.err(path, ErrFormat)
}

func parseIndex(text []byte) (map[string]string, faults) {
	var f faults
	top, err := objectMembers(text)
	if err != nil {
		f.add("%v", err)
		return nil, f
	}
	at := slices.IndexFunc(top, func(m member) bool { return m.Key == "weight_map" })
	if at < 0 {
		f.add("\"weight_map\" is missing")
		return nil, f
	}
	entries, err := objectMembers(top[at].Value)
	if err != nil {
		f.add("weight_map: %v", err)
		return nil, f
	}
	if len(entries) == 0 {
		f.add("weight_map is empty")
	}
	out := make(map[string]string, len(entries))
	for _, e := range entries {
		var shard string
		if err := json.Unmarshal(e.Value, &shard); err != nil || shard == "" {
			f.add("weight_map: the shard of %q is %s, not a file name", e.Key, clip(e.Value))
			continue
		}
		// An index may come from anywhere: it must not be able to name files outside its directory.
		if !filepath.IsLocal(shard) || strings.ContainsAny(shard, "/\\\x00") {
			f.add("weight_map: the shard of %q is %s, which is not a plain file name in the same directory", e.Key, clip(e.Value))
			continue
		}
		out[e.Key] = shard
	}
	return out, f
}
