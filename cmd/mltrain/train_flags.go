package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mltrain/mltrain/internal/config"
)

// TrainFlags are the flags that all training commands share. Most of them set
// a key of the run config; [TrainFlags.Load] puts config and flags together.
type TrainFlags struct {
	Config  string
	Set     []string
	JSON    bool   // print the result as JSON
	Profile string // directory for profiles of the run

	flags *pflag.FlagSet
}

// keyFlags maps the flags that set a key of the run config to that key.
func keyFlags() map[string]string {
	return map[string]string{
		"model":     "model_name_or_path",
		"data":      "datasets",
		"output":    "output_dir",
		"device":    "device",
		"max-steps": "max_steps",
		"seed":      "seed",
		"resume":    "resume_from_checkpoint",
		"overwrite": "overwrite_output_dir",
	}
}

// Register adds the flags to a command.
func (t *TrainFlags) Register(cmd *cobra.Command) {
	f := cmd.Flags()
	t.flags = f
	t.registerConfig(cmd)
	f.String("model", "", "directory of a Hugging Face checkpoint, or org/name on the hub")
	f.StringArray("data", nil, "training data, a file or directory (repeatable)")
	f.String("output", "", "directory of the run")
	f.String("device", "auto", "auto, cpu, cuda or emulator")
	f.Int("max-steps", -1, "optimiser steps; -1 goes by num_train_epochs")
	f.Int("seed", 42, "seed of everything random")
	f.String("resume", "", "continue from the newest good checkpoint in the output directory, or from the one given")
	f.Lookup("resume").NoOptDefVal = "true"
	f.Bool("overwrite", false, "write into an output directory that already holds a run")
	f.BoolVar(&t.JSON, "json", false, "print the result as JSON")
	f.StringVar(&t.Profile, "profile", "", "directory to write CPU and memory profiles to")
	complete(cmd, "device", deviceNames(), cobra.ShellCompDirectiveNoFileComp)
	for _, name := range []string{"model", "output", "profile"} {
		// MarkFlagDirname fails only for a flag that does not exist.
		_ = cmd.MarkFlagDirname(name)
	}
}

// registerConfig adds only the flags that name the run config.
func (t *TrainFlags) registerConfig(cmd *cobra.Command) {
	t.flags = cmd.Flags()
	t.flags.StringVarP(&t.Config, "config", "c", "", "run config, a YAML file")
	t.flags.StringArrayVar(&t.Set, "set", nil, "set a key of the run config, as key=value (repeatable)")
	// MarkFlagFilename fails only for a flag that does not exist.
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
	// RegisterFlagCompletionFunc fails only for a flag that does not exist.
	_ = cmd.RegisterFlagCompletionFunc("set", completeSet)
}

// complete offers values for a flag to the shell.
func complete(cmd *cobra.Command, flag string, values []string, how cobra.ShellCompDirective) {
	// RegisterFlagCompletionFunc fails only for a flag that does not exist.
	_ = cmd.RegisterFlagCompletionFunc(flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return values, how
	})
}

// completeSet offers keys and, behind a key that has a list of them, values.
func completeSet(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	keys, err := config.Describe()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	name, _, behind := strings.Cut(typed, "=")
	var out []string
	for _, k := range keys {
		switch {
		case !behind:
			out = append(out, k.Name+"=\t"+k.Doc)
		case k.Name == name:
			values := k.Enum
			if _, isBool := k.Default.(bool); isBool {
				values = []string{"true", "false"}
			}
			for _, v := range values {
				out = append(out, k.Name+"="+v)
			}
			return out, cobra.ShellCompDirectiveNoFileComp
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// Load reads the run config of a command, with the flags over it.
func (t *TrainFlags) Load(command string) (*config.Resolved, error) {
	opt := config.LoadOptions{Command: command, Path: t.Config, Set: t.Set}
	keys := keyFlags()
	t.flags.Visit(func(f *pflag.Flag) {
		key, ok := keys[f.Name]
		if !ok {
			return
		}
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		opt.Flags = append(opt.Flags, config.Flag{Name: "--" + f.Name, Key: key, Values: values})
	})
	return config.Load(opt)
}
