//go:build cuda && linux && (amd64 || arm64)

package cuda

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mltrain/mltrain/internal/gpu"
	"github.com/mltrain/mltrain/internal/gpu/cuda/fakecuda"
)

// withFake runs a test again in a process that has the fake driver: libraries are looked for where a process was told
// at its start.
func withFake(t *testing.T, env ...string) {
	t.Helper()
	dir := t.TempDir()
	err := fakecuda.Build(dir)
	if slices.Contains(env, withBLAS) {
		err = errors.Join(err, fakecuda.BuildBLAS(dir))
	}
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(append(os.Environ(), "MLTRAIN_TEST_FAKE=1", "LD_LIBRARY_PATH="+dir), env...)
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Errorf("%v\n%s", err, out)
	}
}

// withBLAS gives the process a cuBLASLt too.
const withBLAS = "MLTRAIN_TEST_BLAS=1"

func hasFake() bool { return os.Getenv("MLTRAIN_TEST_FAKE") != "" }

func open(t *testing.T) gpu.Driver {
	t.Helper()
	d, err := Open(0, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Without a driver the process lives and says what is missing.
func TestNoDriver(t *testing.T) {
	if _, err := os.Stat("/proc/driver/nvidia"); err == nil {
		t.Skip("this machine has a driver")
	}
	if _, err := Open(0, Options{}); !errors.Is(err, ErrNoDevice) || !strings.Contains(err.Error(), "libcuda.so.1") {
		t.Errorf("got %v", err)
	}
	if p := Probe(); !p.Built || p.Problem == "" || len(p.Devices) != 0 {
		t.Errorf("got %+v", p)
	}
}

func TestDriverWithoutDevice(t *testing.T) {
	if !hasFake() {
		withFake(t, fakecuda.EnvDevices+"=0")
		return
	}
	if _, err := Open(0, Options{}); !errors.Is(err, ErrNoDevice) || !strings.Contains(err.Error(), "finds no GPU") {
		t.Errorf("got %v", err)
	}
}

func TestOldDevice(t *testing.T) {
	if !hasFake() {
		withFake(t, fakecuda.EnvCompute+"=75")
		return
	}
	if _, err := Open(0, Options{}); !errors.Is(err, ErrNoDevice) || !strings.Contains(err.Error(), "compute capability 7.5: the kernels need 8.0") {
		t.Errorf("got %v", err)
	}
}

func TestProbe(t *testing.T) {
	if !hasFake() {
		withFake(t, fakecuda.EnvDevices+"=2", fakecuda.EnvCompute+"=90")
		return
	}
	p := Probe()
	want := Device{Index: 1, Name: "Fake GPU 1", Major: 9, Memory: 1 << 30, Multiprocs: 108, SharedPerBlock: 163 << 10, Usable: true}
	if p.Version != "12.4" || p.Problem != "" || len(p.Devices) != 2 || p.Devices[1] != want {
		t.Errorf("got %+v", p)
	}
	if _, err := Open(2, Options{}); !errors.Is(err, ErrNoDevice) {
		t.Errorf("got %v", err)
	}
}

// Transfers of any size arrive whole, though the driver copies as late as it may and the pinned memory goes round.
func TestTransfers(t *testing.T) {
	if !hasFake() {
		withFake(t)
		return
	}
	d := open(t)
	const n = 2*stagingBytes + 12345
	src := make([]byte, n)
	for i := range src {
		src[i] = byte(i * 2654435761 >> 11)
	}
	p, err := d.Alloc(n)
	if err != nil {
		t.Fatal(err)
	}
	q, err := d.Alloc(n)
	if err != nil {
		t.Fatal(err)
	}
	sent := bytes.Clone(src)
	for _, err := range []error{d.Set(p, 7, n), d.Upload(p, sent)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	clear(sent)                                    // may be reused on return
	for i := range 3 * stagingBytes / pieceBytes { // pieces of every size, over what is there, so that the ring goes round anywhere
		at := i * 1_000_003 % (n - pieceBytes)
		for _, size := range []int{1, pieceBytes - i, 77 + i} {
			if err := d.Upload(p+gpu.Ptr(at), src[at:at+size]); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := make([]byte, n)
	for _, err := range []error{d.Copy(q, p, n), d.Set(p, 0, n), d.Download(got, q)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, src) {
		t.Error("what came back is not what was sent")
	}
	if info := d.Info(); info.Free != info.Total-2*n {
		t.Errorf("%+v with %d bytes taken", info, 2*n)
	}
	if err := d.Upload(p+1, src); err == nil || !strings.Contains(err.Error(), "CUDA_ERROR_ILLEGAL_ADDRESS: said by the fake") {
		t.Errorf("beyond the end: %v", err)
	}
	if err := errors.Join(d.Free(p), d.Free(q), d.Sync()); err != nil {
		t.Error(err)
	}
}

func TestOutOfMemory(t *testing.T) {
	if !hasFake() {
		withFake(t, fakecuda.EnvMemory+"=1000000")
		return
	}
	if _, err := open(t).Alloc(1000001); !errors.Is(err, gpu.ErrNoMemory) {
		t.Errorf("got %v", err)
	}
}

func TestKernels(t *testing.T) {
	if !hasFake() {
		withFake(t)
		return
	}
	d := open(t)
	if _, err := d.Load("// nothing"); err == nil || !strings.Contains(err.Error(), "CUDA_ERROR_INVALID_PTX") || !strings.Contains(err.Error(), "no kernel in the text") {
		t.Errorf("a bad text: %v", err)
	}
	m, err := d.Load(".visible .entry twice(")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Function("thrice"); err == nil {
		t.Error("there is no kernel thrice")
	}
	f, err := m.Function("twice")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Launch([3]int{2}, [3]int{64}, 100<<10, make([]byte, 24)); err != nil {
		t.Error(err)
	}
	if err := f.Launch([3]int{2}, [3]int{64}, 200<<10, nil); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("more shared memory than there is: %v", err)
	}
	if err := f.Launch([3]int{2}, [3]int{2048}, 0, nil); err == nil || !strings.Contains(err.Error(), "launch of twice") {
		t.Errorf("a block too large: %v", err)
	}
}

// The many small uploads of a step wait for nothing.
func TestSmallUploadsDoNotWait(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	if !hasFake() {
		withFake(t, fakecuda.EnvLog+"="+log)
		return
	}
	d := open(t)
	p, err := d.Alloc(1 << 16)
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		if err := d.Upload(p, make([]byte, 1<<14)); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(os.Getenv(fakecuda.EnvLog))
	if err != nil || bytes.Count(raw, []byte("upload 16384\n")) != 200 || bytes.Contains(raw, []byte("wait")) || bytes.Contains(raw, []byte("sync")) {
		t.Errorf("%v\n%s", err, raw)
	}
}
