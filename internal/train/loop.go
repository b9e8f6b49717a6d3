package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/mltrain/mltrain/internal/checkpoint"
	"github.com/mltrain/mltrain/internal/config"
	"github.com/mltrain/mltrain/internal/data"
	"github.com/mltrain/mltrain/internal/model"
	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/tensor"
)

// Job is a training run, ready to start.
type Job struct {
	Config   *config.Resolved
	Backend  tensor.Backend
	ModelDir string
	// Room is the memory in bytes that the run can have, 0 if nothing is known of it.
	Room int64
	// RefModelDir is where ref_model is, "" if the config names none.
	RefModelDir string
	Train       Batches
	Eval        Batches // nil: no evaluation
	Objective   Objective
	Report      Reporter
	// Answer continues sample_prompts; nil leaves them without an answer.
	Answer Answerer
	// Facts are about the data.
	Facts Facts
	// Fingerprint identifies the training data and its order, so that a run is not resumed on other data.
	Fingerprint string
}

// ErrInterrupted is returned when the context was cancelled: the run has saved a checkpoint and can be resumed.
var ErrInterrupted = errors.New("interrupted")

// ErrNonFinite is matched by the error of a run whose loss or gradient is no longer a finite number.
var ErrNonFinite = errors.New("not a finite number")

type best struct {
	step  int64
	value float64
	ok    bool
}

// run is a Job in progress.
type run struct {
	Job
	ctx    context.Context
	cfg    *config.Resolved
	report Reporter
	e      *Engine
	source *checkpoint.Reader
	// adapterFiles is where an adapter that training goes on from comes from, or nil.
	adapterFiles *checkpoint.Reader
	modelDir     string
	// overrides are the keys of config.json that the trained model has otherwise than the one it began from.
	overrides map[string]any
	// closeReference closes the files of the reference model, if there are any.
	closeReference func()
	schedule       Schedule
	metrics        *metricsLog
	samples        *metricsLog // nil without sample_prompts
	watchers       watchers
	noise          noiseScale
	count          float64 // what the last step divided its summed gradient by
	batch          data.Batch

	total, evalEvery, loggingSteps int

	step, micro, startStep int // optimiser steps and micro-batches done; steps done by earlier processes
	inEpoch, ofEpoch       int // micro-batches done in the current epoch, and what it has
	epochIndex             int
	tokens, trained        int64
	window                 window
	history                []checkpoint.LogEntry
	best                   best
	patience               patience
	lastSaved, lastEval    int
	lastLogged             int
	lastEvalMetrics        map[string]float64
	lossSum                float64
	logTime                time.Time
	logTokens              int64
}

// Run trains. On cancellation of ctx it finishes the step, saves and returns ErrInterrupted.
func Run(ctx context.Context, job Job) (*Result, error) {
	r := &run{Job: job, ctx: ctx, cfg: job.Config, report: job.Report, modelDir: job.ModelDir}
	cfg := &r.cfg.Config
	r.patience = patience{limit: cfg.EarlyStoppingPatience, threshold: cfg.EarlyStoppingThreshold}
	resumeFrom, err := r.findCheckpoint()
	if err != nil {
		return nil, err
	}
	if err := GuardOutput(cfg); err != nil {
		return nil, err
	}
	planned, err := r.build(resumeFrom)
	if err != nil {
		return nil, err
	}
	defer r.close()
	if err := r.planSteps(); err != nil {
		return nil, err
	}
	if resumeFrom != "" {
		if err := r.resume(resumeFrom); err != nil {
			return nil, err
		}
		r.report.Note(fmt.Sprintf("resuming from %s (step %d of %d)", resumeFrom, r.step, r.total))
	}
	r.locate()
	if err := r.openOutput(); err != nil {
		return nil, err
	}
	r.report.Begin(r.summary(planned))
	if r.e.spec.Adapter != nil {
		r.report.Note(TrainableReport(r.e.Store))
	}
	if err := r.watch(); err != nil {
		return nil, err
	}
	return r.train(planned)
}

// GuardOutput checks that the run may write to its output directory, before any work is done.
func GuardOutput(cfg *config.Config) error {
	return checkpoint.GuardOutput(cfg.OutputDir, cfg.ResumeFromCheckpoint.On, cfg.OverwriteOutputDir)
}

