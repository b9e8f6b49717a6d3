package data

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"go.uber.org/goleak"
)

func gzipped(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(text))
	z.Close()
	return b.String()
}

func zstded(t *testing.T, text string) string {
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(z.EncodeAll([]byte(text), nil))
}

func parqueted[T any](t *testing.T, rows ...T) string {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[T](&b)
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

type parquetTurn struct {
	Role    string   `parquet:"role"`
	Content string   `parquet:"content"`
	Weight  *float64 `parquet:"weight,optional"`
}

type parquetChat struct {
	ID       int64         `parquet:"id"`
	Messages []parquetTurn `parquet:"messages,list"`
	Tags     []string      `parquet:"tags"`
}

type parquetQA struct {
	Question *string `parquet:"question,optional"`
	Answer   string  `parquet:"answer"`
}

func TestFormats(t *testing.T) {
	pair := []string{"<s>q:{a</s>}", "<s>r:{b</s>}"}
	zero, q := 0.0, "q:"
	tests := []struct {
		name, file, content string
		columns             map[string]string
		want                []string
	}{
		{"jsonl", "a.jsonl", "\xEF\xBB\xBF{\"prompt\":\"q:\",\"completion\":\"a\"}\r\n\r\n{\"prompt\":\"r:\",\"completion\":\"b\"}", nil, pair},
		{"json array", "a.json", "\n[{\"prompt\":\"q:\",\"completion\":\"a\"},\n {\"prompt\":\"r:\",\"completion\":\"b\"} ]\n", nil, pair},
		{"json lines under .json", "a.json", "{\"prompt\":\"q:\",\"completion\":\"a\"}\n{\"prompt\":\"r:\",\"completion\":\"b\"}", nil, pair},
		{"brackets and quotes in strings", "a.json", `[{"text":"]}\"[{"}]`, nil, []string{`{<s>]}"[{</s>}`}},
		{"empty array", "b.json", `[]`, nil, nil},
		{"gzip", "a.jsonl.gz", gzipped(`{"text":"ab"}`), nil, []string{"{<s>ab</s>}"}},
		{"zstd", "a.json.zst", zstded(t, `[{"text":"ab"}]`), nil, []string{"{<s>ab</s>}"}},
		{"csv", "a.csv", "prompt,completion,id\nq:,a,1\n\"r:\",\"b\",2\n", nil, pair},
		{"csv with line breaks and quotes", "a.csv", "text\n\"a\n\"\"b\"\"\"\n", nil, []string{"{<s>a\n\"b\"</s>}"}},
		{"csv with messages as JSON", "a.csv", "messages\n\"[{\"\"role\"\":\"\"assistant\"\",\"\"content\"\":\"\"a\"\"}]\"\n", nil, []string{"{[assistant]a<|end|>}"}},
		{"tsv", "a.tsv", "prompt\tcompletion\nq:\ta\nr:\tb\n", nil, pair},
		{"mapped columns", "a.jsonl", `{"question":"q:","answer":"a","text":"no"}`, map[string]string{"prompt": "question", "completion": "answer"}, pair[:1]},
		{"parquet", "a.parquet", parqueted(t, parquetQA{&q, "a"}), map[string]string{"prompt": "question", "completion": "answer"}, pair[:1]},
		{"nested parquet", "a.parquet", parqueted(t,
			parquetChat{1, []parquetTurn{{"user", "q", &zero}, {"assistant", "a", nil}}, []string{"x", "y"}},
			parquetChat{2, []parquetTurn{{"assistant", "b", nil}}, nil}), nil,
			[]string{"[user]q<|end|>[assistant]{a<|end|>}", "{[assistant]b<|end|>}"}},
		{"text", "a.txt", "ab\n\ncd", nil, []string{"{<s>ab\n\ncd</s>}"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := write(t, tt.file, tt.content)
			ds, _, err := Open(t.Context(), []Source{{Path: dir, Columns: tt.columns}}, toyOptions(), toyTokenizer{})
			if tt.want == nil {
				if !errors.Is(err, ErrNoData) {
					t.Errorf("error %v, want ErrNoData", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, allMarked(t, ds)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTextWindows(t *testing.T) {
	opt := toyOptions()
	opt.MaxLength = 5
	ds, ledger := open(t, opt, "a.txt", "abcdefgh")
	if diff := cmp.Diff([]string{"{<s>abcd}", "{efgh</s>}"}, allMarked(t, ds)); diff != "" {
		t.Error(diff)
	}
	if ledger.Rows != 2 || ledger.Truncated != 0 || ds.Ref(1).Row != 2 {
		t.Errorf("ledger %+v, second window %+v", ledger, ds.Ref(1))
	}
}

func TestLineCut(t *testing.T) {
	for text, want := range map[string]int{
		"ab\ncd\n ef": 3, "ab\n\ncd": 6, "no break": 8, "ü": 2, "aü\xc3": 3,
	} {
		if got := lineCut([]byte(text)); got != want {
			t.Errorf("lineCut(%q) = %d, want %d", text, got, want)
		}
	}
}

func TestBrokenFiles(t *testing.T) {
	good := parqueted(t, parquetQA{nil, "a"})
	tests := []struct{ name, file, content, want string }{
		{"cut-off array", "a.json", "[{\"text\":\"a\"},\n{\"text\":\"b", "ends inside row 2 (line 2)"},
		{"array without commas", "a.json", `[{"text":"a"} {"text":"b"}]`, `line 1: found '{' after row 1, want , or ]`},
		{"text after the array", "a.json", "[{\"text\":\"a\"}]\nx", `line 2: found 'x' after the end`},
		{"trailing comma", "a.json", `[{"text":"a"},]`, `row 2 (line 1): found ']' where a row should begin`},
		{"not gzip", "a.jsonl.gz", `{"text":"a"}`, "not a gzip file"},
		{"cut-off gzip", "a.jsonl.gz", gzipped(`{"text":"a"}`)[:20], "unexpected EOF"},
		{"csv with a wrong number of fields", "a.csv", "prompt,completion\na\n", "a.csv:2: has 1 fields, the header 2"},
		{"csv with the same column twice", "a.csv", "text,text\na,b\n", `names column "text" twice`},
		{"csv with a bare quote", "a.csv", "text\na\"b\n", `line 2: bare " in non-quoted`},
		{"text that is no UTF-8", "a.txt", "a\xff", "is not valid UTF-8"},
		{"no parquet", "a.parquet", "PAR1 but not really PAR1", "a.parquet"},
		{"cut-off parquet", "a.parquet", good[:len(good)-9], "a.parquet"},
		{"null prompt", "a.parquet", good, "found the keys answer, question"},
		{"unknown extension", "a.docx", "x", "holds no files ending in .jsonl"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := write(t, tt.file, tt.content)
			_, _, err := Open(t.Context(), []Source{{Path: dir}}, toyOptions(), toyTokenizer{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestExpand(t *testing.T) {
	dir := write(t, "train-0.jsonl", "", "train-1.jsonl.gz", "", "dev.csv", "", "sub/val/x.json", "", "README.md", "", ".hidden/a.jsonl", "",
		"training.json", "")
	tests := []struct {
		name string
		s    Source
		want []string
	}{
		{"folder", Source{Path: dir}, []string{"dev.csv", "sub/val/x.json", "train-0.jsonl", "train-1.jsonl.gz", "training.json"}},
		{"glob", Source{Path: filepath.Join(dir, "train-*")}, []string{"train-0.jsonl", "train-1.jsonl.gz"}},
		{"split", Source{Path: dir, Split: "train"}, []string{"train-0.jsonl", "train-1.jsonl.gz", "training.json"}},
		{"split by folder and alias", Source{Path: dir, Split: "validation"}, []string{"dev.csv", "sub/val/x.json"}},
		{"file", Source{Path: filepath.Join(dir, "dev.csv"), Split: "train"}, []string{"dev.csv"}},
	}
	for _, tt := range tests {
		got, err := tt.s.Expand()
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		for i := range got {
			got[i], _ = filepath.Rel(dir, got[i])
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
	for name, s := range map[string]Source{
		"missing": {Path: filepath.Join(dir, "none.jsonl")}, "no such split": {Path: dir, Split: "test"},
		"extension": {Path: filepath.Join(dir, "README.md")}, "glob of nothing": {Path: filepath.Join(dir, "*.parquet")},
	} {
		if files, err := s.Expand(); err == nil {
			t.Errorf("%s gives %v", name, files)
		}
	}
}

func TestColumnsAndLayouts(t *testing.T) {
	for name, s := range map[string]Source{
		"unknown key":    {Columns: map[string]string{"promt": "question"}},
		"missing column": {Columns: map[string]string{"text": "body"}},
		"wrong layout":   {Layout: LayoutMessages},
		"bad fraction":   {Fraction: -1},
	} {
		s.Path = write(t, "a.jsonl", `{"text":"a"}`)
		if _, _, err := Open(t.Context(), []Source{s}, toyOptions(), toyTokenizer{}); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	for name, want := range map[string]Layout{"": LayoutAuto, "alpaca": LayoutAlpaca, "chat_template": LayoutMessages, "dpo": LayoutPreference} {
		if got, err := ParseLayout(name); err != nil || got != want {
			t.Errorf("ParseLayout(%q) = %q, %v", name, got, err)
		}
	}
	if _, err := ParseLayout("alpaka"); err == nil {
		t.Error("an unknown layout is accepted")
	}
}

func TestPreferenceShapes(t *testing.T) {
	opt := toyOptions()
	opt.Objective = Preference
	want := "[user]q<|end|>[assistant]|a<|end|>|b<|end|>"
	for name, row := range map[string]string{
		"messages":            `{"prompt":[{"role":"user","content":"q"}],"chosen":[{"role":"assistant","content":"a"}],"rejected":[{"role":"assistant","content":"b"}]}`,
		"sharegpt":            `{"conversations":[{"from":"human","value":"q"}],"chosen":{"from":"gpt","value":"a"},"rejected":{"from":"gpt","value":"b"}}`,
		"alpaca":              `{"instruction":"q","input":"","chosen":"a","rejected":"b"}`,
		"implicit":            `{"chosen":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"rejected":[{"role":"user","content":"q"},{"role":"assistant","content":"b"}]}`,
		"prompt said twice":   `{"prompt":"q","chosen":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"rejected":[{"role":"user","content":"q"},{"role":"assistant","content":"b"}]}`,
		"plain prompt, chats": `{"prompt":"q","chosen":[{"role":"assistant","content":"a"}],"rejected":[{"role":"assistant","content":"b"}]}`,
	} {
		ds, _ := open(t, opt, "a.jsonl", row)
		ex, err := ds.Pair(0)
		if err != nil {
			t.Fatal(err)
		}
		tok := toyTokenizer{}
		if got := tok.Decode(ex.Prompt) + "|" + tok.Decode(ex.Chosen) + "|" + tok.Decode(ex.Rejected); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	dir := write(t, "a.jsonl", strings.Join([]string{
		`{"prompt":"q","chosen":"a","rejected":"a"}`, `{"prompt":"q","chosen":"","rejected":"a"}`, `{"prompt":"q","chosen":"b","rejected":"a"}`}, "\n"))
	_, ledger, err := Open(t.Context(), []Source{{Path: dir}}, opt, toyTokenizer{})
	if err != nil || ledger.Dropped[DropIdentical] != 1 || ledger.Dropped[DropEmptyCompletion] != 1 || ledger.Kept != 1 {
		t.Errorf("ledger %+v, error %v", ledger, err)
	}
	opt.Objective = Unpaired
	ds, _ := open(t, opt, "a.jsonl", `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"label":"True","completion":null}`)
	if ds.Len() != 1 {
		t.Errorf("%d rows", ds.Len())
	}
}

func TestCache(t *testing.T) {
	cache := t.TempDir()
	opt := toyOptions()
	opt.CacheDir = cache
	dir := write(t, "a.jsonl", "{\"text\":\"abc\"}\n{\"prompt\":\"p\",\"completion\":\"c\"}\n{\"text\":\"\"}\n")
	sources := []Source{{Path: dir}}
	read := func() ([]string, *Ledger) {
		ds, ledger, err := Open(t.Context(), sources, opt, toyTokenizer{})
		if err != nil {
			t.Fatal(err)
		}
		defer ds.Close()
		return append(allMarked(t, ds), ds.Ref(1).String()), ledger
	}
	first, l1 := read()
	second, l2 := read()
	if l1.Cached || !l2.Cached {
		t.Fatalf("cached: %v, then %v", l1.Cached, l2.Cached)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Error(diff)
	}
	l2.Cached = false
	if diff := cmp.Diff(l1, l2); diff != "" {
		t.Error(diff)
	}
	// Every flipped byte is noticed, and a cut-off file, too; the rows are then tokenised anew and the file replaced.
	whole, err := os.ReadFile(l1.Cache)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i <= len(whole); i += 7 {
		broken := bytes.Clone(whole)
		if i < len(whole) {
			broken[i] ^= 4
		} else {
			broken = broken[:len(broken)/2]
		}
		if err := os.WriteFile(l1.Cache, broken, 0o644); err != nil {
			t.Fatal(err)
		}
		got, l := read()
		if diff := cmp.Diff(first, got); diff != "" || l.Cached || len(l.Warnings) == 0 {
			t.Fatalf("byte %d: cached %v, warnings %v: %s", i, l.Cached, l.Warnings, diff)
		}
	}
	if names, _ := filepath.Glob(filepath.Join(cache, "*")); len(names) != 1 {
		t.Errorf("the cache holds %v", names)
	}
	// Whatever the tokens depend on changes the key.
	for name, change := range map[string]func(){
		"max_length": func() { opt.MaxLength-- }, "template": func() { opt.Template = toyTemplate{end: "</s>"} },
		"mask": func() { opt.CompletionOnlyLoss = ptr(false) }, "columns": func() { sources[0].Layout = LayoutAuto },
		"data": func() {
			os.WriteFile(filepath.Join(dir, "a.jsonl"), []byte("{\"text\":\"abd\"}\n{\"text\":\"x\"}\n"), 0o644)
		},
	} {
		change()
		if _, l := read(); l.Cached {
			t.Errorf("%s: the old tokens are used", name)
		}
	}
}

// TestCacheOnDisk reads rows by position from the file, as large datasets are.
func TestCacheOnDisk(t *testing.T) {
	opt := toyOptions()
	opt.CacheDir = t.TempDir()
	var b strings.Builder
	for i := range 300 {
		fmt.Fprintf(&b, "{\"text\":\"row %d\"}\n", i)
	}
	dir := write(t, "a.jsonl", b.String())
	ds, ledger, err := Open(t.Context(), []Source{{Path: dir}}, opt, toyTokenizer{})
	if err != nil {
		t.Fatal(err)
	}
	want := allMarked(t, ds)
	f, err := os.Open(ledger.Cache)
	if err != nil {
		t.Fatal(err)
	}
	ds.store.file, ds.store.mem = f, nil
	defer ds.Close()
	if diff := cmp.Diff(want, allMarked(t, ds)); diff != "" {
		t.Error(diff)
	}
}

func TestMix(t *testing.T) {
	var a, b strings.Builder
	for i := range 100 {
		fmt.Fprintf(&a, "{\"text\":\"a%d\"}\n", i)
		if i < 30 {
			fmt.Fprintf(&b, "{\"text\":\"b%d\"}\n", i)
		}
	}
	dirA, dirB := write(t, "a.jsonl", a.String()), write(t, "b.jsonl", b.String())
	count := func(opt Options, fa, fb, wa, wb float64) (na, nb, distinct int, order string) {
		t.Helper()
		ds, _, err := Open(t.Context(), []Source{{Path: dirA, Fraction: fa, Weight: wa}, {Path: dirB, Fraction: fb, Weight: wb}}, opt, toyTokenizer{})
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, row := range allMarked(t, ds) {
			if strings.HasPrefix(row, "{<s>a") {
				na++
			} else {
				nb++
			}
			seen[row] = true
			order += row
		}
		return na, nb, len(seen), order
	}
	opt := toyOptions()
	tests := []struct {
		name           string
		over           bool
		fa, fb, wa, wb float64
		na, nb, uniq   int
	}{
		{"all", false, 0, 0, 0, 0, 100, 30, 130},
		{"fractions", false, .25, 1, 0, 0, 25, 30, 55},
		{"fraction above one", false, .1, 2.5, 0, 0, 10, 75, 40},
		{"weights", false, 0, 0, 1, 1, 30, 30, 60},
		{"weights, oversampled", true, 0, 0, .5, .5, 100, 100, 130},
		{"fraction and weight", false, .5, 0, 2, 1, 50, 25, 75},
	}
	for _, tt := range tests {
		opt.Oversample, opt.Seed = tt.over, 1
		na, nb, uniq, order := count(opt, tt.fa, tt.fb, tt.wa, tt.wb)
		if na != tt.na || nb != tt.nb || uniq != tt.uniq {
			t.Errorf("%s: %d and %d rows, %d distinct; want %d, %d, %d", tt.name, na, nb, uniq, tt.na, tt.nb, tt.uniq)
		}
		if _, _, _, again := count(opt, tt.fa, tt.fb, tt.wa, tt.wb); again != order {
			t.Errorf("%s: the same seed gives another mixture", tt.name)
		}
	}
	opt.Seed = 1
	_, _, _, one := count(opt, .25, 1, 0, 0)
	opt.Seed = 2
	if _, _, _, two := count(opt, .25, 1, 0, 0); one == two {
		t.Error("the seed changes nothing")
	}
	if _, _, err := Open(t.Context(), []Source{{Path: dirA, Weight: 1}, {Path: dirB}}, opt, toyTokenizer{}); !errors.Is(err, ErrOptions) {
		t.Errorf("one weight of two: %v", err)
	}
}

func TestSplit(t *testing.T) {
	var b strings.Builder
	for i := range 50 {
		fmt.Fprintf(&b, "{\"text\":\"row %d\"}\n", i)
	}
	ds, _ := open(t, toyOptions(), "a.jsonl", b.String())
	for size, want := range map[float64]int{0.1: 5, 0.05: 3, 7: 7} {
		train, eval, err := ds.Split(size, 42)
		if err != nil {
			t.Fatal(err)
		}
		again, _, err := ds.Split(size, 42)
		if err != nil {
			t.Fatal(err)
		}
		if eval.Len() != want || train.Len() != 50-want {
			t.Errorf("%v: %d to train on, %d to evaluate on", size, train.Len(), eval.Len())
		}
		rows := map[string]bool{}
		for _, row := range append(allMarked(t, train), allMarked(t, eval)...) {
			rows[row] = true
		}
		if len(rows) != 50 {
			t.Errorf("%v: %d distinct rows in both parts, want 50", size, len(rows))
		}
		if diff := cmp.Diff(allMarked(t, train), allMarked(t, again)); diff != "" {
			t.Error(diff)
		}
	}
	for _, size := range []float64{0, -1, 50, 0.999} {
		if _, _, err := ds.Split(size, 1); !errors.Is(err, ErrOptions) {
			t.Errorf("test_size %v: error %v", size, err)
		}
	}
}

// What became of one row of a file is on one side of a split, and rows of several files are told apart.
func TestSplitKeepsRowsTogether(t *testing.T) {
	opt := toyOptions()
	opt.MaxLength, opt.Overflow = 8, SplitLong
	row := func(i int) string {
		return fmt.Sprintf("{\"text\":%q}\n", strings.Repeat(string(rune('a'+i)), 2+4*(i%5)))
	}
	var one, two strings.Builder
	for i := range 13 {
		one.WriteString(row(i))
		two.WriteString(row(i + 13))
	}
	ds, _ := open(t, opt, "a.jsonl", one.String(), "b.jsonl", two.String())
	if ds.Len() <= 26 {
		t.Fatalf("%d records of 26 rows: nothing was cut", ds.Len())
	}
	for seed := range uint64(5) {
		train, eval, err := ds.Split(5, seed)
		if err != nil {
			t.Fatal(err)
		}
		if train.Len()+eval.Len() != ds.Len() {
			t.Errorf("%d and %d records of %d", train.Len(), eval.Len(), ds.Len())
		}
		rows := [2]map[Ref]bool{{}, {}}
		for part, d := range []*Dataset{train, eval} {
			for i := range d.Len() {
				rows[part][d.Ref(i)] = true
			}
		}
		for r := range rows[1] {
			if rows[0][r] {
				t.Errorf("seed %d: %s is on both sides", seed, r)
			}
		}
		if len(rows[0]) != 21 || len(rows[1]) != 5 {
			t.Errorf("seed %d: %d and %d rows", seed, len(rows[0]), len(rows[1]))
		}
	}
}

// TestCancel: an interrupted build ends at once, without goroutines or half a cache file left over.
func TestCancel(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	opt := toyOptions()
	opt.CacheDir, opt.Workers = t.TempDir(), 3
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	opt.Progress = func(int) { cancel() }
	dir := write(t, "a.jsonl", strings.Repeat("{\"text\":\"a row\"}\n", 200_000))
	_, ledger, err := Open(ctx, []Source{{Path: dir}}, opt, toyTokenizer{})
	if !errors.Is(err, context.Canceled) || ledger.Rows == 200_000 {
		t.Errorf("error %v after %d rows", err, ledger.Rows)
	}
	if left, err := os.ReadDir(opt.CacheDir); err != nil || len(left) > 0 {
		t.Errorf("the cache holds %v, %v", left, err)
	}
}

// TestCacheUnwritable: a cache that can't be written is an error that says where and what to do.
func TestCacheUnwritable(t *testing.T) {
	opt := toyOptions()
	dir := write(t, "a.jsonl", `{"text":"a"}`, "file", "")
	opt.CacheDir = filepath.Join(dir, "file", "cache")
	if _, _, err := Open(t.Context(), []Source{{Path: filepath.Join(dir, "a.jsonl")}}, opt, toyTokenizer{}); err == nil || !strings.Contains(err.Error(), "token cache") {
		t.Errorf("error %v", err)
	}
}
