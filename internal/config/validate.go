package config

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// validate holds the rules between keys, and those that tags cannot express.
func validate(r *Resolved) Faults {
	v := &validator{Resolved: r}
	v.commandKeys()
	v.data()
	v.schedule()
	v.bestModel()
	v.adapter()
	v.preference()
	return v.faults
}

type validator struct {
	*Resolved
	faults Faults
}

// fault reports what is wrong with a key, at the place that set it.
func (v *validator) fault(key, format string, args ...any) {
	v.faults.add(v.origins[key].place, key, format, args...)
}

// commandKeys refuses keys that the command does not read, so that none is
// ignored. A key that has its default value does no harm.
func (v *validator) commandKeys() {
	def := Default(v.Command)
	for _, f := range v.table.fields {
		if len(f.commands) == 0 || slices.Contains(f.commands, v.Command) || v.IsDefault(f.key) {
			continue
		}
		if !sameValue(&v.Config, &def, f) {
			v.fault(f.key, "belongs to mltrain %s, and this is mltrain %s; remove it", strings.Join(f.commands, " and mltrain "), v.Command)
		}
	}
}

func sameValue(a, b *Config, f field) bool {
	return reflect.DeepEqual(
		reflect.ValueOf(a).Elem().FieldByIndex(f.index).Interface(),
		reflect.ValueOf(b).Elem().FieldByIndex(f.index).Interface())
}

func (v *validator) data() {
	if len(v.Datasets) > 0 && v.DatasetName != "" {
		v.fault("dataset_name", "given beside datasets; put it into that list")
	}
	for _, key := range []string{"datasets", "eval_dataset"} {
		sets := v.Datasets
		if key == "eval_dataset" {
			sets = v.EvalDataset
		}
		weighted := 0
		for _, d := range sets {
			if d.Weight > 0 {
				weighted++
			}
		}
		if weighted > 0 && weighted < len(sets) {
			v.fault(key, "%d of %d entries have a weight; give one to all of them or to none", weighted, len(sets))
		}
	}
	if len(v.EvalDataset) > 0 && v.TestSize > 0 {
		v.fault("test_size", "given beside eval_dataset; keep one of the two")
	}
	if v.TestSize >= 1 && v.TestSize != math.Trunc(v.TestSize) {
		v.fault("test_size", "expected a fraction below 1 or a whole number of rows, found %g", v.TestSize)
	}
	if v.Packing && v.TrainSamplingStrategy == "group_by_length" {
		v.fault("train_sampling_strategy", "group_by_length has no use with packing; keep one of the two")
	}
	if slices.Contains(v.Freeze, "") {
		v.fault("freeze", "a pattern is empty")
	}
	if slices.Contains(v.Unfreeze, "") {
		v.fault("unfreeze", "a pattern is empty")
	}
}

func (v *validator) schedule() {
	if v.WarmupSteps > 0 && v.WarmupRatio > 0 {
		v.fault("warmup_ratio", "given beside warmup_steps; keep one of the two")
	}
	if v.MaxSteps == 0 {
		v.fault("max_steps", "0 steps train nothing; use a positive number, or -1 to go by num_train_epochs")
	}
	if v.MaxSteps > 0 && v.WarmupSteps > Steps(v.MaxSteps) {
		v.fault("warmup_steps", "%s warm-up steps do not fit into max_steps %d", v.WarmupSteps, v.MaxSteps)
	}
	if v.LRSchedulerType == "constant" && (v.WarmupSteps > 0 || v.WarmupRatio > 0 || v.WarmupTokens > 0) {
		v.fault("lr_scheduler_type", "constant has no warm-up; use constant_with_warmup, or remove warmup_steps, warmup_ratio and warmup_tokens")
	}
	v.tokens()
	if v.Nesterov && (v.Optim != "sgd" || v.Momentum == 0) {
		v.fault("nesterov", "needs optim sgd and a momentum above 0 (optim is %s, momentum %g)", v.Optim, v.Momentum)
	}
	if v.Momentum > 0 && v.Optim != "sgd" {
		v.fault("momentum", "belongs to optim sgd, and optim is %s; set adam_beta1, or remove it", v.Optim)
	}
	v.schedulerKwargs()
	if slices.Contains(v.ReportTo, "none") && len(v.ReportTo) > 1 {
		v.fault("report_to", "none stands beside other values; keep one")
	}
	if v.LogGradientHistograms && !slices.Contains(v.ReportTo, "tensorboard") {
		v.fault("log_gradient_histograms", "they are written for TensorBoard: set report_to tensorboard")
	}
	if v.LogGradientNoiseScale && v.GradientAccumulationSteps < 2 {
		v.fault("log_gradient_noise_scale", "compares gradients of a step's micro-batches with the whole step's: set gradient_accumulation_steps to 2 or more")
	}
	if len(v.SamplePrompts) == 0 && !v.SampleSteps.IsAuto() {
		v.fault("sample_steps", "given without sample_prompts")
	}
}

