package config

// ModelKeys say which model is trained and in what number format.
type ModelKeys struct {
	// Directory of a Hugging Face checkpoint, or org/name on the hub.
	ModelNameOrPath string `yaml:"model_name_or_path" alias:"base_model"`
	// Branch, tag or commit of a model that comes from the hub.
	ModelRevision string `yaml:"model_revision"`
	// Start from random weights in the shape that config.json describes, instead of from the checkpoint's weights.
	TrainFromScratch bool `yaml:"train_from_scratch" for:"pretrain"`
	// Number format in which frozen weights are held: auto keeps the checkpoint's.
	Dtype string `yaml:"dtype" alias:"torch_dtype" enum:"auto,float32,bfloat16,float16"`
	// Where the run computes: auto takes cuda when there is a usable GPU, else the CPU; emulator runs the GPU kernels on an interpreter.
	Device string `yaml:"device" enum:"auto,cpu,cuda,emulator"`
	// Compute in bfloat16, with float32 master weights. auto is true on cuda and the emulator, false on the CPU.
	BF16 Auto[bool] `yaml:"bf16"`
	// With bf16: let products of matrices lose as much as one more rounding to bfloat16 where that is faster, as PyTorch's setting of this name does on GPUs. Here it means Intel's CPUs with AVX512-FP16 and without AMX, which then sum up to 64 products at a time in float16. false sums in float32 everywhere.
	AllowBF16ReducedPrecisionReduction bool `yaml:"allow_bf16_reduced_precision_reduction"`
	// Recompute activations in the backward pass instead of keeping them: less memory, more time. auto is true on cuda.
	GradientCheckpointing Auto[bool] `yaml:"gradient_checkpointing"`
	// Probability of dropping an attention weight in training. auto takes the model's own.
	AttentionDropout Auto[float64] `yaml:"attention_dropout" alias:"attn_pdrop" min:"0" below:"1"`
	// Probability of dropping an element of a block's output before it joins the residual stream. auto takes the model's own.
	ResidPdrop Auto[float64] `yaml:"resid_pdrop" min:"0" below:"1"`
	// Probability of dropping an element of the embeddings. auto takes the model's own.
	EmbdPdrop Auto[float64] `yaml:"embd_pdrop" min:"0" below:"1"`
	// Patterns of parameter names that are not trained; * stands for any run of characters.
	Freeze []string `yaml:"freeze"`
	// Patterns of parameter names that are trained although freeze matches them. Given alone, everything else is frozen.
	Unfreeze []string `yaml:"unfreeze" alias:"unfrozen_parameters"`
}
