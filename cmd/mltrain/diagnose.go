package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mltrain/mltrain/internal/train"
	"github.com/mltrain/mltrain/internal/train/diagnose"
)

// DiagnoseOptions are the flags of diagnose.
type DiagnoseOptions struct {
	Dir  string
	JSON bool
}

func newDiagnoseCommand(app *App) *cobra.Command {
	o := &DiagnoseOptions{}
	cmd := &cobra.Command{
		Use:   "diagnose DIR",
		Short: "Say what went wrong in a run",
		Long: `Look through the log of a run, finished or not, and say what went wrong: a loss that
jumped, diverged or never moved, a gradient that exploded, over-fitting and since
when, evaluation rows in the training data, masked labels, a learning rate that ended
early, training that became slow. Each finding comes with what was seen and what to
try. A run in progress says the same as it goes.

DIR is the output directory of a run. A checkpoint of transformers' Trainer, with its
trainer_state.json, will do.`,
		Example: `  mltrain diagnose runs/chat
  mltrain diagnose runs/chat --json | jq '.findings[].kind'`,
		Args: oneDir,
		RunE: func(_ *cobra.Command, args []string) error {
			o.Dir = args[0]
			return runDiagnose(app, o)
		},
	}
	cmd.Flags().BoolVar(&o.JSON, "json", false, "print the findings as JSON")
	return cmd
}

// oneDir expects one argument, a directory.
func oneDir(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageErrorf("%q takes the directory of a run, found %d arguments\nsee '%s --help'", cmd.CommandPath(), len(args), cmd.CommandPath())
	}
	return nil
}

func runDiagnose(app *App, o *DiagnoseOptions) error {
	r, err := train.ReadRun(o.Dir)
	if err != nil {
		return err
	}
	found := r.Findings()
	if o.JSON {
		if found == nil {
			found = []diagnose.Finding{}
		}
		return app.PrintJSON(map[string]any{"dir": o.Dir, "findings": found})
	}
	if len(found) == 0 {
		done, _ := r.Steps()
		_, err := fmt.Fprintf(app.Out, "nothing unusual in %d log entries up to step %d\n", len(r.Log), done)
		return err
	}
	for _, f := range found {
		if _, err := fmt.Fprintln(app.Out, f); err != nil {
			return err
		}
	}
	return nil
}
