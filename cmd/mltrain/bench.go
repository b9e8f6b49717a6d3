package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mltrain/mltrain/internal/bench"
	"github.com/mltrain/mltrain/internal/cpu/gemm"
	"github.com/mltrain/mltrain/internal/plan"
	"github.com/mltrain/mltrain/internal/profile"
)

// BenchOptions are the flags of bench step and bench generate.
type BenchOptions struct {
	Shape, Device, Profile      string
	Batch, Seq, Steps, Warm     int
	LoRARank, Prompt, Tokens    int
	AssistantTokens             int
	BF16, Recompute, LoadIn4bit bool
	Kernels, Shapes, JSON, CSV  bool
}

func newBenchCommand(app *App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure training steps, generation and kernels on this machine",
		Long: `Measure training steps and generation on this machine, on models of common shapes
with random weights, beside what the machine can do at most, or single kernels.`,
		Example: `  mltrain bench step --shape smollm2-135m --seq 512 --lora-rank 16 --kernels
  mltrain bench kernels --device cuda
  mltrain bench generate --shape smollm2-135m --tokens 64`,
	}
	cmd.AddCommand(newBenchStepCommand(app), newBenchGenerateCommand(app), newBenchKernelsCommand(app))
	asGroup(cmd)
	return cmd
}

func (o *BenchOptions) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.Shape, "shape", "smollm2-135m", "shape of the model: "+strings.Join(bench.Shapes(), ", ")+", or a directory with a config.json")
	f.StringVar(&o.Device, "device", "auto", "auto, cpu, cuda or emulator")
	f.BoolVar(&o.JSON, "json", false, "print the result as JSON")
	complete(cmd, "shape", bench.Shapes(), cobra.ShellCompDirectiveDefault)
}

func newBenchStepCommand(app *App) *cobra.Command {
	o := &BenchOptions{}
	cmd := &cobra.Command{
		Use:   "step",
		Short: "Measure a training step: forward, backward and update",
		Long: `Measure a training step: forward, backward and AdamW's update, on rows of made-up
tokens. --kernels says where the time goes, with the speed of matrix products
beside the measured peak of the machine; it waits after every kernel.`,
		Example: `  mltrain bench step --shape smollm2-135m --seq 512
  mltrain bench step --shape gpt2-124m --batch 4 --seq 64 --bf16 --kernels --csv > kernels.csv`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return runBenchStep(app, o) },
	}
	o.register(cmd)
	f := cmd.Flags()
	f.IntVar(&o.Batch, "batch", 1, "rows of a step")
	f.IntVar(&o.Seq, "seq", 512, "tokens of a row")
	f.IntVar(&o.LoRARank, "lora-rank", 0, "train a LoRA adapter of this rank on all linear layers; 0 trains the whole model")
	f.BoolVar(&o.LoadIn4bit, "load-in-4bit", false, "with --lora-rank, hold the frozen weights in NF4 with double quantisation")
	f.BoolVar(&o.BF16, "bf16", false, "compute in bfloat16")
	f.BoolVar(&o.Recompute, "gradient-checkpointing", false, "compute activations again in the backward pass")
	f.IntVar(&o.Steps, "steps", 5, "steps to measure")
	f.IntVar(&o.Warm, "warmup", 2, "steps before those")
	f.BoolVar(&o.Kernels, "kernels", false, "measure each kernel")
	f.BoolVar(&o.Shapes, "shapes", false, "with --kernels, each shape of a matrix product by itself")
	f.BoolVar(&o.CSV, "csv", false, "print kernels as CSV")
	f.StringVar(&o.Profile, "profile", "", "write a CPU profile, a heap profile and an execution trace into this directory")
	return cmd
}

// benched is what bench step prints with --json.
type benched struct {
	Shape      string  `json:"shape"`
	Device     string  `json:"device"`
	Threads    int     `json:"threads"`
	Seconds    float64 `json:"seconds"`
	TokensPerS float64 `json:"tokens_per_second"`
	PeakRSS    int64   `json:"peak_rss_bytes,omitempty"`
	// PeakGFLOPS is the machine's measured float32 peak, over all threads; 0 if unknown.
	PeakGFLOPS float64 `json:"peak_gflops,omitempty"`
	// PeakBF16GFLOPS is that of products of bfloat16, in the arithmetic that they are computed in; 0 without --bf16.
	PeakBF16GFLOPS float64 `json:"peak_bf16_gflops,omitempty"`
	bench.StepResult
}

