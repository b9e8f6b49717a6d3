package metric

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
)

type goldenTexts struct {
	Corpora []struct {
		Name        string
		Predictions []string
		References  [][]string
		BLEU        map[string]struct {
			Score, BP                  number
			Precisions, Counts, Totals []number
			SysLen                     int `json:"sys_len"`
			RefLen                     int `json:"ref_len"`
			Text, Signature            string
			Sentences                  []number
		}
		ChrF map[string]struct {
			Score           number
			Text, Signature string
			Sentences       []number
		}
		TER map[string]struct {
			Score, Edits, Length number
			Text, Signature      string
			Sentences            []number
		}
		ROUGE      map[string][]map[string][3]number
		ExactMatch []number `json:"exact_match"`
		F1         []number
	}
	Lines      []string
	Tokens     map[string][][]string
	Normalized map[string]string
	PassAtK    [][4]float64 `json:"pass_at_k"`
}

func bleus() map[string]BLEU {
	return map[string]BLEU{
		"default": {}, "lower": {Lowercase: true}, "intl": {Tokenizer: "intl"}, "zh": {Tokenizer: "zh"},
		"char": {Tokenizer: "char"}, "none": {Tokenizer: "none"}, "floor": {Smooth: SmoothFloor},
		"floor-0.5": {Smooth: SmoothFloor, SmoothValue: 0.5}, "add-k": {Smooth: SmoothAddK},
		"add-k-2": {Smooth: SmoothAddK, SmoothValue: 2}, "no-smoothing": {Smooth: SmoothNone},
		"effective": {EffectiveOrder: true}, "order-2": {MaxOrder: 2, EffectiveOrder: true},
	}
}

func chrfs() map[string]CHRF {
	return map[string]CHRF{
		"chrF": {}, "chrF++": {WordOrder: 2}, "chrF-lower-space": {Lowercase: true, Whitespace: true},
		"chrF-eps": {EpsSmoothing: true, WordOrder: 1}, "chrF-3": {CharOrder: 3, Beta: 3},
	}
}

func TestTokenizersAreSacrebleus(t *testing.T) {
	var g goldenTexts
	load(t, "texts.json", &g)
	for name, lines := range g.Tokens {
		tokenize := must[func(string) []string](t)(tokenizerNamed(name))
		for i, want := range lines {
			if got := tokenize(strings.TrimRightFunc(g.Lines[i], isSpace)); !slices.Equal(got, want) {
				t.Errorf("%s %q:\n got %q\nwant %q", name, g.Lines[i], got, want)
			}
		}
	}
}

func TestBLEUIsSacrebleus(t *testing.T) {
	var g goldenTexts
	load(t, "texts.json", &g)
	for _, c := range g.Corpora {
		for name, b := range bleus() {
			if c.Name == "shuffled" {
				continue // of TER only
			}
			want, what := c.BLEU[name], c.Name+" "+name
			s := must[BLEUScore](t)(b.Corpus(c.Predictions, c.References))
			near(t, what+" score", s.Score, want.Score)
			near(t, what+" bp", s.BP, want.BP)
			nearAll(t, what+" precisions", s.Precisions, want.Precisions)
			nearAll(t, what+" counts", s.Counts, want.Counts)
			nearAll(t, what+" totals", s.Totals, want.Totals)
			if s.SysLen != want.SysLen || s.RefLen != want.RefLen {
				t.Errorf("%s: lengths %d and %d, want %d and %d", what, s.SysLen, s.RefLen, want.SysLen, want.RefLen)
			}
			if s.String() != want.Text {
				t.Errorf("%s: %s\nwant %s", what, s, want.Text)
			}
			if sig := must[string](t)(b.Signature(c.References)); sig != want.Signature {
				t.Errorf("%s: signature %s, want %s", what, sig, want.Signature)
			}
			for i, h := range c.Predictions {
				s := must[BLEUScore](t)(b.Sentence(h, c.References[i]))
				near(t, what+" sentence "+strconv.Itoa(i), s.Score, want.Sentences[i])
			}
		}
	}
}

