package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/mltrain/mltrain/internal/config"
)

// newDocsCommand makes what packagers need; users have no use for it.
func newDocsCommand(app *App) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "docs",
		Short:   "Make documentation files",
		Hidden:  true,
		Example: "  mltrain docs man man1\n  mltrain docs config > docs/config.md",
	}
	cmd.AddCommand(&cobra.Command{
		Use:     "config",
		Short:   "Print the reference of the run config, docs/config.md",
		Example: "  mltrain docs config > docs/config.md",
		Args:    noArgs,
		RunE:    func(*cobra.Command, []string) error { return config.Markdown(app.Out) },
	})
	cmd.AddCommand(&cobra.Command{
		Use:     "man DIR",
		Short:   "Write the man pages of all commands into a directory",
		Example: "  mltrain docs man /usr/local/share/man/man1",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageErrorf("expected one directory, found %d arguments\nsee '%s --help'", len(args), cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("man pages: %w", err)
			}
			// A fixed date, so that the same program writes the same pages.
			date := time.Unix(0, 0).UTC()
			header := &doc.GenManHeader{Title: "MLTRAIN", Section: "1", Source: "mltrain " + versionInfo().Version, Date: &date}
			if err := doc.GenManTree(cmd.Root(), header, args[0]); err != nil {
				return fmt.Errorf("man pages: %w", err)
			}
			app.Log.Info("man pages written", "dir", args[0])
			return nil
		},
	})
	asGroup(cmd)
	return cmd
}
