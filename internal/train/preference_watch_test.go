package train

import (
	"strings"
	"testing"
)

func TestPreferenceWatch(t *testing.T) {
	for name, c := range map[string]struct {
		at   func(step float64) (accuracy, margin, logp float64)
		want string // "" for silence
	}{
		"healthy":   {func(s float64) (float64, float64, float64) { return 0.5 + s/400, s / 100, -50 - s/20 }, ""},
		"stuck":     {func(s float64) (float64, float64, float64) { return 0.5, 0.001, -50 }, "does not tell chosen from rejected"},
		"collapse":  {func(s float64) (float64, float64, float64) { return 0.9, s / 20, -50 - s }, "chosen answers themselves become unlikely"},
		"exploding": {func(s float64) (float64, float64, float64) { return 1, s / 3, -50 }, "loss is saturated"},
	} {
		var w preferenceWatch
		var said []string
		for s := range 120 {
			acc, margin, logp := c.at(float64(s))
			said = append(said, w.observe(map[string]float64{"rewards/accuracies": acc, "rewards/margins": margin, "logps/chosen": logp})...)
		}
		if c.want == "" && len(said) > 0 || c.want != "" && (len(said) != 1 || !strings.Contains(said[0], c.want)) {
			t.Errorf("%s: %q", name, said)
		}
	}
}