func TestChrFIsSacrebleus(t *testing.T) {
	var g goldenTexts
	load(t, "texts.json", &g)
	for _, c := range g.Corpora {
		for name, m := range chrfs() {
			if c.Name == "shuffled" {
				continue // of TER only
			}
			want, what := c.ChrF[name], c.Name+" "+name
			s := must[CHRFScore](t)(m.Corpus(c.Predictions, c.References))
			near(t, what, s.Score, want.Score)
			if s.String() != want.Text {
				t.Errorf("%s: %s, want %s", what, s, want.Text)
			}
			if sig := must[string](t)(m.Signature(c.References)); sig != want.Signature {
				t.Errorf("%s: signature %s, want %s", what, sig, want.Signature)
			}
			for i, h := range c.Predictions {
				s := must[CHRFScore](t)(m.Sentence(h, c.References[i]))
				near(t, what+" sentence "+strconv.Itoa(i), s.Score, want.Sentences[i])
			}
		}
	}
}

func TestTERIsSacrebleus(t *testing.T) {
	var g goldenTexts
	load(t, "texts.json", &g)
	ters := map[string]TER{"default": {}, "normalized": {Normalize: true}, "no-punct": {NoPunctuation: true},
		"both": {Normalize: true, NoPunctuation: true}, "case": {CaseSensitive: true}}
	for _, c := range g.Corpora {
		for name, m := range ters {
			want, what := c.TER[name], c.Name+" "+name
			s := must[TERScore](t)(m.Corpus(c.Predictions, c.References))
			near(t, what, s.Score, want.Score)
			near(t, what+" edits", float64(s.Edits), want.Edits)
			near(t, what+" length", s.RefLength, want.Length)
			if sig := m.Signature(c.References); s.String() != want.Text || sig != want.Signature {
				t.Errorf("%s: %s (%s), want %s (%s)", what, s, sig, want.Text, want.Signature)
			}
			for i, h := range c.Predictions {
				s := must[TERScore](t)(m.Sentence(h, c.References[i]))
				near(t, what+" sentence "+strconv.Itoa(i), s.Score, want.Sentences[i])
			}
		}
	}
}

func TestROUGEIsRougeScores(t *testing.T) {
	var g goldenTexts
	load(t, "texts.json", &g)
	for _, c := range g.Corpora {
		if c.Name == "shuffled" {
			continue // of TER only
		}
		for name, r := range map[string]ROUGE{"plain": {}, "stem": {Stemmer: true}} {
			mean := must[ROUGEScores](t)(r.Corpus(c.Predictions, c.References))
			lsum := 0.0
			for i, p := range c.Predictions {
				s := must[ROUGEScores](t)(r.Score(p, c.References[i]))
				for kind, got := range map[string]PRF{"rouge1": s.ROUGE1, "rouge2": s.ROUGE2, "rougeL": s.ROUGEL, "rougeLsum": s.ROUGELsum} {
					want := c.ROUGE[name][i][kind]
					what := c.Name + " " + name + " " + kind + " row " + strconv.Itoa(i)
					near(t, what+" precision", got.Precision, want[0])
					near(t, what+" recall", got.Recall, want[1])
					near(t, what+" f", got.F, want[2])
				}
				lsum += float64(c.ROUGE[name][i]["rougeLsum"][2])
			}
			near(t, c.Name+" mean", mean.ROUGELsum.F, number(lsum/float64(len(c.Predictions))))
		}
	}
}

