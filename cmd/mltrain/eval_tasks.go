package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/mltrain/mltrain/internal/checkpoint"
	"github.com/mltrain/mltrain/internal/config"
	"github.com/mltrain/mltrain/internal/data"
	"github.com/mltrain/mltrain/internal/eval"
	"github.com/mltrain/mltrain/internal/eval/sandbox"
	"github.com/mltrain/mltrain/internal/tokenizer"
	"github.com/mltrain/mltrain/internal/train"
	"github.com/mltrain/mltrain/internal/ui"
)

// ResultsFile is the file in the output directory of eval that holds its results.
const ResultsFile = "results.json"

// TaskFlags are the flags of eval that concern tasks.
type TaskFlags struct {
	IncludePaths      []string
	NumFewshot        int
	Seed              uint64
	ApplyChatTemplate bool
	ChatTemplate      string
	OneTurn           bool
	SystemInstruction string
	GenKwargs         string
	BatchSize         int
	BootstrapIters    int
	Output            string
	Overwrite         bool
	LogSamples        bool
	ListTasks         bool
}

func (o *TaskFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&o.IncludePaths, "include-path", nil, "directory of task files; may be given several times")
	f.IntVar(&o.NumFewshot, "num-fewshot", -1, "examples before each question; -1 is what the task says")
	f.Uint64Var(&o.Seed, "seed", 1234, "of the examples that are drawn, and of sampling")
	f.BoolVar(&o.ApplyChatTemplate, "apply-chat-template", false, "ask in the model's chat format")
	f.StringVar(&o.ChatTemplate, "chat-template", "auto", "with --apply-chat-template: a built-in layout or a Jinja file instead of the model's")
	f.BoolVar(&o.OneTurn, "one-turn", false, "with --apply-chat-template: examples and question in one turn of the user")
	f.StringVar(&o.SystemInstruction, "system-instruction", "", "text before all else, as the system's turn in chats")
	f.StringVar(&o.GenKwargs, "gen-kwargs", "", "over the tasks' generation_kwargs: max_gen_toks=64,temperature=0.7,…")
	f.IntVar(&o.BatchSize, "batch-size", 0, "prompts that are continued together; 0 is 32, or fewer where their cache would be large")
	f.IntVar(&o.BootstrapIters, "bootstrap-iters", 100000, "samples for standard errors that need them; 0: no standard errors")
	f.StringVar(&o.Output, "output", "", "directory for results.json, and for the answers, so that an interrupted evaluation goes on")
	f.BoolVar(&o.Overwrite, "overwrite", false, "begin anew in --output")
	f.BoolVar(&o.LogSamples, "log-samples", false, "write samples_TASK.jsonl: each row with prompt, answer and scores")
	f.BoolVar(&o.ListTasks, "list-tasks", false, "list tasks, groups and tags")
}

