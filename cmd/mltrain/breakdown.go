package main

import (
	"context"
	"log/slog"

	"github.com/mltrain/mltrain/internal/profile"
	"github.com/mltrain/mltrain/internal/tensor"
)

// measure makes b tell where the time of the steps goes if the log is at the level debug. Measuring waits after every kernel.
func (t *trainReport) measure(b tensor.Backend) tensor.Backend {
	if !t.log.Enabled(context.Background(), slog.LevelDebug) {
		return b
	}
	t.timer, b = profile.New(b)
	return b
}

// breakdown logs what the kernels took since it was called last.
func (t *trainReport) breakdown() {
	if t.timer == nil {
		return
	}
	t.log.Debug("time by kernel since the last line\n" + profile.Table(profile.ByKernel(t.timer.Entries())))
	t.timer.Reset()
}
