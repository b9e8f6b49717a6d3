package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// preferSums writes n preference rows: a right sum is preferred to a wrong one.
func preferSums(t *testing.T, n int) string {
	t.Helper()
	var b strings.Builder
	rng := rand.New(rand.NewPCG(5, 6))
	for range n {
		x, y := rng.IntN(100), rng.IntN(90)
		fmt.Fprintf(&b, "{\"prompt\": \"%d + %d = \", \"chosen\": \"%d\", \"rejected\": \"%d%s\"}\n", x, y, x+y, x+y+1+rng.IntN(9), strings.Repeat("!", rng.IntN(5)))
	}
	path := filepath.Join(t.TempDir(), "pairs.jsonl")
	write(t, path, b.String())
	return path
}

func dpoArgs(model, data, out string, steps int, set ...string) []string {
	args := []string{"dpo", "--model", model, "--data", data, "--output", out, "--max-steps", fmt.Sprint(steps), "--quiet"}
	for _, s := range append([]string{"max_length=40", "per_device_train_batch_size=4", "learning_rate=0.0005", "logging_steps=1", "save_strategy=no"}, set...) {
		args = append(args, "--set", s)
	}
	return args
}

// With the policy equal to the reference the first loss is ln 2, and training tells right from wrong, on rows it has not seen.
func TestDPO(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	model, data := testModel(t), preferSums(t, 60)
	for _, set := range [][]string{nil, {"use_peft=true", "learning_rate=0.003"}, {"bf16=true"}} {
		out := filepath.Join(t.TempDir(), "run")
		must(t, dpoArgs(model, data, out, 40, append(set, "test_size=0.25", "eval_steps=40")...)...)
		loss := metrics(t, out, "loss")
		if !(math.Abs(loss[0]-math.Ln2) <= 1e-6) && len(set) != 1 || !(math.Abs(loss[0]-math.Ln2) <= 1e-2) {
			t.Errorf("%v: the first loss is %.7f, want ln 2 = %.7f", set, loss[0], math.Ln2)
		}
		if acc, margin := metrics(t, out, "eval_rewards/accuracies"), metrics(t, out, "eval_rewards/margins"); !(acc[0] > 0.6) || !(margin[0] > 0) {
			t.Errorf("%v: on held-out rows accuracy %v, margin %v", set, acc, margin)
		}
	}
}

// A reference computed beforehand gives the losses of one that is computed in every step; so does a ref_model that is the model.
func TestReferencesAgree(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	model, data := testModel(t), preferSums(t, 40)
	losses := func(set ...string) []float64 {
		out := filepath.Join(t.TempDir(), "run")
		must(t, dpoArgs(model, data, out, 12, set...)...)
		return metrics(t, out, "loss")
	}
	for _, peft := range []string{"use_peft=false", "use_peft=true"} {
		want := losses(peft)
		for _, set := range []string{"precompute_ref_log_probs=true", "precompute_ref_log_probs=true", "ref_model=" + model} {
			for i, got := range losses(peft, set) {
				if !(math.Abs(got-want[i]) <= 1e-6) {
					t.Errorf("%s, %s: step %d: loss %.8f, want %.8f", peft, set, i, got, want[i])
				}
			}
		}
	}
	cached, err := filepath.Glob(filepath.Join(os.Getenv("MLTRAIN_CACHE"), "reference", "*.json"))
	if err != nil || len(cached) != 1 {
		t.Errorf("the cache holds %v (%v); want one file, used three times", cached, err)
	}
}

// Every kind of loss trains; pairs serve kto as well.
func TestPreferenceLosses(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	model, data := testModel(t), preferSums(t, 24)
	for _, set := range [][]string{
		{"loss_type=simpo", "beta=2"}, {"loss_type=cpo"}, {"loss_type=orpo"}, {"loss_type=kto"}, {"loss_type=[sigmoid, sft]", "loss_weights=[1, 0.5]"},
		{"loss_type=aot"}, {"use_weighting=true"}, {"padding_free=true"}, {"sync_ref_model=true", "ref_model_sync_steps=3"}, {"gradient_accumulation_steps=2"},
	} {
		out := filepath.Join(t.TempDir(), "run")
		must(t, dpoArgs(model, data, out, 18, append(set, "learning_rate=0.001")...)...)
		l := metrics(t, out, "loss")
		if first, last := (l[0]+l[1]+l[2])/3, (l[15]+l[16]+l[17])/3; !(last < first) {
			t.Errorf("%v: losses from %.4f to %.4f", set, first, last)
		}
	}
}

// A run that is killed and resumed, its reference model moving, ends like an undisturbed one, on any number of processors.
func TestKilledDPOResumesExactly(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	model, data := testModel(t), preferSums(t, 40)
	for name, set := range map[string][]string{"moving": {"sync_ref_model=true", "ref_model_sync_steps=5"}, "kto": {"loss_type=kto"}} {
		t.Run(name, func(t *testing.T) {
			args := func(out string) []string {
				return append(dpoArgs(model, data, out, 60, append(set, "save_strategy=steps", "save_steps=4", "save_total_limit=2", "gradient_accumulation_steps=2")...), "--resume")
			}
			killedEqualsWhole(t, args, killed{1, 3, []string{"model.safetensors"}, []string{"loss"}})
		})
	}
}

func TestDPOBadInput(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	model, data := testModel(t), preferSums(t, 8)
	for want, set := range map[string][]string{
		"simpo has no reference":    {"loss_type=simpo", "precompute_ref_log_probs=true"},
		"stands alone":              {"loss_type=[kto, sigmoid]"},
		"it needs 2 or more":        {"loss_type=kto", "per_device_train_batch_size=1"},
		"does not go with an adapt": {"sync_ref_model=true", "use_peft=true"},
		"no such directory":         {"ref_model=./nothing/there"},
	} {
		out := filepath.Join(t.TempDir(), "run")
		args := dpoArgs(model, data, out, 2, set...)
		if code, _, stderr := mltrain(t, args...); code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit code %d, %q, want %q", set, code, stderr, want)
		}
	}
	for want, row := range map[string]string{
		"rejected":                  `{"prompt": "1 + 1 = ", "chosen": "2"}`,
		"preference training needs": `{"prompt": "1 + 1 = ", "completion": "2"}`,
	} {
		bad := filepath.Join(t.TempDir(), "bad.jsonl")
		write(t, bad, row+"\n")
		if code, _, stderr := mltrain(t, dpoArgs(model, bad, filepath.Join(t.TempDir(), "run"), 2)...); code != 1 || !strings.Contains(stderr, want) || !strings.Contains(stderr, "bad.jsonl") {
			t.Errorf("%s: exit code %d, %q", row, code, stderr)
		}
	}
	// Rows that cannot be trained on are counted and left out.
	mixed := filepath.Join(t.TempDir(), "mixed.jsonl")
	write(t, mixed, string(read(t, data))+`{"prompt": "1", "chosen": "2", "rejected": "2"}
{"prompt": "1", "chosen": "", "rejected": "2"}
{"prompt": "`+strings.Repeat("1", 50)+`", "chosen": "2", "rejected": "3"}
`)
	args := dpoArgs(model, mixed, filepath.Join(t.TempDir(), "run"), 2)
	args = append(args[:9:9], args[10:]...) // without --quiet
	code, _, stderr := mltrain(t, args...)
	for _, want := range []string{"chosen_equals_rejected", "empty_completion", "prompt_fills"} {
		if code != 0 || !strings.Contains(stderr, want) {
			t.Errorf("exit code %d: the ledger lacks %q:\n%s", code, want, stderr)
		}
	}
}
