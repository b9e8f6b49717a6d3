package train

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mltrain/mltrain/internal/checkpoint"
	"github.com/mltrain/mltrain/internal/cpu"
	"github.com/mltrain/mltrain/internal/nn"
)

const bnbDir = "../../testdata/bnb"

// bnbGolden says of which model of testdata/models a checkpoint of testdata/bnb was made.
type bnbGolden struct {
	Base   string
	Nested bool
}

// model returns the golden of the model that the checkpoint was made of; of one that is not there, those of the model with the same
// vocabulary, for its rows.
func (g bnbGolden) model(t *testing.T) golden {
	t.Helper()
	if g.Base == "wide" {
		g.Base = "llama"
	}
	return readGolden(t, filepath.Join(modelsDir, g.Base))
}

// eachBnB calls fn with each checkpoint; original asks for those only of which the model is there as well.
func eachBnB(t *testing.T, original bool, fn func(t *testing.T, dir string, g bnbGolden)) {
	dirs, err := filepath.Glob(filepath.Join(bnbDir, "*", "golden.json"))
	if err != nil || len(dirs) != 5 {
		t.Fatalf("found %d goldens (%v)", len(dirs), err)
	}
	for _, path := range dirs {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var g bnbGolden
		if err := json.Unmarshal(raw, &g); err != nil {
			t.Fatal(err)
		}
		if original && g.Base == "wide" {
			continue
		}
		t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) { fn(t, filepath.Dir(path), g) })
	}
}

