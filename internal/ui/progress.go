// Package ui shows the user what a run is doing: a progress bar on a terminal,
// plain lines elsewhere, and log lines that do not tear the bar apart.
package ui

import (
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// redrawEvery is the least time between two drawings of a bar.
const redrawEvery = 100 * time.Millisecond

// IsTerminal reports whether w is a terminal, so that a bar can be drawn on it.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// StepInfo is what a training run reports after an optimiser step.
type StepInfo struct {
	Step            int     // optimiser steps done so far, from 1
	Loss            float64 // mean loss per trained token of this step
	LearningRate    float64
	GradNorm        float64 // before clipping
	TokensPerSecond float64
}

// Progress shows how far a training run is. On a terminal it is a bar that is
// redrawn at most ten times a second; elsewhere only [Progress.Log] and
// [Progress.Write] print, one line each. A Progress that writes to [io.Discard]
// is silent. Its methods may be called from several goroutines.
type Progress struct {
	mu    sync.Mutex
	w     io.Writer
	total int
	bar   *progressbar.ProgressBar // nil when w is no terminal
	now   func() time.Time

	loss     smoothed
	first    int       // number of the first step seen, less one
	started  time.Time // when the run began
	lastDraw time.Time
	last     StepInfo
	finished bool
}

// New returns the progress of a run of total steps that is shown on w, as a
// bar when isTTY is set. The time to the end is reckoned from this moment.
func New(w io.Writer, isTTY bool, total int) *Progress {
	return newProgress(w, isTTY, total, time.Now)
}

func newProgress(w io.Writer, isTTY bool, total int, now func() time.Time) *Progress {
	p := &Progress{w: w, total: total, now: now, started: now(), first: -1}
	if isTTY {
		p.bar = progressbar.NewOptions(total,
			progressbar.OptionSetWriter(w),
			progressbar.OptionShowCount(),
			progressbar.OptionSetElapsedTime(false),
			progressbar.OptionSetPredictTime(false),
			progressbar.OptionShowDescriptionAtLineEnd(),
			progressbar.OptionSetWidth(24),
		)
	}
	return p
}

// Step reports a finished step. On a terminal it moves the bar.
func (p *Progress) Step(s StepInfo) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note(s)
	if p.bar == nil || p.finished {
		return
	}
	if now := p.now(); now.Sub(p.lastDraw) >= redrawEvery || s.Step >= p.total {
		p.lastDraw = now
		p.draw()
	}
}

// Log prints a line about a step, where there is no bar to show it. Call it
// every logging_steps, after Step.
func (p *Progress) Log(s StepInfo) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		return
	}
	fmt.Fprintf(p.w, "step %d/%d %s\n", s.Step, p.total, p.describe(s, s.Loss))
}

// Write prints lines of text above the bar, so that a log handler can write to
// a Progress. It implements [io.Writer].
func (p *Progress) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar == nil || p.finished || p.first < 0 {
		return p.w.Write(text)
	}
	if err := p.bar.Clear(); err != nil {
		return 0, err
	}
	n, err := p.w.Write(text)
	p.draw()
	return n, err
}

// Finish ends the bar and leaves its last state on the screen.
func (p *Progress) Finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar == nil || p.finished || p.first < 0 {
		return
	}
	p.draw()
	p.finished = true
	fmt.Fprintln(p.w)
}

// note takes over what a step says.
func (p *Progress) note(s StepInfo) {
	if p.first < 0 {
		p.first = s.Step - 1
	}
	p.last = s
	p.loss.add(s.Loss)
}

func (p *Progress) draw() {
	p.bar.Describe(p.describe(p.last, p.loss.value()))
	// Set fails only beyond the end, where the bar stands still.
	_ = p.bar.Set(min(p.last.Step, p.total))
}

func (p *Progress) describe(s StepInfo, loss float64) string {
	text := fmt.Sprintf("loss %.4f lr %s grad_norm %.3g tok/s %.0f", loss, rate(s.LearningRate), s.GradNorm, s.TokensPerSecond)
	if eta, ok := p.eta(s.Step); ok {
		text += " eta " + eta.String()
	}
	return text
}

// eta is the time to the end at the mean speed of the steps seen so far. The
// steps before a resumed run do not count.
func (p *Progress) eta(step int) (time.Duration, bool) {
	done := step - p.first
	if p.first < 0 || done <= 0 || step >= p.total {
		return 0, false
	}
	perStep := p.now().Sub(p.started).Seconds() / float64(done)
	left := time.Duration(perStep * float64(p.total-step) * float64(time.Second))
	return left.Round(time.Second), true
}

// rate writes a learning rate shortly: 2e-5, not 2e-05.
func rate(lr float64) string {
	s := fmt.Sprintf("%.3g", lr)
	return strings.NewReplacer("e-0", "e-", "e+0", "e+").Replace(s)
}

// smoothed is an exponentially weighted mean that starts unbiased, as in Adam:
// m = 0.9·m + 0.1·x, divided by 1 - 0.9ᵗ. Values that are not finite are left
// out, so that one of them does not spoil all that follow.
type smoothed struct {
	mean  float64
	scale float64
}

func (s *smoothed) add(x float64) {
	const keep = 0.9
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return
	}
	s.mean = keep*s.mean + (1-keep)*x
	s.scale = keep*s.scale + (1 - keep)
}

func (s *smoothed) value() float64 {
	if s.scale == 0 {
		return math.NaN()
	}
	return s.mean / s.scale
}