// findCheckpoint returns the checkpoint to resume from, or "" to start afresh.
func (r *run) findCheckpoint() (string, error) {
	cfg := &r.cfg.Config
	res := cfg.ResumeFromCheckpoint
	switch {
	case !res.On && res.Path == "":
		return "", nil
	case res.Path != "":
		if err := checkpoint.Verify(res.Path); err != nil {
			return "", err
		}
		return res.Path, nil
	}
	path, ok, err := checkpoint.Latest(cfg.OutputDir, r.report.Warn)
	if err == nil && !ok {
		r.report.Note(fmt.Sprintf("no checkpoint in %s yet; starting from step 0", cfg.OutputDir))
	}
	return path, err
}

// build opens the weights, of the checkpoint when resuming, and makes the engine.
func (r *run) build(resumeFrom string) (map[tensor.Use]int64, error) {
	spec, reader, closeReference, err := r.engineSpec(resumeFrom)
	if err != nil {
		return nil, err
	}
	r.source, r.closeReference = reader, closeReference
	if r.overrides, err = r.rewardConfig(spec.ConfigJSON); err != nil {
		return nil, errors.Join(fmt.Errorf("model %s: %w", r.ModelDir, err), closeReader(reader), closeReader(spec.AdapterFiles))
	}
	e, planned, err := NewEngine(r.Backend, spec)
	if err != nil {
		return nil, errors.Join(err, closeReader(reader), closeReader(spec.AdapterFiles))
	}
	r.e, r.adapterFiles = e, spec.AdapterFiles
	return planned, nil
}

// engineSpec describes the engine of the run. The reader of the model's files, that of the adapter's and what closeReference
// closes, if it is not nil, must stay open as long as the engine.
func (j *Job) engineSpec(resumeFrom string) (spec EngineSpec, reader *checkpoint.Reader, closeReference func(), err error) {
	cfg := &j.Config.Config
	if spec, reader, err = SpecFor(j.Config, j.ModelDir, resumeFrom); err != nil {
		return EngineSpec{}, nil, nil, err
	}
	spec.Objective, spec.Train = j.Objective, j.Train.Limits()
	if p, ok := j.Objective.(*Preference); ok && !p.ReferenceFree() && !p.Precomputed && needsReferenceCopy(cfg) {
		if spec.Reference, closeReference, err = referenceFor(cfg, j.ModelDir, j.RefModelDir); err != nil {
			return EngineSpec{}, nil, nil, errors.Join(err, closeReader(reader), closeReader(spec.AdapterFiles))
		}
	}
	if j.Eval != nil {
		spec.Eval = j.Eval.Limits()
	}
	spec.Room = j.Room
	return spec, reader, closeReference, nil
}

