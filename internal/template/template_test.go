package template

import (
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestLimits: templates that would run for ever, or fill the memory, end in ErrLimit, and soon.
func TestLimits(t *testing.T) {
	for name, src := range map[string]string{
		"loop":          "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
		"recursion":     "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
		"deep loop":     "{% set ns = namespace() %}{% set ns.x = [ns] %}{% for i in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}",
		"self printing": "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}",
		"repeat":        "{{ 'abcdefgh' * 99999999999 }}",
		"repeat list":   "{{ [1, 2] * 9999999999 }}",
		"doubling":      "{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
		"doubling +":    "{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
		"doubling list": "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
		"shared tree":   "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}",
		"shared json":   "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s|tojson }}",
		"shared equal":  "{% set ns = namespace(s=[1], t=[1]) %}{% for i in range(99) %}{% set ns.s = [ns.s, ns.s] %}{% set ns.t = [ns.t, ns.t] %}{% endfor %}{{ ns.s == ns.t }}",
		"shared key":    "{% set ns = namespace(s=(1,)) %}{% for i in range(99) %}{% set ns.s = (ns.s, ns.s) %}{% endfor %}{{ {ns.s: 1} }}",
		"replace":       "{% set a = 'a' * 100000 %}{{ a.replace('a', a).replace('a', a) }}",
		"join":          "{% set a = 'a' * 1000000 %}{{ a.join(range(99999)|map('string')) }}",
		"power":         "{{ 10 ** (10 ** 10) }}",
		"big product":   "{% set ns = namespace(x=3) %}{% for i in range(99) %}{% set ns.x = ns.x * ns.x %}{% endfor %}",
		"pad":           "{{ 'a'.center(99999999999) }}",
		"zfill":         "{{ 'a'.zfill(9999999999) }}",
		"format width":  "{{ '{:999999999}'.format(1) }}",
		"percent width": "{{ '%999999999d' % 1 }}",
		"indent":        "{{ 'a\nb'|indent(999999999) }}",
		"json indent":   "{{ [1]|tojson(indent=999999999) }}",
		"range":         "{{ range(999999999) }}",
		"tabs":          "{{ '\t'.expandtabs(999999999) }}",
		"output":        "{% set a = 'a' * 9999999 %}{% for i in range(99999) %}{{ a }}{% endfor %}",
		"parentheses":   "{{ " + strings.Repeat("(", 9999) + "1" + strings.Repeat(")", 9999) + " }}",
		"not":           "{{ " + strings.Repeat("not ", 9999) + "1 }}",
		"minus":         "{{ " + strings.Repeat("-", 9999) + "1 }}",
		"if":            strings.Repeat("{% if 1 %}", 9999),
		"sum":           "{{ 1" + strings.Repeat("+1", 99999) + " }}",
		"source":        strings.Repeat("x", maxSource+1),
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			tmpl, err := Parse(name, src)
			if err == nil {
				_, err = tmpl.Render(nil, Options{MaxSteps: 300_000, MaxOutput: 4 << 20})
			}
			if !errors.Is(err, ErrLimit) {
				t.Errorf("got %v", err)
			}
			if d := time.Since(start); d > 20*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		src  string
		line int
		kind error
		msg  string
	}{
		{"a\nb\n{{ x.y }}", 3, ErrUndefined, "'x' is undefined"},
		{"{% if a %}\n\nx", 3, ErrSyntax, "waits for 'elif' or 'else' or 'endif'"},
		{"\n{% include 'x' %}", 2, ErrSyntax, "refused"},
		{"\n\n{{ raise_exception('no system role') }}", 3, ErrRaised, "no system role"},
		{"{{ 'a' + 1 }}", 1, nil, `can only concatenate str (not "int")`},
		{"\n{% for x in 3 %}{% endfor %}", 2, nil, "'int' object is not iterable"},
		{"{{ [].append(1) }}", 1, ErrUnsafe, "append"},
		{"{{ 1|foo }}\n{{ 1 is bar }}", 1, ErrSyntax, "no filter named 'foo'"},
		{"{% endfor %}", 1, ErrSyntax, "unknown tag 'endfor'"},
		{"{% for x in y %}{% endif %}", 1, ErrSyntax, "waits for 'endfor'"},
	} {
		tmpl, err := Parse("chat", c.src)
		if err == nil {
			_, err = tmpl.Render(nil, Options{})
		}
		var e *Error
		if !errors.As(err, &e) || e.Line != c.line || e.Name != "chat" || (c.kind != nil && !errors.Is(err, c.kind)) || !strings.Contains(err.Error(), c.msg) {
			t.Errorf("%q: %v", c.src, err)
		}
	}
	_, err := Parse("chat", "{{ 1|foo }}\n{{ 1 is bar }}")
	if err == nil || !strings.Contains(err.Error(), "foo") || !strings.Contains(err.Error(), "chat:2") {
		t.Errorf("both unknown names should be reported: %v", err)
	}
}

func TestGeneration(t *testing.T) {
	tmpl := mustParse(t, "t", "é{% for i in [1, 2] %}<{% generation %}x{{ i }}{% endgeneration %}>{% endfor %}{% generation %}{% endgeneration %}")
	got, err := tmpl.Render(nil, Options{})
	want := Result{Text: "é<x1><x2>", Generation: [][2]int{{3, 5}, {7, 9}}, HasGeneration: true}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if !tmpl.HasGeneration() {
		t.Error("HasGeneration")
	}
}

func TestSourceDateEpoch(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1721952000")
	got, err := mustParse(t, "t", "{{ strftime_now('%d %b %Y %H') }}").Render(nil, Options{})
	if err != nil || got.Text != "26 Jul 2024 00" {
		t.Errorf("%q %v", got.Text, err)
	}
}

func TestFrom(t *testing.T) {
	d := NewDict()
	d.Set("z", 1)
	d.Set("a", []string{"x"})
	got, err := From(map[string]any{"b": uint64(1 << 63), "a": []any{float32(0.5), nil, true, int32(3), d}})
	if err != nil {
		t.Fatal(err)
	}
	in := newInterp(mustParse(t, "t", ""), nil, Options{})
	s, err := in.repr(got)
	if want := "{'a': [0.5, None, True, 3, {'z': 1, 'a': ['x']}], 'b': 9223372036854775808}"; s != want || err != nil {
		t.Errorf("%s %v", s, err)
	}
	if v, _ := d.Get("z"); v != 1 {
		t.Error("From changed its argument")
	}
	if _, err := From(struct{}{}); err == nil {
		t.Error("a struct is no value")
	}
	if v, err := From((*Dict)(nil)); v != nil || err != nil {
		t.Errorf("nil *Dict: %v %v", v, err)
	}
	var deep any
	for range 2 * maxInputDepth {
		deep = []any{deep}
	}
	if _, err := From(deep); !errors.Is(err, ErrLimit) {
		t.Errorf("deep value: %v", err)
	}
}

func TestFromJSON(t *testing.T) {
	v, err := FromJSON([]byte(`{"z":1,"a":[1.0,-0,1e3,123456789012345678901,"é\u00e9",true,null,{}],"z":2}`))
	if err != nil {
		t.Fatal(err)
	}
	in := newInterp(mustParse(t, "t", ""), nil, Options{})
	s, err := in.repr(v)
	if want := "{'z': 2, 'a': [1.0, 0, 1000.0, 123456789012345678901, 'éé', True, None, {}]}"; s != want || err != nil {
		t.Errorf("%s %v", s, err)
	}
	for _, bad := range []string{"", "{", "[1,]", "{} x", "nul", strings.Repeat("[", 9999), "1" + strings.Repeat("0", 9999)} {
		if _, err := FromJSON([]byte(bad)); err == nil {
			t.Errorf("%.20q accepted", bad)
		}
	}
}

// TestConcurrent: one template serves several goroutines (run with -race).
func TestConcurrent(t *testing.T) {
	tmpl := mustParse(t, "t", "{% set ns = namespace(n=0) %}{% for x in d.xs %}{% set ns.n = ns.n + x %}{% endfor %}{{ ns.n }}")
	vars := map[string]any{"d": map[string]any{"xs": []any{1, 2, 3}}}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got, err := tmpl.Render(vars, Options{}); err != nil || got.Text != "6" {
				t.Errorf("%q %v", got.Text, err)
			}
		})
	}
	wg.Wait()
}