// A checkpoint that transformers and bitsandbytes wrote gives their logits, held in four bits and decoded.
func TestBitsAndBytesCheckpointsGiveTheirLogits(t *testing.T) {
	eachBnB(t, false, func(t *testing.T, dir string, g bnbGolden) {
		want, err := checkpoint.OpenFile(filepath.Join(dir, "golden.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		defer want.Close()
		base := g.model(t)
		for _, f := range []form{asStored, decodedForm} {
			l, err := loadFrozen(cpu.New(), dir, nil, len(base.InputIDs[0]), f)
			if err != nil {
				t.Fatal(err)
			}
			packed := 0
			for _, w := range l.store.Weights {
				if w.Quant != nil {
					packed++
				}
			}
			if (packed == 0) != (f == decodedForm) {
				t.Fatalf("%d weights in four bits", packed)
			}
			for r, n := range base.Lengths {
				got, err := l.logits(base.InputIDs[r][:n])
				if err != nil {
					t.Fatal(err)
				}
				if d, s := maxDiff(got, floats(t, want, "logits."+string(rune('0'+r)))); !(d <= 1e-5*s) {
					t.Errorf("form %d, row %d: logits differ by %g (largest %g)", f, r, d, s)
				}
			}
			if err := l.close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// What quantises here is, tensor for tensor, what bitsandbytes writes: codes, scales and maps to the bit; the offset of double
// quantisation within two units in the last place.
func TestQuantiseWritesWhatBitsAndBytesWrites(t *testing.T) {
	eachBnB(t, true, func(t *testing.T, dir string, g bnbGolden) {
		out := filepath.Join(t.TempDir(), "out")
		q, err := Quantise(filepath.Join(modelsDir, g.Base), out, g.Nested, "float32")
		if err != nil {
			t.Fatal(err)
		}
		if len(q.Layers) == 0 || !(q.Layers[0].Relative > 0.01 && q.Layers[0].Relative < 0.3) || q.Bytes >= q.BytesBefore {
			t.Errorf("%+v", q)
		}
		want, err := checkpoint.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer want.Close()
		got, err := checkpoint.Open(out)
		if err != nil {
			t.Fatal(err)
		}
		defer got.Close()
		if a, b := strings.Join(got.Names(), " "), strings.Join(want.Names(), " "); a != b {
			t.Fatalf("tensors %s\nwant    %s", a, b)
		}
		for _, name := range want.Names() {
			a, err := got.Bytes(name)
			if err != nil {
				t.Fatal(err)
			}
			b, err := want.Bytes(name)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(name, "quant_state") {
				var x, y map[string]any
				if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
					t.Fatalf("%s: %s, want %s", name, a, b)
				}
				if g.Nested {
					p, r := x["nested_offset"].(float64), y["nested_offset"].(float64)
					if !(p-r <= 2.4e-7*r && r-p <= 2.4e-7*r) {
						t.Errorf("%s: offset %v, want %v", name, p, r)
					}
					delete(x, "nested_offset")
					delete(y, "nested_offset")
				}
				if p, r := mustJSON(t, x), mustJSON(t, y); p != r {
					t.Errorf("%s: %s, want %s", name, p, r)
				}
				continue
			}
			if g.Nested && strings.HasSuffix(name, ".nested_absmax") {
				continue // scales of what is left when the offset is taken off
			}
			different := 0
			for i := range b {
				if a[i] != b[i] {
					different++
				}
			}
			if len(a) != len(b) || different > 0 {
				t.Errorf("%s: %d of %d bytes differ", name, different, len(b))
			}
		}
	})
}

// A checkpoint in four bits trains an adapter as its decoded weights do, and takes the memory that was planned.
func TestAdaptersOnBitsAndBytesCheckpoints(t *testing.T) {
	eachBnB(t, true, func(t *testing.T, dir string, g bnbGolden) {
		base := g.model(t)
		run := func(decode bool) (losses []float64) {
			a := &nn.Adapter{R: 4, Alpha: 8, Target: nn.Target{AllLinear: true}, Bias: "none", Init: "true"}
			spec := pissaSpec(t, g.Base, base, a)
			r, err := checkpoint.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { r.Close() })
			if spec.Source, err = ModelSource(r, spec.ConfigJSON); err != nil {
				t.Fatal(err)
			}
			spec.Decode = decode
			e := loraEngine(t, spec)
			for i := range 5 {
				losses = append(losses, lossOf(t, e, base.rows(false), base.NumLabelTokens))
				if _, err := e.Opt.Step(i+1, 1e-2, base.NumLabelTokens); err != nil {
					t.Fatal(err)
				}
			}
			return losses
		}
		packed, decoded := run(false), run(true)
		for i := range packed {
			if d := packed[i] - decoded[i]; !(d <= 1e-5*packed[i] && d >= -1e-5*packed[i]) {
				t.Errorf("step %d: loss %.7f in four bits, %.7f decoded", i, packed[i], decoded[i])
			}
		}
		if packed[4] >= packed[0] {
			t.Errorf("nothing is learnt: %v", packed)
		}
	})
}

// What a checkpoint holds that is not NF4 as bitsandbytes writes it is refused by name, all faults at once.
func TestFaultyBitsAndBytesCheckpoints(t *testing.T) {
	dir := filepath.Join(bnbDir, "llama")
	r, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	const weight = "model.layers.0.mlp.down_proj.weight"
	state := weight + ".quant_state.bitsandbytes__nf4"
	replace := func(old, new string) func(name string, b []byte) (string, []byte) {
		return func(name string, b []byte) (string, []byte) {
			if name == state {
				b = []byte(strings.Replace(string(b), old, new, 1))
			}
			return name, b
		}
	}
	for name, tc := range map[string]struct {
		change func(name string, b []byte) (string, []byte)
		want   []string
	}{
		"unknown quant_type": {replace(`"nf4"`, `"fp4"`), []string{weight, `quant_type "fp4" is not supported; only nf4 is`}},
		"a file in fp4": {func(name string, b []byte) (string, []byte) {
			if name == state {
				return strings.Replace(name, "nf4", "fp4", 1), []byte(strings.Replace(string(b), `"nf4"`, `"fp4"`, 1))
			}
			return name, b
		}, []string{weight, `quant_type "fp4" is not supported; only nf4 is`}},
		"block size":    {replace("64", "128"), []string{weight, "blocksize 128"}},
		"shape":         {replace("[48, 57]", "[48, 59]"), []string{weight, "[1368 1]", "1416 elements"}},
		"three sides":   {replace("[48, 57]", "[48, 57, 1]"), []string{"needed are two sides"}},
		"negative side": {replace("[48, 57]", "[-48, 57]"), []string{"needed are two sides"}},
		"no JSON":       {replace("{", "("), []string{weight, "quant_state"}},
		"scales missing": {func(name string, b []byte) (string, []byte) {
			return strings.Replace(name, "down_proj.weight.absmax", "down_proj.weight.abs", 1), b
		}, []string{weight, "absmax is missing"}},
		"another map": {func(name string, b []byte) (string, []byte) {
			if name == weight+".quant_map" {
				b = append([]byte{0, 0, 0, 0}, b[4:]...)
			}
			return name, b
		}, []string{weight, "quant_map: value 0 is 0; that of nf4 is -1"}},
	} {
		t.Run(name, func(t *testing.T) {
			var tensors []checkpoint.Tensor
			for _, n := range r.Names() {
				info, _ := r.Info(n)
				b, err := r.Bytes(n)
				if err != nil {
					t.Fatal(err)
				}
				dt, _ := checkpoint.ParseDType(info.DType)
				to, data := tc.change(n, b)
				shape := info.Shape
				if len(data) != len(b) {
					shape = []int{len(data)}
				}
				tensors = append(tensors, checkpoint.Tensor{Name: to, DType: dt, Shape: shape, Data: data})
			}
			path := filepath.Join(t.TempDir(), "model.safetensors")
			if err := checkpoint.WriteFile(path, tensors, nil); err != nil {
				t.Fatal(err)
			}
			bad, err := checkpoint.OpenFile(path)
			if err != nil {
				t.Fatal(err)
			}
			defer bad.Close()
			_, err = ModelSource(bad, []byte("{}"))
			if err == nil {
				t.Fatal("accepted")
			}
			for _, w := range tc.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("the message lacks %q: %v", w, err)
				}
			}
		})
	}
	for text, want := range map[string]string{
		`{"quantization_config":{"quant_method":"gptq"}}`:                                             "quant_method gptq",
		`{"quantization_config":{"quant_method":"bitsandbytes","load_in_8bit":true}}`:                 "load_in_8bit",
		`{"quantization_config":{"quant_method":"bitsandbytes","bnb_4bit_quant_type":"fp4"}}`:         "bnb_4bit_quant_type fp4",
		`{"quantization_config":{"quant_method":"bitsandbytes","bnb_4bit_quant_storage":"bfloat16"}}`: "bnb_4bit_quant_storage bfloat16",
	} {
		if _, err := ModelSource(r, []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

// An adapter merges into a model in four bits, decoded, and into what four bits leave of a model, to the same weights.
func TestMergeIntoFourBits(t *testing.T) {
	eachBnB(t, true, func(t *testing.T, dir string, g bnbGolden) {
		adapter := filepath.Join(loraDir, g.Base+"-lora")
		base := g.model(t)
		probe := base.InputIDs[0][:base.Lengths[0]]
		first, second := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
		m, err := Merge(cpu.New(), dir, adapter, first, probe)
		if err != nil {
			t.Fatal(err)
		}
		if !m.Dequantised || m.Merged == 0 || !(m.MaxLogitDiff <= 2e-5*max(1, m.MaxLogit)) {
			t.Errorf("%+v", m)
		}
		if m, err = MergeNF4(cpu.New(), filepath.Join(modelsDir, g.Base), adapter, second, probe, g.Nested); err != nil {
			t.Fatal(err)
		}
		if !m.Dequantised {
			t.Errorf("%+v", m)
		}
		a, err := checkpoint.Open(first)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		b, err := checkpoint.Open(second)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		for _, name := range b.Names() {
			x, y := floats(t, a, name), floats(t, b, name)
			if d, s := maxDiff(x, y); !(d <= 1e-6*s) {
				t.Errorf("%s: weights differ by %g (largest %g)", name, d, s)
			}
		}
		raw, err := os.ReadFile(filepath.Join(first, "config.json"))
		if err != nil || strings.Contains(string(raw), "quantization_config") {
			t.Errorf("config.json still says that it is quantised (%v)", err)
		}
	})
}