// tokens holds the rules of a run whose length is given in tokens.
func (v *validator) tokens() {
	if v.MaxTokens == 0 {
		if v.WarmupTokens > 0 {
			v.fault("warmup_tokens", "needs max_tokens; without it the learning rate goes by steps, and warmup_steps or warmup_ratio is meant")
		}
		return
	}
	if v.MaxSteps > 0 {
		v.fault("max_tokens", "given beside max_steps; keep one of the two")
	}
	if v.WarmupSteps >= 1 {
		v.fault("warmup_steps", "with max_tokens the learning rate goes by tokens; use warmup_tokens or warmup_ratio")
	}
	if v.WarmupTokens > 0 && (v.WarmupSteps > 0 || v.WarmupRatio > 0) {
		v.fault("warmup_tokens", "given beside warmup_steps or warmup_ratio; keep one of them")
	}
	if v.WarmupTokens > v.MaxTokens {
		v.fault("warmup_tokens", "%d warm-up tokens do not fit into max_tokens %d", v.WarmupTokens, v.MaxTokens)
	}
}

// schedulerOptions lists the options of each scheduler that has some. They are
// those of transformers.
func schedulerOptions() map[string][]string {
	return map[string][]string{
		"cosine":             {"num_cycles"},
		"cosine_with_min_lr": {"num_cycles", "min_lr", "min_lr_rate"},
		"wsd":                {"num_decay_steps", "num_stable_steps", "warmup_type", "decay_type", "min_lr_ratio", "num_cycles"},
		"one_cycle":          {"pct_start", "div_factor", "final_div_factor"},
	}
}

func (v *validator) schedulerKwargs() {
	allowed := schedulerOptions()[v.LRSchedulerType]
	for _, name := range sortedKeys(v.LRSchedulerKwargs) {
		if !slices.Contains(allowed, name) {
			has := "has none"
			if len(allowed) > 0 {
				has = "has " + strings.Join(allowed, ", ")
			}
			v.fault("lr_scheduler_kwargs", "%s has no option %q%s; it %s", v.LRSchedulerType, name, didYouMean(name, allowed), has)
			continue
		}
		text := name == "warmup_type" || name == "decay_type"
		switch value := v.LRSchedulerKwargs[name].(type) {
		case string:
			if !text || !slices.Contains([]string{"linear", "cosine", "1-sqrt"}, value) {
				v.fault("lr_scheduler_kwargs", "%s: found the text %q, expected %s", name, value, kwargWanted(text))
			}
		case bool:
			v.fault("lr_scheduler_kwargs", "%s: found %t, expected %s", name, value, kwargWanted(text))
		default:
			if text {
				v.fault("lr_scheduler_kwargs", "%s: found the number %v, expected %s", name, value, kwargWanted(text))
			}
		}
	}
	_, abs := v.LRSchedulerKwargs["min_lr"]
	_, rel := v.LRSchedulerKwargs["min_lr_rate"]
	if v.LRSchedulerType == "cosine_with_min_lr" && abs == rel {
		v.fault("lr_scheduler_kwargs", "cosine_with_min_lr needs one of min_lr and min_lr_rate, such as {min_lr_rate: 0.1}")
	}
}

func kwargWanted(text bool) string {
	if text {
		return "one of linear, cosine, 1-sqrt"
	}
	return "a number"
}

func (v *validator) bestModel() {
	if v.EvalStrategy != "no" && !v.HasEvalData() {
		v.fault("eval_strategy", "%s needs rows to evaluate on: set eval_dataset or test_size", v.EvalStrategy)
	}
	evaluates := v.EvalStrategy != "no"
	if v.SaveStrategy == "best" && !evaluates {
		v.fault("save_strategy", "best needs evaluations: set eval_strategy, and eval_dataset or test_size")
	}
	if v.EvalOnStart && !v.HasEvalData() {
		v.fault("eval_on_start", "needs rows to evaluate on: set eval_dataset or test_size")
	}
	if v.EarlyStoppingPatience > 0 && !evaluates {
		v.fault("early_stopping_patience", "needs evaluations: set eval_strategy, and eval_dataset or test_size")
	}
	if v.EarlyStoppingThreshold > 0 && v.EarlyStoppingPatience == 0 {
		v.fault("early_stopping_threshold", "has no effect without early_stopping_patience; set it to 1 or more")
	}
	if !v.LoadBestModelAtEnd {
		return
	}
	switch {
	case !evaluates:
		v.fault("load_best_model_at_end", "needs evaluations: set eval_strategy, and eval_dataset or test_size")
	case v.SaveStrategy == "no":
		v.fault("load_best_model_at_end", "needs checkpoints: set save_strategy %s or best", v.EvalStrategy)
	case v.SaveStrategy != "best" && v.SaveStrategy != v.EvalStrategy:
		v.fault("load_best_model_at_end", "save_strategy %s and eval_strategy %s must be the same, or save_strategy best", v.SaveStrategy, v.EvalStrategy)
	case v.SaveStrategy == "steps":
		save, eval := float64(v.SaveSteps), float64(v.EvalSteps.Or(v.LoggingSteps))
		if (save < 1) == (eval < 1) && math.Abs(save/eval-math.Round(save/eval)) > 1e-9 {
			v.fault("load_best_model_at_end", "save_steps %g must be a multiple of eval_steps %g, so that each checkpoint has been evaluated", save, eval)
		}
	}
}

