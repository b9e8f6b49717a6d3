package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mltrain/mltrain/internal/data"
	"github.com/mltrain/mltrain/internal/data/inspect"
	"github.com/mltrain/mltrain/internal/tokenizer"
	"github.com/mltrain/mltrain/internal/ui"
)

// DataPreviewOptions are the flags of data preview.
type DataPreviewOptions struct {
	DataFlags
	Rows, Skip int
	Color      string
}

func newDataPreviewCommand(app *App) *cobra.Command {
	o := &DataPreviewOptions{}
	cmd := &cobra.Command{
		Use:   "preview",
		Short: "Show rows as the model will see them, with what is trained",
		Long: `Show rows as text with their special tokens and their loss mask. On a terminal
trained text is green and special tokens are blue; elsewhere, and with NO_COLOR,
trained text stands between ⟦ and ⟧. Rows that training would drop are shown too.`,
		Example: `  mltrain data preview --model ./SmolLM2-135M --data chats.jsonl --rows 2
  mltrain data preview -c run.yaml --set assistant_only_loss=true --color always | less -R`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDataPreview(cmd.Context(), app, o) },
	}
	o.register(cmd)
	f := cmd.Flags()
	f.IntVar(&o.Rows, "rows", 5, "rows to show")
	f.IntVar(&o.Skip, "skip", 0, "rows to pass over first")
	f.StringVar(&o.Color, "color", "auto", "auto, always or never")
	complete(cmd, "color", []string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp)
	return cmd
}

func runDataPreview(ctx context.Context, app *App, o *DataPreviewOptions) error {
	if o.Rows < 1 || o.Skip < 0 {
		return usageErrorf("--rows %d --skip %d: needed are 1 row or more, after 0 or more", o.Rows, o.Skip)
	}
	color, err := useColor(o.Color, app.Out)
	if err != nil {
		return err
	}
	in, err := o.load(ctx, app)
	if err != nil {
		return err
	}
	rows, err := inspect.PreviewRows(ctx, in.sources, in.options, in.tok, o.Skip, o.Rows)
	if err != nil {
		return err
	}
	if o.JSON {
		return app.PrintJSON(map[string]any{"rows": append([]inspect.Preview{}, rows...)})
	}
	for i, r := range rows {
		if i > 0 {
			fmt.Fprintln(app.Out)
		}
		if err := r.Write(app.Out, color); err != nil {
			return err
		}
	}
	return nil
}

// useColor decides about colours on w: auto wants a terminal and no NO_COLOR (no-color.org).
func useColor(when string, w io.Writer) (bool, error) {
	switch when {
	case "always":
		return true, nil
	case "never":
		return false, nil
	case "auto":
		return ui.IsTerminal(w) && os.Getenv("NO_COLOR") == "", nil
	}
	return false, usageErrorf("--color: expected auto, always or never, found %q", when)
}

// DataStatsOptions are the flags of data stats.
type DataStatsOptions struct {
	DataFlags
	BatchSize int
}

func newDataStatsCommand(app *App) *cobra.Command {
	o := &DataStatsOptions{}
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Measure data: lengths, truncation, packing, tokens trained",
		Long: `Measure data: rows used and dropped, lengths in tokens with a histogram, what
max_length cuts, tokens trained, and how much of a batch holds tokens when rows are
packed, padded, or padded in groups of like length.`,
		Example: "  mltrain data stats --model ./SmolLM2-135M --data chats.jsonl --set max_length=2048",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runDataStats(cmd.Context(), app, o) },
	}
	o.register(cmd)
	cmd.Flags().IntVar(&o.BatchSize, "batch-size", 0, "rows of a batch; 0 takes per_device_train_batch_size")
	return cmd
}

func runDataStats(ctx context.Context, app *App, o *DataStatsOptions) error {
	if o.BatchSize < 0 {
		return usageErrorf("--batch-size %d: needed is 1 or more", o.BatchSize)
	}
	in, err := o.load(ctx, app)
	if err != nil {
		return err
	}
	size := o.BatchSize
	if size == 0 {
		size = in.config.PerDeviceTrainBatchSize
	}
	s, err := inspect.Statistics(ctx, in.sources, in.options, in.tok, size)
	if err != nil {
		return err
	}
	if o.JSON {
		return app.PrintJSON(s)
	}
	return s.Write(app.Out)
}

// DataCheckOptions are the flags of data check.
type DataCheckOptions struct {
	DataFlags
	Allow []string
}

