package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// loadText loads a config with the given YAML as run.yaml in a fresh directory.
func loadText(t *testing.T, command, text string, set ...string) (*Resolved, error) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("run.yaml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(LoadOptions{Command: command, Path: "run.yaml", Set: set})
}

func mustLoad(t *testing.T, command, text string, set ...string) *Resolved {
	t.Helper()
	r, err := loadText(t, command, text, set...)
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	return r
}

// faultLines returns the faults of a config that must not load.
func faultLines(t *testing.T, command, text string, set ...string) []string {
	t.Helper()
	_, err := loadText(t, command, text, set...)
	var fs Faults
	if !errors.As(err, &fs) {
		t.Fatalf("load: got %v, want Faults", err)
	}
	return strings.Split(fs.Error(), "\n")
}

func TestDefaultsOfEachCommand(t *testing.T) {
	for _, tc := range []struct {
		command string
		text    string
		rate    float64
		peft    bool
	}{
		{"sft", "", 2e-5, false},
		{"sft", "use_peft: true", 2e-4, true},
		{"pretrain", "", 3e-4, false},
		{"lora", "", 2e-4, true},
		{"dpo", "", 1e-6, false},
		{"dpo", "adapter: lora", 1e-5, true},
		{"reward", "", 1e-4, false},
		{"sft", "learning_rate: 1e-5\nuse_peft: true", 1e-5, true},
	} {
		r := mustLoad(t, tc.command, tc.text)
		if r.LearningRate != tc.rate || r.UsePeft != tc.peft {
			t.Errorf("%s with %q: learning_rate %g use_peft %t, want %g %t", tc.command, tc.text, r.LearningRate, r.UsePeft, tc.rate, tc.peft)
		}
	}
	if _, err := Load(LoadOptions{Command: "stf"}); !errors.Is(err, ErrCommand) {
		t.Errorf("unknown command: got %v, want ErrCommand", err)
	}
}

func TestValuesAreDecoded(t *testing.T) {
	r := mustLoad(t, "sft", `
model_name_or_path: models/tiny
datasets:
  - a.jsonl
  - {path: b.jsonl, type: sharegpt, fraction: 0.5, columns: {prompt: question}}
learning_rate: 1e-5
max_length: 1e3
max_steps: 20
warmup_steps: 0.1
bf16: auto
gradient_checkpointing: true
lr_scheduler_type: cosine_with_min_lr
lr_scheduler_kwargs: {min_lr_rate: 0.1, num_cycles: 1}
report_to: tensorboard
optim: adamw_torch_fused
freeze: ["model.embed*"]
attention_dropout: 0.1
save_strategy: no
resume_from_checkpoint: true
`)
	want := []Dataset{
		{Path: "a.jsonl", Type: "auto", Fraction: 1},
		{Path: "b.jsonl", Type: "conversations", Fraction: 0.5, Columns: map[string]string{"prompt": "question"}},
	}
	if d := cmp.Diff(want, r.TrainDatasets()); d != "" {
		t.Error(d)
	}
	if r.LearningRate != 1e-5 || r.MaxLength != 1000 || r.Warmup(20) != 2 || !r.BF16.IsAuto() || !r.GradientCheckpointing.Or(false) {
		t.Errorf("scalars: %+v", r.Config)
	}
	if d := cmp.Diff(map[string]any{"min_lr_rate": 0.1, "num_cycles": 1}, r.LRSchedulerKwargs); d != "" {
		t.Error(d)
	}
	if r.Optim != "adamw" || r.SaveStrategy != "no" || r.AttentionDropout.Or(0) != 0.1 || !r.ResumeFromCheckpoint.On {
		t.Errorf("texts: %+v", r.Config)
	}
	if d := cmp.Diff([]string{"tensorboard"}, r.ReportTo); d != "" {
		t.Error(d)
	}
}

