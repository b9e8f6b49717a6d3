package main

import (
	"encoding/json"
	"io"
	"log/slog"
	"os"

	"github.com/mltrain/mltrain/internal/ui"
)

// App is what every command is given: its streams and its log. Results go to
// Out, progress and logs to Err.
type App struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
	Log *slog.Logger
	// Quiet silences progress and everything in the log below a warning.
	Quiet bool

	// memory returns the bytes of the machine's memory that a run can have, 0 if that is not known.
	memory func() int64
	level  *slog.LevelVar
}

func newApp(in io.Reader, out, errw io.Writer) *App {
	level := &slog.LevelVar{}
	return &App{In: in, Out: out, Err: errw, Log: slog.New(ui.NewHandler(errw, level)), memory: availableMemory, level: level}
}

// setLogLevel goes by --quiet and MLTRAIN_LOG (debug, info, warn, error).
func (a *App) setLogLevel() error {
	if a.Quiet {
		a.level.Set(slog.LevelWarn)
	}
	if text := os.Getenv("MLTRAIN_LOG"); text != "" {
		var l slog.Level
		if err := l.UnmarshalText([]byte(text)); err != nil {
			return usageErrorf("MLTRAIN_LOG: expected debug, info, warn or error, found %q", text)
		}
		a.level.Set(l)
	}
	return nil
}

// NewProgress returns the progress of a run of total steps on Err: a bar on a
// terminal, lines elsewhere, nothing with --quiet. While it lasts, log through
// the logger that it comes with, so that lines and bar do not mix.
func (a *App) NewProgress(total int) (*ui.Progress, *slog.Logger) {
	if a.Quiet {
		return ui.New(io.Discard, false, total), a.Log
	}
	p := ui.New(a.Err, ui.IsTerminal(a.Err), total)
	return p, slog.New(ui.NewHandler(p, a.level))
}

// PrintJSON writes a result as indented JSON.
func (a *App) PrintJSON(v any) error {
	enc := json.NewEncoder(a.Out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
