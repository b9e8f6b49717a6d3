package main

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mltrain/mltrain/internal/config"
)

// execute runs the command line args and returns the exit code.
func execute(ctx context.Context, app *App, args []string) int {
	root := newRootCommand(app)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil {
		printError(app.Err, err)
	}
	return exitCode(err)
}

// newRootCommand builds the tree of commands. A new command is added to the
// list here.
func newRootCommand(app *App) *cobra.Command {
	root := &cobra.Command{
		Use:   "mltrain",
		Short: "Train and fine-tune transformer models from a run config",
		Long: `Train and fine-tune transformer models from a run config.

Results go to stdout, progress and logs to stderr. Exit codes: 0 done, 1 failed,
2 wrong usage, 130 interrupted.`,
		Example:       "  mltrain sft -c configs/sft-tiny.yaml",
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			return app.setLogLevel()
		},
	}
	root.SetIn(app.In)
	root.SetOut(app.Out)
	root.SetErr(app.Err)
	root.PersistentFlags().BoolVarP(&app.Quiet, "quiet", "q", false, "no progress; of the log only warnings and errors")
	root.SetGlobalNormalizationFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		return pflag.NormalizedName(strings.ReplaceAll(name, "_", "-"))
	})
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(
		newPretrainCommand(app),
		newSFTCommand(app),
		newLoRACommand(app),
		newDPOCommand(app),
		newRewardCommand(app),
		newPlanCommand(app),
		newMergeCommand(app),
		newQuantizeCommand(app),
		newGenerateCommand(app),
		newChatCommand(app),
		newEvalCommand(app),
		newTokenizeCommand(app),
		newTokenizerCommand(app),
		newDataCommand(app),
		newBenchCommand(app),
		newRunsCommand(app),
		newDiagnoseCommand(app),
		newHubCommand(app),
		newConfigCommand(app),
		newDevicesCommand(app),
		newVerifyCommand(app),
		newVersionCommand(app),
		newSandboxInitCommand(),
		newDocsCommand(app),
	)
	addUnavailable(root)
	asGroup(root)
	return root
}

// unavailable lists the commands that are part of the design but that no code
// stands behind yet. They are refused by name, not as typing mistakes.
func unavailable() []string {
	return []string{
		"pretrain", "sft", "lora", "dpo", "reward", "eval", "generate", "chat", "tokenize", "tokenizer", "data", "plan",
		"merge", "quantize", "hub", "devices", "verify", "bench", "runs", "diagnose",
	}
}

// addUnavailable adds a hidden command for each of those that root lacks.
func addUnavailable(root *cobra.Command) {
	for _, name := range unavailable() {
		if slices.ContainsFunc(root.Commands(), func(c *cobra.Command) bool { return c.Name() == name }) {
			continue
		}
		root.AddCommand(&cobra.Command{
			Use:                name,
			Hidden:             true,
			DisableFlagParsing: true,
			RunE: func(*cobra.Command, []string) error {
				return usageErrorf("mltrain %s is not available in this version; see 'mltrain --help' for what is", name)
			},
		})
	}
}

// asGroup makes a command that only holds others print its help, or refuse a
// name that is none of them.
func asGroup(cmd *cobra.Command) {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		hint := ""
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = " (did you mean " + strings.Join(near, " or ") + "?)"
		}
		return usageErrorf("unknown command %q for %q%s\nsee '%s --help'", args[0], cmd.CommandPath(), hint, cmd.CommandPath())
	}
	cmd.SuggestionsMinimumDistance = 2
}

// noArgs refuses arguments that are not flags.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageErrorf("%q takes no arguments, found %q\nsee '%s --help'", cmd.CommandPath(), args[0], cmd.CommandPath())
	}
	return nil
}

// flagError makes a faulty flag an error of usage, with the flag that was meant.
func flagError(cmd *cobra.Command, err error) error {
	if errors.Is(err, pflag.ErrHelp) {
		return err
	}
	hint := ""
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		hint = flagHint(cmd, unknown.GetSpecifiedName())
	}
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		f := invalid.GetFlag()
		return usageErrorf("flag --%s: expected %s, found %q\nsee '%s --help'", f.Name, flagType(f), invalid.GetValue(), cmd.CommandPath())
	}
	return usageErrorf("%s%s\nsee '%s --help'", strings.TrimSuffix(err.Error(), "."), hint, cmd.CommandPath())
}

// flagType names the kind of value that a flag takes.
func flagType(f *pflag.Flag) string {
	switch t := f.Value.Type(); t {
	case "int", "int64", "uint", "uint64":
		return "a whole number"
	case "float32", "float64":
		return "a number"
	case "bool":
		return "true or false"
	default:
		return "a " + t
	}
}

// flagHint says which flag, or which key for --set, a name was meant to be.
func flagHint(cmd *cobra.Command, name string) string {
	var flags []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			flags = append(flags, f.Name)
		}
	})
	if near := config.Closest(name, flags); near != "" {
		return " (did you mean --" + near + "?)"
	}
	if cmd.Flags().Lookup("set") != nil {
		if near := config.Closest(name, config.Keys()); near != "" {
			return " (a key of the run config: use --set " + near + "=VALUE)"
		}
	}
	return ""
}
