package hub

import (
	"fmt"
	"path"
	"sort"
	"strings"
)

func isPattern(s string) bool { return strings.ContainsAny(s, "*?[") }

// matches reports whether a file fits one of the patterns: on its whole path, or on its base name where the pattern
// has no slash.
func matches(patterns []string, file string) bool {
	for _, p := range patterns {
		if ok, err := path.Match(p, file); ok && err == nil {
			return true
		}
		if strings.Contains(p, "/") {
			continue
		}
		if ok, err := path.Match(p, path.Base(file)); ok && err == nil {
			return true
		}
	}
	return false
}

// choose picks from a repository's files those that are wanted: what the options include, else what the reference
// names, else what training or using a model needs, or a dataset's data files.
func choose(ref Ref, o Options, files []string) ([]string, error) {
	var out []string
	keep := func(want func(string) bool) {
		for _, f := range files {
			if want(f) && !matches(o.Exclude, f) {
				out = append(out, f)
			}
		}
	}
	switch {
	case ref.Path != "" && isPattern(ref.Path):
		keep(func(f string) bool { return matches([]string{ref.Path}, f) })
	case ref.Path != "":
		keep(func(f string) bool { return f == ref.Path || strings.HasPrefix(f, ref.Path+"/") })
	case len(o.Include) > 0:
		keep(func(f string) bool { return matches(o.Include, f) })
	case ref.Type == "dataset":
		keep(isData)
	default:
		weights := weightFiles(files)
		keep(func(f string) bool { return weights[f] || isModelText(f) && indexes(f, weights) })
	}
	if len(out) == 0 {
		names := append([]string(nil), files...)
		sort.Strings(names)
		if len(names) > 10 {
			names = append(names[:10], "…")
		}
		return nil, fmt.Errorf("%s has no such files; it has %s", ref, strings.Join(names, ", "))
	}
	sort.Strings(out)
	return out, nil
}

// isModelText: config, tokenizer, template and index files at the root, and those of sentence-transformers' modules.
func isModelText(f string) bool {
	dir, base := path.Split(f)
	switch {
	case dir == "additional_chat_templates/":
		return strings.HasSuffix(base, ".jinja")
	case dir != "":
		return strings.Count(f, "/") == 1 && base == "config.json" && dir[0] >= '0' && dir[0] <= '9'
	case base == "trainer_state.json":
		return false
	}
	switch path.Ext(base) {
	case ".json", ".jinja", ".model", ".tiktoken":
		return true
	case ".txt":
		return base == "vocab.txt" || base == "merges.txt"
	}
	return false
}

// weightFiles picks one form of the weights: safetensors if there are any, else PyTorch's .bin, else .pth.
func weightFiles(files []string) map[string]bool {
	pick := func(want func(string) bool) map[string]bool {
		out := map[string]bool{}
		for _, f := range files {
			if !strings.Contains(f, "/") && want(f) {
				out[f] = true
			}
		}
		return out
	}
	ext := func(e string) func(string) bool { return func(f string) bool { return strings.HasSuffix(f, e) } }
	standard := func(prefix, e string) func(string) bool {
		return func(f string) bool {
			return f == prefix+e || (strings.HasPrefix(f, prefix+"-") && strings.HasSuffix(f, e)) || f == "adapter_model"+e
		}
	}
	for _, want := range []func(string) bool{
		standard("model", ".safetensors"), ext(".safetensors"), standard("pytorch_model", ".bin"), ext(".pth"),
	} {
		if out := pick(want); len(out) > 0 {
			return out
		}
	}
	return nil
}

// indexes is false for an index of weights in a form that was not picked.
func indexes(f string, weights map[string]bool) bool {
	of, ok := strings.CutSuffix(f, ".index.json")
	if !ok {
		return true
	}
	for w := range weights {
		if path.Ext(w) == path.Ext(of) {
			return true
		}
	}
	return false
}

func isData(f string) bool {
	f = strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(f), ".gz"), ".zst")
	switch path.Ext(f) {
	case ".jsonl", ".csv", ".parquet", ".ndjson":
		return true
	case ".json":
		return path.Base(f) != "dataset_infos.json"
	case ".txt":
		return path.Base(f) != "requirements.txt" && path.Base(f) != "license.txt"
	}
	return false
}
