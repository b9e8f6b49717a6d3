package config

// PeftKeys say which adapter is trained instead of the whole model, and how
// the frozen base is quantised.
type PeftKeys struct {
	// Train a LoRA adapter and freeze the model. True under the lora command.
	UsePeft bool `yaml:"use_peft"`
	// Rank of the adapter.
	LoraR int `yaml:"lora_r" alias:"lora_rank" min:"1"`
	// Scale of the adapter, divided by its rank.
	LoraAlpha float64 `yaml:"lora_alpha" above:"0"`
	// Probability of dropping an element of the adapter's input in training.
	LoraDropout float64 `yaml:"lora_dropout" min:"0" below:"1"`
	// Modules that get an adapter: all-linear, a list of names, or a regular expression over dotted names. The head never does by default.
	LoraTargetModules Targets `yaml:"lora_target_modules" alias:"lora_target"`
	// Modules that are trained whole and saved with the adapter.
	LoraModulesToSave []string `yaml:"lora_modules_to_save" alias:"additional_target"`
	// Biases that are trained along.
	LoraBias string `yaml:"lora_bias" enum:"none,all,lora_only"`
	// Ids of tokens whose embeddings are trained along, such as tokens that were added to the vocabulary.
	TrainableTokenIndices []int `yaml:"trainable_token_indices"`
	// Divide lora_alpha by the root of the rank instead of by the rank.
	UseRslora bool `yaml:"use_rslora"`
	// Train the length of each weight row apart from its direction (DoRA).
	UseDora bool `yaml:"use_dora" alias:"peft_use_dora"`
	// Start of the adapter: true is a zero product with random A, gaussian draws A from a normal distribution, pissa takes the principal singular vectors, pissa_niter_4 and pissa_niter_16 by a faster random decomposition.
	InitLoraWeights string `yaml:"init_lora_weights" enum:"true,false,gaussian,pissa,pissa_niter_4,pissa_niter_16"`
	// Ratio of B's learning rate to A's (LoRA+); 0 uses one rate.
	LoraplusLRRatio float64 `yaml:"loraplus_lr_ratio" min:"0"`
	// Ranks of single modules, by pattern of their names.
	RankPattern map[string]int `yaml:"rank_pattern"`
	// Scales of single modules, by pattern of their names.
	AlphaPattern map[string]float64 `yaml:"alpha_pattern"`
	// Numbers of the layers that get an adapter; empty is all.
	LayersToTransform []int `yaml:"layers_to_transform"`
	// Adapter that training continues from.
	AdapterNameOrPath string `yaml:"adapter_name_or_path" alias:"lora_model_dir"`
	// Hold the frozen base in 4 bits (QLoRA).
	LoadIn4bit bool `yaml:"load_in_4bit"`
	// Code of the 4-bit base.
	BnB4bitQuantType string `yaml:"bnb_4bit_quant_type" enum:"nf4"`
	// Quantise the scales of the 4-bit base too.
	UseBnBNestedQuant bool `yaml:"use_bnb_nested_quant" alias:"double_quantization,bnb_4bit_use_double_quant"`
	// Number format in which the 4-bit base multiplies. auto goes by bf16.
	BnB4bitComputeDtype string `yaml:"bnb_4bit_compute_dtype" enum:"auto,float32,bfloat16"`
}
