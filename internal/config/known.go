package config

// knownValues holds values that transformers, TRL and their like have and
// this program does not, by key, each with what to do instead. They are
// refused by name: whoever wrote them made no typing mistake.
func knownValues() map[string]map[string]string {
	const (
		useAdamw  = "use adamw"
		use8bit   = "use adamw_8bit"
		useLinear = "use linear, cosine or wsd"
		useText   = "write metrics.jsonl (always on) or use tensorboard"
	)
	return map[string]map[string]string{
		"optim": {
			"adafactor": useAdamw, "muon": useAdamw, "galore_adamw": useAdamw, "apollo_adamw": useAdamw,
			"lomo": useAdamw, "adalomo": useAdamw, "grokadamw": useAdamw, "schedule_free_adamw": useAdamw,
			"schedule_free_sgd": "use sgd", "stable_adamw": useAdamw, "adagrad": useAdamw, "rmsprop": useAdamw,
			"adamw_anyprecision": useAdamw, "adamw_apex_fused": useAdamw, "adamw_torch_4bit": use8bit,
			"adamw_torch_8bit": use8bit, "ademamix": useAdamw, "ademamix_8bit": use8bit, "paged_adamw": useAdamw,
			"paged_adamw_32bit": useAdamw, "paged_adamw_8bit": use8bit, "lion_8bit": "use lion",
			"paged_lion_8bit": "use lion", "paged_lion_32bit": "use lion", "rmsprop_bnb": useAdamw,
			"rmsprop_bnb_8bit": use8bit,
		},
		"lr_scheduler_type": {
			"polynomial": useLinear, "inverse_sqrt": useLinear, "reduce_lr_on_plateau": useLinear,
			"cosine_with_restarts": "use cosine or one_cycle", "cosine_warmup_with_min_lr": "use cosine_with_min_lr",
			"greedy": useLinear,
		},
		"packing_strategy": {
			"ffd": "use bfd",
		},
		"report_to": {
			"wandb": useText, "mlflow": useText, "comet_ml": useText, "clearml": useText, "neptune": useText,
			"dvclive": useText, "codecarbon": useText, "swanlab": useText, "trackio": useText, "flyte": useText,
			"dagshub": useText, "azure_ml": useText, "all": "use tensorboard",
		},
		"bnb_4bit_quant_type": {"fp4": "use nf4"},
		"init_lora_weights": {
			"eva": "use true or pissa", "olora": "use true or pissa", "loftq": "use true or pissa",
			"corda": "use true or pissa", "orthogonal": "use true or pissa", "lora_ga": "use true or pissa",
		},
		"loss_type": {
			"nll": "leave loss_type out: sft always trains the negative log-likelihood", "dft": "leave loss_type out",
			"chunked_nll": "leave loss_type out: the loss is always computed in chunks",
		},
		"device": {
			"mps": "use cpu", "xpu": "use cpu", "rocm": "use cpu", "hip": "use cpu", "gpu": "use cuda",
		},
		"dtype": {"float64": "use float32"},
	}
}