func TestStemIsNLTKs(t *testing.T) {
	var stems map[string]string
	load(t, "stems.json", &stems)
	for word, want := range stems {
		if got := Stem(word); got != want {
			t.Errorf("Stem(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestExactMatchAndTokenF1(t *testing.T) {
	var g goldenTexts
	load(t, "texts.json", &g)
	for text, want := range g.Normalized {
		if got := NormalizeAnswer(text); got != want {
			t.Errorf("NormalizeAnswer(%q) = %q, want %q", text, got, want)
		}
	}
	for _, c := range g.Corpora {
		for i, p := range c.Predictions {
			near(t, c.Name+" exact match", ExactMatch(p, c.References[i]), c.ExactMatch[i])
			near(t, c.Name+" F1", TokenF1(p, c.References[i]), c.F1[i])
		}
	}
}

func TestPassAtKIsHumanEvals(t *testing.T) {
	var g goldenTexts
	load(t, "texts.json", &g)
	for _, c := range g.PassAtK {
		near(t, "pass@k", must[float64](t)(PassAtK(int(c[0]), int(c[1]), int(c[2]))), number(c[3]))
	}
	for _, bad := range [][3]int{{5, 6, 1}, {5, -1, 1}, {5, 1, 0}, {5, 1, 6}} {
		if _, err := PassAtK(bad[0], bad[1], bad[2]); !errors.Is(err, ErrInput) {
			t.Errorf("PassAtK%v: %v, want ErrInput", bad, err)
		}
	}
}

func TestMatcher(t *testing.T) {
	m := must[*Matcher](t)(NewMatcher([]string{`,`, `(?s).*#### `, `\.$`}))
	m.IgnoreCase = true
	for _, tc := range []struct {
		prediction, reference string
		want                  bool
	}{
		{"So it is\n#### 1,234.", "1234", true},
		{"ABC", "abc", true},
		{"12", "13", false},
	} {
		if got := must[bool](t)(m.Match(tc.prediction, tc.reference)); got != tc.want {
			t.Errorf("%q against %q: %v", tc.prediction, tc.reference, got)
		}
	}
	m = &Matcher{IgnorePunctuation: true, IgnoreNumbers: true}
	if !must[bool](t)(m.Match("a1-b!", "ab22")) {
		t.Error("punctuation and digits are not ignored")
	}
	if _, err := NewMatcher([]string{"("}); err == nil || !strings.Contains(err.Error(), `"("`) {
		t.Errorf("faulty expression: %v", err)
	}
}

func TestTextMetricsRefuse(t *testing.T) {
	refs := [][]string{{"a"}}
	for name, err := range map[string]error{
		"lengths":   second(BLEU{}.Corpus([]string{"a", "b"}, refs)),
		"no rows":   second(CHRF{}.Corpus(nil, nil)),
		"no refs":   second(BLEU{}.Corpus([]string{"a"}, [][]string{{}})),
		"no refs 2": second(CHRF{}.Corpus([]string{"a"}, [][]string{{}})),
		"no refs 3": second(ROUGE{}.Corpus([]string{"a"}, [][]string{{}})),
		"tokenizer": second(BLEU{Tokenizer: "13b"}.Corpus([]string{"a"}, refs)),
		"smoothing": second(BLEU{Smooth: "mild"}.Corpus([]string{"a"}, refs)),
		"order":     second(CHRF{CharOrder: -1}.Corpus([]string{"a"}, refs)),
	} {
		if !errors.Is(err, ErrInput) {
			t.Errorf("%s: %v, want ErrInput", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// Whatever a model writes, scores are numbers within their bounds, and a text
// scores 100 % against itself.
func FuzzTextMetrics(f *testing.F) {
	f.Add("the cat\nsat", "The cat is on the mat.")
	f.Add("", "\xff\xfe")
	f.Add("&amp;quot; İ ΣΣ", "￿ 12.5 -3")
	f.Fuzz(func(t *testing.T, a, b string) {
		within := func(name string, x, most float64) {
			if !(x >= 0 && x <= most*(1+1e-12)) {
				t.Errorf("%s of %q and %q is %g", name, a, b, x)
			}
		}
		for _, tok := range []string{"13a", "intl", "zh", "char", "none"} {
			s, err := BLEU{Tokenizer: tok, EffectiveOrder: true}.Sentence(a, []string{b})
			if err != nil {
				t.Fatal(err)
			}
			within("bleu "+tok, s.Score, 100)
		}
		s, err := CHRF{WordOrder: 2}.Sentence(a, []string{b})
		if err != nil {
			t.Fatal(err)
		}
		within("chrf", s.Score, 100)
		r, err := ROUGE{Stemmer: true}.Score(a, []string{b})
		if err != nil {
			t.Fatal(err)
		}
		within("rouge", r.ROUGELsum.F, 1)
		if ter, err := (TER{Normalize: true}).Sentence(a, []string{b}); err != nil || !(ter.Score >= 0) {
			t.Errorf("TER of %q and %q is %v, %v", a, b, ter, err)
		}
		within("f1", TokenF1(a, []string{b}), 1)
		if ExactMatch(a, []string{a}) != 1 || TokenF1(a, []string{a}) < 1-1e-12 {
			t.Errorf("%q does not match itself", a)
		}
	})
}
