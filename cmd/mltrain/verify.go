package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/mltrain/mltrain/internal/cpu"
	"github.com/mltrain/mltrain/internal/tensor"
	"github.com/mltrain/mltrain/internal/verify"
)

// VerifyOptions are the flags of verify.
type VerifyOptions struct {
	Device string
	Quick  bool
	JSON   bool
}

// VerifyResult is what verify prints with --json.
type VerifyResult struct {
	Device string         `json:"device"`
	OK     bool           `json:"ok"`
	Time   time.Duration  `json:"ns"`
	Checks []verify.Check `json:"checks"`
}

func newVerifyCommand(app *App) *cobra.Command {
	o := &VerifyOptions{}
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check that a device of this machine computes rightly",
		Long: `Check a device on this machine, with small models of random weights: every kernel of
training against the CPU's on the same operands, the gradient against finite
differences, that packing and gradient accumulation change nothing, and a short run
on both. It prints errors beside what is allowed, and times, and fails if a check does.
Times are of small operands: they are no measure of a device's speed.`,
		Example: `  mltrain verify
  mltrain verify --device emulator --quick --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runVerify(cmd.Context(), app, o) },
	}
	cmd.Flags().StringVar(&o.Device, "device", deviceAuto, "auto, cpu, cuda or emulator")
	cmd.Flags().BoolVar(&o.Quick, "quick", false, "only the kernels and the gradient")
	cmd.Flags().BoolVar(&o.JSON, "json", false, "print the result as JSON")
	complete(cmd, "device", deviceNames(), cobra.ShellCompDirectiveNoFileComp)
	return cmd
}

func runVerify(ctx context.Context, app *App, o *VerifyOptions) error {
	b, err := newBackend(app.Log, o.Device)
	if err != nil {
		return err
	}
	var ref tensor.Backend
	if _, isCPU := b.(*cpu.Backend); !isCPU {
		ref = cpu.New()
	}
	each := func(verify.Check) {}
	if !o.JSON {
		if ref == nil {
			app.Log.Info("the CPU is what kernels are compared with: what follows checks gradients, batching and runs")
		}
		fmt.Fprintf(app.Out, "%s\n%-22s %-26s %6s %9s %9s %10s %10s\n", b.Name(), "", "", "calls", "error", "allowed", "ms", "ms on CPU")
		group := ""
		each = func(c verify.Check) {
			shown := c.Group
			if shown == group {
				shown = ""
			}
			group = c.Group
			mark := ""
			if !c.OK {
				mark = "  FAILED " + c.Note
			}
			fmt.Fprintf(app.Out, "%-22s %-26s %6s %9.1e %9.0e %10s %10s%s\n", shown, c.Name, blank(c.Calls), c.Error, c.Limit, millis(c.Time), millis(c.CPU), mark)
		}
	}
	start := time.Now()
	checks, err := verify.Run(ctx, b, ref, verify.Options{Quick: o.Quick}, each)
	if o.JSON {
		if printErr := app.PrintJSON(VerifyResult{Device: b.Name(), OK: err == nil, Time: time.Since(start), Checks: checks}); printErr != nil {
			return printErr
		}
		return err
	}
	if err == nil {
		fmt.Fprintf(app.Out, "all %d checks hold (%.1f s)\n", len(checks), time.Since(start).Seconds())
	}
	return err
}

func blank(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func millis(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", float64(d)/1e6)
}
