//go:build unix

package checkpoint

import (
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
)

// fullDir names the environment variable that makes the test binary a process whose files may not grow beyond 64 KiB.
const fullDir = "MLTRAIN_TEST_FULL_DIR"

// TestDiskFullChild saves while the kernel refuses to let files grow: as on a full disk, a write fails in the middle of a file.
func TestDiskFullChild(t *testing.T) {
	dir := os.Getenv(fullDir)
	if dir == "" {
		t.Skip("only as a child of TestDiskFull")
	}
	signal.Ignore(syscall.SIGXFSZ)
	limit := syscall.Rlimit{Cur: 1 << 16, Max: 1 << 16}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	big := f32("big", []int{1 << 20}, make([]float32, 1<<20)...)
	if _, err := saveAt(dir, 1); err != nil {
		t.Fatal("a small checkpoint:", err)
	}
	wantErr(t, WriteFile(filepath.Join(dir, "x.safetensors"), []Tensor{big}, nil), syscall.EFBIG, "x.safetensors")
	_, err := SaveCheckpoint(dir, &State{GlobalStep: 1}, []Tensor{big}, func(string) error { return nil })
	wantErr(t, err, syscall.EFBIG, "checkpoint-1")
	wantErr(t, SaveModel(dir, StepDir(dir, 1), []Tensor{big}, nil, 0), syscall.EFBIG, SingleFile)
}

func TestDiskFull(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writeTree(t, dir, map[string]string{"x.safetensors": "old", SingleFile: "old"})
	cmd := exec.Command(exe, "-test.run=^TestDiskFullChild$", "-test.v")
	cmd.Env = append(os.Environ(), fullDir+"="+dir)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if err := checkAt(StepDir(dir, 1), 1); err != nil {
		t.Error("the older checkpoint:", err)
	}
	got := readTree(t, dir)
	if got["x.safetensors"] != "old" || got[SingleFile] != "old" {
		t.Error("the old files were not kept")
	}
	if names := dirNames(t, dir); len(names) != 3 {
		t.Errorf("left behind: %v", names)
	}
}
