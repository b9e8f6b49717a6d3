package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mltrain/mltrain/internal/tokenizer"
	"github.com/mltrain/mltrain/internal/train"
)

// MergeOptions are the flags of merge.
type MergeOptions struct {
	Model, Adapter, Output, Probe, Device string
	NF4, DoubleQuant, JSON                bool
}

func newMergeCommand(app *App) *cobra.Command {
	o := &MergeOptions{}
	cmd := &cobra.Command{
		Use:   "merge",
		Short: "Put an adapter into its model and write a full checkpoint",
		Long: `Merge an adapter into the weights of its model and write a full checkpoint in the
model's own precision. The result is loaded again and compared with model and
adapter on a probe text: largest difference of a logit, and Kullback-Leibler
divergence of the predictions.

An adapter that was trained with load_in_4bit has seen the model in 4 bits. Merged
into the model as it is, the result is the more precise, and a little other than in
training; --nf4 merges into what 4 bits leave of the model instead. A model that is
held in 4 bits already is decoded. The output says which it was.`,
		Example: `  mltrain merge --model ./SmolLM2-135M --adapter runs/adapter --output merged
  mltrain merge --model ./SmolLM2-135M --adapter runs/qlora --output merged --nf4`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runMerge(cmd.Context(), app, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.Model, "model", "", "directory of the Hugging Face checkpoint that the adapter was trained on, or org/name on the hub")
	f.StringVar(&o.Adapter, "adapter", "", "directory of the adapter")
	f.StringVar(&o.Output, "output", "", "directory of the merged checkpoint")
	f.StringVar(&o.Probe, "probe", "Once upon a time there was a small house at the edge of a wood.", "text to compare on")
	f.StringVar(&o.Device, "device", "auto", "auto, cpu, cuda or emulator")
	f.BoolVar(&o.NF4, "nf4", false, "merge into the model's weights after NF4, as load_in_4bit held them")
	f.BoolVar(&o.DoubleQuant, "double-quant", false, "with --nf4: with quantised scales, as use_bnb_nested_quant held them")
	f.BoolVar(&o.JSON, "json", false, "print the comparison as JSON")
	return cmd
}

func runMerge(ctx context.Context, app *App, o *MergeOptions) error {
	for _, f := range [][2]string{{"--model", o.Model}, {"--adapter", o.Adapter}, {"--output", o.Output}} {
		if f[1] == "" {
			return usageErrorf("%s is not given", f[0])
		}
	}
	if o.DoubleQuant && !o.NF4 {
		return usageErrorf("--double-quant has no effect without --nf4")
	}
	base, err := resolveModel(ctx, app, o.Model)
	if err != nil {
		return err
	}
	adapter, err := resolveModel(ctx, app, o.Adapter)
	if err != nil {
		return err
	}
	tok, err := tokenizer.Load(base)
	if err != nil {
		return err
	}
	ids, err := tok.WithoutLimits().AppendIDs(nil, o.Probe, true)
	if err != nil {
		return err
	}
	if len(ids) == 0 {
		return usageErrorf("--probe: the text has no tokens")
	}
	backend, err := newBackend(app.Log, o.Device)
	if err != nil {
		return err
	}
	var m *train.Merged
	if o.NF4 {
		m, err = train.MergeNF4(backend, base, adapter, o.Output, ids, o.DoubleQuant)
	} else {
		m, err = train.Merge(backend, base, adapter, o.Output, ids)
	}
	if err != nil {
		return err
	}
	if o.JSON {
		return app.PrintJSON(m)
	}
	from := ""
	if m.Dequantised {
		from = ", decoded from NF4"
	}
	_, err = fmt.Fprintf(app.Out, "%s: %d layers merged into the %s weights of %s%s\nlargest logit difference %.3g (of %.3g), KL %.3g nats, over %d tokens\n",
		o.Output, m.Merged, m.Precision, o.Model, from, m.MaxLogitDiff, m.MaxLogit, m.KL, m.Tokens)
	return err
}
