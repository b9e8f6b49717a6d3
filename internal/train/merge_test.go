package train

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/mltrain/mltrain/internal/cpu"
	"github.com/mltrain/mltrain/internal/nn"
)

func TestMergeEqualsAdapter(t *testing.T) {
	eachLora(t, func(t *testing.T, dir string, g loraGolden) {
		out := filepath.Join(t.TempDir(), "merged")
		m, err := Merge(cpu.New(), filepath.Join(modelsDir, g.Base), dir, out, g.InputIDs[0][:g.Lengths[0]])
		if err != nil {
			t.Fatal(err)
		}
		if m.Merged == 0 || !(m.MaxLogitDiff <= 2e-5*max(1, m.MaxLogit)) || !(m.KL <= 1e-6) {
			t.Errorf("%d layers merged, logits differ by %g (largest %g), KL %g", m.Merged, m.MaxLogitDiff, m.MaxLogit, m.KL)
		}
	})
}

func TestAdapterOfAnotherBaseIsNamed(t *testing.T) {
	_, err := Merge(cpu.New(), filepath.Join(modelsDir, "qwen2"), filepath.Join(loraDir, "llama-lora"), filepath.Join(t.TempDir(), "out"), []int32{1})
	if err == nil || !strings.Contains(err.Error(), "q_proj.lora_A.weight: shape [4 48] in the adapter") {
		t.Errorf("got %v", err)
	}
}

func TestTiedEmbeddingsAreRefused(t *testing.T) {
	g := readLoraGolden(t, filepath.Join(loraDir, "llama-lora"))
	for _, change := range []func(*nn.Adapter){
		func(a *nn.Adapter) { a.Target = nn.Target{Names: []string{"embed_tokens"}} },
		func(a *nn.Adapter) { a.Save = []string{"embed_tokens"} },
	} {
		a := &nn.Adapter{R: 4, Alpha: 8, Bias: "none", Init: "true", Target: nn.Target{AllLinear: true}}
		change(a)
		_, err := loadFrozen(cpu.New(), filepath.Join(modelsDir, "llama-tied"), a, len(g.InputIDs[0]), asStored)
		if err == nil || !strings.Contains(err.Error(), "tie_word_embeddings") {
			t.Errorf("got %v", err)
		}
	}
}

func TestFaultyTargetsAreNamed(t *testing.T) {
	for name, c := range map[string]struct {
		a    nn.Adapter
		want string
	}{
		"nothing matches": {nn.Adapter{R: 4, Target: nn.Target{Names: []string{"query"}}}, "nothing in the model matches query; there are q_proj, k_proj"},
		"rank too large":  {nn.Adapter{R: 99, Target: nn.Target{AllLinear: true}}, "rank 99 is larger than a side"},
		"the head":        {nn.Adapter{R: 4, Target: nn.Target{Names: []string{"lm_head"}}}, "modules_to_save"},
	} {
		c.a.Bias = "none"
		_, err := loadFrozen(cpu.New(), filepath.Join(modelsDir, "llama"), &c.a, 8, asStored)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
