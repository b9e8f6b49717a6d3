package train

import (
	"os"
	"time"

	"github.com/mltrain/mltrain/internal/checkpoint"
	"github.com/mltrain/mltrain/internal/tensor"
	"github.com/mltrain/mltrain/internal/train/diagnose"
)

// Summary is what is known of a run before its first step.
type Summary struct {
	Command, Model, ModelType, Objective string
	Device, Output                       string
	Parameters, Trainable                int
	StepsPerEpoch, TotalSteps, StartStep int
	Epochs                               float64
	MicroBatch, Accumulation             int // rows of a micro-batch; micro-batches of a step
	MaxLength                            int
	EvalMicroBatches                     int
	TokensPerStep                        float64 // estimated from some of the first epoch; 0 if unknown
	Facts                                Facts
	Adapter                              bool // the output is an adapter to Model, not a model
	Planned                              map[tensor.Use]int64
}

// StepInfo is one optimiser step.
type StepInfo struct {
	Step, Total      int
	Epoch            float64
	Loss, GradNorm   float64
	LearningRate     float64
	Tokens           int // of this step
	TokensPerSecond  float64
	Elapsed          time.Duration // of this step
	EvaluationFollow bool          // an evaluation comes next
}

// Result is what a finished run leaves.
type Result struct {
	Steps        int                   `json:"steps"`
	Output       string                `json:"output_dir"`
	TrainLoss    float64               `json:"train_loss"` // mean over the steps of this process
	Final        map[string]float64    `json:"eval,omitempty"`
	BestStep     int64                 `json:"best_step,omitempty"`
	BestMetric   float64               `json:"best_metric,omitempty"`
	Seconds      float64               `json:"train_runtime"`
	Tokens       int64                 `json:"num_tokens"`
	TokensPerS   float64               `json:"tokens_per_second"`
	Peak         int64                 `json:"peak_bytes"`    // most bytes of the device at one time
	PlannedPeak  int64                 `json:"planned_bytes"` // what was planned
	PeakRSS      int64                 `json:"peak_rss_bytes,omitempty"`
	Allocated    map[tensor.Use]int64  `json:"-"`
	Planned      map[tensor.Use]int64  `json:"-"`
	LogHistory   []checkpoint.LogEntry `json:"-"`
	Findings     []diagnose.Finding    `json:"findings,omitempty"` // what the run saw go wrong
	Files        []string              `json:"files"`              // what is in the output directory, with / after directories
	StoppedEarly bool                  `json:"stopped_early,omitempty"`
	Interrupted  bool                  `json:"interrupted,omitempty"`
}

// Reporter is told what happens. Its methods are called from the loop's goroutine.
type Reporter interface {
	Begin(Summary)
	Step(StepInfo)
	// Log is told each line of metrics.jsonl.
	Log(checkpoint.LogEntry)
	// EvalProgress is told after each micro-batch of an evaluation.
	EvalProgress(done, total int)
	Saved(path string)
	// Samples is told what the model makes of sample_prompts.
	Samples([]Sample)
	Note(message string)
	Warn(message string)
	End(*Result)
}

// files lists what the run left in its output directory.
func (r *run) files() []string {
	entries, err := os.ReadDir(r.cfg.Config.OutputDir)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() {
			name += "/"
		}
		names = append(names, name)
	}
	return names
}

// tokensPerStep estimates the tokens of a step, padding included, from up to 64 micro-batches of the first epoch.
func (r *run) tokensPerStep() float64 {
	loader, ok := r.Train.(interface {
		Tokens(epoch, i int) (int, error)
	})
	n := r.Train.MicroBatches(0)
	if !ok || n == 0 {
		return 0
	}
	const most = 64
	sum, seen := 0, 0
	for i := 0; i < n; i += (n + most - 1) / most {
		tokens, err := loader.Tokens(0, i)
		if err != nil {
			return 0
		}
		sum, seen = sum+tokens, seen+1
	}
	return float64(sum) / float64(seen) * float64(n) / float64(r.stepsOf(0))
}
