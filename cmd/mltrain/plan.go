package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mltrain/mltrain/internal/config"
	"github.com/mltrain/mltrain/internal/plan"
	"github.com/mltrain/mltrain/internal/train"
)

// PlanOptions are the flags of plan.
type PlanOptions struct {
	TrainFlags
	Command string // the training command whose run is planned
	Memory  string // what there is; empty asks the machine
}

func newPlanCommand(app *App) *cobra.Command {
	o := &PlanOptions{}
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Say how much memory a run takes, and what would make it fit",
		Long: `Plan the memory of a training run, exactly: the model, its adapter, gradients, the
optimiser's states and the largest batch are laid out by the code that trains, on
a device that only counts. The data is read and tokenised; no weight is read, and
nothing is computed.

Where the run does not fit into the machine's memory, or into --memory, the smallest
changes of the config that make it fit are listed with what each saves. Each was
planned in the same way.`,
		Example: `  mltrain plan -c run.yaml
  mltrain plan -c run.yaml --command lora --memory 24GB
  mltrain plan --model ./SmolLM2-135M --data chats.jsonl --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runPlan(cmd.Context(), app, o) },
	}
	o.Register(cmd)
	cmd.Flags().StringVar(&o.Command, "command", "sft", "the training command that the config is for: "+strings.Join(config.Commands(), ", "))
	cmd.Flags().StringVar(&o.Memory, "memory", "", "memory that the run must fit into, such as 24GB; what the machine, or its GPU, has free if not given")
	complete(cmd, "command", config.Commands(), cobra.ShellCompDirectiveNoFileComp)
	return cmd
}

// planned is what plan prints with --json.
type planned struct {
	Command string `json:"command"`
	Device  string `json:"device"`
	train.Forecast
	Tokens    int           `json:"micro_batch_tokens"`    // of the largest micro-batch
	Sequences int           `json:"micro_batch_sequences"` // of it
	Memory    int64         `json:"memory_bytes,omitempty"`
	Fits      *bool         `json:"fits,omitempty"` // absent where nothing is known of the memory
	Advice    *train.Advice `json:"advice,omitempty"`
}

func runPlan(ctx context.Context, app *App, o *PlanOptions) error {
	r, err := o.Load(o.Command)
	if errors.Is(err, config.ErrCommand) {
		return usageErrorf("--command: %w", err)
	}
	if err != nil {
		return err
	}
	memory := app.memory()
	if o.Memory != "" {
		if memory, err = plan.ParseBytes(o.Memory); err != nil {
			return usageErrorf("--memory: %w", err)
		}
	}
	if err := errors.Join(config.Unsupported(r), r.RequireInputs()); err != nil {
		return err
	}
	job, d, err := prepare(ctx, app, newTrainReport(app), r)
	if err != nil {
		return err
	}
	defer d.Close()
	f, err := job.Forecast()
	if err != nil {
		return err
	}
	if m, ok := job.Backend.(roomMeter); ok && o.Memory == "" && job.Backend.Name() != deviceEmulator {
		memory = m.Room() // a GPU has memory of its own
	}
	limits := job.Train.Limits()
	p := planned{Command: r.Command, Device: job.Backend.Name(), Forecast: f, Tokens: limits.Tokens, Sequences: limits.Sequences, Memory: memory}
	if memory > 0 {
		fits := f.Peak <= memory
		p.Fits = &fits
		if !fits {
			v := &variants{ctx: ctx, app: app, job: job, data: d}
			a := train.Advise(r, f.Peak, memory, v.total)
			if err := ctx.Err(); err != nil {
				return err
			}
			p.Advice = &a
		}
	}
	if o.JSON {
		return app.PrintJSON(p)
	}
	return p.write(app.Out)
}

// variants plans changed forms of a run.
type variants struct {
	ctx  context.Context
	app  *App
	job  train.Job
	data *train.Data
}

// total returns the bytes that the run takes with another config.
func (v *variants) total(r *config.Resolved) (int64, error) {
	if err := v.ctx.Err(); err != nil {
		return 0, err
	}
	job := v.job
	if r.MaxLength != v.job.Config.MaxLength { // other rows
		var d *train.Data
		var err error
		if job, d, err = prepare(v.ctx, v.app, newTrainReport(v.app), r); err != nil {
			return 0, err
		}
		defer d.Close()
	} else {
		d, err := v.data.Rebatched(&r.Config)
		if err != nil {
			return 0, err
		}
		job.Train, job.Eval = d.TrainBatches(), d.EvalBatches()
	}
	var err error
	if job.Objective, err = train.NewObjective(r); err != nil {
		return 0, err
	}
	job.Config = r
	f, err := job.Forecast()
	return f.Peak, err
}

// write prints the plan for people.
func (p *planned) write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "mltrain %s on %s: %d parameters, %d of them trained; largest batch %d tokens in %d sequences\n%s", p.Command, p.Device, p.Parameters, p.Trainable,
		p.Tokens, p.Sequences, plan.Table(p.Bytes))
	fmt.Fprintf(&b, "%-16s %12d\n", "exactly, bytes", p.Peak)
	switch {
	case p.Fits == nil:
	case *p.Fits:
		fmt.Fprintf(&b, "fits into %s\n", plan.FormatBytes(p.Memory))
	default:
		fmt.Fprintf(&b, "does not fit into %s: %s too much\n", plan.FormatBytes(p.Memory), plan.FormatBytes(p.Peak-p.Memory))
		writeAdvice(&b, p.Advice)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeAdvice prints how a run can be made to fit.
func writeAdvice(b *strings.Builder, a *train.Advice) {
	line := func(c train.Change, note string) {
		fmt.Fprintf(b, "  %-64s saves %12s%s\n", strings.Join(c.Settings, ", "), plan.FormatBytes(c.Saves), note)
		fmt.Fprintf(b, "      %s\n", c.Effect)
	}
	if len(a.Together) == 0 {
		if len(a.Changes) > 0 {
			b.WriteString("what would save memory, each by itself:\n")
		}
		for _, c := range a.Changes {
			note := ""
			if c.Fits {
				note = ", fits"
			}
			line(c, note)
		}
	} else {
		fmt.Fprintf(b, "no change is enough by itself; these, one after the other, come to %s:\n", plan.FormatBytes(a.Total))
		for _, c := range a.Together {
			line(c, "")
		}
	}
	if !a.Fits {
		b.WriteString("that is not enough, and mltrain knows no more: take a smaller model, or more memory\n")
	}
}
