package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const testConfig = "{\n  \"hidden_size\": 8,\n  \"rms_norm_eps\": 1e-05,\n  \"torch_dtype\": \"float32\",\n  \"unknown\": {\"b\": 1.0, \"a\": null}\n}\n"

// sourceFiles are what a checkpoint from the hub may hold; carried says which of them belong to a new one.
func sourceFiles() (all, carried map[string]string) {
	carried = map[string]string{
		"tokenizer.json": "{}", "tokenizer_config.json": "{ }", "special_tokens_map.json": "{}", "generation_config.json": "{}",
		"chat_template.jinja": "{{ messages }}", "vocab.json": "{}", "merges.txt": "a b", "tokenizer.model": "\x00\xff", "README.md": "# hi", "LICENSE": "x",
		"additional_chat_templates/rag.jinja": "{{ rag }}", "modeling_custom.py": "pass",
	}
	all = map[string]string{
		"config.json": testConfig, "model.safetensors": "old", "pytorch_model.bin": "p", "pytorch_model.bin.index.json": "{}",
		"model.safetensors.index.json": "{}", "consolidated.00.pth": "p", "original/consolidated.00.pth": "p", "tf_model.h5": "h", "flax_model.msgpack": "m",
		"optimizer.pt": "o", "scheduler.pt": "s", "rng_state_0.pth": "r", "training_args.bin": "t", "trainer_state.json": "{}", "run.yaml": "x",
		"metrics.jsonl": "{}", "training_state/state.json": "{}", "checkpoint-7/tokenizer.json": "{}", "runs/events": "e", ".gitattributes": "g",
		".cache/x": "c", "earlier-run/run.yaml": "x", "earlier-run/notes.txt": "n", "onnx/model.onnx": "o", "model.gguf": "g",
	}
	for k, v := range carried {
		all[k] = v
	}
	return all, carried
}

func TestSaveModel(t *testing.T) {
	all, want := sourceFiles()
	src := t.TempDir()
	writeTree(t, src, all)
	if err := os.Symlink(filepath.Join(src, "LICENSE"), filepath.Join(src, "NOTICE")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(src, "nowhere"), filepath.Join(src, "dangling")); err != nil {
		t.Fatal(err)
	}
	want["NOTICE"] = "x"
	want["config.json"] = strings.Replace(testConfig, "float32", "bfloat16", 1)
	for _, dst := range []string{
		filepath.Join(t.TempDir(), "new", "out"),
		filepath.Join(src, "out"), // within the source
		filepath.Join(src, "out", ".checkpoint-3.mltrain-tmp-1"),
	} {
		for range 2 { // saving again replaces
			if err := SaveModel(dst, src, goldenTensors(), map[string]any{"dtype": "bfloat16"}, 0); err != nil {
				t.Fatal(err)
			}
			got := readTree(t, dst)
			delete(got, SingleFile)
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			openAndCheck(t, dst, goldenTensors())
			if names := dirNames(t, dst); strings.Contains(strings.Join(names, " "), "mltrain-") {
				t.Errorf("left behind: %v", names)
			}
		}
	}
}

func openAndCheck(t *testing.T, dir string, want []Tensor) {
	t.Helper()
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	checkContents(t, r, want)
}

// Saving over a model of another number of files leaves the new files only.
func TestSaveModelReplacesShards(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	writeTree(t, src, map[string]string{"config.json": testConfig})
	for i, max := range []int64{0, 60, 30, 30, 0} {
		ts := goldenTensors()[:2+i]
		if err := SaveModel(dst, src, ts, nil, max); err != nil {
			t.Fatal(err)
		}
		openAndCheck(t, dst, ts)
		names := dirNames(t, dst)
		if got := slices.Contains(names, SingleFile); got != (max == 0) || slices.Contains(names, IndexFile) == got {
			t.Errorf("limit %d left %v", max, names)
		}
	}
}

