package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mltrain/mltrain/internal/config"
)

// ConfigOptions are the flags of the config commands.
type ConfigOptions struct {
	TrainFlags
	Command string // the training command whose defaults hold
	Changed bool   // show only what somebody set
}

func newConfigCommand(app *App) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "config",
		Short:   "Check, show and describe run configs",
		Example: "  mltrain config check -c run.yaml",
	}
	cmd.AddCommand(newConfigCheckCommand(app), newConfigShowCommand(app), newConfigSchemaCommand(app))
	asGroup(cmd)
	return cmd
}

func (o *ConfigOptions) register(cmd *cobra.Command) {
	o.Register(cmd)
	cmd.Flags().StringVar(&o.Command, "command", "sft", "the training command that the config is for: "+strings.Join(config.Commands(), ", "))
	complete(cmd, "command", config.Commands(), cobra.ShellCompDirectiveNoFileComp)
}

// load reads the config; a wrong --command is an error of usage.
func (o *ConfigOptions) load() (*config.Resolved, error) {
	r, err := o.Load(o.Command)
	if errors.Is(err, config.ErrCommand) {
		return nil, usageErrorf("--command: %w", err)
	}
	return r, err
}

func newConfigCheckCommand(app *App) *cobra.Command {
	o := &ConfigOptions{}
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check a run config and report all its faults",
		Long: `Check a run config: unknown keys, wrong types and values, keys that contradict
each other, and what this version does not support. Exit code 1 when there is a
fault. No model and no data are read.`,
		Example: `  mltrain config check -c run.yaml
  mltrain config check -c run.yaml --command lora --json`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return runConfigCheck(app, o) },
	}
	o.register(cmd)
	return cmd
}

// checkResult is what config check prints with --json.
type checkResult struct {
	OK     bool         `json:"ok"`
	Faults []checkFault `json:"faults"`
}

type checkFault struct {
	Place string `json:"place,omitempty"`
	Key   string `json:"key,omitempty"`
	Text  string `json:"text"`
}

func runConfigCheck(app *App, o *ConfigOptions) error {
	r, err := o.load()
	if err == nil {
		err = config.Unsupported(r)
	}
	var faults config.Faults
	if err != nil && !errors.As(err, &faults) {
		return err
	}
	switch {
	case o.JSON:
		out := checkResult{OK: err == nil, Faults: []checkFault{}}
		for _, f := range faults {
			out.Faults = append(out.Faults, checkFault(f))
		}
		if printErr := app.PrintJSON(out); printErr != nil {
			return printErr
		}
		if err != nil {
			return &ExitError{Code: exitFailed}
		}
		return nil
	case err != nil:
		return err
	}
	name := o.Config
	if name == "" {
		name = "defaults and flags"
	}
	_, err = fmt.Fprintf(app.Out, "%s: no faults (as a config of mltrain %s)\n", name, o.Command)
	return err
}

func newConfigShowCommand(app *App) *cobra.Command {
	o := &ConfigOptions{}
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show the value of every key and where it comes from",
		Example: `  mltrain config show -c run.yaml
  mltrain config show -c run.yaml --set learning_rate=1e-5 --changed`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return runConfigShow(app, o) },
	}
	o.register(cmd)
	cmd.Flags().BoolVar(&o.Changed, "changed", false, "show only the keys that somebody set")
	return cmd
}

// shownKey is what config show prints for a key with --json.
type shownKey struct {
	Value  any    `json:"value"`
	Origin string `json:"origin"`
}

func runConfigShow(app *App, o *ConfigOptions) error {
	r, err := o.load()
	if err != nil {
		return err
	}
	if o.JSON {
		out := map[string]shownKey{}
		for _, key := range config.Keys() {
			if v, ok := r.Value(key); ok && !(o.Changed && r.IsDefault(key)) {
				out[key] = shownKey{Value: v, Origin: r.Origin(key)}
			}
		}
		return app.PrintJSON(out)
	}
	if o.Changed {
		return r.WriteYAMLSet(app.Out, "mltrain "+o.Command)
	}
	return r.WriteYAML(app.Out, "mltrain "+o.Command)
}

func newConfigSchemaCommand(app *App) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON schema of run configs",
		Long: `Print the JSON schema of run configs. Editors complete and check YAML files with
it, for instance those that read this line at the top of the file:

  # yaml-language-server: $schema=mltrain.schema.json`,
		Example: "  mltrain config schema > mltrain.schema.json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			text, err := config.Schema()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(app.Out, "%s\n", text)
			return err
		},
	}
}