// SpecFor describes the engine that a run config asks for, all but the objective and the batches. The weights are those of
// the model, or of the checkpoint that a run is resumed from. A run from scratch has none when it begins: Source and the
// reader are nil.
func SpecFor(res *config.Resolved, modelDir, resumeFrom string) (EngineSpec, *checkpoint.Reader, error) {
	cfg := &res.Config
	configJSON, err := os.ReadFile(filepath.Join(modelDir, checkpoint.ConfigFile))
	if err != nil {
		return EngineSpec{}, nil, err
	}
	weights := modelDir
	if resumeFrom != "" && !cfg.UsePeft {
		weights = resumeFrom
	}
	var reader *checkpoint.Reader
	var source nn.Source
	if !cfg.TrainFromScratch || resumeFrom != "" {
		if reader, err = checkpoint.Open(weights); err != nil {
			return EngineSpec{}, nil, err
		}
		if source, err = ModelSource(reader, configJSON); err != nil {
			return EngineSpec{}, nil, errors.Join(err, reader.Close())
		}
	}
	if _, packed := source.(nn.PackedSource); packed && !cfg.UsePeft {
		return EngineSpec{}, nil, errors.Join(reader.Close(), fmt.Errorf("model %s holds its weights in 4 bits, and those cannot be trained themselves: set use_peft true to train an adapter, or start from the original model", cfg.ModelNameOrPath))
	}
	adapter, adapterFiles, err := adapterOf(cfg, resumeFrom)
	if err != nil {
		return EngineSpec{}, nil, errors.Join(err, closeReader(reader))
	}
	var dropout model.Dropout
	if res.Command == rewardCommand && adapter != nil {
		addScore(adapter)
	}
	if (res.Command == "dpo" || res.Command == rewardCommand) && cfg.DisableDropout {
		dropout = model.NoDropout()
		if adapter != nil {
			adapter.Dropout = 0
		}
	}
	for _, d := range []struct {
		from config.Auto[float64]
		to   **float32
	}{{cfg.AttentionDropout, &dropout.Attention}, {cfg.ResidPdrop, &dropout.Residual}, {cfg.EmbdPdrop, &dropout.Embedding}} {
		if p, ok := d.from.Get(); ok {
			f := float32(p)
			*d.to = &f
		}
	}
	lrScale, err := lrScales(cfg, configJSON)
	if err != nil {
		return EngineSpec{}, nil, errors.Join(err, closeReader(reader), closeReader(adapterFiles))
	}
	return EngineSpec{
		ConfigJSON: configJSON,
		Source:     source,
		Model:      model.Options{Positions: cfg.MaxLength, Dropout: dropout, Score: res.Command == rewardCommand},
		Freeze:     Freeze{Patterns: cfg.Freeze, Except: cfg.Unfreeze},
		Adapter:    adapter, AdapterFiles: adapterFiles,
		Seed:      uint64(cfg.Seed),
		Recompute: cfg.GradientCheckpointing.Or(false),
		BF16:      cfg.BF16.Or(false), ReducedSums: cfg.AllowBF16ReducedPrecisionReduction,

		NeftuneAlpha: cfg.NeftuneNoiseAlpha,
		Quantise:     quantiseOf(cfg),
		Optim: OptimOptions{
			Name: cfg.Optim, Beta1: cfg.AdamBeta1, Beta2: cfg.AdamBeta2, Eps: cfg.AdamEpsilon, Momentum: cfg.Momentum,
			Nesterov: cfg.Nesterov, WeightDecay: cfg.WeightDecay, MaxGradNorm: cfg.MaxGradNorm, LRScale: lrScale,
		},
	}, reader, nil
}

// stepsOf returns the optimiser steps of an epoch.
func (r *run) stepsOf(epoch int) int {
	ga := r.cfg.Config.GradientAccumulationSteps
	return (r.Train.MicroBatches(epoch) + ga - 1) / ga
}

// planSteps fixes how long the run is and when it logs, evaluates and saves.
func (r *run) planSteps() error {
	cfg := &r.cfg.Config
	var err error
	if r.total, err = r.totalSteps(); err != nil {
		return err
	}
	r.loggingSteps = max(1, cfg.LoggingSteps.Of(r.total))
	if r.Eval != nil && cfg.EvalStrategy == "steps" {
		r.evalEvery = max(1, cfg.EvalEvery(r.total))
	}
	r.schedule, err = NewSchedule(r.scheduleOptions())
	return err
}

// totalEpochs returns how many epochs the run's steps make.
func (r *run) totalEpochs() float64 {
	left := r.total
	for e := 0; ; e++ {
		n := r.stepsOf(e)
		if left <= n {
			return float64(e) + float64(left)/float64(n)
		}
		left -= n
	}
}

// locate finds the epoch and the place in it from the number of steps done.
func (r *run) locate() {
	left := r.step
	for r.epochIndex = 0; left >= r.stepsOf(r.epochIndex); r.epochIndex++ {
		left -= r.stepsOf(r.epochIndex)
	}
	r.ofEpoch = r.Train.MicroBatches(r.epochIndex)
	r.inEpoch = min(r.ofEpoch, left*r.cfg.Config.GradientAccumulationSteps)
}

// epoch returns the epochs done, with the fraction of the current one.
func (r *run) epoch() float64 {
	if r.ofEpoch == 0 {
		return float64(r.epochIndex)
	}
	return float64(r.epochIndex) + float64(r.inEpoch)/float64(r.ofEpoch)
}

func (r *run) flops() float64 { return 6 * float64(r.e.Store.Len()) * float64(r.tokens) }

func (r *run) dataFingerprint() string {
	cfg := &r.cfg.Config
	return fmt.Sprintf("%s batch %d×%d", r.Fingerprint, cfg.PerDeviceTrainBatchSize, cfg.GradientAccumulationSteps)
}

// settings returns the config as text by key, for comparing on resume.
func (r *run) settings() map[string]string {
	m := map[string]string{}
	for _, k := range config.Keys() {
		if v, ok := r.cfg.Value(k); ok {
			m[k] = fmt.Sprint(v)
		}
	}
	return m
}

