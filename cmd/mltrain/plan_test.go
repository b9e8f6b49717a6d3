package main

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/mltrain/mltrain/internal/train"
)

// planOf runs mltrain plan --json.
func planOf(t *testing.T, args ...string) (p planned) {
	t.Helper()
	code, stdout, stderr := mltrain(t, append([]string{"plan", "--json"}, args...)...)
	if code != 0 {
		t.Fatalf("plan: exit code %d\n%s", code, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// The plan of a run, made without it, is what the run then allocates, to the byte, at its peak.
func TestPlanIsExact(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	model, data, pairs := testModel(t), sums(t, 40), preferSums(t, 40)
	for _, tc := range []struct {
		name, command string
		set           []string
	}{
		{"full", "sft", nil},
		{"full, evaluated", "sft", []string{"test_size=0.2", "eval_steps=2", "per_device_eval_batch_size=16"}},
		{"recomputed", "sft", []string{"gradient_checkpointing=true"}},
		{"bfloat16", "sft", []string{"bf16=true"}},
		{"packed", "sft", []string{"packing=true", "per_device_train_batch_size=2"}},
		{"lion", "sft", []string{"optim=lion"}},
		{"frozen", "sft", []string{"freeze=embed_tokens,layers.0"}},
		{"lora", "lora", []string{"lora_r=4"}},
		{"dora in bfloat16", "lora", []string{"lora_r=4", "use_dora=true", "bf16=true"}},
		{"lora with tokens", "lora", []string{"lora_r=4", "trainable_token_indices=[5, 6]"}},
		{"qlora", "lora", []string{"lora_r=4", "load_in_4bit=true"}},
		{"qlora in bfloat16, scales quantised", "lora", []string{"lora_r=4", "load_in_4bit=true", "use_bnb_nested_quant=true", "bf16=true", "gradient_checkpointing=true"}},
		{"dora in four bits", "lora", []string{"lora_r=4", "load_in_4bit=true", "use_dora=true"}},
		{"dpo of an adapter in four bits", "dpo", []string{"use_peft=true", "lora_r=4", "load_in_4bit=true"}},
		{"8-bit states", "sft", []string{"optim=adamw_8bit"}},
		{"pissa", "lora", []string{"lora_r=4", "init_lora_weights=pissa"}},
		{"dpo", "dpo", []string{"per_device_train_batch_size=4"}},
		{"dpo of an adapter", "dpo", []string{"use_peft=true", "lora_r=4"}},
		{"dpo, precomputed", "dpo", []string{"precompute_ref_log_probs=true"}},
		{"kto", "dpo", []string{"loss_type=kto"}},
		{"from scratch", "pretrain", []string{"train_from_scratch=true"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			data := data
			if tc.command == "dpo" {
				data = pairs
			}
			args := []string{"--model", model, "--data", data, "--max-steps", "2", "--set", "max_length=40"}
			for _, s := range tc.set {
				args = append(args, "--set", s)
			}
			p := planOf(t, append(args, "--command", tc.command)...)
			code, stdout, stderr := mltrain(t, append([]string{tc.command, "--quiet", "--json", "--output", filepath.Join(t.TempDir(), "run")}, args...)...)
			if code != 0 {
				t.Fatalf("exit code %d\n%s", code, stderr)
			}
			var r train.Result
			if err := json.Unmarshal([]byte(stdout), &r); err != nil {
				t.Fatal(err)
			}
			if p.Peak != r.Peak || p.Peak != r.PlannedPeak || p.Peak == 0 {
				t.Errorf("planned %d bytes, the run planned %d and had %d at its peak", p.Peak, r.PlannedPeak, r.Peak)
			}
			if _, ok := p.Bytes["adapter"]; ok != (tc.command == "lora" || slices.Contains(tc.set, "use_peft=true")) {
				t.Errorf("bytes by purpose: %v", p.Bytes)
			}
		})
	}
}

// What plan advises holds: a run with the changed config needs exactly what was said, and that fits.
func TestPlanAdvice(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	base := []string{"--model", testModel(t), "--data", sums(t, 40), "--set", "max_length=40", "--set", "test_size=0.2", "--set", "per_device_train_batch_size=12"}
	with := func(args []string, changes ...train.Change) []string {
		args = slices.Clone(args)
		for _, c := range changes {
			for _, s := range c.Settings {
				key, value, _ := strings.Cut(s, ": ")
				args = append(args, "--set", key+"="+value)
			}
		}
		return args
	}
	whole := planOf(t, base...)
	if whole.Advice != nil || whole.Fits == nil || !*whole.Fits {
		t.Fatalf("a small model does not fit: %+v", whole)
	}
	alone, together := 0, 0
	for _, part := range []float64{0.99, 0.8, 0.6, 0.48, 0.45} {
		budget := int64(part * float64(whole.Peak))
		p := planOf(t, append(slices.Clone(base), "--memory", strconv.FormatInt(budget, 10))...)
		if *p.Fits || p.Advice == nil || !p.Advice.Fits {
			t.Fatalf("with %d of %d bytes: %+v", budget, whole.Peak, p.Advice)
		}
		for _, c := range p.Advice.Changes {
			if got := planOf(t, with(base, c)...).Peak; got != whole.Peak-c.Saves || c.Fits != (got <= budget) {
				t.Errorf("%v: said to save %d of %d and to fit into %d: %v; needs %d", c.Settings, c.Saves, whole.Peak, budget, c.Fits, got)
			}
		}
		if len(p.Advice.Together) == 0 {
			alone++
			continue
		}
		together++
		got := planOf(t, with(base, p.Advice.Together...)...).Peak
		if got != p.Advice.Total || got > budget {
			t.Errorf("together %v need %d; said %d, budget %d", p.Advice.Together, got, p.Advice.Total, budget)
		}
		for i := range p.Advice.Together { // none of them is needless
			rest := slices.Delete(slices.Clone(p.Advice.Together), i, i+1)
			if planOf(t, with(base, rest...)...).Peak <= budget {
				t.Errorf("%v is enough without %v", rest, p.Advice.Together[i].Settings)
			}
		}
	}
	if alone == 0 || together == 0 {
		t.Errorf("%d budgets were met by one change and %d by several: the test is to see both", alone, together)
	}
	p := planOf(t, append(slices.Clone(base), "--memory", "1000")...)
	if p.Advice == nil || p.Advice.Fits {
		t.Errorf("1000 bytes are enough: %+v", p.Advice)
	}
	code, stdout, _ := mltrain(t, append([]string{"plan", "--memory", "100KB"}, base...)...)
	if code != 0 || !strings.Contains(stdout, "does not fit") || !strings.Contains(stdout, "gradient_checkpointing: true") {
		t.Errorf("exit code %d\n%s", code, stdout)
	}
}

func TestPlanRefuses(t *testing.T) {
	for _, tc := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"plan"}, exitFailed, "model_name_or_path"},
		{[]string{"plan", "--memory", "much"}, exitUsage, "24GB"},
		{[]string{"plan", "--command", "bake"}, exitUsage, "bake"},
		{[]string{"plan", "--model", "nowhere", "--data", "x.jsonl"}, exitFailed, "no such directory"},
	} {
		code, _, stderr := mltrain(t, tc.args...)
		if code != tc.code || !strings.Contains(stderr, tc.want) {
			t.Errorf("%v: exit code %d\n%s", tc.args, code, stderr)
		}
	}
}
