package main

import (
	"context"
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/mltrain/mltrain/internal/hub"
	"github.com/mltrain/mltrain/internal/ui"
)

func newHubCommand(app *App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "hub",
		Short: "Fetch, list and upload models and datasets of the Hugging Face Hub",
		Long: `Fetch, list and upload models and datasets of the Hugging Face Hub, or of any server
with its API. A reference is org/name[@revision] for a model and
hf://datasets/org/name[@revision][/file] for a dataset. What is fetched lies in the
cache that Python's huggingface_hub uses too. HF_TOKEN, HF_HOME, HF_HUB_CACHE,
HF_ENDPOINT and HF_HUB_OFFLINE are heeded.`,
		Example: `  mltrain hub download HuggingFaceTB/SmolLM2-135M
  mltrain hub upload me/my-model runs/chat`,
	}
	cmd.AddCommand(newHubDownloadCommand(app), newHubUploadCommand(app), newHubLsCommand(app))
	asGroup(cmd)
	return cmd
}

// argCount wants exactly so many arguments, which it names.
func argCount(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		return usageErrorf("%q takes %d arguments (%v), found %d\nsee '%s --help'", cmd.CommandPath(), len(names), names, len(args), cmd.CommandPath())
	}
}

// checkRef makes a malformed reference an error of usage.
func checkRef(ref string) error {
	if _, err := hub.ParseRef(ref); err != nil {
		return usageErrorf("%w", err)
	}
	return nil
}

// HubDownloadOptions are the flags of hub download.
type HubDownloadOptions struct {
	Ref              string
	Include, Exclude []string
	JSON             bool
}

func newHubDownloadCommand(app *App) *cobra.Command {
	o := &HubDownloadOptions{}
	cmd := &cobra.Command{
		Use:   "download REFERENCE",
		Short: "Fetch a repository, or files of it, and print where it lies",
		Long: `Fetch a repository into the cache and print where it lies. Of a model, what training
and using it needs is fetched: configs, tokenizer, templates and safetensors. A path
after the name, or --include, chooses other files. What is there is not fetched again,
and what was broken off goes on where it stopped.`,
		Example: `  mltrain hub download HuggingFaceTB/SmolLM2-135M@main
  mltrain hub download hf://datasets/openai/gsm8k/main/train-00000-of-00001.parquet
  mltrain hub download org/name --include '*.json' --exclude 'training_*'`,
		Args: argCount("REFERENCE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Ref = args[0]
			return runHubDownload(cmd.Context(), app, o)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.Include, "include", nil, "pattern of files to fetch (repeatable)")
	f.StringArrayVar(&o.Exclude, "exclude", nil, "pattern of files to leave out (repeatable)")
	f.BoolVar(&o.JSON, "json", false, `print {"path": …}`)
	return cmd
}

func runHubDownload(ctx context.Context, app *App, o *HubDownloadOptions) error {
	if err := checkRef(o.Ref); err != nil {
		return err
	}
	opt := hub.FromEnv(os.Getenv)
	opt.Include, opt.Exclude = o.Include, o.Exclude
	path, err := fetchFromHub(ctx, app, o.Ref, opt)
	if err != nil {
		return err
	}
	if o.JSON {
		return app.PrintJSON(map[string]string{"path": path})
	}
	_, err = fmt.Fprintln(app.Out, path)
	return err
}

// HubUploadOptions are the flags of hub upload.
type HubUploadOptions struct {
	Ref, Local       string
	Include, Exclude []string
	Message          string
	Private, Create  bool
	JSON             bool
}

func newHubUploadCommand(app *App) *cobra.Command {
	o := &HubUploadOptions{}
	cmd := &cobra.Command{
		Use:   "upload REFERENCE PATH",
		Short: "Commit a folder or file to a repository and print the commit",
		Long: `Commit the files of a folder, or one file, to a repository's revision and print the
commit. HF_TOKEN must allow writing. Hidden and unfinished files stay behind.`,
		Example: `  mltrain hub upload me/my-model runs/chat --create --private
  mltrain hub upload me/my-model runs/chat --exclude 'checkpoint-*/*' --message "two epochs"`,
		Args: argCount("REFERENCE", "PATH"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Ref, o.Local = args[0], args[1]
			return runHubUpload(cmd.Context(), app, o)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.Include, "include", nil, "pattern of files to upload (repeatable)")
	f.StringArrayVar(&o.Exclude, "exclude", nil, "pattern of files to leave out (repeatable)")
	f.StringVar(&o.Message, "message", "", "message of the commit")
	f.BoolVar(&o.Create, "create", false, "create the repository when it does not exist")
	f.BoolVar(&o.Private, "private", false, "with --create: make it private")
	f.BoolVar(&o.JSON, "json", false, `print {"commit": …}`)
	return cmd
}

func runHubUpload(ctx context.Context, app *App, o *HubUploadOptions) error {
	if err := checkRef(o.Ref); err != nil {
		return err
	}
	if o.Private && !o.Create {
		return usageErrorf("--private is for a repository that --create makes")
	}
	if _, err := os.Stat(o.Local); err != nil {
		return err
	}
	opt := hub.FromEnv(os.Getenv)
	opt.Include, opt.Exclude = o.Include, o.Exclude
	progress := newTransfers(app, o.Ref)
	opt.Progress = progress
	commit, err := hub.Upload(ctx, o.Ref, o.Local, opt, hub.UploadOptions{Message: o.Message, Create: o.Create, Private: o.Private})
	progress.close()
	if err != nil {
		return err
	}
	if o.JSON {
		return app.PrintJSON(map[string]string{"commit": commit})
	}
	_, err = fmt.Fprintln(app.Out, commit)
	return err
}

// HubLsOptions are the flags of hub ls.
type HubLsOptions struct {
	Ref  string
	JSON bool
}

func newHubLsCommand(app *App) *cobra.Command {
	o := &HubLsOptions{}
	cmd := &cobra.Command{
		Use:     "ls REFERENCE",
		Short:   "List the files of a repository",
		Example: "  mltrain hub ls HuggingFaceTB/SmolLM2-135M\n  mltrain hub ls hf://datasets/openai/gsm8k --json",
		Args:    argCount("REFERENCE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Ref = args[0]
			return runHubLs(cmd.Context(), app, o)
		},
	}
	cmd.Flags().BoolVar(&o.JSON, "json", false, "print a JSON object with the list of files")
	return cmd
}

// hubFile is a file as hub ls prints it with --json.
type hubFile struct {
	Path string `json:"path"`
	Size int64  `json:"size"` // bytes
	Hash string `json:"hash"` // SHA-256 of a large file, else git's SHA-1
	LFS  bool   `json:"lfs"`
}

func runHubLs(ctx context.Context, app *App, o *HubLsOptions) error {
	if err := checkRef(o.Ref); err != nil {
		return err
	}
	entries, err := hub.List(ctx, o.Ref, hub.FromEnv(os.Getenv))
	if err != nil {
		return err
	}
	if o.JSON {
		files := make([]hubFile, len(entries))
		for i, e := range entries {
			files[i] = hubFile(e)
		}
		return app.PrintJSON(map[string]any{"files": files})
	}
	w := tabwriter.NewWriter(app.Out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, e := range entries {
		fmt.Fprintf(w, "%s\t  %s\n", ui.Bytes(e.Size), e.Path)
	}
	return w.Flush()
}
