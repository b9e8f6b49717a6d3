package checkpoint

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func ptr[T any](v T) *T { return &v }

func TestTrainerState(t *testing.T) {
	dir := t.TempDir()
	in := &TrainerState{
		BestGlobalStep: ptr(int64(20)), BestMetric: ptr(0.5), BestModelCheckpoint: ptr("out/checkpoint-20"), Epoch: 1.25, EvalSteps: 10, GlobalStep: 30,
		LoggingSteps: 5, MaxSteps: 100, NumInputTokensSeen: 1 << 54, NumTrainEpochs: 3, SaveSteps: 20, TotalFLOs: 1e18, TrainBatchSize: 4,
		LogHistory: []LogEntry{
			{"step": 5, "epoch": 0.5, "loss": 2.5, "learning_rate": 1e-5, "grad_norm": math.Inf(1)},
			{"step": 10, "eval_loss": math.NaN(), "mean_token_accuracy": float32(math.Inf(-1)), "note": "<NaN>", "x": float32(0.5)},
		},
	}
	if err := WriteTrainerState(dir, in); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "trainer_state.json"))
	if err != nil {
		t.Fatal(err)
	}
	// The fields of transformers' TrainerState, all of them and no other: it refuses keys it does not know.
	var keys map[string]any
	if err := json.Unmarshal(text, &keys); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"epoch", "global_step", "max_steps", "logging_steps", "eval_steps", "save_steps", "train_batch_size", "num_train_epochs",
		"num_input_tokens_seen", "total_flos", "log_history", "best_metric", "best_global_step", "best_model_checkpoint", "is_local_process_zero",
		"is_world_process_zero", "is_hyper_param_search", "trial_name", "trial_params", "stateful_callbacks"} {
		if _, ok := keys[k]; !ok {
			t.Errorf("%s is missing", k)
		}
		delete(keys, k)
	}
	if len(keys) > 0 {
		t.Errorf("transformers does not know %v", keys)
	}
	got, err := ReadTrainerState(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := *in
	want.LogHistory = []LogEntry{
		{"step": 5.0, "epoch": 0.5, "loss": 2.5, "learning_rate": 1e-5, "grad_norm": nil},
		{"step": 10.0, "eval_loss": nil, "mean_token_accuracy": nil, "note": "<NaN>", "x": 0.5},
	}
	if d := cmp.Diff(&want, got); d != "" {
		t.Error(d)
	}
	if !math.IsInf(in.LogHistory[0]["grad_norm"].(float64), 1) {
		t.Error("writing changed the caller's log")
	}

	in.BestMetric = ptr(math.NaN())
	if err := WriteTrainerState(dir, in); err != nil {
		t.Fatal(err)
	}
	if got, err = ReadTrainerState(dir); err != nil || got.BestMetric != nil {
		t.Error("a best metric of NaN:", got, err)
	}
	in.TotalFLOs = math.Inf(1)
	wantErr(t, WriteTrainerState(dir, in), nil, dir)
}

func TestReadTrainerStateOfTransformers(t *testing.T) {
	for _, c := range []struct{ name, text, fault string }{
		{"bare words", `{"global_step": 7, "best_metric": NaN, "log_history": [{"loss": NaN, "a": Infinity, "b": [-Infinity], "s": "\"NaN -Infinity"}],
			"train_batch_size": null, "new_key": {"x": 1}}`, ""},
		{"nothing", ``, "unexpected end"},
		{"a word that is none", `{"global_step": NaNo}`, "trainer_state.json"},
		{"wrong type", `{"global_step": "7"}`, "global_step"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			writeTree(t, dir, map[string]string{trainerStateFile: c.text})
			got, err := ReadTrainerState(dir)
			if c.fault != "" {
				wantErr(t, err, nil, c.fault, dir)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := &TrainerState{GlobalStep: 7, LogHistory: []LogEntry{{"loss": nil, "a": nil, "b": []any{nil}, "s": `"NaN -Infinity`}}}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
	_, err := ReadTrainerState(t.TempDir())
	wantErr(t, err, os.ErrNotExist, trainerStateFile)
}
