package template

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// str is Python's str(): what an output tag prints.
func (in *interp) str(v Value) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case markup:
		return string(v), nil
	case undefined:
		return "", in.defined(v)
	}
	return in.repr(v)
}

// repr is Python's repr().
func (in *interp) repr(v Value) (string, error) {
	var b strings.Builder
	err := in.writeRepr(&b, v)
	return b.String(), err
}

func (in *interp) writeRepr(b *strings.Builder, v Value) error {
	if err := in.charge(1); err != nil {
		return err
	}
	if b.Len() > in.maxOutput {
		return limitError("the template makes more than %d bytes of text", in.maxOutput)
	}
	switch v := v.(type) {
	case nil:
		b.WriteString("None")
	case bool:
		if v {
			b.WriteString("True")
		} else {
			b.WriteString("False")
		}
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case *big.Int:
		b.WriteString(v.String())
	case float64:
		b.WriteString(floatRepr(v))
	case string:
		b.WriteString(quote(v))
		return in.charge(int64(len(v) / 32))
	case markup:
		b.WriteString("Markup(" + quote(string(v)) + ")")
		return in.charge(int64(len(v) / 32))
	case undefined:
		b.WriteString("Undefined")
	case []Value:
		return in.writeItems(b, "[", v, "]")
	case Tuple, groupTuple:
		items, _ := seqOf(v)
		if len(items) == 1 {
			return in.writeItems(b, "(", items, ",)")
		}
		return in.writeItems(b, "(", items, ")")
	case *Dict:
		return in.writeDict(b, v)
	case *namespace:
		b.WriteString("<Namespace ")
		err := in.writeDict(b, v.attrs)
		b.WriteByte('>')
		return err
	case dictView:
		items := make([]Value, v.d.Len())
		for i := range items {
			items[i] = v.at(i)
		}
		return in.writeItems(b, v.kind+"([", items, "])")
	case rangeVal:
		fmt.Fprintf(b, "range(%d, %d", v.start, v.stop)
		if v.step != 1 {
			fmt.Fprintf(b, ", %d", v.step)
		}
		b.WriteByte(')')
	case *macro:
		b.WriteString("<Macro " + quote(v.def.name) + ">")
	case *loopContext:
		fmt.Fprintf(b, "<LoopContext %d/%d>", v.index0+1, v.length())
	case *function:
		b.WriteString("<function " + v.name + ">")
	default:
		b.WriteString("<" + typeName(v) + " object>")
	}
	return nil
}

func (in *interp) writeItems(b *strings.Builder, open string, items []Value, end string) error {
	if err := in.push(); err != nil {
		return err
	}
	defer in.pop()
	b.WriteString(open)
	for i, x := range items {
		if i > 0 {
			b.WriteString(", ")
		}
		if err := in.writeRepr(b, x); err != nil {
			return err
		}
	}
	b.WriteString(end)
	return nil
}

func (in *interp) writeDict(b *strings.Builder, d *Dict) error {
	if err := in.push(); err != nil {
		return err
	}
	defer in.pop()
	b.WriteByte('{')
	for i, k := range d.keys {
		if i > 0 {
			b.WriteString(", ")
		}
		if err := in.writeRepr(b, k); err != nil {
			return err
		}
		b.WriteString(": ")
		if err := in.writeRepr(b, d.vals[i]); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

// floatRepr is Python's repr of a float: the shortest digits that read back equal, with an exponent below 1e-4 and
// from 1e16 on, and never without a point or an exponent.
func floatRepr(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	case math.IsNaN(f):
		return "nan"
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// quote is Python's repr of a string: in single quotes unless it contains those and no double ones.
func quote(s string) string {
	q := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		q = '"'
	}
	var b strings.Builder
	b.Grow(len(s) + 2)
	b.WriteByte(q)
	for _, r := range s {
		switch {
		case r == rune(q) || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r >= ' ' && r < 0x7f || r >= utf8.RuneSelf && unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	b.WriteByte(q)
	return b.String()
}

// joinStrings joins parts of n bytes in all, after counting the work.
func (in *interp) joinStrings(parts []string, sep string, n int) (string, error) {
	if len(parts) > 1 {
		if len(sep) > 0 && len(parts)-1 > in.maxOutput/len(sep) {
			return "", limitError("the template makes more than %d bytes of text", in.maxOutput)
		}
		n += len(sep) * (len(parts) - 1)
	}
	if err := in.chargeBytes(n); err != nil {
		return "", err
	}
	return strings.Join(parts, sep), nil
}

// escapeHTML escapes as Python's markupsafe does.
func escapeHTML(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "'", "&#39;", `"`, "&#34;").Replace(s)
}
