package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mltrain/mltrain/internal/checkpoint"
	"github.com/mltrain/mltrain/internal/config"
	"github.com/mltrain/mltrain/internal/data"
	"github.com/mltrain/mltrain/internal/train"
)

func newDataCommand(app *App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "data",
		Short: "Look at data as a model will see it, check and convert it",
		Example: `  mltrain data preview --model ./SmolLM2-135M --data chats.jsonl
  mltrain data check -c run.yaml`,
	}
	cmd.AddCommand(newDataPreviewCommand(app), newDataStatsCommand(app), newDataCheckCommand(app), newDataConvertCommand(app),
		newDataRenderCommand(app))
	asGroup(cmd)
	return cmd
}

// DataFlags are the flags that the data commands share. As for a training run, -c and --set give the keys of the run
// config, so that what is shown is what that run would train on.
type DataFlags struct {
	TrainFlags
	Command string // the training command that the data is for; "" goes by the shape of the rows
}

func (o *DataFlags) register(cmd *cobra.Command) {
	o.registerConfig(cmd)
	f := cmd.Flags()
	f.String("model", "", "directory with a tokenizer (and config.json), or org/name on the hub")
	f.StringArray("data", nil, "data, a file, directory, glob or hf://org/name/file (repeatable)")
	f.Int("seed", 42, "seed of mixtures and of fractions of datasets")
	f.BoolVar(&o.JSON, "json", false, "print JSON")
	f.StringVar(&o.Command, "command", "", "the training command that the data is for: "+strings.Join(config.Commands(), ", ")+"; by default the shape of the rows tells")
	complete(cmd, "command", config.Commands(), cobra.ShellCompDirectiveNoFileComp)
	_ = cmd.MarkFlagDirname("model") // fails only for a flag that does not exist
}

// dataInput is the data of a command with what makes tokens of it.
type dataInput struct {
	sources []data.Source
	options data.Options
	tok     data.Tokenizer
	config  *config.Config
}

// load resolves config, data and model.
func (o *DataFlags) load(ctx context.Context, app *App) (*dataInput, error) {
	command := o.Command
	if command == "" {
		command = "sft"
	}
	r, err := o.Load(command)
	if errors.Is(err, config.ErrCommand) {
		return nil, usageErrorf("--command: %w", err)
	}
	if err != nil {
		return nil, err
	}
	cfg := &r.Config
	if cfg.ModelNameOrPath == "" {
		return nil, usageErrorf("--model is not given; the data is shown as its tokenizer and chat template make it")
	}
	in := &dataInput{config: cfg}
	if in.sources, err = dataSources(ctx, app, cfg); err != nil {
		return nil, err
	}
	dir, err := resolveModel(ctx, app, cfg.ModelNameOrPath)
	if err != nil {
		return nil, err
	}
	tok, raw, err := data.LoadTokenizer(dir)
	if err != nil {
		return nil, err
	}
	in.tok = tok
	tmpl, warning, err := data.ResolveTemplate(cfg.ChatTemplate, raw, time.Time{})
	if err != nil {
		return nil, err
	}
	vocab, err := vocabSize(dir)
	if err != nil {
		return nil, err
	}
	in.options = data.Options{
		MaxLength: cfg.MaxLength, Vocab: vocab, Template: tmpl, AssistantOnlyLoss: cfg.AssistantOnlyLoss,
		TruncationMode: data.TruncationMode(cfg.TruncationMode), Seed: uint64(cfg.DataSeed.Or(cfg.Seed)), Workers: cfg.DatasetNumProc.Or(0),
		Overflow: train.OverflowOf(cfg),
	}
	if v, ok := cfg.CompletionOnlyLoss.Get(); ok {
		in.options.CompletionOnlyLoss = &v
	}
	layout, err := firstLayout(in.sources)
	if err != nil {
		return nil, err
	}
	in.options.Objective, in.options.Reward = objectiveOf(o.Command, layout), o.Command == "reward"
	if in.options.Objective != data.Supervised {
		in.options.Overflow = data.Truncate
	}
	if warning != "" && slices.Contains([]data.Layout{data.LayoutMessages, data.LayoutShareGPT, data.LayoutAlpaca}, layout) {
		app.Log.Warn(warning)
	}
	return in, nil
}

// dataSources lists the training data of a config; what lies on the hub is fetched.
func dataSources(ctx context.Context, app *App, cfg *config.Config) ([]data.Source, error) {
	sets := cfg.TrainDatasets()
	if len(sets) == 0 {
		return nil, usageErrorf("--data is not given")
	}
	var sources []data.Source
	for _, d := range sets {
		path, err := resolveData(ctx, app, d.Path)
		if err != nil {
			return nil, err
		}
		s := data.Source{Path: path, Split: d.Split, Columns: d.Columns, Fraction: d.Fraction, Weight: d.Weight}
		if s.Split == "" {
			s.Split = cfg.DatasetTrainSplit
		}
		if s.Layout, err = data.ParseLayout(d.Type); err != nil {
			return nil, err
		}
		sources = append(sources, s)
	}
	return sources, nil
}

// vocabSize reads how many token ids the model in dir has; 0 where there is no config.json, as beside a lone tokenizer.
func vocabSize(dir string) (int, error) {
	path := filepath.Join(dir, checkpoint.ConfigFile)
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var c struct {
		Vocab int `json:"vocab_size"`
		Text  struct {
			Vocab int `json:"vocab_size"`
		} `json:"text_config"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return max(c.Vocab, c.Text.Vocab, 0), nil
}

// errSeen ends the reading of rows once one has told what is wanted.
var errSeen = errors.New("seen")

// firstLayout gives the shape of the first row that can be read.
func firstLayout(sources []data.Source) (layout data.Layout, err error) {
	err = data.ReadRows(sources, func(r data.Row, err error) error {
		if err != nil {
			return nil // a faulty row is shown by the command itself
		}
		layout = r.Layout
		return errSeen
	})
	if errors.Is(err, errSeen) {
		err = nil
	}
	return layout, err
}

// objectiveOf says what rows are for: the command tells, or else the shape of the first of them.
func objectiveOf(command string, layout data.Layout) data.Objective {
	switch {
	case command != "" && command != "dpo" && command != "reward":
		return data.Supervised
	case command == "reward":
		return data.Preference
	case layout == data.LayoutKTO:
		return data.Unpaired
	case layout == data.LayoutPreference || command != "":
		return data.Preference
	}
	return data.Supervised
}
