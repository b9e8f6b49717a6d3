package ui

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// sayEvery is the time between two lines about a count where there is no bar.
const sayEvery = 10 * time.Second

// Counter shows how many of a number of things are done, and when all will be: a bar on a terminal, a line every ten
// seconds elsewhere. Its methods may be called from several goroutines.
type Counter struct {
	mu       sync.Mutex
	w        io.Writer
	what     string
	bar      *progressbar.ProgressBar // nil when w is no terminal
	now      func() time.Time
	first    int // done when the count began; −1 before
	started  time.Time
	lastSaid time.Time
	done     int
	total    int
}

// NewCounter returns the progress of what is counted, e.g. "requests".
func NewCounter(w io.Writer, isTTY bool, what string) *Counter {
	return newCounter(w, isTTY, what, time.Now)
}

func newCounter(w io.Writer, isTTY bool, what string, now func() time.Time) *Counter {
	c := &Counter{w: w, what: what, now: now, first: -1}
	if isTTY {
		c.bar = progressbar.NewOptions(-1, progressbar.OptionSetWriter(w), progressbar.OptionShowCount(), progressbar.OptionSetWidth(24),
			progressbar.OptionSetDescription(what),
			progressbar.OptionSetElapsedTime(false), progressbar.OptionSetPredictTime(false), progressbar.OptionShowDescriptionAtLineEnd())
	}
	return c
}

// Set reports the state of the count. What was done at the first call took no time.
func (c *Counter) Set(done, total int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if c.first < 0 {
		c.first, c.started, c.lastSaid = done, now, now
		if c.bar != nil {
			c.bar.ChangeMax(total)
		}
	}
	c.done, c.total = done, total
	every := sayEvery
	if c.bar != nil {
		every = redrawEvery
	}
	if now.Sub(c.lastSaid) < every {
		return
	}
	c.lastSaid = now
	c.show(now)
}

func (c *Counter) show(now time.Time) {
	text := c.what
	if fresh := c.done - c.first; fresh > 0 && c.done < c.total {
		left := time.Duration(float64(now.Sub(c.started)) / float64(fresh) * float64(c.total-c.done))
		text += " eta " + left.Round(time.Second).String()
	}
	if c.bar == nil {
		fmt.Fprintf(c.w, "%d/%d %s\n", c.done, c.total, text)
		return
	}
	c.bar.Describe(text)
	// Set fails only beyond the end, where the bar stands still.
	_ = c.bar.Set(min(c.done, c.total))
}

// Finish ends the bar.
func (c *Counter) Finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bar != nil && c.first >= 0 {
		c.show(c.now())
		fmt.Fprintln(c.w)
	}
}
