package ui

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestCounterLines(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	c := newCounter(&out, false, "requests", func() time.Time { return now })
	c.Set(40, 100) // known already
	now = now.Add(5 * time.Second)
	c.Set(50, 100)
	now = now.Add(5 * time.Second)
	c.Set(60, 100)
	now = now.Add(time.Second)
	c.Set(100, 100)
	c.Finish()
	// 20 in 10 s, 40 are left.
	if got, want := out.String(), "60/100 requests eta 20s\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestCounterBar(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	c := newCounter(&out, true, "requests", func() time.Time { return now })
	for i := range 11 {
		c.Set(i, 10)
		now = now.Add(time.Second)
	}
	c.Finish()
	if s := out.String(); !strings.Contains(s, "(10/10)") || !strings.Contains(s, "eta 5s") || !strings.HasSuffix(s, "\n") {
		t.Errorf("%q", s)
	}
}
