package main

import (
	"github.com/spf13/cobra"
)

// DPOOptions are the flags of dpo.
type DPOOptions struct{ TrainFlags }

func newDPOCommand(app *App) *cobra.Command {
	o := &DPOOptions{}
	cmd := &cobra.Command{
		Use:   "dpo",
		Short: "Train on answers that were preferred to others",
		Long: `Preference optimisation. Rows hold a prompt with a chosen and a rejected answer
(prompt, chosen, rejected, as texts or messages), or for loss_type kto a prompt, a
completion and a label. loss_type picks the loss: sigmoid (DPO), ipo, hinge, robust,
exo_pair, bco_pair, nca_pair, sppo_hard, apo_zero, apo_down, aot, aot_unpaired,
discopop, sigmoid_norm, sft, or several of these with loss_weights; simpo, cpo, orpo
and kto stand alone.

The reference model is the model as it was at the start: with an adapter
(use_peft) it is the model with the adapter switched off, which takes no memory of
its own, and simpo, cpo and orpo need none. ref_model names another one.`,
		Example: `  mltrain dpo --model ./SmolLM2-135M-Instruct --data pairs.jsonl --output runs/dpo
  mltrain dpo -c run.yaml --set use_peft=true --set beta=0.1 --set loss_type=sigmoid,sft --set loss_weights=1,0.2
  mltrain dpo --model ./model --data pairs.jsonl --output runs/simpo --set loss_type=simpo --set beta=2`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := o.Load("dpo")
			if err != nil {
				return err
			}
			return runTraining(cmd.Context(), app, &o.TrainFlags, r)
		},
	}
	o.Register(cmd)
	return cmd
}
