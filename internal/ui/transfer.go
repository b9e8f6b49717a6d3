package ui

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// Transfer shows how many bytes of a download or upload are through. It is an
// [io.Writer], for use with [io.TeeReader] or [io.MultiWriter].
type Transfer struct {
	mu      sync.Mutex
	w       io.Writer
	name    string
	bar     *progressbar.ProgressBar // nil when w is no terminal
	done    int64
	started time.Time
	now     func() time.Time
}

// NewTransfer returns the progress of a transfer of total bytes (-1 when that
// is not known), as a bar when isTTY is set and as a line at the end elsewhere.
func NewTransfer(w io.Writer, isTTY bool, name string, total int64) *Transfer {
	return newTransfer(w, isTTY, name, total, time.Now)
}

func newTransfer(w io.Writer, isTTY bool, name string, total int64, now func() time.Time) *Transfer {
	t := &Transfer{w: w, name: name, started: now(), now: now}
	if isTTY {
		t.bar = t.newBar(total)
	}
	return t
}

func (t *Transfer) newBar(total int64) *progressbar.ProgressBar {
	return progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(t.w),
		progressbar.OptionSetDescription(t.name),
		progressbar.OptionShowBytes(true),
		progressbar.OptionShowTotalBytes(true),
		progressbar.OptionThrottle(redrawEvery),
		progressbar.OptionSetWidth(24),
	)
}

// Write counts the bytes of p. It never fails.
func (t *Transfer) Write(p []byte) (int, error) {
	t.Skip(int64(len(p)))
	return len(p), nil
}

// Skip counts n bytes that need no transfer because an earlier one brought them.
func (t *Transfer) Skip(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done += n
	if t.bar != nil {
		// Add64 fails only beyond the announced total, where the bar stands still.
		_ = t.bar.Add64(n)
	}
}

// Grow adds n bytes to the total, for a transfer of several things of which one
// after the other turns up.
func (t *Transfer) Grow(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.bar == nil || n <= 0 {
		return
	}
	if t.bar.IsFinished() { // a bar that was full once stands still for good
		t.bar = t.newBar(t.bar.GetMax64() + n)
		_ = t.bar.Add64(t.done)
		return
	}
	t.bar.AddMax64(n)
}

// Finish ends the bar, or prints the line that tells of the transfer.
func (t *Transfer) Finish() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.bar != nil {
		fmt.Fprintln(t.w)
		return
	}
	fmt.Fprintf(t.w, "%s: %s in %s\n", t.name, Bytes(t.done), t.now().Sub(t.started).Round(100*time.Millisecond))
}

// Bytes writes a number of bytes in the largest binary unit that leaves at
// least 1: "1.5 MiB".
func Bytes(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n)/1024, 0
	for v >= 1024 && unit < len(units)-1 {
		v /= 1024
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", v, units[unit])
}
