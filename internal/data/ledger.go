package data

import (
	"fmt"
	"io"
	"sort"
	"strings"
	"text/tabwriter"
)

// Ledger accounts for every row that was read.
type Ledger struct {
	Files     int                `json:"files"`
	Rows      int                `json:"rows"`      // rows read; windows, for text files
	Kept      int                `json:"kept"`      // rows that are trained on
	Dropped   map[DropReason]int `json:"dropped"`   // rows left out, by reason
	Truncated int                `json:"truncated"` // kept or dropped rows that were longer than max_length
	Tokens    int64              `json:"tokens"`    // of kept rows
	Trained   int64              `json:"trained_tokens"`
	Longest   int                `json:"longest"` // tokens of the longest kept row
	MaxLength int                `json:"max_length"`
	Layouts   map[Layout]int     `json:"layouts"` // rows read, by shape
	Template  string             `json:"chat_template,omitempty"`
	Warnings  []Warning          `json:"warnings,omitempty"`
	Cache     string             `json:"cache,omitempty"` // file of the token cache
	Cached    bool               `json:"cached"`          // read from there instead of tokenised anew
}

// Warning is something odd that was found in Rows rows, first in First.
type Warning struct {
	Text  string `json:"text"`
	Rows  int    `json:"rows"`
	First Ref    `json:"first"`
}

// DroppedRows is the number of rows left out.
func (l *Ledger) DroppedRows() int {
	n := 0
	for _, c := range l.Dropped {
		n += c
	}
	return n
}

// DroppedText lists the reasons with their counts, most first: "3 empty, 1 all_masked".
func (l *Ledger) DroppedText() string {
	reasons := make([]DropReason, 0, len(l.Dropped))
	for r := range l.Dropped {
		reasons = append(reasons, r)
	}
	sort.Slice(reasons, func(i, j int) bool {
		a, b := reasons[i], reasons[j]
		if l.Dropped[a] != l.Dropped[b] {
			return l.Dropped[a] > l.Dropped[b]
		}
		return a < b
	})
	parts := make([]string, len(reasons))
	for i, r := range reasons {
		parts[i] = fmt.Sprintf("%d %s", l.Dropped[r], r)
	}
	return strings.Join(parts, ", ")
}

// Write prints the ledger as a small table, warnings below.
func (l *Ledger) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	layouts := make([]string, 0, len(l.Layouts))
	for _, k := range sortedKeys(layoutNames(l.Layouts)) {
		layouts = append(layouts, fmt.Sprintf("%d %s", l.Layouts[Layout(k)], k))
	}
	row("rows read", "%d in %d files (%s)", l.Rows, l.Files, strings.Join(layouts, ", "))
	row("kept", "%d", l.Kept)
	if n := l.DroppedRows(); n > 0 {
		row("dropped", "%d (%s)", n, l.DroppedText())
	}
	row("truncated", "%d to max_length %d", l.Truncated, l.MaxLength)
	row("tokens", "%d, longest row %d", l.Tokens, l.Longest)
	row("trained tokens", "%d (%.1f%%)", l.Trained, 100*float64(l.Trained)/float64(max(1, l.Tokens)))
	if l.Template != "" {
		row("chat template", "%s", l.Template)
	}
	if l.Cached {
		row("token cache", "%s", l.Cache)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, warning := range l.Warnings {
		if _, err := fmt.Fprintf(w, "warning: %s\n", warning); err != nil {
			return err
		}
	}
	return nil
}

// String tells what, how often and where first.
func (w Warning) String() string {
	if w.Rows == 0 {
		return w.Text
	}
	return fmt.Sprintf("%s (%d rows, first %s)", w.Text, w.Rows, w.First)
}

func (l *Ledger) warn(text string, at Ref) {
	for i := range l.Warnings {
		if l.Warnings[i].Text == text {
			l.Warnings[i].Rows++
			return
		}
	}
	l.Warnings = append(l.Warnings, Warning{Text: text, Rows: 1, First: at})
}

func layoutNames(m map[Layout]int) map[string]int {
	out := make(map[string]int, len(m))
	for k, v := range m {
		out[string(k)] = v
	}
	return out
}
