package main

import (
	"context"
	"io"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/mltrain/mltrain/internal/eval/sandbox"
	"github.com/mltrain/mltrain/internal/ui"
)

// sandboxInit is the hidden command that the sandbox's first process runs.
const sandboxInit = "sandbox-init"

func newSandboxInitCommand() *cobra.Command {
	return &cobra.Command{
		Use:                sandboxInit,
		Short:              "First process of a sandbox; mltrain starts it by itself",
		Example:            "  mltrain eval --predictions samples.jsonl --problems HumanEval.jsonl.gz --allow-code-execution",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE:               func(_ *cobra.Command, args []string) error { return sandbox.Init(args) },
	}
}

// runPrograms runs programs that a model wrote in sandboxes, one for each processor, and
// says how far it is. timeout bounds a program's time on the clock and on the processor.
func runPrograms(ctx context.Context, app *App, programs []string, timeout time.Duration, done func(i int, v sandbox.Verdict) error) error {
	runner, err := sandbox.New(ctx, sandboxInit)
	if err != nil {
		return err
	}
	if ok, why := runner.Complete(); !ok {
		app.Log.Warn("programs can read your files and use the network: the kernel does not allow a complete sandbox", "reason", why)
	}
	w, tty := app.Err, ui.IsTerminal(app.Err)
	if app.Quiet {
		w, tty = io.Discard, false
	}
	counter := ui.NewCounter(w, tty, "programs")
	defer counter.Finish()
	ended := 0
	counter.Set(0, len(programs))
	return runner.RunAll(ctx, programs, sandbox.Limits{Wall: timeout, CPU: timeout}, runtime.NumCPU(), func(i int, v sandbox.Verdict) error {
		ended++
		counter.Set(ended, len(programs))
		return done(i, v)
	})
}
