package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/mltrain/mltrain/internal/checkpoint"
)

// asMain makes the test binary behave as mltrain, so that tests can kill it.
const asMain = "MLTRAIN_TEST_AS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" || len(os.Args) > 1 && os.Args[1] == sandboxInit {
		main()
	}
	os.Exit(m.Run())
}

// child is mltrain as a process of its own.
func child(t *testing.T, procs int, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), asMain+"=1", "GOMAXPROCS="+strconv.Itoa(procs), "MLTRAIN_CACHE="+t.TempDir())
	return cmd
}

// charTokenizer is a tokenizer of single characters for the vocabulary of testdata/models/llama: <unk>, <s>, </s>, then
// printable ASCII.
func charTokenizer() []byte {
	vocab := map[string]int{"<unk>": 0, "<s>": 1, "</s>": 2}
	for c := ' '; c <= '~'; c++ {
		vocab[string(c)] = len(vocab)
	}
	special := func(id int, s string) map[string]any {
		return map[string]any{"id": id, "content": s, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}
	}
	raw, err := json.Marshal(map[string]any{
		"version": "1.0", "truncation": nil, "padding": nil, "normalizer": nil, "pre_tokenizer": nil, "post_processor": nil,
		"added_tokens": []any{special(0, "<unk>"), special(1, "<s>"), special(2, "</s>")},
		"decoder":      map[string]any{"type": "Fuse"},
		"model":        map[string]any{"type": "BPE", "unk_token": "<unk>", "vocab": vocab, "merges": []string{}},
	})
	if err != nil {
		panic(err)
	}
	return raw
}

// testModel copies a tiny model from testdata and gives it a tokenizer.
func testModel(t *testing.T) string {
	t.Helper()
	return testModelOf(t, "llama")
}

// testModelOf is testModel of a folder of testdata/models.
func testModelOf(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	for _, file := range []string{"config.json", "model.safetensors"} {
		write(t, filepath.Join(dir, file), string(read(t, filepath.Join("../../testdata/models", name, file))))
	}
	write(t, filepath.Join(dir, "tokenizer.json"), string(charTokenizer()))
	write(t, filepath.Join(dir, "tokenizer_config.json"), `{"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<unk>"}`)
	return dir
}

// sums writes n prompt/completion rows of small additions, of varied length.
func sums(t *testing.T, n int) string {
	t.Helper()
	var b strings.Builder
	rng := rand.New(rand.NewPCG(3, 4))
	for range n {
		x, y := rng.IntN(1000), rng.IntN(90)
		fmt.Fprintf(&b, "{\"prompt\": \"%d + %d = \", \"completion\": \"%d%s\"}\n", x, y, x+y, strings.Repeat("!", rng.IntN(8)))
	}
	path := filepath.Join(t.TempDir(), "sums.jsonl")
	write(t, path, b.String())
	return path
}

// metrics returns the lines of a run's metrics.jsonl that have the key.
func metrics(t *testing.T, dir, key string) (out []float64) {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "metrics.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		var e map[string]any
		if err := json.Unmarshal(sc.Bytes(), &e); err != nil {
			t.Fatalf("%s: %v", sc.Text(), err)
		}
		if v, ok := e[key].(float64); ok {
			out = append(out, v)
		}
	}
	return out
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// must runs mltrain in this process and expects success.
func must(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := mltrain(t, args...)
	if code != 0 {
		t.Fatalf("mltrain %s: exit code %d\n%s", strings.Join(args, " "), code, stderr)
	}
	return stdout
}

// A run that is killed at any moment and resumed ends with the weights of an undisturbed one, whatever the number of
// processors. Accumulation, packing and dropout are on.
func TestKilledRunsResumeExactly(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	rounds := 2
	if n, err := strconv.Atoi(os.Getenv("MLTRAIN_TEST_KILLS")); err == nil {
		rounds = n
	} else if testing.Short() {
		rounds = 1
	}
	t.Run("float32", func(t *testing.T) { killAndResume(t, rounds, "bf16=false") })
	t.Run("bfloat16", func(t *testing.T) { killAndResume(t, (rounds+1)/2, "bf16=true") })
	t.Run("qlora", func(t *testing.T) {
		killAndResume(t, (rounds+1)/2, "use_peft=true", "load_in_4bit=true", "use_bnb_nested_quant=true", "bf16=true", "lora_r=16", "lora_alpha=32",
			"lora_target_modules=[q_proj, k_proj, v_proj, o_proj]", "lora_dropout=0.05")
	})
	t.Run("8-bit states", func(t *testing.T) { killAndResume(t, (rounds+1)/2, "optim=adamw_8bit") })
}

