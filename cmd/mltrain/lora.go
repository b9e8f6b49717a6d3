package main

import "github.com/spf13/cobra"

// LoRAOptions are the flags of lora.
type LoRAOptions struct{ TrainFlags }

func newLoRACommand(app *App) *cobra.Command {
	o := &LoRAOptions{}
	cmd := &cobra.Command{
		Use:   "lora",
		Short: "Fine-tune a small adapter and leave the model as it is",
		Long: `Low-rank adaptation: sft with use_peft true and a learning rate to match. Only an
adapter is trained: LoRA, rsLoRA (use_rslora) or DoRA (use_dora), on the linear
layers that lora_target_modules names.

The output directory holds the adapter as Hugging Face PEFT lays it out. Use it
with --adapter, or put it into the model with mltrain merge.`,
		Example: `  mltrain lora --model ./SmolLM2-135M --data chats.jsonl --output runs/adapter
  mltrain lora -c run.yaml --set lora_r=16 --set lora_target_modules=q_proj,k_proj,v_proj,o_proj`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := o.Load("lora")
			if err != nil {
				return err
			}
			return runTraining(cmd.Context(), app, &o.TrainFlags, r)
		},
	}
	o.Register(cmd)
	return cmd
}