// The model may be trained in place: the source is read while its successor is written.
func TestSaveModelInPlace(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, map[string]string{"config.json": testConfig, "tokenizer.json": "{}"})
	if err := WriteFile(filepath.Join(dir, SingleFile), goldenTensors(), nil); err != nil {
		t.Fatal(err)
	}
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := SaveModel(dir, dir, []Tensor{f32("new", []int{1}, 7)}, map[string]any{"x": 1}, 0); err != nil {
		t.Fatal(err)
	}
	checkContents(t, r, goldenTensors())
	openAndCheck(t, dir, []Tensor{f32("new", []int{1}, 7)})
	if got := readTree(t, dir); got["tokenizer.json"] != "{}" || !strings.Contains(got["config.json"], `"x": 1`) || len(got) != 3 {
		t.Errorf("%v", got)
	}
}

func TestSaveModelFails(t *testing.T) {
	src := t.TempDir()
	writeTree(t, src, map[string]string{"config.json": testConfig, "tokenizer.json": "new"})
	broken := t.TempDir()
	writeTree(t, broken, map[string]string{"config.json": "{"})
	boom := errors.New("boom")
	failing := f32("a", []int{1}, 1)
	failing.Data, failing.Write = nil, func(io.Writer) error { return boom }
	sound := []Tensor{f32("a", []int{1}, 1)}
	for _, c := range []struct {
		name, src string
		tensors   []Tensor
		over      map[string]any
		want      string
	}{
		{"no source", filepath.Join(src, "no"), sound, nil, "config.json"},
		{"no config", t.TempDir(), sound, nil, "config.json"},
		{"broken config", broken, sound, nil, "ends too early"},
		{"override that is no JSON", src, sound, map[string]any{"f": func() {}}, `"f"`},
		{"weights that fail", src, []Tensor{failing}, nil, "boom"},
		{"weights that cannot be stored", src, []Tensor{{Name: "a"}}, nil, `"a"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			dst := t.TempDir()
			before := map[string]string{"config.json": "old", "tokenizer.json": "old", "model.safetensors": "old"}
			writeTree(t, dst, before)
			wantErr(t, SaveModel(dst, c.src, c.tensors, c.over, 0), nil, c.want)
			wantTree(t, dst, before)
		})
	}
}

// However far publishing gets before the process dies, the directory holds the old weights whole, the new weights whole, or
// weights that Open refuses.
func TestPublishIsNeverAMix(t *testing.T) {
	version := func(v float32, n int) []Tensor {
		var ts []Tensor
		for i := range n {
			ts = append(ts, f32(fmt.Sprintf("t%d", i), []int{1}, v))
		}
		return ts
	}
	for _, c := range []struct{ oldMax, newMax int64 }{{0, 0}, {4, 4}, {0, 4}, {4, 0}, {8, 4}} {
		for stop := range 12 {
			dst, stage := t.TempDir(), t.TempDir()
			if _, err := writeWeights(dst, version(1, 4), c.oldMax); err != nil {
				t.Fatal(err)
			}
			names, err := writeWeights(stage, version(2, 4), c.newMax)
			if err != nil {
				t.Fatal(err)
			}
			// Renaming a file that is not there fails: the same state on disk as dying before that rename.
			complete := stop >= len(names)
			if !complete {
				if err := os.Remove(filepath.Join(stage, names[stop])); err != nil {
					t.Fatal(err)
				}
			}
			if err := publish(stage, dst, nil, names); (err == nil) != complete {
				t.Fatalf("stop %d: %v", stop, err)
			}
			r, err := Open(dst)
			if err != nil {
				if complete {
					t.Errorf("%+v: %v", c, err)
				}
				continue
			}
			seen := map[string]bool{}
			for _, name := range r.Names() {
				b, err := r.Bytes(name)
				if err != nil {
					t.Fatal(err)
				}
				seen[string(b)] = true
			}
			if len(seen) != 1 || complete != seen[string(version(2, 1)[0].Data)] {
				t.Errorf("%+v, dead before file %d: a mix of old and new", c, stop)
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
