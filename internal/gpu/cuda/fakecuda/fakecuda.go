// Package fakecuda builds a stand-in for NVIDIA's driver library, for tests of the code that calls it. Its memory is real and
// its queue is as late as a driver's may be: nothing is copied before somebody waits. Kernels do nothing. What is called is
// written to a log.
package fakecuda

import (
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed testdata/log.h
var log []byte

//go:embed testdata/libcuda.c
var driver []byte

//go:embed testdata/libcublaslt.c
var products []byte

// The environment of a process that uses the library: where it logs, how many GPUs it has (1), their compute capability
// (80) and memory in bytes (1 GiB).
const (
	EnvLog     = "FAKE_CUDA_LOG"
	EnvDevices = "FAKE_CUDA_DEVICES"
	EnvCompute = "FAKE_CUDA_COMPUTE"
	EnvMemory  = "FAKE_CUDA_MEMORY"
	// EnvRefuse makes the stand-in for cuBLASLt have no algorithm for any product.
	EnvRefuse = "FAKE_CUBLASLT_REFUSE"
)

// Build compiles libcuda.so.1 into a folder, which belongs into LD_LIBRARY_PATH.
func Build(dir string) error { return compile(driver, filepath.Join(dir, "libcuda.so.1")) }

// BuildBLAS compiles a libcublasLt.so.12 that works with it. It checks what it is told of matrices and really multiplies them.
func BuildBLAS(dir string) error { return compile(products, filepath.Join(dir, "libcublasLt.so.12")) }

func compile(source []byte, to string) error {
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "cc"
	}
	cmd := exec.Command(cc, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-x", "c", "-", "-o", to, "-ldl")
	cmd.Stdin = io.MultiReader(bytes.NewReader(log), bytes.NewReader(source))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("fakecuda: %w\n%s", err, out)
	}
	return nil
}
