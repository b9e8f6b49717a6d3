package metric

import "strings"

// Stem is the stem of a word in small letters, by Porter's algorithm with the
// amendments of NLTK, which rouge-score uses. Source: Porter 1980, "An algorithm
// for suffix stripping".
func Stem(word string) string {
	switch word {
	case "sky", "skies":
		return "sky"
	case "dying":
		return "die"
	case "lying":
		return "lie"
	case "tying":
		return "tie"
	case "news", "howe", "proceed", "exceed", "succeed":
		return word
	case "innings", "inning":
		return "inning"
	case "outings", "outing":
		return "outing"
	case "cannings", "canning":
		return "canning"
	}
	if len(word) <= 2 {
		return word
	}
	word = stemPlural(word)
	word = stemPast(word)
	word = stemY(word)
	word = stemDouble(word)
	word = replaceSuffix(word, step3)
	word = stemStep4(word)
	return stemEnd(word)
}

// suffixRule replaces a suffix where the measure of what remains exceeds 0.
type suffixRule struct{ suffix, with string }

var step2 = []suffixRule{
	{"ational", "ate"}, {"tional", "tion"}, {"enci", "ence"}, {"anci", "ance"}, {"izer", "ize"}, {"bli", "ble"},
	{"alli", "al"}, {"entli", "ent"}, {"eli", "e"}, {"ousli", "ous"}, {"ization", "ize"}, {"ation", "ate"},
	{"ator", "ate"}, {"alism", "al"}, {"iveness", "ive"}, {"fulness", "ful"}, {"ousness", "ous"}, {"aliti", "al"},
	{"iviti", "ive"}, {"biliti", "ble"}, {"fulli", "ful"},
}

var step3 = []suffixRule{
	{"icate", "ic"}, {"ative", ""}, {"alize", "al"}, {"iciti", "ic"}, {"ical", "ic"}, {"ful", ""}, {"ness", ""},
}

var step4 = []string{
	"al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou", "ism", "ate", "iti", "ous", "ive", "ize",
}

// consonant reports whether w[i] is one; y is one unless it follows one.
func consonant(w string, i int) bool {
	flip := false
	for i > 0 && w[i] == 'y' {
		flip = !flip
		i--
	}
	return !isVowel(w[i]) != flip
}

func isVowel(c byte) bool { return c == 'a' || c == 'e' || c == 'i' || c == 'o' || c == 'u' }

// measure is the m of [C](VC)ᵐ[V].
func measure(w string) int {
	m := 0
	wasVowel := false
	for i := range len(w) {
		vowel := isVowel(w[i]) || w[i] == 'y' && i > 0 && !wasVowel
		if wasVowel && !vowel {
			m++
		}
		wasVowel = vowel
	}
	return m
}

func hasVowel(w string) bool {
	for i := range len(w) {
		if !consonant(w, i) {
			return true
		}
	}
	return false
}

// endsCVC is the paper's *o: consonant, vowel, consonant that is not w, x or y.
// A word of a vowel and a consonant passes too.
func endsCVC(w string) bool {
	n := len(w)
	if n == 2 {
		return !consonant(w, 0) && consonant(w, 1)
	}
	return n >= 3 && consonant(w, n-3) && !consonant(w, n-2) && consonant(w, n-1) && w[n-1] != 'w' && w[n-1] != 'x' && w[n-1] != 'y'
}

func endsDouble(w string) bool {
	n := len(w)
	return n >= 2 && w[n-1] == w[n-2] && consonant(w, n-1)
}

func stemPlural(w string) string {
	switch {
	case strings.HasSuffix(w, "ies") && len(w) == 4:
		return w[:3]
	case strings.HasSuffix(w, "sses"), strings.HasSuffix(w, "ies"):
		return w[:len(w)-2]
	case strings.HasSuffix(w, "s") && !strings.HasSuffix(w, "ss"):
		return w[:len(w)-1]
	}
	return w
}

func stemPast(w string) string {
	if stem, ok := strings.CutSuffix(w, "ied"); ok {
		if len(stem) == 1 {
			return stem + "ie"
		}
		return stem + "i"
	}
	if stem, ok := strings.CutSuffix(w, "eed"); ok {
		if measure(stem) > 0 {
			return stem + "ee"
		}
		return w
	}
	stem, ok := strings.CutSuffix(w, "ed")
	if !ok || !hasVowel(stem) {
		if stem, ok = strings.CutSuffix(w, "ing"); !ok || !hasVowel(stem) {
			return w
		}
	}
	last := stem[len(stem)-1]
	switch {
	case strings.HasSuffix(stem, "at"), strings.HasSuffix(stem, "bl"), strings.HasSuffix(stem, "iz"):
		return stem + "e"
	case endsDouble(stem):
		if last == 'l' || last == 's' || last == 'z' {
			return stem
		}
		return stem[:len(stem)-1]
	case measure(stem) == 1 && endsCVC(stem):
		return stem + "e"
	}
	return stem
}

func stemY(w string) string {
	if stem, ok := strings.CutSuffix(w, "y"); ok && len(stem) > 1 && consonant(stem, len(stem)-1) {
		return stem + "i"
	}
	return w
}

func stemDouble(w string) string {
	for strings.HasSuffix(w, "alli") && measure(w[:len(w)-4]) > 0 {
		w = w[:len(w)-2]
	}
	for _, r := range step2 {
		if strings.HasSuffix(w, r.suffix) {
			return replaceSuffix(w, []suffixRule{r})
		}
	}
	if strings.HasSuffix(w, "logi") && measure(w[:len(w)-3]) > 0 {
		return w[:len(w)-1]
	}
	return w
}

// replaceSuffix applies the first rule whose suffix w has, if its stem is long enough.
func replaceSuffix(w string, rules []suffixRule) string {
	for _, r := range rules {
		if stem, ok := strings.CutSuffix(w, r.suffix); ok {
			if measure(stem) > 0 {
				return stem + r.with
			}
			return w
		}
	}
	return w
}

func stemStep4(w string) string {
	for _, suffix := range step4 {
		if stem, ok := strings.CutSuffix(w, suffix); ok {
			if measure(stem) > 1 && (suffix != "ion" || strings.HasSuffix(stem, "s") || strings.HasSuffix(stem, "t")) {
				return stem
			}
			return w
		}
	}
	return w
}

func stemEnd(w string) string {
	if stem, ok := strings.CutSuffix(w, "e"); ok {
		if m := measure(stem); m > 1 || m == 1 && !endsCVC(stem) {
			w = stem
		}
	}
	if strings.HasSuffix(w, "ll") && measure(w[:len(w)-1]) > 1 {
		return w[:len(w)-1]
	}
	return w
}
