package main

import "github.com/spf13/cobra"

// PretrainOptions are the flags of pretrain.
type PretrainOptions struct{ TrainFlags }

func newPretrainCommand(app *App) *cobra.Command {
	o := &PretrainOptions{}
	cmd := &cobra.Command{
		Use:   "pretrain",
		Short: "Train a model on plain text, from scratch or further",
		Long: `Train a model to continue plain text: rows with the key text, or .txt files, of which
each is a document. With train_from_scratch the weights are drawn at random by the
seed, and the model's directory needs no weights: only config.json and the
tokenizer, which mltrain tokenizer train makes. Without it, training goes on from
the checkpoint's weights.

packing puts several documents into one sequence; attention stays within each. With
packing_strategy bfd_split documents stay whole but for those longer than max_length,
with wrapped all become one stream that is cut every max_length tokens. max_tokens ends
the run after so many tokens, and lets the learning rate go by the tokens seen.
test_size holds documents out, to see the loss on text the model has not read.`,
		Example: `  mltrain pretrain --model ./tiny --data books/ --output runs/tiny --set train_from_scratch=true --set packing=true
  mltrain pretrain --model ./SmolLM2-135M --data notes.txt --output runs/notes --set test_size=0.05
  mltrain pretrain --model ./tiny --data books/ --output runs/tiny --set max_tokens=5e6 --set warmup_tokens=1e5
  mltrain pretrain -c run.yaml --resume`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := o.Load("pretrain")
			if err != nil {
				return err
			}
			return runTraining(cmd.Context(), app, &o.TrainFlags, r)
		},
	}
	o.Register(cmd)
	return cmd
}