// TestJSONRoundTrip: tojson writes what FromJSON and encoding/json read back as the same.
func TestJSONRoundTrip(t *testing.T) {
	tmpl := mustParse(t, "t", "{{ v|tojson }}\n{{ v|tojson(true, indent=3) }}")
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.Custom(genValue).Draw(t, "v")
		got, err := tmpl.Render(map[string]any{"v": v}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		one, two, _ := strings.Cut(got.Text, "\n")
		in := newInterp(tmpl, nil, Options{})
		for _, text := range []string{one, two} {
			back, err := FromJSON([]byte(text))
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			if eq, err := in.equal(v, back); err != nil || !eq {
				t.Fatalf("%v became %q", v, text)
			}
			if !json.Valid([]byte(text)) {
				t.Fatalf("%q is no JSON", text)
			}
		}
	})
}

func genValue(t *rapid.T) Value {
	switch rapid.IntRange(0, 7).Draw(t, "kind") {
	case 0:
		return nil
	case 1:
		return rapid.Bool().Draw(t, "b")
	case 2:
		return rapid.Int64().Draw(t, "i")
	case 3:
		return rapid.Float64Range(-1e300, 1e300).Draw(t, "f")
	case 4:
		return new(big.Int).Lsh(big.NewInt(rapid.Int64Min(1).Draw(t, "i")), 70)
	case 5:
		return rapid.String().Draw(t, "s")
	case 6:
		var out = []Value{}
		for range rapid.IntRange(0, 3).Draw(t, "n") {
			out = append(out, rapid.Custom(genValue).Draw(t, "x"))
		}
		return out
	}
	d := NewDict()
	for range rapid.IntRange(0, 12).Draw(t, "n") {
		d.Set(rapid.StringN(0, 4, -1).Draw(t, "k"), rapid.Custom(genValue).Draw(t, "x"))
	}
	return d
}

