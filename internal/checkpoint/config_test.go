package checkpoint

import (
	"encoding/json"
	"math"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestRewriteJSON(t *testing.T) {
	const dense = `{"zeta":1e-05,"torch_dtype":"float32","alpha":[1,2.50],"π":"<&>"}`
	const indented = "{\n  \"zeta\": 1e-05,\n  \"torch_dtype\": \"float32\",\n  \"alpha\": [\n    1,\n    2.50\n  ],\n  \"big\": 12345678901234567890\n}\n"
	type o = map[string]any
	for _, c := range []struct {
		name, in string
		over     o
		want     string
	}{
		{"nothing", indented, nil, indented},
		{"nothing, odd spacing", " { \"a\" :\t1 ,\r\n\"b\": {} }  ", nil, " { \"a\" :\t1 ,\r\n\"b\": {} }  "},
		{"replace", dense, o{"zeta": 2}, `{"zeta":2,"torch_dtype":"float32","alpha":[1,2.50],"π":"<&>"}`},
		{"replace the last", `{"a":1,"b":2 }`, o{"b": "x<y"}, `{"a":1,"b":"x<y" }`},
		{"replace all", `{"a":1,"b":2}`, o{"a": nil, "b": true}, `{"a":null,"b":true}`},
		{"dtype goes to torch_dtype", dense, o{"dtype": "bfloat16"}, `{"zeta":1e-05,"torch_dtype":"bfloat16","alpha":[1,2.50],"π":"<&>"}`},
		{"torch_dtype goes to dtype", `{"dtype":"float32"}`, o{"torch_dtype": "bfloat16"}, `{"dtype":"bfloat16"}`},
		{"both spellings", `{"dtype":"a","torch_dtype":"b"}`, o{"torch_dtype": "c"}, `{"dtype":"a","torch_dtype":"c"}`},
		{"neither spelling", `{"a":1}`, o{"torch_dtype": "c"}, `{"a":1,"torch_dtype": "c"}`},
		{"replace and add", "{\n  \"b\": 1,\n  \"c\": 2\n}\n", o{"b": 9, "a": 0, "d": []int{1}}, "{\n  \"b\": 9,\n  \"c\": 2,\n  \"a\": 0,\n  \"d\": [\n    1\n  ]\n}\n"},
		{"replace the last and add", "{\n  \"b\": 1\n}", o{"b": 2, "z": 3}, "{\n  \"b\": 2,\n  \"z\": 3\n}"},
		{"an object", "{\n  \"b\": 1\n}", o{"b": o{"x": 1, "a": "y"}}, "{\n  \"b\": {\n    \"a\": \"y\",\n    \"x\": 1\n  }\n}"},
		{"add to nothing", "{}", o{"b": 1, "a": 2}, `{"a": 2,"b": 1}`},
		{"a key named within another value", `{"x":{"torch_dtype":1},"y":"\"torch_dtype\":"}`, o{"y": 0}, `{"x":{"torch_dtype":1},"y":0}`},
		{"escaped key", `{"\u0061":1}`, o{"a": 2}, `{"\u0061":2}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := RewriteJSON([]byte(c.in), c.over)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, string(got)); d != "" {
				t.Error(d)
			}
		})
	}
	for _, c := range []struct {
		in   string
		over o
		want string
	}{
		{``, nil, "ends too early"},
		{`[]`, nil, "not a JSON object"},
		{`{"a":1,"a":2}`, nil, `key "a" appears twice`},
		{`{"a":1,}`, nil, "invalid JSON"},
		{`{"a":1`, nil, "ends too early"},
		{`{"a":1}`, o{"a": math.NaN()}, `value of "a"`},
	} {
		_, err := RewriteJSON([]byte(c.in), c.over)
		wantErr(t, err, nil, c.want)
	}
}

// FuzzRewriteJSON: any object that is accepted keeps its other members' text and is still JSON, with the new values.
func FuzzRewriteJSON(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":1}`, "{\n  \"torch_dtype\": \"x\",\n  \"b\": 1e-5\n}\n", ` {"a" : [1 , {"new":2}] , "new" : null} `, `{"\ud800":1}`} {
		f.Add([]byte(s), "new", "value")
	}
	f.Fuzz(func(t *testing.T, text []byte, key, value string) {
		same, err := RewriteJSON(text, nil)
		if err != nil {
			return
		}
		if string(same) != string(text) {
			t.Fatalf("without overrides %q became %q", text, same)
		}
		got, err := RewriteJSON(text, map[string]any{key: value})
		if !utf8.ValidString(key) {
			if err == nil {
				t.Fatalf("a key that is not UTF-8 is written: %q", got)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		before, err := objectMembers(text)
		if err != nil {
			t.Fatal(err)
		}
		after, err := objectMembers(got)
		if err != nil {
			t.Fatalf("%q became %q: %v", text, got, err)
		}
		changed := 0
		for i, m := range after {
			if i < len(before) && m.Key == before[i].Key && string(m.Value) == string(before[i].Value) {
				continue
			}
			changed++
			var have, want string
			enc, err := json.Marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			if json.Unmarshal(m.Value, &have) != nil || json.Unmarshal(enc, &want) != nil || have != want {
				t.Fatalf("%q became %q", text, got)
			}
		}
		if changed > 1 || len(after) < len(before) || len(after) > len(before)+1 {
			t.Fatalf("%q became %q", text, got)
		}
	})
}
