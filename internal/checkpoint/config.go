package checkpoint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

// Removed, as the value of an override, takes the key out.
const Removed = removed("removed")

type removed string

// RewriteJSON returns the JSON object in text with the values of some of its top-level keys replaced. Everything else stays
// as it is, byte for byte: unknown keys, their order, the spelling of numbers (1e-05), indentation. Keys that are not there
// yet are added at the end, sorted. It fails on text that is no JSON object or that has a key twice.
//
// A Hugging Face config spells one setting in two ways, torch_dtype and, from transformers 5, dtype: an override of either
// replaces whichever the file has.
func RewriteJSON(text []byte, overrides map[string]any) ([]byte, error) {
	for key := range overrides {
		if !utf8.ValidString(key) {
			return nil, fmt.Errorf("key %q: not valid UTF-8", key)
		}
	}
	members, err := objectMembers(text)
	if err != nil {
		return nil, err
	}
	has := func(key string) bool {
		return slices.ContainsFunc(members, func(m member) bool { return m.Key == key })
	}
	values := map[string]any{}
	for _, key := range slices.Sorted(maps.Keys(overrides)) {
		v := overrides[key]
		for _, pair := range [][2]string{{"torch_dtype", "dtype"}, {"dtype", "torch_dtype"}} {
			if key == pair[0] && !has(key) && has(pair[1]) {
				key = pair[1]
				break
			}
		}
		values[key] = v
	}
	indent := memberIndent(text, members)
	if text, members, err = removeMembers(text, members, values); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	at := 0
	for _, m := range members {
		v, ok := values[m.Key]
		if !ok {
			continue
		}
		enc, err := encodeValue(m.Key, v, indent)
		if err != nil {
			return nil, err
		}
		out.Write(text[at:m.Start])
		out.Write(enc)
		at = m.End
		delete(values, m.Key)
	}
	if len(values) == 0 {
		out.Write(text[at:])
		return out.Bytes(), nil
	}
	end := bytes.IndexByte(text, '{') + 1
	if len(members) > 0 {
		end = members[len(members)-1].End
	}
	if at < end {
		out.Write(text[at:end])
	}
	for i, key := range slices.Sorted(maps.Keys(values)) {
		enc, err := encodeValue(key, values[key], indent)
		if err != nil {
			return nil, err
		}
		if i > 0 || len(members) > 0 {
			out.WriteByte(',')
		}
		fmt.Fprintf(&out, "%s%s: %s", indent, quoteJSON(key), enc)
	}
	out.Write(text[end:])
	return out.Bytes(), nil
}

// removeMembers takes those out whose new value is Removed, and takes them off values.
func removeMembers(text []byte, members []member, values map[string]any) ([]byte, []member, error) {
	for i := len(members) - 1; i >= 0; i-- {
		if values[members[i].Key] != any(Removed) {
			continue
		}
		// From the end of the member before to its own end, comma included; the first goes with the comma behind it.
		from, to := bytes.IndexByte(text, '{')+1, members[i].End
		switch {
		case i > 0:
			from = members[i-1].End
		case len(members) > 1:
			to += bytes.IndexByte(text[to:], ',') + 1
		}
		text = slices.Concat(text[:from], text[to:])
		var err error
		if members, err = objectMembers(text); err != nil {
			return nil, nil, err
		}
	}
	maps.DeleteFunc(values, func(_ string, v any) bool { return v == any(Removed) })
	return text, members, nil
}

// memberIndent is the white space before the first key: a newline and spaces in an indented file, nothing in a dense one.
func memberIndent(text []byte, members []member) string {
	open := bytes.IndexByte(text, '{') + 1
	if len(members) == 0 {
		return ""
	}
	rest := text[open:]
	return string(rest[:bytes.IndexByte(rest, '"')])
}

func encodeValue(key string, v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if len(indent) > 0 && indent[0] == '\n' {
		enc.SetIndent(indent[1:], indent[1:])
	}
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("value of %q: %w", key, err)
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}
