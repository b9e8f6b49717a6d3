package main

import (
	"io"
	"sync"

	"github.com/mltrain/mltrain/internal/ui"
)

// transfers shows how files come from or go to the hub, several at a time: on a terminal as one bar of all bytes, which
// grows as files turn up; elsewhere as a line per file.
type transfers struct {
	w    io.Writer
	tty  bool
	name string

	mu    sync.Mutex
	bar   *ui.Transfer            // on a terminal
	files map[string]*ui.Transfer // elsewhere
}

func newTransfers(app *App, name string) *transfers {
	t := &transfers{w: app.Err, tty: ui.IsTerminal(app.Err), name: name, files: map[string]*ui.Transfer{}}
	if app.Quiet {
		t.w, t.tty = io.Discard, false
	}
	return t
}

// Start implements hub.Progress.
func (t *transfers) Start(file string, total, done int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.tty {
		t.files[file] = ui.NewTransfer(t.w, false, file, total)
		return
	}
	total = max(total, 0)
	if t.bar == nil {
		t.bar = ui.NewTransfer(t.w, true, t.name, max(total, 1))
	} else {
		t.bar.Grow(total)
	}
	t.bar.Skip(done)
}

// Advance implements hub.Progress.
func (t *transfers) Advance(file string, n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tty {
		if t.bar != nil {
			t.bar.Skip(n)
		}
	} else if f := t.files[file]; f != nil {
		f.Skip(n)
	}
}

// Finish implements hub.Progress. A file that failed is told of by the error.
func (t *transfers) Finish(file string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f := t.files[file]; f != nil && err == nil {
		f.Finish()
	}
	delete(t.files, file)
}

// close ends the bar.
func (t *transfers) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.bar != nil {
		t.bar.Finish()
	}
}
