package predictions

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/mltrain/mltrain/internal/eval/metric"
)

// Report is what was computed from a file.
type Report struct {
	Kind       Kind                         `json:"type"`
	Rows       int                          `json:"rows"`
	Results    Results                      `json:"results"`
	Classes    map[string]metric.ClassScore `json:"classes,omitempty"` // of each class, or each type of entity
	Confusion  *metric.Confusion            `json:"confusion_matrix,omitempty"`
	Signatures map[string]string            `json:"signatures,omitempty"` // how BLEU, chrF and TER came about
	Samples    []Sample                     `json:"samples,omitempty"`    // what became of each program
	Notes      []string                     `json:"notes,omitempty"`      // what was left out or is not defined, and why

	table string   // the report of the classes as scikit-learn or seqeval print it
	lines []string // further lines for a person
}

// Results are numbers by name, in the order in which they were computed. One
// that is not defined is null in JSON.
type Results struct {
	names  []string
	values map[string]float64
}

func (r *Results) set(name string, value float64) {
	if r.values == nil {
		r.values = map[string]float64{}
	}
	if _, ok := r.values[name]; !ok {
		r.names = append(r.names, name)
	}
	r.values[name] = value
}

// Get is the value of a metric.
func (r Results) Get(name string) (float64, bool) {
	v, ok := r.values[name]
	return v, ok
}

// MarshalJSON writes an object in the order of computing.
func (r Results) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, name := range r.names {
		if i > 0 {
			out = append(out, ',')
		}
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		out = append(append(out, key...), ':')
		v := r.values[name]
		if math.IsNaN(v) || math.IsInf(v, 0) {
			out = append(out, "null"...)
			continue
		}
		number, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		out = append(out, number...)
	}
	return append(out, '}'), nil
}

func (r *Report) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// Write prints the report for a person.
func (r *Report) Write(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "%s, %d rows\n\n", r.Kind, r.Rows); err != nil {
		return err
	}
	if r.table != "" {
		if _, err := fmt.Fprintf(w, "%s\n", r.table); err != nil {
			return err
		}
	}
	width := 0
	for _, name := range r.Results.names {
		width = max(width, len(name))
	}
	for _, name := range r.Results.names {
		value := "not defined"
		if v := r.Results.values[name]; !math.IsNaN(v) {
			value = strconv.FormatFloat(v, 'f', 4, 64)
			if v != 0 && math.Abs(v) < 1e-3 || math.Abs(v) >= 1e9 {
				value = strconv.FormatFloat(v, 'g', 5, 64)
			}
		}
		if _, err := fmt.Fprintf(w, "%-*s  %s\n", width, name, value); err != nil {
			return err
		}
	}
	if c := r.Confusion; c != nil && len(c.Labels) <= mostPrintedClasses {
		if err := writeConfusion(w, c); err != nil {
			return err
		}
	}
	for _, line := range r.lines {
		if _, err := fmt.Fprintf(w, "\n%s", line); err != nil {
			return err
		}
	}
	if len(r.lines) > 0 {
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	for _, n := range r.Notes {
		if _, err := fmt.Fprintf(w, "\nnote: %s\n", n); err != nil {
			return err
		}
	}
	return nil
}

// mostPrintedClasses is how large a confusion matrix is still printed; JSON always has it.
const mostPrintedClasses = 20

func writeConfusion(w io.Writer, c *metric.Confusion) error {
	name, cell := 0, 1
	for i, l := range c.Labels {
		name = max(name, len([]rune(l)))
		for _, n := range c.Counts[i] {
			cell = max(cell, len(strconv.Itoa(n)))
		}
	}
	if _, err := fmt.Fprintf(w, "\nconfusion matrix (rows true, columns predicted, in the same order)\n\n"); err != nil {
		return err
	}
	for i, l := range c.Labels {
		if _, err := fmt.Fprintf(w, "%*s ", name, l); err != nil {
			return err
		}
		for _, n := range c.Counts[i] {
			if _, err := fmt.Fprintf(w, " %*d", cell, n); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	return nil
}
