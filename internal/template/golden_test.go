package template

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// TestGoldens compares with what Python's jinja2 made of our own templates (tools/goldens/jinja_goldens.py).
func TestGoldens(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("testdata", "jinja.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Context json.RawMessage
		Cases   []struct {
			Src string
			Out *string
			Err string
			Why string
		}
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	vars, err := FromJSON(file.Context)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]error{"syntax": ErrSyntax, "undefined": ErrUndefined, "unsafe": ErrUnsafe, "raised": ErrRaised}
	now := time.Date(2024, 7, 26, 9, 5, 7, 0, time.UTC)
	for i, c := range file.Cases {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			var got Result
			tmpl, err := Parse("t", c.Src)
			if err == nil {
				got, err = tmpl.Render(vars, Options{Now: now})
			}
			switch {
			case c.Out == nil && err == nil:
				t.Errorf("%s\n got %q\nPython fails: %s", c.Src, got.Text, c.Why)
			case c.Out == nil:
				if k := kinds[c.Err]; k != nil && !errors.Is(err, k) {
					t.Errorf("%s\nfails with %v\nPython's failure is %s: %s", c.Src, err, c.Err, c.Why)
				}
			case err != nil:
				t.Errorf("%s\nfails with %v\nPython gives %q", c.Src, err, *c.Out)
			case got.Text != *c.Out:
				t.Errorf("%s\n got %q\nwant %q", c.Src, got.Text, *c.Out)
			}
		})
	}
}
