package config

// TrainKeys say how long and in what portions the run trains, when it
// evaluates and saves, and where the results go.
type TrainKeys struct {
	// Directory of the run: the final model, its checkpoints and its logs.
	OutputDir string `yaml:"output_dir"`
	// Write into an output directory that already holds a run.
	OverwriteOutputDir bool `yaml:"overwrite_output_dir"`
	// Continue from a checkpoint: true takes the newest good one in output_dir, a path that one.
	ResumeFromCheckpoint Resume `yaml:"resume_from_checkpoint"`
	// Rows (or packed sequences) per device in one forward pass.
	PerDeviceTrainBatchSize int `yaml:"per_device_train_batch_size" alias:"micro_batch_size" min:"1"`
	// Rows (or packed sequences) per device in one forward pass of the evaluation.
	PerDeviceEvalBatchSize int `yaml:"per_device_eval_batch_size" alias:"eval_batch_size" min:"1"`
	// Forward and backward passes whose gradients make one optimiser step.
	GradientAccumulationSteps int `yaml:"gradient_accumulation_steps" min:"1"`
	// Passes over the training data; may be a fraction.
	NumTrainEpochs float64 `yaml:"num_train_epochs" alias:"num_epochs" above:"0"`
	// Optimiser steps of the run; -1 goes by num_train_epochs.
	MaxSteps int `yaml:"max_steps" min:"-1"`
	// Tokens of the run, padding not counted; it ends with the step that reaches them, and the learning rate goes by the tokens seen instead of the steps. 0 goes by max_steps or num_train_epochs.
	MaxTokens int `yaml:"max_tokens" min:"0" for:"pretrain,sft,lora"`
	// Seed of everything random in the run.
	Seed int `yaml:"seed" min:"0"`
	// When to evaluate. Without this key: steps when there is data to evaluate on, else no.
	EvalStrategy string `yaml:"eval_strategy" alias:"evaluation_strategy" enum:"no,steps,epoch"`
	// Steps between evaluations, or below 1 a part of the run. auto takes logging_steps.
	EvalSteps Auto[Steps] `yaml:"eval_steps" above:"0"`
	// Evaluate once before the first step.
	EvalOnStart bool `yaml:"eval_on_start"`
	// When to save a checkpoint; best saves whenever the evaluation is the best so far.
	SaveStrategy string `yaml:"save_strategy" enum:"no,steps,epoch,best"`
	// Steps between checkpoints, or below 1 a part of the run.
	SaveSteps Steps `yaml:"save_steps" above:"0"`
	// Checkpoints to keep, the best one included; 0 keeps all.
	SaveTotalLimit int `yaml:"save_total_limit" min:"0"`
	// Finish with the weights of the checkpoint that evaluated best.
	LoadBestModelAtEnd bool `yaml:"load_best_model_at_end"`
	// Metric that picks the best checkpoint; empty is the evaluation loss.
	MetricForBestModel string `yaml:"metric_for_best_model"`
	// Whether more of metric_for_best_model is better. auto is false for losses, true else.
	GreaterIsBetter Auto[bool] `yaml:"greater_is_better"`
	// Evaluations in a row without improvement after which the run stops; 0 never stops early.
	EarlyStoppingPatience int `yaml:"early_stopping_patience" min:"0"`
	// Improvement below which an evaluation counts as none.
	EarlyStoppingThreshold float64 `yaml:"early_stopping_threshold" min:"0"`
	// Scale of the uniform noise added to the embeddings in training (NEFTune); 0 adds none.
	NeftuneNoiseAlpha float64 `yaml:"neftune_noise_alpha" min:"0"`
	// Mass that the target distribution gives to all tokens alike; 0 is plain cross-entropy.
	LabelSmoothingFactor float64 `yaml:"label_smoothing_factor" min:"0" below:"1"`
}

// OptimKeys say how gradients become new weights.
type OptimKeys struct {
	// Optimiser.
	Optim string `yaml:"optim" alias:"optimizer" enum:"sgd,adam,adamw,adamw_8bit,lion"`
	// Peak learning rate. Its default depends on the command and on use_peft.
	LearningRate float64 `yaml:"learning_rate" alias:"lr" min:"0"`
	// Course of the learning rate after warm-up.
	LRSchedulerType string `yaml:"lr_scheduler_type" alias:"lr_scheduler" enum:"linear,cosine,cosine_with_min_lr,constant,constant_with_warmup,wsd,one_cycle"`
	// Options of the scheduler by name, such as {min_lr_rate: 0.1} for cosine_with_min_lr.
	LRSchedulerKwargs map[string]any `yaml:"lr_scheduler_kwargs"`
	// Steps over which the learning rate rises from 0; below 1 a part of the run.
	WarmupSteps Steps `yaml:"warmup_steps" min:"0"`
	// Part of the run over which the learning rate rises from 0.
	WarmupRatio float64 `yaml:"warmup_ratio" min:"0" max:"1"`
	// Tokens over which the learning rate rises from 0, with max_tokens.
	WarmupTokens int `yaml:"warmup_tokens" min:"0" for:"pretrain,sft,lora"`
	// Factor by which the learning rate falls from each layer to the one below it; 1 is the same rate everywhere.
	LayerLRDecay float64 `yaml:"layer_lr_decay" above:"0" max:"1"`
	// Decoupled weight decay (for adam and sgd: added to the gradient). Never on norms and biases.
	WeightDecay float64 `yaml:"weight_decay" min:"0"`
	// Decay of the running mean of gradients (adam, adamw, lion).
	AdamBeta1 float64 `yaml:"adam_beta1" min:"0" below:"1"`
	// Decay of the running mean of squared gradients (adam, adamw) or of the momentum (lion).
	AdamBeta2 float64 `yaml:"adam_beta2" min:"0" below:"1"`
	// Added to the root of the second moment (adam, adamw).
	AdamEpsilon float64 `yaml:"adam_epsilon" above:"0"`
	// Momentum of sgd.
	Momentum float64 `yaml:"momentum" min:"0" below:"1"`
	// Nesterov's form of the momentum of sgd.
	Nesterov bool `yaml:"nesterov"`
	// Norm to which the gradient is clipped; 0 does not clip.
	MaxGradNorm float64 `yaml:"max_grad_norm" min:"0"`
}

// ReportKeys say what the run tells while it trains.
type ReportKeys struct {
	// Steps between log lines, or below 1 a part of the run.
	LoggingSteps Steps `yaml:"logging_steps" above:"0"`
	// Where metrics go besides metrics.jsonl.
	ReportTo []string `yaml:"report_to" enum:"none,tensorboard"`
	// Prompts that the model answers now and then while it trains.
	SamplePrompts []string `yaml:"sample_prompts"`
	// Steps between the answers to sample_prompts, or below 1 a part of the run. auto answers at every evaluation.
	SampleSteps Auto[Steps] `yaml:"sample_steps" above:"0"`
	// Longest answer to a prompt of sample_prompts, in tokens.
	SampleMaxNewTokens int `yaml:"sample_max_new_tokens" min:"1"`
	// Log histograms of the gradients with report_to tensorboard.
	LogGradientHistograms bool `yaml:"log_gradient_histograms"`
	// Log the gradient noise scale, an estimate of the useful batch size.
	LogGradientNoiseScale bool `yaml:"log_gradient_noise_scale"`
}
