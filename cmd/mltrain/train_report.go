package main

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mltrain/mltrain/internal/checkpoint"
	"github.com/mltrain/mltrain/internal/data"
	"github.com/mltrain/mltrain/internal/plan"
	"github.com/mltrain/mltrain/internal/profile"
	"github.com/mltrain/mltrain/internal/train"
	"github.com/mltrain/mltrain/internal/ui"
)

// trainReport shows a training run to the user. It implements train.Reporter.
type trainReport struct {
	app      *App
	log      *slog.Logger
	progress *ui.Progress
	last     ui.StepInfo
	next     string         // how to use what the run made
	timer    *profile.Timer // nil unless the log is at the level debug
}

func newTrainReport(app *App) *trainReport { return &trainReport{app: app, log: app.Log} }

// data shows what the data are.
func (t *trainReport) data(d *train.Data) {
	for _, w := range d.Warnings {
		t.Warn(w)
	}
	t.ledger("training data", d.TrainLedger)
	t.ledger("evaluation data", d.EvalLedger)
	limits := d.Train.Limits()
	t.log.Info("batches", "micro_batches", d.Train.MicroBatches(0), "max_tokens", limits.Tokens)
}

func (t *trainReport) ledger(what string, l *data.Ledger) {
	if l == nil || t.app.Quiet {
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", what)
	if err := l.Write(&b); err == nil {
		fmt.Fprint(t.app.Err, b.String())
	}
}

// nextStep tells how to use what a run makes.
func nextStep(s train.Summary) string {
	switch {
	case s.Objective == "reward" && s.Adapter:
		return "mltrain merge --model " + s.Model + " --adapter " + s.Output + " --output …"
	case s.Objective == "reward":
		return fmt.Sprintf("in Python, transformers.AutoModelForSequenceClassification.from_pretrained(%q)", s.Output)
	case s.Adapter:
		return "mltrain generate --model " + s.Model + " --adapter " + s.Output + " --prompt \"…\""
	}
	return "mltrain generate --model " + s.Output + " --prompt \"…\""
}

// Begin shows the run on one screen.
func (t *trainReport) Begin(s train.Summary) {
	t.next = nextStep(s)
	if !t.app.Quiet {
		var b strings.Builder
		row := func(name, format string, args ...any) {
			fmt.Fprintf(&b, "%-12s "+format+"\n", append([]any{name}, args...)...)
		}
		row("model", "%s (%s)", s.Model, s.ModelType)
		row("parameters", "%s, of which %s are trained", count(int64(s.Parameters)), count(int64(s.Trainable)))
		if f := s.Facts; f.TrainRows > 0 {
			row("data", "%s rows of %s tokens, of which %s are trained; %s rows to evaluate on", count(f.TrainRows), count(f.Tokens), count(f.Trained), count(f.EvalRows))
		}
		tokens := ""
		if s.TokensPerStep > 0 {
			tokens = fmt.Sprintf("; about %s tokens a step", count(int64(s.TokensPerStep)))
		}
		row("batch", "%d rows × %d accumulated, up to %d tokens a row%s", s.MicroBatch, s.Accumulation, s.MaxLength, tokens)
		row("steps", "%d (%d an epoch, %.2f epochs)", s.TotalSteps, s.StepsPerEpoch, s.Epochs)
		row("device", "%s", s.Device)
		row("memory", "%s planned", plan.FormatBytes(plan.Total(s.Planned)))
		row("output", "%s", s.Output)
		fmt.Fprint(t.app.Err, b.String())
	}
	t.progress, t.log = t.app.NewProgress(s.TotalSteps)
}

// count writes a number with commas between the thousands.
func count(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Step moves the bar.
func (t *trainReport) Step(s train.StepInfo) {
	t.last = ui.StepInfo{Step: s.Step, Loss: s.Loss, LearningRate: s.LearningRate, GradNorm: s.GradNorm, TokensPerSecond: s.TokensPerSecond}
	t.progress.Step(t.last)
}

// Log prints a line of metrics where there is no bar; evaluations are printed always.
func (t *trainReport) Log(e checkpoint.LogEntry) {
	if _, isEval := e["eval_loss"]; !isEval {
		info := t.last
		if v, ok := e["loss"].(float64); ok {
			info.Loss = v
		}
		if v, ok := e["tokens_per_second"].(float64); ok {
			info.TokensPerSecond = v
		}
		t.progress.Log(info)
		t.breakdown()
		return
	}
	args := []any{"step", e["step"]}
	for _, k := range slices.Sorted(maps.Keys(e)) {
		if strings.HasPrefix(k, "eval_") && !strings.HasSuffix(k, "_runtime") && !strings.HasSuffix(k, "per_second") {
			if v, ok := e[k].(float64); ok {
				args = append(args, k, fmt.Sprintf("%.4f", v))
			}
		}
	}
	t.log.Info("evaluation", args...)
}

// EvalProgress does nothing: evaluations during training are short.
func (t *trainReport) EvalProgress(int, int) {}

// Saved tells of a checkpoint.
func (t *trainReport) Saved(path string) { t.log.Info("saved " + path) }

// Samples shows what the model makes of sample_prompts.
func (t *trainReport) Samples(samples []train.Sample) {
	for _, s := range samples {
		t.log.Info(fmt.Sprintf("sample at step %d: %s → %s", s.Step, strings.TrimSpace(s.Prompt), strings.TrimSpace(s.Text)))
	}
}

// Note tells something good to know.
func (t *trainReport) Note(message string) { t.log.Info(message) }

// Warn tells something that may be wrong.
func (t *trainReport) Warn(message string) { t.log.Warn(message) }

// End sums the run up.
func (t *trainReport) End(r *train.Result) {
	t.close()
	r.PeakRSS = peakRSS()
	if t.app.Quiet {
		return
	}
	fmt.Fprintf(t.app.Err, "done: %d steps, %d tokens in %s (%.0f tokens/s), train loss %.4f", r.Steps, r.Tokens,
		time.Duration(r.Seconds*float64(time.Second)).Round(100*time.Millisecond), r.TokensPerS, r.TrainLoss)
	if v, ok := r.Final["eval_loss"]; ok {
		fmt.Fprintf(t.app.Err, ", eval loss %.4f", v)
	}
	if r.BestStep > 0 {
		fmt.Fprintf(t.app.Err, " (best %.4f at step %d)", r.BestMetric, r.BestStep)
	}
	fmt.Fprintf(t.app.Err, "\nmemory: %s allocated at the peak, %s planned", plan.FormatBytes(r.Peak), plan.FormatBytes(r.PlannedPeak))
	if r.PeakRSS > 0 {
		fmt.Fprintf(t.app.Err, "; the whole process %s", plan.FormatBytes(r.PeakRSS))
	}
	fmt.Fprintf(t.app.Err, "\nfiles:  %s: %s\nnext:   %s\n        mltrain runs show %s\n", r.Output, fileList(r.Files), t.next, r.Output)
}

// fileList names files shortly: of checkpoints only how many there are.
func fileList(files []string) string {
	var names []string
	checkpoints := 0
	for _, f := range files {
		if strings.HasPrefix(f, "checkpoint-") {
			checkpoints++
		} else {
			names = append(names, f)
		}
	}
	if checkpoints > 0 {
		names = append(names, fmt.Sprintf("%d × checkpoint-…/", checkpoints))
	}
	return strings.Join(names, ", ")
}

func (t *trainReport) close() {
	if t.progress != nil {
		t.progress.Finish()
	}
}
