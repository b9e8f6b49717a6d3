package config

// PreferenceKeys are read by dpo and reward.
type PreferenceKeys struct {
	// Strength of the pull towards the reference model.
	Beta float64 `yaml:"beta" alias:"rl_beta,pref_beta" min:"0" for:"dpo"`
	// Loss, or several that are added with loss_weights.
	LossType []string `yaml:"loss_type" alias:"pref_loss,dpo_loss_type" enum:"sigmoid,hinge,ipo,robust,exo_pair,bco_pair,nca_pair,sppo_hard,apo_zero,apo_down,aot,aot_unpaired,discopop,sigmoid_norm,sft,simpo,cpo,orpo,kto,apo_zero_unpaired" for:"dpo"`
	// Weight of each loss of loss_type; empty weighs them all 1.
	LossWeights []float64 `yaml:"loss_weights" for:"dpo"`
	// Probability that a preference is the wrong way round (robust, exo_pair, aot).
	LabelSmoothing float64 `yaml:"label_smoothing" min:"0" below:"0.5" for:"dpo"`
	// Target margin of simpo.
	SimpoGamma float64 `yaml:"simpo_gamma" for:"dpo"`
	// Weight of the likelihood of the chosen completion in cpo and simpo. auto is 1 for cpo and 0 for simpo.
	CpoAlpha Auto[float64] `yaml:"cpo_alpha" min:"0" for:"dpo"`
	// Temperature of discopop.
	DiscopopTau float64 `yaml:"discopop_tau" above:"0" for:"dpo"`
	// Weigh each pair by the policy's own likelihood of it (WPO).
	UseWeighting bool `yaml:"use_weighting" for:"dpo"`
	// Weight of desirable completions in kto.
	DesirableWeight float64 `yaml:"desirable_weight" min:"0" for:"dpo"`
	// Weight of undesirable completions in kto.
	UndesirableWeight float64 `yaml:"undesirable_weight" min:"0" for:"dpo"`
	// Switch all dropout of the model off.
	DisableDropout bool `yaml:"disable_dropout" for:"dpo,reward"`
	// Compute the reference model's log-probabilities once, before training.
	PrecomputeRefLogProbs bool `yaml:"precompute_ref_log_probs" for:"dpo"`
	// Reference model: empty is the model itself at the start (with an adapter: the model without it).
	RefModel string `yaml:"ref_model" for:"dpo"`
	// Move the reference model towards the policy now and then (TR-DPO).
	SyncRefModel bool `yaml:"sync_ref_model" for:"dpo"`
	// Share of the policy in the reference model at each synchronisation.
	RefModelMixupAlpha float64 `yaml:"ref_model_mixup_alpha" min:"0" max:"1" for:"dpo"`
	// Steps between synchronisations of the reference model.
	RefModelSyncSteps int `yaml:"ref_model_sync_steps" min:"1" for:"dpo"`
	// Weight of the penalty on the square of the sum of both rewards; 0 is none.
	CenterRewardsCoefficient float64 `yaml:"center_rewards_coefficient" min:"0" for:"reward"`
}
