// Package diagnose looks at what a run logs and says in words what is wrong with it. A finding has its evidence and what to try.
//
// It sees nothing but the stream of log entries, the lines of metrics.jsonl: a run in progress and its files read afterwards give
// the same findings.
package diagnose

import (
	"fmt"
	"strings"
)

// Kind names what can be found.
type Kind string

// The kinds. A run has at most one finding of each.
const (
	LossSpike     Kind = "loss_spike"
	Diverged      Kind = "diverged"
	RateTooHigh   Kind = "learning_rate_too_high"
	Explosion     Kind = "gradient_explosion"
	NotFinite     Kind = "not_finite"
	Plateau       Kind = "plateau"
	Masked        Kind = "masked"
	Overfit       Kind = "overfit"
	Memorised     Kind = "memorised"
	Leak          Kind = "leak"
	TooGood       Kind = "too_good"
	ScheduleEnded Kind = "schedule_ended"
	Throughput    Kind = "throughput_drop"
)

// Finding is something about a run that its user should know.
type Finding struct {
	Kind     Kind     `json:"kind"`
	Step     int      `json:"step"`
	What     string   `json:"what"`
	Evidence []string `json:"evidence"`
	Try      []string `json:"try"`
}

// String returns the finding as lines of text.
func (f Finding) String() string {
	return fmt.Sprintf("%s: %s\n  seen: %s\n  try:  %s", f.Kind, f.What, strings.Join(f.Evidence, "; "), strings.Join(f.Try, "; "))
}

// Entry is a record of a run's log, with the keys of transformers' Trainer and the facts below.
type Entry map[string]any

// Keys of the facts about a run. They are an entry of their own, before the log, without those that are not known.
const (
	KeyMaxSteps    = "max_steps"
	KeyVocab       = "vocab_size"
	KeyTrainRows   = "train_rows"
	KeyEvalRows    = "eval_rows"
	KeyLeakedRows  = "eval_rows_in_train" // evaluation rows whose tokens are those of a training row
	KeyTokens      = "train_tokens"       // of all training rows
	KeyWeightRMS   = "weight_rms"         // root mean square of the trained weights before the first step
	KeyOptim       = "optim"
	KeyTrainTokens = "trained_tokens" // of them, those with a label
)

// Number reads a number under whatever type the log has it.
func (e Entry) Number(key string) (float64, bool) {
	switch v := e[key].(type) {
	case float64:
		return v, true
	case float32:
		return float64(v), true
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	}
	return 0, false
}

func (e Entry) or0(key string) float64 {
	v, _ := e.Number(key)
	return v
}
