package train

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/mltrain/mltrain/internal/checkpoint"
	"github.com/mltrain/mltrain/internal/model"
	"github.com/mltrain/mltrain/internal/nn"
)

// Whatever an adapter_config.json holds, it is refused, or it describes an adapter that the builder accepts or faults; written
// again, it says the same.
func FuzzAdapterConfig(f *testing.F) {
	dirs, err := filepath.Glob(filepath.Join(loraDir, "*", "adapter_config.json"))
	if err != nil || len(dirs) == 0 {
		f.Fatalf("no adapters (%v)", err)
	}
	for _, path := range dirs {
		raw, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	for _, text := range []string{
		"", "{}", "null", "[]", `{"peft_type":"LORA","r":1e9,"lora_alpha":1e300,"target_modules":"("}`, `{"peft_type":"LORA","r":-1}`,
		`{"peft_type":"LORA","r":2,"target_modules":["q_proj"],"rank_pattern":{"":0,"(":3},"layers_to_transform":-5}`,
		`{"peft_type":"LORA","r":2,"target_modules":"all-linear","init_lora_weights":{"a":1}}`, `{"peft_type":"LORA","peft_type":"IA3","r":2}`,
		`{"peft_type":"LORA","r":4611686018427387904,"target_modules":"all-linear","layers_to_transform":[0,0],"modules_to_save":["","model"]}`,
	} {
		f.Add([]byte(text))
	}
	configJSON, err := os.ReadFile(filepath.Join(modelsDir, "llama", "config.json"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := checkpoint.ParseAdapterConfig(text)
		if err != nil {
			return
		}
		again, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		d, err := checkpoint.ParseAdapterConfig(again)
		if err != nil || !reflect.DeepEqual(c, d) && string(again) != mustJSON(t, d) {
			t.Fatalf("%s\nwas written as %s\nand read as %+v (%v)", text, again, d, err)
		}
		b := nn.NewBuilder(nn.Options{Adapter: adapterFrom(c)})
		if _, err := model.New(configJSON, b, model.Options{Positions: 8}); err == nil {
			_ = b.Err()
		}
	})
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestAdapterConfigsAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		`{"peft_type":"IA3","r":2}`:                                                    `peft_type is "IA3"`,
		`{"peft_type":"LORA"}`:                                                         "r is 0",
		`{"peft_type":"LORA","r":2,"rank_pattern":{"q_proj":0}}`:                       "rank_pattern: q_proj is 0",
		`{"peft_type":"LORA","r":2,"lora_dropout":1.5}`:                                "lora_dropout 1.5",
		`{"peft_type":"LORA","r":2,"init_lora_weights":"olora"}`:                       `"olora", which changes the base model`,
		`{"peft_type":"LORA","r":2,"init_lora_weights":7}`:                             "init_lora_weights is 7",
		`{"peft_type":"LORA","r":2,"use_qalora":true,"target_parameters":["experts"]}`: "use_qalora is true",
		`{"peft_type":"LORA","r":2,"layers_to_transform":[-1]}`:                        "found -1",
		`{"peft_type":"LORA","r":"two"}`:                                               "r",
		`{`:                                                                            "JSON",
	} {
		_, err := checkpoint.ParseAdapterConfig([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}
