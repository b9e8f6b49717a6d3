package metric

import (
	"regexp"
	"strings"
)

// The substitutions of mteval-v13a for Western languages, in its order.
var western = []struct {
	pattern *regexp.Regexp
	replace string
}{
	{regexp.MustCompile(`([ -&(-+:-@/\[-` + "`" + `{-~])`), ` $1 `}, // symbols and marks but ' , - and .
	{regexp.MustCompile(`([^0-9])([.,])`), `$1 $2 `},
	{regexp.MustCompile(`([.,])([^0-9])`), ` $1 $2`},
	{regexp.MustCompile(`([0-9])(-)`), `$1 $2 `},
}

// The substitutions of mteval-v14 with international tokenisation.
var international = []struct {
	pattern *regexp.Regexp
	replace string
}{
	{regexp.MustCompile(`(\P{N})(\p{P})`), `$1 $2 `},
	{regexp.MustCompile(`(\p{P})(\P{N})`), ` $1 $2`},
	{regexp.MustCompile(`(\p{S})`), ` $1 `},
}

// tokenizerNamed gives the tokenizer of BLEU that sacrebleu calls so.
func tokenizerNamed(name string) (func(string) []string, error) {
	switch name {
	case "13a":
		return tokenize13a, nil
	case "intl":
		return tokenizeIntl, nil
	case "zh":
		return tokenizeZh, nil
	case "char":
		return tokenizeChar, nil
	case "none":
		return fields, nil
	}
	return nil, inputErrorf("tokenizer %q is not one of 13a, intl, zh, char and none", name)
}

func tokenize13a(text string) []string {
	text = strings.ReplaceAll(text, "<skipped>", "")
	text = strings.ReplaceAll(text, "-\n", "")
	text = strings.ReplaceAll(text, "\n", " ")
	return tokenizeWestern(" " + unescape(text) + " ")
}

// unescape turns entities into characters, one after the other: &amp;lt; becomes <, as in mteval.
func unescape(text string) string {
	if strings.Contains(text, "&") {
		for _, e := range [][2]string{{"&quot;", `"`}, {"&amp;", "&"}, {"&lt;", "<"}, {"&gt;", ">"}} {
			text = strings.ReplaceAll(text, e[0], e[1])
		}
	}
	return text
}

func tokenizeWestern(text string) []string {
	for _, s := range western {
		text = s.pattern.ReplaceAllString(text, s.replace)
	}
	return fields(text)
}

func tokenizeIntl(text string) []string {
	for _, s := range international {
		text = s.pattern.ReplaceAllString(text, s.replace)
	}
	return fields(text)
}

func tokenizeChar(text string) []string {
	var out []string
	for _, word := range fields(text) {
		for _, r := range word {
			out = append(out, string(r))
		}
	}
	return out
}

// tokenizeZh cuts out every Chinese character, and treats the rest as Western.
func tokenizeZh(text string) []string {
	var b strings.Builder
	for _, r := range strings.TrimFunc(text, isSpace) {
		if isChinese(r) {
			b.WriteByte(' ')
			b.WriteRune(r)
			b.WriteByte(' ')
		} else {
			b.WriteRune(r)
		}
	}
	return tokenizeWestern(b.String())
}

// isChinese goes by the ranges that sacrebleu's zh really tests. Its ranges of
// five hexadecimal digits (U+20000 to U+2A6D6) are read by Python as a character
// and a digit, and reach from U+2001 to U+2A6D: general punctuation, arrows and
// mathematical signs count as Chinese, and ideographs beyond U+FFFF do not.
func isChinese(r rune) bool {
	switch {
	case r >= 0x2001 && r <= 0x2a6d,
		r >= 0x2e80 && r <= 0x2fdf,
		r >= 0x2ff0 && r <= 0x303f,
		r >= 0x3100 && r <= 0x312f,
		r >= 0x31a0 && r <= 0x31bf,
		r >= 0x31c0 && r <= 0x31ef,
		r >= 0x3200 && r <= 0x4db5,
		r >= 0x4e00 && r <= 0x9fbb,
		r >= 0xf900 && r <= 0xfa2d,
		r >= 0xfa30 && r <= 0xfa6a,
		r >= 0xfa70 && r <= 0xfad9,
		r >= 0xfe10 && r <= 0xfe1f,
		r >= 0xfe30 && r <= 0xfe4f,
		r >= 0xff00 && r <= 0xffef:
		return true
	}
	return false
}
