package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mltrain/mltrain/internal/plan"
	"github.com/mltrain/mltrain/internal/train"
)

// QuantizeOptions are the flags of quantize.
type QuantizeOptions struct {
	Model, Output, ComputeDtype string
	Nested, JSON                bool
}

func newQuantizeCommand(app *App) *cobra.Command {
	o := &QuantizeOptions{}
	cmd := &cobra.Command{
		Use:   "quantize",
		Short: "Write a model in 4 bits, as bitsandbytes keeps them",
		Long: `Write a model with its linear layers in NF4 (4 bits, a scale for each 64 weights), as
transformers and bitsandbytes save and load it. Embeddings, the head and norms stay
as they are. The error of each layer is printed: the largest, and the root of the sum
of squares relative to that of the weights.

The result is used like any model: by eval, generate and chat, and as the base of an
adapter. The whole of it cannot be trained.`,
		Example: `  mltrain quantize --model ./SmolLM2-135M --output ./SmolLM2-135M-nf4
  mltrain quantize --model ./SmolLM2-135M --output ./SmolLM2-135M-nf4 --double-quant --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runQuantize(cmd.Context(), app, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.Model, "model", "", "directory of a Hugging Face checkpoint, or org/name on the hub")
	f.StringVar(&o.Output, "output", "", "directory of the quantised checkpoint")
	f.BoolVar(&o.Nested, "double-quant", false, "quantise the scales too, to 8 bits")
	f.StringVar(&o.ComputeDtype, "compute-dtype", "bfloat16", "type that transformers is told to multiply in: bfloat16, float16 or float32")
	f.BoolVar(&o.JSON, "json", false, "print the errors as JSON")
	complete(cmd, "compute-dtype", []string{"bfloat16", "float16", "float32"}, cobra.ShellCompDirectiveNoFileComp)
	for _, name := range []string{"model", "output"} {
		// MarkFlagDirname fails only for a flag that does not exist.
		_ = cmd.MarkFlagDirname(name)
	}
	return cmd
}

func runQuantize(ctx context.Context, app *App, o *QuantizeOptions) error {
	switch {
	case o.Model == "":
		return usageErrorf("--model is not given")
	case o.Output == "":
		return usageErrorf("--output is not given")
	case o.ComputeDtype != "bfloat16" && o.ComputeDtype != "float16" && o.ComputeDtype != "float32":
		return usageErrorf("--compute-dtype %s: needed is bfloat16, float16 or float32", o.ComputeDtype)
	}
	dir, err := resolveModel(ctx, app, o.Model)
	if err != nil {
		return err
	}
	if _, err := train.Describe(dir, ""); err != nil {
		return err
	}
	q, err := train.Quantise(dir, o.Output, o.Nested, o.ComputeDtype)
	if err != nil {
		return err
	}
	if o.JSON {
		return app.PrintJSON(q)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-52s %14s %12s %12s\n", "layer", "shape", "max error", "relative")
	worst := q.Layers[0]
	for _, l := range q.Layers {
		fmt.Fprintf(&b, "%-52s %14s %12.4g %12.4f\n", l.Name, fmt.Sprint(l.Shape), l.Max, l.Relative)
		if l.Relative > worst.Relative {
			worst = l
		}
	}
	fmt.Fprintf(&b, "%s: %d layers, %s instead of %s; the largest relative error is %.4f, of %s\n", q.Output, len(q.Layers),
		plan.FormatBytes(q.Bytes), plan.FormatBytes(q.BytesBefore), worst.Relative, worst.Name)
	_, err = fmt.Fprint(app.Out, b.String())
	return err
}