func TestFaultsAreReportedTogether(t *testing.T) {
	got := faultLines(t, "sft", `learning_rte: 1e-5
max_length: 0
optim: adamm
lr_scheduler_type: polynomial
bf16: maybe
per_device_train_batch_size: two
fp16: true
output_dir: 2024
datasets: [{pth: a.jsonl, fraction: 2}]
lora_target_modules: []
seed: 1.5
weight_decay: "0.1"
freeze: {a: b}
`)
	want := []string{
		`run.yaml:1: learning_rte: unknown key (did you mean "learning_rate"?)`,
		`run.yaml:2: max_length: must be at least 1, found 0`,
		`run.yaml:3: optim: expected one of sgd, adam, adamw, adamw_8bit, lion, found "adamm" (did you mean "adam"?)`,
		`run.yaml:4: lr_scheduler_type: polynomial is known, but not supported yet; use linear, cosine or wsd`,
		`run.yaml:5: bf16: expected auto or true or false, found the text "maybe"`,
		`run.yaml:6: per_device_train_batch_size: expected a whole number, found the text "two"`,
		`run.yaml:7: fp16: known, but not supported; use bf16, or leave both out for float32`,
		`run.yaml:8: output_dir: expected a text, found the number 2024 (put it in quotes if you mean it)`,
		`run.yaml:9: datasets: unknown key "pth" in a dataset (did you mean "path"?)`,
		`run.yaml:9: datasets: fraction: must be at most 1, found 2`,
		`run.yaml:10: lora_target_modules: expected all-linear, a list of module names, or a regular expression, found an empty list`,
		`run.yaml:11: seed: expected a whole number, found the number 1.5`,
		`run.yaml:12: weight_decay: expected a number, found the text "0.1"`,
		`run.yaml:13: freeze: expected a list, found a mapping`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestFileFaults(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"twice", "seed: 1\nlr: 1\nseed: 2\n", "run.yaml:3: seed: given twice (first at run.yaml:1)"},
		{"alias and canonical", "lr: 1e-4\nlearning_rate: 1e-4\n", "run.yaml:2: learning_rate: both lr and learning_rate set learning_rate (the other at run.yaml:1); keep one"},
		{"two documents", "seed: 1\n---\nseed: 2\n", "run.yaml:2: a run config is one document; remove the second one"},
		{"list", "- seed\n", "run.yaml:1: expected keys with values (key: value), found a list"},
		{"syntax", "seed: [1\n", "run.yaml: line 1: did not find expected ',' or ']'"},
		{"macro against canonical", "adapter: qlora\nload_in_4bit: false\n", "run.yaml:2: load_in_4bit: both adapter and load_in_4bit set load_in_4bit (the other at run.yaml:1); keep one"},
		{"merge key", "a: &a {seed: 1}\n<<: *a\n", "run.yaml:2: expected a key, found the text \"<<\"\nrun.yaml:1: a: unknown key"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if d := cmp.Diff(strings.Split(tc.want, "\n"), faultLines(t, "sft", tc.text)); d != "" {
				t.Error(d)
			}
		})
	}
	for _, text := range []string{"", "# nothing\n", "~\n", "seed:\n"} {
		if r := mustLoad(t, "sft", text); r.Seed != 42 {
			t.Errorf("%q: seed %d, want the default", text, r.Seed)
		}
	}
	if _, err := Load(LoadOptions{Command: "sft", Path: "absent.yaml"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent file: got %v", err)
	}
}

