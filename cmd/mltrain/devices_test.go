package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestDevices(t *testing.T) {
	var r DevicesResult
	if err := json.Unmarshal([]byte(must(t, "devices", "--json")), &r); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(r.CPU.Name, "cpu") || r.CPU.Threads < 1 || r.Why == "" || r.CUDA.Problem == "" && len(r.CUDA.Devices) == 0 {
		t.Errorf("got %+v", r)
	}
	if r.Products.Problem == "" && r.Products.Version == "" {
		t.Errorf("nothing is said of products: %+v", r.Products)
	}
	text := must(t, "devices")
	for _, want := range []string{"cpu ", "emulator ", "auto ", r.CPU.Name, r.Why} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestBadCUBLASLT(t *testing.T) {
	t.Setenv("MLTRAIN_CUBLASLT", "perhaps")
	for _, args := range [][]string{{"devices"}, {"verify", "--device", "cpu"}} {
		if code, _, stderr := mltrain(t, args...); code != 2 || !strings.Contains(stderr, `MLTRAIN_CUBLASLT: expected on or off, found "perhaps"`) {
			t.Errorf("%v: exit code %d: %s", args, code, stderr)
		}
	}
}

// The GPU's kernels against the CPU's, by the command that users have.
func TestVerifyEmulator(t *testing.T) {
	if testing.Short() {
		t.Skip("the interpreter is slow")
	}
	var r VerifyResult
	if err := json.Unmarshal([]byte(must(t, "verify", "--device", "emulator", "--quick", "--json")), &r); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, c := range r.Checks {
		seen[c.Group+"/"+c.Name] = c.OK && c.CPU > 0
	}
	if !r.OK || r.Device != "emulator" || len(r.Checks) < 47 {
		t.Errorf("got %+v", r)
	}
	for _, name := range []string{"gemm", "attention backward", "dequantise", "nf4 product", "optimiser"} {
		for _, format := range []string{"float32", "bfloat16"} {
			if !seen["kernels in "+format+"/"+name] {
				t.Errorf("%s was not compared in %s", name, format)
			}
		}
	}
}

func TestVerifyCommand(t *testing.T) {
	var r VerifyResult
	if err := json.Unmarshal([]byte(must(t, "verify", "--device", "cpu", "--json")), &r); err != nil {
		t.Fatal(err)
	}
	if !r.OK || len(r.Checks) < 6 || !strings.HasPrefix(r.Device, "cpu") {
		t.Errorf("got %+v", r)
	}
	if text := must(t, "verify", "--device", "cpu"); !strings.Contains(text, "finite differences") || !strings.Contains(text, "checks hold") {
		t.Errorf("got\n%s", text)
	}
	if code, _, stderr := mltrain(t, "verify", "--device", "tpu"); code != 2 || !strings.Contains(stderr, `no device "tpu"`) {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}
