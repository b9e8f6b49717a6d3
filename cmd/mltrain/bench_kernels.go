package main

import (
	"context"
	"fmt"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/mltrain/mltrain/internal/bench"
)

// BenchKernelsOptions are the flags of bench kernels.
type BenchKernelsOptions struct {
	Device, Only string
	Rounds       int
	Tiny, JSON   bool
}

// benchedKernels is what bench kernels prints with --json.
type benchedKernels struct {
	Device  string               `json:"device"`
	Sizes   bench.Sizes          `json:"sizes"`
	Kernels []bench.KernelResult `json:"kernels"`
}

func newBenchKernelsCommand(app *App) *cobra.Command {
	o := &BenchKernelsOptions{}
	cmd := &cobra.Command{
		Use:   "kernels",
		Short: "Measure single kernels",
		Long: `Measure single kernels on operands of the size that models of 8B parameters have, one
after the other, without waiting between calls: a copy, AdamW, decoding of four bits,
norm and gate, linear layers in bfloat16 and on weights in four bits, attention
forward and backward. --tiny tries it out where such operands are too much.`,
		Example: `  mltrain bench kernels --device cuda --json
  mltrain bench kernels --device cpu --tiny --only 'nf4|linear'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runBenchKernels(cmd.Context(), app, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.Device, "device", deviceAuto, "auto, cpu, cuda or emulator")
	f.StringVar(&o.Only, "only", "", "measure the kernels whose names this regular expression matches")
	f.IntVar(&o.Rounds, "rounds", 5, "how often each is measured; the median counts")
	f.BoolVar(&o.Tiny, "tiny", false, "tiny operands")
	f.BoolVar(&o.JSON, "json", false, "print the result as JSON")
	complete(cmd, "device", deviceNames(), cobra.ShellCompDirectiveNoFileComp)
	return cmd
}

func runBenchKernels(ctx context.Context, app *App, o *BenchKernelsOptions) error {
	only, err := regexp.Compile(o.Only)
	if err != nil {
		return usageErrorf("--only: %w", err)
	}
	if o.Rounds < 1 {
		return usageErrorf("--rounds: expected 1 or more, found %d", o.Rounds)
	}
	b, err := newBackend(app.Log, o.Device)
	if err != nil {
		return err
	}
	out := benchedKernels{Device: b.Name(), Sizes: bench.FullSizes(), Kernels: []bench.KernelResult{}}
	if o.Tiny {
		out.Sizes = bench.TinySizes()
	}
	if !o.JSON {
		fmt.Fprintf(app.Out, "%s\n%-36s %12s %10s %10s\n", out.Device, "", "ms", "GB/s", "TFLOP/s")
	}
	err = out.Sizes.Kernels(ctx, b, only, o.Rounds, func(k bench.KernelResult) {
		out.Kernels = append(out.Kernels, k)
		if !o.JSON {
			fmt.Fprintf(app.Out, "%-36s %12.4f %10s %10s\n", k.Name, 1e3*k.Seconds, rate(k.Bytes, k.Seconds, 1e9), rate(k.FLOPs, k.Seconds, 1e12))
		}
	})
	if err != nil {
		return err
	}
	if len(out.Kernels) == 0 {
		return usageErrorf("--only %q matches no kernel", o.Only)
	}
	if o.JSON {
		return app.PrintJSON(out)
	}
	return nil
}

// rate formats work per second, nothing if there is none.
func rate(work, seconds, unit float64) string {
	if work == 0 {
		return ""
	}
	return fmt.Sprintf("%.3g", work/seconds/unit)
}
