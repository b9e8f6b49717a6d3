package metric

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Report is the table that scikit-learn's classification_report prints, to the
// letter: precision, recall, F1 and support of each class, the accuracy, and the
// averages. digits is how many follow the point (2 there by default).
func (c *Confusion) Report(digits int, zeroDivision float64) string {
	scores := make([]ClassScore, len(c.Labels))
	for i := range scores {
		scores[i] = c.Class(i, zeroDivision)
	}
	a := c.Average(zeroDivision)
	_, _, right, _ := c.sums()
	return classReport(c.Labels, scores, digits, right == 0, func(t *reportTable) {
		t.accuracy(a.Micro)
		t.row("macro avg", a.Macro)
		t.row("weighted avg", a.Weighted)
	})
}

// classReport lays out a report whose last lines are written by averages. With
// pointZero the supports are printed as 3.0 and not 3: that is what scikit-learn
// does when not a single row is right.
func classReport(names []string, scores []ClassScore, digits int, pointZero bool, averages func(*reportTable)) string {
	t := &reportTable{width: max(len("weighted avg"), digits), digits: digits, pointZero: pointZero}
	for _, name := range names {
		t.width = max(t.width, utf8.RuneCountInString(name))
	}
	fmt.Fprintf(&t.b, "%*s  %9s %9s %9s %9s\n\n", t.width, "", "precision", "recall", "f1-score", "support")
	for i, s := range scores {
		t.row(names[i], s)
	}
	t.b.WriteByte('\n')
	averages(t)
	return t.b.String()
}

type reportTable struct {
	b             strings.Builder
	width, digits int
	pointZero     bool
}

func (t *reportTable) row(name string, s ClassScore) {
	fmt.Fprintf(&t.b, "%*s  %9s %9s %9s %9s\n", t.width, name, t.number(s.Precision), t.number(s.Recall), t.number(s.F1), t.support(s))
}

func (t *reportTable) accuracy(s ClassScore) {
	fmt.Fprintf(&t.b, "%*s  %9s %9s %9s %9s\n", t.width, "accuracy", "", "", t.number(s.F1), t.support(s))
}

func (t *reportTable) support(s ClassScore) string {
	if t.pointZero {
		return fmt.Sprintf("%d.0", s.Support)
	}
	return strconv.Itoa(s.Support)
}

func (t *reportTable) number(x float64) string {
	if math.IsNaN(x) {
		return "nan"
	}
	return strconv.FormatFloat(x, 'f', t.digits, 64)
}