func runBenchStep(app *App, o *BenchOptions) error {
	for name, v := range map[string]int{"batch": o.Batch, "steps": o.Steps, "seq": o.Seq - 1} {
		if v < 1 {
			return usageErrorf("--%s is too small", name)
		}
	}
	if o.CSV && !o.Kernels {
		return usageErrorf("--csv lists kernels: give --kernels too")
	}
	if o.LoadIn4bit && o.LoRARank == 0 {
		return usageErrorf("--load-in-4bit needs --lora-rank: weights in 4 bits cannot be trained themselves")
	}
	raw, err := bench.Config(o.Shape)
	if err != nil {
		return err
	}
	b, err := newBackend(app.Log, o.Device)
	if err != nil {
		return err
	}
	s := bench.Step{ConfigJSON: raw, LoRARank: o.LoRARank, LoadIn4bit: o.LoadIn4bit, BF16: o.BF16, Recompute: o.Recompute, Batch: o.Batch, Seq: o.Seq, Warm: o.Warm, N: o.Steps}
	stop, err := startProfiles(o.Profile)
	if err != nil {
		return err
	}
	res, err := s.Run(b, o.Kernels)
	if err := errors.Join(err, stop()); err != nil {
		return err
	}
	if o.Kernels && !o.Shapes {
		res.Kernels = profile.ByKernel(res.Kernels)
	}
	out := benched{Shape: o.Shape, Device: b.Name(), Threads: runtime.GOMAXPROCS(0), Seconds: res.Median().Seconds(), PeakRSS: peakRSS(), StepResult: res}
	out.TokensPerS = float64(res.Tokens) / out.Seconds
	if strings.HasPrefix(b.Name(), "cpu") {
		out.PeakGFLOPS = gemm.PeakF32() * float64(out.Threads)
		if o.BF16 {
			out.PeakBF16GFLOPS = gemm.PeakBF16() * float64(out.Threads)
		}
	}
	if o.JSON {
		return app.PrintJSON(out)
	}
	if o.CSV {
		return writeKernels(app, out)
	}
	fmt.Fprintf(app.Out, "%s on %s, %d threads: %.1f ms a step of %d tokens, %.0f tokens/s, %s allocated\n", o.Shape, out.Device, out.Threads,
		1e3*out.Seconds, res.Tokens, out.TokensPerS, plan.FormatBytes(res.Bytes))
	if o.Kernels {
		bf16 := ""
		if o.BF16 {
			bf16 = fmt.Sprintf(", bfloat16 peak %.0f", out.PeakBF16GFLOPS)
		}
		fmt.Fprintf(app.Out, "over %d steps; float32 peak %.0f GFLOP/s%s\n%s", o.Steps, out.PeakGFLOPS, bf16, profile.Table(res.Kernels))
	}
	return nil
}

// writeKernels prints a line a kernel: name, calls, milliseconds, GFLOP/s and its share of the peak.
func writeKernels(app *App, r benched) error {
	w := csv.NewWriter(app.Out)
	rows := [][]string{{"kernel", "calls", "ms", "gflops", "of_peak"}}
	for _, k := range r.Kernels {
		row := []string{k.Name, strconv.Itoa(k.Calls), fmt.Sprintf("%.4f", float64(k.Time)/float64(time.Millisecond)), "", ""}
		if k.FLOPs > 0 {
			rate := k.FLOPs / float64(k.Time)
			row[3] = fmt.Sprintf("%.2f", rate)
			if r.PeakGFLOPS > 0 {
				row[4] = fmt.Sprintf("%.3f", rate/r.PeakGFLOPS)
			}
		}
		rows = append(rows, row)
	}
	return w.WriteAll(rows)
}

func newBenchGenerateCommand(app *App) *cobra.Command {
	o := &BenchOptions{}
	cmd := &cobra.Command{
		Use:     "generate",
		Short:   "Measure greedy generation of one sequence",
		Example: `  mltrain bench generate --shape smollm2-135m --prompt 64 --tokens 64`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Prompt < 1 || o.Tokens < 2 {
				return usageErrorf("--prompt must be 1 or more and --tokens 2 or more")
			}
			if err := checkAssistant(o.AssistantTokens); err != nil {
				return err
			}
			raw, err := bench.Config(o.Shape)
			if err != nil {
				return err
			}
			b, err := newBackend(app.Log, o.Device)
			if err != nil {
				return err
			}
			g, err := bench.Generate(cmd.Context(), b, raw, bench.GenerateOptions{
				BF16: o.BF16, LoadIn4bit: o.LoadIn4bit, Prompt: o.Prompt, Tokens: o.Tokens, AssistantTokens: o.AssistantTokens,
			})
			if err != nil {
				return err
			}
			rate := float64(o.Tokens-1) / g.Rest.Seconds()
			if o.JSON {
				return app.PrintJSON(map[string]float64{
					"first_token_seconds": g.First.Seconds(), "tokens_per_second": rate, "peak_rss_bytes": float64(peakRSS()),
					"drafted": float64(g.Drafted), "drafted_right": float64(g.DraftedRight),
				})
			}
			fmt.Fprintf(app.Out, "%s on %s: first token after %.1f ms, then %.1f tokens/s", o.Shape, b.Name(), 1e3*g.First.Seconds(), rate)
			if g.Drafted > 0 {
				fmt.Fprintf(app.Out, "; %d of %d drafted tokens were right", g.DraftedRight, g.Drafted)
			}
			_, err = fmt.Fprintln(app.Out)
			return err
		},
	}
	o.register(cmd)
	f := cmd.Flags()
	f.IntVar(&o.Prompt, "prompt", 64, "tokens of the prompt")
	f.IntVar(&o.Tokens, "tokens", 64, "tokens to generate")
	assistantFlag(f, &o.AssistantTokens)
	f.BoolVar(&o.LoadIn4bit, "load-in-4bit", false, "hold the weights of linear layers in NF4 with double quantisation")
	f.BoolVar(&o.BF16, "bf16", false, "hold the matrices in bfloat16, as most published checkpoints do; activations stay float32")
	return cmd
}