// knownKeys holds keys that transformers, TRL, axolotl or LLaMA-Factory have
// and this program does not, each with what to do instead.
func knownKeys() map[string]string {
	const (
		oneProcess = "a run is one process on one device; leave it out"
		noHub      = "upload the finished directory afterwards; leave it out"
		builtIn    = "the program has a single implementation; leave it out"
		theCommand = "the command says what is trained (mltrain sft, mltrain dpo, …); leave it out"
		noCode     = "code that comes with a model is never run; leave it out"
		noTracker  = "metrics.jsonl is always written, and report_to takes tensorboard; leave it out"
	)
	return map[string]string{
		"fp16":                          "use bf16, or leave both out for float32",
		"fp16_full_eval":                "use bf16",
		"bf16_full_eval":                "bf16 holds for evaluation too",
		"tf32":                          "use bf16",
		"load_in_8bit":                  "use load_in_4bit",
		"deepspeed":                     oneProcess,
		"fsdp":                          oneProcess,
		"fsdp_config":                   oneProcess,
		"accelerator_config":            oneProcess,
		"parallelism_config":            oneProcess,
		"ddp_backend":                   oneProcess,
		"ddp_timeout":                   oneProcess,
		"ddp_find_unused_parameters":    oneProcess,
		"local_rank":                    oneProcess,
		"push_to_hub":                   noHub,
		"hub_model_id":                  noHub,
		"hub_token":                     "set HF_TOKEN in the environment",
		"hub_strategy":                  noHub,
		"hub_private_repo":              noHub,
		"torch_compile":                 builtIn,
		"torch_compile_backend":         builtIn,
		"torch_compile_mode":            builtIn,
		"use_liger_kernel":              builtIn,
		"attn_implementation":           builtIn,
		"flash_attention":               builtIn,
		"flash_attn":                    builtIn,
		"sdp_attention":                 builtIn,
		"xformers_attention":            builtIn,
		"gradient_checkpointing_kwargs": builtIn,
		"remove_unused_columns":         "columns that no row shape knows are never read; leave it out",
		"dataloader_num_workers":        "use dataset_num_proc",
		"dataloader_pin_memory":         builtIn,
		"dataset_text_field":            "use datasets[].columns, such as {text: content}",
		"dataset_config":                "name the file itself in datasets[].path",
		"dataset_kwargs":                "use the keys of datasets[]",
		"trust_remote_code":             noCode,
		"model_init_kwargs":             "use the keys themselves, such as dtype",
		"optim_args":                    "use the keys themselves, such as adam_beta1",
		"optim_target_modules":          "use freeze and unfreeze",
		"auto_find_batch_size":          "use mltrain plan to find what fits",
		"pad_to_multiple_of":            builtIn,
		"pad_token":                     "no token is ever added to a vocabulary; padding goes by position",
		"eos_token":                     "the model's own end token is trained; set it in tokenizer_config.json",
		"special_tokens":                "no token is ever added to a vocabulary; set them in tokenizer_config.json",
		"shuffle_dataset":               "use train_sampling_strategy",
		"max_prompt_length":             "use max_length and truncation_mode",
		"max_completion_length":         "use max_length and truncation_mode",
		"activation_offloading":         "use gradient_checkpointing",
		"include_num_input_tokens_seen": "num_tokens is always logged; leave it out",
		"logging_strategy":              "use logging_steps",
		"logging_first_step":            "the first step is always logged; leave it out",
		"logging_dir":                   "TensorBoard files go under runs/ in output_dir; leave it out",
		"run_name":                      "use output_dir",
		"save_only_model":               "a checkpoint always holds what resuming needs; leave it out",
		"save_safetensors":              "weights are always saved as safetensors; leave it out",
		"do_train":                      theCommand,
		"do_eval":                       "use eval_strategy",
		"stage":                         theCommand,
		"rl":                            theCommand,
		"template":                      "use chat_template",
		"plot_loss":                     "see metrics.jsonl; leave it out",
		"overwrite_cache":               builtIn,
		"wandb_project":                 noTracker,
		"wandb_entity":                  noTracker,
		"wandb_name":                    noTracker,
		"wandb_log_model":               noTracker,
		"dataset_prepared_path":         builtIn,
		"pad_to_sequence_len":           builtIn,
		"strict":                        "the config is always strict; leave it out",
		"model_type":                    "config.json names the architecture; leave it out",
		"tokenizer_type":                "tokenizer.json says what it is; leave it out",
		"full_determinism":              "runs are always deterministic; leave it out",
		"f_divergence_type":             "only the reverse Kullback-Leibler divergence is there; leave it out",
		"ld_alpha":                      "leave it out",
		"max_samples":                   "use datasets[].fraction",
		"lora_task_type":                "the command says it; leave it out",
		"lora_target_parameters":        "use lora_target_modules",
		"bnb_4bit_quant_storage":        builtIn,
	}
}
