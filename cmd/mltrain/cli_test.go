package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/mltrain/mltrain/internal/config"
)

// mltrain runs a command line in this process.
func mltrain(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errw bytes.Buffer
	code = execute(t.Context(), newApp(strings.NewReader(""), &out, &errw), args)
	return code, out.String(), errw.String()
}

func TestUsageFaultsExitWithTwo(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"confg"}, "error: unknown command \"confg\" for \"mltrain\" (did you mean config?)\n  see 'mltrain --help'\n"},
		{[]string{"config", "shwo"}, "error: unknown command \"shwo\" for \"mltrain config\" (did you mean show?)\n  see 'mltrain config --help'\n"},
		{[]string{"config", "show", "--max-stepz", "3"}, "error: unknown flag: --max-stepz (did you mean --max-steps?)\n  see 'mltrain config show --help'\n"},
		{[]string{"config", "show", "--lerning-rate", "3"}, "error: unknown flag: --lerning-rate (a key of the run config: use --set learning_rate=VALUE)\n  see 'mltrain config show --help'\n"},
		{[]string{"config", "show", "--max-steps", "x"}, "error: flag --max-steps: expected a whole number, found \"x\"\n  see 'mltrain config show --help'\n"},
		{[]string{"version", "now"}, "error: \"mltrain version\" takes no arguments, found \"now\"\n  see 'mltrain version --help'\n"},
		{[]string{"config", "check", "--command", "stf"}, "error: --command: no such training command: \"stf\" (have pretrain, sft, lora, dpo, reward)\n"},
	} {
		code, stdout, stderr := mltrain(t, tc.args...)
		if code != exitUsage || stdout != "" {
			t.Errorf("%q: exit code %d, stdout %q", tc.args, code, stdout)
		}
		if d := cmp.Diff(tc.want, stderr); d != "" {
			t.Errorf("%q: %s", tc.args, d)
		}
	}
	t.Setenv("MLTRAIN_LOG", "loud")
	if code, _, stderr := mltrain(t, "version"); code != exitUsage || !strings.Contains(stderr, "MLTRAIN_LOG: expected debug, info, warn or error") {
		t.Errorf("MLTRAIN_LOG=loud: exit code %d, %q", code, stderr)
	}
}

func TestCommandsOfTheDesignAreRefusedByName(t *testing.T) {
	root := newRootCommand(newApp(strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{}))
	for _, c := range root.Commands() {
		if !c.DisableFlagParsing || c.Name() == cobra.ShellCompRequestCmd || c.Name() == sandboxInit {
			continue
		}
		code, _, stderr := mltrain(t, c.Name(), "--model", "x")
		if want := "error: mltrain " + c.Name() + " is not available in this version"; code != exitUsage || !strings.HasPrefix(stderr, want) {
			t.Errorf("%s: exit code %d, %q", c.Name(), code, stderr)
		}
	}
	for _, name := range unavailable() {
		if c, _, err := root.Find([]string{name}); err != nil || c.Name() != name {
			t.Errorf("%s: neither a command nor refused by name", name)
		}
	}
}

func TestEveryCommandHasAnExample(t *testing.T) {
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		if c.Name() == "help" || c.Name() == "completion" || c.DisableFlagParsing {
			return
		}
		if c.Short == "" || !strings.Contains(c.Example, "mltrain") {
			t.Errorf("%s: no summary or no example", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(newRootCommand(newApp(strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{})))
}

func TestConfigCheck(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "good.yaml", "learning_rate: 1e-5\n")
	write(t, "bad.yaml", "lerning_rate: 1e-5\nmax_length: 0\n")
	write(t, "one.yaml", "seed: x\n")
	code, stdout, stderr := mltrain(t, "config", "check", "-c", "good.yaml")
	if code != 0 || stdout != "good.yaml: no faults (as a config of mltrain sft)\n" || stderr != "" {
		t.Errorf("good.yaml: %d %q %q", code, stdout, stderr)
	}
	code, stdout, stderr = mltrain(t, "config", "check", "-c", "bad.yaml")
	want := "error: 2 faults\n" +
		"  bad.yaml:1: lerning_rate: unknown key (did you mean \"learning_rate\"?)\n" +
		"  bad.yaml:2: max_length: must be at least 1, found 0\n"
	if d := cmp.Diff(want, stderr); code != exitFailed || stdout != "" || d != "" {
		t.Errorf("bad.yaml: %d %q %s", code, stdout, d)
	}
	code, _, stderr = mltrain(t, "config", "check", "-c", "one.yaml")
	if code != exitFailed || stderr != "error: one.yaml:1: seed: expected a whole number, found the text \"x\"\n" {
		t.Errorf("one.yaml: %d %q", code, stderr)
	}
	code, stdout, stderr = mltrain(t, "config", "check", "-c", "bad.yaml", "--json")
	var got checkResult
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	if code != exitFailed || stderr != "" || got.OK || len(got.Faults) != 2 || got.Faults[0].Place != "bad.yaml:1" {
		t.Errorf("bad.yaml as JSON: %d %q %+v", code, stderr, got)
	}
	code, _, stderr = mltrain(t, "config", "check", "-c", "absent.yaml")
	if code != exitFailed || !strings.Contains(stderr, "absent.yaml") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("absent.yaml: %d %q", code, stderr)
	}
}