func newDataCheckCommand(app *App) *cobra.Command {
	o := &DataCheckOptions{}
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Look for what silently spoils training; exit code 1 when there is any",
		Long: `Look at every row for what silently spoils training, and say for each fault which
rows have it and what to do. Exit code 1 when there is a fault; notes alone do not
fail. --allow leaves a check out. The checks:

  ` + strings.Join(inspect.CheckNames(), "\n  "),
		Example: `  mltrain data check --model ./SmolLM2-135M --data chats.jsonl --set assistant_only_loss=true
  mltrain data check -c run.yaml --allow duplicate --allow over_max_length --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDataCheck(cmd.Context(), app, o) },
	}
	o.register(cmd)
	cmd.Flags().StringArrayVar(&o.Allow, "allow", nil, "check to leave out (repeatable)")
	complete(cmd, "allow", inspect.CheckNames(), cobra.ShellCompDirectiveNoFileComp)
	return cmd
}

// checkedData is what data check prints with --json.
type checkedData struct {
	OK bool `json:"ok"`
	*inspect.Report
}

func runDataCheck(ctx context.Context, app *App, o *DataCheckOptions) error {
	for _, name := range o.Allow {
		if err := knownCheck(name); err != nil {
			return err
		}
	}
	in, err := o.load(ctx, app)
	if err != nil {
		return err
	}
	report, err := inspect.Check(ctx, in.sources, in.options, in.tok, o.Allow)
	if err != nil {
		return err
	}
	if o.JSON {
		report.Findings = append([]inspect.Finding{}, report.Findings...)
		err = app.PrintJSON(checkedData{!report.Failed(), report})
	} else {
		err = report.Write(app.Out)
	}
	if err == nil && report.Failed() {
		err = &ExitError{Code: exitFailed}
	}
	return err
}

// knownCheck refuses a name for --allow that is no check.
func knownCheck(name string) error {
	for _, n := range inspect.CheckNames() {
		if n == name {
			return nil
		}
	}
	return usageErrorf("--allow: no such check: %q (have %s)", name, strings.Join(inspect.CheckNames(), ", "))
}

// DataConvertOptions are the flags of data convert.
type DataConvertOptions struct {
	DataFlags
	To, Output string
	Overwrite  bool
}

func newDataConvertCommand(app *App) *cobra.Command {
	o := &DataConvertOptions{}
	cmd := &cobra.Command{
		Use:   "convert",
		Short: "Write data in another row shape or file format",
		Long: `Write data in another row shape or file format. The name of the output says the
format: .jsonl, .json, .csv, .tsv or .parquet, each but Parquet also with .gz or
.zst. --to gives the shape: auto (each row's own), text, messages, sharegpt, alpaca,
prompt_completion, preference or kto. Chats become text by the chat template of the
model, or the one that chat_template names.`,
		Example: `  mltrain data convert --data alpaca.json --to messages --output chats.jsonl
  mltrain data convert --data chats.jsonl --to text --model ./SmolLM2-135M --output texts.parquet`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDataConvert(cmd.Context(), app, o) },
	}
	o.register(cmd)
	f := cmd.Flags()
	f.StringVar(&o.To, "to", "auto", "shape of the rows")
	f.StringVar(&o.Output, "output", "", "file to write")
	f.BoolVar(&o.Overwrite, "overwrite", false, "replace the output file if it exists")
	return cmd
}

// convertedData is what data convert prints with --json.
type convertedData struct {
	Rows   int    `json:"rows"`
	Output string `json:"output"`
}

func runDataConvert(ctx context.Context, app *App, o *DataConvertOptions) error {
	if o.Output == "" {
		return usageErrorf("--output is not given")
	}
	to, err := data.ParseLayout(o.To)
	if err != nil {
		return usageErrorf("--to: %w", err)
	}
	if _, err := os.Stat(o.Output); err == nil && !o.Overwrite {
		return fmt.Errorf("%s exists; choose another name, or replace it with --overwrite", o.Output)
	}
	r, err := o.Load("sft")
	if err != nil {
		return err
	}
	cfg := &r.Config
	sources, err := dataSources(ctx, app, cfg)
	if err != nil {
		return err
	}
	var tmpl data.Template
	if cfg.ModelNameOrPath != "" {
		dir, err := resolveModel(ctx, app, cfg.ModelNameOrPath)
		if err != nil {
			return err
		}
		tok, err := tokenizer.Load(dir)
		if err != nil {
			return err
		}
		if tmpl, _, err = data.ResolveTemplate(cfg.ChatTemplate, tok, time.Time{}); err != nil {
			return err
		}
	}
	rows, err := inspect.Convert(sources, to, tmpl, o.Output)
	if err != nil {
		return err
	}
	if o.JSON {
		return app.PrintJSON(convertedData{rows, o.Output})
	}
	_, err = fmt.Fprintf(app.Out, "%s: %d rows\n", o.Output, rows)
	return err
}