func TestAliases(t *testing.T) {
	for _, tc := range []struct {
		text  string
		check func(c *Config) bool
	}{
		{"base_model: x", func(c *Config) bool { return c.ModelNameOrPath == "x" }},
		{"dataset: d", func(c *Config) bool { return c.TrainDatasets()[0].Path == "d" }},
		{"dataset_dir: d", func(c *Config) bool { return c.DatasetName == "d" }},
		{"sequence_len: 7", func(c *Config) bool { return c.MaxLength == 7 }},
		{"cutoff_len: 7", func(c *Config) bool { return c.MaxLength == 7 }},
		{"micro_batch_size: 3", func(c *Config) bool { return c.PerDeviceTrainBatchSize == 3 }},
		{"num_epochs: 0.5", func(c *Config) bool { return c.NumTrainEpochs == 0.5 }},
		{"lr: 1", func(c *Config) bool { return c.LearningRate == 1 }},
		{"lr_scheduler: cosine", func(c *Config) bool { return c.LRSchedulerType == "cosine" }},
		{"optimizer: sgd", func(c *Config) bool { return c.Optim == "sgd" }},
		{"sample_packing: true", func(c *Config) bool { return c.Packing }},
		{"train_on_inputs: false", func(c *Config) bool { return c.AssistantOnlyLoss && c.CompletionOnlyLoss.Or(false) }},
		{"train_on_inputs: true", func(c *Config) bool { return !c.AssistantOnlyLoss && !c.CompletionOnlyLoss.Or(true) }},
		{"{use_peft: true, lora_rank: 4}", func(c *Config) bool { return c.LoraR == 4 }},
		{"{use_peft: true, lora_target: [q_proj]}", func(c *Config) bool { return c.LoraTargetModules.Names[0] == "q_proj" }},
		{"{use_peft: true, lora_target: all}", func(c *Config) bool { return c.LoraTargetModules.IsAllLinear() }},
		{"{use_peft: true, lora_target_linear: true}", func(c *Config) bool { return c.LoraTargetModules.IsAllLinear() }},
		{"adapter: lora", func(c *Config) bool { return c.UsePeft && !c.LoadIn4bit }},
		{"{adapter: qlora, load_in_4bit: true}", func(c *Config) bool { return c.UsePeft && c.LoadIn4bit }},
		{"finetuning_type: full", func(c *Config) bool { return !c.UsePeft }},
		{"{finetuning_type: lora, quantization_bit: 4, double_quantization: true}", func(c *Config) bool { return c.LoadIn4bit && c.UseBnBNestedQuant }},
		{"group_by_length: true", func(c *Config) bool { return c.TrainSamplingStrategy == "group_by_length" }},
		{"use_cpu: true", func(c *Config) bool { return c.Device == "cpu" }},
	} {
		if r := mustLoad(t, "sft", tc.text); !tc.check(&r.Config) {
			t.Errorf("%s: not taken over", tc.text)
		}
	}
	for _, tc := range []struct {
		text  string
		check func(c *Config) bool
	}{
		{"rl_beta: 0.2", func(c *Config) bool { return c.Beta == 0.2 }},
		{"pref_beta: 0.2", func(c *Config) bool { return c.Beta == 0.2 }},
		{"pref_loss: ipo", func(c *Config) bool { return c.LossType[0] == "ipo" }},
		{"dpo_loss_type: [hinge, sft]", func(c *Config) bool { return c.LossType[1] == "sft" }},
		{"rpo_alpha: 0.3", func(c *Config) bool {
			return cmp.Equal(c.LossType, []string{"sigmoid", "sft"}) && cmp.Equal(c.LossWeights, []float64{1, 0.3})
		}},
	} {
		if r := mustLoad(t, "dpo", tc.text); !tc.check(&r.Config) {
			t.Errorf("dpo %s: not taken over", tc.text)
		}
	}
}