// registry knows the built-in tasks and those of --include-path.
func (o *TaskFlags) registry() (*eval.Registry, error) {
	r, err := eval.NewRegistry(config.Closest)
	if err != nil {
		return nil, err
	}
	for _, p := range o.IncludePaths {
		if _, err := r.AddPath(p); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func listTasks(app *App, o *TaskFlags, asJSON bool) error {
	r, err := o.registry()
	if err != nil {
		return err
	}
	tasks, groups, tags := r.Names()
	tasks = append([]string{perplexityTask}, tasks...)
	if asJSON {
		return app.PrintJSON(map[string][]string{"tasks": tasks, "groups": groups, "tags": tags})
	}
	for _, l := range []struct {
		what  string
		names []string
	}{{"task", tasks}, {"group", groups}, {"tag", tags}} {
		for _, n := range l.names {
			if _, err := fmt.Fprintf(app.Out, "%-6s %s\n", l.what, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// selectTasks finds tasks by name, or by the path of their file.
func selectTasks(o *TaskFlags, names []string) (*eval.Selection, error) {
	r, err := o.registry()
	if err != nil {
		return nil, err
	}
	var found []string
	for _, n := range names {
		if ext := filepath.Ext(n); ext != ".yaml" && ext != ".yml" {
			found = append(found, n)
			continue
		}
		defined, err := r.AddPath(n)
		if err != nil {
			return nil, err
		}
		found = append(found, defined...)
	}
	return r.Select(found)
}

// parseGenKwargs reads key=value,key=value; values are numbers, true, false or text.
func parseGenKwargs(s string) (map[string]any, error) {
	out := map[string]any{}
	for part := range strings.SplitSeq(s, ",") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		key, text, ok := strings.Cut(part, "=")
		if !ok {
			return nil, usageErrorf("--gen-kwargs: expected key=value, found %q", part)
		}
		var value any = text
		if n, err := strconv.Atoi(text); err == nil {
			value = n
		} else if f, err := strconv.ParseFloat(text, 64); err == nil {
			value = f
		} else if b, err := strconv.ParseBool(text); err == nil {
			value = b
		}
		out[strings.TrimSpace(key)] = value
	}
	return out, nil
}

// taskData reads --data: FILE for all splits, or SPLIT=FILE.
func taskData(ctx context.Context, app *App, given []string) (eval.DataFiles, error) {
	files := eval.DataFiles{}
	for _, g := range given {
		split, path, named := strings.Cut(g, "=")
		if _, err := os.Stat(g); err == nil || !named {
			split, path = "", g
		}
		path, err := resolveData(ctx, app, path)
		if err != nil {
			return nil, err
		}
		paths, err := data.Source{Path: path, Split: split}.Expand()
		if err != nil {
			return nil, err
		}
		files[split] = append(files[split], paths...)
	}
	return files, nil
}

// runTasks evaluates tasks and prints or writes what it finds. extra are results that are there already.
func runTasks(ctx context.Context, app *App, o *EvalOptions, names []string, lm *eval.LM, tok *tokenizer.Tokenizer) (*eval.Results, error) {
	selection, err := selectTasks(&o.TaskFlags, names)
	if err != nil {
		return nil, err
	}
	kwargs, err := parseGenKwargs(o.GenKwargs)
	if err != nil {
		return nil, err
	}
	files, err := taskData(ctx, app, o.Data)
	if err != nil {
		return nil, err
	}
	eo := eval.Options{
		Limit: o.Limit, Seed: o.Seed, SystemInstruction: o.SystemInstruction, ApplyChatTemplate: o.ApplyChatTemplate, Multiturn: !o.OneTurn,
		GenKwargs: kwargs, BatchSize: o.BatchSize, BootstrapIters: o.BootstrapIters, Data: files, Closest: config.Closest,
		Warn: func(m string) { app.Log.Warn(m) },
	}
	if o.AllowCodeExecution {
		eo.Execute = func(ctx context.Context, programs []string, done func(int, bool) error) error {
			return runPrograms(ctx, app, programs, o.CodeTimeout, func(i int, v sandbox.Verdict) error { return done(i, v.Status == sandbox.Passed) })
		}
	}
	if o.NumFewshot >= 0 {
		eo.NumFewshot = &o.NumFewshot
	}
	if o.ApplyChatTemplate {
		t, warning, err := data.ResolveTemplate(o.ChatTemplate, tok, time.Time{})
		if err != nil {
			return nil, err
		}
		if warning != "" {
			app.Log.Warn(warning)
		}
		lm.UseTemplate(t)
	}
	var journal *eval.Journal
	if o.Output != "" {
		if journal, err = openJournal(app, o); err != nil {
			return nil, err
		}
		defer func() { _ = journal.Close() }() // every answer was written and synced when it came
	}
	w := app.Err
	if app.Quiet {
		w = io.Discard
	}
	counter := ui.NewCounter(w, ui.IsTerminal(w), "requests")
	eo.Progress = counter.Set
	res, err := eval.Evaluate(ctx, lm, selection, eo, journal)
	counter.Finish()
	if err != nil {
		return nil, keptNote(err, o.Output, journal)
	}
	res.Config = map[string]any{
		"model": o.Model, "adapter": o.Adapter, "limit": o.Limit, "seed": o.Seed, "bootstrap_iters": o.BootstrapIters,
		"apply_chat_template": o.ApplyChatTemplate, "fewshot_as_multiturn": o.ApplyChatTemplate && !o.OneTurn,
		"system_instruction": o.SystemInstruction, "gen_kwargs": kwargs, "mltrain": versionInfo().Version,
	}
	return res, nil
}

// keptNote says how an evaluation goes on that did not come to its end.
func keptNote(err error, output string, j *eval.Journal) error {
	if j == nil || j.Len() == 0 {
		return err
	}
	if errors.Is(err, context.Canceled) {
		return &ExitError{Code: exitInterrupted, Err: fmt.Errorf("interrupted; %d answers are kept in %s: the same command goes on from there", j.Len(), output)}
	}
	return fmt.Errorf("%w\n%d answers are kept in %s", err, j.Len(), output)
}

// openJournal opens the file of answers in the output directory.
func openJournal(app *App, o *EvalOptions) (*eval.Journal, error) {
	if err := os.MkdirAll(o.Output, 0o777); err != nil {
		return nil, err
	}
	path := filepath.Join(o.Output, eval.JournalFile)
	if o.Overwrite {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	print, err := fingerprint(o.Model, o.Adapter)
	if err != nil {
		return nil, err
	}
	j, err := eval.OpenJournal(path, print)
	if err == nil && j.Len() > 0 {
		app.Log.Info("going on with the answers that are there", "file", path, "answers", j.Len())
	}
	return j, err
}

// fingerprint tells models apart: by the contents of the small files of their directories, by size and time of the large.
func fingerprint(dirs ...string) (string, error) {
	h := sha256.New()
	for _, dir := range dirs {
		if dir == "" {
			continue
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			return "", err
		}
		for _, e := range entries {
			ext := filepath.Ext(e.Name())
			if e.IsDir() || !slices.Contains([]string{".json", ".safetensors", ".model", ".txt", ".jinja"}, ext) {
				continue
			}
			if ext == ".safetensors" {
				info, err := e.Info()
				if err != nil {
					return "", err
				}
				fmt.Fprintf(h, "%s %d %d\n", e.Name(), info.Size(), info.ModTime().UnixNano())
				continue
			}
			raw, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				return "", err
			}
			fmt.Fprintf(h, "%s %x\n", e.Name(), sha256.Sum256(raw))
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// writeResults writes results.json and, if asked for, the samples of each task.
func writeResults(o *EvalOptions, res *eval.Results) error {
	write := func(name string, v func(*json.Encoder) error) error {
		return checkpoint.WriteAtomic(filepath.Join(o.Output, name), func(w io.Writer) error {
			enc := json.NewEncoder(w)
			enc.SetEscapeHTML(false)
			return v(enc)
		})
	}
	err := write(ResultsFile, func(enc *json.Encoder) error {
		enc.SetIndent("", "  ")
		return enc.Encode(res)
	})
	if err != nil || !o.LogSamples {
		return err
	}
	for task, samples := range res.Samples {
		name := "samples_" + strings.NewReplacer("/", "_", ":", "_").Replace(task) + ".jsonl"
		if err := write(name, func(enc *json.Encoder) error {
			for _, s := range samples {
				if err := enc.Encode(s); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// printTable shows results as lm-evaluation-harness does.
func printTable(w io.Writer, res *eval.Results) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "task\tfilter\tn-shot\trows\tmetric\tvalue\tstderr\t95 %")
	for _, task := range res.Tasks() {
		m := res.Results[task]
		var keys []string
		for k := range m {
			if name, _, ok := strings.Cut(k, ","); ok && !strings.HasSuffix(name, "_stderr") {
				keys = append(keys, k)
			}
		}
		slices.Sort(keys)
		for _, k := range keys {
			name, filter, _ := strings.Cut(k, ",")
			se, interval := "", ""
			if x, ok := m[name+"_stderr,"+filter].(float64); ok {
				se = fmt.Sprintf("± %.4f", x)
			}
			if r, ok := res.Confidence95[task][k]; ok {
				interval = fmt.Sprintf("%.4f … %.4f", r[0], r[1])
			}
			shots := "-"
			if n, ok := res.NShot[task]; ok {
				shots = strconv.Itoa(n)
			}
			fmt.Fprintf(tw, "%v\t%s\t%s\t%v\t%s\t%s\t%s\t%s\n", m["alias"], filter, shots, m["sample_len"], name, number(m[k]), se, interval)
		}
	}
	return tw.Flush()
}

func number(v any) string {
	if x, ok := v.(float64); ok {
		return fmt.Sprintf("%.4f", x)
	}
	return fmt.Sprint(v)
}

// openLM loads what eval measures.
func openLM(ctx context.Context, app *App, o *EvalOptions) (*eval.LM, *tokenizer.Tokenizer, func(), error) {
	var err error
	if o.Model, err = resolveModel(ctx, app, o.Model); err != nil {
		return nil, nil, nil, err
	}
	if o.Adapter != "" {
		if o.Adapter, err = resolveModel(ctx, app, o.Adapter); err != nil {
			return nil, nil, nil, err
		}
	}
	tok, err := tokenizer.Load(o.Model)
	if err != nil {
		return nil, nil, nil, err
	}
	engine, closeEngine, err := openEngine(app.Log, o.Model, o.Adapter, o.Device, 0)
	if err != nil {
		return nil, nil, nil, err
	}
	return eval.NewLM(engine, tok, train.StopTokens(o.Model, tok)), tok, closeEngine, nil
}
