package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/mltrain/mltrain/internal/config"
	"github.com/mltrain/mltrain/internal/gpu"
	"github.com/mltrain/mltrain/internal/train"
)

// SFTOptions are the flags of sft.
type SFTOptions struct{ TrainFlags }

func newSFTCommand(app *App) *cobra.Command {
	o := &SFTOptions{}
	cmd := &cobra.Command{
		Use:   "sft",
		Short: "Fine-tune a model on text, chats or prompts with completions",
		Long: `Supervised fine-tuning: train a model to continue text, to answer in chats, or to
complete prompts. Rows are recognised by their keys: text, messages,
conversations, instruction/input/output, prompt/completion.

The output directory holds the fine-tuned model in Hugging Face's layout, with
metrics.jsonl, run.yaml and the run's checkpoints. Ctrl-C saves a checkpoint and
stops; --resume goes on from there, with the same result to the bit.`,
		Example: `  mltrain sft -c configs/sft-tiny.yaml
  mltrain sft --model ./SmolLM2-135M --data chats.jsonl --output runs/chat --set learning_rate=2e-5
  mltrain sft -c run.yaml --resume`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := o.Load("sft")
			if err != nil {
				return err
			}
			return runTraining(cmd.Context(), app, &o.TrainFlags, r)
		},
	}
	o.Register(cmd)
	return cmd
}

// runTraining runs a training command from its resolved config.
func runTraining(ctx context.Context, app *App, flags *TrainFlags, r *config.Resolved) error {
	if err := errors.Join(config.Unsupported(r), r.RequireRun()); err != nil {
		return err
	}
	stop, err := startProfiles(flags.Profile)
	if err != nil {
		return err
	}
	err = trainCommand(ctx, app, flags, r)
	return errors.Join(err, stop())
}

func trainCommand(ctx context.Context, app *App, flags *TrainFlags, r *config.Resolved) error {
	cfg := &r.Config
	if err := train.GuardOutput(cfg); err != nil {
		return err
	}
	report := newTrainReport(app)
	job, d, err := prepare(ctx, app, report, r)
	if err != nil {
		return err
	}
	defer d.Close()
	report.data(d)
	if cfg.PrecomputeRefLogProbs {
		local := *r
		local.Config.RefModel = job.RefModelDir
		err := d.Precompute(ctx, job.Backend, &local, job.ModelDir, cacheDir(), func(done, total int) {
			if tenth := total/10 + 1; done%tenth == 0 || done == total {
				app.Log.Info("reference model", "batches", fmt.Sprintf("%d of %d", done, total))
			}
		})
		if err != nil {
			return err
		}
	}
	if job.Facts, err = d.Facts(); err != nil {
		return err
	}
	if job.Answer, err = newSampler(cfg, job.ModelDir, d); err != nil {
		return err
	}
	device := job.Backend
	job.Room = roomOf(app, device)
	job.Backend = report.measure(device)
	res, err := train.Run(ctx, job)
	report.close()
	if errors.Is(err, gpu.ErrNoMemory) || errors.Is(err, train.ErrNoRoom) {
		return withAdvice(ctx, app, job, d, device, err)
	}
	if errors.Is(err, train.ErrInterrupted) {
		return &ExitError{Code: exitInterrupted, Err: err}
	}
	if err != nil {
		return err
	}
	if flags.JSON {
		return app.PrintJSON(res)
	}
	_, err = fmt.Fprintf(app.Out, "%s\n", cfg.OutputDir)
	return err
}

// prepare opens the model and the data of a training run. The data is the caller's to close.
func prepare(ctx context.Context, app *App, report *trainReport, r *config.Resolved) (train.Job, *train.Data, error) {
	cfg := &r.Config
	fail := func(err error) (train.Job, *train.Data, error) { return train.Job{}, nil, err }
	backend, err := newBackend(app.Log, cfg.Device)
	if err != nil {
		return fail(err)
	}
	chooseFormats(cfg, backend)
	modelDir, err := resolveModel(ctx, app, cfg.ModelNameOrPath)
	if err != nil {
		return fail(err)
	}
	info, err := train.Describe(modelDir, r.Command)
	if err != nil {
		return fail(err)
	}
	warning, err := train.CheckLength(info, cfg.MaxLength)
	if err != nil {
		return fail(err)
	}
	if warning != "" {
		report.Warn(warning)
	}
	local, err := resolveDatasets(ctx, app, r)
	if err != nil {
		return fail(err)
	}
	if local.Config.RefModel != "" {
		if local.Config.RefModel, err = resolveModel(ctx, app, local.Config.RefModel); err != nil {
			return fail(err)
		}
	}
	objective, err := train.NewObjective(local)
	if err != nil {
		return fail(err)
	}
	d, err := train.OpenData(ctx, local, modelDir, info, cacheDir(), nil)
	if err != nil {
		return fail(err)
	}
	return train.Job{
		Config: r, Backend: backend, ModelDir: modelDir, RefModelDir: local.Config.RefModel, Train: d.TrainBatches(), Eval: d.EvalBatches(),
		Report: report, Fingerprint: d.Fingerprint, Objective: objective,
	}, d, nil
}

// cacheDir is where tokenised rows are kept between runs: MLTRAIN_CACHE, or mltrain in the user's cache directory.
func cacheDir() string {
	if dir := os.Getenv("MLTRAIN_CACHE"); dir != "" {
		return dir
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "mltrain")
}
