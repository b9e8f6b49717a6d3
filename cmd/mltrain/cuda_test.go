//go:build cuda && linux && (amd64 || arm64)

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/mltrain/mltrain/internal/gpu"
	"github.com/mltrain/mltrain/internal/gpu/cuda/fakecuda"
	"github.com/mltrain/mltrain/internal/tensor"
	"github.com/mltrain/mltrain/internal/train"
)

// recorder writes down what a driver is asked for, as the stand-in for libcuda does.
type recorder struct {
	gpu.Driver
	log *[]string
}

func (r recorder) note(format string, args ...any) {
	*r.log = append(*r.log, fmt.Sprintf(format, args...))
}

func (r recorder) Alloc(n int64) (gpu.Ptr, error) {
	r.note("alloc %d", n)
	return r.Driver.Alloc(n)
}

func (r recorder) Upload(dst gpu.Ptr, src []byte) error {
	r.note("upload %d", len(src))
	return r.Driver.Upload(dst, src)
}

func (r recorder) Download(dst []byte, src gpu.Ptr) error {
	r.note("download %d", len(dst))
	return r.Driver.Download(dst, src)
}

func (r recorder) Copy(dst, src gpu.Ptr, n int64) error {
	r.note("copy %d", n)
	return r.Driver.Copy(dst, src, n)
}

func (r recorder) Set(dst gpu.Ptr, value byte, n int64) error {
	r.note("set %d %d", n, value)
	return r.Driver.Set(dst, value, n)
}

func (r recorder) Load(ptx string) (gpu.Module, error) {
	r.note("module %d", len(ptx))
	m, err := r.Driver.Load(ptx)
	return recordedModule{r, m}, err
}

type recordedModule struct {
	r recorder
	m gpu.Module
}

func (m recordedModule) Function(name string) (gpu.Function, error) {
	f, err := m.m.Function(name)
	return recordedFunction{m.r, name, f}, err
}

type recordedFunction struct {
	r    recorder
	name string
	f    gpu.Function
}

func (f recordedFunction) Launch(grid, block [3]int, shared int, params []byte) error {
	f.r.note("launch %s %d,%d,%d %d,%d,%d %d %d", f.name, max(1, grid[0]), max(1, grid[1]), max(1, grid[2]), max(1, block[0]), max(1, block[1]), max(1, block[2]), shared, len(params))
	return f.f.Launch(grid, block, shared, params)
}

