// Package config holds the typed run config: every key that a YAML file, the
// environment or a flag may set, its default, its aliases, and where each
// value of a run came from.
//
// Names are those of Hugging Face transformers, PEFT and TRL. The main names
// of axolotl and LLaMA-Factory are accepted as aliases. Decoding is strict:
// an unknown key, a wrong type or a value outside its list is a [Fault] with
// its place, and all faults are reported at once as [Faults].
//
// Values come, in falling order of precedence, from flags, the environment
// (MLTRAIN_ followed by the key in capitals), the YAML file, the preset, and
// the defaults of the command.
package config

// Config is the whole run config. In YAML every key stands at the top level;
// the groups exist in Go only, and their fields are promoted.
//
// Each field's yaml tag is the canonical name. The other tags are:
// alias (other names of the same key), enum (the values allowed), min and max
// (inclusive bounds), above and below (exclusive bounds), and for (the
// commands that read the key, when not all of them do). The doc comments are
// the descriptions in the JSON schema and in the documentation.
type Config struct {
	ModelKeys
	DataKeys
	TrainKeys
	OptimKeys
	ReportKeys
	PeftKeys
	PreferenceKeys
}

// TrainDatasets returns the training data, whether it was given as datasets
// or as dataset_name.
func (c *Config) TrainDatasets() []Dataset {
	if len(c.Datasets) == 0 && c.DatasetName != "" {
		return []Dataset{newDataset(c.DatasetName)}
	}
	return c.Datasets
}

// HasEvalData reports whether the run has rows to evaluate on.
func (c *Config) HasEvalData() bool {
	return len(c.EvalDataset) > 0 || c.TestSize > 0 || c.DatasetTestSplit != ""
}

// EvalEvery returns the number of optimiser steps between two evaluations
// when eval_strategy is steps, in a run of total steps.
func (c *Config) EvalEvery(total int) int {
	return c.EvalSteps.Or(c.LoggingSteps).Of(total)
}

// SaveEvery returns the number of optimiser steps between two checkpoints
// when save_strategy is steps, in a run of total steps.
func (c *Config) SaveEvery(total int) int { return c.SaveSteps.Of(total) }

// Warmup returns the number of warm-up steps in a run of total steps, from
// warmup_steps or warmup_ratio; with max_tokens, the number of warm-up tokens in
// a run of total tokens, from warmup_tokens or a ratio.
func (c *Config) Warmup(total int) int {
	if c.WarmupTokens > 0 {
		return c.WarmupTokens
	}
	if c.WarmupSteps > 0 {
		return c.WarmupSteps.Of(total)
	}
	if c.WarmupRatio > 0 {
		return Steps(c.WarmupRatio).Of(total)
	}
	return 0
}

// BestMetric returns the name of the metric that picks the best checkpoint
// and whether more of it is better. Without metric_for_best_model it is
// eval_loss; names without the prefix eval_ get it. Without greater_is_better,
// less is better for names that end in loss, as in transformers.
func (c *Config) BestMetric() (name string, greater bool) {
	name = c.MetricForBestModel
	if name == "" {
		name = "loss"
	}
	const prefix = "eval_"
	if len(name) < len(prefix) || name[:len(prefix)] != prefix {
		name = prefix + name
	}
	endsInLoss := len(name) >= 4 && name[len(name)-4:] == "loss"
	return name, c.GreaterIsBetter.Or(!endsInLoss)
}