// notResult are keys that do not change what a run computes.
var notResult = []string{
	"output_dir", "resume_from_checkpoint", "overwrite_output_dir", "logging_steps", "save_steps", "save_strategy", "save_total_limit",
	"report_to", "device", "dataset_num_proc", "eval_steps", "eval_strategy", "sample_prompts", "sample_steps", "sample_max_new_tokens",
	"log_gradient_histograms", "log_gradient_noise_scale", "early_stopping_patience", "early_stopping_threshold",
}

// warnChanged tells which settings differ from those that the checkpoint was made with.
func (r *run) warnChanged(raw json.RawMessage) {
	var old map[string]string
	if json.Unmarshal(raw, &old) != nil {
		return
	}
	now := r.settings()
	for _, k := range slices.Sorted(maps.Keys(now)) {
		if was, ok := old[k]; ok && was != now[k] && !slices.Contains(notResult, k) {
			r.report.Warn(fmt.Sprintf("%s was %s when the checkpoint was made and is %s now", k, was, now[k]))
		}
	}
}

// openOutput writes the first files of the run.
func (r *run) openOutput() error {
	cfg := &r.cfg.Config
	if cfg.OverwriteOutputDir && r.startStep == 0 {
		if err := checkpoint.ClearRun(cfg.OutputDir, r.ModelDir); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(cfg.OutputDir, 0o777); err != nil {
		return err
	}
	if err := checkpoint.CleanTemp(cfg.OutputDir); err != nil {
		return err
	}
	if err := writeRunConfig(r.cfg); err != nil {
		return err
	}
	var err error
	if r.metrics, err = openLines(cfg.OutputDir, MetricsFile, r.startStep); err != nil || len(cfg.SamplePrompts) == 0 {
		return err
	}
	r.samples, err = openLines(cfg.OutputDir, SamplesFile, r.startStep)
	return err
}

func (r *run) close() {
	for _, log := range []*metricsLog{r.metrics, r.samples} {
		if log == nil {
			continue
		}
		if err := log.close(); err != nil {
			r.report.Warn(fmt.Sprintf("%s: %v", log.name, err))
		}
	}
	if err := r.watchers.close(); err != nil {
		r.report.Warn(err.Error())
	}
	if r.closeReference != nil {
		r.closeReference()
	}
	for _, f := range []*checkpoint.Reader{r.source, r.adapterFiles} {
		if err := closeReader(f); err != nil {
			r.report.Warn(err.Error())
		}
	}
}

func (r *run) summary(planned map[tensor.Use]int64) Summary {
	cfg := &r.cfg.Config
	s := Summary{
		Command: r.cfg.Command, Model: cfg.ModelNameOrPath, ModelType: r.e.Model.Info().Type, Objective: r.Objective.Name(),
		Device: r.Backend.Name(), Output: cfg.OutputDir, Parameters: r.e.Store.Len(), Trainable: r.e.Store.TrainableCount(),
		StepsPerEpoch: r.stepsOf(0), TotalSteps: r.total, StartStep: r.startStep, Epochs: r.totalEpochs(),
		MicroBatch: cfg.PerDeviceTrainBatchSize, Accumulation: cfg.GradientAccumulationSteps, MaxLength: cfg.MaxLength, Planned: planned, Adapter: r.e.spec.Adapter != nil,
		TokensPerStep: r.tokensPerStep(), Facts: r.Facts,
	}
	if r.Eval != nil {
		s.EvalMicroBatches = r.Eval.MicroBatches(0)
	}
	return s
}

// train runs the loop from where the run stands to its end.
func (r *run) train(planned map[tensor.Use]int64) (*Result, error) {
	cfg := &r.cfg.Config
	began := time.Now()
	startTokens := r.tokens
	r.logTime, r.logTokens = began, r.tokens
	r.lastEval, r.lastLogged = -1, r.step
	if cfg.EvalOnStart && r.Eval != nil && r.step == 0 {
		if err := r.evaluate(); err != nil {
			return nil, err
		}
	}
	for r.step < r.total && !r.stopped() {
		if err := r.optimiserStep(); err != nil {
			return nil, err
		}
		if err := r.afterStep(); err != nil {
			return nil, err
		}
		if r.ctx.Err() != nil && r.step < r.total {
			return nil, r.interrupted()
		}
	}
	if err := r.finish(); err != nil {
		return nil, err
	}
	took := time.Since(began).Seconds()
	res := &Result{
		Steps: r.step, StoppedEarly: r.step < r.total, Output: cfg.OutputDir, Final: r.lastEvalMetrics, Seconds: took, Tokens: r.tokens,
		TokensPerS: float64(r.tokens-startTokens) / took, Allocated: r.Backend.Allocated(), Planned: planned, LogHistory: r.history,
		Findings: r.watchers.findings, Files: r.files(),
		Peak: tensor.PeakOf(r.Backend), PlannedPeak: r.e.Forecast.Peak,
	}
	if n := r.step - r.startStep; n > 0 {
		res.TrainLoss = r.lossSum / float64(n)
	}
	if r.best.ok {
		res.BestStep, res.BestMetric = r.best.step, r.best.value
	}
	r.report.End(res)
	return res, nil
}

// interrupted saves where the run stands.
func (r *run) interrupted() error {
	if r.lastSaved != r.step {
		if err := r.save(); err != nil {
			return fmt.Errorf("interrupted, and the checkpoint could not be saved: %w", err)
		}
	}
	return fmt.Errorf("%w after step %d of %d; checkpoint saved, go on with --resume", ErrInterrupted, r.step, r.total)
}

// optimiserStep accumulates the gradients of the next micro-batches and updates the parameters.
func (r *run) optimiserStep() error {
	began := time.Now()
	if r.inEpoch >= r.ofEpoch {
		r.epochIndex++
		r.inEpoch, r.ofEpoch = 0, r.Train.MicroBatches(r.epochIndex)
	}
	r.e.Opt.ZeroGrad()
	if err := r.e.resetSums(); err != nil {
		return err
	}
	from, to := r.inEpoch, min(r.inEpoch+r.cfg.Config.GradientAccumulationSteps, r.ofEpoch)
	var count float64
	tokens := 0
	for i := from; i < to; i++ {
		if err := r.Train.Fill(&r.batch, r.epochIndex, i); err != nil {
			return err
		}
		b, err := r.e.load(&r.batch)
		if err != nil {
			return err
		}
		key := tensor.RNGKey{Seed: uint64(r.cfg.Config.Seed), Micro: uint32(r.micro)}
		if err := r.e.trainMicro(b, key); err != nil {
			return fmt.Errorf("step %d: %w", r.step+1, err)
		}
		r.micro++
		count += r.Objective.Count(&r.batch)
		if i == from {
			if err := r.noteFirst(count); err != nil {
				return err
			}
		}
		tokens += len(r.batch.Tokens) - r.batch.Padding
		r.trained += int64(r.batch.Trained)
	}
	// A window of a packed stream may hold prompts only: such a step has no loss, and its gradient is zero.
	if count == 0 {
		count = 1
	}
	lr := r.cfg.Config.LearningRate * r.schedule(r.clock())
	norm, err := r.e.Opt.Step(r.step+1, lr, count)
	if err != nil {
		return fmt.Errorf("step %d: %w", r.step+1, err)
	}
	r.count = count
	sums, err := r.e.sums()
	if err != nil {
		return err
	}
	m := r.Objective.Metrics(sums, count)
	if math.IsNaN(norm) || math.IsNaN(m["loss"]) || math.IsInf(m["loss"], 0) {
		return r.nonFinite(from, to, m["loss"], lr)
	}
	r.step++
	r.inEpoch = to
	if r.cfg.Config.LogGradientNoiseScale {
		r.noise.whole(norm*norm, count)
	}
	if cfg := &r.cfg.Config; r.e.spec.Reference != nil && r.e.spec.Reference.Moving && r.step%cfg.RefModelSyncSteps == 0 {
		if err := r.e.moveReference(cfg.RefModelMixupAlpha); err != nil {
			return fmt.Errorf("sync_ref_model: %w", err)
		}
	}
	r.tokens += int64(tokens)
	if w, ok := r.Objective.(interface {
		Watch(metrics map[string]float64) []string
	}); ok {
		for _, text := range w.Watch(m) {
			r.report.Warn(text)
		}
	}
	r.note(m, norm, lr, tokens, time.Since(began))
	return nil
}

// note adds a step to what is logged next.
func (r *run) note(m map[string]float64, norm, lr float64, tokens int, took time.Duration) {
	if r.window.Means == nil {
		r.window.Means = map[string]float64{}
	}
	for k, v := range m {
		r.window.Means[k] += v
	}
	r.window.Steps++
	r.window.GradNorm = norm
	r.lossSum += m["loss"]
	r.report.Step(StepInfo{
		Step: r.step, Total: r.total, Epoch: r.epoch(), Loss: m["loss"], GradNorm: norm, LearningRate: lr, Tokens: tokens,
		TokensPerSecond: float64(tokens) / took.Seconds(), Elapsed: took, EvaluationFollow: r.evalDue(),
	})
	if r.step%r.loggingSteps == 0 || r.step == r.total {
		r.logWindow(lr)
	}
}

func (r *run) evalDue() bool {
	if r.Eval == nil {
		return false
	}
	switch r.cfg.Config.EvalStrategy {
	case "steps":
		return r.step%r.evalEvery == 0 || r.step == r.total
	case "epoch":
		return r.inEpoch == r.ofEpoch || r.step == r.total
	}
	return false
}

func (r *run) saveDue() bool {
	cfg := &r.cfg.Config
	newBest := r.best.ok && r.best.step == int64(r.step) && r.lastEval == r.step
	if newBest && cfg.LoadBestModelAtEnd {
		return true // whatever save_steps says: the end of the run needs it
	}
	switch cfg.SaveStrategy {
	case "steps":
		return r.step%cfg.SaveEvery(r.total) == 0 || r.step == r.total
	case "epoch":
		return r.inEpoch == r.ofEpoch || r.step == r.total
	case "best":
		return newBest
	}
	return false
}

// afterStep logs, evaluates and saves where that is due.
func (r *run) afterStep() error {
	if r.lastLogged == r.step {
		if err := r.publish(r.history[len(r.history)-1]); err != nil {
			return err
		}
	}
	if r.evalDue() {
		if err := r.evaluate(); err != nil {
			return err
		}
	}
	if r.sampleDue() {
		if err := r.sample(); err != nil {
			return err
		}
	}
	if r.saveDue() {
		return r.save()
	}
	return nil
}

// logWindow writes the means since the last log.
func (r *run) logWindow(lr float64) {
	now := time.Now()
	e := checkpoint.LogEntry{
		"step": r.step, "epoch": round(r.epoch(), 6), "learning_rate": lr, "grad_norm": r.window.GradNorm, "num_tokens": r.tokens,
		"tokens_per_second": round(float64(r.tokens-r.logTokens)/now.Sub(r.logTime).Seconds(), 1),
	}
	for k, v := range r.window.Means {
		e[k] = v / float64(r.window.Steps)
	}
	if v, ok := r.noise.value(); ok {
		e["gradient_noise_scale"] = v
	}
	r.window = window{}
	r.logTime, r.logTokens, r.lastLogged = now, r.tokens, r.step
	r.history = append(r.history, e)
	r.report.Log(e)
}

func round(x float64, digits int) float64 {
	p := math.Pow10(digits)
	return math.Round(x*p) / p
}

// finish writes the final model.
func (r *run) finish() error {
	cfg := &r.cfg.Config
	if cfg.LoadBestModelAtEnd && r.best.ok && r.best.step != int64(r.step) {
		dir := checkpoint.StepDir(cfg.OutputDir, r.best.step)
		if err := r.loadWeights(dir); err != nil {
			return fmt.Errorf("load the best model: %w", err)
		}
		r.report.Note(fmt.Sprintf("loaded the weights of step %d, the best by %s", r.best.step, bestName(cfg)))
	}
	if err := r.saveModel(cfg.OutputDir); err != nil {
		return err
	}
	return checkpoint.WriteTrainerState(cfg.OutputDir, r.trainerState())
}

func bestName(cfg *config.Config) string {
	name, _ := cfg.BestMetric()
	return name
}

// loadWeights replaces the trainable parameters by those of a checkpoint of this run.
func (r *run) loadWeights(dir string) error {
	open := checkpoint.Open
	if r.e.spec.Adapter != nil {
		open = checkpoint.OpenAdapter
	}
	reader, err := open(dir)
	if err != nil {
		return err
	}
	defer reader.Close()
	var src nn.Source = Source{reader}
	if a := r.e.spec.Adapter; a != nil && a.IsPiSSA() {
		src = pissaHalves{src}
	}
	for _, w := range r.e.Store.Trainable {
		if err := r.e.Store.Reload(w, src); err != nil {
			return fmt.Errorf("%s: %w", w.Stored, err)
		}
	}
	return r.e.Store.Round()
}
