package main

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"path/filepath"
	"testing"

	"github.com/mltrain/mltrain/internal/train"
)

// floats returns a float32 tensor's bytes as numbers.
func floats(raw string) []float64 {
	x := make([]float64, len(raw)/4)
	for i := range x {
		x[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32([]byte(raw[4*i : 4*i+4]))))
	}
	return x
}

// changeError is how far the weights in got have moved from where those in want have, as a share of how far they moved.
func changeError(t *testing.T, start, want, got map[string]string) float64 {
	t.Helper()
	var diff, change float64
	for name, raw := range want {
		if len(got[name]) != len(raw) {
			t.Fatalf("%s: %d bytes, want %d", name, len(got[name]), len(raw))
		}
		from, x, y := floats(start[name]), floats(raw), floats(got[name])
		for i := range x {
			diff += (x[i] - y[i]) * (x[i] - y[i])
			change += (x[i] - from[i]) * (x[i] - from[i])
		}
	}
	return math.Sqrt(diff / change)
}

// Ten steps on the GPU's kernels, in the interpreter, against ten on the CPU: each loss within 1%, how far the weights
// moved within what the number format allows, and the memory at the peak as it was planned, to the byte. What bfloat16 allows
// is what it takes from the CPU itself: as far as its weights are from those that it gets in float32.
func TestEmulatorTrainsLikeTheCPU(t *testing.T) {
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	model, data := testModel(t), sums(t, 6)
	start := tensors(t, model)
	for _, tc := range []struct{ name, command, bf16 string }{
		{"sft in float32", "sft", "false"},
		{"sft in bfloat16, which is the emulator's default", "sft", "auto"},
		{"pretrain in float32", "pretrain", "false"},
		{"pretrain in bfloat16", "pretrain", "auto"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if testing.Short() && tc.name != "sft in float32" {
				t.Skip("the interpreter is slow: -short runs one format")
			}
			run := func(device, bf16 string) (string, train.Result) {
				out := filepath.Join(t.TempDir(), device)
				var r train.Result
				stdout := must(t, tc.command, "--model", model, "--data", data, "--output", out, "--max-steps", "10", "--quiet", "--json", "--device", device,
					"--set", "max_length=24", "--set", "per_device_train_batch_size=1", "--set", "logging_steps=1", "--set", "learning_rate=0.003", "--set", "save_strategy=no",
					"--set", "bf16="+bf16)
				if err := json.Unmarshal([]byte(stdout), &r); err != nil {
					t.Fatal(err)
				}
				return out, r
			}
			inBF16 := tc.bf16 == "auto"
			wantDir, _ := run("cpu", map[bool]string{false: "false", true: "true"}[inBF16])
			gotDir, r := run("emulator", tc.bf16)
			want, got := metrics(t, wantDir, "loss"), metrics(t, gotDir, "loss")
			if len(want) != 10 || len(got) != 10 {
				t.Fatalf("%d and %d losses, want 10", len(want), len(got))
			}
			for i := range want {
				if !(math.Abs(got[i]-want[i]) <= 0.01*want[i]) {
					t.Errorf("step %d: loss %.6f, the CPU's is %.6f", i+1, got[i], want[i])
				}
			}
			moved := 1e-4
			if inBF16 {
				exact, _ := run("cpu", "false")
				if off := math.Abs(metrics(t, exact, "loss")[9] - got[9]); off < 1e-5 {
					t.Errorf("the last loss is float32's, %g off: nothing was rounded", off)
				}
				moved = changeError(t, start, tensors(t, exact), tensors(t, wantDir))
			}
			if r.Peak == 0 || r.Peak != r.PlannedPeak {
				t.Errorf("%d bytes at the peak, %d were planned", r.Peak, r.PlannedPeak)
			}
			if err := changeError(t, start, tensors(t, wantDir), tensors(t, gotDir)); !(err <= moved) {
				t.Errorf("the weights' change differs by %g of its norm from the CPU's, want at most %g", err, moved)
			} else {
				t.Logf("the weights' change differs by %.2g of its norm, %.2g are allowed", err, moved)
			}
		})
	}
}
