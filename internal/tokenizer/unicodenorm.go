package tokenizer

import (
	"cmp"
	"slices"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// unicodeNormalizer is one of the four Unicode normalization forms (UAX #15).
type unicodeNormalizer struct {
	form    norm.Form
	compat  bool // decompose compatibility characters too
	compose bool
}

var (
	nfc  = unicodeNormalizer{norm.NFC, false, true}
	nfd  = unicodeNormalizer{norm.NFD, false, false}
	nfkc = unicodeNormalizer{norm.NFKC, true, true}
	nfkd = unicodeNormalizer{norm.NFKD, true, false}
)

func (u unicodeNormalizer) normalize(t *text) error {
	if isASCII(t.s) || u.form.IsNormalString(t.s) {
		return nil // the reference's older tables change nothing more than x/text's
	}
	if !t.track {
		t.s = u.normalizeString(t.s)
		return nil
	}
	changes := u.decompose(t.s)
	if u.compose {
		changes = compose(changes)
	}
	t.transform(changes, 0)
	return nil
}

// normalizeString is normalize without alignment. x/text handles nearly all texts; those it would treat differently
// from the reference take the slow way.
func (u unicodeNormalizer) normalizeString(s string) string {
	if !special(s) {
		return u.form.String(s)
	}
	changes := u.decompose(s)
	if u.compose {
		changes = compose(changes)
	}
	out := make([]byte, 0, len(s))
	for _, c := range changes {
		out = utf8.AppendRune(out, c.r)
	}
	return string(out)
}

// special tells whether x/text may differ from the reference on s: it breaks up runs of more than thirty non-starters
// (the stream-safe format), and it knows runes that the reference's tables, of an older Unicode, do not.
func special(s string) bool {
	run := 0
	for i := 0; i < len(s); {
		if s[i] < utf8.RuneSelf {
			run = 0
			i++
			continue
		}
		p := norm.NFKD.PropertiesString(s[i:])
		n := max(p.Size(), 1)
		if p.CCC() == 0 && p.Decomposition() == nil {
			run = 0
			i += n
			continue
		}
		r, _ := utf8.DecodeRuneInString(s[i:])
		if unknownToReference(r, p) {
			return true
		}
		if p.CCC() != 0 {
			if run++; run > 8 { // each may decompose into three
				return true
			}
		} else {
			run = 0
		}
		i += n
	}
	return false
}

// unknownToReference tells whether r got its properties in a version of Unicode that the reference does not have.
func unknownToReference(r rune, p norm.Properties) bool {
	return p.Decomposition() != nil && !setDecomposed.has(r) || p.CCC() != 0 && !setCombining.has(r)
}

// ccc is the canonical combining class of a rune.
func ccc(r rune) uint8 {
	if r < 0x300 || !setCombining.has(r) {
		return 0
	}
	var buf [utf8.UTFMax]byte
	n := utf8.EncodeRune(buf[:], r)
	return norm.NFD.Properties(buf[:n]).CCC()
}

// decompose gives the canonical or compatibility decomposition of s in canonical order, with each rune's origin:
// the first rune of a decomposition replaces, the others are inserted.
func (u unicodeNormalizer) decompose(s string) []change {
	form := norm.NFD
	if u.compat {
		form = norm.NFKD
	}
	var out []change
	var classes []uint8
	starter := 0 // index behind the last starter
	flush := func() {
		if len(out)-starter > 1 {
			order := make([]int, len(out)-starter)
			for i := range order {
				order[i] = starter + i
			}
			slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(classes[a], classes[b]) })
			sorted := make([]change, len(order))
			for i, k := range order {
				sorted[i] = out[k]
			}
			copy(out[starter:], sorted)
			slices.Sort(classes[starter:])
		}
	}
	for _, r := range s {
		n := 0
		for _, d := range decomposeRune(form, r) {
			c := ccc(d)
			if c == 0 {
				flush()
			}
			out = append(out, change{d, n})
			classes = append(classes, c)
			if c == 0 {
				starter = len(out)
			}
			n = 1
		}
	}
	flush()
	return out
}

func decomposeRune(form norm.Form, r rune) []rune {
	if r < 0xA0 || !setDecomposed.has(r) {
		return []rune{r}
	}
	if d := form.PropertiesString(string(r)).Decomposition(); d != nil {
		return []rune(string(d))
	}
	if r >= hangulBase && r < hangulBase+hangulCount {
		return []rune(form.String(string(r)))
	}
	return []rune{r}
}

const (
	hangulBase  = 0xAC00
	hangulCount = 11172
)

// compose joins canonically ordered runes where Unicode has a composed one, and adds up what each replaces.
func compose(in []change) []change {
	var out []change
	starter := -1
	lastClass := uint8(0)
	for _, c := range in {
		class := ccc(c.r)
		if starter >= 0 {
			blocked := len(out)-1 > starter && (lastClass == 0 || lastClass >= class)
			if !blocked {
				if r, ok := composePair(out[starter].r, c.r); ok {
					out[starter].r = r
					out[starter].n += c.n - 1
					continue
				}
			}
		}
		out = append(out, c)
		if class == 0 {
			starter = len(out) - 1
		}
		lastClass = class
	}
	return out
}

// composePair returns the primary composite of two runes, if there is one.
func composePair(a, b rune) (rune, bool) {
	s := string(a) + string(b)
	c := norm.NFC.String(s)
	r, n := utf8.DecodeRuneInString(c)
	if n != len(c) || !setDecomposed.has(r) {
		return 0, false
	}
	return r, true
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
