package template

import (
	"fmt"
	"strings"
	"time"
)

// strftime formats a time by C's conversions, in the C locale. Unknown conversions stay as they are.
func strftime(t time.Time, format string) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		start := i
		i++
		flag := byte(0)
		if strings.IndexByte("-_0^", format[i]) >= 0 && i+1 < len(format) {
			flag = format[i]
			i++
		}
		s, ok := conversion(t, format[i])
		if !ok {
			b.WriteString(format[start : i+1])
			continue
		}
		b.WriteString(flagged(s, flag))
	}
	return b.String()
}

// flagged applies glibc's flags to a conversion: no padding, padding by spaces, capitals.
func flagged(s string, flag byte) string {
	switch flag {
	case '^':
		return strings.ToUpper(s)
	case '-', '_':
		cut := strings.TrimLeft(s, "0 ")
		if cut == "" || !isDecimal(cut[0]) {
			if cut = s; s != "" && (s[0] == '0' || s[0] == ' ') {
				cut = s[len(s)-1:]
			}
		}
		if flag == '_' {
			return strings.Repeat(" ", len(s)-len(cut)) + cut
		}
		return cut
	case '0':
		return strings.ReplaceAll(s, " ", "0")
	}
	return s
}

func conversion(t time.Time, c byte) (string, bool) {
	layouts := map[byte]string{
		'Y': "2006", 'm': "01", 'd': "02", 'H': "15", 'I': "03", 'M': "04", 'S': "05", 'B': "January", 'b': "Jan",
		'h': "Jan", 'A': "Monday", 'a': "Mon", 'y': "06", 'p': "PM", 'e': "_2", 'j': "002", 'F': "2006-01-02",
		'D': "01/02/06", 'x': "01/02/06", 'T': "15:04:05", 'X': "15:04:05", 'R': "15:04", 'r': "03:04:05 PM",
		'c': "Mon Jan _2 15:04:05 2006", 'P': "pm",
	}
	if l, ok := layouts[c]; ok {
		return t.Format(l), true
	}
	year, week := t.ISOWeek()
	switch c {
	case '%':
		return "%", true
	case 'n':
		return "\n", true
	case 't':
		return "\t", true
	case 'f':
		return fmt.Sprintf("%06d", t.Nanosecond()/1000), true
	case 'w':
		return fmt.Sprint(int(t.Weekday())), true
	case 'u':
		return fmt.Sprint((int(t.Weekday())+6)%7 + 1), true
	case 'U':
		return fmt.Sprintf("%02d", (t.YearDay()+6-int(t.Weekday()))/7), true
	case 'W':
		return fmt.Sprintf("%02d", (t.YearDay()+6-(int(t.Weekday())+6)%7)/7), true
	case 'V':
		return fmt.Sprintf("%02d", week), true
	case 'G':
		return fmt.Sprint(year), true
	case 'C':
		return fmt.Sprintf("%02d", t.Year()/100), true
	case 'k':
		return fmt.Sprintf("%2d", t.Hour()), true
	case 'l':
		return fmt.Sprintf("%2d", (t.Hour()+11)%12+1), true
	case 's':
		return fmt.Sprint(t.Unix()), true
	case 'z', 'Z':
		return "", true // Python's datetime.now() knows no zone
	}
	return "", false
}