func TestConfigShowKnowsTheFlags(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("MLTRAIN_WEIGHT_DECAY", "0.1")
	write(t, "run.yaml", "max_steps: 5\nseed: 1\nlr: 1e-5\n")
	code, stdout, _ := mltrain(t, "config", "show", "-c", "run.yaml", "--changed", "--data", "a.jsonl", "--data", "b.jsonl",
		"--max_steps", "7", "--resume", "--overwrite", "--model", "m", "--output=o", "--device", "cpu", "--set", "max_length=64")
	want := `# mltrain sft
model_name_or_path: m # flag --model
device: cpu # flag --device
datasets: [{path: a.jsonl}, {path: b.jsonl}] # flag --data
max_length: 64 # flag --set
output_dir: o # flag --output
overwrite_output_dir: true # flag --overwrite
resume_from_checkpoint: true # flag --resume
max_steps: 7 # flag --max-steps
seed: 1 # run.yaml:2
learning_rate: 1.0e-05 # run.yaml:3 as lr
weight_decay: 0.1 # env MLTRAIN_WEIGHT_DECAY
`
	if d := cmp.Diff(want, stdout); code != 0 || d != "" {
		t.Errorf("exit code %d: %s", code, d)
	}
	code, stdout, _ = mltrain(t, "config", "show", "-c", "run.yaml", "--json", "--resume=out/checkpoint-5")
	var got map[string]shownKey
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 0 {
		t.Fatalf("exit code %d: %v", code, err)
	}
	if got["resume_from_checkpoint"].Value != "out/checkpoint-5" || got["optim"].Origin != "default" || len(got) != len(config.Keys()) {
		t.Errorf("as JSON: %d keys, %+v", len(got), got["resume_from_checkpoint"])
	}
}

// TestKeyFlagsSetRealKeys holds the shared flags to the run config.
func TestKeyFlagsSetRealKeys(t *testing.T) {
	cmd := &cobra.Command{Use: "x"}
	var f TrainFlags
	f.Register(cmd)
	for name, key := range keyFlags() {
		flag := cmd.Flags().Lookup(name)
		if flag == nil {
			t.Errorf("no flag --%s", name)
			continue
		}
		r, err := config.Load(config.LoadOptions{Command: "sft"})
		if err != nil {
			t.Fatal(err)
		}
		v, ok := r.Value(key)
		if !ok {
			t.Errorf("--%s sets %s, which is no key", name, key)
		}
		// A default shown in the help must be the one that holds.
		if flag.DefValue != "" && flag.DefValue != "[]" && flag.DefValue != fmt.Sprint(v) {
			t.Errorf("--%s: the help says %s, the config %v", name, flag.DefValue, v)
		}
	}
}

func TestSchemaVersionAndManPages(t *testing.T) {
	code, stdout, _ := mltrain(t, "config", "schema")
	if code != 0 || !json.Valid([]byte(stdout)) {
		t.Errorf("schema: exit code %d, valid %t", code, json.Valid([]byte(stdout)))
	}
	code, stdout, _ = mltrain(t, "version", "--json")
	var v VersionInfo
	if err := json.Unmarshal([]byte(stdout), &v); err != nil || code != 0 || v.Version == "" || v.Go == "" {
		t.Errorf("version: %d %v %+v", code, err, v)
	}
	dir := filepath.Join(t.TempDir(), "man1")
	if code, _, stderr := mltrain(t, "docs", "man", dir); code != 0 {
		t.Errorf("docs man: %d %q", code, stderr)
	}
	page, err := os.ReadFile(filepath.Join(dir, "mltrain-config-check.1"))
	if err != nil || !bytes.Contains(page, []byte("mltrain config check -c run.yaml")) {
		t.Errorf("man page: %v", err)
	}
	code, stdout, _ = mltrain(t, "__complete", "config", "show", "--device", "")
	if code != 0 || !strings.Contains(stdout, "emulator") {
		t.Errorf("completion: %d %q", code, stdout)
	}
	for typed, want := range map[string]string{"learn": "learning_rate=", "packing_strategy=": "packing_strategy=wrapped", "packing=": "packing=true"} {
		if code, stdout, _ := mltrain(t, "__complete", "sft", "--set", typed); code != 0 || !strings.Contains(stdout, want) {
			t.Errorf("completion of --set %s: %d %q, want %s", typed, code, stdout, want)
		}
	}
}

func TestExitCodes(t *testing.T) {
	for _, tc := range []struct {
		err  error
		code int
		text string
	}{
		{nil, 0, ""},
		{errors.New("x"), 1, "error: x\n"},
		{fmt.Errorf("run: %w", context.Canceled), 130, "interrupted\n"},
		{usageErrorf("x"), 2, "error: x\n"},
		{&ExitError{Code: 1}, 1, ""},
		{errors.Join(errors.New("a"), errors.New("b")), 1, "error: 2 faults\n  a\n  b\n"},
		{config.Faults{{Key: "a", Text: "b"}}, 1, "error: a: b\n"},
		{errors.New("x\ny"), 1, "error: x\n  y\n"},
	} {
		var out bytes.Buffer
		if tc.err != nil {
			printError(&out, tc.err)
		}
		if exitCode(tc.err) != tc.code || out.String() != tc.text {
			t.Errorf("%v: exit code %d, printed %q", tc.err, exitCode(tc.err), out.String())
		}
	}
}

func TestQuietProgressIsSilent(t *testing.T) {
	var errw bytes.Buffer
	app := newApp(strings.NewReader(""), &bytes.Buffer{}, &errw)
	app.Quiet = true
	if err := app.setLogLevel(); err != nil {
		t.Fatal(err)
	}
	p, log := app.NewProgress(10)
	fmt.Fprintln(p, "a line")
	log.Info("not shown")
	log.Warn("shown")
	p.Finish()
	if got := errw.String(); got != "warning: shown\n" {
		t.Errorf("stderr %q", got)
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