func killAndResume(t *testing.T, rounds int, set ...string) {
	model, data, file := testModel(t), sums(t, 60), "model.safetensors"
	if slices.Contains(set, "use_peft=true") {
		file = "adapter_model.safetensors"
	}
	args := func(out string) []string {
		a := []string{"sft", "--model", model, "--data", data, "--output", out, "--max-steps", "100", "--resume", "--quiet",
			"--set", "max_length=40", "--set", "packing=true", "--set", "per_device_train_batch_size=2", "--set", "gradient_accumulation_steps=2",
			"--set", "attention_dropout=0.1", "--set", "neftune_noise_alpha=5", "--set", "log_gradient_noise_scale=true", "--set", "report_to=tensorboard", "--set", "sample_prompts=1+1=", "--set", "sample_max_new_tokens=3",
			"--set", "learning_rate=0.003", "--set", "save_steps=4", "--set", "save_total_limit=2",
			"--set", "eval_steps=8", "--set", "test_size=0.2", "--set", "logging_steps=3"}
		for _, s := range set {
			a = append(a, "--set", s)
		}
		return a
	}
	killedEqualsWhole(t, args, killed{rounds, 6, []string{file, "samples.jsonl"}, []string{"loss", "eval_loss", "gradient_noise_scale"}})
}