// standIn builds the stand-in for the driver's library and returns its folder; without a C compiler the test is skipped.
func standIn(t *testing.T) string {
	t.Helper()
	lib := t.TempDir()
	if err := fakecuda.Build(lib); errors.Is(err, exec.ErrNotFound) {
		t.Skipf("the stand-in for the driver needs a C compiler: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	return lib
}

// A whole training step through the driver library: what it is asked for, and in which order, is what the interpreter
// was, whose results other tests check.
func TestCUDAStepIsTheEmulators(t *testing.T) {
	lib := standIn(t)
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	model, data, logFile := testModel(t), sums(t, 6), filepath.Join(t.TempDir(), "log")
	args := func(device, out string) []string {
		return []string{"sft", "--model", model, "--data", data, "--output", out, "--max-steps", "1", "--device", device,
			"--set", "max_length=24", "--set", "per_device_train_batch_size=2", "--set", "gradient_checkpointing=true"}
	}
	onFake := func(lib, logFile string) {
		cmd := child(t, 1, args("cuda", filepath.Join(t.TempDir(), "out"))...)
		cmd.Env = append(cmd.Env, "LD_LIBRARY_PATH="+lib, fakecuda.EnvLog+"="+logFile)
		stderr, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, stderr)
		}
		if !strings.Contains(string(stderr), "Fake GPU 0") {
			t.Errorf("the report does not name the device:\n%s", stderr)
		}
		_, err = os.Stat(filepath.Join(lib, "libcublasLt.so.12"))
		if own := strings.Contains(string(stderr), "mltrain's own kernels'"); own != (err != nil) {
			t.Errorf("whether our own kernels multiply is not said:\n%s", stderr)
		}
	}
	onFake(lib, logFile)

	var want []string
	backend, err := gpu.New(recorder{gpu.EmulatorDriver(), &want})
	if err != nil {
		t.Fatal(err)
	}
	app := newApp(strings.NewReader(""), os.Stderr, os.Stderr)
	app.Quiet = true
	flags, cmd := &TrainFlags{}, &cobra.Command{}
	flags.Register(cmd)
	if err := cmd.ParseFlags(args("emulator", filepath.Join(t.TempDir(), "out"))[1:]); err != nil {
		t.Fatal(err)
	}
	r, err := flags.Load("sft")
	if err != nil {
		t.Fatal(err)
	}
	job, d, err := prepare(t.Context(), app, newTrainReport(app), r)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	job.Backend = backend
	if _, err := train.Run(t.Context(), job); err != nil {
		t.Fatal(err)
	}

	work := func(lines []string) (ordered []string, modules int) {
		for _, l := range lines {
			switch kind, _, _ := strings.Cut(l, " "); kind {
			case "module": // loaded in any order
				modules++
			case "free", "sync", "wait", "": // how the library is waited for is not seen by the interpreter
			default:
				ordered = append(ordered, l)
			}
		}
		return ordered, modules
	}
	got, modules := work(strings.Split(string(read(t, logFile)), "\n"))
	expected, wantModules := work(want)
	if modules != wantModules || modules == 0 {
		t.Errorf("%d modules loaded, want %d", modules, wantModules)
	}
	launches, onTensorCores := 0, 0
	for _, l := range got {
		if strings.HasPrefix(l, "launch ") {
			launches++
		}
		if strings.HasPrefix(l, "launch gemm_mma_") {
			onTensorCores++
		}
	}
	if !slices.Equal(got, expected) || launches < 100 {
		i := 0
		for i < len(got) && i < len(expected) && got[i] == expected[i] {
			i++
		}
		t.Errorf("%d calls with %d launches, want %d calls; they part at %d: %q, want %q", len(got), launches, len(expected), i, got[i:min(len(got), i+3)], expected[i:min(len(expected), i+3)])
	}
	if onTensorCores == 0 {
		t.Error("no product ran on tensor cores")
	}
	t.Logf("%d launches, %d of them products on tensor cores", launches, onTensorCores)

	// With cuBLASLt: the same calls, the library's products in the place of those of our kernels.
	if err := errors.Join(fakecuda.Build(lib), fakecuda.BuildBLAS(lib)); err != nil {
		t.Fatal(err)
	}
	logFile = filepath.Join(t.TempDir(), "log")
	onFake(lib, logFile)
	byLibrary, _ := work(strings.Split(string(read(t, logFile)), "\n"))
	room := slices.Index(byLibrary, "alloc 33554432") // for the library to work in
	if room < 0 || len(byLibrary) != len(got)+1 {
		t.Fatalf("%d calls with cuBLASLt, %d without", len(byLibrary), len(got))
	}
	byLibrary = slices.Delete(byLibrary, room, room+1)
	products := 0
	for i, l := range byLibrary {
		if strings.HasPrefix(l, "matmul ") {
			products++
			l = asLaunch(t, l)
		}
		if !strings.HasPrefix(got[i], l) {
			t.Errorf("call %d: %q, without the library %q", i, byLibrary[i], got[i])
		}
	}
	if products < onTensorCores { // those with few rows are the library's too
		t.Errorf("%d products by the library, want %d or more", products, onTensorCores)
	}
}

// asLaunch returns how the launch of our own kernel for a product of the library begins. The library sees matrices transposed: its
// first operand is our second, its m our n.
func asLaunch(t *testing.T, matmul string) string {
	t.Helper()
	var layouts, sizes, leading, format string
	var m, n, k, batch int
	if _, err := fmt.Sscanf(matmul, "matmul %s %s ld %s batch %d %s", &layouts, &sizes, &leading, &batch, &format); err != nil {
		t.Fatalf("%q: %v", matmul, err)
	}
	if _, err := fmt.Sscanf(sizes, "%d,%d,%d", &m, &n, &k); err != nil {
		t.Fatalf("%q: %v", matmul, err)
	}
	if layouts == "tn" && n <= 16 { // few rows
		rows := map[bool]int{true: 4, false: 16}[n <= 4]
		if n == 1 {
			rows = 1
		}
		return fmt.Sprintf("launch gemm_few_bf16_bf16_%d %d,1,%d 256,1,1 0 ", rows, (m+15)/16, batch)
	}
	return fmt.Sprintf("launch gemm_mma_%s_%c%c %d,%d,%d 256,1,1 0 ", format, layouts[1], layouts[0], (m+127)/128, (n+127)/128, batch)
}