func (v *validator) adapter() {
	if v.Command == "lora" && !v.UsePeft {
		v.fault("use_peft", "mltrain lora trains an adapter; use mltrain sft to train the whole model")
	}
	def := Default(v.Command)
	if v.LoadIn4bit && !v.UsePeft {
		v.fault("load_in_4bit", "4-bit weights cannot be trained themselves; set use_peft true as well")
	}
	if !v.UsePeft {
		for _, f := range structFields(reflect.TypeFor[PeftKeys](), nil) {
			full := *v.table.byKey[f.key]
			if f.key != "load_in_4bit" && f.key != "use_peft" && !v.IsDefault(f.key) && !sameValue(&v.Config, &def, full) {
				v.fault(f.key, "has no effect without use_peft; set use_peft true, or remove it")
			}
		}
		return
	}
	if strings.HasPrefix(v.InitLoraWeights, "pissa") {
		switch {
		case v.UseDora:
			v.fault("init_lora_weights", "%s does not go with use_dora; keep one of the two", v.InitLoraWeights)
		case v.LoadIn4bit:
			v.fault("init_lora_weights", "%s takes the weights apart in full precision, and load_in_4bit holds them in 4 bits; keep one of the two", v.InitLoraWeights)
		case v.AdapterNameOrPath != "":
			v.fault("init_lora_weights", "%s starts a new adapter, and adapter_name_or_path goes on with one; keep one of the two", v.InitLoraWeights)
		}
	}
	if v.UseBnBNestedQuant && !v.LoadIn4bit {
		v.fault("use_bnb_nested_quant", "has no effect without load_in_4bit")
	}
	if v.BnB4bitComputeDtype != "auto" && !v.LoadIn4bit {
		v.fault("bnb_4bit_compute_dtype", "has no effect without load_in_4bit")
	}
	if d := v.BnB4bitComputeDtype; d != "auto" && v.LoadIn4bit && (d == "bfloat16") != v.BF16.Or(false) {
		v.fault("bnb_4bit_compute_dtype", "%s is not the type that the run computes with; the 4-bit base multiplies in the type of the activations: set bf16 %v", d, d == "bfloat16")
	}
	if t := v.LoraTargetModules; t.Pattern != "" && !t.IsAllLinear() {
		if _, err := regexp.Compile(t.Pattern); err != nil {
			v.fault("lora_target_modules", "cannot read the regular expression: %v", err)
		}
	}
	for _, name := range sortedKeys(v.RankPattern) {
		if rank := v.RankPattern[name]; rank < 1 {
			v.fault("rank_pattern", "%s: must be at least 1, found %d", name, rank)
		}
	}
	for _, layer := range v.LayersToTransform {
		if layer < 0 {
			v.fault("layers_to_transform", "layers count from 0, found %d", layer)
		}
	}
}

func (v *validator) preference() {
	if v.Command != "dpo" {
		return
	}
	if len(v.LossType) == 0 {
		v.fault("loss_type", "the list is empty")
	}
	if n := len(v.LossWeights); n > 0 && n != len(v.LossType) {
		v.fault("loss_weights", "expected one weight for each of the %d losses of loss_type, found %d", len(v.LossType), n)
	}
	for i, name := range v.LossType {
		if slices.Contains(v.LossType[:i], name) {
			v.fault("loss_type", "%s stands twice in the list", name)
		}
	}
	if v.LabelSmoothing == 0 && slices.Contains(v.LossType, "exo_pair") {
		v.fault("label_smoothing", "exo_pair takes the logarithm of it: set it above 0")
	}
	if v.PrecomputeRefLogProbs && v.SyncRefModel {
		v.fault("precompute_ref_log_probs", "a reference model that moves (sync_ref_model) cannot be computed beforehand; keep one of the two")
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// RequireRun checks that the config names what every training run needs: a
// model, data and an output directory. It is apart from [Load] so that a
// config can be checked before its paths are known.
func (r *Resolved) RequireRun() error {
	fs := r.missingInputs()
	if r.OutputDir == "" {
		fs = append(fs, notGiven("output_dir", "--output"))
	}
	return fs.orNil()
}

// RequireInputs checks that the config names a model and data.
func (r *Resolved) RequireInputs() error { return r.missingInputs().orNil() }

func (r *Resolved) missingInputs() (fs Faults) {
	if r.ModelNameOrPath == "" {
		fs = append(fs, notGiven("model_name_or_path", "--model"))
	}
	if len(r.TrainDatasets()) == 0 {
		fs = append(fs, notGiven("datasets", "--data"))
	}
	return fs
}

func notGiven(key, flag string) Fault {
	return Fault{Key: key, Text: fmt.Sprintf("not given; set it in the run config or with %s", flag)}
}