func TestInterruptSavesAndExits130(t *testing.T) {
	model, data, out := testModel(t), sums(t, 40), filepath.Join(t.TempDir(), "run")
	args := []string{"sft", "--model", model, "--data", data, "--output", out, "--max-steps", "100000", "--set", "max_length=40", "--set", "save_steps=100000"}
	cmd := child(t, 2, args...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	sc := bufio.NewScanner(stderr)
	for sc.Scan() {
		log.WriteString(sc.Text() + "\n")
		if strings.HasPrefix(sc.Text(), "step 10/") {
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitInterrupted {
		t.Fatalf("%v\n%s", err, log.String())
	}
	saved, err := filepath.Glob(filepath.Join(out, "checkpoint-*", "training_state", "manifest.json"))
	if err != nil || len(saved) != 1 {
		t.Errorf("checkpoints %v (%v)\n%s", saved, err, log.String())
	}
	if !strings.Contains(log.String(), "--resume") {
		t.Errorf("the message does not say how to go on:\n%s", log.String())
	}
}

// losses runs full-batch training with the settings and returns the loss of each step.
func losses(t *testing.T, model, data string, set ...string) []float64 {
	t.Helper()
	out := filepath.Join(t.TempDir(), "run")
	args := []string{"sft", "--model", model, "--data", data, "--output", out, "--max-steps", "8", "--quiet"}
	for _, s := range append([]string{"max_length=64", "logging_steps=1", "learning_rate=0.002", "save_strategy=no"}, set...) {
		args = append(args, "--set", s)
	}
	must(t, args...)
	return metrics(t, out, "loss")
}

func near(t *testing.T, what string, got, want []float64, tol float64) {
	t.Helper()
	if len(got) != len(want) || len(want) == 0 {
		t.Fatalf("%s: %d losses, want %d", what, len(got), len(want))
	}
	for i := range want {
		if !(math.Abs(got[i]-want[i]) <= tol) {
			t.Errorf("%s: step %d: loss %.8f, want %.8f", what, i+1, got[i], want[i])
		}
	}
}

func TestBatchingDoesNotChangeTheLoss(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	model, data := testModel(t), sums(t, 8)
	want := losses(t, model, data, "per_device_train_batch_size=8")
	near(t, "accumulation 4×2", losses(t, model, data, "per_device_train_batch_size=2", "gradient_accumulation_steps=4"), want, 1e-5)
	near(t, "accumulation 8×1", losses(t, model, data, "per_device_train_batch_size=1", "gradient_accumulation_steps=8"), want, 1e-5)
	near(t, "packed", losses(t, model, data, "per_device_train_batch_size=8", "packing=true"), want, 1e-5)
	near(t, "without padding", losses(t, model, data, "per_device_train_batch_size=8", "padding_free=true"), want, 1e-5)
	near(t, "recompute", losses(t, model, data, "per_device_train_batch_size=8", "gradient_checkpointing=true"), want, 0)
	if want[7] >= want[0] {
		t.Errorf("the loss does not fall: %v", want)
	}
	dropped := losses(t, model, data, "per_device_train_batch_size=8", "attention_dropout=0.2")
	near(t, "recompute with dropout", losses(t, model, data, "per_device_train_batch_size=8", "attention_dropout=0.2", "gradient_checkpointing=true"), dropped, 0)
	if dropped[0] == want[0] {
		t.Error("dropout changes nothing")
	}
}

// gradients returns the gradient of each parameter at the start, which a step of plain SGD with learning rate 1 subtracts.
func gradients(t *testing.T, model, data string, set ...string) (grads map[string][]float64, raw map[string]string) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "run")
	args := []string{"sft", "--model", model, "--data", data, "--output", out, "--max-steps", "1", "--quiet"}
	for _, s := range append([]string{"max_length=64", "optim=sgd", "learning_rate=1", "lr_scheduler_type=constant", "max_grad_norm=0"}, set...) {
		args = append(args, "--set", s)
	}
	must(t, args...)
	before := tensors(t, model)
	raw, grads = tensors(t, out), map[string][]float64{}
	at := func(b string, i int) float64 {
		return float64(math.Float32frombits(binary.LittleEndian.Uint32([]byte(b[4*i : 4*i+4]))))
	}
	for name, b := range raw {
		g := make([]float64, len(b)/4)
		for i := range g {
			g[i] = at(before[name], i) - at(b, i)
		}
		grads[name] = g
	}
	return grads, raw
}

func norm(x []float64) (n float64) {
	for _, v := range x {
		n += v * v
	}
	return math.Sqrt(n)
}

// Packed against unpacked, padded against not, accumulated against whole: every parameter's gradient within 1e-5 of its norm.
func TestBatchingDoesNotChangeTheGradients(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	model, data := testModel(t), sums(t, 8)
	want, whole := gradients(t, model, data, "per_device_train_batch_size=8")
	largest := 0.0
	for _, g := range want {
		largest = max(largest, norm(g))
	}
	for name, set := range map[string][]string{
		"accumulation 4×2": {"per_device_train_batch_size=2", "gradient_accumulation_steps=4"},
		"accumulation 8×1": {"per_device_train_batch_size=1", "gradient_accumulation_steps=8"},
		"packed":           {"per_device_train_batch_size=8", "packing=true"},
		"without padding":  {"per_device_train_batch_size=8", "padding_free=true"},
	} {
		got, _ := gradients(t, model, data, set...)
		for param, g := range want {
			diff := make([]float64, len(g))
			for i := range g {
				diff[i] = got[param][i] - g[i]
			}
			if e := norm(diff) / max(norm(g), 1e-6*largest); !(e <= 1e-5) {
				t.Errorf("%s: gradient of %s is off by %.2g of its norm", name, param, e)
			}
		}
	}
	if _, again := gradients(t, model, data, "per_device_train_batch_size=8", "gradient_checkpointing=true"); !maps.Equal(again, whole) {
		t.Error("recompute changes a gradient")
	}
}

func TestBestModelAtTheEnd(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	model, data, out := testModel(t), sums(t, 40), filepath.Join(t.TempDir(), "run")
	// A learning rate that ruins the model soon: an early step is the best.
	must(t, "sft", "--model", model, "--data", data, "--output", out, "--max-steps", "12", "--quiet", "--set", "max_length=40",
		"--set", "test_size=0.2", "--set", "eval_steps=2", "--set", "save_steps=2", "--set", "learning_rate=0.5", "--set", "warmup_steps=8",
		"--set", "lr_scheduler_type=constant_with_warmup", "--set", "load_best_model_at_end=true", "--set", "save_total_limit=1")
	evals := metrics(t, out, "eval_loss")
	best := 0
	for i, v := range evals {
		if v < evals[best] {
			best = i
		}
	}
	if best == len(evals)-1 {
		t.Fatalf("the last step is the best: %v", evals)
	}
	dir := filepath.Join(out, fmt.Sprintf("checkpoint-%d", 2*(best+1)))
	if !bytes.Equal(read(t, filepath.Join(out, "model.safetensors")), read(t, filepath.Join(dir, "model.safetensors"))) {
		t.Errorf("the final model is not that of %s", dir)
	}
}

func TestTrainedModelGenerates(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	model, out := testModel(t), filepath.Join(t.TempDir(), "run")
	data := filepath.Join(t.TempDir(), "one.jsonl")
	write(t, data, strings.Repeat(`{"prompt": "say ", "completion": "hello world"}`+"\n", 8))
	must(t, "sft", "--model", model, "--data", data, "--output", out, "--max-steps", "60", "--quiet", "--set", "max_length=40", "--set", "learning_rate=0.01")
	if got := strings.TrimSpace(must(t, "generate", "--model", out, "--prompt", "say ", "--max-new-tokens", "20")); got != "hello world" {
		t.Errorf("generated %q", got)
	}
	var res struct {
		Results map[string]struct {
			NLL, Perplexity float64
			Tokens          int
		}
	}
	text := filepath.Join(t.TempDir(), "text.jsonl")
	write(t, text, `{"text": "say hello"}`)
	if err := json.Unmarshal([]byte(must(t, "eval", "--model", out, "--task", "perplexity", "--data", text, "--json")), &res); err != nil {
		t.Fatal(err)
	}
	if p := res.Results["perplexity"]; p.Tokens != 8 || math.Abs(math.Exp(p.NLL)-p.Perplexity) > 1e-9 {
		t.Errorf("perplexity: %+v", p)
	}
}

// tensors returns the bytes of each tensor of a checkpoint.
func tensors(t *testing.T, dir string) map[string]string {
	t.Helper()
	r, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return contents(t, r)
}

// contents returns the bytes of each tensor of a reader, and closes it.
func contents(t *testing.T, r *checkpoint.Reader) map[string]string {
	t.Helper()
	defer r.Close()
	out := map[string]string{}
	for _, name := range r.Names() {
		b, err := r.Bytes(name)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = string(b)
	}
	return out
}

func TestFreezeLeavesParametersAlone(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	model, data := testModel(t), sums(t, 8)
	before := tensors(t, model)
	for _, tc := range []struct {
		set    string
		frozen func(name string) bool
	}{
		{"freeze=[embed_tokens, layers.0.]", func(n string) bool { return strings.Contains(n, "embed_tokens") || strings.Contains(n, "layers.0.") }},
		{"freeze=[model.*.0.*.weight]", func(n string) bool { return strings.Contains(n, "layers.0.") }},
		{"unfreeze=[norm]", func(n string) bool { return !strings.Contains(n, "norm") }},
	} {
		out := filepath.Join(t.TempDir(), "run")
		must(t, "sft", "--model", model, "--data", data, "--output", out, "--max-steps", "2", "--quiet", "--set", "max_length=40", "--set", "learning_rate=0.01", "--set", tc.set)
		for name, b := range tensors(t, out) {
			if same := b == before[name]; same != tc.frozen(name) {
				t.Errorf("%s: %s: unchanged %v", tc.set, name, same)
			}
		}
	}
}

func TestFreezePatternsThatMatchNothing(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	out := filepath.Join(t.TempDir(), "run")
	code, _, stderr := mltrain(t, "sft", "--model", testModel(t), "--data", sums(t, 8), "--output", out, "--max-steps", "1", "--set", "max_length=40",
		"--set", "freeze=[embed_token, layrs.0]", "--set", "unfreeze=[nrom]")
	for _, w := range []string{`freeze: "layrs.0" matches no parameter`, `unfreeze: "nrom" matches no parameter`, "model.embed_tokens.weight"} {
		if code != exitFailed || !strings.Contains(stderr, w) {
			t.Errorf("exit code %d, the message lacks %q:\n%s", code, w, stderr)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("the output directory was made")
	}
}

// Every optimiser, schedule and way of batching lowers the loss of a small run.
func TestTrainingOptions(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	model, data := testModel(t), sums(t, 24)
	for _, set := range [][]string{
		{"optim=sgd", "momentum=0.9", "nesterov=true", "learning_rate=0.02"},
		{"optim=adam"}, {"optim=lion", "learning_rate=0.0005"},
		{"lr_scheduler_type=cosine", "warmup_steps=3"}, {"lr_scheduler_type=constant_with_warmup", "warmup_ratio=0.2"},
		{"lr_scheduler_type=cosine_with_min_lr", "lr_scheduler_kwargs={min_lr_rate: 0.1}"}, {"lr_scheduler_type=wsd"}, {"lr_scheduler_type=one_cycle"},
		{"train_sampling_strategy=group_by_length"}, {"train_sampling_strategy=sequential"},
		{"packing=true", "packing_strategy=wrapped"}, {"label_smoothing_factor=0.1"}, {"weight_decay=0.1"}, {"bf16=true"}, {"bf16=true", "gradient_checkpointing=true"}, {"optim=adamw_8bit"},
	} {
		out := filepath.Join(t.TempDir(), "run")
		args := []string{"sft", "--model", model, "--data", data, "--output", out, "--max-steps", "18", "--quiet"}
		for _, s := range append([]string{"max_length=40", "learning_rate=0.004", "logging_steps=6", "save_strategy=no"}, set...) {
			key, _, _ := strings.Cut(s, "=")
			for i := 8; i < len(args)-1; i++ {
				if strings.HasPrefix(args[i+1], key+"=") {
					args = append(args[:i], args[i+2:]...)
					break
				}
			}
			args = append(args, "--set", s)
		}
		must(t, args...)
		if l := metrics(t, out, "loss"); len(l) != 3 || !(l[2] < l[0]) {
			t.Errorf("%v: losses %v", set, l)
		}
	}
}

// Windows of a wrapped stream may lie within one long prompt, where nothing is trained.
func TestStepsWithoutTargets(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	model, data, out := testModel(t), filepath.Join(t.TempDir(), "long.jsonl"), filepath.Join(t.TempDir(), "run")
	write(t, data, strings.Repeat(fmt.Sprintf("{\"prompt\": %q, \"completion\": \"ok\"}\n", strings.Repeat("x", 200)), 3))
	must(t, "sft", "--model", model, "--data", data, "--output", out, "--max-steps", "12", "--quiet", "--set", "max_length=32",
		"--set", "packing=true", "--set", "packing_strategy=wrapped", "--set", "per_device_train_batch_size=1", "--set", "logging_steps=1")
	zero := 0
	for _, l := range metrics(t, out, "loss") {
		if l == 0 {
			zero++
		}
	}
	if zero == 0 || zero == 12 {
		t.Errorf("%d of 12 steps have no targets: the test does not test what it should", zero)
	}
}

// A dataset's type may have any of the names that the config allows, and a directory needs no split names.
func TestDatasetTypesAndDirectories(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	model, dir := testModel(t), t.TempDir()
	write(t, filepath.Join(dir, "a.jsonl"), `{"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "ho"}]}`+"\n")
	write(t, filepath.Join(dir, "b.jsonl"), `{"conversations": [{"from": "human", "value": "you"}, {"from": "gpt", "value": "me"}]}`+"\n")
	run := func() (rows string) {
		code, _, stderr := mltrain(t, "sft", "--model", model, "--output", filepath.Join(t.TempDir(), "run"), "--max-steps", "1",
			"--set", "max_length=128", "--set", "datasets=[{path: "+dir+", type: conversations}]")
		if code != 0 {
			t.Fatalf("exit code %d\n%s", code, stderr)
		}
		_, after, _ := strings.Cut(stderr, "rows read")
		rows, _, _ = strings.Cut(after, "\n")
		return strings.TrimSpace(rows)
	}
	if got := run(); !strings.HasPrefix(got, "2 in 2 files") {
		t.Errorf("without split names: %s", got)
	}
	// Once a file is named after a split, only those of train are trained on.
	for _, f := range [][2]string{{"a.jsonl", "train.jsonl"}, {"b.jsonl", "test.jsonl"}} {
		if err := os.Rename(filepath.Join(dir, f[0]), filepath.Join(dir, f[1])); err != nil {
			t.Fatal(err)
		}
	}
	if got := run(); !strings.HasPrefix(got, "1 in 1 files") {
		t.Errorf("with split names: %s", got)
	}
}
