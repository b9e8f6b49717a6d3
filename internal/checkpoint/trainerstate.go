package checkpoint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
)

const trainerStateFile = "trainer_state.json"

// LogEntry is one record of log_history under the keys of transformers' Trainer and of TRL: step, epoch, loss, grad_norm,
// learning_rate, num_tokens, mean_token_accuracy, eval_loss, ….
//
// JSON has no NaN or infinity. Trainer writes them all the same, as bare words that only Python reads; mltrain writes
// null, which Python reads as None, and reads those words as null.
type LogEntry map[string]any

// MarshalJSON writes the entry with sorted keys, and null for numbers that JSON has not.
func (e LogEntry) MarshalJSON() ([]byte, error) {
	clean := maps.Clone(map[string]any(e))
	for k, v := range clean {
		switch x := v.(type) {
		case float64:
			clean[k] = finite(x)
		case float32:
			if !isFinite(float64(x)) {
				clean[k] = nil
			}
		}
	}
	return json.Marshal(clean)
}

func isFinite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// finite is x, or nil if JSON cannot say it.
func finite(x float64) *float64 {
	if !isFinite(x) {
		return nil
	}
	return &x
}

// TrainerState is trainer_state.json: how far a run is and what it logged, for people and for transformers' tools. mltrain
// resumes from State, not from this.
type TrainerState struct {
	BestGlobalStep      *int64     `json:"best_global_step"`      // nil before the first evaluation
	BestMetric          *float64   `json:"best_metric"`           // nil before the first evaluation
	BestModelCheckpoint *string    `json:"best_model_checkpoint"` // path of the best checkpoint
	Epoch               float64    `json:"epoch"`
	EvalSteps           int64      `json:"eval_steps"`
	GlobalStep          int64      `json:"global_step"`
	LogHistory          []LogEntry `json:"log_history"`
	LoggingSteps        int64      `json:"logging_steps"`
	MaxSteps            int64      `json:"max_steps"`
	NumInputTokensSeen  int64      `json:"num_input_tokens_seen"`
	NumTrainEpochs      int64      `json:"num_train_epochs"` // rounded up, as Trainer does
	SaveSteps           int64      `json:"save_steps"`
	TotalFLOs           float64    `json:"total_flos"`
	TrainBatchSize      int64      `json:"train_batch_size"` // rows of a micro-batch
}

// trainerStateWire adds the fields that transformers expects and that are the same for every run of ours.
type trainerStateWire struct {
	TrainerState
	HyperParamSearch  bool     `json:"is_hyper_param_search"`
	LocalProcessZero  bool     `json:"is_local_process_zero"`
	WorldProcessZero  bool     `json:"is_world_process_zero"`
	StatefulCallbacks struct{} `json:"stateful_callbacks"`
	TrialName         *string  `json:"trial_name"`
	TrialParams       *string  `json:"trial_params"`
}

// WriteTrainerState writes dir/trainer_state.json atomically.
func WriteTrainerState(dir string, s *TrainerState) error {
	path := filepath.Join(dir, trainerStateFile)
	wire := trainerStateWire{TrainerState: *s, LocalProcessZero: true, WorldProcessZero: true}
	if wire.LogHistory == nil {
		wire.LogHistory = []LogEntry{}
	}
	if s.BestMetric != nil {
		wire.BestMetric = finite(*s.BestMetric)
	}
	text, err := encodeJSON(&wire)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return WriteAtomic(path, writeAll(text))
}

// ReadTrainerState reads dir/trainer_state.json, ours or one of transformers' Trainer. Keys it does not know are ignored,
// since transformers adds some now and then.
func ReadTrainerState(dir string) (*TrainerState, error) {
	path := filepath.Join(dir, trainerStateFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read trainer state: %w", err)
	}
	var s TrainerState
	if err := json.Unmarshal(nonFiniteToNull(text), &s); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &s, nil
}

// nonFiniteToNull replaces Python's bare NaN, Infinity and -Infinity outside strings by null.
func nonFiniteToNull(text []byte) []byte {
	var out bytes.Buffer
	inString := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case inString && c == '\\' && i+1 < len(text):
			out.WriteByte(c)
			i++
			c = text[i]
		case c == '"':
			inString = !inString
		case !inString:
			if word := nonFiniteWord(text[i:]); word > 0 {
				out.WriteString("null")
				i += word - 1
				continue
			}
		}
		out.WriteByte(c)
	}
	return out.Bytes()
}

// nonFiniteWord is the length of the bare word that text begins with, or 0.
func nonFiniteWord(text []byte) int {
	for _, word := range []string{"NaN", "Infinity", "-Infinity"} {
		if bytes.HasPrefix(text, []byte(word)) {
			return len(word)
		}
	}
	return 0
}
