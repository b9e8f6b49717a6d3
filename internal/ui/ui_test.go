package ui

import (
	"bytes"
	"io"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/slogtest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// clock moves on by a fixed time whenever it is read.
func clock(tick time.Duration) func() time.Time {
	now := time.Unix(0, 0)
	return func() time.Time {
		now = now.Add(tick)
		return now
	}
}

func TestPlainLines(t *testing.T) {
	now := time.Unix(0, 0)
	var out bytes.Buffer
	p := newProgress(&out, false, 200, func() time.Time { return now })
	for step := 101; step <= 200; step++ { // a run resumed after 100 steps
		now = now.Add(500 * time.Millisecond)
		s := StepInfo{Step: step, Loss: 2.345, LearningRate: 2e-5, GradNorm: 1.2, TokensPerSecond: 1234.4}
		p.Step(s)
		if step%50 == 0 {
			p.Log(s)
		}
	}
	io.WriteString(p, "saved\n")
	p.Finish()
	want := `step 150/200 loss 2.3450 lr 2e-5 grad_norm 1.2 tok/s 1234 eta 25s
step 200/200 loss 2.3450 lr 2e-5 grad_norm 1.2 tok/s 1234
saved
`
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Error(d)
	}
}

func TestBarIsThrottledAndEndsWithALine(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, true, 1000, clock(time.Millisecond)) // two readings a step: 2 ms
	for step := 1; step <= 1000; step++ {
		p.Step(StepInfo{Step: step, Loss: 1, LearningRate: 1e-3, GradNorm: 0.5, TokensPerSecond: 10})
		p.Log(StepInfo{Step: step})
	}
	p.Finish()
	p.Finish()
	text := out.String()
	if n := strings.Count(text, "1000/1000"); n == 0 {
		t.Errorf("the end is not shown: %q", text)
	}
	if !strings.HasSuffix(text, "\n") || strings.Count(text, "\n") != 1 {
		t.Errorf("got %d newlines, want one at the end", strings.Count(text, "\n"))
	}
	if !strings.Contains(text, "loss 1.0000 lr 0.001 grad_norm 0.5 tok/s 10") {
		t.Errorf("the description is missing: %q", text)
	}
	// About two seconds at ten drawings a second, each of which writes twice or so.
	if n := strings.Count(text, "\r"); n > 200 {
		t.Errorf("%d redraws for two seconds", n)
	}
}

func TestWriteGoesAboveTheBar(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, true, 10, clock(time.Second))
	p.Step(StepInfo{Step: 1, Loss: 1})
	out.Reset()
	io.WriteString(p, "checkpoint saved\n")
	before, after, ok := strings.Cut(out.String(), "checkpoint saved\n")
	if !ok || !strings.Contains(before, "\r") || !strings.Contains(after, "1/10") {
		t.Errorf("got %q, want the bar cleared, the line, and the bar again", out.String())
	}
}

func TestSmoothedLoss(t *testing.T) {
	var s smoothed
	if !math.IsNaN(s.value()) {
		t.Error("no value yet must be NaN")
	}
	s.add(4)
	if got := s.value(); math.Abs(got-4) > 1e-12 {
		t.Errorf("first value %g, want it unbiased", got)
	}
	s.add(math.NaN())
	s.add(2)
	if got, want := s.value(), (0.9*4+2)/1.9; math.Abs(got-want) > 1e-12 {
		t.Errorf("got %g, want %g", got, want)
	}
}

func TestTransfer(t *testing.T) {
	var out bytes.Buffer
	tr := newTransfer(&out, false, "model.safetensors", 3<<20, clock(2*time.Second))
	tr.Skip(1 << 20)
	if _, err := io.Copy(tr, strings.NewReader(strings.Repeat("x", 2<<20))); err != nil {
		t.Fatal(err)
	}
	tr.Finish()
	if d := cmp.Diff("model.safetensors: 3.0 MiB in 2s\n", out.String()); d != "" {
		t.Error(d)
	}
	out.Reset()
	bar := newTransfer(&out, true, "model.safetensors", 2048, clock(time.Second))
	io.WriteString(bar, strings.Repeat("x", 2048))
	bar.Finish()
	if !strings.Contains(out.String(), "model.safetensors") || !strings.Contains(out.String(), "100%") {
		t.Errorf("bar: %q", out.String())
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 5 << 30: "5.0 GiB", math.MaxInt64: "8.0 EiB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestHandler(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(NewHandler(&out, slog.LevelInfo)).With("run", "a b")
	log.Debug("not shown")
	log.Info("reading", "rows", 3)
	log.WithGroup("data").Warn("truncated", "rows", 12, slog.Group("by", "key", "text"))
	log.Error("stopped", "why", "")
	want := `reading run="a b" rows=3
warning: truncated run="a b" data.rows=12 data.by.key=text
error: stopped run="a b" why=""
`
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Error(d)
	}
}

// TestHandlerKeepsTheRules runs slog's own conformance test, less the rules
// about the time, which this handler never writes.
func TestHandlerKeepsTheRules(t *testing.T) {
	var out bytes.Buffer
	slogtest.Run(t, func(t *testing.T) slog.Handler {
		if strings.HasSuffix(t.Name(), "built-ins") {
			t.Skip("no time is written")
		}
		out.Reset()
		return NewHandler(&out, slog.LevelInfo)
	}, func(t *testing.T) map[string]any {
		m := map[string]any{slog.TimeKey: "", slog.LevelKey: ""}
		if strings.HasSuffix(t.Name(), "zero-time") {
			delete(m, slog.TimeKey)
		}
		for _, word := range strings.Fields(out.String()) {
			key, value, ok := strings.Cut(word, "=")
			if !ok {
				m[slog.MessageKey] = word
				continue
			}
			at := m
			parts := strings.Split(key, ".")
			for _, group := range parts[:len(parts)-1] {
				if at[group] == nil {
					at[group] = map[string]any{}
				}
				at = at[group].(map[string]any)
			}
			at[parts[len(parts)-1]] = value
		}
		return m
	})
}

func TestTransferGrowsAfterItWasFull(t *testing.T) {
	var out bytes.Buffer
	tr := NewTransfer(&out, true, "org/name", 10)
	tr.Skip(10)
	tr.Grow(30)
	tr.Skip(30)
	tr.Finish()
	got := out.String()
	if quarter := strings.Index(got, " 25%"); quarter < 0 || strings.LastIndex(got, "100%") < quarter {
		t.Errorf("bar: %q", got)
	}
}