func TestPrecedenceAndOrigin(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "run.yaml")
	text := "preset: smoke\nseed: 1\nlr: 1e-4\nmax_length: 100\ndataset_name: file.jsonl\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("MLTRAIN_SEED", "2")
	t.Setenv("MLTRAIN_MAX_LENGTH", "200")
	t.Setenv("MLTRAIN_LOG", "debug")
	r, err := Load(LoadOptions{
		Command: "sft", Path: path,
		Set:   []string{"weight_decay=0.5", "seed=3", "freeze=a*,b*", "weight_decay=0.1"},
		Flags: []Flag{{Name: "--data", Key: "datasets", Values: []string{"a,b.jsonl", "7"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.Seed != 3 || r.MaxLength != 200 || r.LearningRate != 1e-4 || r.MaxSteps != 10 || r.WeightDecay != 0.1 {
		t.Errorf("values: seed %d max_length %d lr %g max_steps %d weight_decay %g", r.Seed, r.MaxLength, r.LearningRate, r.MaxSteps, r.WeightDecay)
	}
	if d := cmp.Diff([]Dataset{newDataset("a,b.jsonl"), newDataset("7")}, r.TrainDatasets()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"a*", "b*"}, r.Freeze); d != "" {
		t.Error(d)
	}
	file := filepath.ToSlash(path)
	for key, want := range map[string]string{
		"seed": "flag --set", "max_length": "env MLTRAIN_MAX_LENGTH", "learning_rate": file + ":3 as lr",
		"max_steps": "preset smoke:2", "optim": "default", "datasets": "flag --data", "dataset_name": "default",
		"no_such_key": "",
	} {
		if got := r.Origin(key); got != want {
			t.Errorf("origin of %s: got %q, want %q", key, got, want)
		}
	}
}

func TestShellFaults(t *testing.T) {
	t.Setenv("MLTRAIN_LERNING_RATE", "1")
	t.Setenv("MLTRAIN_MAX_STEPS", "many")
	got := faultLines(t, "sft", "", "lr", "learning-rate=1", "lr=fast", "betas=[1", "preset=smok")
	want := []string{
		`flag --set: expected key=value, found "lr"`,
		`flag --set: betas: cannot read the value "[1": line 1: did not find expected ',' or ']'`,
		`flag --set: learning-rate: unknown key (did you mean "learning_rate"?)`,
		`flag --set: lr: expected a number, found the text "fast"`,
		`env MLTRAIN_LERNING_RATE: unknown key (did you mean MLTRAIN_LEARNING_RATE?)`,
		`env MLTRAIN_MAX_STEPS: max_steps: expected a whole number, found the text "many"`,
		`flag --set: preset: no preset is called "smok" (did you mean "smoke"?); have long-context, qlora, smoke, or name a .yaml file`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestRulesBetweenKeys(t *testing.T) {
	for _, tc := range []struct{ name, command, text, want string }{
		{"eval without data", "sft", "eval_strategy: steps", "run.yaml:1: eval_strategy: steps needs rows to evaluate on: set eval_dataset or test_size"},
		{"best without eval", "sft", "load_best_model_at_end: true", "run.yaml:1: load_best_model_at_end: needs evaluations: set eval_strategy, and eval_dataset or test_size"},
		{"best without multiple", "sft", "{load_best_model_at_end: true, test_size: 0.1, eval_steps: 30, save_steps: 50}", "run.yaml:1: load_best_model_at_end: save_steps 50 must be a multiple of eval_steps 30, so that each checkpoint has been evaluated"},
		{"best with other strategy", "sft", "{load_best_model_at_end: true, test_size: 0.1, save_strategy: epoch}", "run.yaml:1: load_best_model_at_end: save_strategy epoch and eval_strategy steps must be the same, or save_strategy best"},
		{"both warm-ups", "sft", "{warmup_steps: 5, warmup_ratio: 0.1}", "run.yaml:1: warmup_ratio: given beside warmup_steps; keep one of the two"},
		{"tokens and steps", "pretrain", "{max_tokens: 5, max_steps: 5}", "run.yaml:1: max_tokens: given beside max_steps; keep one of the two"},
		{"warm-up steps with tokens", "sft", "{max_tokens: 5, warmup_steps: 2}", "run.yaml:1: warmup_steps: with max_tokens the learning rate goes by tokens; use warmup_tokens or warmup_ratio"},
		{"warm-up tokens with steps", "sft", "warmup_tokens: 5", "run.yaml:1: warmup_tokens: needs max_tokens; without it the learning rate goes by steps, and warmup_steps or warmup_ratio is meant"},
		{"too many warm-up tokens", "sft", "{max_tokens: 5, warmup_tokens: 6}", "run.yaml:1: warmup_tokens: 6 warm-up tokens do not fit into max_tokens 5"},
		{"warm-up tokens and ratio", "sft", "{max_tokens: 5, warmup_tokens: 1, warmup_ratio: 0.1}", "run.yaml:1: warmup_tokens: given beside warmup_steps or warmup_ratio; keep one of them"},
		{"tokens of pairs", "dpo", "max_tokens: 5", "run.yaml:1: max_tokens: belongs to mltrain pretrain and mltrain sft and mltrain lora, and this is mltrain dpo; remove it"},
		{"no steps", "sft", "max_steps: 0", "run.yaml:1: max_steps: 0 steps train nothing; use a positive number, or -1 to go by num_train_epochs"},
		{"datasets and name", "sft", "{datasets: [a], dataset_name: b}", "run.yaml:1: dataset_name: given beside datasets; put it into that list"},
		{"foreign key", "sft", "beta: 0.2", "run.yaml:1: beta: belongs to mltrain dpo, and this is mltrain sft; remove it"},
		{"lora key without adapter", "sft", "lora_r: 8", "run.yaml:1: lora_r: has no effect without use_peft; set use_peft true, or remove it"},
		{"4 bits without adapter", "sft", "load_in_4bit: true", "run.yaml:1: load_in_4bit: 4-bit weights cannot be trained themselves; set use_peft true as well"},
		{"bad regexp", "lora", "lora_target_modules: '('", "run.yaml:1: lora_target_modules: cannot read the regular expression: error parsing regexp: missing closing ): `(`"},
		{"weights", "dpo", "{loss_type: [sigmoid, sft], loss_weights: [1]}", "run.yaml:1: loss_weights: expected one weight for each of the 2 losses of loss_type, found 1"},
		{"exo_pair", "dpo", "loss_type: exo_pair", "label_smoothing: exo_pair takes the logarithm of it: set it above 0"},
		{"scheduler option", "sft", "{lr_scheduler_type: cosine, lr_scheduler_kwargs: {num_cycle: 1}}", `run.yaml:1: lr_scheduler_kwargs: cosine has no option "num_cycle" (did you mean "num_cycles"?); it has num_cycles`},
		{"momentum", "sft", "momentum: 0.9", "run.yaml:1: momentum: belongs to optim sgd, and optim is adamw; set adam_beta1, or remove it"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if d := cmp.Diff([]string{tc.want}, faultLines(t, tc.command, tc.text)); d != "" {
				t.Error(d)
			}
		})
	}
	if r := mustLoad(t, "sft", "test_size: 0.1"); r.EvalStrategy != "steps" || r.EvalEvery(100) != 10 {
		t.Errorf("with test_size: eval_strategy %s every %d", r.EvalStrategy, r.EvalEvery(100))
	}
	r := mustLoad(t, "sft", "")
	var fs Faults
	if err := r.RequireRun(); !errors.As(err, &fs) || len(fs) != 3 {
		t.Errorf("RequireRun of an empty config: %v", err)
	}
}

func TestBestMetric(t *testing.T) {
	for _, tc := range []struct {
		text, name string
		greater    bool
	}{
		{"", "eval_loss", false},
		{"metric_for_best_model: accuracy", "eval_accuracy", true},
		{"{metric_for_best_model: eval_kl, greater_is_better: false}", "eval_kl", false},
	} {
		r := mustLoad(t, "sft", tc.text)
		if name, greater := r.BestMetric(); name != tc.name || greater != tc.greater {
			t.Errorf("%q: %s %t", tc.text, name, greater)
		}
	}
}

func TestUnsupportedIsRefusedByName(t *testing.T) {
	if err := Unsupported(mustLoad(t, "sft", "")); err != nil {
		t.Errorf("the defaults must be supported: %v", err)
	}
	tab := newTable()
	for _, p := range notBuilt() {
		for _, key := range p.keys {
			r := mustLoad(t, "sft", "")
			r.origins[key] = origin{place: "run.yaml:1"}
			v := reflect.ValueOf(&r.Config).Elem().FieldByIndex(tab.byKey[key].index)
			values := p.values
			if len(values) == 0 {
				values = []string{""}
			}
			for _, value := range values {
				want := "run.yaml:1: " + key + ": "
				switch {
				case v.Type() == reflect.TypeFor[Auto[bool]]():
					v.Set(reflect.ValueOf(Given(value == "true")))
				case v.Type() == reflect.TypeFor[Auto[Steps]]():
					v.Set(reflect.ValueOf(Given(Steps(7))))
				case value != "" && v.Kind() == reflect.Slice:
					v.Set(reflect.ValueOf([]string{value}))
				case value != "":
					v.SetString(value)
				case v.Kind() == reflect.Bool:
					v.SetBool(!v.Bool())
				case v.Kind() == reflect.String:
					v.SetString("other")
				case v.CanFloat():
					v.SetFloat(0.25)
				case v.CanInt():
					v.SetInt(7)
				case v.Kind() == reflect.Slice:
					v.Set(reflect.MakeSlice(v.Type(), 1, 1))
				case v.Kind() == reflect.Map:
					v.Set(reflect.MakeMap(v.Type()))
				default:
					t.Fatalf("%s: no way to set a %s", key, v.Type())
				}
				var fs Faults
				if err := Unsupported(r); !errors.As(err, &fs) || !strings.HasPrefix(fs[0].Error(), want) {
					t.Errorf("%s %s: got %v, want a fault at %q", key, value, err, want)
				}
			}
		}
	}
}

// TestTablesNameRealKeys keeps the hand-written tables in step with the struct.
func TestTablesNameRealKeys(t *testing.T) {
	tab := newTable()
	for key, values := range knownValues() {
		f := tab.byKey[key]
		if f == nil {
			t.Errorf("knownValues: no key %s", key)
			continue
		}
		for v := range values {
			for _, allowed := range f.enum {
				if v == allowed {
					t.Errorf("%s: %s is both supported and refused", key, v)
				}
			}
		}
	}
	for key := range knownKeys() {
		if tab.byKey[key] != nil || tab.byAlias[key] != nil {
			t.Errorf("knownKeys: %s is a key", key)
		}
	}
	for key := range valueAliases() {
		if tab.byKey[key] == nil && key != "datasets[].type" {
			t.Errorf("valueAliases: no key %s", key)
		}
	}
	for _, p := range notBuilt() {
		for _, key := range p.keys {
			if tab.byKey[key] == nil {
				t.Errorf("notBuilt: no key %s", key)
			}
		}
	}
	seen := map[string]string{presetKey: presetKey}
	for _, f := range tab.fields {
		for _, name := range append([]string{f.key}, f.aliases...) {
			if name == "" || seen[name] != "" {
				t.Errorf("name %q of %s is empty or taken by %s", name, f.key, seen[name])
			}
			seen[name] = f.key
		}
		for _, c := range f.commands {
			if !isCommand(c) {
				t.Errorf("%s: no command %s", f.key, c)
			}
		}
	}
}

func TestPresetsLoad(t *testing.T) {
	for _, name := range Presets() {
		mustLoad(t, "sft", "", "preset="+name)
	}
}

func TestClosest(t *testing.T) {
	names := []string{"learning_rate", "seed", "max_steps"}
	for in, want := range map[string]string{
		"lerning_rate": "learning_rate", "learnign_rate": "learning_rate", "Learning-Rate": "learning_rate",
		"sed": "seed", "max_step": "max_steps", "zzz": "", "": "",
	} {
		if got := Closest(in, names); got != want {
			t.Errorf("Closest(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestReportKeysThatNeedOthers(t *testing.T) {
	for text, want := range map[string]string{
		"log_gradient_histograms: true":                                       "set report_to tensorboard",
		"log_gradient_noise_scale: true":                                      "set gradient_accumulation_steps",
		"early_stopping_threshold: 0.1":                                       "without early_stopping_patience",
		"early_stopping_patience: 2\neval_strategy: \"no\"":                   "needs evaluations",
		"sample_steps: 5":                                                     "without sample_prompts",
		"load_best_model_at_end: true\ntest_size: 0.1\nsave_strategy: \"no\"": "needs checkpoints",
	} {
		path := filepath.Join(t.TempDir(), "run.yaml")
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(LoadOptions{Command: "sft", Path: path}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
