package diagnose

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// training is a log of n entries; change alters what a healthy run logs.
func training(n int, change func(i int, e Entry)) []Entry {
	log := []Entry{{"step": 0, KeyMaxSteps: float64(n), KeyVocab: 1000.0, KeyTrainRows: 100.0, KeyEvalRows: 10.0, KeyTokens: 5000.0, KeyTrainTokens: 2000.0}}
	for i := range n {
		t := float64(i) / float64(n)
		wobble := 0.1 * math.Sin(float64(i)*2.3)
		e := Entry{
			"step": i + 1, "epoch": 2 * t, "loss": 1.5 + 2*math.Exp(-4*t) + wobble, "grad_norm": 1.2 + wobble, "learning_rate": 1e-4 * (1 - t),
			"num_tokens": int64(50000 * (i + 1)), "tokens_per_second": 5000 + 100*wobble, "mean_token_accuracy": 0.5,
		}
		if change != nil {
			change(i, e)
		}
		log = append(log, e)
		if i%5 == 4 {
			ev := Entry{"step": i + 1, "eval_loss": 1.6 + 2*math.Exp(-4*t) + wobble/10, "eval_mean_token_accuracy": 0.5}
			if change != nil {
				change(-i, ev)
			}
			log = append(log, ev)
		}
	}
	return log
}

func TestFindings(t *testing.T) {
	set := func(key string, v any, where func(i int) bool) func(int, Entry) {
		return func(i int, e Entry) {
			if i >= 0 && where(i) {
				e[key] = v
			}
		}
	}
	for _, c := range []struct {
		name string
		log  []Entry
		want []Kind
		says string
	}{
		{"healthy", training(60, nil), nil, ""},
		{"healthy and short", training(6, nil), nil, ""},
		{"spike", training(60, set("loss", 9.0, func(i int) bool { return i == 40 })), []Kind{LossSpike}, "step 41"},
		{"explosion", training(60, set("grad_norm", 300.0, func(i int) bool { return i == 30 })), []Kind{Explosion}, "step 31"},
		{"diverged", training(60, func(i int, e Entry) {
			if i >= 0 {
				e["loss"] = 3 + 0.1*float64(i)
			}
		}), []Kind{Diverged}, "learning_rate"},
		{"rate too high", append([]Entry{{"step": 0, KeyMaxSteps: 60.0, KeyWeightRMS: 1e-4, KeyOptim: "adamw"}}, training(60, nil)[1:]...), []Kind{RateTooHigh}, "5e-06"},
		{"not finite", training(60, set("loss", nil, func(i int) bool { return i == 20 })), []Kind{NotFinite}, "finite"},
		{"guessing", training(60, set("loss", 6.9, func(i int) bool { return true })), []Kind{Plateau}, "vocabulary's 1000 tokens"},
		{"no learning rate", training(60, func(i int, e Entry) {
			if i >= 0 {
				e["loss"], e["learning_rate"] = 2.0, 1e-9
			}
		}), []Kind{Plateau}, "at most 1e-09"},
		{"a good model on what it knows", training(60, set("loss", 2.0, func(i int) bool { return true })), nil, ""},
		{"over-fit", training(60, func(i int, e Entry) {
			if i < 0 {
				e["eval_loss"] = 2 + 0.001*math.Abs(float64(-i)-24)*math.Abs(float64(-i)-24)
			}
		}), []Kind{Overfit}, "since step 30"},
		{"by heart", training(60, func(i int, e Entry) {
			if i < 0 {
				delete(e, "eval_loss")
			} else if e["epoch"] = i; i > 30 {
				e["loss"] = 0.001
			}
		}), []Kind{Memorised}, "100 rows"},
		{"schedule", training(60, set("learning_rate", 0.0, func(i int) bool { return i > 30 })), []Kind{ScheduleEnded}, "28 of 60"},
		{"warm-up", training(60, func(i int, e Entry) {
			if i >= 0 && i < 20 {
				e["learning_rate"] = 1e-4 * float64(i) * float64(i) / 400
			}
		}), nil, ""},
		{"slow", training(60, set("tokens_per_second", 900.0, func(i int) bool { return i > 40 })), []Kind{Throughput}, "since step"},
		{"slow for an evaluation", training(60, set("tokens_per_second", 100.0, func(i int) bool { return i%10 == 0 })), nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			found := All(c.log)
			var kinds []Kind
			for _, f := range found {
				kinds = append(kinds, f.Kind)
				if len(f.Evidence) == 0 || len(f.Try) == 0 || f.What == "" {
					t.Errorf("%s lacks evidence or advice", f.Kind)
				}
			}
			if !slices.Equal(kinds, c.want) {
				t.Errorf("found %v, want %v\n%v", kinds, c.want, found)
			}
			if text := fmt.Sprint(found); !strings.Contains(text, c.says) {
				t.Errorf("%q does not say %q", text, c.says)
			}
		})
	}
}

// The facts are judged when they come, and each kind is said once.
func TestFacts(t *testing.T) {
	var m Monitor
	facts := Entry{"step": 0, KeyMaxSteps: 10.0, KeyTrainRows: 50.0, KeyTokens: 4000.0, KeyTrainTokens: 50.0, KeyEvalRows: 20.0, KeyLeakedRows: 20.0}
	found := m.Add(facts)
	if len(found) != 2 || found[0].Kind != Masked || found[1].Kind != Leak {
		t.Fatalf("found %v", found)
	}
	if again := m.Add(facts); len(again) > 0 {
		t.Errorf("said twice: %v", again)
	}
	if f := All([]Entry{{"step": 0, KeyMaxSteps: 10.0}}); len(f) > 0 {
		t.Errorf("unknown facts are judged: %v", f)
	}
	good := m.Add(Entry{"step": 5, "eval_loss": 0.001, "eval_mean_token_accuracy": 1.0})
	if len(good) != 1 || good[0].Kind != TooGood || !strings.Contains(good[0].String(), "20 evaluation rows") {
		t.Errorf("found %v", good)
	}
}