// A model that does not fit is refused with what was asked for, what is free, and the smallest change with which it would fit.
func TestCUDAOutOfMemory(t *testing.T) {
	lib := standIn(t)
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	args := []string{"sft", "--model", testModel(t), "--data", sums(t, 40), "--output", filepath.Join(t.TempDir(), "out"), "--max-steps", "1", "--device", "cuda",
		"--set", "max_length=24", "--set", "per_device_train_batch_size=8", "--set", "gradient_checkpointing=true"}
	run := func(memory int) string {
		cmd := child(t, 1, args...)
		cmd.Env = append(cmd.Env, "LD_LIBRARY_PATH="+lib, fakecuda.EnvMemory+"="+fmt.Sprint(memory))
		out, err := cmd.CombinedOutput()
		if err == nil || cmd.ProcessState.ExitCode() != 1 {
			t.Errorf("%d bytes: %v\n%s", memory, err, out)
		}
		return string(out)
	}
	var plan planned
	if err := json.Unmarshal([]byte(must(t, append([]string{"plan", "--device", "emulator", "--json"}, dropDevice(args[1:])...)...)), &plan); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		memory int
		wants  []string
	}{
		{int(plan.Peak) - 4096, []string{"the run needs ", "activations ", "optimizer ", "it fits with per_device_train_batch_size: 4, gradient_accumulation_steps: 2"}},
		{int(plan.Peak) / 20, []string{"the run needs ", "no change that mltrain knows of makes it fit"}},
		// The plan fits, and leaves no room for what a kernel works in.
		{int(plan.Peak) + 100, []string{
			"gpu: alloc of 65536 bytes for kernel scratch", fmt.Sprintf("of %d bytes of Fake GPU 0 are free", plan.Peak+100), "out of device memory", "the run is planned to take ",
		}},
	} {
		text := run(c.memory)
		for _, want := range append(c.wants, "out of ", " Fake GPU 0 ") {
			if !strings.Contains(text, want) {
				t.Errorf("%d of %d bytes: no %q in\n%s", c.memory, plan.Peak, want, text)
			}
		}
	}
}