// FuzzTemplate: no source and no input makes Parse or Render panic or run on; what is accepted stays within its bounds.
func FuzzTemplate(f *testing.F) {
	raw, err := os.ReadFile(filepath.Join("testdata", "jinja.json"))
	if err != nil {
		f.Fatal(err)
	}
	var file struct {
		Context json.RawMessage
		Cases   []struct{ Src string }
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		f.Fatal(err)
	}
	for i, c := range file.Cases {
		if i%7 == 0 || strings.Contains(c.Src, "{%") {
			f.Add(c.Src, []byte(file.Context))
		}
	}
	for _, name := range BuiltinNames() {
		src, _ := Builtin(name)
		f.Add(src, []byte(file.Context))
	}
	f.Fuzz(func(t *testing.T, src string, vars []byte) {
		// The engine itself waits for ever: a hang must become a failure to be kept.
		hang := time.AfterFunc(10*time.Second, func() { panic("no end after 10 seconds") })
		defer hang.Stop()
		v, err := FromJSON(vars)
		if _, ok := v.(*Dict); err != nil || !ok {
			v = nil
		}
		tmpl, err := Parse("fuzz", src)
		if err != nil {
			return
		}
		const most = 1 << 16
		got, err := tmpl.Render(v, Options{MaxSteps: 50_000, MaxOutput: most, MaxDepth: 50})
		if err == nil && len(got.Text) > most {
			t.Fatalf("%d bytes of output", len(got.Text))
		}
		for _, s := range got.Generation {
			if s[0] < 0 || s[0] >= s[1] || s[1] > len(got.Text) {
				t.Fatalf("span %v of %d bytes", s, len(got.Text))
			}
		}
	})
}
