package main

import (
	"github.com/spf13/cobra"
)

// RewardOptions are the flags of reward.
type RewardOptions struct{ TrainFlags }

func newRewardCommand(app *App) *cobra.Command {
	o := &RewardOptions{}
	cmd := &cobra.Command{
		Use:   "reward",
		Short: "Train a model that scores answers",
		Long: `Train a reward model on answers that were preferred to others. Rows hold a prompt
with a chosen and a rejected answer, as for dpo, and may say in margin by how much
the one is better. The model gives each answer a number, the reward, by a new head
on its last token; training makes those of chosen answers larger:
-log sigmoid(chosen - rejected - margin). Rows longer than max_length are left out.

The result is what transformers loads as AutoModelForSequenceClassification; with
an adapter (use_peft), what PEFT loads onto such a model. A model that has a score
head already is trained on.`,
		Example: `  mltrain reward --model ./SmolLM2-135M-Instruct --data pairs.jsonl --output runs/reward
  mltrain reward -c run.yaml --set test_size=0.1 --set center_rewards_coefficient=0.01
  mltrain reward -c run.yaml --set use_peft=true --set lora_r=16`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := o.Load("reward")
			if err != nil {
				return err
			}
			return runTraining(cmd.Context(), app, &o.TrainFlags, r)
		},
	}
	o.Register(cmd)
	return cmd
}