// The memory that cuBLASLt works in is part of what a run is planned to take, and of what it takes.
func TestCUDALibraryIsPlanned(t *testing.T) {
	lib := standIn(t)
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	args := []string{"--model", testModel(t), "--data", sums(t, 6), "--output", filepath.Join(t.TempDir(), "out"), "--device", "cuda", "--json", "--max-steps", "1", "--set", "max_length=24"}
	run := func(command string, result any) {
		cmd := child(t, 1, append([]string{command}, args...)...)
		cmd.Env = append(cmd.Env, "LD_LIBRARY_PATH="+lib)
		out, err := cmd.Output()
		if err == nil {
			err = json.Unmarshal(out, result)
		}
		if err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	var without, with planned
	run("plan", &without)
	if err := fakecuda.BuildBLAS(lib); err != nil {
		t.Fatal(err)
	}
	run("plan", &with)
	const room = 32 << 20
	if with.Peak != without.Peak+room || with.Bytes[tensor.UseLibrary] != room {
		t.Errorf("%d bytes are planned with the library, %d of them for it, and %d without", with.Peak, with.Bytes[tensor.UseLibrary], without.Peak)
	}
	var r train.Result
	run("sft", &r)
	if r.Peak != with.Peak || r.PlannedPeak != with.Peak {
		t.Errorf("%d bytes at the peak and %d planned, the plan says %d", r.Peak, r.PlannedPeak, with.Peak)
	}
}

// A plan for a GPU is held against the GPU's memory.
func TestCUDAPlan(t *testing.T) {
	lib := standIn(t)
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	cmd := child(t, 1, "plan", "--model", testModel(t), "--data", sums(t, 40), "--device", "cuda", "--json", "--set", "max_length=24")
	cmd.Env = append(cmd.Env, "LD_LIBRARY_PATH="+lib, fakecuda.EnvMemory+"=1000000")
	out, err := cmd.Output()
	var p planned
	if err != nil || json.Unmarshal(out, &p) != nil || p.Memory != 1000000 || p.Fits == nil {
		t.Errorf("%v: %s", err, out)
	}
}

// dropDevice takes the device out of a command line.
func dropDevice(args []string) []string {
	i := slices.Index(args, "--device")
	return slices.Concat(args[:i], args[i+2:])
}

// A step is queued without waiting for the device: what is read back, the norm of the gradient and the loss, is read when all of
// the step is under way.
func TestCUDAStepsDoNotWait(t *testing.T) {
	lib := standIn(t)
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	for _, optim := range []string{"adamw", "adamw_8bit"} {
		t.Run(optim, func(t *testing.T) { stepsDoNotWait(t, lib, optim) })
	}
}

func stepsDoNotWait(t *testing.T, lib, optim string) {
	logFile := filepath.Join(t.TempDir(), "log")
	const steps = 3
	cmd := child(t, 1, "sft", "--model", testModel(t), "--data", sums(t, 40), "--output", filepath.Join(t.TempDir(), "out"), "--max-steps", fmt.Sprint(steps), "--device", "cuda",
		"--set", "max_length=24", "--set", "per_device_train_batch_size=2", "--set", "gradient_accumulation_steps=4", "--set", "save_strategy=no", "--set", "logging_steps=1", "--set", "optim="+optim)
	cmd.Env = append(cmd.Env, "LD_LIBRARY_PATH="+lib, fakecuda.EnvLog+"="+logFile)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// From the first kernel of a step to the update: no wait. From the update to the next step: what is read back.
	type step struct{ launches, uploads, waits, allocs, readBack int }
	seen := []step{{}}
	updated := false
	for _, l := range strings.Split(string(read(t, logFile)), "\n") {
		s := &seen[len(seen)-1]
		kind, rest, _ := strings.Cut(l, " ")
		switch {
		case kind == "launch" && strings.HasPrefix(rest, "optim"):
			updated = true
		case kind == "launch" && updated:
			updated = false
			seen = append(seen, step{launches: 1})
		case kind == "launch":
			s.launches++
		case kind == "upload" && !updated:
			s.uploads++
		case kind == "download" && updated:
			s.readBack++
		case (kind == "sync" || kind == "wait" || kind == "download") && !updated && s.launches > 0:
			s.waits++
		case kind == "alloc" && s.launches > 0:
			s.allocs++
		}
	}
	if len(seen) != steps {
		t.Fatalf("%d steps: %+v", len(seen), seen)
	}
	for i, s := range seen {
		if i == 0 { // with what is done once: the weights are loaded, room for kernels is taken
			continue
		}
		if s.launches < 100 || s.uploads < 8 || s.waits != 0 || s.allocs != 0 || i+1 < steps && s.readBack != 2 {
			t.Errorf("step %d: %+v, want no waits, no allocations, and two read back at its end", i+1, s)
		}
	}
}

// Where there is no GPU a run says so in one line and computes on the CPU; a run that asks for one is refused.
func TestNoGPUFallsBack(t *testing.T) {
	if _, err := os.Stat("/proc/driver/nvidia"); err == nil {
		t.Skip("this machine has a driver")
	}
	t.Setenv("MLTRAIN_CACHE", t.TempDir())
	args := []string{"sft", "--model", testModel(t), "--data", sums(t, 6), "--output", filepath.Join(t.TempDir(), "out"), "--max-steps", "1"}
	code, _, stderr := mltrain(t, args...)
	if code != 0 || strings.Count(stderr, "computing on the CPU") != 1 || !strings.Contains(stderr, "libcuda.so.1") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	code, _, stderr = mltrain(t, append(args, "--device", "cuda", "--set", "overwrite_output_dir=true")...)
	if code != 1 || !strings.Contains(stderr, "device cuda: no usable GPU") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

func TestDevicesListsCUDA(t *testing.T) {
	lib := standIn(t)
	list := func(compute string) string {
		cmd := child(t, 1, "devices")
		cmd.Env = append(cmd.Env, "LD_LIBRARY_PATH="+lib, fakecuda.EnvDevices+"=2", fakecuda.EnvCompute+"="+compute)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	if text := list("80"); !strings.Contains(text, "mltrain's own kernels (libcublasLt.so is not installed)") {
		t.Errorf("got\n%s", text)
	}
	if err := fakecuda.BuildBLAS(lib); err != nil {
		t.Fatal(err)
	}
	t.Setenv("MLTRAIN_CUBLASLT", "off")
	if text := list("80"); !strings.Contains(text, "mltrain's own kernels (MLTRAIN_CUBLASLT is off)") {
		t.Errorf("got\n%s", text)
	}
	t.Setenv("MLTRAIN_CUBLASLT", "on")
	for compute, wants := range map[string][]string{
		"90": {"products  of bfloat16 matrices: cuBLASLt 12.4.1 (libcublasLt.so.12)", "CUDA 12.4", "cuda:0", "cuda:1", "Fake GPU 1, compute capability 9.0, 1.0 GiB", "auto      cuda (Fake GPU 0 is usable"},
		"75": {"not usable: compute capability 7.5: the kernels need 8.0", "auto      cpu"},
	} {
		text := list(compute)
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", compute, want, text)
			}
		}
	}
}
